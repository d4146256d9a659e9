/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol without I/O. */
/*
 * Theory of operation
 *
 * What     All decisions of the protocol: which heads are taken, how a body becomes messages, how
 *          messages and errors become bytes. rpc_server.c moves the bytes.
 * Order    A wrong method or content type is refused in plain HTTP, because nothing says yet that
 *          the client speaks Connect. All later errors are answered in the call's own form.
 * Leniency An empty header counts as absent (a client sends empty Accept-Encoding headers); a
 * timeout may have a fraction, which is rounded up; a timeout of 0 is none. Limits RPC_MESSAGE_MAX
 * for a body or message, before and after decompression. Trust    Heads and bodies are hostile.
 * Error texts quote header values only cut short; they are escaped where they are written. Failure
 * Texts are those that clients know from other Connect servers, where they may look at them.
 */
#include "rpc/connect.h"

#include "connect.pb-c.h"
#include "net/gzip.h"
#include "rpc/pbjson.h"
#include "rpc/status.h"

/* Longest piece of a header that an error text quotes. */
#define QUOTE_CAP 40

static struct adit_view quote(struct adit_view v)
{
    if (v.len > QUOTE_CAP)
        v.len = QUOTE_CAP;
    return v;
}

/* ---- heads ---- */

static const char *const unary_types[] = {"application/json", "application/proto"};
static const char *const stream_types[] = {"application/connect+json", "application/connect+proto"};

static const char *const *types_of(enum rpc_kind kind)
{
    return kind == RPC_UNARY ? unary_types : stream_types;
}

const char *connect_accept_post(enum rpc_kind kind)
{
    return kind == RPC_UNARY ? "application/json, application/proto"
                             : "application/connect+json, application/connect+proto";
}

const char *connect_content_type(const struct connect_request *req)
{
    return types_of(req->kind)[req->codec];
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

unsigned connect_negotiate(const struct http_head *head, enum rpc_kind kind,
                           struct connect_request *out)
{
    struct adit_view type, parameter;

    *out = (struct connect_request){.kind = kind};
    if (head->method != HTTP_POST)
        return 405;
    bool has_parameter =
        adit_view_split(http_head_get(head, "Content-Type"), ';', &type, &parameter);
    if (has_parameter && !is_utf8_parameter(parameter))
        return 415;
    for (enum connect_codec c = CONNECT_JSON; c <= CONNECT_PROTO; c++) {
        if (!adit_view_ieq_str(adit_view_trim(type), types_of(kind)[c]))
            continue;
        out->codec = c;
        return 0;
    }
    return 415;
}

static int refuse_timeout(struct adit_view text, struct adit_err *err)
{
    text = quote(text);
    return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                        "protocol error: invalid Connect-Timeout-Ms \"%.*s\"", ADIT_VIEW_ARG(text));
}

static int read_timeout(const struct http_head *head, uint64_t *out, struct adit_err *err)
{
    struct adit_view text = http_head_get(head, "Connect-Timeout-Ms"), whole, fraction;
    bool up = false;

    *out = 0;
    if (text.len == 0)
        return 0;
    bool has_fraction = adit_view_split(text, '.', &whole, &fraction);
    if (whole.len == 0 || whole.len > CONNECT_TIMEOUT_DIGITS || (has_fraction && !fraction.len))
        return refuse_timeout(text, err);
    for (size_t i = 0; i < whole.len; i++) {
        if (whole.ptr[i] < '0' || whole.ptr[i] > '9')
            return refuse_timeout(text, err);
        *out = *out * 10 + (uint64_t)(whole.ptr[i] - '0');
    }
    for (size_t i = 0; has_fraction && i < fraction.len; i++) {
        if (fraction.ptr[i] < '0' || fraction.ptr[i] > '9')
            return refuse_timeout(text, err);
        up |= fraction.ptr[i] != '0';
    }
    *out += up;
    return 0;
}

static int read_encoding(struct adit_view name, bool *gzip, struct adit_err *err)
{
    *gzip = adit_view_ieq_str(name, "gzip");
    if (*gzip || name.len == 0 || adit_view_ieq_str(name, "identity"))
        return 0;
    name = quote(name);
    return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED,
                        "unknown compression \"%.*s\": supported encodings are gzip",
                        ADIT_VIEW_ARG(name));
}

