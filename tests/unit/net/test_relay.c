/* SPDX-License-Identifier: Apache-2.0 */
/* The relay between a raw client and a raw guest, both played by the test. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

#include <malloc.h>

#include "net/http_write.h"
#include "net/relay.h"

static struct {
    struct http_server *server;
    struct http_pool *pool;
    int request_cnt, fail_cnt, done_cnt, drained_cnt;
    int fail_code;
    bool pool_is_closed;
} T;

static void on_fail(void *owner, struct http_exchange *x, const struct adit_err *err)
{
    ck_assert_ptr_eq(owner, &T);
    T.fail_cnt++;
    T.fail_code = err->code;
    http_exchange_reply(x, 502, adit_view_str("bad gateway"));
}

static void on_done(void *owner)
{
    ck_assert_ptr_eq(owner, &T);
    T.done_cnt++;
}

static const struct relay_ops ops = {.on_fail = on_fail, .on_done = on_done};

static bool is_kept(const struct http_head *h, struct adit_view name)
{
    return !http_head_is_hop(h, name) || (h->upgrade && adit_view_ieq_str(name, "upgrade"));
}

static void write_head(struct adit_buf *b, const struct http_head *h)
{
    int rc = http_write_request_line(b, h->method_text, h->target);

    for (size_t i = 0; i < h->header_cnt; i++)
        if (is_kept(h, h->headers[i].name))
            rc |= http_write_header(b, h->headers[i].name, h->headers[i].value);
    if (h->has_content_length)
        rc |= http_write_header_u64(b, "Content-Length", h->content_length);
    if (h->chunked)
        rc |= http_write_header_str(b, "Transfer-Encoding", "chunked");
    if (h->upgrade)
        rc |= http_write_header_str(b, "Connection", "Upgrade");
    rc |= http_write_end(b);
    ck_assert_int_eq(rc, ADIT_OK);
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf b;

    T.request_cnt++;
    adit_buf_init(&b, HTTP_HEAD_CAP);
    write_head(&b, head);
    if (relay_start(x, head, T.pool, adit_buf_view(&b), &ops, &T, &err) != ADIT_OK)
        http_exchange_reply(x, 503, adit_view_str(err.msg));
    adit_buf_fini(&b);
}

static void start_all(void)
{
    struct http_pool_conf pool_conf = {
        .target = {.kind = HTTP_TARGET_UNIX}, .dial_ms = 30000, .idle_ms = 30000, .idle_max = 8};
    struct http_server_conf conf = {.header_ms = 30000,
                                    .body_ms = 30000,
                                    .idle_ms = 30000,
                                    .owner = &T,
                                    .on_request = on_request};
    struct adit_err err = ADIT_ERR_INIT;

    memset(&T, 0, sizeof(T));
    fixture_init();
    (void)snprintf(pool_conf.target.path, sizeof(pool_conf.target.path), "%s",
                   fixture_path("guest"));
    fixture_listen(fixture_path("guest"), 16);
    ck_assert_int_eq(http_pool_new(&F.net, &pool_conf, &T.pool, &err), ADIT_OK);
    ck_assert_int_eq(http_server_new(&F.net, &conf, &T.server, &err), ADIT_OK);
}

/* The client is peer 0, guests are the peers after it. */
static struct peer *start(void)
{
    struct peer *client;
    int fd;

    start_all();
    client = peer_new(&fd);
    http_server_accept(T.server, fd);
    return client;
}

static struct peer *start_tcp(void)
{
    struct peer *p;
    int fd;

    start_all();
    p = peer_new_tcp(&fd);
    http_server_accept(T.server, fd);
    return p;
}

static struct peer *guest(void)
{
    run_until(F.peer_cnt > 1);
    return &F.peers[F.peer_cnt - 1];
}

static void on_drained(void *owner)
{
    (void)owner;
    T.drained_cnt++;
}

/* Every relay must have told its end. */
static void finish(void)
{
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    http_server_drain(T.server, 0, on_drained);
    run_until(T.drained_cnt == 1);
    if (!T.pool_is_closed)
        http_pool_close(T.pool);
    ck_assert_int_eq(T.done_cnt + T.fail_cnt, T.request_cnt);
    fixture_fini();
}

