/* SPDX-License-Identifier: Apache-2.0 */
/* Unary calls from our client to our server over a Unix socket, and against peers that misbehave.
 */
#include "tests/unit/suite.h"
#include "tests/unit/rpc/rpc_fixture.h"

#include <sys/un.h>

#include "net/http_client.h"
#include "net/listener.h"
#include "rpc/rpc_client.h"

/* @answers: the log of callbacks. @raw: what a scripted peer answers instead of the server. */
static struct client {
    char path[100];
    struct listener *listener;
    struct http_pool *pool;
    struct adit_buf answers;
    size_t answer_cnt;
    const char *raw;
    int raw_conn;
} client;

/* A peer that sends its line whatever it is asked. */
static void on_raw_accept(void *owner, int take_fd)
{
    (void)owner;
    client.raw_conn = take_fd;
    if (client.raw)
        ck_assert_int_eq(send(take_fd, client.raw, strlen(client.raw), MSG_NOSIGNAL),
                         (ssize_t)strlen(client.raw));
}

static void listen_with(listener_accept_fn on_accept)
{
    struct adit_err err = ADIT_ERR_INIT;
    char address[120];
    int fd;
    (void)snprintf(address, sizeof(address), "unix:%s", client.path); /* fits */
    ck_assert_msg(listener_socket(address, &fd, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(
        listener_open(&fixture.loop, fd, on_accept, fixture.server, &client.listener, &err), 0);
}

static void setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_pool_conf conf = {
        .target = {.kind = HTTP_TARGET_UNIX}, .dial_ms = 2000, .idle_ms = 60000, .idle_max = 4};
    fixture_setup();
    client = (struct client){.raw_conn = -1};
    (void)snprintf(client.path, sizeof(client.path), "/tmp/test-rpc-client-%d",
                   (int)getpid());                                                 /* fits */
    (void)snprintf(conf.target.path, sizeof(conf.target.path), "%s", client.path); /* fits */
    adit_buf_init(&client.answers, 16u << 20);
    ck_assert_int_eq(http_pool_new(&fixture.loop, &conf, &client.pool, &err), 0);
}

static void teardown(void)
{
    http_pool_close(client.pool);
    if (client.listener)
        listener_close(client.listener);
    if (client.raw_conn >= 0)
        (void)close(client.raw_conn); /* a test socket */
    (void)unlink(client.path);        /* may never have been made */
    adit_buf_fini(&client.answers);
    fixture_teardown();
}

static void on_done(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    const fixture_msg *m = (const fixture_msg *)answer;
    ck_assert_ptr_eq(user, &client);
    ck_assert((answer != NULL) != (err != NULL));
    client.answer_cnt++;
    int rc = answer
                 ? adit_buf_appendf(&client.answers, "%s;", m->cmd)
                 : adit_buf_appendf(&client.answers, "%s: %s;", adit_err_name(err->code), err->msg);
    ck_assert_int_eq(rc, 0);
}

static struct rpc_client_call *start(const char *path, char *cmd, uint64_t timeout_ms)
{
    struct rpc_client_call *call;
    struct adit_err err = ADIT_ERR_INIT;
    fixture_msg m;
    process__process_config__init(&m);
    m.cmd = cmd;
    int rc = rpc_client_start(client.pool, path, &m.base, &process__process_config__descriptor,
                              timeout_ms, on_done, &client, &call, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_uint_eq(client.answers.len, 0);
    return call;
}

static void expect_answer(const char *want)
{
    uint64_t begin = uv_hrtime();
    while (!client.answer_cnt) {
        fixture_turn();
        ck_assert_msg((uv_hrtime() - begin) / 1000000 < FIXTURE_PATIENCE_MS, "no answer");
    }
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&client.answers), want), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&client.answers)));
    adit_buf_clear(&client.answers);
    client.answer_cnt = 0;
}

static void call(char *cmd, uint64_t timeout_ms, const char *want)
{
    (void)start("/test.Test/Unary", cmd, timeout_ms); /* not cancelled */
    expect_answer(want);
}

static char cmd_a[] = "a", cmd_error[] = "error", cmd_hold[] = "hold", cmd_abort[] = "abort",
            cmd_none[] = "";

START_TEST(rpc_client_brings_answers_and_errors)
{
    listen_with(http_server_accept);
    call(cmd_a, 5000, "a;");
    call(cmd_none, 0, ";");
    call(cmd_error, 5000, "not_found: no such \"thing\";");
    call(cmd_a, 5000, "a;");
    ck_assert_uint_eq(http_pool_connection_cnt(client.pool), 1);
    (void)start("/test.Test/Nothing", cmd_a, 0); /* not cancelled */
    expect_answer("not_found: HTTP status 404;");
}
END_TEST

