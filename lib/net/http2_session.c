/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nghttp2's session of a connection: its callbacks, options and first words.
 *
 * Theory of operation
 *
 * What: frames become calls of http2_stream_…; field sections go through http2_fields. Nothing is
 * sent and no connection ended from here: callbacks note it, http2_server does it when they have
 * returned.
 *
 * Limits: http2_server.h. Two of them are token buckets. A stream counts when the client resets it
 * or breaks it so that nghttp2 does; frames that move nothing count when they begin, less what DATA
 * earned.
 */
#include "net/http2_server_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/rand.h"

/* ---- floods ---- */

/* The client broke one of its streams, or had us break it. */
static void count_reset(struct http2_conn *c)
{
    if (!adit_limit_take(&c->resets, adit_clock_mono_ns()))
        http2_server_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void count_idle_frame(struct http2_conn *c)
{
    if (c->saved > 0)
        c->saved--;
    else if (!adit_limit_take(&c->idle_frames, adit_clock_mono_ns()))
        http2_server_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
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
    case NGHTTP2_RST_STREAM: /* counted when it is whole or the stream closes */
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

/* Many connections with many streams would be more than the server can hold. */
static bool has_its_share(const struct http2_conn *c)
{
    const struct http_server *s = c->server;

    return s->conf.streams_busy && s->stream_cnt >= s->conf.streams_busy &&
           c->stream_cnt >= HTTP2_STREAMS_FAIR;
}

static int begin_stream(struct http2_conn *c, int32_t id)
{
    struct http2_stream *st;

    if (has_its_share(c))
        return nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    st = http2_stream_new(c, id);
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
        (void)snprintf(c->websocket_key, sizeof(c->websocket_key), "%.*s",
                       ADIT_VIEW_ARG(adit_buf_view(&text)));
    adit_buf_fini(&text);
    return rc;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_conn *c = user;

    (void)session;
    c->fields_id = frame->hd.stream_id;
    c->fields_size = 0;
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
    c->fields_size += n.len + v.len + HTTP2_FIELD_OVERHEAD;
    if (c->fields_size > HTTP2_FIELDS_MAX) {
        http2_server_end(c, NGHTTP2_ENHANCE_YOUR_CALM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* no more of them is looked at */
    }
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
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code == NGHTTP2_NO_ERROR)
        count_reset(c); /* of others the stream's end tells */
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
    if (st)
        http2_stream_end_sent(st);
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

/* ---- the session ---- */

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

int http2_session_open(struct http2_conn *c)
{
    uint64_t now_ns = adit_clock_mono_ns();

    adit_limit_init(&c->resets, HTTP2_RESETS_BURST, HTTP2_RESETS_PER_S, now_ns);
    adit_limit_init(&c->idle_frames, HTTP2_IDLE_FRAMES_BURST, HTTP2_IDLE_FRAMES_PER_S, now_ns);
    if (http2_fields_init(&c->fields, NULL) != ADIT_OK || new_key(c) != ADIT_OK)
        return ADIT_ERR_NO_MEMORY;
    return session_new(c) == 0 && say_hello(c) == 0 ? ADIT_OK : ADIT_ERR_NO_MEMORY;
}
