/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections of the HTTP server, seen by nghttp2's client over socket pairs. */
#include "tests/unit/suite.h"

#include "http2_server_fixture.h"

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
    int32_t id;

    start();
    id = h2_get("/wait");
    h2_until(T.request_cnt == 1);
    http_server_drain(T.s, 30000, on_drained);
    h2_until(H.has_goaway);
    (void)h2_get("/now/too-late");
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

SUITE_MAIN_WITH("http2_server",
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
                      http2_server_gives_a_preface_and_fields_their_time,
                      http2_server_answers_408_to_a_body_that_stalls,
                      http2_server_closes_an_idle_connection, http2_server_drains,
                      http2_server_ends_with_the_grace),
                LOOPS({http2_server_takes_frames_in_any_pieces, 4}))
