/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client calls: sending a request, taking its reply apart.
 *
 * Theory of operation
 *
 * What: the request's bytes go to @out while there is no connection, and straight to the stream
 * afterwards. The head of a request with a body waits for the first body bytes or the next loop
 * turn, so that both leave in one writev. A head without a body stays in @out until the reply
 * begins: should the kept connection turn out dead, it is sent once more on a new one.
 *
 * The reply is parsed where it lies; what comes while the call is paused is held by the link.
 *
 * Ownership: a call is heap memory of its own; it is freed after on_end, on_fail or
 * http_call_cancel(). Whoever calls back into the user looks at the link afterwards, never at the
 * call: link->call tells whether the call still exists.
 *
 * Failure: a failed write is not the end: the peer may have answered before it closed. Reading
 * tells: the reply, or EOF, which fails the call. Everything broken in a reply is
 * ADIT_ERR_PROTOCOL, and the connection is never used again.
 */
#include "net/http_client_int.h"

#include <stdlib.h>

#include "net/http_write.h"

/* Head, body until the connection stands, chunk framing of it. */
#define OUT_CAP (HTTP_HEAD_CAP + NET_STREAM_HIGH + 4096u)

/*
 * @out:         head (and body bytes) not sent yet; the head for a second try
 * @is_sent:     @out was given to the stream
 * @out_ended:   http_call_end_body() was called, or there is no body
 * @write_failed: nothing more can be sent
 * @failure:     why the call fails at the next turn; 0: it does not
 * @is_interim:  in a 1xx reply
 * @has_replied: on_head was called
 * @keeps_alive: the peer will keep the connection
 * @turn:        a pending head, or held reply bytes
 */
struct http_call {
    struct http_pool *pool; /* borrowed */
    struct http_link *link;
    const struct http_call_ops *ops;
    void *user;
    enum http_method method;
    enum http_body body;
    struct adit_buf out;
    struct net_task turn;
    unsigned interim_cnt;
    int failure;
    bool asked_upgrade, is_sent, out_ended, write_failed, has_retried;
    bool is_paused, is_interim, has_replied, is_raw, keeps_alive;
};

static const struct adit_view nothing = {NULL, 0};
static const struct adit_view crlf = ADIT_VIEW("\r\n");
static const struct adit_view last_chunk = ADIT_VIEW("0\r\n\r\n");

/* ---- ends ---- */

static void call_free(struct http_call *c)
{
    net_task_cancel(&c->turn);
    adit_buf_fini(&c->out);
    free(c);
}

void http_call_failed(struct http_call *c, const struct adit_err *err)
{
    net_task_cancel(&c->turn);
    if (c->link)
        http_pool_drop(c->link);
    c->link = NULL;
    if (c->ops->on_fail)
        c->ops->on_fail(c, err);
    call_free(c);
}

static void call_broken(struct http_call *c, int code, const char *what)
{
    struct adit_err err = ADIT_ERR_INIT;

    (void)adit_err_set(&err, code, "%s", what); /* only told */
    http_call_failed(c, &err);
}

void http_call_cancel(struct http_call *c)
{
    if (!c->link)
        return; /* inside on_end or on_fail: it is over */
    http_pool_drop(c->link);
    call_free(c);
}

/* The reply is complete; @left: bytes behind it. */
static void call_done(struct http_call *c, size_t left)
{
    struct http_link *l = c->link;

    if (left) {
        call_broken(c, ADIT_ERR_PROTOCOL, "bytes after the reply's end");
        return;
    }
    net_task_cancel(&c->turn);
    c->link = NULL;
    if (c->keeps_alive && c->out_ended && !c->write_failed && c->is_sent &&
        net_stream_queued(l->stream) == 0)
        http_pool_give(l);
    else
        http_pool_drop(l);
    if (c->ops->on_end)
        c->ops->on_end(c);
    call_free(c);
}

/* ---- sending ---- */

/* Some bytes of the request are lost for our own reason, which reading would not tell. */
static int fail_later(struct http_call *c, int rc)
{
    c->failure = rc;
    net_task_post(&c->turn);
    return rc;
}

/* Send what waits in @out, then the parts. */
static int send_out(struct http_call *c, struct adit_view head, struct adit_view bytes,
                    struct adit_view tail)
{
    struct adit_view views[] = {c->is_sent ? nothing : adit_buf_view(&c->out), head, bytes, tail};
    int rc = net_stream_write(c->link->stream, views, 4);

    c->is_sent = true;
    if (c->body != HTTP_BODY_NONE)
        adit_buf_fini(&c->out);
    if (rc == ADIT_OK)
        return rc;
    c->write_failed = true;
    return rc == ADIT_ERR_CLOSED ? rc : fail_later(c, rc);
}

