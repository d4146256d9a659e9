/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections of the HTTP server, seen by nghttp2's client over socket pairs. */
#include "tests/unit/suite.h"

#include "http2_client.h"

#include "net/http2_server.h"

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

/* ---- answers ---- */

START_TEST(http2_server_answers_and_keeps_the_connection)
{
    start();
    for (int i = 0; i < 3; i++) {
        int32_t id = h2_get("/now");

        h2_until(h2_reply(id)->is_closed);
        ck_assert_int_eq(h2_reply(id)->status, 200);
        ck_assert_uint_eq(h2_reply(id)->error, 0);
        ck_assert_str_eq(h2_reply(id)->body, "/now");
        ck_assert_ptr_nonnull(strstr(h2_reply(id)->fields, "content-length: 4\n"));
        ck_assert_ptr_nonnull(strstr(h2_reply(id)->fields, "x-path: /now\n"));
        ck_assert_ptr_nonnull(strstr(h2_reply(id)->fields, "date: "));
        ck_assert_ptr_null(strstr(h2_reply(id)->fields, "connection:"));
    }
    ck_assert_str_eq(T.head, "host: a.example\n");
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 1);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

/* _i: all at once, byte by byte, odd pieces. */
START_TEST(http2_server_takes_frames_in_any_pieces)
{
    static const size_t pieces[] = {0, 1, 7, 100};

    start();
    H.pieces = pieces[_i];
    for (int i = 0; i < 20; i++) {
        int32_t id = i % 2 ? h2_get("/now/piece") : h2_request("POST", "/at-end", 100);

        h2_until(h2_reply(id)->is_closed);
        ck_assert_int_eq(h2_reply(id)->status, 200);
        ck_assert_str_eq(h2_reply(id)->body, i % 2 ? "/now/piece" : "whole");
    }
    ck_assert_int_eq(T.request_cnt, 20);
    finish();
}
END_TEST

START_TEST(http2_server_serves_as_many_streams_as_it_says)
{
    int32_t ids[HTTP2_STREAMS_MAX];

    start();
    for (size_t i = 0; i < HTTP2_STREAMS_MAX; i++)
        ids[i] = h2_get("/wait");
    h2_until(T.request_cnt == HTTP2_STREAMS_MAX);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), HTTP2_STREAMS_MAX);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 1);
    (void)nghttp2_submit_rst_stream(H.session, 0, ids[7], NGHTTP2_CANCEL);
    h2_until(T.abort_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), HTTP2_STREAMS_MAX - 1);
    connection_still_serves();
    peer_close(H.p);
    run_until(T.abort_cnt == HTTP2_STREAMS_MAX);
    finish();
}
END_TEST

START_TEST(http2_server_leaves_out_the_body_of_head_and_204)
{
    int32_t head, empty, whole;

    start();
    head = h2_request("HEAD", "/now", SIZE_MAX);
    empty = h2_get("/no-content");
    h2_until(h2_reply(head)->is_closed && h2_reply(empty)->is_closed);
    ck_assert_int_eq(h2_reply(head)->status, 200);
    ck_assert_uint_eq(h2_reply(head)->body_len, 0);
    ck_assert_ptr_nonnull(strstr(h2_reply(head)->fields, "content-length: 4\n"));
    ck_assert_int_eq(h2_reply(empty)->status, 204);
    ck_assert_ptr_null(strstr(h2_reply(empty)->fields, "content-length"));
    whole = h2_get("/trailers");
    h2_until(h2_reply(whole)->is_closed);
    ck_assert_str_eq(h2_reply(whole)->body, "body");
    ck_assert(h2_reply(whole)->has_trailers);
    ck_assert_ptr_nonnull(strstr(h2_reply(whole)->fields, "grpc-status: 0\n"));
    finish();
}
END_TEST