START_TEST(rpc_client_sends_requests_of_any_size)
{
    static char big[3000001];
    memset(big, 'x', sizeof(big) - 1);
    listen_with(http_server_accept);
    for (int i = 0; i < 2; i++) {                    /* over a new connection and a kept one */
        (void)start("/test.Test/Unary", big, 20000); /* not cancelled */
        while (!client.answer_cnt)
            fixture_turn();
        ck_assert_uint_eq(client.answers.len, sizeof(big));
        adit_buf_clear(&client.answers);
        client.answer_cnt = 0;
    }
    ck_assert(adit_view_has_prefix(adit_buf_view(&fixture.log), "open;message xxx"));
}
END_TEST

START_TEST(rpc_client_refuses_a_request_above_the_maximum)
{
    struct adit_err err = ADIT_ERR_INIT;
    char *big = malloc(RPC_MESSAGE_MAX + 1);
    fixture_msg m;
    ck_assert_ptr_nonnull(big);
    memset(big, 'x', RPC_MESSAGE_MAX);
    big[RPC_MESSAGE_MAX] = '\0';
    process__process_config__init(&m);
    m.cmd = big;
    ck_assert_int_eq(rpc_client_start(client.pool, "/test.Test/Unary", &m.base,
                                      &process__process_config__descriptor, 0, on_done, &client,
                                      NULL, &err),
                     ADIT_ERR_LIMIT);
    free(big);
    fixture_turn();
    ck_assert_uint_eq(client.answer_cnt, 0);
}
END_TEST

START_TEST(rpc_client_gives_up_at_the_deadline)
{
    client.raw = NULL;
    listen_with(on_raw_accept); /* says nothing */
    call(cmd_hold, 80, "timeout: no answer in time;");
    ck_assert_uint_eq(http_pool_connection_cnt(client.pool), 0);
}
END_TEST

START_TEST(rpc_client_tells_the_server_its_deadline)
{
    listen_with(http_server_accept);
    (void)start("/test.Test/Unary", cmd_hold, 100); /* not cancelled */
    while (!client.answer_cnt)
        fixture_turn();
    ck_assert(adit_view_has_prefix(adit_buf_view(&client.answers), "timeout: "));
    while (fixture.kept)
        fixture_turn();
}
END_TEST

START_TEST(rpc_client_says_that_nobody_is_there)
{
    (void)start("/test.Test/Unary", cmd_a, 0); /* not cancelled */
    while (!client.answer_cnt)
        fixture_turn();
    ck_assert_msg(adit_view_has_prefix(adit_buf_view(&client.answers), "unavailable: "), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&client.answers)));
}
END_TEST

START_TEST(rpc_client_says_that_the_connection_broke)
{
    listen_with(http_server_accept);
    (void)start("/test.Test/Unary", cmd_abort, 0); /* not cancelled */
    while (!client.answer_cnt)
        fixture_turn();
    ck_assert_msg(adit_view_has_prefix(adit_buf_view(&client.answers), "unavailable: "), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&client.answers)));
    fixture_expect_log("open;message abort;");
}
END_TEST

START_TEST(rpc_client_forgets_a_cancelled_call)
{
    listen_with(http_server_accept);
    struct rpc_client_call *c = start("/test.Test/Unary", cmd_hold, 1000);
    while (!fixture.kept)
        fixture_turn();
    rpc_client_cancel(c);
    while (fixture.kept)
        fixture_turn();
    fixture_expect_log("open;message hold;cancel canceled;");
    rpc_client_cancel(start("/test.Test/Unary", cmd_a, 0));
    for (int i = 0; i < 5; i++)
        fixture_turn();
    ck_assert_uint_eq(client.answer_cnt, 0);
}
END_TEST

START_TEST(rpc_client_does_not_trust_its_peer)
{
    static const struct {
        const char *raw, *want;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
         "protocol: the answer is not application/proto;"},
        {"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x0A\x7F",
         "protocol: the answer is not a valid message;"},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
         "unavailable: HTTP status 503;"},
        {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 31\r\n\r\n"
         "{\"code\":\"what\",\"message\":\"why\"}",
         "unknown: why;"},
        {"HTTP/1.1 204 No Content\r\n\r\n", "unknown: HTTP status 204;"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        client.raw = rows[i].raw;
        listen_with(on_raw_accept);
        call(cmd_a, 5000, rows[i].want);
        listener_close(client.listener);
        client.listener = NULL;
        (void)close(client.raw_conn); /* a test socket */
        client.raw_conn = -1;
        while (http_pool_connection_cnt(client.pool))
            fixture_turn();
        (void)unlink(client.path); /* was made above */
    }
}
END_TEST

SUITE_MAIN_WITH("rpc_client", .fixtures = {{setup, teardown}},
                TESTS(rpc_client_brings_answers_and_errors, rpc_client_sends_requests_of_any_size,
                      rpc_client_refuses_a_request_above_the_maximum,
                      rpc_client_gives_up_at_the_deadline, rpc_client_tells_the_server_its_deadline,
                      rpc_client_says_that_nobody_is_there,
                      rpc_client_says_that_the_connection_broke,
                      rpc_client_forgets_a_cancelled_call, rpc_client_does_not_trust_its_peer))
