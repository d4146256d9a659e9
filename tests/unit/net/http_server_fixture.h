/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server whose handler does what the request's path asks for and notes what it saw in T,
 * with raw clients of net_fixture.h. start() begins a test and finish() ends it.
 */
#ifndef ADIT_TESTS_HTTP_SERVER_FIXTURE_H
#define ADIT_TESTS_HTTP_SERVER_FIXTURE_H

#include "net/http_server.h"
#include "tests/unit/net/net_fixture.h"

/* What the handler does, chosen by the request's path, and what it saw. */
static struct {
    struct http_server *s;
    struct http_exchange *x; /* the last one, while it lives */
    char target[256];
    int request_cnt, end_cnt, drain_cnt, abort_cnt, drained_cnt;
    int abort_code;
    size_t body_len;
    char body[4096];
} T;

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    size_t room =
        sizeof(T.body) - 1 - (T.body_len < sizeof(T.body) ? T.body_len : sizeof(T.body) - 1);
    size_t part = bytes.len < room ? bytes.len : room;

    ck_assert_ptr_eq(x, T.x);
    ck_assert_uint_gt(bytes.len, 0);
    if (part)
        memcpy(T.body + T.body_len, bytes.ptr, part);
    T.body_len += bytes.len;
    if (strcmp(T.target, "/pause-each") == 0)
        http_exchange_pause(x);
    if (strcmp(T.target, "/echo-raw") == 0)
        ck_assert_int_eq(http_exchange_write(x, bytes), ADIT_OK);
}

static void on_end(struct http_exchange *x)
{
    ck_assert_ptr_eq(x, T.x);
    T.end_cnt++;
    if (strcmp(T.target, "/at-end") == 0) {
        T.x = NULL;
        http_exchange_reply(x, 200, str("whole"));
    }
}

static void on_drain(struct http_exchange *x)
{
    ck_assert_ptr_eq(x, T.x);
    T.drain_cnt++;
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    ck_assert_ptr_eq(x, T.x);
    T.abort_cnt++;
    T.abort_code = err->code;
    T.x = NULL;
}

static const struct http_exchange_ops ops = {on_body, on_end, on_drain, on_abort};

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    T.request_cnt++;
    T.x = x;
    (void)snprintf(T.target, sizeof(T.target), "%.*s", ADIT_VIEW_ARG(head->target));
    http_exchange_set_ops(x, &ops, &T);
    ck_assert_ptr_eq(http_exchange_user(x), &T);
    ck_assert_ptr_eq(http_exchange_server(x), T.s);
    if (strncmp(T.target, "/now", 4) == 0) {
        T.x = NULL;
        ck_assert_int_eq(http_exchange_header_str(x, "X-Path", T.target), ADIT_OK);
        http_exchange_reply(x, 200, str(T.target));
        ck_assert(adit_view_eq_str(head->target, T.target)); /* the head stays valid */
    } else if (strcmp(T.target, "/no-content") == 0) {
        T.x = NULL;
        http_exchange_reply(x, 204, str("never sent"));
    } else if (strcmp(T.target, "/paused") == 0) {
        http_exchange_pause(x);
    } else if (strcmp(T.target, "/echo-raw") == 0) {
        ck_assert_int_eq(http_exchange_header_str(x, "Upgrade", "echo"), ADIT_OK);
        http_exchange_begin(x, 101, HTTP_FRAMING_RAW, 0);
    } else if (strcmp(T.target, "/reset") == 0) {
        T.x = NULL;
        http_exchange_reset(x);
    } else if (strcmp(T.target, "/bad-header") == 0) {
        ck_assert_int_eq(http_exchange_header_str(x, "X", "a\r\nEvil: 1"), ADIT_ERR_BAD_INPUT);
        ck_assert_int_eq(http_exchange_header_str(x, "X\nY", "a"), ADIT_ERR_BAD_INPUT);
        T.x = NULL;
        http_exchange_reply(x, 200, str("clean"));
    }
}

static struct http_server_conf default_conf(void)
{
    struct http_server_conf conf = {.header_ms = 30000,
                                    .body_ms = 30000,
                                    .idle_ms = 30000,
                                    .owner = &T,
                                    .on_request = on_request};

    return conf;
}

static void start_server(const struct http_server_conf *conf)
{
    struct adit_err err = ADIT_ERR_INIT;

    memset(&T, 0, sizeof(T));
    fixture_init();
    ck_assert_int_eq(http_server_new(&F.net, conf, &T.s, &err), ADIT_OK);
    ck_assert_ptr_eq(http_server_owner(T.s), &T);
}

static struct peer *connect_client(void)
{
    int fd;
    struct peer *p = peer_new(&fd);

    http_server_accept(T.s, fd);
    return p;
}

static struct peer *start(void)
{
    struct http_server_conf conf = default_conf();

    start_server(&conf);
    return connect_client();
}

/* The same over loopback TCP, where a reset can be told from an end. */
static struct peer *start_tcp(void)
{
    struct http_server_conf conf = default_conf();
    struct peer *p;
    int fd;

    start_server(&conf);
    p = peer_new_tcp(&fd);
    http_server_accept(T.s, fd);
    return p;
}

static void on_drained(void *owner)
{
    ck_assert_ptr_eq(owner, &T);
    T.drained_cnt++;
}

static void finish(void)
{
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    http_server_drain(T.s, 0, on_drained);
    run_until(T.drained_cnt == 1);
    fixture_fini();
}

static void take(struct http_exchange **x)
{
    ck_assert_ptr_nonnull(T.x);
    *x = T.x;
    T.x = NULL;
}

#endif
