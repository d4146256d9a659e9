/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server seen by raw clients over socket pairs: answers, and servers as a whole. */
#include "tests/unit/suite.h"

#include <malloc.h>

#include "http_server_fixture.h"

/* ---- answers ---- */

START_TEST(http_server_answers_and_keeps_the_connection)
{
    struct peer *p = start();

    for (int i = 0; i < 3; i++) {
        peer_forget(p);
        peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        run_until(peer_has(p, "\r\n\r\n/now"));
        ck_assert(strncmp(p->bytes, "HTTP/1.1 200 OK\r\n", 17) == 0);
        ck_assert(peer_has(p, "\r\nContent-Length: 4\r\n"));
        ck_assert(peer_has(p, "\r\nX-Path: /now\r\n"));
        ck_assert(peer_has(p, "\r\nDate: "));
        ck_assert(peer_has(p, " GMT\r\n"));
        ck_assert(!peer_has(p, "Connection:"));
    }
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 1);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    ck_assert(!p->ended);
    finish();
}
END_TEST

START_TEST(http_server_has_no_trailers)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert(!http_exchange_has_trailers(x));
    ck_assert_int_eq(http_exchange_trailer(x, str("a"), str("b")), ADIT_ERR_UNIMPLEMENTED);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(!peer_has(p, "a: b"));
    finish();
}
END_TEST

START_TEST(http_server_takes_a_head_byte_by_byte)
{
    static const char request[] =
        "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    struct peer *p = start();

    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        peer_send_mem(p, request + i, 1);
        turn();
    }
    run_until(peer_has(p, "whole"));
    ck_assert_str_eq(T.body, "abc");
    finish();
}
END_TEST

START_TEST(http_server_serves_pipelined_requests_in_order)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /now/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /now/3 HTTP/1.1\r\nHost: a\r\n\r\nGET /now/4 HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 2);
    settle();
    ck_assert_int_eq(T.request_cnt, 2); /* the third waits for the second's answer */
    take(&x);
    http_exchange_reply(x, 200, str("/2"));
    ck_assert_int_eq(T.request_cnt, 2); /* not inside the handler's call */
    run_until(peer_count(p, "HTTP/1.1 200") == 4);
    ck_assert(strstr(p->bytes, "\n/now/1") < strstr(p->bytes, "\n/2"));
    ck_assert(strstr(p->bytes, "\n/2") < strstr(p->bytes, "\n/now/3"));
    ck_assert(strstr(p->bytes, "\n/now/3") < strstr(p->bytes, "\n/now/4"));
    finish();
}
END_TEST

START_TEST(http_server_serves_many_pipelined_requests_in_several_turns)
{
    static const char request[] = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { CNT = 1000 };
    static char all[CNT * (sizeof(request) - 1)];
    struct peer *p = start();

    for (size_t i = 0; i < CNT; i++)
        memcpy(all + i * (sizeof(request) - 1), request, sizeof(request) - 1);
    peer_send_mem(p, all, sizeof(all));
    run_until(peer_count(p, "HTTP/1.1 200") == CNT);
    ck_assert_int_eq(T.request_cnt, CNT);
    finish();
}
END_TEST

/* A client that asks and asks and never reads must not fill our memory with answers. */
START_TEST(http_server_takes_no_request_while_its_answers_are_not_read)
{
    static const char request[] = "GET /now HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { CNT = 1000, LEN = sizeof(request) - 1 };
    static char all[CNT * LEN];
    struct peer *p = start();
    size_t sent = 0;

    for (size_t i = 0; i < CNT; i++)
        memcpy(all + i * LEN, request, LEN);
    p->is_deaf = true;
    for (int idle = 0; idle < 10; idle++) {
        size_t n = peer_push(p, all + sent % sizeof(all), sizeof(all) - sent % sizeof(all));
        sent += n;
        if (n)
            idle = 0;
        settle();
    }
    ck_assert_uint_lt((size_t)T.request_cnt * 100, 4 * NET_STREAM_HIGH); /* an answer has more */
    p->is_deaf = false;
    run_until((size_t)T.request_cnt == sent / LEN);
    run_until(peer_count(p, "HTTP/1.1 200") == sent / LEN);
    finish();
}
END_TEST

START_TEST(http_server_answers_head_without_a_body)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert(peer_has(p, "Content-Length: 4\r\n"));
    ck_assert(!peer_has(p, "\r\n\r\n/"));
    peer_forget(p);
    peer_send(p, "HEAD /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(x, str("body")), ADIT_OK);
    http_exchange_end(x);
    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"); /* still in step */
    run_until(peer_has(p, "\r\n\r\n/now"));
    ck_assert(!peer_has(p, "body"));
    finish();
}
END_TEST

