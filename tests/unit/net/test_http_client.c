/* SPDX-License-Identifier: Apache-2.0 */
/* Client calls against a guest that the test plays itself, byte for byte; dialling included. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

#include <malloc.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/http_client.h"

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

static void start(void)
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

/* ---- calls ---- */

START_TEST(http_client_calls_and_keeps_the_connection)
{
    struct seen *s;
    struct peer *g;

    start();
    for (int i = 0; i < 3; i++) {
        s = get(0);
        g = guest(0);
        run_until(peer_has(g, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
        peer_forget(g);
        peer_send(g, ok_reply);
        run_until(s->end_cnt == 1);
        ck_assert_uint_eq(s->status, 200);
        ck_assert_str_eq(s->x_header, "y");
        ck_assert_str_eq(s->body, "ok");
        ck_assert_int_eq(s->fail_cnt, 0);
    }
    ck_assert_uint_eq(F.peer_cnt, 1);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_opens_a_connection_for_each_call_at_once)
{
    start();
    (void)get(0);
    (void)get(1);
    (void)guest(1);
    run_until(peer_has(guest(0), "\r\n\r\n") && peer_has(guest(1), "\r\n\r\n"));
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 2);
    peer_send(guest(0), ok_reply);
    peer_send(guest(1), ok_reply);
    run_until(T.c[0].end_cnt && T.c[1].end_cnt);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 2);
    finish();
}
END_TEST

START_TEST(http_client_refuses_calls_beyond_the_maximum)
{
    struct http_pool_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;

    conf.connections_max = 1;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    (void)get(0);
    ck_assert_int_eq(try_call(1, "GET", HTTP_GET, false, HTTP_BODY_NONE, "", &err), ADIT_ERR_LIMIT);
    peer_send(guest(0), "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1);
    (void)get(0); /* the kept one is free again */
    run_until(peer_count(guest(0), "GET") == 2);
    finish();
}
END_TEST

START_TEST(http_client_reads_a_reply_byte_by_byte)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    for (size_t i = 0; i < sizeof(ok_reply) - 1; i++) {
        peer_send_mem(guest(0), ok_reply + i, 1);
        turn();
    }
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "ok");
    finish();
}
END_TEST

START_TEST(http_client_reads_chunks_and_bodies_until_close)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(
        guest(0),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "abcde");
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);

    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    peer_send(guest(0), "HTTP/1.1 200 OK\r\n\r\nuntil ");
    run_until(s->body_len == 6);
    peer_send(guest(0), "close");
    peer_close(guest(0));
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "until close");
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    finish();
}
END_TEST

START_TEST(http_client_knows_that_head_and_304_have_no_body)
{
    struct seen *s;

    start();
    s = start_call(0, "HEAD", HTTP_HEAD, HTTP_BODY_NONE, "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    run_until(s->end_cnt == 1);
    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    peer_send(guest(0), "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_swallows_interim_replies_up_to_a_maximum)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(s->head_cnt, 1);
    ck_assert_uint_eq(s->status, 200);
    s = get(0);
    run_until(peer_count(guest(0), "\r\n\r\n") == 2);
    for (int i = 0; i <= HTTP_CALL_INTERIM_MAX; i++)
        peer_send(guest(0), "HTTP/1.1 102 Processing\r\n\r\n");
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_PROTOCOL);
    finish();
}
END_TEST

START_TEST(http_client_does_not_keep_a_connection_the_peer_wants_closed)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(guest(0)->ended);
    finish();
}
END_TEST