static const char get_request[] =
    "GET /a?b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: X-Two\r\n"
    "X-Two: 2\r\nTE: trailers\r\n\r\n";
static const char ok_reply[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "X-Reply: r\r\nConnection: X-Hop\r\nX-Hop: h\r\n\r\nok";

START_TEST(relay_writes_both_heads_anew)
{
    struct peer *c = start(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    ck_assert_str_eq(g->bytes, "GET /a?b HTTP/1.1\r\nX-One: 1\r\n\r\n");
    peer_send(g, ok_reply);
    run_until(peer_has(c, "\r\n\r\nok"));
    ck_assert(strncmp(c->bytes, "HTTP/1.1 200 OK\r\n", 17) == 0);
    ck_assert(peer_has(c, "X-Reply: r\r\n"));
    ck_assert(peer_has(c, "Content-Length: 2\r\n"));
    ck_assert_uint_eq(peer_count(c, "Content-Length"), 1);
    ck_assert_uint_eq(peer_count(c, "Date: "), 1);
    ck_assert(!peer_has(c, "1970"));
    ck_assert(!peer_has(c, "X-Hop"));
    ck_assert_int_eq(T.done_cnt, 1);
    finish();
}
END_TEST

START_TEST(relay_serves_pipelined_requests_on_one_guest_connection)
{
    struct peer *c = start(), *g;

    for (int i = 0; i < 3; i++)
        peer_send(c, get_request);
    g = guest();
    for (size_t i = 1; i <= 3; i++) {
        run_until(peer_count(g, "GET /a?b") == i);
        peer_send(g, ok_reply);
        run_until(peer_count(c, "\r\n\r\nok") == i);
    }
    ck_assert_uint_eq(F.peer_cnt, 2);
    ck_assert_int_eq(T.done_cnt, 3);
    finish();
}
END_TEST

START_TEST(relay_streams_chunks_both_ways)
{
    struct peer *c = start(), *g;

    peer_send(c,
              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n");
    g = guest();
    run_until(peer_has(g, "3\r\nabc\r\n"));
    ck_assert(!peer_has(g, "ext"));
    peer_send(g, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n");
    run_until(
        peer_has(c, "\r\n\r\n2\r\nde\r\n")); /* the reply flows while the request still does */
    peer_send(c, "2\r\nfg\r\n0\r\nTrailer: dropped\r\n\r\n");
    run_until(peer_has(g, "2\r\nfg\r\n0\r\n\r\n"));
    peer_send(g, "1\r\nh\r\n0\r\n\r\n");
    run_until(peer_has(c, "1\r\nh\r\n0\r\n\r\n"));
    settle();
    ck_assert(!c->ended);
    finish();
}
END_TEST

START_TEST(relay_passes_each_piece_on_at_once)
{
    struct peer *c = start(), *g;

    peer_send(c, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    run_until(peer_has(c, "chunked\r\n"));
    peer_send(g, "data: 1\n\n");
    run_until(peer_has(c, "data: 1\n\n"));
    peer_send(g, "data: 2\n\n");
    run_until(peer_has(c, "data: 2\n\n"));
    peer_close(g);
    run_until(peer_has(c, "\r\n0\r\n\r\n"));
    finish();
}
END_TEST

START_TEST(relay_answers_head_with_the_guests_length_and_no_body)
{
    struct peer *c = start(), *g;

    peer_send(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "HEAD / "));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    run_until(peer_has(c, "\r\n\r\n"));
    ck_assert(peer_has(c, "Content-Length: 12345\r\n"));
    peer_send(c, get_request);
    run_until(peer_count(g, "\r\n\r\n") == 2);
    peer_send(g, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
    run_until(peer_has(c, "304 Not Modified\r\n"));
    peer_send(c, get_request);
    run_until(peer_count(g, "\r\n\r\n") == 3);
    peer_send(g, ok_reply);
    run_until(peer_has(c, "\r\n\r\nok"));
    finish();
}
END_TEST

START_TEST(relay_ends_a_chunked_reply_to_a_1_0_client_by_closing)
{
    struct peer *c = start(), *g;

    peer_send(c, "GET / HTTP/1.0\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "HTTP/1.1\r\n\r\n"));
    peer_send(
        g, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    run_until(c->ended);
    ck_assert(peer_has(c, "\r\n\r\nabcd"));
    ck_assert(!peer_has(c, "chunked"));
    finish();
}
END_TEST

START_TEST(relay_answers_expect_itself)
{
    struct peer *c = start(), *g;

    peer_send(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    run_until(peer_has(c, "100 Continue\r\n\r\n"));
    peer_send(c, "ab");
    g = guest();
    run_until(peer_has(g, "\r\n\r\nab"));
    ck_assert(!peer_has(g, "Expect"));
    peer_send(g, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_send(g, ok_reply);
    run_until(peer_has(c, "\r\n\r\nok"));
    ck_assert_uint_eq(peer_count(c, "100 Continue"), 1);
    finish();
}
END_TEST

/* ---- back-pressure ---- */

START_TEST(relay_holds_the_guest_back_for_a_slow_client)
{
    enum { LEN = 64 * 1024 * 1024 };
    static char block[65536];
    struct peer *c = start(), *g;
    size_t sent = 0, before;
    int idle = 0;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    c->is_deaf = true;
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    while (idle < 20) {
        size_t n = peer_push(g, block, sizeof(block));
        sent += n;
        idle = n ? 0 : idle + 1;
        settle();
    }
    ck_assert_uint_lt(sent, 2 * 1024 * 1024); /* socket buffers included */
    ck_assert_uint_le(mallinfo2().uordblks + mallinfo2().hblkhd - before, 640 * 1024);
    c->is_deaf = false;
    while (sent < LEN) {
        sent += peer_push(g, block, sizeof(block) < LEN - sent ? sizeof(block) : LEN - sent);
        turn();
    }
    run_until(T.done_cnt == 1);
    run_until(c->total > LEN);
    settle();
    ck_assert_uint_lt(c->total, LEN + 1024);
    ck_assert_uint_le(mallinfo2().uordblks + mallinfo2().hblkhd, before + 4096);
    finish();
}
END_TEST

START_TEST(relay_holds_the_client_back_for_a_slow_guest)
{
    enum { LEN = 64 * 1024 * 1024 };
    static char block[65536];
    struct peer *c = start(), *g;
    size_t sent = 0, before;
    int idle = 0;

    peer_send(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    g->is_deaf = true;
    while (idle < 20) {
        size_t n = peer_push(c, block, sizeof(block));
        sent += n;
        idle = n ? 0 : idle + 1;
        settle();
    }
    ck_assert_uint_lt(sent, 2 * 1024 * 1024);
    ck_assert_uint_le(mallinfo2().uordblks + mallinfo2().hblkhd - before, 640 * 1024);
    g->is_deaf = false;
    while (sent < LEN) {
        sent += peer_push(c, block, sizeof(block) < LEN - sent ? sizeof(block) : LEN - sent);
        turn();
    }
    run_until(g->total > LEN);
    peer_send(g, ok_reply);
    run_until(peer_has(c, "\r\n\r\nok"));
    ck_assert(!peer_has(c, "Connection: close"));
    finish();
}
END_TEST

/* ---- raw ---- */

static struct peer *upgrade(struct peer *c)
{
    struct peer *g;

    peer_send(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Key: k\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    ck_assert(peer_has(g, "Connection: Upgrade\r\n"));
    ck_assert(peer_has(g, "Upgrade: websocket\r\n"));
    peer_send(g, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Accept: a\r\n\r\nhello from guest");
    run_until(peer_has(c, "\r\n\r\nhello from guest"));
    ck_assert(peer_has(c, "Connection: Upgrade\r\n"));
    ck_assert_uint_eq(peer_count(c, "Upgrade: websocket\r\n"), 1);
    ck_assert(peer_has(c, "Sec-WebSocket-Accept: a\r\n"));
    peer_send(c, "hello from client");
    run_until(peer_has(g, "\r\n\r\nhello from client"));
    return g;
}

START_TEST(relay_raw_passes_the_clients_half_close_on)
{
    struct peer *c = start(), *g = upgrade(c);

    ck_assert_int_eq(shutdown(c->fd, SHUT_WR), 0);
    run_until(g->ended);
    peer_send(g, ", more");
    run_until(peer_has(c, "hello from guest, more"));
    peer_close(g);
    run_until(c->ended);
    run_until(T.done_cnt == 1);
    ck_assert(!c->was_reset);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(relay_raw_passes_the_guests_half_close_on)
{
    struct peer *c = start(), *g = upgrade(c);

    ck_assert_int_eq(shutdown(g->fd, SHUT_WR), 0);
    run_until(c->ended);
    peer_send(c, ", more");
    run_until(peer_has(g, "hello from client, more"));
    ck_assert_int_eq(T.done_cnt, 0);
    ck_assert_int_eq(shutdown(c->fd, SHUT_WR), 0);
    run_until(T.done_cnt == 1);
    run_until(g->ended);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(relay_raw_is_bounded_both_ways)
{
    static char block[65536];
    struct peer *c = start(), *g = upgrade(c);
    size_t to_guest = 0, to_client = 0;

    c->is_deaf = g->is_deaf = true;
    for (int i = 0; i < 100; i++) {
        to_guest += peer_push(c, block, sizeof(block));
        to_client += peer_push(g, block, sizeof(block));
        settle();
    }
    ck_assert_uint_lt(to_guest, 2 * 1024 * 1024);
    ck_assert_uint_lt(to_client, 2 * 1024 * 1024);
    c->is_deaf = g->is_deaf = false;
    run_until(c->total >= to_client && g->total >= to_guest);
    finish();
}
END_TEST

static bool has_unread(const struct peer *p)
{
    char byte;

    return recv(p->fd, &byte, 1, MSG_PEEK) == 1;
}

START_TEST(relay_raw_resets_the_client_when_the_guest_breaks)
{
    struct peer *c = start_tcp(), *g = upgrade(c);

    g->is_deaf = true; /* unread input makes the close of a Unix socket a reset */
    peer_send(c, "unread");
    run_until(has_unread(g));
    peer_close(g);
    run_until(c->ended);
    ck_assert(c->was_reset);
    finish();
}
END_TEST

START_TEST(relay_raw_resets_the_client_when_the_sandbox_is_killed)
{
    struct peer *c = start_tcp(), *g = upgrade(c);

    http_pool_close(T.pool);
    T.pool_is_closed = true;
    run_until(c->ended && g->ended);
    ck_assert(c->was_reset);
    ck_assert_int_eq(T.done_cnt, 1);
    finish();
}
END_TEST

/* ---- failures ---- */

START_TEST(relay_cancels_when_the_client_is_gone)
{
    struct peer *c = start(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_close(c);
    run_until(T.done_cnt == 1);
    run_until(g->ended);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    ck_assert_int_eq(T.fail_cnt, 0);
    finish();
}
END_TEST

START_TEST(relay_cancels_when_the_client_goes_in_mid_reply)
{
    static char block[65536];
    struct peer *c = start_tcp(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    run_until(peer_has(c, "\r\n\r\n"));
    peer_close(c);
    while (!T.done_cnt) {
        (void)peer_push(g, block, sizeof(block));
        turn();
    }
    run_until(g->ended);
    finish();
}
END_TEST

START_TEST(relay_resets_the_client_when_the_guest_breaks_off)
{
    struct peer *c = start_tcp(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    run_until(peer_has(c, "abc"));
    peer_close(g);
    run_until(c->ended);
    ck_assert(c->was_reset);
    ck_assert(!peer_has(c, "0\r\n\r\n"));
    ck_assert_int_eq(T.done_cnt, 1);
    finish();
}
END_TEST

START_TEST(relay_resets_the_client_on_bytes_behind_the_reply)
{
    struct peer *c = start_tcp(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: "
                 "4\r\n\r\nevil");
    run_until(c->ended);
    ck_assert(c->was_reset);
    ck_assert(!peer_has(c, "evil"));
    finish();
}
END_TEST

/* The guest says @reply (NULL: just closes) and the owner answers. */
static void assert_bad_gateway(const char *reply, int code)
{
    struct peer *c = start(), *g;

    peer_send(c, get_request);
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    if (reply)
        peer_send(g, reply);
    else
        peer_close(g);
    run_until(peer_has(c, "bad gateway"));
    ck_assert(strncmp(c->bytes, "HTTP/1.1 502 Bad Gateway\r\n", 26) == 0);
    ck_assert_int_eq(T.fail_cnt, 1);
    ck_assert_int_eq(T.fail_code, code);
    settle();
    ck_assert(!c->ended); /* the client's connection is fine */
    finish();
}

START_TEST(relay_lets_the_owner_answer_before_a_reply_began)
{
    assert_bad_gateway(NULL, ADIT_ERR_CLOSED);
    assert_bad_gateway(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ADIT_ERR_PROTOCOL);
    assert_bad_gateway("220 smtp.example.org\r\n", ADIT_ERR_PROTOCOL);
    assert_bad_gateway("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                       ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(relay_lets_the_owner_answer_when_nothing_listens)
{
    struct peer *c = start();

    ck_assert_int_eq(close(F.listen_fd), 0);
    F.listen_fd = -1;
    peer_send(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    run_until(peer_has(c, "bad gateway"));
    ck_assert_int_eq(T.fail_code, ADIT_ERR_UNAVAILABLE);
    finish();
}
END_TEST

START_TEST(relay_delivers_a_reply_that_comes_before_the_requests_end)
{
    static char block[65536];
    struct peer *c = start_tcp(), *g;

    peer_send(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    g = guest();
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large");
    while (!c->ended) {
        (void)peer_push(c, block, sizeof(block));
        turn();
    }
    ck_assert(!c->was_reset);
    ck_assert(peer_has(c, "\r\n\r\ntoo large"));
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(relay_ends_when_the_pool_is_closed)
{
    struct peer *c = start_tcp(), *d, *g;
    int fd;

    d = peer_new(&fd);
    http_server_accept(T.server, fd);
    peer_send(c, get_request);
    run_until(F.peer_cnt == 3);
    g = &F.peers[2];
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    run_until(peer_has(c, "abc"));
    peer_send(d, get_request);
    run_until(F.peer_cnt == 4 && peer_has(&F.peers[3], "\r\n\r\n"));
    http_pool_close(T.pool); /* the sandbox was killed */
    T.pool_is_closed = true;
    run_until(c->ended);
    ck_assert(c->was_reset);
    run_until(peer_has(d, "bad gateway"));
    ck_assert_int_eq(T.fail_code, ADIT_ERR_CLOSED);
    peer_forget(d);
    finish();
}
END_TEST

START_TEST(relay_ten_thousand_requests_do_not_grow)
{
    struct peer *c = start(), *g;
    size_t before = 0;

    for (int i = 0; i < 10000; i++) {
        peer_send(c, i % 2 ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                           : get_request);
        g = guest();
        run_until(peer_has(g, i % 2 ? "\r\n\r\nabc" : "\r\n\r\n"));
        peer_forget(g);
        peer_send(g, ok_reply);
        run_until(peer_has(c, "\r\n\r\nok"));
        peer_forget(c);
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_uint_eq(F.peer_cnt, 2);
    finish();
}
END_TEST

SUITE_MAIN("relay", relay_writes_both_heads_anew,
           relay_serves_pipelined_requests_on_one_guest_connection, relay_streams_chunks_both_ways,
           relay_passes_each_piece_on_at_once,
           relay_answers_head_with_the_guests_length_and_no_body,
           relay_ends_a_chunked_reply_to_a_1_0_client_by_closing, relay_answers_expect_itself,
           relay_holds_the_guest_back_for_a_slow_client,
           relay_holds_the_client_back_for_a_slow_guest, relay_raw_passes_the_clients_half_close_on,
           relay_raw_passes_the_guests_half_close_on, relay_raw_is_bounded_both_ways,
           relay_raw_resets_the_client_when_the_guest_breaks,
           relay_raw_resets_the_client_when_the_sandbox_is_killed,
           relay_cancels_when_the_client_is_gone, relay_cancels_when_the_client_goes_in_mid_reply,
           relay_resets_the_client_when_the_guest_breaks_off,
           relay_resets_the_client_on_bytes_behind_the_reply,
           relay_lets_the_owner_answer_before_a_reply_began,
           relay_lets_the_owner_answer_when_nothing_listens,
           relay_delivers_a_reply_that_comes_before_the_requests_end,
           relay_ends_when_the_pool_is_closed, relay_ten_thousand_requests_do_not_grow)