START_TEST(http_server_never_sends_a_body_with_204)
{
    struct peer *p = start();

    peer_send(p, "GET /no-content HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "/now"));
    ck_assert(peer_has(p, "HTTP/1.1 204 No Content\r\n"));
    ck_assert(!peer_has(p, "never sent"));
    ck_assert(!peer_has(p, "Content-Length: 10"));
    finish();
}
END_TEST

START_TEST(http_server_closes_after_a_1_0_request_unless_asked)
{
    struct peer *p = start();
    struct peer *q;

    peer_send(p, "GET /now HTTP/1.0\r\n\r\n");
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    q = connect_client();
    peer_send(q, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    run_until(peer_has(q, "\r\n\r\n/now"));
    ck_assert(peer_has(q, "Connection: keep-alive\r\n"));
    settle();
    ck_assert(!q->ended);
    finish();
}
END_TEST

START_TEST(http_server_closes_when_the_client_asks)
{
    struct peer *p = start();

    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                 "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert_int_eq(T.request_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_server_streams_chunks_to_1_1_and_until_close_to_1_0)
{
    struct peer *p = start();
    struct peer *q;
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    peer_read(p);
    ck_assert_uint_eq(p->len, 0); /* the head waits for the first bytes */
    ck_assert_int_eq(http_exchange_write(x, str("first ")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(x, str("second")), ADIT_OK);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(peer_has(p, "Transfer-Encoding: chunked\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"));

    q = connect_client();
    peer_send(q, "GET /streamed HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    run_until(T.end_cnt == 2);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(x, str("first ")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(x, str("second")), ADIT_OK);
    http_exchange_end(x);
    run_until(q->ended);
    ck_assert(!peer_has(q, "chunked"));
    ck_assert(peer_has(q, "Connection: close\r\n"));
    ck_assert(peer_has(q, "\r\n\r\nfirst second"));
    finish();
}
END_TEST

START_TEST(http_server_sends_a_begun_head_at_the_next_turn)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 2);
    run_until(peer_has(p, "Content-Length: 2\r\n"));
    take(&x);
    ck_assert_int_eq(http_exchange_write(x, str("ok")), ADIT_OK);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n\r\nok"));
    finish();
}
END_TEST

START_TEST(http_server_resets_an_answer_that_breaks_its_length)
{
    struct peer *p = start_tcp();
    struct http_exchange *x;

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_LENGTH, 10);
    ck_assert_int_eq(http_exchange_write(x, str("short")), ADIT_OK);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(p->was_reset);
    finish();
}
END_TEST

START_TEST(http_server_aborts_an_answer_longer_than_announced)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 3);
    ck_assert_int_eq(http_exchange_write(T.x, str("ab")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(T.x, str("cd")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(T.abort_cnt, 0); /* not inside the call */
    run_until(T.abort_cnt == 1);
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert(!peer_has(p, "cd"));
    finish();
}
END_TEST

START_TEST(http_server_reset_is_a_reset)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_refuses_header_injection_and_sends_the_rest)
{
    struct peer *p = start();

    peer_send(p, "GET /bad-header HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "clean"));
    ck_assert(!peer_has(p, "Evil"));
    finish();
}
END_TEST

/* ---- servers ---- */

START_TEST(http_server_adopts_a_stream_with_bytes_already_read)
{
    struct http_server_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *s;
    struct peer *p;
    int fd;

    start_server(&conf);
    p = peer_new(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, NULL, NULL, &s, &err), ADIT_OK);
    http_server_adopt(T.s, s, str("GET /now/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /now/2 HT"));
    peer_send(p, "TP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n/now/2"));
    ck_assert(peer_has(p, "\r\n\r\n/now/1"));
    finish();
}
END_TEST

START_TEST(http_server_closes_connections_beyond_the_maximum)
{
    struct http_server_conf conf = default_conf();
    struct peer *a, *b, *c;

    conf.connections_max = 2;
    start_server(&conf);
    a = connect_client();
    b = connect_client();
    c = connect_client();
    run_until(c->ended);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 2);
    peer_close(a);
    run_until(http_server_connection_cnt(T.s) == 1);
    a = connect_client();
    peer_send(a, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(a, "/now"));
    ck_assert(!b->ended);
    finish();
}
END_TEST

