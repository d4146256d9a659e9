/* SPDX-License-Identifier: Apache-2.0 */
/* Client calls: kept connections, hostile replies, and connections that went stale. */
#include "tests/unit/suite.h"

#include <malloc.h>

#include "http_client_fixture.h"

/* ---- calls ---- */

START_TEST(http_client_calls_and_keeps_the_connection)
{
    struct seen *s;
    struct peer *g;

    start();
    for (int i = 0; i < 3; i++) {
        s = get(0);
        g = guest(0);
        run_until(peer_has(g, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
        peer_forget(g);
        peer_send(g, ok_reply);
        run_until(s->end_cnt == 1);
        ck_assert_uint_eq(s->status, 200);
        ck_assert_str_eq(s->x_header, "y");
        ck_assert_str_eq(s->body, "ok");
        ck_assert_int_eq(s->fail_cnt, 0);
    }
    ck_assert_uint_eq(F.peer_cnt, 1);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_opens_a_connection_for_each_call_at_once)
{
    start();
    (void)get(0);
    (void)get(1);
    (void)guest(1);
    run_until(peer_has(guest(0), "\r\n\r\n") && peer_has(guest(1), "\r\n\r\n"));
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 2);
    peer_send(guest(0), ok_reply);
    peer_send(guest(1), ok_reply);
    run_until(T.c[0].end_cnt && T.c[1].end_cnt);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 2);
    finish();
}
END_TEST

START_TEST(http_client_uses_a_connection_that_was_made_for_it_and_never_twice)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *stream;
    struct seen *s;
    int fd;

    start();
    struct peer *made = peer_new(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, NULL, NULL, &stream, &err), ADIT_OK);
    ck_assert_int_eq(http_pool_adopt(T.pool, stream, &err), ADIT_OK);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    s = get(0);
    run_until(peer_has(made, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_close(made);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(F.peer_cnt, 1); /* nobody was called in its place */
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(http_client_refuses_calls_beyond_the_maximum)
{
    struct http_pool_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;

    conf.connections_max = 1;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    (void)get(0);
    ck_assert_int_eq(try_call(1, "GET", HTTP_GET, false, HTTP_BODY_NONE, "", &err), ADIT_ERR_LIMIT);
    peer_send(guest(0), "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1);
    (void)get(0); /* the kept one is free again */
    run_until(peer_count(guest(0), "GET") == 2);
    finish();
}
END_TEST

START_TEST(http_client_reads_a_reply_byte_by_byte)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    for (size_t i = 0; i < sizeof(ok_reply) - 1; i++) {
        peer_send_mem(guest(0), ok_reply + i, 1);
        turn();
    }
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "ok");
    finish();
}
END_TEST

START_TEST(http_client_reads_chunks_and_bodies_until_close)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(
        guest(0),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "abcde");
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);

    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    peer_send(guest(0), "HTTP/1.1 200 OK\r\n\r\nuntil ");
    run_until(s->body_len == 6);
    peer_send(guest(0), "close");
    peer_close(guest(0));
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "until close");
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(http_client_knows_that_head_and_304_have_no_body)
{
    struct seen *s;

    start();
    s = start_call(0, "HEAD", HTTP_HEAD, HTTP_BODY_NONE, "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    run_until(s->end_cnt == 1);
    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    peer_send(guest(0), "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_swallows_interim_replies_up_to_a_maximum)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(s->head_cnt, 1);
    ck_assert_uint_eq(s->status, 200);
    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    for (int i = 0; i <= HTTP_CALL_INTERIM_MAX; i++)
        peer_send(guest(0), "HTTP/1.1 102 Processing\r\n\r\n");
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_PROTOCOL);
    finish();
}
END_TEST

START_TEST(http_client_does_not_keep_a_connection_the_peer_wants_closed)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(guest(0)->ended);
    finish();
}
END_TEST

