/* SPDX-License-Identifier: Apache-2.0 */
/* Which protocol a request speaks. */
/*
 * Theory of operation
 *
 * What     One table, a row per content type: its protocol, codec and the kinds of methods that are
 *          called so. gRPC itself has no row: its end is in HTTP trailers, which HTTP/1.1 servers
 *          and clients do not have; over HTTP/2 the broker speaks it and asks here in gRPC-Web.
 * Order    A wrong method or content type is refused in plain HTTP, because nothing says yet which
 *          protocol the client speaks. All later errors are answered in the call's own form.
 * Trust    Heads are hostile. Error texts quote their values only cut short; they are escaped where
 *          they are written.
 */
#include "rpc/protocol.h"

#include "rpc/connect.h"
#include "rpc/grpc_web.h"

#define UNARY (1u << RPC_UNARY)
#define STREAMS (1u << RPC_SERVER_STREAM | 1u << RPC_CLIENT_STREAM)

static const struct {
    const char *type;
    const struct protocol *protocol;
    enum rpc_codec codec;
    unsigned kinds;
} rows[] = {
    {"application/json", &connect_unary, RPC_JSON, UNARY},
    {"application/proto", &connect_unary, RPC_PROTO, UNARY},
    {"application/connect+json", &connect_stream, RPC_JSON, STREAMS},
    {"application/connect+proto", &connect_stream, RPC_PROTO, STREAMS},
    {"application/grpc-web", &grpc_web, RPC_PROTO, UNARY | STREAMS},
    {"application/grpc-web+proto", &grpc_web, RPC_PROTO, UNARY | STREAMS},
    {"application/grpc-web+json", &grpc_web, RPC_JSON, UNARY | STREAMS},
};
#define ROW_CNT (sizeof rows / sizeof rows[0])

#define GRPC_WEB_TYPES "application/grpc-web, application/grpc-web+json, application/grpc-web+proto"

const char *protocol_accept_post(enum rpc_kind kind)
{
    return kind == RPC_UNARY
               ? GRPC_WEB_TYPES ", application/json, application/proto"
               : "application/connect+json, application/connect+proto, " GRPC_WEB_TYPES;
}

/* The only parameter that changes nothing: charset=utf-8. */
static bool is_utf8_parameter(struct adit_view parameter)
{
    struct adit_view name, value;
    if (!adit_view_split(parameter, '=', &name, &value) ||
        !adit_view_ieq_str(adit_view_trim(name), "charset"))
        return false;
    value = adit_view_trim(value);
    return adit_view_ieq_str(value, "utf-8") || adit_view_ieq_str(value, "\"utf-8\"");
}

unsigned protocol_negotiate(const struct http_head *head, enum rpc_kind kind,
                            struct protocol_request *out)
{
    struct adit_view type, parameter;

    *out = (struct protocol_request){.kind = kind};
    if (head->method != HTTP_POST)
        return 405;
    bool has_parameter =
        adit_view_split(http_head_get(head, "Content-Type"), ';', &type, &parameter);
    if (has_parameter && !is_utf8_parameter(parameter))
        return 415;
    for (size_t i = 0; i < ROW_CNT; i++) {
        if (!(rows[i].kinds & 1u << kind) || !adit_view_ieq_str(adit_view_trim(type), rows[i].type))
            continue;
        out->protocol = rows[i].protocol;
        out->codec = rows[i].codec;
        out->type = rows[i].type;
        return 0;
    }
    return 415;
}

struct adit_view protocol_quote(struct adit_view value)
{
    if (value.len > PROTOCOL_QUOTE_CAP)
        value.len = PROTOCOL_QUOTE_CAP;
    return value;
}

int protocol_read_encoding(struct adit_view name, bool *gzip, struct adit_err *err)
{
    *gzip = adit_view_ieq_str(name, "gzip");
    if (*gzip || name.len == 0 || adit_view_ieq_str(name, "identity"))
        return 0;
    name = protocol_quote(name);
    return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED,
                        "unknown compression \"%.*s\": supported encodings are gzip",
                        ADIT_VIEW_ARG(name));
}
