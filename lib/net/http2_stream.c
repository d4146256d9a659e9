/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request's side of an HTTP/2 stream, and its life.
 *
 * Theory of operation
 *
 * What: body bytes go to the handler at once when it takes them; else they wait in @in and the
 * stream's window stays shut, so that @in holds one window at most (and those of all streams the
 * connection's). The handler's taking opens the windows again.
 *
 * States: open (nghttp2 knows the stream) and live (the handler has the exchange) end in either
 * order; what is neither waits in the connection's @gone until nothing runs, and is freed.
 *
 *   open, live ──answer ended, reset by the handler──> open ──rest sent, RST──> gone
 *        └──────RST of the client, error──> live ──next turn: on_abort──> gone
 *
 * A tunnel (extended CONNECT) takes bytes once the handler has begun HTTP_FRAMING_RAW; on_end comes
 * for the empty request first, as with an Upgrade, then for the client's end.
 */
#include "net/http2_server_int.h"

#include <stdlib.h>

static void on_due(struct net_deadline *d);

struct http2_stream *http2_stream_new(struct http2_conn *c, int32_t id)
{
    struct http2_stream *st = calloc(1, sizeof(*st));

    if (!st)
        return NULL;
    st->conn = c;
    st->id = id;
    st->is_open = true;
    st->exchange.carrier = &http2_answer_carrier;
    st->exchange.server = c->server;
    st->exchange.stream = c->stream;
    http_exchange_set_ops(&st->exchange, NULL, NULL);
    adit_buf_init(&st->exchange.headers, HTTP_EXCHANGE_HEADERS_CAP);
    adit_buf_init(&st->in, HTTP2_CONN_WINDOW);
    adit_buf_init(&st->out, HTTP2_STREAM_QUEUE_MAX);
    net_deadline_init(&st->deadline, c->server->loop, on_due);
    adit_list_init(&st->node);
    adit_list_init(&st->ready);
    adit_list_push(&c->streams, &st->node);
    c->stream_cnt++;
    c->server->stream_cnt++;
    return st;
}

void http2_stream_free(struct http2_stream *st)
{
    adit_list_remove(&st->node);
    http_exchange_fini(&st->exchange);
    adit_buf_fini(&st->in);
    adit_buf_fini(&st->out);
    free(st);
}

/* Nobody knows it any more, but for those that run now. */
static void part(struct http2_stream *st)
{
    struct http2_conn *c = st->conn;

    if (st->is_open || st->exchange.is_live)
        return;
    net_deadline_cancel(&st->deadline);
    adit_list_remove(&st->ready);
    adit_list_remove(&st->node);
    adit_list_push(&c->gone, &st->node);
    c->stream_cnt--;
    c->server->stream_cnt--;
    c->queued -= st->out.len;
}

void http2_stream_wake(struct http2_stream *st)
{
    if (adit_list_empty(&st->ready))
        adit_list_push(&st->conn->ready, &st->ready);
    net_task_post(&st->conn->turn);
}

/* ---- windows ---- */

/* @len bytes were taken: let the client send as many. Without memory nghttp2 ends the session. */
static void open_windows(struct http2_stream *st, size_t len)
{
    struct http2_conn *c = st->conn;
    int rc = st->is_open ? nghttp2_session_consume(c->session, st->id, len)
                         : nghttp2_session_consume_connection(c->session, len);

    if (rc != 0)
        http2_server_break(c);
}

/* Nobody will take them: other streams may send, this one need not. */
static void drop_bytes(struct http2_stream *st, size_t len)
{
    if (len > 0 && nghttp2_session_consume_connection(st->conn->session, len) != 0)
        http2_server_break(st->conn);
}

/* ---- the end ---- */

/* The answer is whole: what the client still sends is of no interest (RFC 9113 8.1). */
static void stop_client(struct http2_stream *st)
{
    if (st->end_sent && !st->remote_ended && !st->exchange.is_live)
        http2_stream_reset(st, NGHTTP2_NO_ERROR);
}

void http2_stream_end_sent(struct http2_stream *st)
{
    st->end_sent = true;
    stop_client(st);
}

void http2_stream_over(struct http2_stream *st)
{
    http_exchange_over(&st->exchange);
    drop_bytes(st, st->in.len);
    adit_buf_clear(&st->in); /* its storage may be under a view of the handler's */
    stop_client(st);
    http2_stream_update(st);
    part(st);
}

static void abort_exchange(struct http2_stream *st, const struct adit_err *err)
{
    struct http_exchange *x = &st->exchange;

    if (!x->is_live)
        return;
    http2_stream_over(st);
    if (x->ops->on_abort)
        x->ops->on_abort(x, err);
}

void http2_stream_closed(struct http2_stream *st)
{
    st->is_open = false;
    http2_stream_update(st);
    if (st->exchange.is_live)
        http2_stream_wake(st);
    else
        part(st);
}

void http2_stream_fail(struct http2_stream *st, const struct adit_err *err)
{
    st->is_open = false;
    if (st->exchange.is_live)
        abort_exchange(st, err);
    else
        part(st);
}

void http2_stream_reset(struct http2_stream *st, uint32_t code)
{
    if (!st->is_open || st->is_ours)
        return;
    st->is_ours = true;
    if (nghttp2_submit_rst_stream(st->conn->session, 0, st->id, code) != 0)
        http2_server_break(st->conn);
    net_task_post(&st->conn->turn);
}

/* ---- the request ---- */

/* A tunnel's bytes are for nobody before it stands. */
static bool takes_input(const struct http2_stream *st)
{
    const struct http_exchange *x = &st->exchange;

    return x->is_live && !x->is_paused &&
           (!x->asked_upgrade || (x->framing == HTTP_FRAMING_RAW && x->answer != HTTP_ANSWER_NONE));
}