START_TEST(http_client_closes_idle_connections_by_age_and_number)
{
    struct http_pool_conf conf = default_conf();

    conf.idle_ms = 100;
    conf.idle_max = 1;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    (void)get(0);
    (void)get(1);
    (void)guest(1);
    run_until(peer_has(guest(0), "\r\n\r\n") && peer_has(guest(1), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    peer_send(guest(1), ok_reply);
    run_until(T.c[0].end_cnt && T.c[1].end_cnt);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    run_until(http_pool_connection_cnt(T.pool) == 0);
    finish();
}
END_TEST

START_TEST(http_client_starts_the_next_call_inside_on_end)
{
    start();
    get(0)->restart_in_end = true;
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(peer_has(guest(0), "GET /1 "));
    peer_send(guest(0), ok_reply);
    run_until(T.c[1].end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_ten_thousand_calls_do_not_grow)
{
    struct peer *g;
    size_t before = 0;

    start();
    for (int i = 0; i < 10000; i++) {
        struct seen *s = get(0);
        g = guest(0);
        run_until(peer_has(g, "\r\n\r\n"));
        peer_forget(g);
        peer_send(g, ok_reply);
        run_until(s->end_cnt == 1);
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

/* ---- hostile replies ---- */

static void assert_reply_fails(const char *reply, int code)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), reply);
    run_until(s->fail_cnt == 1);
    ck_assert_msg(s->fail_code == code, "%s: %d %s", reply, s->fail_code, s->fail_msg);
    ck_assert_int_eq(s->end_cnt, 0);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(guest(0)->ended);
    finish();
}

START_TEST(http_client_fails_a_broken_reply)
{
    assert_reply_fails("SSH-2.0-OpenSSH\r\n\r\n", ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                       ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                       ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_fails_an_upgrade_nobody_asked_for)
{
    assert_reply_fails(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_fails_bytes_behind_the_reply)
{
    assert_reply_fails("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
                       ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_closes_an_idle_connection_that_talks)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    run_until(http_pool_connection_cnt(T.pool) == 0);
    s = get(1);
    run_until(peer_has(guest(1), "\r\n\r\n"));
    peer_send(guest(1), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "ok");
    finish();
}
END_TEST

START_TEST(http_client_tells_a_reply_that_breaks_off)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    run_until(s->body_len == 3);
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    finish();
}
END_TEST

/* ---- stale connections ---- */

/* A kept connection with the guest's end at guest(0). */
static void keep_one(void)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    T.c[0] = (struct seen){0};
}

START_TEST(http_client_drops_a_kept_connection_that_the_peer_closes)
{
    keep_one();
    peer_close(guest(0));
    run_until(http_pool_connection_cnt(T.pool) == 0);
    finish();
}
END_TEST

START_TEST(http_client_retries_once_when_a_kept_connection_is_dead)
{
    struct seen *s;

    keep_one();
    peer_close(guest(0)); /* the loop has not seen it yet */
    s = get(0);
    run_until(peer_has(guest(1), "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_send(guest(1), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(s->fail_cnt, 0);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_retries_when_the_kept_connection_dies_after_the_request)
{
    struct seen *s;

    keep_one();
    s = get(0);
    run_until(peer_count(guest(0), "GET") == 2);
    peer_close(guest(0));
    run_until(peer_has(guest(1), "GET /0"));
    peer_close(guest(1)); /* a new one that dies is not replaced */
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(F.peer_cnt, 2);
    finish();
}
END_TEST

START_TEST(http_client_never_repeats_what_may_have_been_done)
{
    struct seen *s;

    keep_one();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_NONE, "");
    run_until(peer_has(guest(0), "POST"));
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    settle();
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_does_not_retry_after_the_first_byte)
{
    struct seen *s;

    keep_one();
    s = get(0);
    run_until(peer_count(guest(0), "GET") == 2);
    peer_send(guest(0), "H");
    settle();
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

SUITE_MAIN("http_client", http_client_calls_and_keeps_the_connection,
           http_client_opens_a_connection_for_each_call_at_once,
           http_client_uses_a_connection_that_was_made_for_it_and_never_twice,
           http_client_refuses_calls_beyond_the_maximum, http_client_reads_a_reply_byte_by_byte,
           http_client_reads_chunks_and_bodies_until_close,
           http_client_knows_that_head_and_304_have_no_body,
           http_client_swallows_interim_replies_up_to_a_maximum,
           http_client_does_not_keep_a_connection_the_peer_wants_closed,
           http_client_closes_idle_connections_by_age_and_number,
           http_client_starts_the_next_call_inside_on_end,
           http_client_ten_thousand_calls_do_not_grow, http_client_fails_a_broken_reply,
           http_client_fails_an_upgrade_nobody_asked_for, http_client_fails_bytes_behind_the_reply,
           http_client_closes_an_idle_connection_that_talks,
           http_client_tells_a_reply_that_breaks_off,
           http_client_drops_a_kept_connection_that_the_peer_closes,
           http_client_retries_once_when_a_kept_connection_is_dead,
           http_client_retries_when_the_kept_connection_dies_after_the_request,
           http_client_never_repeats_what_may_have_been_done,
           http_client_does_not_retry_after_the_first_byte)
