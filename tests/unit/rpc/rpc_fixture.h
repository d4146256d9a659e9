/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop with an HTTP server and a service on it, a client's socket, and replies read from that.
 *
 * The service does what the cmd of a request says and writes what happened to it into fixture.log.
 */
#ifndef ADIT_TESTS_UNIT_RPC_FIXTURE_H
#define ADIT_TESTS_UNIT_RPC_FIXTURE_H

#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_server.h"
#include "process.pb-c.h"
#include "rpc/rpc_server.h"

#define FIXTURE_PATIENCE_MS 60000 /* only what never comes takes so long */

typedef Process__ProcessConfig fixture_msg;

/* @kept: the call that "hold" left open. @conn: the client's socket. */
static struct fixture {
    uv_loop_t uv;
    struct net_loop loop;
    struct http_server *server;
    struct adit_buf log;
    struct rpc_call *kept;
    bool pause_after_message;
    int conn;
} fixture;

static inline void fixture_log(const char *fmt, ...) ADIT_PRINTF(1, 2);
static inline void fixture_log(const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut if it is longer */
    va_end(ap);
    ck_assert_int_eq(adit_buf_append_str(&fixture.log, text), 0);
}

static inline void fixture_expect_log(const char *want)
{
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&fixture.log), want),
                  "log is \"%.*s\", not \"%s\"", ADIT_VIEW_ARG(adit_buf_view(&fixture.log)), want);
}

/* ---- the service ---- */

static inline int fixture_send(struct rpc_call *c, char *cmd)
{
    fixture_msg m;
    process__process_config__init(&m);
    m.cmd = cmd;
    return rpc_call_send(c, &m.base);
}

/* "error" fails, "hold" stays open, "abort" breaks, "nothing" ends, "big" is compressible, others
 * come back. */
static inline void fixture_on_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
    const fixture_msg *m = (const fixture_msg *)msg;
    struct adit_err err = ADIT_ERR_INIT;
    char big[20001];

    fixture_log("message %s;", m->cmd);
    if (strcmp(m->cmd, "error") == 0) {
        (void)adit_err_set(&err, ADIT_ERR_NOT_FOUND, "no such \"thing\""); /* only sent */
        rpc_call_finish(c, &err);
    } else if (strcmp(m->cmd, "hold") == 0) {
        fixture.kept = c;
    } else if (strcmp(m->cmd, "abort") == 0) {
        rpc_call_abort(c);
    } else if (strcmp(m->cmd, "nothing") == 0) {
        rpc_call_finish(c, NULL);
    } else if (strcmp(m->cmd, "big") == 0) {
        memset(big, 'b', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        (void)fixture_send(c, big); /* what is received is checked */
    } else {
        (void)fixture_send(c, m->cmd); /* the same */
        if (rpc_call_method(c)->kind == RPC_SERVER_STREAM)
            rpc_call_finish(c, NULL);
    }
}

static inline void fixture_on_stream_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
    const fixture_msg *m = (const fixture_msg *)msg;
    fixture_log("message %s;", m->cmd);
    fixture.kept = c;
    if (fixture.pause_after_message)
        rpc_call_pause(c);
}

static inline void fixture_on_half_close(struct rpc_call *c)
{
    static char done[] = "done";
    fixture_log("half-close;");
    fixture.kept = NULL;
    (void)fixture_send(c, done); /* what is received is checked */
}

static inline void fixture_on_cancel(struct rpc_call *c, int code)
{
    ck_assert_ptr_eq(rpc_call_user(c), &fixture);
    fixture_log("cancel %s;", adit_err_name(code));
    fixture.kept = NULL;
}

static inline void fixture_on_drain(struct rpc_call *c)
{
    ck_assert(!rpc_call_is_congested(c));
    fixture_log("drain;");
}

static inline int fixture_on_open(struct rpc_call *c, const struct http_head *head,
                                  struct adit_err *err)
{
    ck_assert_ptr_eq(rpc_call_app(c), &fixture);
    ck_assert_ptr_eq(rpc_call_loop(c), &fixture.loop);
    fixture_log("open;");
    rpc_call_set_user(c, &fixture);
    if (http_head_count(head, "X-Refuse"))
        return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "invalid username: 'x'");
    return 0;
}