/* Queue the parts before the connection stands. */
static int queue_out(struct http_call *c, struct adit_view head, struct adit_view bytes,
                     struct adit_view tail)
{
    int rc = adit_buf_reserve(&c->out, head.len + bytes.len + tail.len);

    if (rc == ADIT_OK)
        rc = adit_buf_append_view(&c->out, head);
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(&c->out, bytes);
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(&c->out, tail);
    return rc == ADIT_OK ? rc : fail_later(c, rc);
}

static int send_body(struct http_call *c, struct adit_view head, struct adit_view bytes,
                     struct adit_view tail)
{
    if (c->write_failed || c->failure)
        return ADIT_ERR_CLOSED;
    if (!c->link->stream)
        return queue_out(c, head, bytes, tail);
    return send_out(c, head, bytes, tail);
}

int http_call_write_body(struct http_call *c, struct adit_view bytes)
{
    char chunk[HTTP_CHUNK_HEAD_CAP];
    struct adit_view head;

    if (bytes.len == 0)
        return ADIT_OK;
    if (c->is_raw || c->body == HTTP_BODY_LENGTH)
        return send_body(c, nothing, bytes, nothing);
    head = adit_view_mem(chunk, http_write_chunk_head(chunk, bytes.len));
    return send_body(c, head, bytes, crlf);
}

void http_call_end_body(struct http_call *c)
{
    c->out_ended = true;
    if (c->is_raw) {
        net_stream_shutdown(c->link->stream);
        return;
    }
    if (c->body == HTTP_BODY_CHUNKED)
        (void)send_body(c, nothing, nothing, last_chunk); /* a failure is told later */
    else if (c->link->stream && !c->is_sent)
        (void)send_out(c, nothing, nothing, nothing); /* a failure is told later */
}

bool http_call_is_congested(const struct http_call *c)
{
    return !c->link->stream || net_stream_is_congested(c->link->stream);
}

void http_call_connected(struct http_call *c)
{
    bool has_body = c->body != HTTP_BODY_NONE;

    http_parser_set_request_method(c->link->parser, c->method);
    if (c->is_paused)
        net_stream_read_stop(c->link->stream);
    (void)send_out(c, nothing, nothing, nothing); /* a failure is told later */
    if (has_body && !http_call_is_congested(c) && c->ops->on_drain)
        c->ops->on_drain(c);
}

void http_call_drained(struct http_call *c)
{
    if (c->ops->on_drain)
        c->ops->on_drain(c);
}

/* ---- the reply ---- */

/* Return: the error that a reply's parser error is to the user. */
static void reply_broken(struct http_call *c, int rc, struct adit_err *err)
{
    err->code = rc == ADIT_ERR_NO_MEMORY ? rc : ADIT_ERR_PROTOCOL;
    (void)adit_err_wrap(err, "reply"); /* only told */
    http_call_failed(c, err);
}

static void take_head(struct http_call *c, const struct http_head *head)
{
    bool is_upgrade = head->status == 101;

    if ((is_upgrade && !c->asked_upgrade) || c->has_replied) {
        call_broken(c, ADIT_ERR_PROTOCOL, "a reply nobody asked for");
        return;
    }
    if (head->status < 200 && !is_upgrade) {
        c->is_interim = true;
        if (++c->interim_cnt > HTTP_CALL_INTERIM_MAX)
            call_broken(c, ADIT_ERR_PROTOCOL, "too many interim replies");
        return;
    }
    adit_buf_fini(&c->out); /* no second try any more */
    c->has_replied = true;
    c->keeps_alive = head->keep_alive && !is_upgrade;
    c->is_raw = is_upgrade;
    if (c->ops->on_head)
        c->ops->on_head(c, head);
}

static void take_body(struct http_call *c, struct adit_view bytes)
{
    if (c->ops->on_body)
        c->ops->on_body(c, bytes);
}

/* Take one event out of @in. Return: false when there is nothing more to do now. */
static bool call_step(struct http_call *c, struct adit_view *in)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_head head;
    struct adit_view body;
    enum http_event event;
    int rc;

    if (c->is_raw) {
        body = *in;
        *in = nothing;
        if (body.len)
            take_body(c, body);
        return false;
    }
    rc = http_parser_next(c->link->parser, in, &head, &body, &event, &err);
    if (rc != ADIT_OK) {
        reply_broken(c, rc, &err);
        return false;
    }
    switch (event) {
    case HTTP_EV_MORE:
        return false;
    case HTTP_EV_HEAD:
        take_head(c, &head);
        return true;
    case HTTP_EV_BODY:
        take_body(c, body);
        return true;
    case HTTP_EV_END:
        if (c->is_interim) {
            c->is_interim = false;
            return true;
        }
        call_done(c, in->len);
        return false;
    }
    return false;
}

