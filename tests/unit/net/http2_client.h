/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 client for tests: nghttp2's client side over a peer of net_fixture.h. It checks nothing
 * of what it sends, so that a test may send what no proper client would.
 */
#ifndef ADIT_TESTS_HTTP2_CLIENT_H
#define ADIT_TESTS_HTTP2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "tests/unit/net/net_fixture.h"

#define H2_STREAMS_MAX 1024 /* by stream id / 2 */
#define H2_BODY_CAP 4096
#define H2_FIELDS_CAP 8192
#define H2_OUT_CAP (8u * 1024 * 1024)

#ifndef UNUSED
#define UNUSED __attribute__((unused))
#endif

/* What came on one stream. */
struct h2_reply {
    int status, interim;
    bool is_closed, has_trailers;
    uint32_t error;
    size_t body_len;
    char body[H2_BODY_CAP];
    char fields[H2_FIELDS_CAP]; /* "name: value\n", trailers too */
};

/*
 * @pieces:    how many bytes leave at a time; 0: all
 * @is_stingy: open no window for what comes
 * @is_confused: it was told things that it did not ask for, and hears no more
 * @send_left: body bytes that the request still has to send
 */
struct h2_client {
    struct peer *p;
    nghttp2_session *session;
    size_t pieces, out_len;
    bool is_stingy, is_confused, holds_end, has_goaway;
    uint32_t goaway;
    size_t send_left[H2_STREAMS_MAX];
    struct h2_reply replies[H2_STREAMS_MAX];
    unsigned char out[H2_OUT_CAP];
};

static struct h2_client H;

static struct h2_reply *h2_reply(int32_t id)
{
    ck_assert_int_lt(id / 2, H2_STREAMS_MAX);
    return &H.replies[id / 2];
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *user)
{
    struct h2_reply *r = h2_reply(frame->hd.stream_id);
    size_t at = strlen(r->fields);

    (void)session;
    (void)flags;
    (void)user;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        int status = atoi((const char *)value);
        *(status < 200 ? &r->interim : &r->status) = status;
    }
    (void)snprintf(r->fields + at, sizeof(r->fields) - at, "%.*s: %.*s\n", (int)name_len,
                   (const char *)name, (int)value_len, (const char *)value);
    return 0;
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    (void)user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        H.has_goaway = true;
        H.goaway = frame->goaway.error_code;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && h2_reply(frame->hd.stream_id)->status &&
        frame->headers.cat == NGHTTP2_HCAT_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        h2_reply(frame->hd.stream_id)->has_trailers = true;
    return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                      size_t len, void *user)
{
    struct h2_reply *r = h2_reply(id);
    size_t room = r->body_len < H2_BODY_CAP - 1 ? H2_BODY_CAP - 1 - r->body_len : 0;

    (void)flags;
    (void)user;
    memcpy(r->body + (room ? r->body_len : 0), data, len < room ? len : room);
    r->body_len += len;
    if (!H.is_stingy)
        ck_assert_int_eq(nghttp2_session_consume(session, id, len), 0);
    return 0;
}

static int h2_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    (void)session;
    (void)user;
    h2_reply(id)->is_closed = true;
    h2_reply(id)->error = error;
    return 0;
}

static ssize_t h2_on_more(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    size_t *left = &H.send_left[id / 2], n = *left < cap ? *left : cap;

    (void)session;
    (void)source;
    (void)user;
    if (n == 0 && H.holds_end)
        return NGHTTP2_ERR_DEFERRED;
    memset(buf, 'b', n);
    *left -= n;
    if (*left == 0 && !H.holds_end)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static UNUSED void h2_client_init(struct peer *p)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *o;

    memset(&H, 0, sizeof(H));
    H.p = p;
    ck_assert_int_eq(nghttp2_session_callbacks_new(&cb), 0);
    ck_assert_int_eq(nghttp2_option_new(&o), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_close);
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_max_outbound_ack(o, 100000);
    nghttp2_option_set_max_send_header_block_length(o, 1 << 20);
    nghttp2_option_set_peer_max_concurrent_streams(o, 100000);
    ck_assert_int_eq(nghttp2_session_client_new2(&H.session, cb, NULL, o), 0);
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    ck_assert_int_eq(nghttp2_submit_settings(H.session, 0, NULL, 0), 0);
}

static UNUSED void h2_client_fini(void)
{
    nghttp2_session_del(H.session);
    H.session = NULL;
}

/* Take what came, send what fits. */
static UNUSED void h2_step(void)
{
    const uint8_t *frame;
    ssize_t n;

    if (H.p->len > 0) {
        n = nghttp2_session_mem_recv(H.session, (const uint8_t *)H.p->bytes, H.p->len);
        ck_assert_msg(n >= 0, "client: %s", nghttp2_strerror((int)n));
    }
    peer_forget(H.p);
    while (H.out_len < H2_OUT_CAP / 2 && (n = nghttp2_session_mem_send(H.session, &frame)) > 0) {
        memcpy(H.out + H.out_len, frame, (size_t)n);
        H.out_len += (size_t)n;
    }
    size_t len = H.pieces && H.pieces < H.out_len ? H.pieces : H.out_len;
    size_t sent = H.p->fd >= 0 && len ? peer_push(H.p, H.out, len) : 0;
    memmove(H.out, H.out + sent, H.out_len - sent);
    H.out_len -= sent;
    turn();
}

#define h2_until(condition)                                                                        \
    do {                                                                                           \
        uint64_t h2_limit_ = now_ms() + RUN_LIMIT_MS;                                              \
        while (!(condition)) {                                                                     \
            h2_step();                                                                             \
            ck_assert_msg(now_ms() < h2_limit_, "never came: %s", #condition);                     \
        }                                                                                          \
    } while (0)

/* Until everything that can happen without new input has happened. */
static UNUSED void h2_settle(void)
{
    for (int i = 0; i < 4; i++) {
        settle();
        h2_step();
    }
}

#define H2_NV(n, v)                                                                                \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1, 0      \
    }

static UNUSED nghttp2_nv h2_nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), 0};
}

/* @body_len: SIZE_MAX: no body. Return: the stream's id. */
static UNUSED int32_t h2_submit(const nghttp2_nv *nv, size_t cnt, size_t body_len)
{
    nghttp2_data_provider provider = {.read_callback = h2_on_more};
    int32_t id = nghttp2_submit_request(H.session, NULL, nv, cnt,
                                        body_len == SIZE_MAX ? NULL : &provider, NULL);

    ck_assert_int_gt(id, 0);
    if (body_len != SIZE_MAX)
        H.send_left[id / 2] = body_len;
    return id;
}

static UNUSED int32_t h2_request(const char *method, const char *path, size_t body_len)
{
    nghttp2_nv nv[] = {h2_nv(":method", method), h2_nv(":scheme", "http"), h2_nv(":path", path),
                       h2_nv(":authority", "a.example")};

    return h2_submit(nv, 4, body_len);
}

static UNUSED int32_t h2_get(const char *path)
{
    return h2_request("GET", path, SIZE_MAX);
}

#endif
