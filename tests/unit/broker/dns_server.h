/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server on the test's loop, over UDP and TCP, which answers what the test wants. Included
 * after net_fixture.h.
 */
#ifndef ADIT_TESTS_DNS_SERVER_H
#define ADIT_TESTS_DNS_SERVER_H

#include "dns_message.h"

/* The answer to a question of @type for @name; one without bytes is none. */
typedef void (*dns_script_fn)(struct dns_message *answer, const char *name, unsigned type,
                              bool is_tcp);

static struct {
    uv_udp_t udp;
    uv_tcp_t tcp, connection;
    bool is_connected;
    dns_script_fn script;
    size_t udp_cnt, tcp_cnt; /* questions */
    char address[32];
    size_t got;
    unsigned char tcp_in[1024];
} dns;

static void dns_on_alloc(uv_handle_t *h, size_t wanted, uv_buf_t *buf)
{
    static char room[2048];
    (void)h;
    (void)wanted;
    *buf = uv_buf_init(room, sizeof(room));
}

/* @answer gets the question's id. */
static void dns_answer(struct dns_message *answer, const unsigned char *query, size_t len,
                       bool is_tcp)
{
    char name[300] = "";
    size_t at = DNS_HEAD_LEN, n = 0;
    DNS_NEEDS(len > DNS_HEAD_LEN);
    while (query[at]) {
        n += (size_t)snprintf(name + n, sizeof(name) - n, "%s%.*s", n ? "." : "", query[at],
                              (const char *)query + at + 1);
        at += 1u + query[at];
    }
    answer->len = 0;
    dns.script(answer, name, (unsigned)query[at + 1] << 8 | query[at + 2], is_tcp);
    memcpy(answer->bytes, query, answer->len ? 2 : 0);
}

static void dns_on_datagram(uv_udp_t *h, ssize_t n, const uv_buf_t *buf,
                            const struct sockaddr *from, unsigned flags)
{
    static struct dns_message answer;
    (void)flags;
    if (n <= 0 || !from)
        return;
    dns.udp_cnt++;
    dns_answer(&answer, (const unsigned char *)buf->base, (size_t)n, false);
    uv_buf_t out = uv_buf_init((char *)answer.bytes, (unsigned)answer.len);
    if (answer.len)
        DNS_NEEDS(uv_udp_try_send(h, &out, 1, from) == (int)answer.len);
}

static void dns_on_tcp_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    static struct dns_message answer;
    if (n < 0) {
        uv_close((uv_handle_t *)s, NULL);
        dns.is_connected = false;
        return;
    }
    DNS_NEEDS(dns.got + (size_t)n <= sizeof(dns.tcp_in));
    memcpy(dns.tcp_in + dns.got, buf->base, (size_t)n);
    dns.got += (size_t)n;
    if (dns.got < 2 || dns.got < 2u + ((unsigned)dns.tcp_in[0] << 8 | dns.tcp_in[1]))
        return;
    dns.tcp_cnt++;
    dns_answer(&answer, dns.tcp_in + 2, dns.got - 2, true);
    unsigned char head[2] = {(unsigned char)(answer.len >> 8), (unsigned char)answer.len};
    uv_buf_t out[] = {uv_buf_init((char *)head, 2),
                      uv_buf_init((char *)answer.bytes, (unsigned)answer.len)};
    DNS_NEEDS(uv_try_write(s, out, 2) == (int)answer.len + 2);
}

static void dns_on_connection(uv_stream_t *s, int status)
{
    DNS_NEEDS(status == 0 && !dns.is_connected);
    DNS_NEEDS(uv_tcp_init(s->loop, &dns.connection) == 0);
    DNS_NEEDS(uv_accept(s, (uv_stream_t *)&dns.connection) == 0);
    dns.is_connected = true;
    dns.got = 0;
    DNS_NEEDS(uv_read_start((uv_stream_t *)&dns.connection, dns_on_alloc, dns_on_tcp_read) == 0);
}

/* Return: whether the port of UDP was free for TCP too. */
static bool dns_bind(uv_loop_t *loop)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int len = sizeof(a);
    ck_assert_int_eq(uv_udp_init(loop, &dns.udp), 0);
    ck_assert_int_eq(uv_udp_bind(&dns.udp, (struct sockaddr *)&a, 0), 0);
    ck_assert_int_eq(uv_udp_getsockname(&dns.udp, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(uv_tcp_init(loop, &dns.tcp), 0);
    (void)snprintf(dns.address, sizeof(dns.address), "127.0.0.1:%d", ntohs(a.sin_port));
    return uv_tcp_bind(&dns.tcp, (struct sockaddr *)&a, 0) == 0 &&
           uv_listen((uv_stream_t *)&dns.tcp, 4, dns_on_connection) == 0;
}

static void dns_server_close(void)
{
    uv_close((uv_handle_t *)&dns.udp, NULL);
    uv_close((uv_handle_t *)&dns.tcp, NULL);
    if (dns.is_connected)
        uv_close((uv_handle_t *)&dns.connection, NULL);
    dns.is_connected = false;
}

static void dns_server_open(dns_script_fn script)
{
    while (!dns_bind(&F.uv)) {
        dns_server_close();
        settle();
    }
    dns.script = script;
    dns.udp_cnt = dns.tcp_cnt = 0;
    ck_assert_int_eq(uv_udp_recv_start(&dns.udp, dns_on_alloc, dns_on_datagram), 0);
}

#endif
