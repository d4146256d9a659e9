/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the proxies, in a sandbox whose kernel redirects nothing. */
#include "egress_broker.h"

#include "envd/egress/egress_connect.h"
#include "envd/egress/egress_proxies.h"

static struct broker broker;
static uint16_t port;

static void setup(void)
{
    egress_start(EGRESS_PROXY);
    broker_open(&broker, true);
    ck_assert_int_eq(broker.mode, CONTROL__MODE__MODE_PROXY);
    port = program_proxy_port();
}

static void teardown(void)
{
    broker_close(&broker);
    live_stop();
}

/* ---- clients ---- */

static int client(void)
{
    int failed;
    int fd = space_connect("127.0.0.1", port, SOCK_STREAM, &failed);
    ck_assert_int_eq(failed, 0);
    return fd;
}

static int client_says(const char *text)
{
    int fd = client();
    program_say(fd, text);
    return fd;
}

static void say_bytes(int fd, const void *p, size_t len)
{
    ck_assert_int_eq(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* All that comes until the end, which must be clean. */
static const char *rest_of(int fd)
{
    static char text[8192];
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
        len += (size_t)n;
    ck_assert_int_eq(n, 0);
    text[len] = '\0';
    (void)close(fd);
    return text;
}

#define CONNECTED "HTTP/1.1 200 Connection established\r\n\r\n"

/* Both ways, and the end. */
static void talk(int fd, struct live_conn *host, uint32_t id)
{
    program_say(fd, "question");
    broker_hears(host, "question");
    live_send(host, "answer", 6);
    program_hear(fd, "answer");
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    broker_expect_end(&broker, id, false);
    ck_assert(live_is_at_end(host));
    broker_end(&broker, id, false);
    live_hang_up(host);
    ck_assert_int_eq(program_end(fd), 0);
    (void)close(fd);
}

/* The name is looked up and has @cnt addresses. */
static void resolve(const char *name, size_t cnt)
{
    broker_tell(&broker, broker_expect_lookup(&broker, name, CONTROL_TYPE_A), 0, name, cnt, 300);
}

static void no_ipv6(const char *name)
{
    broker_tell(&broker, broker_expect_lookup(&broker, name, CONTROL_TYPE_AAAA), 0, name, 0, 300);
}

/* ---- CONNECT ---- */

START_TEST(proxies_connect_to_a_name)
{
    int fd = client_says("CONNECT Www.Example.com:443 HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n");
    resolve("www.example.com", 1);
    uint32_t id = broker_expect_dial(&broker, "192.0.2.1:443");
    struct live_conn host = broker_accept(id);
    program_hear(fd, CONNECTED);
    talk(fd, &host, id);
}
END_TEST

START_TEST(proxies_connect_to_addresses)
{
    static const char *const targets[][2] = {{"192.0.2.7:22", "192.0.2.7:22"},
                                             {"[2001:db8::7]:443", "2001:db8::7:443"},
                                             {"[::ffff:192.0.2.7]:80", "192.0.2.7:80"}};
    char text[128];
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        (void)snprintf(text, sizeof text, "CONNECT %s HTTP/1.0\r\n\r\n", targets[i][0]);
        int fd = client_says(text);
        uint32_t id = broker_expect_dial(&broker, targets[i][1]);
        struct live_conn host = broker_accept(id);
        program_hear(fd, CONNECTED);
        talk(fd, &host, id);
    }
}
END_TEST

START_TEST(proxies_pass_on_what_a_client_says_early)
{
    int fd = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\nwith it, ");
    program_say(fd, "and after it");
    uint32_t id = broker_expect_dial(&broker, NULL);
    struct live_conn host = broker_accept(id);
    broker_hears(&host, "with it, and after it");
    program_hear(fd, CONNECTED);
    talk(fd, &host, id);
}
END_TEST

START_TEST(proxies_try_one_address_after_the_other)
{
    int fd = client_says("CONNECT a.example:443 HTTP/1.1\r\n\r\n");
    resolve("a.example", 2);
    broker_refuse(&broker, broker_expect_dial(&broker, "192.0.2.1:443"),
                  CONTROL__REASON__REASON_HOST_UNREACHABLE);
    broker_refuse(&broker, broker_expect_dial(&broker, "192.0.2.2:443"),
                  CONTROL__REASON__REASON_NET_UNREACHABLE);
    broker_tell_type(&broker, CONTROL_TYPE_AAAA,
                     broker_expect_lookup(&broker, "a.example", CONTROL_TYPE_AAAA), 0, "a.example",
                     1, 300);
    uint32_t id = broker_expect_dial(&broker, "2001:db8::1:443");
    struct live_conn host = broker_accept(id);
    program_hear(fd, CONNECTED);
    talk(fd, &host, id);
}
END_TEST

START_TEST(proxies_try_no_more_addresses_than_they_may)
{
    int fd = client_says("CONNECT many.example:443 HTTP/1.1\r\n\r\n");
    resolve("many.example", 2 * EGRESS_CONNECT_ADDRESSES_MAX);
    for (int i = 0; i < EGRESS_CONNECT_ADDRESSES_MAX; i++)
        broker_refuse(&broker, broker_expect_dial(&broker, NULL), CONTROL__REASON__REASON_REFUSED);
    no_ipv6("many.example");
    ck_assert_ptr_nonnull(strstr(rest_of(fd), "connection refused"));
}
END_TEST

/* ---- refusals ---- */

static const struct refusal {
    Control__Reason reason;
    const char *status;
    const char *words;
    char reply;
} refusals[] = {
    {CONTROL__REASON__REASON_REFUSED, " 502 ", "refused", 5},
    {CONTROL__REASON__REASON_HOST_UNREACHABLE, " 502 ", "no route", 4},
    {CONTROL__REASON__REASON_NET_UNREACHABLE, " 502 ", "unreachable", 3},
    {CONTROL__REASON__REASON_PROHIBITED, " 403 ", "not allowed", 2},
    {CONTROL__REASON__REASON_TIMED_OUT, " 504 ", "timed out", 6},
    {CONTROL__REASON__REASON_BUSY, " 503 ", "too many", 1},
};
#define REFUSAL_CNT (sizeof(refusals) / sizeof(refusals[0]))

static void expect_refusal(const char *answer, const struct refusal *r)
{
    ck_assert_msg(strncmp(answer, "HTTP/1.1", 8) == 0 && strncmp(answer + 8, r->status, 5) == 0,
                  "%s", answer);
    ck_assert_msg(strstr(answer, "192.0.2.1 port 81: ") && strstr(answer, r->words), "%s", answer);
}

START_TEST(proxies_tell_by_status_what_was_refused)
{
    const struct refusal *r = &refusals[_i];
    int fd = client_says("CONNECT 192.0.2.1:81 HTTP/1.1\r\n\r\n");
    broker_refuse(&broker, broker_expect_dial(&broker, NULL), r->reason);
    expect_refusal(rest_of(fd), r);
    fd = client_says("GET http://192.0.2.1:81/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    broker_refuse(&broker, broker_expect_dial(&broker, NULL), r->reason);
    expect_refusal(rest_of(fd), r);
}
END_TEST

START_TEST(proxies_tell_socks_clients_what_was_refused)
{
    char greeting[] = {5, 2, 2, 0}, request[] = {5, 1, 0, 1, (char)192, 0, 2, 1, 0, 81};
    const char want[] = {5, refusals[_i].reply, 0, 1, 0, 0, 0, 0, 0, 0};
    char got[sizeof want];
    int fd = client();
    say_bytes(fd, greeting, sizeof greeting);
    ck_assert_int_eq(recv(fd, got, 2, MSG_WAITALL), 2);
    ck_assert_int_eq(memcmp(got, "\5\0", 2), 0);
    say_bytes(fd, request, sizeof request);
    broker_refuse(&broker, broker_expect_dial(&broker, "192.0.2.1:81"), refusals[_i].reason);
    ck_assert_int_eq(recv(fd, got, sizeof got, MSG_WAITALL), sizeof got);
    ck_assert_int_eq(memcmp(got, want, sizeof got), 0);
    ck_assert_int_eq(program_end(fd), 0);
    (void)close(fd);
}
END_TEST

START_TEST(proxies_tell_why_a_name_has_no_address)
{
    static const struct {
        uint32_t rcode;
        const char *status, *words;
    } names[] = {{3, " 502 ", "not found"}, {2, " 504 ", "looked up"}, {5, " 403 ", "not allowed"}};
    char name[32], text[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(name, sizeof name, "n%zu.example", i);
        (void)snprintf(text, sizeof text, "CONNECT %s:443 HTTP/1.1\r\n\r\n", name);
        int fd = client_says(text);
        broker_tell(&broker, broker_expect_lookup(&broker, name, CONTROL_TYPE_A), names[i].rcode,
                    name, 0, 300);
        const char *answer = rest_of(fd);
        ck_assert_msg(strstr(answer, names[i].status) && strstr(answer, names[i].words), "%s",
                      answer);
    }
}
END_TEST

START_TEST(proxies_without_a_broker_the_network_is_unreachable)
{
    broker_close(&broker);
    int fd = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    ck_assert_ptr_nonnull(strstr(rest_of(fd), "network is unreachable"));
    broker_open(&broker, false);
}
END_TEST

/* ---- SOCKS5 ---- */

START_TEST(proxies_speak_socks_to_names_and_addresses)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *name, *to;
    } requests[] = {
        {"\5\1\0\5\1\0\1\xc0\0\2\1\1\xbb", 13, NULL, "192.0.2.1:443"},
        {"\5\1\0\5\1\0\3\x09X.example\1\xbb", 19, "x.example", "192.0.2.1:443"},
        {"\5\1\0\5\1\0\3\x0a"
         "192.0.2.77\1\xbb",
         20, NULL, "192.0.2.77:443"},
        {"\5\1\0\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb", 25, NULL, "2001:db8::1:443"},
    };
    char got[12];
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        int fd = client();
        say_bytes(fd, requests[i].bytes, requests[i].len);
        if (requests[i].name)
            resolve(requests[i].name, 1);
        uint32_t id = broker_expect_dial(&broker, requests[i].to);
        struct live_conn host = broker_accept(id);
        ck_assert_int_eq(recv(fd, got, sizeof got, MSG_WAITALL), sizeof got);
        ck_assert_int_eq(memcmp(got, "\5\0\5\0\0\1\0\0\0\0\0\0", sizeof got), 0);
        talk(fd, &host, id);
    }
}
END_TEST

