/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections when memory runs out: one scenario again and again, with the first, the
 * second, … allocation failing, until it gets through. Whatever fails, each stream gets an answer
 * or an end, and the loop becomes empty.
 */
#include "failing_loop.h"

#include <stdbool.h>

#include "http2_client.h"

#include "net/http2_server.h"

#define BODY_LEN (300u * 1024)

static struct {
    struct http_server *server;
    bool is_drained;
    size_t sent;
} T;

static char block[65536];

/* A long answer when the body is whole, with trailers. */
static void send_more(struct http_exchange *x)
{
    while (T.sent < BODY_LEN && !http_exchange_is_congested(x)) {
        if (http_exchange_write(x, adit_view_mem(block, sizeof(block))) != ADIT_OK) {
            http_exchange_reset(x);
            return;
        }
        T.sent += sizeof(block);
    }
    if (T.sent < BODY_LEN)
        return;
    if (http_exchange_trailer(x, adit_view_str("x"), adit_view_str("y")) == ADIT_OK)
        http_exchange_end(x);
    else
        http_exchange_reset(x);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    (void)bytes;
    http_exchange_pause(x);
    http_exchange_resume(x);
}

static void on_end(struct http_exchange *x)
{
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    send_more(x);
}

static const struct http_exchange_ops ops = {
    .on_body = on_body, .on_end = on_end, .on_drain = send_more};

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    if (head->method == HTTP_POST)
        http_exchange_set_ops(x, &ops, NULL);
    else
        http_exchange_reply(x, 200, adit_view_str("ok"));
}

static void on_drained(void *owner)
{
    (void)owner;
    T.is_drained = true;
}

static bool is_over(int32_t id)
{
    return H.p->ended || h2_reply(id)->is_closed;
}

/* Return: whether an allocation failed. */
static bool run_scenario(long n)
{
    struct http_server_conf conf = {.header_ms = 30000,
                                    .body_ms = 30000,
                                    .idle_ms = 30000,
                                    .on_request = on_request,
                                    .adopt_http2 = http2_server_adopt};
    int32_t get, post, bad;
    bool has_failed;
    struct peer *p;
    int fd;

    memset(&T, 0, sizeof(T));
    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, &conf, &T.server, NULL), ADIT_OK);
    p = peer_new(&fd);
    h2_client_init(p);
    failing_malloc.countdown = n;
    failing_malloc.is_off = false;
    http_server_accept(T.server, fd);
    failing_malloc.is_off = true;
    get = h2_get("/");
    post = h2_request("POST", "/", 600 * 1024);
    bad = h2_request("BREW", "/", SIZE_MAX);
    h2_until(is_over(get) && is_over(post) && is_over(bad));
    has_failed = n && failing_malloc.countdown == 0;
    failing_malloc.countdown = 0;
    if (!has_failed) {
        ck_assert_int_eq(h2_reply(get)->status, 200);
        ck_assert_int_eq(h2_reply(bad)->status, 400);
        ck_assert_uint_ge(h2_reply(post)->body_len, BODY_LEN);
        ck_assert(h2_reply(post)->has_trailers);
    }
    peer_close(p);
    http_server_drain(T.server, 0, on_drained);
    run_until(T.is_drained);
    h2_client_fini();
    fixture_fini();
    return has_failed;
}

START_TEST(http2_server_survives_each_allocation_that_fails)
{
    long before, n = 1;

    spare_libuv();
    failing_malloc.is_off = true;
    ck_assert(!run_scenario(0));
    before = failing_malloc.live;
    while (FAILING_MALLOC && run_scenario(n++))
        ck_assert_int_eq(failing_malloc.live, before);
    if (!FAILING_MALLOC)
        suite_skip("http2_server_survives_each_allocation_that_fails", FAILING_MALLOC_NEEDS);
    else
        ck_assert_int_gt(n, 20);
}
END_TEST

SUITE_MAIN("http2_torture", http2_server_survives_each_allocation_that_fails)
