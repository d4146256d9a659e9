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

#include "base/clock.h"
#include "base/encode.h"
#include "base/rand.h"

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
static void conn_end(struct http2_conn *c, uint32_t code)
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
    conn_end(c, c->wait == HTTP2_WAIT_FIELDS ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR);
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

/* ---- floods ---- */

/* The client broke one of its streams, or had us break it. */
static void count_reset(struct http2_conn *c)
{
    if (!adit_limit_take(&c->resets, adit_clock_mono_ns()))
        conn_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void count_idle_frame(struct http2_conn *c)
{
    if (c->saved > 0)
        c->saved--;
    else if (!adit_limit_take(&c->idle_frames, adit_clock_mono_ns()))
        conn_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void earn_idle_frames(struct http2_conn *c)
{
    if (c->saved < HTTP2_IDLE_FRAMES_SAVED)
        c->saved += HTTP2_IDLE_FRAMES_PER_DATA;
}

/* ---- nghttp2's callbacks ---- */

static struct http2_stream *stream_by_id(struct http2_conn *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct http2_conn *c = user;
    bool is_last = hd->flags & NGHTTP2_FLAG_END_STREAM;

    (void)session;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_RST_STREAM: /* counted when the stream closes */
        break;
    case NGHTTP2_DATA:
        if (hd->length > 0)
            earn_idle_frames(c);
        else if (!is_last)
            count_idle_frame(c);
        break;
    default:
        count_idle_frame(c);
    }
    return 0;
}

static int begin_stream(struct http2_conn *c, int32_t id)
{
    struct http2_stream *st = http2_stream_new(c, id);

    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (nghttp2_session_set_stream_user_data(c->session, id, st) != 0) {
        http2_stream_closed(st);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static int new_key(struct http2_conn *c)
{
    unsigned char raw[16];
    struct adit_buf text;
    int rc;

    adit_rand_bytes(raw, sizeof(raw));
    adit_buf_init(&text, sizeof(c->websocket_key));
    rc = adit_base64_append(&text, raw, sizeof(raw));
    if (rc == ADIT_OK)
        memcpy(c->websocket_key, adit_buf_view(&text).ptr, text.len);
    adit_buf_fini(&text);
    return rc;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_conn *c = user;

    (void)session;
    c->fields_id = frame->hd.stream_id;
    http2_fields_begin(&c->fields, adit_view_mem(c->websocket_key, HTTP2_WEBSOCKET_KEY_CAP - 1));
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    return begin_stream(c, frame->hd.stream_id);
}

/* Trailers were checked by nghttp2 and are dropped, as with HTTP/1. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    struct http2_conn *c = user;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);

    (void)session;
    (void)flags;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        http2_fields_add(&c->fields, adit_view_mem(n.base, n.len), adit_view_mem(v.base, v.len));
    return 0;
}

/* What nghttp2 would let go by without the field. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void on_headers(struct http2_conn *c, const nghttp2_frame *frame)
{
    struct http2_stream *st = stream_by_id(c, frame->hd.stream_id);
    bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    c->fields_id = 0;
    if (!st)
        return;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        http2_stream_request(st, is_end);
    if (is_end)
        http2_stream_ended(st);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st;

    (void)session;
    c->has_begun = true;
    if (frame->hd.type == NGHTTP2_HEADERS)
        on_headers(c, frame);
    if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        (st = stream_by_id(c, frame->hd.stream_id)))
        http2_stream_ended(st);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st = stream_by_id(c, id);

    (void)session;
    (void)flags;
    if (st)
        http2_stream_body(st, adit_view_mem(data, len));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st = stream_by_id(c, id);

    (void)session;
    if (c->fields_id == id)
        c->fields_id = 0;
    if (!st)
        return 0;
    if (code != NGHTTP2_NO_ERROR && !st->is_ours)
        count_reset(c);
    http2_stream_closed(st);
    return 0;
}

/* The answer is whole: what the client still sends is of no interest (RFC 9113 8.1). */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st;
    bool may_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;

    (void)session;
    if (frame->hd.type == NGHTTP2_DATA)
        earn_idle_frames(c);
    if (!may_end || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    st = stream_by_id(c, frame->hd.stream_id);
    if (st && !st->remote_ended && !st->exchange.is_live)
        http2_stream_reset(st, NGHTTP2_NO_ERROR);
    return 0;
}

/* An answer's head that cannot be sent takes its stream along. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code,
                             void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st = stream_by_id(c, frame->hd.stream_id);

    (void)session;
    (void)code;
    if (st && frame->hd.type == NGHTTP2_HEADERS)
        http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    return 0;
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

static void set_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(cb, http2_answer_send_data);
}

static void set_options(nghttp2_option *o)
{
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, 2 * HTTP2_IDLE_FRAMES_BURST); /* behind our count */
    nghttp2_option_set_max_send_header_block_length(o, 2 * HTTP_EXCHANGE_HEADERS_CAP);
    /* Behind our own count: resets of streams that are closed already. */
    nghttp2_option_set_stream_reset_rate_limit(o, 2 * HTTP2_RESETS_BURST, 2 * HTTP2_RESETS_PER_S);
}

static int session_new(struct http2_conn *c)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    int rc = nghttp2_session_callbacks_new(&cb);

    if (rc == 0)
        rc = nghttp2_option_new(&option);
    if (rc == 0) {
        set_callbacks(cb);
        set_options(option);
        rc = nghttp2_session_server_new2(&c->session, cb, c, option);
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    return rc;
}

/* RFC 9218's priorities are not asked for: without memory nghttp2 1.52 frees twice there. By those
 * of RFC 7540 streams of equal weight take turns. */
static int say_hello(struct http2_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_CAP},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int rc =
        nghttp2_submit_settings(c->session, 0, settings, sizeof(settings) / sizeof(settings[0]));

    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(c->session, 0, 0, HTTP2_CONN_WINDOW);
    return rc;
}

static int conn_init(struct http2_conn *c)
{
    uint64_t now_ns = adit_clock_mono_ns();

    adit_list_init(&c->streams);
    adit_list_init(&c->ready);
    adit_list_init(&c->gone);
    adit_buf_init(&c->out, 64u * HTTP2_BATCH);
    adit_limit_init(&c->resets, HTTP2_RESETS_BURST, HTTP2_RESETS_PER_S, now_ns);
    adit_limit_init(&c->idle_frames, HTTP2_IDLE_FRAMES_BURST, HTTP2_IDLE_FRAMES_PER_S, now_ns);
    net_deadline_init(&c->deadline, c->server->loop, on_due);
    net_task_init(&c->turn, c->server->loop, on_turn);
    if (http2_fields_init(&c->fields, NULL) != ADIT_OK || new_key(c) != ADIT_OK)
        return ADIT_ERR_NO_MEMORY;
    return session_new(c) == 0 && say_hello(c) == 0 ? ADIT_OK : ADIT_ERR_NO_MEMORY;
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
