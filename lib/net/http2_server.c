/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 server connections: nghttp2's session between a stream and the exchanges.
 *
 * Theory of operation
 *
 * What: bytes that come go through nghttp2_session_mem_recv(), whose callbacks end in
 * http2_stream_…; frames that leave come out of nghttp2_session_mem_send() in http2_server_pump(),
 * are gathered in @out and leave together. nghttp2 checks frames, HPACK, stream states, flow
 * control, Content-Length against DATA; http2_fields checks what a request says.
 *
 * nghttp2 must not be asked to send or receive from inside its own callbacks. So nothing is sent
 * while something runs in the connection (@busy); the outermost http2_server_leave() sends.
 * Handlers are called from received frames and from turns only, never from inside their own calls:
 * what else there is to tell waits in @ready for the next turn.
 *
 * States: a connection lives until it is broken (nghttp2 gave up, the peer is gone, a timer), or is
 * ending and without a stream. The next turn closes it; it is freed when nothing runs.
 *
 * Limits: http2_server.h names them. Reading stops while the client does not read, so that what it
 * asks for cannot pile up here; its going is then noticed within HTTP_SERVER_LOOK_MS.
 *
 * Failure: without memory a stream is reset, or nghttp2 ends the connection.
 */
#include "net/http2_server_int.h"

#include <stdlib.h>

/* ---- end of a connection ---- */

static void conn_kill(struct http2_conn *c)
{
    if (c->is_dead)
        return;
    c->is_dead = true;
    net_deadline_cancel(&c->deadline);
    net_task_cancel(&c->turn);
    if (c->is_broken)
        net_stream_reset(c->stream);
    else
        net_stream_close_gracefully(c->stream);
    http_server_unlink(c->server, &c->link);
}

/* Everybody hears that the connection is gone. */
static void conn_fail(struct http2_conn *c, const struct adit_err *err)
{
    struct adit_list *node;

    http2_server_enter(c);
    c->is_ending = true;
    while ((node = adit_list_first(&c->streams)))
        http2_stream_fail(ADIT_CONTAINER_OF(node, struct http2_stream, node), err);
    conn_kill(c);
    http2_server_leave(c);
}

static void free_gone(struct http2_conn *c)
{
    struct adit_list *node;

    while ((node = adit_list_first(&c->gone)))
        http2_stream_free(ADIT_CONTAINER_OF(node, struct http2_stream, node));
}

static void conn_free(struct http2_conn *c)
{
    nghttp2_session_del(c->session);
    http2_fields_fini(&c->fields);
    adit_buf_fini(&c->out);
    free(c);
}

void http2_server_break(struct http2_conn *c)
{
    c->is_broken = true;
    net_task_post(&c->turn);
}

/* Say GOAWAY, end when all that was said is said. */
void http2_server_end(struct http2_conn *c, uint32_t code)
{
    if (nghttp2_session_terminate_session(c->session, code) != 0)
        http2_server_break(c);
    c->is_ending = true;
}

/* ---- what the connection waits for ---- */

static enum http2_wait what_wait(const struct http2_conn *c)
{
    if (net_stream_is_congested(c->stream))
        return HTTP2_WAIT_STALLED;
    if (!c->has_begun)
        return HTTP2_WAIT_FIRST;
    if (c->fields_id)
        return HTTP2_WAIT_FIELDS;
    return c->stream_cnt == 0 ? HTTP2_WAIT_IDLE : HTTP2_WAIT_NOTHING;
}

static uint64_t wait_ms(const struct http2_conn *c)
{
    const struct http_server_conf *conf = &c->server->conf;

    switch (c->wait) {
    case HTTP2_WAIT_FIRST:
    case HTTP2_WAIT_FIELDS:
        return conf->header_ms;
    case HTTP2_WAIT_IDLE:
        return conf->idle_ms;
    case HTTP2_WAIT_STALLED:
        return HTTP_SERVER_LOOK_MS;
    case HTTP2_WAIT_NOTHING:
        break;
    }
    return 0;
}

/* Fields that drip in do not get more time, and pings keep nobody who has no stream. */
static void update(struct http2_conn *c)
{
    enum http2_wait wait = what_wait(c);

    if (wait == HTTP2_WAIT_STALLED)
        net_stream_read_stop(c->stream);
    else
        net_stream_read_start(c->stream);
    if (wait == c->wait)
        return;
    c->wait = wait;
    if (wait_ms(c))
        net_deadline_arm(&c->deadline, wait_ms(c));
    else
        net_deadline_cancel(&c->deadline);
}

static void on_due(struct net_deadline *d)
{
    struct http2_conn *c = ADIT_CONTAINER_OF(d, struct http2_conn, deadline);
    struct adit_err err = ADIT_ERR_INIT;

    if (c->wait == HTTP2_WAIT_STALLED && !net_stream_peer_has_closed(c->stream)) {
        net_deadline_arm(&c->deadline, HTTP_SERVER_LOOK_MS);
        return;
    }
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "nothing came"); /* only told */
    http2_server_enter(c);
    c->is_broken = c->wait == HTTP2_WAIT_STALLED;
    http2_server_end(c,
                     c->wait == HTTP2_WAIT_FIELDS ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR);
    http2_server_pump(c);
    conn_fail(c, &err);
    http2_server_leave(c);
}

/* ---- sending ---- */

static void flush(struct http2_conn *c)
{
    struct adit_view frames = adit_buf_view(&c->out);

    if (frames.len > 0 && net_stream_write(c->stream, &frames, 1) != ADIT_OK)
        http2_server_break(c);
    adit_buf_consume(&c->out, frames.len);
}