START_TEST(http2_server_resets_one_stream_not_the_connection)
{
    int32_t by_handler, by_promise;

    start();
    by_handler = h2_get("/reset");
    h2_until(h2_reply(by_handler)->is_closed);
    ck_assert_uint_eq(h2_reply(by_handler)->error, NGHTTP2_INTERNAL_ERROR);
    ck_assert_int_eq(T.abort_cnt, 0);
    by_promise = h2_get("/broken-promise");
    h2_until(h2_reply(by_promise)->is_closed);
    ck_assert_uint_ne(h2_reply(by_promise)->error, 0);
    ck_assert_int_eq(T.abort_cnt, 1);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_joins_cookies_and_checks_host)
{
    nghttp2_nv nv[] = {H2_NV(":method", "GET"), H2_NV(":scheme", "https"),
                       H2_NV(":path", "/now"),  H2_NV("host", "b.example:8"),
                       H2_NV("cookie", "a=1"),  H2_NV("cookie", "b=2"),
                       H2_NV("te", "trailers")};
    int32_t id;

    start();
    id = h2_submit(nv, 7, SIZE_MAX);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 200);
    ck_assert_str_eq(T.head, "host: b.example:8\nte: trailers\ncookie: a=1; b=2\n");
    finish();
}
END_TEST

START_TEST(http2_server_serves_http1_beside)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;
    int fd;

    start_with(&conf);
    p = peer_new(&fd);
    http_server_accept(T.s, fd);
    connection_still_serves();
    /* Begins like the preface, and comes in pieces. */
    peer_send(p, "PR");
    settle();
    peer_send(p, "OPFIND /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n/now"));
    peer_send(p,
              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); /* not the first request: no HTTP/2 any more */
    run_until(p->ended);
    ck_assert(peer_has(p, "HTTP/1.1 505") || peer_has(p, "HTTP/1.1 400"));
    finish();
}
END_TEST

/* ---- the request's body ---- */

START_TEST(http2_server_opens_the_window_as_the_handler_takes)
{
    struct http_exchange *x;
    int32_t id;

    start();
    id = h2_request("POST", "/paused", BIG);
    h2_until(T.request_cnt == 1);
    x = T.x;
    h2_settle();
    ck_assert_uint_eq(T.body_len, 0);
    ck_assert_uint_eq(H.send_left[id / 2], BIG - HTTP2_STREAM_WINDOW);
    connection_still_serves(); /* one stream that nobody reads holds up no other */
    (void)snprintf(T.target, sizeof(T.target), "/at-end");
    http_exchange_resume(x);
    ck_assert_uint_eq(T.body_len, 0); /* not inside the handler's call */
    h2_until(h2_reply(id)->is_closed);
    ck_assert_uint_eq(T.body_len, BIG);
    ck_assert_int_eq(T.end_cnt, 1);
    finish();
}
END_TEST

START_TEST(http2_server_delivers_to_a_handler_that_pauses_each_time)
{
    int32_t id;

    start();
    id = h2_request("POST", "/pause-each", 600 * 1024);
    h2_until(T.request_cnt == 1);
    while (T.end_cnt == 0) {
        h2_step();
        http_exchange_resume(T.x);
    }
    ck_assert_uint_eq(T.body_len, 600 * 1024);
    struct http_exchange *x = T.x;
    http_exchange_reply(x, 200, str("all"));
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 200);
    finish();
}
END_TEST

START_TEST(http2_server_tells_the_client_to_stop_when_the_answer_is_whole)
{
    int32_t id;

    start();
    id = h2_request("POST", "/now", BIG);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 200);
    ck_assert_str_eq(h2_reply(id)->body, "/now");
    ck_assert_uint_eq(h2_reply(id)->error, NGHTTP2_NO_ERROR);
    connection_still_serves();
    finish();
}
END_TEST

static struct http_outcome last;

static void keep_outcome(struct http_exchange *x)
{
    last = http_exchange_outcome(x);
}