START_TEST(http_client_closes_idle_connections_by_age_and_number)
{
    struct http_pool_conf conf = default_conf();

    conf.idle_ms = 100;
    conf.idle_max = 1;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    (void)get(0);
    (void)get(1);
    (void)guest(1);
    run_until(peer_has(guest(0), "\r\n\r\n") && peer_has(guest(1), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    peer_send(guest(1), ok_reply);
    run_until(T.c[0].end_cnt && T.c[1].end_cnt);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    run_until(http_pool_connection_cnt(T.pool) == 0);
    finish();
}
END_TEST

START_TEST(http_client_starts_the_next_call_inside_on_end)
{
    start();
    get(0)->restart_in_end = true;
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(peer_has(guest(0), "GET /1 "));
    peer_send(guest(0), ok_reply);
    run_until(T.c[1].end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

/* ---- request bodies ---- */

START_TEST(http_client_sends_bodies_of_length_and_chunks)
{
    struct seen *s;
    struct peer *g;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_LENGTH, "Content-Length: 6\r\n");
    ck_assert(http_call_is_congested(s->call)); /* nothing stands yet */
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\nabc"));
    ck_assert_int_eq(s->drain_cnt, 1);
    ck_assert(!http_call_is_congested(s->call));
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("def")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(peer_has(g, "abcdef"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);

    T.c[0] = (struct seen){0};
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "Transfer-Encoding: chunked\r\n");
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("")), ADIT_OK);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("0123456789abcdefg")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(peer_has(g, "chunked\r\n\r\n3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_sends_a_head_whose_body_is_late)
{
    struct seen *s;
    struct peer *g;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    g = guest(0);
    peer_forget(g);
    s = start_call(1, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "Transfer-Encoding: chunked\r\n");
    run_until(peer_has(g, "chunked\r\n\r\n"));
    http_call_end_body(s->call);
    run_until(peer_has(g, "\r\n\r\n0\r\n\r\n"));
    finish();
}
END_TEST

START_TEST(http_client_bounds_the_body_before_the_connection_stands)
{
    static char block[65536];
    struct http_pool_conf conf = default_conf();
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;
    int rc = ADIT_OK;

    conf.target.kind = HTTP_TARGET_CHANNEL;
    conf.target.port = CHANNEL_PORT_ENVD;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    for (size_t sent = 0; sent < 2 * NET_STREAM_HIGH && rc == ADIT_OK; sent += bytes.len)
        rc = http_call_write_body(s->call, bytes);
    ck_assert_int_eq(rc, ADIT_ERR_LIMIT);
    http_call_cancel(s->call);
    finish();
}
END_TEST

START_TEST(http_client_tells_a_slow_peer_by_congestion_and_drain)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;
    struct peer *g;
    int drains;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    g = guest(0);
    run_until(s->drain_cnt == 1);
    g->is_deaf = true;
    while (!http_call_is_congested(s->call))
        ck_assert_int_eq(http_call_write_body(s->call, bytes), ADIT_OK);
    drains = s->drain_cnt;
    settle();
    ck_assert_int_eq(s->drain_cnt, drains);
    g->is_deaf = false;
    run_until(s->drain_cnt == drains + 1);
    http_call_cancel(s->call);
    finish();
}
END_TEST

START_TEST(http_client_takes_a_reply_before_the_requests_end_and_closes)
{
    struct seen *s;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("abc")), ADIT_OK);
    run_until(peer_has(guest(0), "abc"));
    peer_send(guest(0), "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->status, 413);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0); /* never used again */
    finish();
}
END_TEST

START_TEST(http_client_reads_the_reply_of_a_peer_that_stopped_reading)
{
    static char block[65536];
    struct adit_view bytes = {block, sizeof(block)};
    struct seen *s;

    start();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_CHUNKED, "");
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    peer_close(guest(0));
    ck_assert_int_eq(http_call_write_body(s->call, bytes), ADIT_ERR_CLOSED);
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->status, 413);
    finish();
}
END_TEST

/* ---- hostile replies ---- */

static void assert_reply_fails(const char *reply, int code)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), reply);
    run_until(s->fail_cnt == 1);
    ck_assert_msg(s->fail_code == code, "%s: %d %s", reply, s->fail_code, s->fail_msg);
    ck_assert_int_eq(s->end_cnt, 0);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(guest(0)->ended);
    finish();
}

