/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC for envd, by way of gRPC-Web.
 *
 * Theory of operation
 *
 * What: the reply's head is written anew with gRPC's content type; edge_frames cuts its body. A
 * reply that is no gRPC-Web (envd's 401, a path that it does not know) becomes a status alone.
 *
 * Failure: a body that breaks the framing, once the answer has begun, ends it with trailers that
 * say INTERNAL. A connection that breaks resets the stream, as for any other answer (relay).
 *
 * Trust: trailers are a guest's; http_exchange_trailer() checks them as it does headers.
 */
#include "broker/edge/edge_grpc.h"

#include <stdio.h>

#include "net/http_write.h"
#include "net/relay.h"

#define GRPC "application/grpc"
#define GRPC_WEB "application/grpc-web"
#define GRPC_LEN (sizeof(GRPC) - 1)
#define GRPC_WEB_LEN (sizeof(GRPC_WEB) - 1)

static struct adit_view behind(struct adit_view v, size_t len)
{
    return adit_view_mem(v.ptr + len, v.len - len);
}

/* Does what comes behind the type's name only qualify it? */
static bool is_suffix(struct adit_view rest)
{
    return rest.len == 0 || rest.ptr[0] == '+' || rest.ptr[0] == ';';
}

bool edge_grpc_is(struct adit_view content_type)
{
    return adit_view_has_prefix(content_type, GRPC) && is_suffix(behind(content_type, GRPC_LEN));
}

static bool is_web(struct adit_view content_type)
{
    return adit_view_has_prefix(content_type, GRPC_WEB) &&
           is_suffix(behind(content_type, GRPC_WEB_LEN));
}

int edge_grpc_write_type(struct adit_buf *b, struct adit_view content_type)
{
    struct adit_view suffix = behind(content_type, GRPC_LEN);

    return adit_buf_appendf(b, "Content-Type: " GRPC_WEB "%.*s\r\n", ADIT_VIEW_ARG(suffix));
}

void edge_grpc_refuse(struct http_exchange *x, enum edge_grpc_code code, struct adit_view message)
{
    char number[12];
    int rc = http_exchange_header_str(x, "Content-Type", GRPC);

    (void)snprintf(number, sizeof(number), "%d", (int)code); /* fits */
    if (rc == 0)
        rc = http_exchange_header_str(x, "Grpc-Status", number);
    if (rc == 0)
        rc = http_exchange_header(x, (struct adit_view)ADIT_VIEW("Grpc-Message"), message);
    if (rc != 0) {
        http_exchange_reset(x);
        return;
    }
    http_exchange_begin(x, 200, HTTP_FRAMING_NONE, 0);
    http_exchange_end(x);
}

void edge_grpc_init(struct edge_grpc *g)
{
    edge_frames_init(&g->frames);
}

void edge_grpc_fini(struct edge_grpc *g)
{
    edge_frames_fini(&g->frames);
}

/* ---- the reply's head ---- */

/* As gRPC clients read a plain HTTP status (grpc, doc/http-grpc-status-mapping.md), but for those
 * that envd has a meaning of its own for. */
static enum edge_grpc_code code_of_reply(unsigned status)
{
    switch (status) {
    case 401:
        return EDGE_GRPC_UNAUTHENTICATED;
    case 403:
        return EDGE_GRPC_DENIED;
    case 404:
    case 415:
        return EDGE_GRPC_UNIMPLEMENTED;
    case 413:
        return EDGE_GRPC_EXHAUSTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return EDGE_GRPC_UNAVAILABLE;
    default:
        return EDGE_GRPC_UNKNOWN;
    }
}

static int copy_head(struct http_exchange *x, const struct http_head *head)
{
    int rc = ADIT_OK;

    for (size_t i = 0; i < head->header_cnt && rc == ADIT_OK; i++) {
        struct adit_view name = head->headers[i].name;

        if (relay_is_passed_on(head, name) && !adit_view_ieq_str(name, "content-type"))
            rc = http_exchange_header(x, name, head->headers[i].value);
    }
    return rc;
}

static int copy_type(struct http_exchange *x, struct adit_view type)
{
    char text[64];
    struct adit_view suffix = behind(type, GRPC_WEB_LEN);

    (void)snprintf(text, sizeof(text), GRPC "%.*s", ADIT_VIEW_ARG(suffix)); /* may be cut */
    return http_exchange_header_str(x, "Content-Type", text);
}

bool edge_grpc_head(struct http_exchange *x, const struct http_head *head)
{
    struct adit_view type = http_head_get(head, "content-type");
    char message[64];

    if (head->status != 200 || !is_web(type)) {
        (void)snprintf(message, sizeof(message), "the sandbox answered with HTTP status %u",
                       head->status); /* fits */
        edge_grpc_refuse(x, code_of_reply(head->status), adit_view_str(message));
        return false;
    }
    if (copy_head(x, head) != ADIT_OK || copy_type(x, type) != ADIT_OK) {
        http_exchange_reset(x);
        return false;
    }
    if (http_head_get(head, "grpc-status").ptr == NULL) {
        http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
        return true;
    }
    http_exchange_begin(x, 200, HTTP_FRAMING_NONE, 0); /* a status alone */
    http_exchange_end(x);
    return false;
}

/* ---- its body ---- */

static bool break_off(struct http_exchange *x, const struct adit_err *err)
{
    int rc = http_exchange_trailer(x, (struct adit_view)ADIT_VIEW("grpc-status"),
                                   (struct adit_view)ADIT_VIEW("13"));

    if (rc == ADIT_OK)
        rc = http_exchange_trailer(x, (struct adit_view)ADIT_VIEW("grpc-message"),
                                   adit_view_str(err->msg));
    if (rc == ADIT_OK)
        http_exchange_end(x);
    else
        http_exchange_reset(x);
    return false;
}

bool edge_grpc_body(struct edge_grpc *g, struct http_exchange *x, struct adit_view bytes)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view body;

    do {
        if (edge_frames_next(&g->frames, &bytes, &body, &err) != ADIT_OK)
            return break_off(x, &err);
        (void)http_exchange_write(x, body); /* if the client is gone on_abort comes */
    } while (bytes.len > 0);
    return true;
}

static int copy_trailers(struct edge_grpc *g, struct http_exchange *x)
{
    struct adit_view rest = edge_frames_trailers(&g->frames), name, value;
    int rc = ADIT_OK;

    while (rc == ADIT_OK && edge_frames_trailer(&rest, &name, &value))
        rc = http_exchange_trailer(x, name, value);
    return rc;
}

bool edge_grpc_end(struct edge_grpc *g, struct http_exchange *x)
{
    struct adit_err err = ADIT_ERR_INIT;

    if (edge_frames_end(&g->frames, &err) != ADIT_OK)
        return break_off(x, &err);
    if (copy_trailers(g, x) == ADIT_OK)
        return true;
    http_exchange_reset(x);
    return false;
}
