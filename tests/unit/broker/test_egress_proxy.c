/* SPDX-License-Identifier: Apache-2.0 */
/* Connections through a proxy: what is said to it, what it may answer, and what a guest is told. */
#include "tests/unit/net/failing_loop.h"
#include "tests/unit/net/net_fixture.h"

#include "broker/egress/egress_proxy.h"

#define BYTES(literal) (literal), sizeof(literal) - 1
#define WAIT_MS 30000

static struct egress_proxy proxy;
static struct egress_proxy_handshake *handshake;
static struct peer *peer;
static struct {
    int cnt, code;
    Control__Reason reason;
    struct net_stream *stream;
    char already[64];
    size_t already_len;
} told;

static void on_done(void *owner, struct net_stream *take_stream, struct adit_view already,
                    Control__Reason reason, const struct adit_err *err)
{
    (void)owner;
    told.cnt++;
    told.code = err ? err->code : ADIT_OK;
    told.reason = reason;
    told.stream = take_stream;
    if (already.len <= sizeof(told.already) && already.len > 0)
        memcpy(told.already, already.ptr, already.len);
    told.already_len = already.len;
    if (take_stream)
        net_stream_read_stop(take_stream);
}

static void set_proxy(const char *address, const char *username, const char *password)
{
    memset(&proxy, 0, sizeof(proxy));
    ck_assert_int_eq(egress_proxy_parse_address(adit_view_str(address), &proxy), ADIT_OK);
    (void)snprintf(proxy.username, sizeof(proxy.username), "%s", username);
    (void)snprintf(proxy.password, sizeof(proxy.password), "%s", password);
}

static int open_to(const char *address, uint64_t ms)
{
    struct ip_addr addr;
    struct net_stream *s = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    int fd;
    memset(&told, 0, sizeof(told));
    ck_assert(ip_addr_parse(adit_view_str(address), &addr));
    peer = peer_new(&fd);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fd, NULL, NULL, &s, &err), ADIT_OK);
    return egress_proxy_open(s, &proxy, &addr, 443, ms, on_done, NULL, &handshake);
}

static void start(const char *address)
{
    fixture_init();
    ck_assert_int_eq(open_to(address, WAIT_MS), ADIT_OK);
}

static void finish(void)
{
    if (told.stream)
        net_stream_close(told.stream);
    fixture_fini();
}

static void expect(const char *bytes, size_t len)
{
    run_until(peer->len >= len);
    ck_assert_uint_eq(peer->len, len);
    ck_assert_msg(memcmp(peer->bytes, bytes, len) == 0, "%s", peer->bytes);
    peer_forget(peer);
}

static void expect_told(int code, Control__Reason reason)
{
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.code, code);
    ck_assert_int_eq(told.reason, reason);
    ck_assert_int_eq(told.stream != NULL, code == ADIT_OK);
}

START_TEST(egress_proxy_connects_over_socks5)
{
    set_proxy("proxy.example:1080", "", "");
    start("192.0.2.7");
    expect(BYTES("\5\1\0"));
    peer_send_mem(peer, BYTES("\5\0"));
    expect(BYTES("\5\1\0\1\xc0\0\2\7\1\xbb"));
    peer_send_mem(peer, BYTES("\5\0\0\1\1\2\3\4\0\1SSH-2.0"));
    expect_told(ADIT_OK, CONTROL__REASON__REASON_UNSPECIFIED);
    ck_assert_uint_eq(told.already_len, 7);
    ck_assert_int_eq(memcmp(told.already, "SSH-2.0", 7), 0);
    finish();
}
END_TEST

START_TEST(egress_proxy_says_who_it_is)
{
    set_proxy("socks5://proxy.example:1080", "user", "secret");
    start("2001:db8::9");
    expect(BYTES("\5\2\0\2"));
    peer_send_mem(peer, BYTES("\5\2"));
    expect(BYTES("\1\4user\6secret"));
    peer_send_mem(peer, BYTES("\1\0"));
    expect(BYTES("\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\1\xbb"));
    peer_send_mem(peer, BYTES("\5\0\0\3\4name\0\1"));
    expect_told(ADIT_OK, CONTROL__REASON__REASON_UNSPECIFIED);
    ck_assert_uint_eq(told.already_len, 0);
    finish();
}
END_TEST