/* Is "gzip" in the list, and not with a weight of zero? */
static bool accepts_gzip(struct adit_view list)
{
    struct adit_view item, name, weight;
    while (list.len) {
        (void)adit_view_split(list, ',', &item, &list); /* without a comma the rest is empty */
        bool has_weight = adit_view_split(item, ';', &name, &weight);
        if (!adit_view_ieq_str(adit_view_trim(name), "gzip"))
            continue;
        weight = adit_view_trim(weight);
        if (!has_weight || !adit_view_has_prefix(weight, "q=0"))
            return true;
        for (size_t i = 3; i < weight.len; i++) {
            if (weight.ptr[i] >= '1' && weight.ptr[i] <= '9')
                return true;
        }
    }
    return false;
}

int connect_read_head(const struct http_head *head, struct connect_request *req,
                      struct adit_err *err)
{
    bool unary = req->kind == RPC_UNARY;
    struct adit_view version = http_head_get(head, "Connect-Protocol-Version");

    if (version.len && !adit_view_eq_str(version, "1")) {
        version = quote(version);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "Connect-Protocol-Version must be \"1\": got \"%.*s\"",
                            ADIT_VIEW_ARG(version));
    }
    int rc = read_timeout(head, &req->timeout_ms, err);
    if (rc)
        return rc;
    req->gzip_out = unary && accepts_gzip(http_head_get(head, "Accept-Encoding"));
    return read_encoding(
        http_head_get(head, unary ? "Content-Encoding" : "Connect-Content-Encoding"), &req->gzip_in,
        err);
}

/* ---- bodies ---- */

void connect_reader_init(struct connect_reader *r, const struct connect_request *req,
                         const ProtobufCMessageDescriptor *type)
{
    *r = (struct connect_reader){.req = req, .type = type};
    adit_buf_init(&r->body, RPC_MESSAGE_MAX);
    frame_reader_init(&r->frames);
}

void connect_reader_fini(struct connect_reader *r)
{
    adit_buf_fini(&r->body);
    frame_reader_fini(&r->frames);
}

static int decode_plain(const struct connect_reader *r, struct adit_view bytes,
                        ProtobufCMessage **msg, struct adit_err *err)
{
    if (r->req->codec == CONNECT_JSON)
        return pbjson_decode(r->type, bytes, msg, err);
    *msg = protobuf_c_message_unpack(r->type, NULL, bytes.len, (const uint8_t *)bytes.ptr);
    return *msg ? 0
                : adit_err_set(err, ADIT_ERR_BAD_INPUT,
                               "unmarshal message: not a valid protobuf message");
}

static int decode(struct connect_reader *r, bool compressed, struct adit_view bytes,
                  ProtobufCMessage **msg, struct adit_err *err)
{
    struct adit_buf plain;
    int rc;

    r->message_cnt++;
    if (!compressed)
        return decode_plain(r, bytes, msg, err);
    adit_buf_init(&plain, RPC_MESSAGE_MAX);
    rc = gzip_decode_all(bytes, RPC_MESSAGE_MAX, &plain, err);
    if (rc)
        rc = adit_err_wrap(err, "decompress");
    else
        rc = decode_plain(r, adit_buf_view(&plain), msg, err);
    adit_buf_fini(&plain);
    return rc;
}

static int feed_unary(struct connect_reader *r, struct adit_view *in, struct adit_err *err)
{
    int rc = adit_buf_append_view(&r->body, *in);
    in->len = 0;
    if (rc == ADIT_ERR_LIMIT)
        return adit_err_set(err, rc, "message is larger than the maximum %u", RPC_MESSAGE_MAX);
    return rc ? adit_err_set(err, rc, "no memory for the message") : 0;
}

static int feed_stream(struct connect_reader *r, struct adit_view *in, ProtobufCMessage **msg,
                       struct adit_err *err)
{
    struct adit_view payload;
    uint8_t flags;
    bool complete;