START_TEST(http2_server_lets_the_handler_end_after_the_last_byte_has_left)
{
    struct http_server_conf conf = default_conf();
    int32_t id;

    conf.on_over = keep_outcome;
    start_with(&conf);
    id = h2_get("/end-later");
    h2_until(h2_reply(id)->is_closed);
    h2_settle();
    ck_assert_int_eq(T.abort_cnt, 0);
    http_exchange_end(T.x);
    h2_settle();
    ck_assert(last.is_whole);
    ck_assert_uint_eq(last.sent_len, 5);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_tells_the_client_to_stop_when_the_handler_ends_later)
{
    int32_t id;

    start();
    H.holds_end = true;
    id = h2_request("POST", "/end-later", 10);
    h2_until(h2_reply(id)->body_len == 5);
    h2_settle();
    ck_assert(!h2_reply(id)->is_closed);
    http_exchange_end(T.x);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_uint_eq(h2_reply(id)->error, NGHTTP2_NO_ERROR);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http2_server_tells_the_handler_of_a_reset_after_the_last_byte)
{
    int32_t id;

    start();
    H.holds_end = true;
    id = h2_request("POST", "/end-later", 10);
    h2_until(h2_reply(id)->body_len == 5);
    ck_assert_int_eq(nghttp2_submit_rst_stream(H.session, 0, id, NGHTTP2_CANCEL), 0);
    h2_until(T.abort_cnt == 1);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http2_server_asks_for_the_body_that_the_client_holds_back)
{
    nghttp2_nv nv[] = {H2_NV(":method", "POST"),        H2_NV(":scheme", "http"),
                       H2_NV(":path", "/at-end"),       H2_NV(":authority", "a"),
                       H2_NV("expect", "100-continue"), H2_NV("content-length", "5")};
    int32_t id;

    start();
    H.holds_end = true;
    id = h2_submit(nv, 6, 0);
    h2_until(h2_reply(id)->interim == 100);
    H.holds_end = false;
    H.send_left[id / 2] = 5;
    ck_assert_int_eq(nghttp2_session_resume_data(H.session, id), 0);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 200);
    ck_assert_uint_eq(T.body_len, 5);
    finish();
}
END_TEST

/* ---- back-pressure ---- */

START_TEST(http2_server_holds_little_for_a_client_that_opens_no_window)
{
    int32_t id, other;

    start();
    H.is_stingy = true;
    id = h2_get("/big");
    h2_until(h2_reply(id)->body_len == 65535);
    h2_settle();
    ck_assert(http_exchange_is_congested(T.x));
    ck_assert_uint_le(T.sent, 65535 + HTTP2_STREAM_HIGH + 2 * sizeof(block));
    ck_assert_int_eq(T.drain_cnt, 0);
    ck_assert_int_eq(nghttp2_session_set_local_window_size(H.session, 0, 0, 8 << 20), 0);
    other = h2_get("/now/other");
    h2_until(h2_reply(other)->is_closed);
    ck_assert_str_eq(h2_reply(other)->body, "/now/other");
    ck_assert_int_eq(nghttp2_session_set_local_window_size(H.session, 0, id, 8 << 20), 0);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_uint_eq(h2_reply(id)->body_len, BIG);
    ck_assert_int_gt(T.drain_cnt, 0);
    finish();
}
END_TEST

START_TEST(http2_server_shares_the_connection_between_large_answers)
{
    int32_t big, small;

    start();
    big = h2_get("/big");
    h2_until(h2_reply(big)->body_len > 100000);
    small = h2_get("/now/small");
    h2_until(h2_reply(small)->is_closed);
    ck_assert(!h2_reply(big)->is_closed);
    h2_until(h2_reply(big)->is_closed);
    ck_assert_uint_eq(h2_reply(big)->body_len, BIG);
    finish();
}
END_TEST

/* ---- tunnels ---- */