START_TEST(egress_proxy_connects_over_http)
{
    set_proxy("http://proxy.example:3128", "user", "secret");
    start("2001:db8::9");
    expect(BYTES("CONNECT [2001:db8::9]:443 HTTP/1.1\r\nHost: [2001:db8::9]:443\r\n"
                 "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"));
    peer_send(peer, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Fine\r\nContent-Length: 9\r\n");
    settle();
    ck_assert_int_eq(told.cnt, 0);
    peer_send(peer, "\r\nhello");
    expect_told(ADIT_OK, CONTROL__REASON__REASON_UNSPECIFIED);
    ck_assert_uint_eq(told.already_len, 5);
    finish();
}
END_TEST

START_TEST(egress_proxy_takes_answers_byte_by_byte)
{
    static const char answer[] = "\5\0\5\0\0\3\4name\0\1x";
    set_proxy("proxy.example:1080", "", "");
    start("192.0.2.7");
    for (size_t i = 0; i < sizeof(answer) - 1 && told.cnt == 0; i++) {
        peer_send_mem(peer, answer + i, 1);
        settle();
    }
    expect_told(ADIT_OK, CONTROL__REASON__REASON_UNSPECIFIED);
    ck_assert_uint_eq(told.already_len, 0); /* the last byte was not sent */
    finish();
}
END_TEST

static const struct refusal {
    bool is_http;
    const char *bytes;
    size_t len;
    int code;
    Control__Reason reason;
} refusals[] = {
#define SOCKS(bytes, code, reason)                                                                 \
    {                                                                                              \
        false, BYTES(bytes), ADIT_ERR_##code, CONTROL__REASON__REASON_##reason                     \
    }
#define REPLY(code, reason) SOCKS("\5\0\5" code "\0\1\0\0\0\0\0\0", UNAVAILABLE, reason)
#define HEAD(text, code, reason)                                                                   \
    {                                                                                              \
        true, BYTES(text), ADIT_ERR_##code, CONTROL__REASON__REASON_##reason                       \
    }
    REPLY("\1", HOST_UNREACHABLE),
    REPLY("\2", PROHIBITED),
    REPLY("\3", NET_UNREACHABLE),
    REPLY("\4", HOST_UNREACHABLE),
    REPLY("\5", REFUSED),
    REPLY("\6", TIMED_OUT),
    REPLY("\7", NET_UNREACHABLE),
    REPLY("\10", NET_UNREACHABLE),
    REPLY("\377", HOST_UNREACHABLE),
    SOCKS("\5\377", DENIED, NET_UNREACHABLE),
    SOCKS("\5\1", DENIED, NET_UNREACHABLE),
    SOCKS("\5\2\1\1", DENIED, NET_UNREACHABLE),
    SOCKS("\5\2\5\0", PROTOCOL, NET_UNREACHABLE),
    SOCKS("\4\0", PROTOCOL, NET_UNREACHABLE),
    SOCKS("\5\0\4\0\0\1\0\0\0\0\0\0", PROTOCOL, NET_UNREACHABLE),
    SOCKS("\5\0\5\0\1\1\0\0\0\0\0\0", PROTOCOL, NET_UNREACHABLE),
    SOCKS("\5\0\5\0\0\2\0\0\0\0\0\0", PROTOCOL, NET_UNREACHABLE),
    SOCKS("HTTP/1.1 400 Bad Request\r\n\r\n", PROTOCOL, NET_UNREACHABLE),
    HEAD("HTTP/1.1 407 Who\r\n\r\n", DENIED, NET_UNREACHABLE),
    HEAD("HTTP/1.1 403 No\r\n\r\n", UNAVAILABLE, PROHIBITED),
    HEAD("HTTP/1.1 504 Late\r\n\r\n", UNAVAILABLE, TIMED_OUT),
    HEAD("HTTP/1.1 503 Full\r\n\r\n", UNAVAILABLE, BUSY),
    HEAD("HTTP/1.1 502 Bad\r\nContent-Length: 1\r\n\r\nx", UNAVAILABLE, HOST_UNREACHABLE),
    HEAD("HTTP/1.1 302 Go\r\nLocation: x\r\n\r\n", UNAVAILABLE, HOST_UNREACHABLE),
    HEAD("HTTP/1.1 101 Switch\r\n\r\n", PROTOCOL, NET_UNREACHABLE),
    HEAD("HTTP/2 200\r\n\r\n", PROTOCOL, NET_UNREACHABLE),
    HEAD("HTTP/1.1 200 OK\n\n", PROTOCOL, NET_UNREACHABLE),
    HEAD("\5\0\5\0\r\n", PROTOCOL, NET_UNREACHABLE),
};

START_TEST(egress_proxy_tells_each_refusal)
{
    const struct refusal *r = &refusals[_i];
    set_proxy(r->is_http ? "http://p.example:1" : "p.example:1", "user", "secret");
    start("192.0.2.7");
    peer_send_mem(peer, r->bytes, r->len);
    expect_told(r->code, r->reason);
    run_until(peer->ended);
    finish();
}
END_TEST

START_TEST(egress_proxy_refuses_a_head_without_end)
{
    static char line[] =
        "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
        "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
    set_proxy("http://p.example:1", "", "");
    start("192.0.2.7");
    peer_send(peer, "HTTP/1.1 200 OK\r\n");
    for (size_t sent = 0; sent <= EGRESS_PROXY_ANSWER_MAX && !told.cnt; sent += strlen(line)) {
        (void)peer_push(peer, line, strlen(line));
        settle();
    }
    expect_told(ADIT_ERR_PROTOCOL, CONTROL__REASON__REASON_NET_UNREACHABLE);
    finish();
}
END_TEST

START_TEST(egress_proxy_tells_a_lost_connection_and_silence)
{
    set_proxy("p.example:1", "", "");
    start("192.0.2.7");
    peer_send_mem(peer, BYTES("\5"));
    settle();
    peer_close(peer);
    expect_told(ADIT_ERR_CLOSED, CONTROL__REASON__REASON_NET_UNREACHABLE);
    ck_assert_int_eq(open_to("192.0.2.7", 1), ADIT_OK);
    expect_told(ADIT_ERR_TIMEOUT, CONTROL__REASON__REASON_TIMED_OUT);
    ck_assert_int_eq(open_to("192.0.2.7", WAIT_MS), ADIT_OK);
    egress_proxy_cancel(handshake);
    run_until(peer->ended);
    ck_assert_int_eq(told.cnt, 0);
    finish();
}
END_TEST

START_TEST(egress_proxy_takes_its_options)
{
    static const struct {
        const char *member;
        int code;
        enum egress_proxy_kind kind;
    } cases[] = {
        {"{\"address\":\"p.example:1080\"}", ADIT_OK, EGRESS_PROXY_SOCKS5},
        {"{\"address\":\"socks5://[2001:db8::1]:1080\",\"username\":null}", ADIT_OK,
         EGRESS_PROXY_SOCKS5},
        {"{\"address\":\"http://192.0.2.1:3128\",\"username\":\"u\",\"password\":\"p\"}", ADIT_OK,
         EGRESS_PROXY_CONNECT},
        {"{\"address\":\"https://p.example:3128\"}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":\"p.example\"}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":\"p.example:0\"}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":\"p.example:1/\"}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":7}", ADIT_ERR_BAD_INPUT, 0},
        {"{}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":\"p.example:1\",\"username\":7}", ADIT_ERR_BAD_INPUT, 0},
        {"{\"address\":\"p.example:1\",\"password\":\"a\\nb\"}", ADIT_ERR_BAD_INPUT, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *doc = json_loads(cases[i].member, 0, NULL);
        struct egress_proxy p;
        ck_assert_msg(egress_proxy_parse(doc, &p, NULL) == cases[i].code, "%s", cases[i].member);
        ck_assert(cases[i].code != ADIT_OK || p.kind == cases[i].kind);
        json_decref(doc);
    }
}
END_TEST

START_TEST(egress_proxy_survives_every_failed_allocation)
{
    bool is_spent = true;
    spare_libuv();
    failing_malloc.is_off = true;
    set_proxy("http://p.example:1", "user", "secret");
    for (long n = 1; is_spent; n++) {
        struct net_stream *s = NULL;
        struct ip_addr addr = {{0}};
        int fd;
        fixture_init();
        memset(&told, 0, sizeof(told));
        peer = peer_new(&fd);
        ck_assert_int_eq(net_stream_open_fd(&F.net, fd, NULL, NULL, &s, NULL), ADIT_OK);
        failing_malloc.countdown = n;
        failing_malloc.is_off = false;
        int rc = egress_proxy_open(s, &proxy, &addr, 1, WAIT_MS, on_done, NULL, &handshake);
        failing_malloc.is_off = true;
        if (rc == ADIT_OK) {
            peer_send(peer, "HTTP/1.1 200 OK\r\n\r\n");
            run_until(told.cnt == 1);
        }
        is_spent = failing_malloc.countdown == 0;
        failing_malloc.countdown = 0;
        ck_assert_int_eq(told.stream == NULL, is_spent);
        finish();
        told.stream = NULL;
        ck_assert_int_lt(n, 50);
    }
}
END_TEST

SUITE_MAIN_WITH("egress_proxy",
                TESTS(egress_proxy_connects_over_socks5, egress_proxy_says_who_it_is,
                      egress_proxy_connects_over_http, egress_proxy_takes_answers_byte_by_byte,
                      egress_proxy_refuses_a_head_without_end,
                      egress_proxy_tells_a_lost_connection_and_silence,
                      egress_proxy_takes_its_options,
                      egress_proxy_survives_every_failed_allocation),
                LOOPS({egress_proxy_tells_each_refusal, sizeof(refusals) / sizeof(refusals[0])}))
