/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server exchange bound to one client call.
 *
 * Theory of operation
 *
 *   client ── exchange ──on_body──> call ── guest       paused while the call is congested
 *   client <── exchange <──on_body── call ── guest      paused while the exchange is congested
 *
 * States: the request may still run when the reply begins, so the two directions know nothing of
 * each other. The relay lives as long as both sides do; whichever ends first decides:
 *
 *   reply complete:         the exchange is ended
 *   failure before on_head: the exchange goes back to the owner (on_fail)
 *   failure after it:       the exchange is reset
 *   client gone:            the call is cancelled
 *   raw (101):              each half-close is passed on; over when both directions are closed
 *
 * Ownership: the relay is freed together with its call, and never touches the exchange afterwards.
 *
 * Trust: the reply comes from a guest. Its head is written anew from parsed fields: hop-by-hop
 * headers, Date and framing are left out (the server writes its own), Upgrade is kept for a 101.
 */
#include "net/relay.h"

#include <stdlib.h>

#include "net/http_write.h"

struct relay {
    struct http_exchange *x;
    struct http_call *call;
    const struct relay_ops *ops;
    void *owner; /* borrowed */
    enum http_method method;
    bool has_replied, is_raw, client_ended, guest_ended;
};

/* Over, but for on_fail's way. */
static void relay_done(struct relay *r)
{
    const struct relay_ops *ops = r->ops;
    void *owner = r->owner;

    free(r);
    if (ops->on_done)
        ops->on_done(owner);
}

/* Both raw directions are closed. The exchange is over by itself. */
static void raw_over(struct relay *r)
{
    http_call_cancel(r->call);
    relay_done(r);
}

/* ---- from the client ---- */

static void on_request_body(struct http_exchange *x, struct adit_view bytes)
{
    struct relay *r = http_exchange_user(x);

    if (r->ops->on_bytes)
        r->ops->on_bytes(r->owner, true, bytes.len);
    (void)http_call_write_body(r->call, bytes); /* after a failure on_fail or the reply comes */
    if (http_call_is_congested(r->call))
        http_exchange_pause(x);
}

static void on_request_end(struct http_exchange *x)
{
    struct relay *r = http_exchange_user(x);

    if (!r->is_raw) {
        http_call_end_body(r->call);
        return;
    }
    r->client_ended = true;
    if (r->guest_ended)
        raw_over(r);
    else
        http_call_end_body(r->call);
}

static void on_client_drain(struct http_exchange *x)
{
    struct relay *r = http_exchange_user(x);

    http_call_resume(r->call);
}

static void on_client_gone(struct http_exchange *x, const struct adit_err *err)
{
    struct relay *r = http_exchange_user(x);

    (void)err;
    http_call_cancel(r->call);
    relay_done(r);
}

static const struct http_exchange_ops exchange_ops = {
    .on_body = on_request_body,
    .on_end = on_request_end,
    .on_drain = on_client_drain,
    .on_abort = on_client_gone,
};

/* ---- from the guest ---- */

bool relay_is_passed_on(const struct http_head *head, struct adit_view name)
{
    if (head->status == 101 && adit_view_ieq_str(name, "upgrade"))
        return true;
    return !http_head_is_hop(head, name) && !adit_view_ieq_str(name, "date");
}

static int copy_headers(struct http_exchange *x, const struct http_head *head)
{
    int rc = ADIT_OK;

    for (size_t i = 0; i < head->header_cnt && rc == ADIT_OK; i++)
        if (relay_is_passed_on(head, head->headers[i].name))
            rc = http_exchange_header(x, head->headers[i].name, head->headers[i].value);
    return rc;
}

static enum http_framing framing_of(const struct http_head *head, enum http_method method)
{
    if (head->status == 101)
        return HTTP_FRAMING_RAW;
    if (head->has_content_length)
        return HTTP_FRAMING_LENGTH;
    return http_head_has_body(head, method) ? HTTP_FRAMING_CHUNKED : HTTP_FRAMING_NONE;
}

/* The owner has ended the exchange. */
static void owner_ended(struct relay *r)
{
    http_call_cancel(r->call);
    relay_done(r);
}

