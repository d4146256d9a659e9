/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels of a live envd to servers on the loopback. */
#include "live_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>

/* A listening socket on a free port of the address. */
static int listen_on(int family, const char *address, uint16_t *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.any = {.sa_family = (sa_family_t)family}};
    socklen_t len = family == AF_INET ? sizeof a.v4 : sizeof a.v6;
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    void *at = family == AF_INET ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr;
    ck_assert_int_eq(inet_pton(family, address, at), 1);
    ck_assert_int_eq(bind(fd, &a.any, len), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, &a.any, &len), 0);
    *port = ntohs(family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return fd;
}

/* Ask for @port; the answer's line is in @answer. */
static struct live_conn ask(unsigned port, char answer[CHANNEL_LINE_CAP])
{
    struct live_conn c = live_channel(CHANNEL_PORT_TUNNEL);
    char line[CHANNEL_LINE_CAP];
    live_send(&c, line, (size_t)snprintf(line, sizeof line, "TCP %u\n", port));
    ck_assert(live_read_until(&c, "\n", answer, CHANNEL_LINE_CAP));
    return c;
}

/* An open tunnel; *guest is the server's side. */
static struct live_conn open_tunnel(int family, const char *address, int *guest)
{
    uint16_t port;
    char answer[CHANNEL_LINE_CAP];
    int listening = listen_on(family, address, &port);
    struct live_conn c = ask(port, answer);
    ck_assert_str_eq(answer, "OK\n");
    *guest = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(*guest, 0);
    (void)close(listening);
    return c;
}

START_TEST(tunnel_reaches_servers_on_every_loopback_address)
{
    static const struct {
        int family;
        const char *address;
    } rows[] = {{AF_INET, "127.0.0.1"}, {AF_INET, "0.0.0.0"}, {AF_INET6, "::1"}, {AF_INET6, "::"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[16];
        int guest;
        struct live_conn c = open_tunnel(rows[i].family, rows[i].address, &guest);
        live_send(&c, "ping", 4);
        ck_assert_int_eq(recv(guest, text, 4, MSG_WAITALL), 4);
        ck_assert_int_eq(send(guest, "pong\n", 5, MSG_NOSIGNAL), 5);
        ck_assert(live_read_until(&c, "\n", text, sizeof text));
        ck_assert_str_eq(text, "pong\n");
        (void)close(guest);
        live_hang_up(&c);
    }
}
END_TEST

START_TEST(tunnel_to_a_closed_port_is_refused)
{
    uint16_t port;
    char answer[CHANNEL_LINE_CAP];
    (void)close(listen_on(AF_INET, "127.0.0.1", &port));
    struct live_conn c = ask(port, answer);
    ck_assert_str_eq(answer, "ERR refused\n");
    ck_assert(live_is_at_end(&c));
    live_hang_up(&c);
}
END_TEST

START_TEST(tunnel_refuses_odd_lines)
{
    static const char *const lines[] = {"TCP 0\n",  "TCP 65536\n", "TCP 080\n", "TCP +80\n",
                                        "tcp 80\n", "TCP  80\n",   "UDP 53\n",  "\n",
                                        "TCP\n",    "TCP 80 \n",   "OK\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char answer[CHANNEL_LINE_CAP];
        struct live_conn c = live_channel(CHANNEL_PORT_TUNNEL);
        live_send(&c, lines[i], strlen(lines[i]));
        ck_assert(live_read_until(&c, "\n", answer, sizeof answer));
        ck_assert_str_eq(answer, "ERR protocol\n");
        ck_assert(live_is_at_end(&c));
        live_hang_up(&c);
    }
}
END_TEST

START_TEST(tunnel_closes_on_bytes_before_the_answer_and_on_garbage)
{
    static const char early[] = "TCP 80\nGET / HTTP/1.1\r\n", garbage[] = "\x01\xff\n";
    struct live_conn c = live_channel(CHANNEL_PORT_TUNNEL);
    live_send(&c, early, sizeof early - 1);
    ck_assert(live_is_at_end(&c));
    live_hang_up(&c);
    c = live_channel(CHANNEL_PORT_TUNNEL);
    live_send(&c, garbage, sizeof garbage - 1);
    ck_assert(live_is_at_end(&c));
    live_hang_up(&c);
}
END_TEST

START_TEST(tunnel_half_close_passes_both_ways)
{
    char text[32];
    int guest;
    struct live_conn c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    live_send(&c, "question", 8);
    ck_assert_int_eq(shutdown(c.fd, SHUT_WR), 0);
    ck_assert_int_eq(recv(guest, text, sizeof text, MSG_WAITALL), 8);
    ck_assert_int_eq(send(guest, "answer\n", 7, MSG_NOSIGNAL), 7);
    ck_assert(live_read_until(&c, "\n", text, sizeof text));
    (void)close(guest);
    ck_assert(live_is_at_end(&c));
    live_hang_up(&c);

    c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    ck_assert_int_eq(send(guest, "hello\n", 6, MSG_NOSIGNAL), 6);
    ck_assert_int_eq(shutdown(guest, SHUT_WR), 0);
    ck_assert(live_read_until(&c, "\n", text, sizeof text));
    ck_assert(live_is_at_end(&c));
    live_send(&c, "still here", 10);
    (void)shutdown(c.fd, SHUT_WR);
    ck_assert_int_eq(recv(guest, text, sizeof text, MSG_WAITALL), 10);
    (void)close(guest);
    live_hang_up(&c);
}
END_TEST

START_TEST(tunnel_passes_a_reset_on_as_the_end_of_both_sides)
{
    int guest;
    struct linger hard = {1, 0};
    struct live_conn c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    (void)setsockopt(guest, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(guest);
    ck_assert(live_is_at_end(&c));
    live_hang_up(&c);

    char byte;
    c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    live_hang_up(&c);
    ck_assert_int_le(recv(guest, &byte, 1, 0), 0);
    (void)close(guest);
}
END_TEST

/* ---- much data ---- */

#define MUCH (64u * 1024 * 1024)

struct flow {
    int fd;
    bool is_sending;
    bool is_right;
};

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 2654435761u >> 13);
}