START_TEST(http2_server_opens_a_tunnel_for_a_websocket)
{
    nghttp2_nv nv[] = {H2_NV(":method", "CONNECT"), H2_NV(":protocol", "websocket"),
                       H2_NV(":scheme", "http"),    H2_NV(":path", "/echo-raw"),
                       H2_NV(":authority", "a"),    H2_NV("sec-websocket-version", "13")};
    int32_t id;

    start();
    H.holds_end = true;
    id = h2_submit(nv, 6, 0);
    h2_until(h2_reply(id)->status == 200);
    ck_assert_ptr_nonnull(strstr(T.head, "connection: Upgrade\nupgrade: websocket\n"));
    ck_assert_ptr_nonnull(strstr(T.head, "sec-websocket-key: "));
    H.send_left[id / 2] = 1000;
    ck_assert_int_eq(nghttp2_session_resume_data(H.session, id), 0);
    h2_until(h2_reply(id)->body_len == 1000);
    ck_assert_int_eq(T.end_cnt, 0);
    H.holds_end = false;
    ck_assert_int_eq(nghttp2_session_resume_data(H.session, id), 0);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(T.end_cnt, 1);
    ck_assert_uint_eq(h2_reply(id)->error, 0);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http2_server_resets_a_tunnel_that_stays_half_closed)
{
    nghttp2_nv nv[] = {H2_NV(":method", "CONNECT"), H2_NV(":protocol", "websocket"),
                       H2_NV(":scheme", "http"),    H2_NV(":path", "/echo-raw"),
                       H2_NV(":authority", "a"),    H2_NV("sec-websocket-version", "13")};
    struct http_server_conf conf = default_conf();
    int32_t id;

    conf.idle_ms = 100;
    start_with(&conf);
    H.holds_end = true;
    id = h2_submit(nv, 6, 0);
    h2_until(h2_reply(id)->status == 200);
    http_exchange_end(T.x);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

/* ---- what is refused ---- */

#define GET H2_NV(":method", "GET")
#define HTTP H2_NV(":scheme", "http")
#define PATH H2_NV(":path", "/now")
#define HOST H2_NV(":authority", "a")

/* Requests that two readers may read in two ways, or that no client may send. */
static const struct {
    const char *what;
    nghttp2_nv nv[8];
    size_t body_len; /* 0: none */
    int status;      /* 0: the stream is reset */
} refused[] = {
    {"no method", {HTTP, PATH, HOST}, 0, 0},
    {"no path", {GET, HTTP, HOST}, 0, 0},
    {"no scheme", {GET, PATH, HOST}, 0, 0},
    {"no authority", {GET, HTTP, PATH}, 0, 0},
    {"two methods", {GET, GET, HTTP, PATH, HOST}, 0, 0},
    {"two paths", {GET, HTTP, PATH, PATH, HOST}, 0, 0},
    {"two authorities", {GET, HTTP, PATH, HOST, HOST}, 0, 0},
    {"unknown pseudo", {GET, HTTP, PATH, HOST, H2_NV(":evil", "1")}, 0, 0},
    {"status in a request", {GET, HTTP, PATH, HOST, H2_NV(":status", "200")}, 0, 0},
    {"pseudo behind a field", {GET, HTTP, PATH, H2_NV("a", "b"), HOST}, 0, 0},
    {"empty path", {GET, HTTP, H2_NV(":path", ""), HOST}, 0, 0},
    {"path without slash", {GET, HTTP, H2_NV(":path", "now"), HOST}, 0, 0},
    {"absolute path", {GET, HTTP, H2_NV(":path", "http://b/"), HOST}, 0, 0},
    {"star for GET", {GET, HTTP, H2_NV(":path", "*"), HOST}, 0, 0},
    {"space in path", {GET, HTTP, H2_NV(":path", "/a b"), HOST}, 0, -1},
    {"request line in path", {GET, HTTP, H2_NV(":path", "/ HTTP/1.1\r\nX: y"), HOST}, 0, 0},
    {"fragment in path", {GET, HTTP, H2_NV(":path", "/a#b"), HOST}, 0, 400},
    {"tab in path", {GET, HTTP, H2_NV(":path", "/a\tb"), HOST}, 0, -1},
    {"high byte in path", {GET, HTTP, H2_NV(":path", "/\x80"), HOST}, 0, -1},
    {"space in method", {H2_NV(":method", "GET /"), HTTP, PATH, HOST}, 0, -1},
    {"lower case method", {H2_NV(":method", "get"), HTTP, PATH, HOST}, 0, 400},
    {"unknown method", {H2_NV(":method", "BREW"), HTTP, PATH, HOST}, 0, 400},
    {"CR LF in method", {H2_NV(":method", "GET\r\n"), HTTP, PATH, HOST}, 0, 0},
    {"odd scheme", {GET, H2_NV(":scheme", "ftp"), PATH, HOST}, 0, -1},
    {"CR in authority", {GET, HTTP, PATH, H2_NV(":authority", "a\rb")}, 0, 0},
    {"host differs", {GET, HTTP, PATH, HOST, H2_NV("host", "b")}, 0, 400},
    {"two hosts", {GET, HTTP, PATH, H2_NV("host", "a"), H2_NV("host", "a")}, 0, 0},
    {"CR LF in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\r\nEvil: 1")}, 0, 0},
    {"LF in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\nb")}, 0, 0},
    {"NUL in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\0b")}, 0, 0},
    {"space before a value", {GET, HTTP, PATH, HOST, H2_NV("x", " a")}, 0, -1},
    {"empty name", {GET, HTTP, PATH, HOST, H2_NV("", "a")}, 0, 0},
    {"colon in a name", {GET, HTTP, PATH, HOST, H2_NV("a:b", "c")}, 0, 0},
    {"space in a name", {GET, HTTP, PATH, HOST, H2_NV("a b", "c")}, 0, 0},
    {"CR LF in a name", {GET, HTTP, PATH, HOST, H2_NV("a\r\nb", "c")}, 0, 0},
    {"connection", {GET, HTTP, PATH, HOST, H2_NV("connection", "close")}, 0, 0},
    {"keep-alive", {GET, HTTP, PATH, HOST, H2_NV("keep-alive", "1")}, 0, 0},
    {"proxy-connection", {GET, HTTP, PATH, HOST, H2_NV("proxy-connection", "a")}, 0, 0},
    {"upgrade", {GET, HTTP, PATH, HOST, H2_NV("upgrade", "websocket")}, 0, 0},
    {"transfer-encoding", {GET, HTTP, PATH, HOST, H2_NV("transfer-encoding", "chunked")}, 5, 0},
    {"te", {GET, HTTP, PATH, HOST, H2_NV("te", "gzip")}, 0, 0},
    {"expectation", {GET, HTTP, PATH, HOST, H2_NV("expect", "miracle")}, 0, 400},
    {"length twice",
     {GET, HTTP, PATH, HOST, H2_NV("content-length", "5"), H2_NV("content-length", "5")},
     5,
     0},
    {"length with sign", {GET, HTTP, PATH, HOST, H2_NV("content-length", "+5")}, 5, 0},
    {"length as list", {GET, HTTP, PATH, HOST, H2_NV("content-length", "5, 5")}, 5, 0},
    {"length with zero in front", {GET, HTTP, PATH, HOST, H2_NV("content-length", "05")}, 5, 400},
    {"length without body", {GET, HTTP, PATH, HOST, H2_NV("content-length", "5")}, 0, 0},
    {"CONNECT", {H2_NV(":method", "CONNECT"), HOST}, 0, 501},
    {"CONNECT to a port", {H2_NV(":method", "CONNECT"), H2_NV(":authority", "a:22")}, 5, 501},
    {"protocol without CONNECT", {GET, H2_NV(":protocol", "websocket"), HTTP, PATH, HOST}, 0, 0},
    {"other protocol",
     {H2_NV(":method", "CONNECT"), H2_NV(":protocol", "connect-udp"), HTTP, PATH, HOST},
     5,
     501},
};
#define REFUSED_CNT (sizeof(refused) / sizeof(refused[0]))