static void on_reply_head(struct http_call *call, const struct http_head *head)
{
    struct relay *r = http_call_user(call);

    if (r->ops->on_head) {
        r->has_replied = true;
        if (r->ops->on_reply)
            r->ops->on_reply(r->owner, head->status);
        if (!r->ops->on_head(r->owner, r->x, head))
            owner_ended(r);
        return;
    }
    if (copy_headers(r->x, head) != ADIT_OK) { /* no memory: nothing can be taken back */
        http_call_cancel(call);
        http_exchange_reset(r->x);
        relay_done(r);
        return;
    }
    if (r->ops->on_reply)
        r->ops->on_reply(r->owner, head->status);
    r->has_replied = true;
    r->is_raw = head->status == 101;
    http_exchange_begin(r->x, head->status, framing_of(head, r->method), head->content_length);
}

static void on_reply_body(struct http_call *call, struct adit_view bytes)
{
    struct relay *r = http_call_user(call);

    if (r->ops->on_bytes)
        r->ops->on_bytes(r->owner, false, bytes.len);
    if (r->ops->on_body) {
        if (!r->ops->on_body(r->owner, r->x, bytes)) {
            owner_ended(r);
            return;
        }
    } else {
        (void)http_exchange_write(r->x, bytes); /* if the client is gone on_abort comes */
    }
    if (http_exchange_is_congested(r->x))
        http_call_pause(call);
}

static void on_reply_end(struct http_call *call)
{
    struct relay *r = http_call_user(call);

    if (!r->is_raw) {
        if (!r->ops->on_end || r->ops->on_end(r->owner, r->x))
            http_exchange_end(r->x);
        relay_done(r);
        return;
    }
    r->guest_ended = true;
    http_exchange_end(r->x);
    if (r->client_ended)
        raw_over(r);
}

static void on_guest_drain(struct http_call *call)
{
    struct relay *r = http_call_user(call);

    http_exchange_resume(r->x);
}

static void on_guest_fail(struct http_call *call, const struct adit_err *err)
{
    struct relay *r = http_call_user(call);
    struct http_exchange *x = r->x;
    const struct relay_ops *ops = r->ops;
    void *owner = r->owner;

    if (r->has_replied) {
        http_exchange_reset(x);
        relay_done(r);
        return;
    }
    free(r);
    http_exchange_set_ops(x, NULL, NULL);
    ops->on_fail(owner, x, err);
}

static const struct http_call_ops call_ops = {
    .on_head = on_reply_head,
    .on_body = on_reply_body,
    .on_end = on_reply_end,
    .on_drain = on_guest_drain,
    .on_fail = on_guest_fail,
};

/* ---- the request's head ---- */

/* Absolute form becomes origin form; its path may be empty, and is "/" then. */
int relay_write_request_line(struct adit_buf *b, const struct http_head *request,
                             const struct url_target *url)
{
    if (url->authority.len == 0)
        return http_write_request_line(b, request->method_text, request->target);
    return adit_buf_appendf(b, "%.*s %.*s%s%.*s HTTP/1.1\r\n", ADIT_VIEW_ARG(request->method_text),
                            ADIT_VIEW_ARG(url->path), url->query.len > 0 ? "?" : "",
                            ADIT_VIEW_ARG(url->query));
}

int relay_write_framing(struct adit_buf *b, const struct http_head *request)
{
    if (request->has_content_length)
        return http_write_header_u64(b, "Content-Length", request->content_length);
    if (request->chunked)
        return http_write_header_str(b, "Transfer-Encoding", "chunked");
    if (request->upgrade) {
        int rc = http_write_header_str(b, "Connection", "Upgrade");
        return rc != 0 ? rc
                       : http_write_header(b, (struct adit_view)ADIT_VIEW("Upgrade"),
                                           http_head_get(request, "upgrade"));
    }
    return 0;
}

/* ---- start ---- */

static enum http_body body_of(const struct http_head *request)
{
    if (!http_head_has_body(request, request->method))
        return HTTP_BODY_NONE;
    return request->has_content_length ? HTTP_BODY_LENGTH : HTTP_BODY_CHUNKED;
}

int relay_start(struct http_exchange *x, const struct http_head *request, struct http_pool *pool,
                struct adit_view head, const struct relay_ops *ops, void *owner,
                struct adit_err *err)
{
    struct relay *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "relay");
    r->x = x;
    r->ops = ops;
    r->owner = owner;
    r->method = request->method;
    rc = http_call_start(pool, request->method, request->upgrade, head, body_of(request), &call_ops,
                         r, &r->call, err);
    if (rc != ADIT_OK) {
        free(r);
        return rc;
    }
    http_exchange_set_ops(x, &exchange_ops, r);
    if (body_of(request) != HTTP_BODY_NONE && http_call_is_congested(r->call))
        http_exchange_pause(x);
    return ADIT_OK;
}