START_TEST(http_server_drain_lets_running_exchanges_end)
{
    struct peer *idle = start(), *running = connect_client();
    struct http_exchange *x;

    peer_send(running, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_server_drain(T.s, 30000, on_drained);
    run_until(idle->ended);
    settle();
    ck_assert_int_eq(T.drained_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("in time"));
    run_until(running->ended);
    ck_assert(peer_has(running, "Connection: close\r\n"));
    ck_assert(peer_has(running, "in time"));
    run_until(T.drained_cnt == 1);
    fixture_fini();
}
END_TEST

START_TEST(http_server_drain_resets_when_the_grace_is_over)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_server_drain(T.s, 100, on_drained);
    run_until(T.drained_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_CANCELED);
    run_until(p->ended);
    ck_assert(p->was_reset);
    fixture_fini();
}
END_TEST

START_TEST(http_server_ten_thousand_requests_do_not_grow)
{
    struct peer *p = start();
    size_t before = 0;

    for (int i = 0; i < 10000; i++) {
        peer_forget(p);
        peer_send(p, i % 2 ? "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                           : "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        T.body_len = 0;
        run_until(peer_has(p, i % 2 ? "whole" : "\r\n\r\n/now"));
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_int_eq(T.request_cnt, 10000);
    finish();
}
END_TEST

static struct {
    int cnt;
    void *note;
    struct http_outcome outcome;
} over;

static void on_over(struct http_exchange *x)
{
    over.cnt++;
    over.note = http_exchange_note(x);
    over.outcome = http_exchange_outcome(x);
}

static void expect_over(unsigned status, bool is_whole, uint64_t sent_len)
{
    run_until(over.cnt == 1);
    ck_assert_uint_eq(over.outcome.status, status);
    ck_assert(over.outcome.is_whole == is_whole);
    ck_assert_uint_eq(over.outcome.sent_len, sent_len);
    over.cnt = 0;
}

START_TEST(http_server_tells_once_how_each_exchange_ended)
{
    static char note;
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.on_over = on_over;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(200, true, 4);
    ck_assert_ptr_null(over.note);
    ck_assert_ptr_null(over.outcome.verdict);
    peer_send(p, "GET /no-content HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(204, true, 0);
    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(T.x);
    http_exchange_set_note(T.x, &note);
    http_exchange_set_verdict(T.x, "well");
    http_exchange_begin(T.x, 201, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("abc")), ADIT_OK);
    ck_assert_int_eq(http_exchange_write(T.x, str("de")), ADIT_OK);
    http_exchange_end(T.x);
    T.x = NULL;
    expect_over(201, true, 5);
    ck_assert_ptr_eq(over.note, &note);
    ck_assert_str_eq(over.outcome.verdict, "well");
    peer_send(p, "GET /left HTTP/1.1\r\nHost: h\r\n\r\n");
    run_until(T.x);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_LENGTH, 10);
    ck_assert_int_eq(http_exchange_write(T.x, str("half")), ADIT_OK);
    peer_close(p);
    expect_over(200, false, 4);
    ck_assert_ptr_null(over.note);
    p = connect_client();
    peer_send(p, "GET /reset HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_over(0, false, 0);
    finish();
}
END_TEST

SUITE_MAIN("http_server", http_server_answers_and_keeps_the_connection, http_server_has_no_trailers,
           http_server_takes_a_head_byte_by_byte, http_server_serves_pipelined_requests_in_order,
           http_server_serves_many_pipelined_requests_in_several_turns,
           http_server_takes_no_request_while_its_answers_are_not_read,
           http_server_answers_head_without_a_body, http_server_never_sends_a_body_with_204,
           http_server_closes_after_a_1_0_request_unless_asked,
           http_server_closes_when_the_client_asks,
           http_server_streams_chunks_to_1_1_and_until_close_to_1_0,
           http_server_sends_a_begun_head_at_the_next_turn,
           http_server_resets_an_answer_that_breaks_its_length,
           http_server_aborts_an_answer_longer_than_announced, http_server_reset_is_a_reset,
           http_server_refuses_header_injection_and_sends_the_rest,
           http_server_adopts_a_stream_with_bytes_already_read,
           http_server_closes_connections_beyond_the_maximum,
           http_server_drain_lets_running_exchanges_end,
           http_server_drain_resets_when_the_grace_is_over,
           http_server_ten_thousand_requests_do_not_grow,
           http_server_tells_once_how_each_exchange_ended)