START_TEST(http_client_fails_a_broken_reply)
{
    assert_reply_fails("SSH-2.0-OpenSSH\r\n\r\n", ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                       ADIT_ERR_PROTOCOL);
    assert_reply_fails("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                       ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_fails_an_upgrade_nobody_asked_for)
{
    assert_reply_fails(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_fails_bytes_behind_the_reply)
{
    assert_reply_fails("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
                       ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(http_client_closes_an_idle_connection_that_talks)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    run_until(http_pool_connection_cnt(T.pool) == 0);
    s = get(1);
    run_until(peer_has(guest(1), "\r\n\r\n"));
    peer_send(guest(1), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_str_eq(s->body, "ok");
    finish();
}
END_TEST

START_TEST(http_client_tells_a_reply_that_breaks_off)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    run_until(s->body_len == 3);
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    finish();
}
END_TEST

/* ---- stale connections ---- */

/* A kept connection with the guest's end at guest(0). */
static void keep_one(void)
{
    struct seen *s;

    start();
    s = get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    T.c[0] = (struct seen){0};
}

START_TEST(http_client_drops_a_kept_connection_that_the_peer_closes)
{
    keep_one();
    peer_close(guest(0));
    run_until(http_pool_connection_cnt(T.pool) == 0);
    finish();
}
END_TEST

START_TEST(http_client_retries_once_when_a_kept_connection_is_dead)
{
    struct seen *s;

    keep_one();
    peer_close(guest(0)); /* the loop has not seen it yet */
    s = get(0);
    run_until(peer_has(guest(1), "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_send(guest(1), ok_reply);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(s->fail_cnt, 0);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_retries_when_the_kept_connection_dies_after_the_request)
{
    struct seen *s;

    keep_one();
    s = get(0);
    run_until(peer_count(guest(0), "GET") == 2);
    peer_close(guest(0));
    run_until(peer_has(guest(1), "GET /0"));
    peer_close(guest(1)); /* a new one that dies is not replaced */
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    ck_assert_uint_eq(F.peer_cnt, 2);
    finish();
}
END_TEST

START_TEST(http_client_never_repeats_what_may_have_been_done)
{
    struct seen *s;

    keep_one();
    s = start_call(0, "POST", HTTP_POST, HTTP_BODY_NONE, "");
    run_until(peer_has(guest(0), "POST"));
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_CLOSED);
    settle();
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

START_TEST(http_client_does_not_retry_after_the_first_byte)
{
    struct seen *s;

    keep_one();
    s = get(0);
    run_until(peer_count(guest(0), "GET") == 2);
    peer_send(guest(0), "H");
    settle();
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

/* ---- pause, cancel, close ---- */

START_TEST(http_client_pause_bounds_what_is_read)
{
    static char block[65536];
    struct seen *s;
    struct peer *g;
    size_t sent = 0, total = 2 * 1024 * 1024;

    start();
    s = get(0);
    s->pause_in_body = true;
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g, "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        sent += peer_push(g, block, sizeof(block));
        settle();
    }
    ck_assert_uint_lt(sent, total);
    ck_assert_uint_le(s->body_len, NET_SCRATCH_CAP);
    s->pause_in_body = false;
    http_call_resume(s->call);
    while (sent < total) {
        sent += peer_push(g, block, sizeof(block) < total - sent ? sizeof(block) : total - sent);
        turn();
    }
    run_until(s->end_cnt == 1);
    ck_assert_uint_eq(s->body_len, total);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 1);
    finish();
}
END_TEST

START_TEST(http_client_holds_chunks_and_the_end_while_paused)
{
    struct seen *s;

    start();
    s = get(0);
    s->pause_in_body = true;
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(
        guest(0),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    run_until(s->body_len == 3);
    settle();
    ck_assert_uint_eq(s->body_len, 3);
    http_call_resume(s->call);
    ck_assert_uint_eq(s->body_len, 3); /* not inside the call */
    run_until(s->body_len == 5);
    settle();
    ck_assert_int_eq(s->end_cnt, 0);
    http_call_resume(s->call);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_cancel_closes_and_says_nothing_more)
{
    struct seen *s;

    start();
    s = get(0); /* while dialling */
    http_call_cancel(s->call);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    s = get(1);
    s->cancel_in_head = true;
    run_until(F.peer_cnt && peer_has(&F.peers[F.peer_cnt - 1], "/1"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->head_cnt == 1);
    s = get(2);
    s->cancel_in_body = true;
    run_until(peer_has(&F.peers[F.peer_cnt - 1], "/2"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->body_len == 2);
    settle();
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(T.c[i].end_cnt + T.c[i].fail_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_client_pool_close_fails_running_calls_at_once)
{
    start();
    (void)get(0);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1); /* idle */
    (void)get(1);
    run_until(peer_has(guest(0), "/1"));
    (void)get(2); /* dialling */
    T.c[1].restart_in_fail = true;
    http_pool_close(T.pool);
    for (int i = 1; i < 3; i++) {
        ck_assert_int_eq(T.c[i].fail_cnt, 1);
        ck_assert_int_eq(T.c[i].fail_code, ADIT_ERR_CLOSED);
    }
    run_until(guest(0)->ended);
    fixture_fini();
}
END_TEST

/* ---- raw ---- */

START_TEST(http_client_upgrades_and_half_closes_both_ways)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct seen *s = &T.c[0];
    struct peer *g;

    start();
    ck_assert_int_eq(try_call(0, "GET", HTTP_GET, true, HTTP_BODY_NONE,
                              "Connection: Upgrade\r\nUpgrade: x\r\n", &err),
                     ADIT_OK);
    g = guest(0);
    run_until(peer_has(g, "\r\n\r\n"));
    peer_send(g,
              "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw ");
    run_until(s->body_len == 4);
    ck_assert_uint_eq(s->status, 101);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str("to the guest")), ADIT_OK);
    run_until(peer_has(g, "\r\n\r\nto the guest"));
    ck_assert_int_eq(shutdown(g->fd, SHUT_WR), 0);
    run_until(s->end_cnt == 1);
    ck_assert_int_eq(http_call_write_body(s->call, adit_view_str(", and more")), ADIT_OK);
    http_call_end_body(s->call);
    run_until(g->ended);
    ck_assert(peer_has(g, "to the guest, and more"));
    http_call_cancel(s->call);
    ck_assert_int_eq(s->fail_cnt, 0);
    finish();
}
END_TEST

START_TEST(http_client_takes_a_plain_answer_to_an_upgrade)
{
    struct adit_err err = ADIT_ERR_INIT;

    start();
    ck_assert_int_eq(try_call(0, "GET", HTTP_GET, true, HTTP_BODY_NONE,
                              "Connection: Upgrade\r\nUpgrade: x\r\n", &err),
                     ADIT_OK);
    run_until(peer_has(guest(0), "\r\n\r\n"));
    peer_send(guest(0), ok_reply);
    run_until(T.c[0].end_cnt == 1);
    ck_assert_uint_eq(T.c[0].status, 200);
    finish();
}
END_TEST

/* ---- dialling ---- */

static void start_channel(uint16_t tcp_port, uint64_t dial_ms)
{
    struct http_pool_conf conf = default_conf();

    conf.target.kind = HTTP_TARGET_CHANNEL;
    conf.target.port = tcp_port ? CHANNEL_PORT_TUNNEL : CHANNEL_PORT_ENVD;
    conf.target.tcp_port = tcp_port;
    conf.dial_ms = dial_ms;
    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 16);
}

START_TEST(http_client_shakes_hands_on_a_channel)
{
    struct seen *s;
    struct peer *g;

    start_channel(0, 30000);
    s = get(0);
    g = guest(0);
    run_until(g->len);
    settle();
    ck_assert_str_eq(g->bytes, "CONNECT 49983\n"); /* nothing else before the answer */
    peer_send(g, "OK 107");
    settle();
    ck_assert_str_eq(g->bytes, "CONNECT 49983\n");
    peer_send(g, "3741824\n");
    run_until(peer_has(g, "49983\nGET /0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_asks_the_tunnel_for_a_port)
{
    struct seen *s;
    struct peer *g;

    start_channel(8080, 30000);
    s = get(0);
    g = guest(0);
    run_until(peer_has(g, "CONNECT 1024\n"));
    peer_send(g, "OK 1\n");
    run_until(peer_has(g, "CONNECT 1024\nTCP 8080\n"));
    peer_send(g, "OK\n");
    run_until(peer_has(g, "TCP 8080\nGET /0 "));
    peer_send(g, ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

static void assert_handshake_fails(uint16_t tcp_port, const char *first, const char *second,
                                   int code)
{
    struct seen *s;
    struct peer *g;

    start_channel(tcp_port, 30000);
    s = get(0);
    g = guest(0);
    run_until(peer_has(g, "\n"));
    peer_send(g, first);
    if (second) {
        run_until(peer_has(g, "TCP"));
        peer_send(g, second);
    }
    run_until(s->fail_cnt == 1);
    ck_assert_msg(s->fail_code == code, "%s %s: %d %s", first, second, s->fail_code, s->fail_msg);
    ck_assert_uint_eq(http_pool_connection_cnt(T.pool), 0);
    run_until(g->ended);
    ck_assert(!peer_has(g, "GET"));
    finish();
}

START_TEST(http_client_fails_a_wrong_handshake)
{
    assert_handshake_fails(0, "HELLO\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK 1\r\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0,
                           "0123456789012345678901234567890123456789012345678901234567890123456789",
                           NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(0, "OK 1\nHTTP/1.1 200 OK\r\n\r\n", NULL, ADIT_ERR_PROTOCOL);
    assert_handshake_fails(80, "OK 1\n", "ERR refused\n", ADIT_ERR_UNAVAILABLE);
    assert_handshake_fails(80, "OK 1\n", "ERR no route\n", ADIT_ERR_IO);
    assert_handshake_fails(80, "OK 1\n", "YES\n", ADIT_ERR_PROTOCOL);
    assert_handshake_fails(80, "OK 1\nERR refused\n", NULL, ADIT_ERR_UNAVAILABLE);
}
END_TEST

START_TEST(http_client_tells_a_guest_that_closes_in_the_handshake)
{
    struct seen *s;

    start_channel(0, 30000);
    s = get(0);
    run_until(peer_has(guest(0), "\n"));
    peer_close(guest(0));
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    finish();
}
END_TEST

START_TEST(http_client_times_the_handshake_as_a_whole)
{
    struct seen *s;
    uint64_t begin = now_ms();

    start_channel(8080, 200);
    s = get(0);
    run_until(peer_has(guest(0), "\n"));
    peer_send(guest(0), "OK 1\n");
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_ge(now_ms() + 5, begin + 200);
    finish();
}
END_TEST

START_TEST(http_client_tells_that_nothing_listens)
{
    struct http_pool_conf conf = default_conf();
    struct seen *s;

    start_pool(&conf); /* no socket at all */
    s = get(0);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    fixture_listen(fixture_path("guest"), 16);
    ck_assert_int_eq(close(F.listen_fd), 0); /* a socket nobody listens on */
    F.listen_fd = -1;
    s = get(1);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    finish();
}
END_TEST

START_TEST(http_client_waits_for_a_listener_whose_backlog_is_full)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int in_the_way[64], listen_fd;
    size_t cnt = 0;
    struct seen *s;

    start_pool(&conf);
    fixture_listen(fixture_path("guest"), 0);
    listen_fd = F.listen_fd;
    F.listen_fd = -1; /* nobody accepts for now */
    memcpy(a.sun_path, fixture_path("guest"), strlen(fixture_path("guest")) + 1);
    do {
        in_the_way[cnt] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(in_the_way[cnt++], (struct sockaddr *)&a, sizeof(a)) == 0 && cnt < 64);
    ck_assert_int_eq(errno, EAGAIN);
    s = get(0);
    settle();
    ck_assert_int_eq(s->fail_cnt, 0);
    F.listen_fd = listen_fd;
    run_until(F.peer_cnt && peer_has(&F.peers[F.peer_cnt - 1], "GET /0"));
    peer_send(&F.peers[F.peer_cnt - 1], ok_reply);
    run_until(s->end_cnt == 1);
    for (size_t i = 0; i < cnt; i++)
        ck_assert_int_eq(close(in_the_way[i]), 0);
    finish();
}
END_TEST

START_TEST(http_client_dials_tcp_and_tells_refusal)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    struct seen *s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    conf.target.kind = HTTP_TARGET_TCP;
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "127.0.0.1:%u", ntohs(a.sin_port));
    start_pool(&conf);
    s = get(0);
    run_until(s->fail_cnt == 1);
    ck_assert_int_eq(s->fail_code, ADIT_ERR_UNAVAILABLE);
    ck_assert_int_eq(listen(fd, 8), 0);
    F.listen_fd = fd;
    s = get(1);
    run_until(peer_has(guest(0), "GET /1"));
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_shakes_hands_after_a_connect_that_took_time)
{
    struct http_pool_conf conf = default_conf();
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    struct seen *s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    conf.target.kind = HTTP_TARGET_TCP;
    conf.target.tcp_port = 8080;
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "127.0.0.1:%u", ntohs(a.sin_port));
    start_pool(&conf);
    F.listen_fd = fd;
    s = get(0);
    run_until(peer_has(guest(0), "TCP 8080\n"));
    settle();
    peer_send(guest(0), "OK\n");
    run_until(peer_has(guest(0), "GET /0"));
    settle();
    peer_send(guest(0), ok_reply);
    run_until(s->end_cnt == 1);
    finish();
}
END_TEST

START_TEST(http_client_refuses_an_address_that_is_none)
{
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "host:80", "[::1:80", ":80"};
    struct http_pool_conf conf = default_conf();
    struct adit_err err = ADIT_ERR_INIT;

    conf.target.kind = HTTP_TARGET_TCP;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(conf.target.path, sizeof(conf.target.path), "%s", bad[i]);
        start_pool(&conf);
        ck_assert_int_eq(try_call(0, "GET", HTTP_GET, false, HTTP_BODY_NONE, "", &err),
                         ADIT_ERR_BAD_INPUT);
        finish();
    }
}
END_TEST

START_TEST(http_client_ten_thousand_calls_do_not_grow)
{
    struct peer *g;
    size_t before = 0;

    start();
    for (int i = 0; i < 10000; i++) {
        struct seen *s = get(0);
        g = guest(0);
        run_until(peer_has(g, "\r\n\r\n"));
        peer_forget(g);
        peer_send(g, ok_reply);
        run_until(s->end_cnt == 1);
        if (i == 100)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_uint_eq(F.peer_cnt, 1);
    finish();
}
END_TEST

SUITE_MAIN(
    "http_client", http_client_calls_and_keeps_the_connection,
    http_client_opens_a_connection_for_each_call_at_once,
    http_client_refuses_calls_beyond_the_maximum, http_client_reads_a_reply_byte_by_byte,
    http_client_reads_chunks_and_bodies_until_close,
    http_client_knows_that_head_and_304_have_no_body,
    http_client_swallows_interim_replies_up_to_a_maximum,
    http_client_does_not_keep_a_connection_the_peer_wants_closed,
    http_client_closes_idle_connections_by_age_and_number,
    http_client_starts_the_next_call_inside_on_end, http_client_sends_bodies_of_length_and_chunks,
    http_client_sends_a_head_whose_body_is_late,
    http_client_bounds_the_body_before_the_connection_stands,
    http_client_tells_a_slow_peer_by_congestion_and_drain,
    http_client_takes_a_reply_before_the_requests_end_and_closes,
    http_client_reads_the_reply_of_a_peer_that_stopped_reading, http_client_fails_a_broken_reply,
    http_client_fails_an_upgrade_nobody_asked_for, http_client_fails_bytes_behind_the_reply,
    http_client_closes_an_idle_connection_that_talks, http_client_tells_a_reply_that_breaks_off,
    http_client_drops_a_kept_connection_that_the_peer_closes,
    http_client_retries_once_when_a_kept_connection_is_dead,
    http_client_retries_when_the_kept_connection_dies_after_the_request,
    http_client_never_repeats_what_may_have_been_done,
    http_client_does_not_retry_after_the_first_byte, http_client_pause_bounds_what_is_read,
    http_client_holds_chunks_and_the_end_while_paused,
    http_client_cancel_closes_and_says_nothing_more,
    http_client_pool_close_fails_running_calls_at_once,
    http_client_upgrades_and_half_closes_both_ways, http_client_takes_a_plain_answer_to_an_upgrade,
    http_client_shakes_hands_on_a_channel, http_client_asks_the_tunnel_for_a_port,
    http_client_fails_a_wrong_handshake, http_client_tells_a_guest_that_closes_in_the_handshake,
    http_client_times_the_handshake_as_a_whole, http_client_tells_that_nothing_listens,
    http_client_waits_for_a_listener_whose_backlog_is_full, http_client_dials_tcp_and_tells_refusal,
    http_client_shakes_hands_after_a_connect_that_took_time,
    http_client_refuses_an_address_that_is_none, http_client_ten_thousand_calls_do_not_grow)
