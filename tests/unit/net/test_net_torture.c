/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay when memory runs out: one scenario again and again, with the first, the second, …
 * allocation failing, until it gets through. Whatever fails, the client gets an answer or an end,
 * nothing is lost, and the loop becomes empty.
 *
 * The allocator is replaced here, which a sanitizer's own does not allow: those builds run the
 * scenario once, whole. libuv gets an allocator that never fails: it aborts without memory.
 */
#include "failing_loop.h"
#include "net_fixture.h"

#include "net/http_write.h"
#include "net/relay.h"

#define BODY_LEN (700u * 1024)

static struct {
    struct http_server *server;
    struct http_pool *pool;
    bool is_drained;
} T;

static void on_fail(void *owner, struct http_exchange *x, const struct adit_err *err)
{
    (void)owner;
    (void)err;
    http_exchange_reply(x, 502, adit_view_str("bad gateway"));
}

static const struct relay_ops ops = {.on_fail = on_fail};

static int write_head(struct adit_buf *b, const struct http_head *h)
{
    int rc = http_write_request_line(b, h->method_text, h->target);

    if (rc == ADIT_OK && h->chunked)
        rc = http_write_header_str(b, "Transfer-Encoding", "chunked");
    return rc == ADIT_OK ? http_write_end(b) : rc;
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct adit_buf b;

    adit_buf_init(&b, HTTP_HEAD_CAP);
    if (write_head(&b, head) != ADIT_OK ||
        relay_start(x, head, T.pool, adit_buf_view(&b), &ops, NULL, NULL) != ADIT_OK)
        http_exchange_reply(x, 503, adit_view_str("no memory"));
    adit_buf_fini(&b);
}

/* The far end may be gone by now. */
static void push_text(struct peer *p, const char *text)
{
    (void)peer_push(p, text, strlen(text));
}

/* What a guest does: handshake, a short reply to GET, a long one to a whole POST. */
static void play_guest(struct peer *g, size_t *sent)
{
    static char block[16384];

    if (g->fd < 0 || g->ended)
        return;
    if (peer_has(g, "CONNECT 49983\n")) {
        peer_forget(g);
        push_text(g, "OK 1\n");
    }
    if (peer_has(g, "GET / HTTP/1.1\r\n\r\n")) {
        peer_forget(g);
        push_text(g, "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nok");
    }
    if (peer_has(g, "POST ") && peer_has(g, "\r\n0\r\n\r\n")) {
        peer_forget(g);
        push_text(g, "HTTP/1.1 200 OK\r\nContent-Length: 716800\r\n\r\n");
        *sent = BODY_LEN;
    }
    if (*sent)
        *sent -= peer_push(g, block, *sent < sizeof(block) ? *sent : sizeof(block));
}

/* The client's two requests. Each side is deaf for some turns, so that queues are used. */
static void play(struct peer *c)
{
    static char chunk[16384 + 8] = "4000\r\n";
    size_t to_client = 0, to_guest = 0;
    uint64_t limit = now_ms() + RUN_LIMIT_MS;
    bool has_posted = false;

    memcpy(chunk + 6 + 16384, "\r\n", 2);
    push_text(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; !c->ended && c->total < BODY_LEN && !peer_has(c, "HTTP/1.1 5"); i++) {
        ck_assert_uint_lt(now_ms(), limit);
        for (size_t k = 1; k < F.peer_cnt; k++) {
            F.peers[k].is_deaf = i % 64 < 32;
            play_guest(&F.peers[k], &to_client);
        }
        c->is_deaf = i % 64 >= 32;
        if (!has_posted && peer_has(c, "\r\n\r\nok")) {
            has_posted = true;
            peer_forget(c);
            push_text(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            to_guest = 40 * sizeof(chunk);
        }
        for (size_t at; to_guest; to_guest -= at) {
            size_t skip = (40 * sizeof(chunk) - to_guest) % sizeof(chunk);
            at = peer_push(c, chunk + skip, sizeof(chunk) - skip);
            if (!at)
                break;
            if (to_guest == at)
                push_text(c, "0\r\n\r\n");
        }
        settle();
    }
}

static void on_drained(void *owner)
{
    (void)owner;
    T.is_drained = true;
}

/* Return: whether an allocation failed. */
static bool run_scenario(long n)
{
    struct http_pool_conf pool_conf = {
        .target = {.kind = HTTP_TARGET_CHANNEL, .port = CHANNEL_PORT_ENVD},
        .dial_ms = 30000,
        .idle_ms = 30000,
        .idle_max = 8};
    struct http_server_conf conf = {
        .header_ms = 30000, .body_ms = 30000, .idle_ms = 30000, .on_request = on_request};
    struct peer *c;
    bool has_failed;
    int fd;

    memset(&T, 0, sizeof(T));
    fixture_init();
    (void)snprintf(pool_conf.target.path, sizeof(pool_conf.target.path), "%s",
                   fixture_path("guest"));
    fixture_listen(fixture_path("guest"), 16);
    ck_assert_int_eq(http_pool_new(&F.net, &pool_conf, &T.pool, NULL), ADIT_OK);
    ck_assert_int_eq(http_server_new(&F.net, &conf, &T.server, NULL), ADIT_OK);
    c = peer_new(&fd);

    failing_malloc.countdown = n;
    failing_malloc.is_off = false;
    http_server_accept(T.server, fd);
    failing_malloc.is_off = true;
    play(c);
    has_failed = n && failing_malloc.countdown == 0;
    failing_malloc.countdown = 0;
    if (!has_failed)
        ck_assert_uint_ge(c->total, BODY_LEN);

    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    http_server_drain(T.server, 0, on_drained);
    run_until(T.is_drained);
    http_pool_close(T.pool);
    fixture_fini();
    return has_failed;
}

START_TEST(net_relay_survives_each_allocation_that_fails)
{
    long before, n;

    spare_libuv();
    failing_malloc.is_off = true;
    (void)run_scenario(0);
#if FAILING_MALLOC
    before = failing_malloc.live;
    for (n = 1; run_scenario(n); n++)
        ck_assert_int_eq(failing_malloc.live, before);
    ck_assert_int_gt(n, 10);
#else
    (void)before;
    (void)n;
    suite_skip("net_torture", FAILING_MALLOC_NEEDS);
#endif
}
END_TEST

SUITE_MAIN("net_torture", net_relay_survives_each_allocation_that_fails)