static inline const struct rpc_service *fixture_service(void)
{
    static const struct rpc_method methods[] = {
        {.path = "/test.Test/Unary",
         .kind = RPC_UNARY,
         .request = &process__process_config__descriptor,
         .response = &process__process_config__descriptor,
         .on_message = fixture_on_message,
         .on_cancel = fixture_on_cancel},
        {.path = "/test.Test/Stream",
         .kind = RPC_SERVER_STREAM,
         .request = &process__process_config__descriptor,
         .response = &process__process_config__descriptor,
         .on_message = fixture_on_message,
         .on_drain = fixture_on_drain,
         .on_cancel = fixture_on_cancel},
        {.path = "/test.Test/Collect",
         .kind = RPC_CLIENT_STREAM,
         .request = &process__process_config__descriptor,
         .response = &process__process_config__descriptor,
         .on_message = fixture_on_stream_message,
         .on_half_close = fixture_on_half_close,
         .on_cancel = fixture_on_cancel},
    };
    static const struct rpc_service service = {methods, 3, fixture_on_open};
    return &service;
}

static inline void fixture_on_request(struct http_exchange *x, const struct http_head *head)
{
    const struct rpc_method *m = rpc_service_find(fixture_service(), head->target);
    if (m)
        rpc_server_handle(x, head, fixture_service(), m, &fixture);
    else
        http_exchange_reply(x, 404, adit_view_mem(NULL, 0));
}

/* ---- the loop ---- */

/* One round: what is ready runs; waits a little when nothing is, also for the client's socket. */
static inline void fixture_turn(void)
{
    if (uv_run(&fixture.uv, UV_RUN_NOWAIT) == 0 && fixture.conn < 0)
        return;
    int timeout = uv_backend_timeout(&fixture.uv);
    struct pollfd fds[] = {{uv_backend_fd(&fixture.uv), POLLIN, 0}, {fixture.conn, POLLIN, 0}};
    (void)poll(fds, 2,
               timeout < 0 || timeout > 20 ? 20 : timeout); /* a wake-up for nothing is fine */
    (void)uv_run(&fixture.uv, UV_RUN_NOWAIT);               /* so are handles left */
}

static inline void fixture_connect(void)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    http_server_accept(fixture.server, pair[0]);
    fixture.conn = pair[1];
}

static inline void fixture_setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_server_conf conf = {
        .header_ms = 10000, .body_ms = 60000, .idle_ms = 60000, .on_request = fixture_on_request};
    (void)signal(SIGPIPE, SIG_IGN); /* as every program does; cannot fail */
    fixture = (struct fixture){.conn = -1};
    adit_buf_init(&fixture.log, 100000);
    ck_assert_int_eq(uv_loop_init(&fixture.uv), 0);
    ck_assert_int_eq(net_loop_init(&fixture.loop, &fixture.uv, &err), 0);
    ck_assert_int_eq(http_server_new(&fixture.loop, &conf, &fixture.server, &err), 0);
}

static inline void fixture_hang_up(void)
{
    if (fixture.conn >= 0)
        (void)close(fixture.conn); /* a test socket */
    fixture.conn = -1;
}

static inline void fixture_on_drained(void *owner)
{
    (void)owner;
    fixture.server = NULL;
}

/* All that was opened must be gone. */
static inline void fixture_teardown(void)
{
    fixture_hang_up();
    http_server_drain(fixture.server, 0, fixture_on_drained);
    for (int i = 0; i < 1000 && fixture.server; i++)
        fixture_turn();
    ck_assert_ptr_null(fixture.server);
    net_loop_close(&fixture.loop);
    for (int i = 0; i < 1000 && uv_loop_alive(&fixture.uv); i++)
        fixture_turn();
    ck_assert_int_eq(uv_loop_close(&fixture.uv), 0);
    adit_buf_fini(&fixture.log);
}

/* ---- the client ---- */

static inline void fixture_write(const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len) {
        ssize_t n = send(fixture.conn, p, len, MSG_NOSIGNAL);
        ck_assert(n > 0 || errno == EAGAIN);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
        fixture_turn();
    }
}

static inline void fixture_write_str(const char *text)
{
    fixture_write(text, strlen(text));
}

/* A POST with its body; @headers: lines with CRLF. */
static inline void fixture_post(const char *method, const char *type, const char *headers,
                                struct adit_view body)
{
    struct adit_buf b;
    adit_buf_init(&b, 32u << 20);
    ck_assert_int_eq(adit_buf_appendf(&b,
                                      "POST /test.Test/%s HTTP/1.1\r\nHost: h\r\nContent-Type: "
                                      "%s\r\nContent-Length: %zu\r\n%s\r\n",
                                      method, type, body.len, headers),
                     0);
    ck_assert_int_eq(adit_buf_append_view(&b, body), 0);
    fixture_write(adit_buf_view(&b).ptr, b.len);
    adit_buf_fini(&b);
}

static inline void fixture_unary(const char *headers, const char *json)
{
    fixture_post("Unary", "application/json", headers, adit_view_str(json));
}