START_TEST(http2_server_refuses_what_could_be_read_in_two_ways)
{
    size_t cnt = 0;
    struct h2_reply *r;

    while (refused[_i].nv[cnt].name)
        cnt++;
    start();
    r = h2_reply(h2_submit(refused[_i].nv, cnt, refused[_i].body_len ? 5 : SIZE_MAX));
    h2_until(r->is_closed);
    ck_assert_msg(T.request_cnt == 0, "%s: reached the handler", refused[_i].what);
    if (refused[_i].status == 0)
        ck_assert_msg(r->status == 0 && r->error == NGHTTP2_PROTOCOL_ERROR, "%s: %d, %u",
                      refused[_i].what, r->status, r->error);
    else if (refused[_i].status > 0)
        ck_assert_msg(r->status == refused[_i].status, "%s: %d", refused[_i].what, r->status);
    else
        ck_assert_msg(r->status == 400 || r->error, "%s: %d", refused[_i].what, r->status);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_counts_the_body_against_its_length)
{
    nghttp2_nv nv[] = {H2_NV(":method", "POST"), HTTP, H2_NV(":path", "/wait"), HOST,
                       H2_NV("content-length", "10")};
    int32_t longer, shorter;

    start();
    longer = h2_submit(nv, 5, 11);
    shorter = h2_submit(nv, 5, 9);
    h2_until(h2_reply(longer)->is_closed && h2_reply(shorter)->is_closed);
    ck_assert_uint_eq(h2_reply(longer)->error, NGHTTP2_PROTOCOL_ERROR);
    ck_assert_uint_eq(h2_reply(shorter)->error, NGHTTP2_PROTOCOL_ERROR);
    h2_until(T.abort_cnt == 2);
    ck_assert_int_eq(T.end_cnt, 0);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_bounds_the_fields)
{
    static char value[9000];
    nghttp2_nv nv[140] = {GET, HTTP, PATH, HOST};
    int32_t many, large;

    memset(value, 'v', sizeof(value) - 1);
    start();
    for (size_t i = 4; i < 140; i++)
        nv[i] = h2_nv("x", "y");
    many = h2_submit(nv, 140, SIZE_MAX);
    for (size_t i = 4; i < 12; i++)
        nv[i] = h2_nv("x", value);
    large = h2_submit(nv, 12, SIZE_MAX);
    h2_until(h2_reply(many)->is_closed && h2_reply(large)->is_closed);
    ck_assert_int_eq(h2_reply(many)->status, 431);
    ck_assert_int_eq(h2_reply(large)->status, 431);
    ck_assert_int_eq(T.request_cnt, 0);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_gives_each_its_share_while_it_is_busy)
{
    struct http_server_conf conf = default_conf();
    int32_t ids[HTTP2_STREAMS_FAIR + 2];

    conf.streams_busy = HTTP2_STREAMS_FAIR + 1;
    start_with(&conf);
    for (size_t i = 0; i < HTTP2_STREAMS_FAIR + 2; i++)
        ids[i] = h2_get("/wait");
    h2_until(h2_reply(ids[HTTP2_STREAMS_FAIR + 1])->is_closed);
    ck_assert_uint_eq(h2_reply(ids[HTTP2_STREAMS_FAIR + 1])->error, NGHTTP2_REFUSED_STREAM);
    ck_assert_int_eq(T.request_cnt, HTTP2_STREAMS_FAIR + 1);
    (void)nghttp2_submit_rst_stream(H.session, 0, ids[0], NGHTTP2_CANCEL);
    h2_until(T.abort_cnt == 1);
    connection_still_serves();
    finish();
}
END_TEST

