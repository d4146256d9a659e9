/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a joined connection read on their way out: a guest on side 0, a server on side 1. */
#include "tests/unit/suite.h"
#include "tests/unit/net/net_fixture.h"

#include "broker/egress/egress_filter.h"

#define GET(host) "GET / HTTP/1.1\r\nHost: " host "\r\n\r\n"
#define UPGRADE                                                                                    \
    "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"           \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static struct {
    struct join *join;
    struct peer *guest, *server;
    struct egress_filter *filter;
    bool is_over;
} T;

static enum egress_inject_verdict judge(void *owner, struct adit_view name)
{
    (void)owner;
    return adit_view_eq_str(name, "a.example") ? EGRESS_INJECT_SET : EGRESS_INJECT_REFUSE;
}

static bool on_bytes(void *owner, int side, struct adit_view bytes)
{
    (void)owner;
    return side == 0 ? egress_filter_request(T.filter, T.join, 0, bytes)
                     : egress_filter_reply(T.filter, T.join, 0, bytes);
}

static void on_over(void *owner, bool is_broken)
{
    (void)owner;
    (void)is_broken;
    T.join = NULL;
    T.is_over = true;
}

static void setup(void)
{
    static const struct join_ops ops = {.on_bytes = on_bytes, .on_over = on_over};
    static const struct net_stream_ops no_ops;
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *streams[2];
    struct egress_rules *rules;
    int fds[2];
    json_t *network = json_loads(
        "{\"rules\":{\"a.example\":[{\"transform\":{\"headers\":{\"X-Key\":\"k\"}}}]}}", 0, NULL);
    memset(&T, 0, sizeof T);
    fixture_init();
    ck_assert_int_eq(egress_rules_compile(network, &rules, &err), ADIT_OK);
    T.filter = egress_filter_new(rules, judge, &T);
    ck_assert_ptr_nonnull(T.filter);
    egress_rules_unref(rules);
    json_decref(network);
    T.guest = peer_new(&fds[0]);
    T.server = peer_new_tcp(&fds[1]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(net_stream_open_fd(&F.net, fds[i], &no_ops, NULL, &streams[i], &err), 0);
    ck_assert_int_eq(join_start(streams[0], streams[1], &ops, &T, &T.join), ADIT_OK);
}

static void teardown(void)
{
    if (T.join)
        join_break(T.join);
    egress_filter_free(T.filter);
    fixture_fini();
}

START_TEST(filter_sets_headers_of_each_request)
{
    peer_send(T.guest, GET("a.example") GET("a.example"));
    run_until(T.server->len > 2 * strlen(GET("a.example")));
    const char *second = strstr(T.server->bytes, "X-Key: k\r\n");
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_nonnull(strstr(second + 1, "X-Key: k\r\n"));
    peer_send(T.server, "HTTP/1.1 204 No Content\r\n\r\n");
    run_until(peer_has(T.guest, "HTTP/1.1 204 No Content\r\n\r\n"));
}
END_TEST

START_TEST(filter_resets_a_connection_that_turns_to_another_host)
{
    peer_send(T.guest, GET("a.example"));
    run_until(T.server->len > 0);
    peer_send(T.guest, GET("b.example"));
    run_until(T.is_over && T.server->ended);
    ck_assert(T.server->was_reset);
    ck_assert_ptr_null(strstr(T.server->bytes, "b.example"));
}
END_TEST

START_TEST(filter_holds_what_follows_an_upgrade_until_it_is_answered)
{
    peer_send(T.guest, UPGRADE "\x81\x01x");
    run_until(T.server->len > 0);
    peer_send(T.guest, "more");
    settle();
    ck_assert_ptr_null(strstr(T.server->bytes, "\x81\x01x"));
    peer_send(T.server, SWITCHED);
    run_until(T.server->len > 7 &&
              strcmp(T.server->bytes + T.server->len - 7, "\x81\x01xmore") == 0);
    peer_send(T.guest, GET("b.example")); /* bytes of the WebSocket now */
    run_until(strstr(T.server->bytes, "b.example") != NULL);
    ck_assert(!T.is_over);
}
END_TEST

START_TEST(filter_takes_what_follows_a_refused_upgrade_for_requests)
{
    peer_send(T.guest, UPGRADE GET("b.example"));
    run_until(T.server->len > 0);
    settle();
    ck_assert(!T.is_over);
    peer_send(T.server, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    run_until(T.is_over && T.server->ended);
    ck_assert_ptr_null(strstr(T.server->bytes, "b.example"));
}
END_TEST

SUITE_MAIN_WITH("egress_filter", .fixtures = {{setup, teardown}},
                TESTS(filter_sets_headers_of_each_request,
                      filter_resets_a_connection_that_turns_to_another_host,
                      filter_holds_what_follows_an_upgrade_until_it_is_answered,
                      filter_takes_what_follows_a_refused_upgrade_for_requests))