static void give_end(struct http2_stream *st)
{
    struct http_exchange *x = &st->exchange;

    st->end_told = true;
    if (x->ops->on_end)
        x->ops->on_end(x);
    if (x->is_live && x->framing == HTTP_FRAMING_RAW && x->answer == HTTP_ANSWER_ENDED)
        http2_stream_over(st);
}

void http2_stream_request(struct http2_stream *st, bool is_end)
{
    struct http2_conn *c = st->conn;
    struct http_exchange *x = &st->exchange;
    struct adit_err err = ADIT_ERR_INIT;
    struct http_head head;

    c->wait = HTTP2_WAIT_NOTHING;
    st->remote_ended = is_end;
    if (http2_fields_head(&c->fields, is_end, &head, &err) != ADIT_OK) {
        x->method = http2_fields_is_head(&c->fields) ? HTTP_HEAD : HTTP_OTHER;
        http2_answer_refuse(st, http2_fields_status(&c->fields), err.msg);
        return;
    }
    http_exchange_init(x, &head);
    c->server->conf.on_request(x, &head);
    /* The request of a tunnel has no body; its end is told unless raw began inside. */
    if (x->is_live && x->asked_upgrade && x->answer == HTTP_ANSWER_NONE && x->ops->on_end)
        x->ops->on_end(x);
    if (x->is_live)
        http2_stream_update(st);
}

void http2_stream_body(struct http2_stream *st, struct adit_view bytes)
{
    struct http_exchange *x = &st->exchange;

    x->expects_continue = false;
    if (!x->is_live) {
        drop_bytes(st, bytes.len);
        return;
    }
    if (!takes_input(st) || st->in.len > 0) {
        if (adit_buf_append_view(&st->in, bytes) != ADIT_OK) {
            drop_bytes(st, bytes.len);
            http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        }
        return;
    }
    if (x->ops->on_body)
        x->ops->on_body(x, bytes);
    open_windows(st, bytes.len);
    if (x->is_live)
        http2_stream_update(st);
}

void http2_stream_ended(struct http2_stream *st)
{
    st->remote_ended = true;
    http2_stream_update(st);
    if (takes_input(st) && st->in.len == 0 && !st->end_told) {
        give_end(st);
        http2_stream_update(st);
    }
}

/* ---- what the handler hears at a turn ---- */

static void give_held(struct http2_stream *st)
{
    struct http_exchange *x = &st->exchange;
    struct adit_view bytes = adit_buf_view(&st->in);

    st->in.len = 0; /* its bytes stay where they are until the call returns */
    if (x->ops->on_body)
        x->ops->on_body(x, bytes);
    open_windows(st, bytes.len);
    adit_buf_fini(&st->in);
    adit_buf_init(&st->in, HTTP2_CONN_WINDOW);
}

/* An answer of known length ends with its last byte, which may be before its handler says so. */
static bool is_only_to_end(const struct http2_stream *st)
{
    return st->end_sent && st->remote_ended && st->exchange.answer == HTTP_ANSWER_SENT;
}

void http2_stream_turn(struct http2_stream *st)
{
    struct http_exchange *x = &st->exchange;
    struct adit_err err = ADIT_ERR_INIT;

    if (x->is_live && !st->is_open && !is_only_to_end(st)) {
        (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the stream was reset"); /* only told */
        abort_exchange(st, &err);
        return;
    }
    if (x->is_live && st->owes_drain) {
        st->owes_drain = false;
        if (x->ops->on_drain)
            x->ops->on_drain(x);
    }
    if (takes_input(st) && st->in.len > 0)
        give_held(st);
    if (takes_input(st) && st->in.len == 0 && st->remote_ended && !st->end_told)
        give_end(st);
    if (x->is_live)
        http2_stream_update(st);
}

/* ---- what it waits for ---- */

static uint64_t wait_ms(const struct http2_stream *st)
{
    const struct http_exchange *x = &st->exchange;

    if (!st->is_open)
        return 0;
    if (!x->is_live)
        return NET_STREAM_FLUSH_MS;
    if (x->framing == HTTP_FRAMING_RAW && (st->end_told || x->answer == HTTP_ANSWER_ENDED))
        return x->server->conf.idle_ms;
    if (x->is_paused || x->asked_upgrade || st->remote_ended || x->answer != HTTP_ANSWER_NONE)
        return 0;
    return x->server->conf.body_ms;
}

void http2_stream_update(struct http2_stream *st)
{
    struct http_exchange *x = &st->exchange;
    uint64_t ms = wait_ms(st);

    if (ms)
        net_deadline_arm(&st->deadline, ms);
    else
        net_deadline_cancel(&st->deadline);
    if (x->is_live && x->expects_continue && x->answer == HTTP_ANSWER_NONE && !x->is_paused &&
        !st->remote_ended)
        http2_answer_continue(st);
}

static void on_due(struct net_deadline *d)
{
    struct http2_stream *st = ADIT_CONTAINER_OF(d, struct http2_stream, deadline);
    struct http2_conn *c = st->conn;
    struct adit_err err = ADIT_ERR_INIT;

    http2_server_enter(c);
    if (st->exchange.is_live && st->exchange.answer == HTTP_ANSWER_NONE) {
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the request body stalled"); /* only told */
        abort_exchange(st, &err);
        http2_answer_refuse(st, 408, err.msg);
    } else {
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the other side does not close"); /* the same */
        abort_exchange(st, &err);
        http2_stream_reset(st, NGHTTP2_CANCEL);
    }
    http2_server_leave(c);
}
