/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public door on real sockets: two relay loops, a stand-in for a sandbox's envd (an HTTP server
 * on a Unix socket) and clients that speak raw HTTP from a thread of their own. Each test ends with
 * every loop closed.
 */
#include "broker/edge/edge_int.h"

#include <arpa/inet.h>
#include "tests/unit/suite.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_server.h"
#include "net/listener.h"

/* More bodies than two loops hold. */
#define WAITING (2 * (EDGE_API_HELD_MAX / EDGE_API_BODY_MAX + 2))

static struct world {
    uv_loop_t uv;
    struct net_loop net;
    struct edge *edge;
    struct http_server *guest;
    struct listener *guest_listener;
    char guest_path[64];
    uint16_t port;
    uv_async_t client_done;
    pthread_t client;
    void (*script)(void);
    struct edge_api_request *held; /* an API request that is answered late */
    uv_sem_t has_come;             /* it is there */
    struct edge_api_request *waiting[WAITING];
    size_t waiting_cnt; /* answered with the next request */
    bool withdrawn, is_republish;
    int collect_cnt; /* figures still to ask for while the edge closes */
    bool is_late;    /* a route is withdrawn when the threads have ended */
    uv_idle_t ended; /* looks whether they have */
    uv_async_t ask_withdraw;
    uv_sem_t withdraw_done;
} w;

/* ---- the stand-in for envd ---- */

/* "/stream" never ends; anything else answers with the head it got. */
static void guest_on_request(struct http_exchange *x, const struct http_head *head)
{
    static const struct http_exchange_ops ops = {0};
    struct adit_buf text;

    if (adit_view_has_prefix(head->target, "/stream")) {
        http_exchange_set_ops(x, &ops, NULL);
        http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
        ck_assert_int_eq(http_exchange_write(x, adit_view_str("first")), 0);
        return;
    }
    adit_buf_init(&text, 1 << 16);
    ck_assert_int_eq(adit_buf_appendf(&text, "%.*s %.*s\n", ADIT_VIEW_ARG(head->method_text),
                                      ADIT_VIEW_ARG(head->target)),
                     0);
    for (size_t i = 0; i < head->header_cnt; i++)
        ck_assert_int_eq(adit_buf_appendf(&text, "%.*s: %.*s\n",
                                          ADIT_VIEW_ARG(head->headers[i].name),
                                          ADIT_VIEW_ARG(head->headers[i].value)),
                         0);
    http_exchange_reply(x, 200, adit_buf_view(&text));
    adit_buf_fini(&text);
}

/* ---- the stand-in for the control API: echoes, or holds "/hold" ---- */

static void on_api(void *owner, struct edge_api_request *r)
{
    struct adit_buf text;

    (void)owner;
    if (adit_view_eq_str(edge_api_path(r), "/hold")) {
        w.held = r;
        uv_sem_post(&w.has_come);
        return;
    }
    if (adit_view_eq_str(edge_api_path(r), "/wait")) {
        edge_api_drop_body(r);
        w.waiting[w.waiting_cnt++] = r;
        uv_sem_post(&w.has_come);
        return;
    }
    while (w.waiting_cnt > 0)
        edge_api_reply(w.waiting[--w.waiting_cnt], 204, adit_view_mem(NULL, 0));
    adit_buf_init(&text, 4 << 20);
    ck_assert_int_eq(
        adit_buf_appendf(&text,
                         "{\"m\":\"%.*s\",\"p\":\"%.*s\",\"q\":\"%.*s\",\"k\":\"%.*s\",\"n\":%zu}",
                         ADIT_VIEW_ARG(edge_api_method_text(r)), ADIT_VIEW_ARG(edge_api_path(r)),
                         ADIT_VIEW_ARG(edge_api_query(r)),
                         ADIT_VIEW_ARG(edge_api_header(r, "X-API-Key")), edge_api_body(r).len),
        0);
    ck_assert_int_eq(edge_api_set_header(r, "X-Next-Token", adit_view_str("abc")), 0);
    edge_api_reply(r, 201, adit_buf_view(&text));
    adit_buf_fini(&text);
}

