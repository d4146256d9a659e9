/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client calls whose guest the test plays itself, byte for byte; what came of each call stands in
 * T.c by its index. start() begins a test and finish() ends it.
 */
#ifndef ADIT_TESTS_HTTP_CLIENT_FIXTURE_H
#define ADIT_TESTS_HTTP_CLIENT_FIXTURE_H

#include "net/http_client.h"
#include "tests/unit/net/net_fixture.h"

/* Up to four calls at once; their state is found by index. */
struct seen {
    struct http_call *call; /* NULL when it is over */
    int head_cnt, end_cnt, fail_cnt, drain_cnt;
    int fail_code;
    char fail_msg[ADIT_ERR_MSG_CAP];
    unsigned status;
    char x_header[64];
    size_t body_len;
    char body[4096];
    bool cancel_in_head, cancel_in_body, pause_in_body, restart_in_end, restart_in_fail;
};

static struct {
    struct http_pool *pool;
    struct seen c[4];
} T;

static struct seen *start_call(size_t i, const char *method_text, enum http_method method,
                               enum http_body body, const char *extra);

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct seen *s = http_call_user(c);

    ck_assert_ptr_eq(c, s->call);
    s->head_cnt++;
    s->status = head->status;
    (void)snprintf(s->x_header, sizeof(s->x_header), "%.*s",
                   ADIT_VIEW_ARG(http_head_get(head, "x")));
    if (s->cancel_in_head) {
        http_call_cancel(c);
        s->call = NULL;
    }
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct seen *s = http_call_user(c);

    ck_assert_ptr_eq(c, s->call);
    for (size_t i = 0; i < bytes.len && s->body_len + i < sizeof(s->body) - 1; i++)
        s->body[s->body_len + i] = bytes.ptr[i];
    s->body_len += bytes.len;
    if (s->pause_in_body)
        http_call_pause(c);
    if (s->cancel_in_body) {
        http_call_cancel(c);
        s->call = NULL;
    }
}

static void on_end(struct http_call *c)
{
    struct seen *s = http_call_user(c);

    s->end_cnt++;
    if (s->status == 101)
        return; /* the peer's half-close: the call lives */
    s->call = NULL;
    if (s->restart_in_end) {
        s->restart_in_end = false;
        (void)start_call(1, "GET", HTTP_GET, HTTP_BODY_NONE, "");
    }
}

static void on_drain(struct http_call *c)
{
    struct seen *s = http_call_user(c);

    s->drain_cnt++;
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct seen *s = http_call_user(c);
    struct http_call *again;
    struct adit_err again_err = ADIT_ERR_INIT;

    s->fail_cnt++;
    s->fail_code = err->code;
    (void)snprintf(s->fail_msg, sizeof(s->fail_msg), "%s", err->msg);
    s->call = NULL;
    if (s->restart_in_fail)
        ck_assert_int_eq(http_call_start(T.pool, HTTP_GET, false,
                                         adit_view_str("GET / HTTP/1.1\r\n\r\n"), HTTP_BODY_NONE,
                                         NULL, NULL, &again, &again_err),
                         ADIT_ERR_CLOSED);
}

static const struct http_call_ops ops = {on_head, on_body, on_end, on_drain, on_fail};

static struct http_pool_conf default_conf(void)
{
    struct http_pool_conf conf = {
        .target = {.kind = HTTP_TARGET_UNIX}, .dial_ms = 30000, .idle_ms = 30000, .idle_max = 8};

    return conf;
}

static void start_pool(struct http_pool_conf *conf)
{
    struct adit_err err = ADIT_ERR_INIT;

    memset(&T, 0, sizeof(T));
    fixture_init();
    if (conf->target.kind != HTTP_TARGET_TCP)
        (void)snprintf(conf->target.path, sizeof(conf->target.path), "%s", fixture_path("guest"));
    ck_assert_int_eq(http_pool_new(&F.net, conf, &T.pool, &err), ADIT_OK);
}

static UNUSED void start(void)
{
    struct http_pool_conf conf = default_conf();

    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
}

static int try_call(size_t i, const char *method_text, enum http_method method, bool upgrade,
                    enum http_body body, const char *extra, struct adit_err *err)
{
    char head[512];
    struct seen *s = &T.c[i];
    int n = snprintf(head, sizeof(head), "%s /%zu HTTP/1.1\r\nHost: a\r\n%s\r\n", method_text, i,
                     extra);

    return http_call_start(T.pool, method, upgrade, adit_view_mem(head, (size_t)n), body, &ops, s,
                           &s->call, err);
}

static struct seen *start_call(size_t i, const char *method_text, enum http_method method,
                               enum http_body body, const char *extra)
{
    struct adit_err err = ADIT_ERR_INIT;

    ck_assert_msg(try_call(i, method_text, method, false, body, extra, &err) == ADIT_OK, "%s",
                  err.msg);
    ck_assert_int_eq(T.c[i].fail_cnt + T.c[i].head_cnt, 0); /* no call back yet */
    return &T.c[i];
}

static struct seen *get(size_t i)
{
    T.c[i] = (struct seen){0};
    return start_call(i, "GET", HTTP_GET, HTTP_BODY_NONE, "");
}

/* The guest's end of the @i-th connection. */
static struct peer *guest(size_t i)
{
    run_until(F.peer_cnt > i);
    return &F.peers[i];
}

static void finish(void)
{
    http_pool_close(T.pool);
    fixture_fini();
}

static const char ok_reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok";

#endif