void http2_server_pump(struct http2_conn *c)
{
    const uint8_t *frame;
    ssize_t n = 0;

    while (!c->is_broken && !net_stream_is_congested(c->stream) &&
           (n = nghttp2_session_mem_send(c->session, &frame)) > 0) {
        if (adit_buf_append(&c->out, frame, (size_t)n) != ADIT_OK)
            http2_server_break(c);
        if (c->out.len >= HTTP2_BATCH)
            flush(c);
    }
    if (n < 0)
        http2_server_break(c);
    if (!c->is_broken)
        flush(c);
}

void http2_server_enter(struct http2_conn *c)
{
    c->busy++;
}

/* Has everything been said that will ever be? */
static bool is_finished(const struct http2_conn *c)
{
    if (c->is_broken)
        return false; /* the turn tells */
    if (c->is_ending && c->stream_cnt == 0)
        return !net_stream_is_congested(c->stream) && !nghttp2_session_want_write(c->session);
    return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

void http2_server_leave(struct http2_conn *c)
{
    if (c->busy > 1) {
        c->busy--;
        return;
    }
    if (!c->is_dead) {
        http2_server_pump(c);
        if (is_finished(c))
            net_task_post(&c->turn);
    }
    c->busy--;
    free_gone(c);
    if (c->is_dead)
        conn_free(c);
    else
        update(c);
}

/* ---- stream events ---- */

static void feed(struct http2_conn *c, struct adit_view bytes)
{
    struct adit_err err = ADIT_ERR_INIT;
    ssize_t n = nghttp2_session_mem_recv(c->session, (const uint8_t *)bytes.ptr, bytes.len);

    if (n >= 0)
        return;
    (void)adit_err_set(&err, ADIT_ERR_PROTOCOL, "%s", nghttp2_strerror((int)n)); /* only told */
    http2_server_pump(c);
    conn_fail(c, &err);
}

static void on_read(struct net_stream *stream, struct adit_view bytes)
{
    struct http2_conn *c = net_stream_owner(stream);

    http2_server_enter(c);
    feed(c, bytes);
    http2_server_leave(c);
}

static void on_end(struct net_stream *stream, const struct adit_err *err)
{
    struct http2_conn *c = net_stream_owner(stream);
    struct adit_err gone = ADIT_ERR_INIT;

    (void)adit_err_set(&gone, ADIT_ERR_CLOSED, "the client is gone%s%s", err ? ": " : "",
                       err ? err->msg : ""); /* only told */
    c->is_broken = err || c->stream_cnt > 0;
    conn_fail(c, &gone);
}

static void on_drain(struct net_stream *stream)
{
    struct http2_conn *c = net_stream_owner(stream);

    http2_server_enter(c);
    http2_server_leave(c); /* pumps */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

static void on_turn(struct net_task *t)
{
    struct http2_conn *c = ADIT_CONTAINER_OF(t, struct http2_conn, turn);
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_list now = c->ready, *node;

    if (c->is_broken || is_finished(c)) {
        (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the connection has ended"); /* only told */
        conn_fail(c, &err);
        return;
    }
    http2_server_enter(c);
    if (!adit_list_empty(&c->ready)) { /* who is woken now waits for the next turn */
        now.next->prev = now.prev->next = &now;
        adit_list_init(&c->ready);
    } else {
        adit_list_init(&now);
    }
    while ((node = adit_list_first(&now))) {
        adit_list_remove(node);
        http2_stream_turn(ADIT_CONTAINER_OF(node, struct http2_stream, ready));
    }
    http2_server_leave(c);
}

/* ---- the server's side ---- */

static void on_link_drain(struct http_link *link)
{
    struct http2_conn *c = ADIT_CONTAINER_OF(link, struct http2_conn, link);
    int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);

    http2_server_enter(c);
    c->is_ending = true;
    if (nghttp2_submit_goaway(c->session, 0, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        http2_server_break(c);
    http2_server_leave(c);
}

static void on_link_fail(struct http_link *link, const struct adit_err *err)
{
    struct http2_conn *c = ADIT_CONTAINER_OF(link, struct http2_conn, link);

    c->is_broken = true;
    conn_fail(c, err);
}

static const struct http_link_ops link_ops = {on_link_drain, on_link_fail};

static int conn_init(struct http2_conn *c)
{
    adit_list_init(&c->streams);
    adit_list_init(&c->ready);
    adit_list_init(&c->gone);
    adit_buf_init(&c->out, 64u * HTTP2_BATCH);
    net_deadline_init(&c->deadline, c->server->loop, on_due);
    net_task_init(&c->turn, c->server->loop, on_turn);
    return http2_session_open(c);
}

void http2_server_adopt(struct http_server *s, struct net_stream *take_stream,
                        struct adit_view before, struct adit_view bytes)
{
    struct http2_conn *c = calloc(1, sizeof(*c));

    if (!c) {
        net_stream_close(take_stream);
        return;
    }
    c->server = s;
    c->stream = take_stream;
    c->link.ops = &link_ops;
    if (conn_init(c) != ADIT_OK) {
        net_stream_close(take_stream);
        conn_free(c);
        return;
    }
    http_server_link(s, &c->link);
    net_stream_set_owner(take_stream, &stream_ops, c);
    http2_server_enter(c);
    feed(c, before);
    if (!c->is_dead)
        feed(c, bytes);
    http2_server_leave(c);
}