/* ---- running a test ---- */

static void on_withdrawn(void *user)
{
    (void)user;
    w.withdrawn = true;
    uv_sem_post(&w.withdraw_done);
}

static void fill_route(const char *id, bool is_private, const char *token, struct edge_route *out)
{
    *out = (struct edge_route){.target = {.kind = HTTP_TARGET_UNIX}, .is_private = is_private};
    snprintf(out->sandbox_id, sizeof(out->sandbox_id), "%s", id);
    snprintf(out->target.path, sizeof(out->target.path), "%s", w.guest_path);
    snprintf(out->traffic_token, sizeof(out->traffic_token), "%s", token);
}

/* Withdraw it, or give it another token. */
static void on_ask_withdraw(uv_async_t *a)
{
    struct edge_route route;
    struct adit_err err = ADIT_ERR_INIT;

    (void)a;
    if (!w.is_republish) {
        ck_assert_int_eq(edge_withdraw(w.edge, "iabc", on_withdrawn, NULL, &err), 0);
        return;
    }
    fill_route("iabc", true, "other", &route);
    ck_assert_int_eq(edge_republish(w.edge, &route, on_withdrawn, NULL, &err), 0);
}

static void on_edge_closed(void *user)
{
    (void)user;
    uv_close((uv_handle_t *)&w.client_done, NULL);
    uv_close((uv_handle_t *)&w.ask_withdraw, NULL);
    net_loop_close(&w.net);
}

/* Each takes every loop through a turn or more. */
static void collect(void);

static void on_collected(void *user, const struct edge_stats *sum, const struct edge_use *uses,
                         size_t use_cnt)
{
    (void)user;
    (void)uses;
    (void)use_cnt; /* none, when the first loop has ended */
    ck_assert_uint_eq(sum->descriptors_dropped, 0);
    ck_assert_uint_le(sum->connections, 1);
    collect();
}

static void collect(void)
{
    if (w.collect_cnt-- > 0)
        ck_assert_int_eq(edge_collect(w.edge, on_collected, NULL), 0);
    else
        edge_api_reply(w.held, 200, (struct adit_view){NULL, 0});
}

static void on_late_withdrawn(void *user)
{
    (void)user;
    w.withdrawn = true;
    edge_close(w.edge, on_edge_closed, NULL);
}

static void on_look(uv_idle_t *idle)
{
    if (w.edge->running_cnt > 0)
        return;
    uv_close((uv_handle_t *)idle, NULL);
    ck_assert_int_eq(edge_withdraw(w.edge, "iabc", on_late_withdrawn, NULL, NULL), 0);
}

static void on_guest_drained(void *owner)
{
    (void)owner;
    if (w.is_late) {
        edge_drain(w.edge);
        ck_assert_int_eq(uv_idle_init(&w.uv, &w.ended), 0);
        ck_assert_int_eq(uv_idle_start(&w.ended, on_look), 0);
        return;
    }
    edge_close(w.edge, on_edge_closed, NULL);
    if (w.collect_cnt > 0)
        collect();
    else if (w.held != NULL)
        edge_api_reply(w.held, 200, (struct adit_view){NULL, 0});
}

static void on_client_done(uv_async_t *a)
{
    (void)a;
    pthread_join(w.client, NULL);
    listener_close(w.guest_listener);
    http_server_drain(w.guest, 0, on_guest_drained);
}

static void *client_main(void *arg)
{
    (void)arg;
    w.script();
    uv_async_send(&w.client_done);
    return NULL;
}

