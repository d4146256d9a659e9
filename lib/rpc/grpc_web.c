/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC-Web without I/O. */
/*
 * Theory of operation
 *
 * What     Messages in envelopes as in Connect's streams, for unary calls too; the answer is 200
 *          always and ends with an envelope that holds grpc-status and grpc-message as header
 * lines, so that a client without HTTP trailers (a browser, HTTP/1.1) learns how the call went.
 * Leniency An empty header counts as absent. The request's end is the end of its body.
 * Trust    Heads are hostile. A message becomes visible ASCII (percent-encoding), so no text of an
 *          error can make a line of its own.
 */
#include "rpc/grpc_web.h"

#include "rpc/frame.h"
#include "rpc/status.h"

/* ---- heads ---- */

/* A unit is @ms milliseconds, or a part of one: @per_ms of it. */
static const struct {
    char letter;
    uint64_t ms, per_ms;
} units[] = {
    {'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1},
    {'m', 1, 1},       {'u', 1, 1000},  {'n', 1, 1000000},
};
#define UNIT_CNT (sizeof units / sizeof units[0])

static int refuse_timeout(struct adit_view text, struct adit_err *err)
{
    text = protocol_quote(text);
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "protocol error: invalid timeout \"%.*s\"",
                        ADIT_VIEW_ARG(text));
}

int grpc_web_timeout(struct adit_view text, uint64_t *out_ms, struct adit_err *err)
{
    uint64_t n = 0;

    *out_ms = 0;
    if (text.len == 0)
        return 0;
    size_t digits = text.len - 1;
    if (digits == 0 || digits > GRPC_WEB_TIMEOUT_DIGITS)
        return refuse_timeout(text, err);
    for (size_t i = 0; i < digits; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return refuse_timeout(text, err);
        n = n * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    for (size_t i = 0; i < UNIT_CNT; i++) {
        if (units[i].letter != text.ptr[digits])
            continue;
        n = (n * units[i].ms + units[i].per_ms - 1) / units[i].per_ms;
        *out_ms = n ? n : 1;
        return 0;
    }
    return refuse_timeout(text, err);
}

static int read_head(const struct http_head *head, struct protocol_request *req,
                     struct adit_err *err)
{
    int rc = grpc_web_timeout(http_head_get(head, "grpc-timeout"), &req->timeout_ms, err);
    if (rc)
        return rc;
    return protocol_read_encoding(http_head_get(head, "grpc-encoding"), &req->gzip_in, err);
}

/* ---- the end ---- */

/* What is no visible ASCII, and the percent sign, become %XX. */
static int append_message(struct adit_view text, struct adit_buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && !rc; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        rc = c < ' ' || c > '~' || c == '%' ? adit_buf_appendf(out, "%%%02X", (unsigned)c)
                                            : adit_buf_append(out, text.ptr + i, 1);
    }
    return rc;
}

static int append_trailers(const struct adit_err *err, struct adit_buf *out)
{
    int rc = adit_buf_appendf(out, "grpc-status: %u\r\n", rpc_status_grpc(err ? err->code : 0));
    if (rc || !err || !err->code)
        return rc;
    rc = adit_buf_append_str(out, "grpc-message: ");
    if (!rc)
        rc = append_message(adit_view_str(err->msg), out);
    return rc ? rc : adit_buf_append_str(out, "\r\n");
}

int grpc_web_append_end(const struct adit_err *err, struct adit_buf *out)
{
    size_t start = out->len;
    int rc = frame_begin(out);
    if (!rc)
        rc = append_trailers(err, out);
    if (!rc)
        frame_finish(out, start, FRAME_FLAG_TRAILERS);
    return rc;
}

const struct protocol grpc_web = {
    .has_envelopes = true,
    .accept_encoding = "grpc-accept-encoding",
    .read_head = read_head,
    .append_end = grpc_web_append_end,
};
