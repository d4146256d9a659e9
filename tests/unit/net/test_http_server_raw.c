/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: connections that go on as raw bytes after an upgrade. */
#include "tests/unit/suite.h"

#include "http_server_fixture.h"

static struct peer *upgraded(void)
{
    struct peer *p = start();

    peer_send(p,
              "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert(strncmp(p->bytes, "HTTP/1.1 101 Switching Protocols\r\n", 34) == 0);
    ck_assert(peer_has(p, "Connection: Upgrade\r\n"));
    ck_assert(peer_has(p, "Upgrade: echo\r\n"));
    ck_assert(!peer_has(p, "Content-Length"));
    ck_assert(!peer_has(p, "Transfer-Encoding"));
    peer_forget(p);
    return p;
}

START_TEST(http_server_raw_carries_bytes_and_the_clients_half_close_first)
{
    struct peer *p = upgraded();
    struct http_exchange *x;

    peer_send(p, "GET / not http\r\n\r\n");
    run_until(peer_has(p, "GET / not http\r\n\r\n"));
    ck_assert_int_eq(T.end_cnt, 0);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    ck_assert_int_eq(http_exchange_write(T.x, str("last words")), ADIT_OK);
    take(&x);
    http_exchange_end(x);
    run_until(p->ended);
    ck_assert(peer_has(p, "last words"));
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
    finish();
}
END_TEST

START_TEST(http_server_raw_goes_on_reading_after_our_half_close)
{
    struct peer *p = upgraded();

    strcpy(T.target, "/raw");
    http_exchange_end(T.x);
    run_until(p->ended);
    T.body_len = 0;
    peer_send(p, "still here");
    run_until(T.body_len == 10);
    ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_ERR_CLOSED);
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    run_until(http_server_connection_cnt(T.s) == 0);
    ck_assert_int_eq(T.abort_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_server_raw_does_not_stay_half_closed_without_a_byte)
{
    struct http_server_conf conf = default_conf();
    uint64_t begin, last = 0;
    struct peer *p;

    conf.idle_ms = 200;
    start_server(&conf);
    p = connect_client();
    peer_send(p,
              "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    run_until(peer_has(p, "\r\n\r\n"));
    ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
    run_until(T.end_cnt == 1);
    begin = now_ms();
    while (now_ms() < begin + 600) { /* not while bytes go the other way */
        if (now_ms() > last + 50) {
            ck_assert_int_eq(http_exchange_write(T.x, str("x")), ADIT_OK);
            last = now_ms();
        }
        turn();
    }
    run_until(T.abort_cnt == 1);
    ck_assert_int_eq(T.abort_code, ADIT_ERR_TIMEOUT);
    finish();
}
END_TEST

START_TEST(http_server_raw_takes_bytes_sent_behind_the_head)
{
    struct peer *p = start();
    struct http_exchange *x;

    peer_send(
        p,
        "GET /echo-raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    run_until(peer_has(p, "\r\n\r\nearly"));
    take(&x);
    http_exchange_reset(x);
    run_until(p->ended);
    finish();
}
END_TEST

START_TEST(http_server_refuses_raw_nobody_asked_for)
{
    struct peer *p = start_tcp();

    peer_send(p, "GET /echo-raw HTTP/1.1\r\nHost: a\r\n\r\n");
    run_until(p->ended);
    ck_assert(!peer_has(p, "101"));
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

SUITE_MAIN("http_server_raw", http_server_raw_carries_bytes_and_the_clients_half_close_first,
           http_server_raw_goes_on_reading_after_our_half_close,
           http_server_raw_does_not_stay_half_closed_without_a_byte,
           http_server_raw_takes_bytes_sent_behind_the_head,
           http_server_refuses_raw_nobody_asked_for)