/* ---- forwarding ---- */

/* A request arrives. */
static void expect_request(struct live_conn *host, const char *line, const char *host_name,
                           struct live_reply *r)
{
    char want[128];
    ck_assert(live_read_until(host, "\r\n\r\n", r->head, sizeof r->head));
    ck_assert_msg(strncmp(r->head, line, strlen(line)) == 0, "%s", r->head);
    (void)snprintf(want, sizeof want, "\r\nHost: %s\r\n", host_name);
    ck_assert_msg(strstr(r->head, want), "%s", r->head);
}

/* A client's connection with reading to an end of a reply. */
static struct live_conn forward_client(void)
{
    struct live_conn c = {.fd = client(), .buf = malloc(LIVE_BUF_CAP)};
    return c;
}

static void send_text(struct live_conn *c, const char *text)
{
    live_send(c, text, strlen(text));
}

/* The reply came; nothing is left of its connection. */
static void expect_forward_end(struct live_conn *host, uint32_t id)
{
    broker_expect_end(&broker, id, false);
    ck_assert(live_is_at_end(host));
    broker_end(&broker, id, false);
    live_hang_up(host);
}

START_TEST(proxies_forward_each_request_to_its_own_host)
{
    struct live_conn c = forward_client();
    struct live_reply r;
    for (int i = 0; i < 2; i++) {
        char text[512], name[32];
        (void)snprintf(name, sizeof name, "h%d.example", i);
        (void)snprintf(
            text, sizeof text,
            "GET http://%s/p?q HTTP/1.1\r\nHost: wrong\r\nProxy-Connection: keep-alive\r\n"
            "Proxy-Authorization: Basic eA==\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"
            "Authorization: yes\r\n\r\n",
            name);
        send_text(&c, text);
        resolve(name, 1);
        uint32_t id = broker_expect_dial(&broker, "192.0.2.1:80");
        struct live_conn host = broker_accept(id);
        expect_request(&host, "GET /p?q HTTP/1.1\r\n", name, &r);
        ck_assert(!strcasestr(r.head, "proxy-") && !strstr(r.head, "X-Mine"));
        ck_assert(strstr(r.head, "\r\nAuthorization: yes\r\n"));
        ck_assert(strstr(r.head, "\r\nConnection: close\r\n"));
        send_text(&host, "HTTP/1.1 203 Fine\r\nContent-Length: 4\r\nX-Own: 1\r\n"
                         "Connection: close\r\n\r\nbody");
        live_read_reply(&c, &r);
        ck_assert_uint_eq(r.status, 203);
        ck_assert_str_eq(r.body, "body");
        ck_assert(strstr(r.head, "X-Own: 1"));
        expect_forward_end(&host, id);
    }
    live_hang_up(&c);
}
END_TEST

