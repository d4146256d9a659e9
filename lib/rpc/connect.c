/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol without I/O. */
/*
 * Theory of operation
 *
 * What     What is Connect's own: its heads, its errors, the end of its streams.
 * Leniency An empty header counts as absent (a client sends empty Accept-Encoding headers); a
 *          timeout may have a fraction, which is rounded up; a timeout of 0 is none.
 * Trust    Heads are hostile, and what a peer sends as an error too.
 * Failure  Texts are those that clients know from other Connect servers, where they may look at
 *          them.
 */
#include "rpc/connect.h"

#include "connect.pb-c.h"
#include "rpc/message.h"
#include "rpc/pbjson.h"
#include "rpc/status.h"

/* ---- heads ---- */

static int refuse_timeout(struct adit_view text, struct adit_err *err)
{
    text = protocol_quote(text);
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

static int read_head(const struct http_head *head, const char *encoding_name,
                     struct protocol_request *req, struct adit_err *err)
{
    struct adit_view version = http_head_get(head, "Connect-Protocol-Version");

    if (version.len && !adit_view_eq_str(version, "1")) {
        version = protocol_quote(version);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "Connect-Protocol-Version must be \"1\": got \"%.*s\"",
                            ADIT_VIEW_ARG(version));
    }
    int rc = read_timeout(head, &req->timeout_ms, err);
    if (rc)
        return rc;
    return protocol_read_encoding(http_head_get(head, encoding_name), &req->gzip_in, err);
}

static int read_unary_head(const struct http_head *head, struct protocol_request *req,
                           struct adit_err *err)
{
    req->gzip_out = accepts_gzip(http_head_get(head, "Accept-Encoding"));
    return read_head(head, "Content-Encoding", req, err);
}

static int read_stream_head(const struct http_head *head, struct protocol_request *req,
                            struct adit_err *err)
{
    return read_head(head, "Connect-Content-Encoding", req, err);
}

/* ---- answers ---- */

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
    return message_append_envelope(FRAME_FLAG_END, RPC_JSON, &end.base, out);
}

const struct protocol connect_unary = {
    .read_head = read_unary_head,
    .append_error = connect_append_error,
};

const struct protocol connect_stream = {
    .has_envelopes = true,
    .read_head = read_stream_head,
    .append_end = connect_append_end,
};

/* ---- clients ---- */

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