static void *flow_run(void *arg)
{
    struct flow *f = arg;
    static __thread uint8_t bytes[256 * 1024];
    f->is_right = true;
    for (size_t at = 0; at < MUCH && f->is_right;) {
        size_t want = sizeof bytes < MUCH - at ? sizeof bytes : MUCH - at;
        for (size_t i = 0; f->is_sending && i < want; i++)
            bytes[i] = pattern(at + i);
        ssize_t n =
            f->is_sending ? send(f->fd, bytes, want, MSG_NOSIGNAL) : recv(f->fd, bytes, want, 0);
        f->is_right = n > 0;
        for (ssize_t i = 0; !f->is_sending && i < n; i++)
            f->is_right = f->is_right && bytes[i] == pattern(at + (size_t)i);
        at += n > 0 ? (size_t)n : 0;
    }
    return NULL;
}

START_TEST(tunnel_carries_much_data_both_ways_at_once_unchanged)
{
    int guest;
    struct live_conn c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    struct flow flows[4] = {
        {c.fd, true, false}, {c.fd, false, false}, {guest, true, false}, {guest, false, false}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, flow_run, &flows[i]), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert(flows[i].is_right);
    }
    (void)close(guest);
    live_hang_up(&c);
}
END_TEST

START_TEST(tunnel_holds_back_a_sender_whose_reader_does_not_read)
{
    int guest;
    static char bytes[64 * 1024];
    struct live_conn c = open_tunnel(AF_INET, "127.0.0.1", &guest);
    size_t total = 0;
    struct pollfd p = {.fd = c.fd, .events = POLLOUT};
    ck_assert_int_eq(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    while (total < 256u * 1024 * 1024 && poll(&p, 1, 300) == 1) {
        ssize_t n = send(c.fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        total += n > 0 ? (size_t)n : 0;
    }
    /* Socket buffers of the kernel and one queue, no more. */
    ck_assert_uint_lt(total, 32u * 1024 * 1024);
    (void)close(guest);
    live_hang_up(&c);
}
END_TEST

START_TEST(tunnel_many_come_and_go)
{
    uint16_t port;
    int listening = listen_on(AF_INET, "127.0.0.1", &port);
    for (int i = 0; i < 500; i++) {
        char answer[CHANNEL_LINE_CAP];
        struct live_conn c = ask(port, answer);
        ck_assert_str_eq(answer, "OK\n");
        int guest = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (i % 2)
            (void)close(guest);
        live_hang_up(&c);
        if (i % 2 == 0)
            (void)close(guest);
    }
    (void)close(listening);
}
END_TEST

SUITE_MAIN_WITH(
    "tunnel", .fixtures = {{setup, teardown}},
    TESTS(tunnel_reaches_servers_on_every_loopback_address, tunnel_to_a_closed_port_is_refused,
          tunnel_refuses_odd_lines, tunnel_closes_on_bytes_before_the_answer_and_on_garbage,
          tunnel_half_close_passes_both_ways, tunnel_passes_a_reset_on_as_the_end_of_both_sides,
          tunnel_carries_much_data_both_ways_at_once_unchanged,
          tunnel_holds_back_a_sender_whose_reader_does_not_read, tunnel_many_come_and_go))