START_TEST(proxies_forward_bodies_of_any_framing)
{
    struct live_conn c = forward_client();
    struct live_reply r;
    char body[64];
    send_text(&c, "POST http://192.0.2.1:8080 HTTP/1.1\r\nHost: x\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    uint32_t id = broker_expect_dial(&broker, "192.0.2.1:8080");
    struct live_conn host = broker_accept(id);
    expect_request(&host, "POST / HTTP/1.1\r\n", "192.0.2.1:8080", &r);
    ck_assert(live_read_until(&host, "0\r\n\r\n", body, sizeof body));
    ck_assert_str_eq(body, "5\r\nhello\r\n0\r\n\r\n");
    send_text(&host, "HTTP/1.0 200 OK\r\n\r\nto the end");
    broker_end(&broker, id, false);
    live_hang_up(&host);
    live_read_reply(&c, &r);
    ck_assert_str_eq(r.body, "to the end");
    broker_expect_end(&broker, id, false);
    live_hang_up(&c);
}
END_TEST

START_TEST(proxies_never_end_a_broken_reply_cleanly)
{
    static const char *const begun[] = {"HTTP/1.0 200 OK\r\n\r\nhalf",
                                        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"};
    struct live_reply r;
    char half[512];
    for (size_t i = 0; i < 2; i++) {
        struct live_conn c = forward_client();
        send_text(&c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\n\r\n");
        uint32_t id = broker_expect_dial(&broker, NULL);
        struct live_conn host = broker_accept(id);
        expect_request(&host, "GET / HTTP/1.1\r\n", "192.0.2.1", &r);
        send_text(&host, begun[i]);
        ck_assert(live_read_until(&c, "half", half, sizeof half));
        broker_end(&broker, id, true);
        live_hang_up(&host);
        while (live_fill(&c))
            continue;
        ck_assert_int_eq(errno, ECONNRESET);
        live_hang_up(&c);
        broker_expect_end(&broker, id, true);
    }
}
END_TEST

START_TEST(proxies_tell_of_a_server_that_breaks_off)
{
    struct live_reply r;
    int fd = client_says("GET http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    uint32_t id = broker_expect_dial(&broker, NULL);
    struct live_conn host = broker_accept(id);
    expect_request(&host, "GET / HTTP/1.1\r\n", "192.0.2.1", &r);
    broker_end(&broker, id, true);
    live_hang_up(&host);
    ck_assert_ptr_nonnull(strstr(rest_of(fd), " 502 "));
    broker_expect_end(&broker, id, true);
}
END_TEST

START_TEST(proxies_forward_an_upgrade)
{
    struct live_reply r;
    struct live_conn c = forward_client();
    send_text(&c, "GET http://192.0.2.1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\n");
    uint32_t id = broker_expect_dial(&broker, NULL);
    struct live_conn host = broker_accept(id);
    expect_request(&host, "GET /ws HTTP/1.1\r\n", "192.0.2.1", &r);
    ck_assert(strstr(r.head, "\r\nUpgrade: websocket\r\n"));
    send_text(&host, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\n\r\nfirst");
    live_read_head(&c, &r);
    ck_assert_uint_eq(r.status, 101);
    broker_hears(&c, "first");
    send_text(&c, "second");
    broker_hears(&host, "second");
    live_hang_up(&c);
    Control__GuestFrame *f = broker_expect(&broker, CONTROL__GUEST_FRAME__BODY_END);
    control__guest_frame__free_unpacked(f, NULL);
    live_hang_up(&host);
}
END_TEST

START_TEST(proxies_forward_only_to_hosts_over_http)
{
    static const char *const targets[] = {"/",      "http://",          "https://192.0.2.1/",
                                          "*",      "ftp://192.0.2.1/", "http://u:p@192.0.2.1/",
                                          "http:/", "http://a b/",      "http://192.0.2.1:0/"};
    char text[256];
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                       targets[i]);
        const char *answer = rest_of(client_says(text));
        ck_assert_msg(strncmp(answer, "HTTP/1.1 400 ", 13) == 0, "%s: %s", targets[i], answer);
    }
}
END_TEST

/* ---- limits and ends ---- */

START_TEST(proxies_serve_ipv6_loopback_too)
{
    int failed;
    FILE *f = fopen("/proc/self/net/tcp6", "r");
    char line[256];
    unsigned p, found = 0;
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%*u: 00000000000000000000000001000000:%x", &p) == 1)
            found = p;
    (void)fclose(f);
    int fd = space_connect("::1", (uint16_t)found, SOCK_STREAM, &failed);
    ck_assert_int_eq(failed, 0);
    program_say(fd, "CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    uint32_t id = broker_expect_dial(&broker, NULL);
    struct live_conn host = broker_accept(id);
    program_hear(fd, CONNECTED);
    talk(fd, &host, id);
}
END_TEST

START_TEST(proxies_end_clients_that_ask_for_nothing)
{
    int fd = client_says("CONN");
    ck_assert_int_eq(program_end(fd), ECONNRESET);
    (void)close(fd);
}
END_TEST

START_TEST(proxies_do_not_dial_for_clients_that_left)
{
    int fd = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\nearly");
    uint32_t id = broker_expect_dial(&broker, NULL);
    (void)close(fd);
    broker_expect_end(&broker, id, true);
    fd = client_says("GET http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\n\r\n");
    id = broker_expect_dial(&broker, NULL);
    (void)close(fd);
    broker_expect_end(&broker, id, true);
}
END_TEST

START_TEST(proxies_keep_what_is_early_in_bounds)
{
    static char block[64 * 1024];
    size_t sent = 0, heard = 0;
    int fd = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    uint32_t id = broker_expect_dial(&broker, NULL);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (struct pollfd p = {.fd = fd, .events = POLLOUT}; poll(&p, 1, 200) == 1;) {
        memset(block, (int)(sent >> 16), sizeof block);
        ssize_t n = send(fd, block, sizeof block - sent % sizeof block, MSG_NOSIGNAL);
        ck_assert_int_gt(n, 0);
        sent += (size_t)n;
        ck_assert_uint_lt(sent, 64u * 1024 * 1024);
    }
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
    struct live_conn host = broker_accept(id);
    program_hear(fd, CONNECTED);
    while (heard < sent) {
        ck_assert(host.start < host.end || live_fill(&host));
        for (; host.start < host.end; heard++)
            ck_assert_int_eq((uint8_t)host.buf[host.start++], (uint8_t)(heard >> 16));
    }
    ck_assert_uint_eq(heard, sent);
    (void)close(fd);
    broker_expect_end(&broker, id, false);
    live_hang_up(&host);
}
END_TEST

START_TEST(proxies_are_bounded)
{
    static int fds[EGRESS_PROXIES_CLIENTS_MAX];
    for (int i = 0; i < EGRESS_PROXIES_CLIENTS_MAX; i++)
        fds[i] = client_says("C");
    int fd = client();
    ck_assert_int_eq(program_end(fd), ECONNRESET);
    (void)close(fd);
    for (int i = 0; i < EGRESS_PROXIES_CLIENTS_MAX; i++)
        (void)close(fds[i]);
    for (int tries = 0;; tries++) { /* until envd has seen their ends */
        ck_assert_int_lt(tries, 1000);
        fd = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
        struct pollfd p[] = {{.fd = fd, .events = POLLIN},
                             {.fd = broker.control.fd, .events = POLLIN}};
        ck_assert_int_gt(poll(p, 2, 20000), 0);
        if (p[1].revents)
            break;
        (void)close(fd);
    }
    broker_refuse(&broker, broker_expect_dial(&broker, NULL), CONTROL__REASON__REASON_REFUSED);
    ck_assert_ptr_nonnull(strstr(rest_of(fd), "refused"));
}
END_TEST

/* Stopped with one of everything open: nothing is left (live_stop() looks), all clients hear of it.
 */
START_TEST(proxies_stop_with_all_they_hold)
{
    int asking = client_says("CONNECT name.example:443 HTTP/1.1\r\n\r\n");
    (void)broker_expect_lookup(&broker, "name.example", CONTROL_TYPE_A);
    int dialling = client_says("CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    (void)broker_expect_dial(&broker, NULL);
    int forwarding = client_says("GET http://192.0.2.2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)broker_expect_dial(&broker, NULL);
    int replying = client_says("GET http://192.0.2.3/ HTTP/1.1\r\nHost: x\r\n\r\n");
    struct live_conn host = broker_accept(broker_expect_dial(&broker, NULL));
    live_send(&host, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 38);
    program_hear(replying, "HTTP/1.1 200 OK");
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    ck_assert_int_eq(program_end(asking), ECONNRESET);
    ck_assert_int_eq(program_end(dialling), ECONNRESET);
    char text[4096];
    ck_assert_int_gt(recv(forwarding, text, sizeof text, 0), 0);
    while (recv(replying, text, sizeof text, 0) > 0)
        continue;
    ck_assert_int_eq(errno, ECONNRESET);
    live_hang_up(&host);
    (void)close(asking);
    (void)close(dialling);
    (void)close(forwarding);
    (void)close(replying);
}
END_TEST

SUITE_MAIN_WITH(
    "egress proxies", .fixtures = {{setup, teardown}},
    TESTS(proxies_connect_to_a_name, proxies_connect_to_addresses,
          proxies_pass_on_what_a_client_says_early, proxies_try_one_address_after_the_other,
          proxies_try_no_more_addresses_than_they_may, proxies_tell_why_a_name_has_no_address,
          proxies_without_a_broker_the_network_is_unreachable,
          proxies_speak_socks_to_names_and_addresses, proxies_forward_each_request_to_its_own_host,
          proxies_forward_bodies_of_any_framing, proxies_never_end_a_broken_reply_cleanly,
          proxies_tell_of_a_server_that_breaks_off, proxies_forward_an_upgrade,
          proxies_forward_only_to_hosts_over_http, proxies_serve_ipv6_loopback_too,
          proxies_end_clients_that_ask_for_nothing, proxies_do_not_dial_for_clients_that_left,
          proxies_keep_what_is_early_in_bounds, proxies_are_bounded,
          proxies_stop_with_all_they_hold),
    LOOPS({proxies_tell_by_status_what_was_refused, REFUSAL_CNT},
          {proxies_tell_socks_clients_what_was_refused, REFUSAL_CNT}))
