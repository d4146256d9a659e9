/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with HTTP/2 whose handler does what the request's path asks for and notes what it saw in
 * T, and http2_client.h's client on it. start() begins a test and finish() ends it.
 */
#ifndef ADIT_TESTS_HTTP2_SERVER_FIXTURE_H
#define ADIT_TESTS_HTTP2_SERVER_FIXTURE_H

#include "net/http2_server.h"
#include "tests/unit/net/http2_client.h"

#define BIG (3u * 1024 * 1024)

/* What the handler does, chosen by the request's path, and what it saw. */
static struct {
    struct http_server *s;
    struct http_exchange *x; /* the last one, while it lives */
    char target[256], head[4096];
    int request_cnt, end_cnt, drain_cnt, abort_cnt, drained_cnt;
    int abort_code;
    size_t body_len, sent;
} T;

static char block[65536];

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    ck_assert_uint_gt(bytes.len, 0);
    T.body_len += bytes.len;
    if (strcmp(T.target, "/pause-each") == 0)
        http_exchange_pause(x);
    if (strcmp(T.target, "/echo-raw") == 0)
        ck_assert_int_eq(http_exchange_write(x, bytes), ADIT_OK);
}

static void over(struct http_exchange *x)
{
    if (T.x == x)
        T.x = NULL;
}

static void on_end(struct http_exchange *x)
{
    T.end_cnt++;
    if (strcmp(T.target, "/at-end") == 0) {
        over(x);
        http_exchange_reply(x, 200, str("whole"));
    } else if (strcmp(T.target, "/echo-raw") == 0) {
        over(x);
        http_exchange_end(x);
    }
}

/* Write as much as may be, then the end. */
static void send_big(struct http_exchange *x)
{
    while (T.sent < BIG && !http_exchange_is_congested(x)) {
        ck_assert_int_eq(http_exchange_write(x, adit_view_mem(block, sizeof(block))), ADIT_OK);
        T.sent += sizeof(block);
    }
    if (T.sent < BIG)
        return;
    over(x);
    http_exchange_end(x);
}

static void on_drain(struct http_exchange *x)
{
    T.drain_cnt++;
    send_big(x);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    T.abort_cnt++;
    T.abort_code = err->code;
    over(x);
}

static const struct http_exchange_ops ops = {on_body, on_end, on_drain, on_abort};

static void note_head(const struct http_head *head)
{
    size_t at = 0;

    (void)snprintf(T.target, sizeof(T.target), "%.*s", ADIT_VIEW_ARG(head->target));
    for (size_t i = 0; i < head->header_cnt; i++)
        at += (size_t)snprintf(T.head + at, sizeof(T.head) - at, "%.*s: %.*s\n",
                               ADIT_VIEW_ARG(head->headers[i].name),
                               ADIT_VIEW_ARG(head->headers[i].value));
}

static void stream_with_trailers(struct http_exchange *x)
{
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(x, str("body")), ADIT_OK);
    ck_assert(http_exchange_has_trailers(x));
    ck_assert_int_eq(http_exchange_trailer(x, str("Grpc-Status"), str("0")), ADIT_OK);
    ck_assert_int_eq(http_exchange_trailer(x, str("x"), str("a\nb")), ADIT_ERR_BAD_INPUT);
    over(x);
    http_exchange_end(x);
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    T.request_cnt++;
    T.x = x;
    note_head(head);
    http_exchange_set_ops(x, &ops, &T);
    ck_assert_ptr_eq(http_exchange_server(x), T.s);
    ck_assert_str_eq(net_stream_peer(http_exchange_stream(x)), "unix");
    if (strncmp(T.target, "/now", 4) == 0) {
        over(x);
        ck_assert_int_eq(http_exchange_header_str(x, "X-Path", T.target), ADIT_OK);
        ck_assert_int_eq(http_exchange_header_str(x, "Connection", "close"), ADIT_OK);
        http_exchange_reply(x, 200, str(T.target));
        ck_assert(adit_view_eq_str(head->target, T.target)); /* the head stays valid */
    } else if (strcmp(T.target, "/no-content") == 0) {
        over(x);
        http_exchange_reply(x, 204, str("never sent"));
    } else if (strcmp(T.target, "/paused") == 0) {
        http_exchange_pause(x);
    } else if (strcmp(T.target, "/echo-raw") == 0) {
        http_exchange_begin(x, 101, HTTP_FRAMING_RAW, 0);
    } else if (strcmp(T.target, "/reset") == 0) {
        over(x);
        http_exchange_reset(x);
    } else if (strcmp(T.target, "/trailers") == 0) {
        stream_with_trailers(x);
    } else if (strcmp(T.target, "/big") == 0) {
        http_exchange_begin(x, 200, HTTP_FRAMING_LENGTH, BIG);
        send_big(x);
    } else if (strcmp(T.target, "/end-later") == 0) {
        http_exchange_begin(x, 200, HTTP_FRAMING_LENGTH, 5);
        ck_assert_int_eq(http_exchange_write(x, str("01234")), ADIT_OK);
    } else if (strcmp(T.target, "/broken-promise") == 0) {
        http_exchange_begin(x, 200, HTTP_FRAMING_LENGTH, 2);
        ck_assert_int_eq(http_exchange_write(x, str("abc")), ADIT_ERR_CLOSED);
    }
}

static struct http_server_conf default_conf(void)
{
    struct http_server_conf conf = {.header_ms = 30000,
                                    .body_ms = 30000,
                                    .idle_ms = 30000,
                                    .owner = &T,
                                    .on_request = on_request,
                                    .adopt_http2 = http2_server_adopt};

    return conf;
}

static void start_with(const struct http_server_conf *conf)
{
    int fd;
    struct peer *p;

    memset(&T, 0, sizeof(T));
    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, conf, &T.s, NULL), ADIT_OK);
    p = peer_new(&fd);
    http_server_accept(T.s, fd);
    h2_client_init(p);
}

static void start(void)
{
    struct http_server_conf conf = default_conf();

    start_with(&conf);
}

static void on_drained(void *owner)
{
    ck_assert_ptr_eq(owner, &T);
    T.drained_cnt++;
}

static void finish(void)
{
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    http_server_drain(T.s, 0, on_drained);
    run_until(T.drained_cnt == 1);
    h2_client_fini();
    fixture_fini();
}

static void connection_still_serves(void)
{
    int32_t id = h2_get("/now/still");

    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 200);
    ck_assert_str_eq(h2_reply(id)->body, "/now/still");
}

/* The head of a frame, and zeroes behind it. */
static const char *frame_bytes(unsigned type, unsigned flags, unsigned id, size_t len)
{
    static char bytes[64];

    memset(bytes, 0, sizeof(bytes));
    bytes[2] = (char)len;
    bytes[3] = (char)type;
    bytes[4] = (char)flags;
    bytes[8] = (char)id;
    return bytes;
}

#endif