/* ---- floods and odd bytes ---- */

static void calmed(void)
{
    h2_until(H.p->ended);
    h2_step();
    if (!H.is_confused) {
        ck_assert(H.has_goaway);
        ck_assert_uint_eq(H.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
}

START_TEST(http2_server_ends_a_rapid_reset)
{
    static const uint32_t codes[] = {NGHTTP2_CANCEL, NGHTTP2_NO_ERROR};

    start();
    for (int i = 0; i < HTTP2_RESETS_BURST + 300 && !H.p->ended; i++) {
        int32_t id = h2_get("/wait");
        h2_step();
        if (nghttp2_session_find_stream(H.session, id))
            (void)nghttp2_submit_rst_stream(H.session, 0, id, codes[_i]);
        h2_step();
    }
    calmed();
    ck_assert_int_eq(T.abort_cnt, T.request_cnt);
    ck_assert_int_ge(T.request_cnt, HTTP2_RESETS_BURST);
    ck_assert_int_lt(T.request_cnt, HTTP2_RESETS_BURST + 300);
    finish();
}
END_TEST

START_TEST(http2_server_lets_a_client_give_up_many_streams_at_once)
{
    int32_t ids[200];

    start();
    for (size_t i = 0; i < 200; i++)
        ids[i] = h2_get("/wait");
    h2_until(T.request_cnt == 200);
    for (size_t i = 0; i < 200; i++)
        (void)nghttp2_submit_rst_stream(H.session, 0, ids[i], NGHTTP2_CANCEL);
    h2_until(T.abort_cnt == 200);
    connection_still_serves();
    finish();
}
END_TEST

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

/* Frames that move nothing, and are cheap to send. */
static const struct {
    unsigned type, flags, id;
    size_t len;
} idle[] = {
    {NGHTTP2_PING, 0, 0, 8},          {NGHTTP2_SETTINGS, 0, 0, 0},
    {NGHTTP2_DATA, 0, 1, 0},          {NGHTTP2_PRIORITY, 0, 99, 5},

    {NGHTTP2_WINDOW_UPDATE, 0, 0, 4},
};

START_TEST(http2_server_ends_a_flood_of_frames_that_move_nothing)
{
    const char *frame;

    start();
    H.holds_end = true;
    H.is_confused = idle[_i].type == NGHTTP2_SETTINGS;
    (void)h2_request("POST", "/wait", 0);
    h2_until(T.request_cnt == 1);
    frame = frame_bytes(idle[_i].type, idle[_i].flags, idle[_i].id, idle[_i].len);
    if (idle[_i].type == NGHTTP2_WINDOW_UPDATE)
        memcpy(H.out, frame, 13);
    for (int i = 0; i < 20000 && !H.p->ended; i++) {
        memcpy(H.out + H.out_len, frame, 9 + idle[_i].len);
        if (idle[_i].type == NGHTTP2_WINDOW_UPDATE)
            H.out[H.out_len + 12] = 1; /* by one byte */
        H.out_len += 9 + idle[_i].len;
        if (i % 100 == 0)
            h2_step();
    }
    calmed();
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

START_TEST(http2_server_ends_an_endless_field_section)
{
    start();
    h2_until(H.p->total > 0);
    memcpy(H.out, frame_bytes(NGHTTP2_HEADERS, 0, 1, 1), 10);
    H.out[9] = 0x82; /* :method: GET */
    H.out_len = 10;
    for (int i = 0; i < 1000; i++) {
        memcpy(H.out + H.out_len, frame_bytes(NGHTTP2_CONTINUATION, 0, 1, 1), 10);
        H.out[H.out_len + 9] = 0x84;
        H.out_len += 10;
    }
    run_until((h2_step(), H.p->ended));
    ck_assert_int_eq(T.request_cnt, 0);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    finish();
}
END_TEST

/* One long field is put into HPACK's table, and then named by a byte as often as a frame holds. */
START_TEST(http2_server_ends_fields_that_are_made_of_few_bytes)
{
    enum { VALUE = 4000, LEN = 16384 };
    static const char put[] = "\x82\x86\x84\x41\x01h\x40\x01"
                              "a\x7f\xa1\x1e";
    unsigned char *frame = H.out;

    start();
    h2_until(H.p->total > 0);
    memset(frame, 0xbe, 9 + LEN); /* the field again */
    memcpy(frame, "\0\x40\0\1\5\0\0\0\1", 9);
    memcpy(frame + 9, put, sizeof(put) - 1);
    memset(frame + 9 + sizeof(put) - 1, 'v', VALUE);
    H.out_len = 9 + LEN;
    calmed();
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http2_server_closes_after_a_broken_preface)
{
    struct peer *p;
    int fd;

    start();
    p = peer_new(&fd);
    http_server_accept(T.s, fd);
    peer_send(p, "PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n");
    run_until(p->ended);
    connection_still_serves();
    finish();
}
END_TEST

/* ---- time and the end ---- */

START_TEST(http2_server_gives_a_preface_and_fields_their_time)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;
    int fd;

    conf.header_ms = 100;
    start_with(&conf);
    p = peer_new(&fd);
    http_server_accept(T.s, fd);
    peer_send(p, "PRI * HT");
    run_until(p->ended);
    h2_step();
    h2_settle();
    memcpy(H.out, frame_bytes(NGHTTP2_HEADERS, 0, 1, 1), 10);
    H.out[9] = 0x82;
    H.out_len = 10;
    h2_until(H.p->ended);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http2_server_answers_408_to_a_body_that_stalls)
{
    struct http_server_conf conf = default_conf();
    int32_t id, other;

    conf.body_ms = 100;
    start_with(&conf);
    H.holds_end = true;
    other = h2_get("/wait"); /* is no body's */
    id = h2_request("POST", "/at-end", 10);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_int_eq(h2_reply(id)->status, 408);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    ck_assert(!h2_reply(other)->is_closed);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_closes_an_idle_connection)
{
    struct http_server_conf conf = default_conf();
    int32_t id;

    conf.idle_ms = 150;
    start_with(&conf);
    id = h2_get("/wait");
    h2_until(T.request_cnt == 1);
    uint64_t until = now_ms() + 400;
    while (now_ms() < until)
        h2_step();
    ck_assert(!H.p->ended);
    http_exchange_reply(T.x, 200, str("late"));
    h2_until(h2_reply(id)->is_closed && H.p->ended);
    h2_step();
    ck_assert(H.has_goaway);
    ck_assert_uint_eq(H.goaway, NGHTTP2_NO_ERROR);
    finish();
}
END_TEST

START_TEST(http2_server_drains)
{
    struct http_exchange *x;
    int32_t id, late;

    start();
    id = h2_get("/wait");
    h2_until(T.request_cnt == 1);
    http_server_drain(T.s, 30000, on_drained);
    h2_until(H.has_goaway);
    late = nghttp2_submit_request(H.session, NULL, refused[0].nv, 3, NULL, NULL);
    ck_assert_int_ne(late, 0);
    h2_settle();
    ck_assert_int_eq(T.drained_cnt, 0);
    ck_assert_int_eq(T.request_cnt, 1);
    x = T.x;
    T.x = NULL;
    http_exchange_reply(x, 200, str("last"));
    h2_until(T.drained_cnt == 1);
    h2_until(h2_reply(id)->is_closed);
    ck_assert_str_eq(h2_reply(id)->body, "last");
    h2_client_fini();
    fixture_fini();
}
END_TEST

START_TEST(http2_server_ends_with_the_grace)
{
    start();
    (void)h2_get("/wait");
    (void)h2_get("/big");
    h2_until(T.request_cnt == 2);
    http_server_drain(T.s, 50, on_drained);
    run_until(T.drained_cnt == 1);
    ck_assert_int_eq(T.abort_cnt >= 1, 1);
    h2_client_fini();
    fixture_fini();
}
END_TEST

SUITE_MAIN_WITH(
    "http2_server",
    TESTS(http2_server_answers_and_keeps_the_connection,
          http2_server_serves_as_many_streams_as_it_says,
          http2_server_leaves_out_the_body_of_head_and_204,
          http2_server_resets_one_stream_not_the_connection,
          http2_server_joins_cookies_and_checks_host, http2_server_serves_http1_beside,
          http2_server_opens_the_window_as_the_handler_takes,
          http2_server_delivers_to_a_handler_that_pauses_each_time,
          http2_server_tells_the_client_to_stop_when_the_answer_is_whole,
          http2_server_lets_the_handler_end_after_the_last_byte_has_left,
          http2_server_tells_the_client_to_stop_when_the_handler_ends_later,
          http2_server_tells_the_handler_of_a_reset_after_the_last_byte,
          http2_server_asks_for_the_body_that_the_client_holds_back,
          http2_server_holds_little_for_a_client_that_opens_no_window,
          http2_server_shares_the_connection_between_large_answers,
          http2_server_opens_a_tunnel_for_a_websocket,
          http2_server_resets_a_tunnel_that_stays_half_closed,
          http2_server_counts_the_body_against_its_length, http2_server_bounds_the_fields,
          http2_server_lets_a_client_give_up_many_streams_at_once,
          http2_server_gives_each_its_share_while_it_is_busy,
          http2_server_ends_fields_that_are_made_of_few_bytes,
          http2_server_ends_an_endless_field_section, http2_server_closes_after_a_broken_preface,
          http2_server_gives_a_preface_and_fields_their_time,
          http2_server_answers_408_to_a_body_that_stalls, http2_server_closes_an_idle_connection,
          http2_server_drains, http2_server_ends_with_the_grace),
    LOOPS({http2_server_takes_frames_in_any_pieces, 4}, {http2_server_ends_a_rapid_reset, 2},
          {http2_server_refuses_what_could_be_read_in_two_ways, REFUSED_CNT},
          {http2_server_ends_a_flood_of_frames_that_move_nothing, sizeof(idle) / sizeof(idle[0])}))