static void open_guest(void)
{
    struct http_server_conf conf = {.on_request = guest_on_request};
    struct adit_err err = ADIT_ERR_INIT;
    char address[80];
    int fd;

    snprintf(w.guest_path, sizeof(w.guest_path), "/tmp/test_edge.%d.sock", (int)getpid());
    snprintf(address, sizeof(address), "unix:%s", w.guest_path);
    ck_assert_int_eq(http_server_new(&w.net, &conf, &w.guest, &err), 0);
    ck_assert_msg(listener_socket(address, &fd, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(
        listener_open(&w.net, fd, http_server_accept, w.guest, &w.guest_listener, &err), 0);
}

static void publish(const char *id, bool is_private)
{
    struct edge_route route;
    struct adit_err err = ADIT_ERR_INIT;

    fill_route(id, is_private, "secret", &route);
    ck_assert_int_eq(edge_publish(w.edge, &route, &err), 0);
}

static void run_with(size_t connections_max, void (*script)(void))
{
    struct adit_err err = ADIT_ERR_INIT;
    struct edge_conf conf = {
        .control = &w.uv,
        .listen = {"127.0.0.1:0"},
        .listen_cnt = 1,
        .loops = 2,
        .domain = "adit.test",
        .connections_max = connections_max,
        .channels_per_sandbox = 16,
        .header_ms = 5000,
        .body_ms = 5000,
        .client_idle_ms = 5000,
        .guest_idle_ms = 5000,
        .dial_ms = 2000,
        .drain_ms = 100,
        .on_api = on_api,
    };

    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(uv_loop_init(&w.uv), 0);
    ck_assert_int_eq(net_loop_init(&w.net, &w.uv, &err), 0);
    ck_assert_int_eq(uv_async_init(&w.uv, &w.client_done, on_client_done), 0);
    ck_assert_int_eq(uv_async_init(&w.uv, &w.ask_withdraw, on_ask_withdraw), 0);
    ck_assert_int_eq(uv_sem_init(&w.withdraw_done, 0), 0);
    ck_assert_int_eq(uv_sem_init(&w.has_come, 0), 0);
    open_guest();
    ck_assert_msg(edge_open(&conf, &w.edge, &err) == 0, "%s", err.msg);
    ck_assert_msg(edge_start(w.edge, &err) == 0, "%s", err.msg);
    w.port = edge_port(w.edge, 0);
    publish("iabc", false);
    publish("iprivate", true);
    w.script = script;
    ck_assert_int_eq(pthread_create(&w.client, NULL, client_main, NULL), 0);
    uv_run(&w.uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w.uv), 0);
    uv_sem_destroy(&w.withdraw_done);
    uv_sem_destroy(&w.has_come);
    unlink(w.guest_path);
}

static void run(void (*script)(void))
{
    run_with(100, script);
}

/* ---- the client's side: raw bytes ---- */

static int dial(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(w.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    size_t len = strlen(text);

    ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Everything until the server closes. */
static const char *read_all(int fd)
{
    static __thread char text[1 << 16];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(fd);
    return text;
}

/* @request: head lines without "Connection: close" and the empty line. */
static const char *ask(const char *request)
{
    int fd = dial();

    send_text(fd, request);
    send_text(fd, "Connection: close\r\n\r\n");
    return read_all(fd);
}

#define ASSERT_HAS(text, needle)                                                                   \
    ck_assert_msg(strstr((text), (needle)) != NULL, "'%s' not in:\n%s", (needle), (text))
#define ASSERT_LACKS(text, needle)                                                                 \
    ck_assert_msg(strstr((text), (needle)) == NULL, "'%s' in:\n%s", (needle), (text))

static void api_script(void)
{
    const char *a = ask("POST /sandboxes?x=%201 HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: k1\r\n"
                        "Origin: http://page\r\nContent-Length: 0\r\n");

    ASSERT_HAS(a, "HTTP/1.1 201 Created\r\n");
    ASSERT_HAS(a, "{\"m\":\"POST\",\"p\":\"/sandboxes\",\"q\":\"x=%201\",\"k\":\"k1\",\"n\":0}");
    ASSERT_HAS(a, "Content-Type: application/json; charset=utf-8\r\n");
    ASSERT_HAS(a, "X-Next-Token: abc\r\n");
    ASSERT_HAS(a, "Access-Control-Allow-Origin: *\r\n");
    a = ask("OPTIONS /sandboxes HTTP/1.1\r\nHost: localhost\r\nOrigin: http://page\r\n"
            "Access-Control-Request-Method: POST\r\n"
            "Access-Control-Request-Headers: x-api-key,browser\r\n");
    ASSERT_HAS(a, "HTTP/1.1 204 ");
    ASSERT_HAS(a, "Access-Control-Allow-Headers: x-api-key,browser\r\n");
}

START_TEST(edge_carries_api_requests_to_the_control_loop_and_back)
{
    run(api_script);
}
END_TEST

/* Three connections on two loops: one loop has two of them. */
static void few_connections_script(void)
{
    struct pollfd fds[3];

    for (size_t i = 0; i < 3; i++)
        fds[i] = (struct pollfd){dial(), POLLIN, 0};
    ck_assert_int_gt(poll(fds, 3, 2000), 0); /* before the head's time is over */
    for (size_t i = 0; i < 3; i++)
        close(fds[i].fd);
}

START_TEST(edge_bounds_connections_also_when_there_are_fewer_than_loops)
{
    run_with(1, few_connections_script);
}
END_TEST

static void big_body_script(void)
{
    static char body[1048577 + 1];
    int fd = dial();

    memset(body, 'x', sizeof(body) - 1);
    send_text(fd, "POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n");
    for (size_t at = 0; at < sizeof(body) - 1;) {
        ssize_t n = send(fd, body + at, sizeof(body) - 1 - at, MSG_NOSIGNAL);
        if (n < 0)
            break; /* refused already */
        at += (size_t)n;
    }
    ASSERT_HAS(read_all(fd), "HTTP/1.1 413 ");
}

START_TEST(edge_refuses_an_api_body_over_the_limit)
{
    run(big_body_script);
}
END_TEST

/* Bodies that lack their last byte, sent by nobody in particular. */
static void many_bodies_script(void)
{
    enum { CNT = 60 };
    static char body[EDGE_API_BODY_MAX - 1];
    struct pollfd fds[CNT];
    size_t refused = 0;

    memset(body, 'x', sizeof(body));
    for (size_t i = 0; i < CNT; i++) {
        fds[i] = (struct pollfd){dial(), POLLIN, 0};
        send_text(fds[i].fd,
                  "POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n");
        for (size_t at = 0; at < sizeof(body);) {
            ssize_t n = send(fds[i].fd, body + at, sizeof(body) - at, MSG_NOSIGNAL);
            if (n < 0)
                break; /* refused already */
            at += (size_t)n;
        }
    }
    ASSERT_HAS(ask("POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"),
               "HTTP/1.1 201 ");
    while (refused < CNT - 2 * (EDGE_API_HELD_MAX / sizeof(body) + 1)) {
        ck_assert_int_gt(poll(fds, CNT, 10000), 0);
        for (size_t i = 0; i < CNT; i++) {
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            ASSERT_HAS(read_all(fds[i].fd), "HTTP/1.1 503 ");
            fds[i].fd = -1; /* poll skips it */
            refused++;
        }
    }
    for (size_t i = 0; i < CNT; i++)
        if (fds[i].fd >= 0)
            close(fds[i].fd);
}

START_TEST(edge_bounds_what_all_api_bodies_hold_together)
{
    run(many_bodies_script);
}
END_TEST

/* More than the edge holds, one after the other. */
static void dropped_bodies_script(void)
{
    static char body[EDGE_API_BODY_MAX - 1];
    int fds[WAITING];

    memset(body, 'x', sizeof(body));
    for (size_t i = 0; i < WAITING; i++) {
        fds[i] = dial();
        send_text(fds[i], "POST /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                          "Content-Length: 1048575\r\n\r\n");
        for (size_t at = 0; at < sizeof(body);) {
            ssize_t n = send(fds[i], body + at, sizeof(body) - at, MSG_NOSIGNAL);
            ck_assert_int_gt(n, 0);
            at += (size_t)n;
        }
        uv_sem_wait(&w.has_come);
    }
    ASSERT_HAS(ask("POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"),
               "HTTP/1.1 201 ");
    for (size_t i = 0; i < WAITING; i++)
        ASSERT_HAS(read_all(fds[i]), "HTTP/1.1 204 ");
}

START_TEST(edge_has_room_when_bodies_of_waiting_requests_were_dropped)
{
    run(dropped_bodies_script);
}
END_TEST

/* Heads whose bodies do not come. */
static void many_heads_script(void)
{
    enum { FIELD = 4000, FIELDS = 15, LEN = FIELD * FIELDS };
    enum { MORE = 20, CNT = 2 * (EDGE_API_HELD_MAX / LEN + 1) + MORE };
    static char head[LEN + 256];
    static struct pollfd fds[CNT];
    size_t refused = 0;
    int at = snprintf(head, sizeof(head),
                      "POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n");

    for (int i = 0; i < FIELDS; i++)
        at += snprintf(head + at, sizeof(head) - (size_t)at, "X: %0*d\r\n", FIELD - 5, 0);
    (void)snprintf(head + at, sizeof(head) - (size_t)at, "\r\n");
    for (size_t i = 0; i < CNT; i++) {
        fds[i] = (struct pollfd){dial(), POLLIN, 0};
        send_text(fds[i].fd, head);
    }
    ASSERT_HAS(ask("POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"),
               "HTTP/1.1 201 ");
    while (refused < MORE) {
        ck_assert_int_gt(poll(fds, CNT, 10000), 0);
        for (size_t i = 0; i < CNT; i++) {
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            char text[16] = "";
            ck_assert_int_gt(recv(fds[i].fd, text, sizeof(text) - 1, 0), 0);
            ASSERT_HAS(text, "HTTP/1.1 503 ");
            fds[i].events = 0; /* it has answered */
            refused++;
        }
    }
    for (size_t i = 0; i < CNT; i++)
        close(fds[i].fd);
}

START_TEST(edge_bounds_what_all_api_heads_hold_together)
{
    run_with(2048, many_heads_script);
}
END_TEST

static void data_script(void)
{
    const char *a = ask("GET /files?path=a%2fb HTTP/1.1\r\nHost: localhost:3000\r\n"
                        "E2b-Sandbox-Id: iabc\r\nE2b-Sandbox-Port: 49983\r\n"
                        "X-Access-Token: t\r\nKeep-Alive: 5\r\nX-Forwarded-For: 9.9.9.9\r\n"
                        "X-Forwarded-Proto: https\r\nTE: trailers\r\nX-Drop: 1\r\n"
                        "Connection: x-drop\r\n");

    ASSERT_HAS(a, "HTTP/1.1 200 OK\r\n");
    ASSERT_HAS(a, "GET /files?path=a%2fb\n");
    ASSERT_HAS(a, "Host: localhost:3000\n");
    ASSERT_HAS(a, "X-Access-Token: t\n");
    ASSERT_HAS(a, "X-Forwarded-For: 9.9.9.9, 127.0.0.1\n");
    ASSERT_HAS(a, "X-Forwarded-Proto: http\n");
    ASSERT_HAS(a, "X-Forwarded-Host: localhost:3000\n");
    ASSERT_LACKS(a, "https");
    ASSERT_LACKS(a, "X-Drop");
    ASSERT_LACKS(a, "TE: ");
    a = ask("GET http://49983-iabc.adit.test/x?y HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n");
    ASSERT_HAS(a, "GET /x?y\n");
    a = ask("GET http://49983-iabc.adit.test HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n");
    ASSERT_HAS(a, "GET /\n");
    a = ask("GET http://49983-iabc.adit.test?y HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n");
    ASSERT_HAS(a, "GET /?y\n");
    a = ask("GET / HTTP/1.1\r\nHost: 49983-inone.adit.test\r\n");
    ASSERT_HAS(a, "HTTP/1.1 502 ");
    ASSERT_HAS(a,
               "{\"sandboxId\":\"inone\",\"message\":\"The sandbox was not found\",\"code\":502}");
}

START_TEST(edge_relays_with_a_head_written_anew)
{
    run(data_script);
}
END_TEST

static void refusal_script(void)
{
    static const struct {
        const char *host, *target;
        const char *status;
    } rows[] = {
        {"49983-iabc.adit.test", "/init", "404"},    {"49983-iabc.adit.test", "//init", "404"},
        {"49983-iabc.adit.test", "/./init", "404"},  {"49983-iabc.adit.test", "/x/../init", "404"},
        {"49983-iabc.adit.test", "/%69nit", "404"},  {"49983-iabc.adit.test", "/init/", "404"},
        {"49983-iabc.adit.test", "/init?x", "404"},  {"49983-iabc.adit.test", "/upgrade", "404"},
        {"49983-iabc.adit.test", "/init%00", "400"}, {"49983-iabc.adit.test", "/health", "200"},
        {"1024-iabc.adit.test", "/", "404"},         {"1025-iabc.adit.test", "/", "404"},
        {"1026-iabc.adit.test", "/", "404"},         {"049983-iabc.adit.test", "/init", "400"},
        {"8080-iprivate.adit.test", "/", "403"},     {"49983-iprivate.adit.test", "/health", "200"},
    };
    char request[256], status[32];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int upgrade = 0; upgrade < 2; upgrade++) {
            snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s", rows[i].target,
                     rows[i].host, upgrade ? "Upgrade: websocket\r\nConnection: upgrade\r\n" : "");
            snprintf(status, sizeof(status), "HTTP/1.1 %s ", rows[i].status);
            const char *a = ask(request);
            ck_assert_msg(strncmp(a, status, strlen(status)) == 0, "%s%s: %.60s", rows[i].host,
                          rows[i].target, a);
        }
    }
    const char *a = ask("GET / HTTP/1.1\r\nHost: 8080-iprivate.adit.test\r\n"
                        "E2B-Traffic-Access-Token: wrong\r\n");
    ASSERT_HAS(a, "is invalid");
    a = ask("GET / HTTP/1.1\r\nHost: 8080-iabc.adit.test\r\nE2b-Sandbox-Id: iprivate\r\n"
            "E2b-Sandbox-Port: 8080\r\n");
    ASSERT_HAS(a, "HTTP/1.1 400 ");
    a = ask("GET /health HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: iabc\r\n"
            "E2b-Sandbox-Port: 49983\r\nE2b-Sandbox-Id: iprivate\r\n");
    ASSERT_HAS(a, "HTTP/1.1 400 ");
    a = ask("GET /health HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: iabc\r\n"
            "E2b-Sandbox-Port: 8080\r\nE2b-Sandbox-Port: 49983\r\n");
    ASSERT_HAS(a, "HTTP/1.1 400 ");
}

START_TEST(edge_refuses_reserved_routes_in_every_spelling)
{
    run(refusal_script);
}
END_TEST

/* A stream runs; then the sandbox is withdrawn, or its route changed. */
static void break_stream(void)
{
    char first[4096];
    size_t len = 0;
    int fd = dial();

    send_text(fd, "GET /stream HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n\r\n");
    do {
        ssize_t n = recv(fd, first + len, sizeof(first) - 1 - len, 0);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
        first[len] = '\0';
    } while (strstr(first, "first") == NULL);
    uv_async_send(&w.ask_withdraw);
    uv_sem_wait(&w.withdraw_done);
    ck_assert_int_eq(recv(fd, first, sizeof(first), 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(fd);
}

static void withdraw_script(void)
{
    break_stream();
    for (int i = 0; i < 8; i++) /* connections spread over both loops */
        ASSERT_HAS(ask("GET / HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n"),
                   "The sandbox was not found");
}

static void republish_script(void)
{
    w.is_republish = true;
    break_stream();
    for (int i = 0; i < 8; i++) { /* once it is done, on both loops */
        ASSERT_HAS(ask("GET / HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n"), "HTTP/1.1 200");
        ASSERT_HAS(ask("GET / HTTP/1.1\r\nHost: 8000-iabc.adit.test\r\n"
                       "e2b-traffic-access-token: secret\r\n"),
                   "is invalid");
    }
}

START_TEST(edge_new_route_resets_streams_and_is_everywhere_when_it_is_done)
{
    run(republish_script);
    ck_assert(w.withdrawn);
}
END_TEST

START_TEST(edge_withdrawal_resets_streams_before_it_is_done)
{
    run(withdraw_script);
    ck_assert(w.withdrawn);
}
END_TEST

/* The streams spread over both loops; the limit is the sandbox's, not a loop's. */
static void limit_script(void)
{
    char bytes[256];
    int fds[16];

    for (int i = 0; i < 16; i++) {
        fds[i] = dial();
        send_text(fds[i], "GET /stream HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n\r\n");
        ck_assert_int_gt(recv(fds[i], bytes, sizeof(bytes), 0), 0);
    }
    const char *a = ask("GET / HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n");
    ASSERT_HAS(a, "HTTP/1.1 429 ");
    ASSERT_HAS(a, "too many concurrent incoming connections (limit: 16)");
    ASSERT_HAS(ask("GET / HTTP/1.1\r\nHost: 49983-iprivate.adit.test\r\n"), "HTTP/1.1 200 ");
    for (int i = 0; i < 16; i++)
        close(fds[i]);
    do /* until the relay loops have seen that the clients are gone */
        a = ask("GET / HTTP/1.1\r\nHost: 49983-iabc.adit.test\r\n");
    while (strstr(a, "HTTP/1.1 429 ") != NULL);
    ASSERT_HAS(a, "HTTP/1.1 200 ");
}

START_TEST(edge_bounds_the_requests_of_a_sandbox_over_all_loops)
{
    run(limit_script);
}
END_TEST

static void hold_script(void)
{
    int fd = dial();

    send_text(fd, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    uv_sem_wait(&w.has_come);
    close(fd);
}

START_TEST(edge_closes_with_an_api_request_unanswered_and_its_client_gone)
{
    run(hold_script);
}
END_TEST

/* Its client stays, so the loops drain and do not end. */
static void collect_script(void)
{
    send_text(dial(), "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    uv_sem_wait(&w.has_come);
    w.collect_cnt = 10;
}

START_TEST(edge_tells_its_figures_while_it_closes)
{
    run(collect_script);
    ck_assert_int_lt(w.collect_cnt, 0);
}
END_TEST

static void late_script(void)
{
    w.is_late = true;
}

START_TEST(edge_withdraws_routes_after_it_was_drained)
{
    run(late_script);
    ck_assert(w.withdrawn);
}
END_TEST

SUITE_MAIN("edge", edge_carries_api_requests_to_the_control_loop_and_back,
           edge_bounds_connections_also_when_there_are_fewer_than_loops,
           edge_refuses_an_api_body_over_the_limit, edge_bounds_what_all_api_bodies_hold_together,
           edge_has_room_when_bodies_of_waiting_requests_were_dropped,
           edge_bounds_what_all_api_heads_hold_together, edge_relays_with_a_head_written_anew,
           edge_refuses_reserved_routes_in_every_spelling,
           edge_withdrawal_resets_streams_before_it_is_done,
           edge_new_route_resets_streams_and_is_everywhere_when_it_is_done,
           edge_bounds_the_requests_of_a_sandbox_over_all_loops,
           edge_closes_with_an_api_request_unanswered_and_its_client_gone,
           edge_tells_its_figures_while_it_closes, edge_withdraws_routes_after_it_was_drained)
