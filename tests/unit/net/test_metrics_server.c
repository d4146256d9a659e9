/* SPDX-License-Identifier: Apache-2.0 */
/* The listener for figures: one gathering at a time, clients that leave, its end. */
#include "net/metrics_server.h"

#include "tests/unit/suite.h"
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    uv_loop_t uv;
    struct net_loop net;
    struct metrics_server *server;
    unsigned asked;
} W;

static void on_ask(void *owner)
{
    ck_assert_ptr_eq(owner, &W);
    W.asked++;
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    W.asked = 0;
    ck_assert_int_eq(uv_loop_init(&W.uv), 0);
    ck_assert_int_eq(net_loop_init(&W.net, &W.uv, NULL), 0);
    ck_assert_int_eq(metrics_server_open(&W.net, "127.0.0.1:0", on_ask, &W, &W.server, NULL), 0);
}

static void teardown(void)
{
    metrics_server_close(W.server);
    net_loop_close(&W.net);
    ck_assert_int_eq(uv_run(&W.uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&W.uv), 0);
}

static void spin(void)
{
    for (int i = 0; i < 20; i++)
        (void)uv_run(&W.uv, UV_RUN_NOWAIT);
}

static int ask(const char *head)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(metrics_server_port(W.server)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_gt(write(fd, head, strlen(head)), 0);
    spin();
    return fd;
}

static void answers(int fd, const char *text)
{
    char got[4096];
    spin();
    ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    got[n] = '\0';
    ck_assert_msg(strstr(got, text) != NULL, "no %s in %s", text, got);
    close(fd);
}

#define GET "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

START_TEST(metrics_server_answers_all_who_wait_at_once)
{
    int one = ask(GET), two = ask(GET);
    ck_assert_uint_eq(W.asked, 1);
    metrics_server_answer(W.server, adit_view_str("a 1\n"));
    answers(one, "a 1\n");
    answers(two, "text/plain; version=0.0.4");
    int three = ask(GET);
    ck_assert_uint_eq(W.asked, 2);
    metrics_server_answer(W.server, (struct adit_view){NULL, 0});
    answers(three, " 503 ");
}
END_TEST

START_TEST(metrics_server_serves_nothing_else)
{
    answers(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 404 ");
    answers(ask("GET /metrics/x HTTP/1.1\r\nHost: x\r\n\r\n"), " 404 ");
    answers(ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), " 405 ");
    answers(ask("nonsense\r\n\r\n"), " 400 ");
    ck_assert_uint_eq(W.asked, 0);
}
END_TEST

START_TEST(metrics_server_forgets_who_left)
{
    int fds[METRICS_SERVER_WAITING_MAX];
    for (size_t i = 0; i < METRICS_SERVER_WAITING_MAX; i++)
        fds[i] = ask(GET);
    for (size_t i = 0; i < METRICS_SERVER_WAITING_MAX; i++)
        close(fds[i]);
    spin();
    metrics_server_answer(W.server, adit_view_str("a 1\n"));
    int late = ask(GET);
    metrics_server_answer(W.server, adit_view_str("b 2\n"));
    answers(late, "b 2\n");
}
END_TEST

START_TEST(metrics_server_closes_while_somebody_waits)
{
    int fd = ask(GET);
    ck_assert_uint_eq(W.asked, 1);
    close(fd);
}
END_TEST

START_TEST(metrics_server_asks_nobody_once_it_is_closed)
{
    int fd = ask("GET /metrics HTTP/1.1\r\n");
    metrics_server_close(W.server);
    W.server = NULL; /* frees itself */
    ck_assert_int_gt(write(fd, "Host: x\r\n\r\n", 11), 0);
    answers(fd, " 503 ");
    ck_assert_uint_eq(W.asked, 0);
}
END_TEST

SUITE_MAIN_WITH("metrics_server", .fixtures = {{setup, teardown}},
                TESTS(metrics_server_answers_all_who_wait_at_once,
                      metrics_server_serves_nothing_else, metrics_server_forgets_who_left,
                      metrics_server_closes_while_somebody_waits,
                      metrics_server_asks_nobody_once_it_is_closed))