/* @out has room for the envelope. Return: its length. */
static inline size_t fixture_frame(char *out, const char *payload)
{
    frame_write_head(out, 0, strlen(payload));
    memcpy(out + FRAME_HEAD_LEN, payload, strlen(payload));
    return FRAME_HEAD_LEN + strlen(payload);
}

static inline void fixture_stream(const char *headers, const char *json)
{
    char body[300];
    size_t len = fixture_frame(body, json);
    fixture_post("Stream", "application/connect+json", headers, adit_view_mem(body, len));
}

/* @is_whole: ended in order. @is_cut: the connection ended before. */
struct fixture_reply {
    struct http_parser *parser;
    unsigned status;
    char type[64], encoding[32], allow[32], accept_post[160], grpc_accept[16];
    struct adit_buf body;
    bool is_whole, is_cut, has_timed_out;
};

static inline void fixture_reply_init(struct fixture_reply *r)
{
    *r = (struct fixture_reply){.parser = http_parser_new(HTTP_RESPONSE)};
    ck_assert_ptr_nonnull(r->parser);
    http_parser_set_request_method(r->parser, HTTP_POST);
    adit_buf_init(&r->body, 64u << 20);
}

static inline void fixture_reply_fini(struct fixture_reply *r)
{
    http_parser_free(r->parser);
    adit_buf_fini(&r->body);
}

static inline void fixture_keep(char *out, size_t cap, const struct http_head *head,
                                const char *name)
{
    struct adit_view v = http_head_get(head, name);
    (void)snprintf(out, cap, "%.*s", ADIT_VIEW_ARG(v)); /* cut if it is longer */
}

static inline void fixture_take(struct fixture_reply *r, struct adit_view in)
{
    static struct http_head head;
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view body;
    enum http_event event = HTTP_EV_HEAD;

    while (event != HTTP_EV_MORE && event != HTTP_EV_END) {
        int rc = http_parser_next(r->parser, &in, &head, &body, &event, &err);
        ck_assert_msg(rc == 0, "%s", err.msg);
        if (event == HTTP_EV_HEAD) {
            r->status = head.status;
            fixture_keep(r->type, sizeof(r->type), &head, "Content-Type");
            fixture_keep(r->encoding, sizeof(r->encoding), &head, "Content-Encoding");
            fixture_keep(r->allow, sizeof(r->allow), &head, "Allow");
            fixture_keep(r->grpc_accept, sizeof(r->grpc_accept), &head, "Grpc-Accept-Encoding");
            fixture_keep(r->accept_post, sizeof(r->accept_post), &head, "Accept-Post");
        } else if (event == HTTP_EV_BODY) {
            ck_assert_int_eq(adit_buf_append_view(&r->body, body), 0);
        }
    }
    r->is_whole = event == HTTP_EV_END;
}

/* One round of reading. Return: false at the end of the reply. */
static inline bool fixture_read_some(struct fixture_reply *r)
{
    static char bytes[65536];
    fixture_turn();
    ssize_t n = recv(fixture.conn, bytes, sizeof(bytes), 0);
    if (n > 0)
        fixture_take(r, adit_view_mem(bytes, (size_t)n));
    else if (n == 0 || errno != EAGAIN)
        r->is_cut = true;
    return !r->is_whole && !r->is_cut;
}

/* Read until the reply ends, or holds @enough bytes of body. */
static inline void fixture_read(struct fixture_reply *r, size_t enough)
{
    uint64_t start = uv_hrtime();
    while (r->body.len < enough && fixture_read_some(r)) {
        r->has_timed_out = (uv_hrtime() - start) / 1000000 > FIXTURE_PATIENCE_MS;
        ck_assert_msg(!r->has_timed_out, "no reply");
    }
}

static inline void fixture_expect_body(const struct fixture_reply *r, const void *bytes, size_t len)
{
    ck_assert_msg(adit_view_eq(adit_buf_view(&r->body), adit_view_mem(bytes, len)),
                  "status %u, body %.*s", r->status, ADIT_VIEW_ARG(adit_buf_view(&r->body)));
}

/* Read a whole reply and compare it. */
static inline void fixture_expect(unsigned status, const char *type, const char *body, size_t len)
{
    struct fixture_reply r;
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, status);
    ck_assert_str_eq(r.type, type);
    ck_assert(r.is_whole);
    fixture_expect_body(&r, body, len);
    fixture_reply_fini(&r);
}

/* Read a stream that is nothing but its end. */
static inline void fixture_expect_end(const char *json)
{
    char frame[500];
    size_t len = fixture_frame(frame, json);
    frame[0] = FRAME_FLAG_END;
    fixture_expect(200, "application/connect+json", frame, len);
}

static inline void fixture_expect_str(unsigned status, const char *type, const char *body)
{
    fixture_expect(status, type, body, strlen(body));
}

#endif
