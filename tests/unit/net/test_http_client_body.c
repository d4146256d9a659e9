/* SPDX-License-Identifier: Apache-2.0 */
/* Client calls: bodies in both directions, back-pressure, cancelling, and upgrades. */
#include "tests/unit/suite.h"

#include "http_client_fixture.h"

/* ---- request bodies ---- */

START_TEST(http_client_sends_bodies_of_length_and_chunks)
{
    struct seen *s;
    struct peer *g;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_LENGTH, "Content-Length: 6\r\n");
    ck_assert(http_call_is_congested(s->call)); /* nothing stands yet */
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\nabc"));
    ck_assert_int_eq(s->drain_cnt, 1);
    ck_assert(!http_call_is_congested(s->call));
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("def")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(peer_has(g, "abcdef"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);

    T.c[0] = (struct seen){0};
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "Transfer-Encoding: chunked\r\n");
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("")), ADIT_OK);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("0123456789abcdefg")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(peer_has(g, "chunked\r\n\r\n3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_sends_a_head_whose_body_is_late)
{
    struct seen *s;
    struct peer *g;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    g = guest(0);
    peer_forget(g);
    s = start_call(1, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "Transfer-Encoding: chunked\r\n");
    run_until(peer_has(g, "chunked\r\n\r\n"));
    http_call_end_body(s->call);
    run_until(peer_has(g, "\r\n\r\n0\r\n\r\n"));
    finish();
}
END_TEST

START_TEST(http_client_bounds_the_body_before_the_connection_stands)
{
    static char block[65536];
    struct http_pool_conf conf = default_conf();
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;
    int rc = ADIT_OK;

    conf.target.kind = HTTP_TARGET_CHANNEL;
    conf.target.port = CHANNEL_PORT_ENVD;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    for (size_t sent = 0; sent < 2 * NET_STREAM_HIGH && rc == ADIT_OK; sent += bytes.len)
        rc = http_call_write_body(s->call, bytes);
    ck_assert_int_eq(rc, ADIT_ERR_LIMIT);
    http_call_cancel(s->call);
    finish();
}
END_TEST

START_TEST(http_client_tells_a_slow_peer_by_congestion_and_drain)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;
    struct peer *g;
    int drains;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    g = guest(0);
    run_until(s->drain_cnt == 1);
    g->is_deaf = true;
    while (!http_call_is_congested(s->call))
        ck_assert_int_eq(http_call_write_body(s->call, bytes), ADIT_OK);
    drains = s->drain_cnt;
    settle();
    ck_assert_int_eq(s->drain_cnt, drains);
    g->is_deaf = false;
    run_until(s->drain_cnt == drains + 1);
    http_call_cancel(s->call);
    finish();
}
END_TEST

START_TEST(http_client_takes_a_reply_before_the_requests_end_and_closes)
{
    struct seen *s;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    run_until(peer_has(guest(0), "abc"));
    peer_send(guest(0), "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->status, 413);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0); /* never used again */
    finish();
}
END_TEST

START_TEST(http_client_reads_the_reply_of_a_peer_that_stopped_reading)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    peer_close(guest(0));
    ck_assert_int_eq(http_call_write_body(s->call, bytes), ADIT_ERR_CLOSED);
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->status, 413);
    finish();
}
END_TEST

/* ---- pause, cancel, close ---- */