    int rc = frame_read(&r->frames, in, &complete, &flags, &payload, err);
    if (rc || !complete)
        return rc;
    if (flags & FRAME_FLAG_END)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "protocol error: a request stream has no end-of-stream envelope");
    bool compressed = flags & FRAME_FLAG_COMPRESSED;
    if (compressed && !r->req->gzip_in)
        return adit_err_set(err, ADIT_ERR_PROTOCOL,
                            "protocol error: compressed envelope without Connect-Content-Encoding");
    return decode(r, compressed, payload, msg, err);
}

int connect_reader_feed(struct connect_reader *r, struct adit_view *in, ProtobufCMessage **msg,
                        struct adit_err *err)
{
    *msg = NULL;
    if (r->req->kind == RPC_UNARY)
        return feed_unary(r, in, err);
    if (r->req->kind == RPC_SERVER_STREAM && r->message_cnt) {
        in->len = 0;
        return 0;
    }
    return feed_stream(r, in, msg, err);
}

int connect_reader_end(struct connect_reader *r, ProtobufCMessage **msg, struct adit_err *err)
{
    *msg = NULL;
    if (r->req->kind == RPC_UNARY)
        return decode(r, r->req->gzip_in, adit_buf_view(&r->body), msg, err);
    if (r->req->kind == RPC_SERVER_STREAM && r->message_cnt)
        return 0;
    if (!frame_reader_is_idle(&r->frames))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "protocol error: incomplete envelope");
    if (r->req->kind == RPC_SERVER_STREAM)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "protocol error: request without a message");
    return 0;
}

/* ---- answers ---- */

static int append_proto(const ProtobufCMessage *m, struct adit_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    int rc = adit_buf_reserve(out, len);
    if (rc || len == 0)
        return rc;
    adit_buf_added(out, protobuf_c_message_pack(m, (uint8_t *)adit_buf_tail(out)));
    return 0;
}

int connect_append_message(enum connect_codec codec, const ProtobufCMessage *m,
                           struct adit_buf *out)
{
    return codec == CONNECT_JSON ? pbjson_encode(m, out) : append_proto(m, out);
}

static int append_envelope(uint8_t flags, enum connect_codec codec, const ProtobufCMessage *m,
                           struct adit_buf *out)
{
    char head[FRAME_HEAD_LEN] = {0};
    size_t before = out->len;

    int rc = adit_buf_append(out, head, sizeof(head));
    if (!rc)
        rc = connect_append_message(codec, m, out);
    if (rc)
        return rc;
    /* The length is known now, and the bytes stay where they are. */
    frame_write_head(adit_buf_tail(out) - (out->len - before), flags,
                     out->len - before - FRAME_HEAD_LEN);
    return 0;
}

int connect_append_envelope(enum connect_codec codec, const ProtobufCMessage *m,
                            struct adit_buf *out)
{
    return append_envelope(0, codec, m, out);
}

/* @text: where the message is kept, as its type is not const. */
static void fill_error(const struct adit_err *err, struct adit_err *text, Connect__Error *out)
{
    union {
        const char *in;
        char *out;
    } word = {rpc_status_connect(err->code)};

    *text = *err;
    connect__error__init(out);
    out->code = word.out;
    out->message = text->msg;
}

int connect_append_error(const struct adit_err *err, struct adit_buf *out)
{
    struct adit_err text;
    Connect__Error error;
    fill_error(err, &text, &error);
    return pbjson_encode(&error.base, out);
}

int connect_append_end(const struct adit_err *err, struct adit_buf *out)
{
    struct adit_err text;
    Connect__Error error;
    Connect__EndStream end = CONNECT__END_STREAM__INIT;

    if (err && err->code) {
        fill_error(err, &text, &error);
        end.error = &error;
    }
    return append_envelope(FRAME_FLAG_END, CONNECT_JSON, &end.base, out);
}

int connect_parse_error(struct adit_view body, struct adit_err *out)
{
    ProtobufCMessage *msg;
    int rc = pbjson_decode(&connect__error__descriptor, body, &msg, NULL);
    if (rc)
        return rc;
    const Connect__Error *error = (const Connect__Error *)msg;
    if (error->code[0])
        (void)adit_err_set(out, rpc_status_from_connect(adit_view_str(error->code)), "%s",
                           error->message); /* the code is the answer, not a failure of this */
    else
        rc = ADIT_ERR_BAD_INPUT;
    protobuf_c_message_free_unpacked(msg, NULL);
    return rc;
}
