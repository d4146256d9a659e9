/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: requests' bodies, back-pressure, and answers that come before a body's end. */
#include "tests/unit/suite.h"

#include "http_server_fixture.h"

START_TEST(http_server_gives_bodies_of_length_and_chunks)
{
    struct peer *p = start();

    peer_send(p, "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    run_until(peer_has(p, "whole"));
    ck_assert_str_eq(T.body, "hello");
    peer_forget(p);
    T.body_len = 0;
    peer_send(p, "POST /at-end HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    run_until(peer_has(p, "whole"));
    ck_assert_int_eq(memcmp(T.body, "abcdefg", 7), 0);
    ck_assert_uint_eq(T.body_len, 7);
    ck_assert_int_eq(T.end_cnt, 2);
    finish();
}
END_TEST

START_TEST(http_server_pause_bounds_what_is_read)
{
    enum { LEN = 2 * 1024 * 1024 };
    static char block[65536];
    struct peer *p = start();
    struct http_exchange *x;
    char head[128];
    size_t sent = 0, before;

    memset(block, 'x', sizeof(block));
    (void)snprintf(head, sizeof(head),
                   "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LEN);
    peer_send(p, head);
    for (int i = 0; i < 100; i++) {
        sent += peer_push(p, block, sizeof(block));
        settle();
    }
    ck_assert_uint_eq(T.body_len, 0);
    ck_assert_uint_lt(sent, LEN); /* the client is held back */
    before = sent;
    settle();
    ck_assert_uint_eq(peer_push(p, block, sizeof(block)), 0);
    ck_assert_uint_eq(before, sent);
    http_exchange_resume(T.x);
    ck_assert_uint_eq(T.body_len, 0); /* not inside the call */
    while (sent < LEN) {
        sent += peer_push(p, block, sizeof(block) < LEN - sent ? sizeof(block) : LEN - sent);
        turn();
    }
    run_until(T.end_cnt == 1);
    ck_assert_uint_eq(T.body_len, LEN);
    take(&x);
    http_exchange_reply(x, 200, str("got it"));
    run_until(peer_has(p, "got it"));
    ck_assert(!peer_has(p, "Connection: close"));
    finish();
}
END_TEST

START_TEST(http_server_tells_the_end_of_a_body_that_ended_while_paused)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "POST /pause-each HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    run_until(T.body_len == 2);
    settle();
    ck_assert_int_eq(T.end_cnt, 0);
    http_exchange_resume(T.x);
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_reply(x, 200, str("done"));
    run_until(peer_has(p, "done"));
    finish();
}
END_TEST

START_TEST(http_server_write_side_is_bounded_and_drains)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct peer *p = start();
    struct http_exchange *x;
    size_t sent = 0;

    p->is_deaf = true;
    peer_send(p, "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(T.end_cnt == 1);
    http_exchange_begin(T.x, 200, HTTP_FRAMING_CHUNKED, 0);
    while (!http_exchange_is_congested(T.x)) {
        ck_assert_int_eq(http_exchange_write(T.x, bytes), ADIT_OK);
        sent += bytes.len;
        ck_assert_uint_lt(sent, 4 * 1024 * 1024);
    }
    ck_assert_uint_le(net_stream_queued(http_exchange_stream(T.x)),
                      NET_STREAM_HIGH + 2 * sizeof(block));
    settle();
    ck_assert_int_eq(T.drain_cnt, 0);
    p->is_deaf = false;
    run_until(T.drain_cnt == 1);
    ck_assert(!http_exchange_is_congested(T.x));
    take(&x);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n0\r\n\r\n"));
    ck_assert_uint_gt(p->total, sent);
    finish();
}
END_TEST

START_TEST(http_server_sends_100_continue_when_it_reads_on)
{
    struct peer *p = start();

    peer_send(
        p, "POST /at-end HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ab");
    run_until(peer_has(p, "whole"));
    ck_assert_uint_eq(peer_count(p, "100 Continue"), 1);
    finish();
}
END_TEST

START_TEST(http_server_sends_100_continue_only_after_resume)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(T.request_cnt == 1);
    settle();
    ck_assert_uint_eq(p->len, 0);
    http_exchange_resume(T.x);
    run_until(peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ab");
    run_until(T.end_cnt == 1);
    take(&x);
    http_exchange_reply(x, 200, str("fine"));
    run_until(peer_has(p, "fine"));
    finish();
}
END_TEST

START_TEST(http_server_sends_no_100_continue_when_it_answers_at_once)
{
    struct peer *p = start();

    peer_send(p,
              "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(p->ended);
    ck_assert(!peer_has(p, "100 Continue"));
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert(peer_has(p, "\r\n\r\n/now"));
    finish();
}
END_TEST

START_TEST(http_server_delivers_an_early_answer_to_a_client_that_still_sends)
{
    enum { LEN = 8 * 1024 * 1024 };
    static char block[65536];
    struct peer *p = start_tcp();
    char head[128];
    size_t sent = 0;

    (void)snprintf(head, sizeof(head),
                   "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LEN);
    peer_send(p, head);
    while (!p->ended && sent < LEN) { /* the client reads nothing special, it just goes on */
        sent += peer_push(p, block, sizeof(block));
        turn();
    }
    run_until(p->ended);
    ck_assert(!p->was_reset);
    ck_assert(peer_has(p, "\r\n\r\n/now"));
    ck_assert(peer_has(p, "Connection: close\r\n"));
    finish();
}
END_TEST

/* A streamed answer to a chunked POST that ends before the last chunk came. */
static struct peer *answer_before_the_last_chunk(void)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    http_exchange_end(x);
    run_until(peer_has(p, "\r\n0\r\n\r\n"));
    ck_assert(!peer_has(p, "Connection: close"));
    return p;
}

START_TEST(http_server_keeps_the_connection_when_the_last_chunk_comes_after_the_answer)
{
    struct peer *p = answer_before_the_last_chunk();

    settle();
    ck_assert(!p->ended);
    peer_send(p, "0\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n/now"));
    ck_assert_uint_eq(T.body_len, 2);
    ck_assert_int_eq(T.end_cnt + T.abort_cnt, 0);
    finish();
}
END_TEST

/* A client that was told that the connection stays may be sending its next request already. */
START_TEST(http_server_does_not_close_what_its_head_said_would_stay)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p,
              "POST /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    run_until(T.body_len == 2);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    run_until(peer_has(p, "\r\n\r\n")); /* the head has left */
    http_exchange_no_keepalive(x);
    http_exchange_end(x);
    peer_send(p, "0\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended || peer_has(p, "\r\n\r\n/now"));
    ck_assert(!p->ended && !peer_has(p, "Connection: close"));
    finish();
}
END_TEST

/* What a guest says of an upload that it has no room for, say. */
START_TEST(http_server_says_that_it_closes_after_a_refusal_that_did_not_read_the_body)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\nab");
    run_until(T.body_len == 2);
    take(&x);
    http_exchange_begin(x, 507, HTTP_FRAMING_LENGTH, 4);
    ck_assert_int_eq(http_exchange_write(x, str("full")), ADIT_OK);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    ck_assert(peer_has(p, "\r\n\r\nfull"));
    finish();
}
END_TEST

START_TEST(http_server_reads_no_endless_body_after_the_answer)
{
    struct peer *p = answer_before_the_last_chunk();
    char chunk[16 + 4096];
    int head_len = snprintf(chunk, sizeof(chunk), "1000\r\n");
    size_t sent = 0;

    memset(chunk + head_len, 'x', 4096);
    memcpy(chunk + head_len + 4096, "\r\n", 2);
    while (!p->ended) {
        sent += peer_push(p, chunk, (size_t)head_len + 4098);
        turn();
        ck_assert_uint_le(sent, 4u * HTTP_SERVER_REST_MAX);
    }
    ck_assert_uint_gt(sent, HTTP_SERVER_REST_MAX);
    finish();
}
END_TEST

START_TEST(http_server_drain_closes_when_the_rest_of_a_body_has_come)
{
    struct peer *p = answer_before_the_last_chunk();

    http_server_drain(T.s, 30000, on_drained);
    peer_send(p, "0\r\n\r\n");
    run_until(p->ended);
    run_until(T.drained_cnt == 1);
    fixture_fini();
}
END_TEST

START_TEST(http_server_closes_after_an_early_streamed_answer_to_a_client_that_waits_for_100)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p, "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(T.request_cnt == 1);
    take(&x);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(peer_has(p, "Connection: close\r\n"));
    finish();
}
END_TEST

SUITE_MAIN("http_server_body", http_server_gives_bodies_of_length_and_chunks,
           http_server_pause_bounds_what_is_read,
           http_server_tells_the_end_of_a_body_that_ended_while_paused,
           http_server_write_side_is_bounded_and_drains,
           http_server_sends_100_continue_when_it_reads_on,
           http_server_sends_100_continue_only_after_resume,
           http_server_sends_no_100_continue_when_it_answers_at_once,
           http_server_delivers_an_early_answer_to_a_client_that_still_sends,
           http_server_keeps_the_connection_when_the_last_chunk_comes_after_the_answer,
           http_server_does_not_close_what_its_head_said_would_stay,
           http_server_says_that_it_closes_after_a_refusal_that_did_not_read_the_body,
           http_server_reads_no_endless_body_after_the_answer,
           http_server_drain_closes_when_the_rest_of_a_body_has_come,
           http_server_closes_after_an_early_streamed_answer_to_a_client_that_waits_for_100)
