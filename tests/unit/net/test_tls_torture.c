/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS when memory runs out: a handshake, an exchange and an orderly end again and again, with the
 * first, the second, … allocation of the server's side failing, until it gets through. Whatever
 * fails, the connection ends for the client (never cleanly with half an answer), nothing is lost,
 * and the loop becomes empty.
 *
 * As in test_net_torture.c a sanitizer's build runs the scenario once, whole, and libuv gets an
 * allocator that never fails.
 */
#include "failing_loop.h"
#include "tls_fixture.h"

#include "net/http_server.h"

#define ANSWER_LEN (600u * 1024)
/* Blocks that OpenSSL keeps for the next connection, some times more and some times less; what is
 * lost at one of hundreds of failures adds up to more. */
#define KEPT_MAX 16

static char answer[ANSWER_LEN];
static bool is_drained;

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    (void)head;
    http_exchange_reply(x, 200, adit_view_mem(answer, sizeof(answer)));
}

static void on_drained(void *owner)
{
    (void)owner;
    is_drained = true;
}

/* Return: false when there was no memory. */
static bool accept_client(struct tls_context *context, struct http_server *server, int take_fd)
{
    struct net_stream *s;

    if (net_stream_open_fd(&F.net, take_fd, NULL, NULL, &s, NULL) != ADIT_OK)
        return false;
    if (tls_accept(context, s, NULL) != ADIT_OK) {
        net_stream_close(s);
        return false;
    }
    http_server_adopt(server, s, adit_view_mem(NULL, 0));
    return true;
}

static void play(struct tls_client *c)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    bool has_asked = false;
    uint64_t limit = now_ms() + RUN_LIMIT_MS;

    while (!c->got_close_notify && !c->has_failed) {
        ck_assert_uint_lt(now_ms(), limit);
        if (c->is_up && !has_asked)
            has_asked = client_push(c, request, sizeof(request) - 1) > 0;
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
        client_step(c);
    }
}

/* Return: whether an allocation failed. */
static bool run_scenario(struct tls_context *context, long n)
{
    struct http_server_conf conf = {.header_ms = 500, .idle_ms = 500, .on_request = on_request};
    struct http_server *server;
    struct tls_client *c;
    bool has_failed, is_accepted;
    int fds[2];

    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, &conf, &server, NULL), ADIT_OK);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    c = client_new(fds[0]);

    failing_malloc.countdown = n;
    failing_malloc.is_off = false;
    is_accepted = accept_client(context, server, fds[1]);
    failing_malloc.is_off = true;
    if (is_accepted)
        play(c);
    has_failed = n && failing_malloc.countdown == 0;
    failing_malloc.countdown = 0;
    if (!has_failed || (c->got_close_notify && c->len))
        ck_assert(c->len >= ANSWER_LEN || (has_failed && strncmp(c->bytes, "HTTP/1.1 5", 10) == 0));

    client_free(c);
    is_drained = false;
    http_server_drain(server, 0, on_drained);
    run_until(is_drained);
    fixture_fini();
    return has_failed;
}

START_TEST(tls_survives_each_allocation_that_fails)
{
    struct tls_context *context;
    long before, n;

    spare_libuv();
    failing_malloc.is_off = true;
    fixture_init();
    struct tls_context_conf conf = make_pair("torture.test");
    context = load_pair(&conf);
    fixture_fini();
    (void)run_scenario(context, 0); /* what OpenSSL makes once and keeps */
#if FAILING_MALLOC
    before = failing_malloc.live;
    for (n = 1; run_scenario(context, n); n++)
        ck_assert_msg(labs(failing_malloc.live - before) <= KEPT_MAX, "allocation %ld: %ld lost", n,
                      failing_malloc.live - before);
    ck_assert_int_gt(n, 100);
#else
    (void)before;
    (void)n;
    suite_skip("tls_torture", FAILING_MALLOC_NEEDS);
#endif
    tls_context_unref(context);
}
END_TEST

SUITE_MAIN("tls_torture", tls_survives_each_allocation_that_fails)
