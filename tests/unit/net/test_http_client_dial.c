/* SPDX-License-Identifier: Apache-2.0 */
/* Client calls: dialling, the handshake of a channel, and what fails in them. */
#include "tests/unit/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http_client_fixture.h"

static void start_channel(uint16_t tcp_port, uint64_t dial_ms)
{
    struct http_pool_conf conf = default_conf();

    conf.target.kind = HTTP_TARGET_CHANNEL;
    conf.target.port = tcp_port ? CHANNEL_PORT_TUNNEL : CHANNEL_PORT_ENVD;
    conf.target.tcp_port = tcp_port;
    conf.dial_ms = dial_ms;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
}

START_TEST(http_client_shakes_hands_on_a_channel)
{
    struct seen *s;
    struct peer *g;

    start_channel(0, 30000);
    s = get(0);
    g = guest(0);
    run_until(g->len);
    settle();
    ck_assert_str_eq(g->bytes, "CONNECT 49983\n"); /* nothing else before the answer */
    peer_send(g, "OK 107");
    settle();
    ck_assert_str_eq(g->bytes, "CONNECT 49983\n");
    peer_send(g, "3741824\n");
    run_until(peer_has(g, "49983\nGET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_asks_the_tunnel_for_a_port)
{
    struct seen *s;
    struct peer *g;

    start_channel(8080, 30000);
    s = get(0);
    g = guest(0);
    run_until(peer_has(g, "CONNECT 1024\n"));
    peer_send(g, "OK 1\n");
    run_until(peer_has(g, "CONNECT 1024\nTCP 8080\n"));
    peer_send(g, "OK\n");
    run_until(peer_has(g, "TCP 8080\nGET /0 "));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

static void assert_handshake_fails(uint16_t tcp_port, const char *first, const char *second,
                                   int code)
{
    struct seen *s;
    struct peer *g;

    start_channel(tcp_port, 30000);
    s = get(0);
    g = guest(0);
    run_until(peer_has(g, "\n"));
    peer_send(g, first);
    if (second) {
        run_until(peer_has(g, "TCP"));
        peer_send(g, second);
    }
    run_until(s->fail_cnt == 1);
    ck_assert_msg(s->fail_code == code, "%s %s: %d %s", first, second, s->fail_code, s->fail_msg);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(g->ended);
    ck_assert(!peer_has(g, "GET"));
    finish();
}

START_TEST(http_client_fails_a_wrong_handshake)
{
    assert_handshake_fails(0, "HELLO\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK 1\r\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0,
                           "0123456789012345678901234567890123456789012345678901234567890123456789",
                           NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK 1\nHTTP/1.1 200 OK\r\n\r\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(80, "OK 1\n", "ERR refused\n", ADIT_ERR_UNAVAILABLE);
    assert_handshake_fails(80, "OK 1\n", "ERR no route\n", ADIT_ERR_IO);
    assert_handshake_fails(80, "OK 1\n", "YES\n", ADIT_ERR_PROTOCOL);
    assert_handshake_fails(80, "OK 1\nERR refused\n", NULL, ADIT_ERR_UNAVAILABLE);
}
END_TEST

START_TEST(http_client_tells_a_guest_that_closes_in_the_handshake)
{
    struct seen *s;

    start_channel(0, 30000);
    s = get(0);
    run_until(peer_has(guest(0), "\n"));
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    finish();
}
END_TEST

START_TEST(http_client_times_the_handshake_as_a_whole)
{
    struct seen *s;
    uint64_t begin = now_ms();

    start_channel(8080, 200);
    s = get(0);
    run_until(peer_has(guest(0), "\n"));
    peer_send(guest(0), "OK 1\n");
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_ge(now_ms() + 5, begin + 200);
    finish();
}
END_TEST

START_TEST(http_client_tells_that_nothing_listens)
{
    struct http_pool_conf conf = default_conf();
    struct seen *s;

    start_pool(&conf); /* no socket at all */
    s = get(0);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    fixture_listen(fixture_path("guest"), 16);
    ck_assert_int_eq(close(F.listen_fd), 0); /* a socket nobody listens on */
    F.listen_fd = -1;
    s = get(1);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    finish();
}
END_TEST

START_TEST(http_client_waits_for_a_listener_whose_backlog_is_full)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int in_the_way[64], listen_fd;
    size_t cnt = 0;
    struct seen *s;

    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 0);
    listen_fd = F.listen_fd;
    F.listen_fd = -1; /* nobody accepts for now */
    memcpy(a.sun_path, fixture_path("guest"), strlen(fixture_path("guest")) + 1);
    do {
        in_the_way[cnt] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(in_the_way[cnt++], (struct sockaddr *)&a, sizeof(a)) == 0 && cnt < 64);
    ck_assert_int_eq(errno, EAGAIN);
    s = get(0);
    settle();
    ck_assert_int_eq(s->fail_cnt, 0);
    F.listen_fd = listen_fd;
    run_until(F.peer_cnt && peer_has(&F.peers[F.peer_cnt - 1], "GET /0"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->end_cnt == 1);
    for (size_t i = 0; i < cnt; i++)
        ck_assert_int_eq(close(in_the_way[i]), 0);
    finish();
}
END_TEST

START_TEST(http_client_dials_tcp_and_tells_refusal)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    struct seen *s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    conf.target.kind = HTTP_TARGET_TCP;
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "127.0.0.1:%u", ntohs(a.sin_port));
    start_pool(&conf);
    s = get(0);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    ck_assert_int_eq(listen(fd, 8), 0);
    F.listen_fd = fd;
    s = get(1);
    run_until(peer_has(guest(0), "GET /1"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_shakes_hands_after_a_connect_that_took_time)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    struct seen *s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    conf.target.kind = HTTP_TARGET_TCP;
    conf.target.tcp_port = 8080;
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "127.0.0.1:%u", ntohs(a.sin_port));
    start_pool(&conf);
    F.listen_fd = fd;
    s = get(0);
    run_until(peer_has(guest(0), "TCP 8080\n"));
    settle();
    peer_send(guest(0), "OK\n");
    run_until(peer_has(guest(0), "GET /0"));
    settle();
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_refuses_an_address_that_is_none)
{
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "host:80", "[::1:80", ":80"};
    struct http_pool_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;

    conf.target.kind = HTTP_TARGET_TCP;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(conf.target.path, sizeof(conf.target.path), "%s", bad[i]);
        start_pool(&conf);
        ck_assert_int_eq(try_call(0, "GET", HTTP_GET, false, HTTP_BODY_NONE, "", &err),
                         ADIT_ERR_BAD_INPUT);
        finish();
    }
}
END_TEST

SUITE_MAIN("http_client_dial", http_client_shakes_hands_on_a_channel,
           http_client_asks_the_tunnel_for_a_port, http_client_fails_a_wrong_handshake,
           http_client_tells_a_guest_that_closes_in_the_handshake,
           http_client_times_the_handshake_as_a_whole, http_client_tells_that_nothing_listens,
           http_client_waits_for_a_listener_whose_backlog_is_full,
           http_client_dials_tcp_and_tells_refusal,
           http_client_shakes_hands_after_a_connect_that_took_time,
           http_client_refuses_an_address_that_is_none)