/* Return: how many bytes at the end of @in were not taken because the call is paused. */
static size_t call_feed(struct http_call *c, struct adit_view in)
{
    struct http_link *l = c->link;

    while (l->call == c && !l->is_dead && !c->is_paused && call_step(c, &in))
        ;
    return l->call == c && !l->is_dead ? in.len : 0;
}

void http_call_read(struct http_call *c, struct adit_view bytes)
{
    struct http_link *l = c->link;
    size_t left;

    if (!c->is_sent) {
        call_broken(c, ADIT_ERR_PROTOCOL, "reply before the request");
        return;
    }
    l->got_byte = true;
    left = call_feed(c, bytes);
    if (!left)
        return;
    net_stream_read_stop(l->stream);
    if (adit_buf_append(&l->held, bytes.ptr + bytes.len - left, left) != ADIT_OK)
        call_broken(c, ADIT_ERR_NO_MEMORY, "reply");
}

static void take_held(struct http_call *c)
{
    struct http_link *l = c->link;
    size_t left;

    http_pool_enter(l);
    left = call_feed(c, adit_buf_view(&l->held));
    adit_buf_consume(&l->held, l->held.len - left);
    if (l->call == c && !l->is_dead && !c->is_paused)
        net_stream_read_start(l->stream);
    http_pool_leave(l);
}

static void on_turn(struct net_task *t)
{
    struct http_call *c = ADIT_CONTAINER_OF(t, struct http_call, turn);

    if (!c->failure && c->link->stream && !c->is_sent)
        (void)send_out(c, nothing, nothing, nothing); /* a failure is told here */
    if (c->failure)
        call_broken(c, c->failure, "the request could not be sent");
    else if (c->link->stream && !c->is_paused)
        take_held(c);
}

void http_call_pause(struct http_call *c)
{
    c->is_paused = true;
    if (c->link->stream)
        net_stream_read_stop(c->link->stream);
}

void http_call_resume(struct http_call *c)
{
    if (!c->is_paused)
        return;
    c->is_paused = false;
    net_task_post(&c->turn); /* held bytes, or the end of what was read already */
}

/* ---- the peer's end ---- */

static bool may_retry(const struct http_call *c)
{
    bool is_idempotent =
        c->method != HTTP_POST && c->method != HTTP_PATCH && c->method != HTTP_OTHER;

    return c->link->is_kept && !c->link->got_byte && !c->has_retried && is_idempotent &&
           c->body == HTTP_BODY_NONE && !c->asked_upgrade;
}

static void call_retry(struct http_call *c)
{
    struct adit_err err = ADIT_ERR_INIT;

    http_pool_drop(c->link);
    c->link = NULL;
    c->has_retried = true;
    c->is_sent = c->write_failed = false;
    if (http_pool_take(c->pool, c, true, &c->link, &err) != ADIT_OK)
        http_call_failed(c, &err);
}

void http_call_peer_ended(struct http_call *c, const struct adit_err *err)
{
    struct adit_err parse_err = ADIT_ERR_INIT;
    enum http_event event;

    if (c->is_raw && !err) {
        if (c->ops->on_end)
            c->ops->on_end(c);
        return;
    }
    if (may_retry(c)) {
        call_retry(c);
        return;
    }
    if (!err && !c->is_raw && http_parser_eof(c->link->parser, &event, &parse_err) == ADIT_OK &&
        event == HTTP_EV_END) {
        c->keeps_alive = false;
        call_done(c, 0);
        return;
    }
    call_broken(c, ADIT_ERR_CLOSED, err ? err->msg : "the peer closed before the reply's end");
}

/* ---- starting ---- */

int http_call_start(struct http_pool *p, enum http_method method, bool upgrade,
                    struct adit_view head, enum http_body body, const struct http_call_ops *ops,
                    void *user, struct http_call **out, struct adit_err *err)
{
    struct http_call *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "call");
    c->pool = p;
    c->ops = ops;
    c->user = user;
    c->method = method;
    c->body = body;
    c->asked_upgrade = upgrade;
    c->out_ended = body == HTTP_BODY_NONE;
    adit_buf_init(&c->out, OUT_CAP);
    net_task_init(&c->turn, p->loop, on_turn);
    rc = adit_buf_append_view(&c->out, head);
    if (rc != ADIT_OK)
        rc = adit_err_set(err, rc, "request head");
    else
        rc = http_pool_take(p, c, false, &c->link, err);
    if (rc != ADIT_OK) {
        call_free(c);
        return rc;
    }
    if (c->link->stream) {
        http_parser_set_request_method(c->link->parser, method);
        if (body == HTTP_BODY_NONE)
            (void)send_out(c, nothing, nothing, nothing); /* a failure is told later */
        else
            net_task_post(&c->turn);
    }
    *out = c;
    return ADIT_OK;
}

void *http_call_user(const struct http_call *c)
{
    return c->user;
}
