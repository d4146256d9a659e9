/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: broken requests, slow clients, and clients that go away. */
#include "tests/unit/suite.h"

#include "http_server_fixture.h"

/* ---- refusals and timers ---- */

START_TEST(http_server_refuses_a_broken_head_with_400)
{
    struct peer *p = start_tcp();

    peer_send(
        p, "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(!p->was_reset);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 400 Bad Request\r\n", 26) == 0);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert(peer_has(p, "Content-Type: text/plain"));
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_refuses_too_long_a_head_with_431)
{
    static char line[HTTP_LINE_CAP + 2];
    struct peer *p = start();

    memset(line, 'a', sizeof(line));
    peer_send(p, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    peer_send_mem(p, line, sizeof(line));
    run_until(p->ended);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 431 ", 13) == 0);
    finish();
}
END_TEST

static void refuse(struct http_server *s, unsigned status, const char *message,
                   struct adit_buf *out_headers, struct adit_buf *out_body)
{
    ck_assert_ptr_eq(s, T.s);
    ck_assert_int_eq(adit_buf_append_str(out_headers, "Content-Type: application/json\r\n"),
                     ADIT_OK);
    ck_assert_int_eq(
        adit_buf_appendf(out_body, "{\"code\":%u,\"message\":\"%s\"}", status, message), ADIT_OK);
}

START_TEST(http_server_refuses_in_the_owners_form)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.on_refuse = refuse;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET / HTTP/2.0\r\n\r\n");
    run_until(p->ended);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 505 ", 13) == 0);
    ck_assert(peer_has(p, "application/json\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n{\"code\":505,"));
    finish();
}
END_TEST

START_TEST(http_server_tells_the_handler_of_a_broken_body_and_answers_400)
{
    struct peer *p = start();

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    peer_send(p, "zz\r\n");
    run_until(p->ended);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_int_eq(T.end_cnt, 0);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 400 ", 13) == 0);
    finish();
}
END_TEST

START_TEST(http_server_resets_when_a_body_breaks_after_the_answer_began)
{
    struct peer *p = start_tcp();

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("early")), ADIT_OK);
    peer_send(p, "zz\r\n");
    run_until(p->ended);
    ck_assert(p->was_reset);
    ck_assert_int_eq(T.abort_cnt, 1);
    ck_assert_uint_eq(peer_count(p, "HTTP/1.1"), 1);
    finish();
}
END_TEST

START_TEST(http_server_answers_408_to_a_head_that_drips)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;
    uint64_t begin = now_ms(), next = begin;

    conf.header_ms = 300;
    start_server(&conf);
    p = connect_client();
    while (!p->ended) {
        if (now_ms() >= next) {
            (void)peer_push(p, "G", 1);
            next = now_ms() + 10;
        }
        turn();
        ck_assert_uint_lt(now_ms(), begin + RUN_LIMIT_MS);
    }
    ck_assert_uint_ge(now_ms() - begin + 5, 300);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 408 Request Timeout\r\n", 30) == 0);
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_stops_the_heads_timer_when_a_whole_request_came_at_once)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.header_ms = conf.body_ms = conf.idle_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.request_cnt == 1);
    begin = now_ms();
    run_until(now_ms() - begin > 400);
    ck_assert_int_eq(T.abort_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("at last"));
    run_until(peer_has(p, "at last"));
    finish();
}
END_TEST

START_TEST(http_server_closes_a_connection_that_says_nothing)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.header_ms = 100;
    start_server(&conf);
    p = connect_client();
    run_until(p->ended);
    ck_assert_uint_eq(p->len, 0);
    finish();
}
END_TEST

START_TEST(http_server_closes_an_idle_connection_quietly)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.idle_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert_uint_eq(peer_count(p, "HTTP/1.1"), 1);
    ck_assert(!peer_has(p, "408"));
    finish();
}
END_TEST

START_TEST(http_server_answers_408_to_a_body_that_stalls)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;

    conf.body_ms = 100;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(p->ended);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    ck_assert(strncmp(p->bytes, "HTTP/1.1 408 ", 13) == 0);
    finish();
}
END_TEST

START_TEST(http_server_does_not_time_a_body_that_it_paused_itself)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.body_ms = 50;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.request_cnt == 1);
    begin = now_ms();
    run_until(now_ms() - begin > 250);
    ck_assert_int_eq(T.abort_cnt, 0);
    take(&x);
    http_exchange_reply(x, 200, str("ok"));
    run_until(p->ended);
    finish();
}
END_TEST

START_TEST(http_server_does_not_time_a_body_once_the_answer_began)
{
    struct http_server_conf conf = default_conf();
    struct http_exchange *x;
    struct peer *p;
    uint64_t begin;

    conf.body_ms = 50;
    start_server(&conf);
    p = connect_client();
    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n");
    run_until(T.body_len == 3);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    begin = now_ms();
    run_until(now_ms() - begin > 250);
    ck_assert_int_eq(T.abort_cnt, 0);
    peer_send(p, "3\r\ndef\r\n0\r\n\r\n");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_end(x);
    run_until(peer_has(p, "0\r\n\r\n"));
    ck_assert(strncmp(p->bytes, "HTTP/1.1 200 ", 13) == 0);
    finish();
}
END_TEST

/* ---- clients that go away ---- */

START_TEST(http_server_tells_the_handler_that_the_client_is_gone)
{
    struct peer *p = start();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_OK);
    peer_close(p);
    run_until(T.abort_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http_server_write_to_a_gone_client_fails_and_abort_comes_later)
{
    struct peer *p = start();

    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    peer_close(p);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(T.abort_cnt, 0);
    run_until(T.abort_cnt == 1);
    settle();
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_server_drops_an_answer_to_a_gone_client)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    peer_close(p);
    take(&x);
    http_exchange_reply(x, 200, str("too late"));
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_aborts_when_the_client_closes_in_a_body)
{
    struct peer *p = start();

    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.body_len == 3);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.abort_cnt == 1);
    run_until(p->ended);
    ck_assert_int_eq(T.end_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_notices_a_gone_client_while_paused)
{
    struct peer *p = start();

    peer_send(p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    run_until(T.request_cnt == 1);
    settle();
    peer_close(p);
    run_until(T.abort_cnt == 1);
    finish();
}
END_TEST

SUITE_MAIN("http_server_refusal", http_server_refuses_a_broken_head_with_400,
           http_server_refuses_too_long_a_head_with_431, http_server_refuses_in_the_owners_form,
           http_server_tells_the_handler_of_a_broken_body_and_answers_400,
           http_server_resets_when_a_body_breaks_after_the_answer_began,
           http_server_answers_408_to_a_head_that_drips,
           http_server_stops_the_heads_timer_when_a_whole_request_came_at_once,
           http_server_closes_a_connection_that_says_nothing,
           http_server_closes_an_idle_connection_quietly,
           http_server_answers_408_to_a_body_that_stalls,
           http_server_does_not_time_a_body_that_it_paused_itself,
           http_server_does_not_time_a_body_once_the_answer_began,
           http_server_tells_the_handler_that_the_client_is_gone,
           http_server_write_to_a_gone_client_fails_and_abort_comes_later,
           http_server_drops_an_answer_to_a_gone_client,
           http_server_aborts_when_the_client_closes_in_a_body,
           http_server_notices_a_gone_client_while_paused)