START_TEST(http_client_pause_bounds_what_is_read)
{
    static char block[65536];
    struct seen *s;
    struct peer *g;
    size_t sent = 0, total = 2 * 1024 * 1024;

    start();
    s = get(0);
    s->pause_in_body = true;
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        sent += peer_push(g, block, sizeof(block));
        settle();
    }
    ck_assert_uint_lt(sent, total);
    ck_assert_uint_le(s->body_len, NET_SCRATCH_CAP);
    s->pause_in_body = false;
    http_call_resume(s->call);
    while (sent < total) {
        sent += peer_push(g, block, sizeof(block) < total - sent ? sizeof(block) : total - sent);
        turn();
    }
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->body_len, total);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_holds_chunks_and_the_end_while_paused)
{
    struct seen *s;

    start();
    s = get(0);
    s->pause_in_body = true;
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(
        guest(0),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    run_until(s->body_len == 3);
    settle();
    ck_assert_uint_eq(s->body_len, 3);
    http_call_resume(s->call);
    ck_assert_uint_eq(s->body_len, 3); /* not inside the call */
    run_until(s->body_len == 5);
    settle();
    ck_assert_int_eq(s->end_cnt, 0);
    http_call_resume(s->call);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_cancel_closes_and_says_nothing_more)
{
    struct seen *s;

    start();
    s = get(0); /* while dialling */
    http_call_cancel(s->call);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    s = get(1);
    s->cancel_in_head = true;
    run_until(F.peer_cnt && peer_has(&F.peers[F.peer_cnt - 1], "/1"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->head_cnt == 1);
    s = get(2);
    s->cancel_in_body = true;
    run_until(peer_has(&F.peers[F.peer_cnt - 1], "/2"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->body_len == 2);
    settle();
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(T.c[i].end_cnt + T.c[i].fail_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_client_pool_close_fails_running_calls_at_once)
{
    start();
    (void)get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1); /* idle */
    (void)get(1);
    run_until(peer_has(guest(0), "/1"));
    (void)get(2); /* dialling */
    T.c[1].restart_in_fail = true;
    http_pool_close(T.pool);
    for (int i = 1; i < 3; i++) {
        ck_assert_int_eq(T.c[i].fail_cnt, 1);
        ck_assert_int_eq(T.c[i].fail_code, ADIT_ERR_CLOSED);
    }
    run_until(guest(0)->ended);
    fixture_fini();
}
END_TEST

/* ---- raw ---- */

START_TEST(http_client_upgrades_and_half_closes_both_ways)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct seen *s = &T.c[0];
    struct peer *g;

    start();
    ck_assert_int_eq(try_call(0, "GET", HTTP_GET, true, HTTP_BODY_NONE,
                              "Connection: Upgrade\r\nUpgrade: x\r\n", &err),
                     ADIT_OK);
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g,
              "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw ");
    run_until(s->body_len == 4);
    ck_assert_uint_eq(s->status, 101);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("to the guest")), ADIT_OK);
    run_until(peer_has(g, "\r\n\r\nto the guest"));
    ck_assert_int_eq(shutdown(g->fd, SHUT_WR), 0);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str(", and more")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(g->ended);
    ck_assert(peer_has(g, "to the guest, and more"));
    http_call_cancel(s->call);
    ck_assert_int_eq(s->fail_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_client_takes_a_plain_answer_to_an_upgrade)
{
    struct adit_err err = ADIT_ERR_INIT;

    start();
    ck_assert_int_eq(try_call(0, "GET", HTTP_GET, true, HTTP_BODY_NONE,
                              "Connection: Upgrade\r\nUpgrade: x\r\n", &err),
                     ADIT_OK);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1);
    ck_assert_uint_eq(T.c[0].status, 200);
    finish();
}
END_TEST

SUITE_MAIN("http_client_body", http_client_sends_bodies_of_length_and_chunks,
           http_client_sends_a_head_whose_body_is_late,
           http_client_bounds_the_body_before_the_connection_stands,
           http_client_tells_a_slow_peer_by_congestion_and_drain,
           http_client_takes_a_reply_before_the_requests_end_and_closes,
           http_client_reads_the_reply_of_a_peer_that_stopped_reading,
           http_client_pause_bounds_what_is_read, http_client_holds_chunks_and_the_end_while_paused,
           http_client_cancel_closes_and_says_nothing_more,
           http_client_pool_close_fails_running_calls_at_once,
           http_client_upgrades_and_half_closes_both_ways,
           http_client_takes_a_plain_answer_to_an_upgrade)
