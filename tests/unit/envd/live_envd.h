/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole envd in a child process, and a plain blocking client of it, for unit tests. The child is
 * made of the product's own parts (server, routes, processes, init) on a Unix socket; only main()
 * is replaced. live_stop() asserts that it ends by itself with an empty loop (and, under a
 * sanitizer, without a leak). Messages are binary protobuf, so that tests compare typed values.
 */
#ifndef ADIT_TESTS_UNIT_ENVD_LIVE_ENVD_H
#define ADIT_TESTS_UNIT_ENVD_LIVE_ENVD_H

#include "tests/unit/suite.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "envd/egress/egress.h"
#include "envd/init.h"
#include "envd/process/process_table.h"
#include "envd/server.h"
#include "envd/state.h"
#include "net/channel.h"
#include "process.pb-c.h"

#define LIVE_WAIT_MS 20000
#define LIVE_BUF_CAP (4u * 1024 * 1024)

static pid_t live_pid;
static enum egress_mode live_egress = EGRESS_NONE; /* else envd is in charge of the network */
static void (*live_before_run)(void);              /* called in the child when all is set up */
static char live_path[64];

static inline int live_serve(int listen_fd, const char *token)
{
    static struct envd envd;
    static struct init init;
    struct rlimit nofile;
    struct adit_err err = ADIT_ERR_INIT;
    adit_log_init("envd", ADIT_LOG_WARN, false);
    init_process(&nofile);
    if (getpid() == 1)
        init_sandbox();
    if (uv_loop_init(&envd.uv) != 0 || net_loop_init(&envd.net, &envd.uv, &err) != ADIT_OK ||
        state_setup(&envd, &err) != ADIT_OK ||
        process_table_new(&envd, &nofile, &envd.processes, &err) != ADIT_OK ||
        (live_egress != EGRESS_NONE &&
         egress_new(&envd.net, live_egress, ENVD_VERSION, &envd.egress, &err) != ADIT_OK) ||
        server_new(&envd, &envd.server, &err) != ADIT_OK ||
        init_watch(&init, &envd, &err) != ADIT_OK ||
        server_listen_channel(envd.server, listen_fd, &err) != ADIT_OK) {
        fprintf(stderr, "live envd: %s\n", err.msg);
        return 2;
    }
    (void)snprintf(envd.access_token, sizeof envd.access_token, "%s", token);
    if (live_before_run)
        live_before_run();
    (void)uv_run(&envd.uv, UV_RUN_DEFAULT);
    state_fini(&envd);
    return uv_loop_close(&envd.uv) == 0 ? 0 : 3;
}

/* @namespaces: CLONE_NEW… flags; with CLONE_NEWPID envd is PID 1. */
static inline void live_start_in(int namespaces, const char *token)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(live_path, sizeof live_path, "/tmp/live-envd-%d", (int)getpid());
    (void)unlink(live_path);
    memcpy(a.sun_path, live_path, sizeof live_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 512), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)fflush(NULL);
    live_pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
    ck_assert_int_ge(live_pid, 0);
    if (live_pid == 0)
        exit(live_serve(fd, token));
    (void)close(fd);
}

static inline void live_start(void)
{
    live_start_in(0, "");
}

static inline void live_stop(void)
{
    int status;
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    ck_assert_int_eq(waitpid(live_pid, &status, 0), live_pid);
    (void)unlink(live_path);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "envd ended with %d", status);
}

/* ---- connections ---- */

/* @start..@end of @buf was read and not used. @chunk_left: of a chunked body. */
struct live_conn {
    int fd;
    size_t start, end;
    size_t chunk_left;
    char *buf;
};

static inline struct live_conn live_dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct live_conn c = {.buf = malloc(LIVE_BUF_CAP)};
    memcpy(a.sun_path, live_path, sizeof live_path);
    c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    return c;
}

static inline void live_hang_up(struct live_conn *c)
{
    (void)close(c->fd);
    free(c->buf);
    c->fd = -1;
    c->buf = NULL;
}

static inline void live_send(struct live_conn *c, const void *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        ck_assert_int_gt(n, 0);
        p = (const char *)p + n;
        len -= (size_t)n;
    }
}

/* Read more. Return: false at the end of the stream. */
static inline bool live_fill(struct live_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (c->start > 0) {
        memmove(c->buf, c->buf + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    ck_assert_uint_lt(c->end, LIVE_BUF_CAP);
    ck_assert_msg(poll(&p, 1, LIVE_WAIT_MS) == 1, "envd says nothing");
    ssize_t n = read(c->fd, c->buf + c->end, LIVE_BUF_CAP - c->end);
    if (n <= 0)
        return false;
    c->end += (size_t)n;
    return true;
}

static inline bool live_is_at_end(struct live_conn *c)
{
    return c->start == c->end && !live_fill(c);
}

/* Up to and including @until; the text ends with NUL. False at the end of the stream. */
static inline bool live_read_until(struct live_conn *c, const char *until, char *out, size_t cap)
{
    for (;;) {
        char *hit = memmem(c->buf + c->start, c->end - c->start, until, strlen(until));
        if (hit) {
            size_t len = (size_t)(hit - (c->buf + c->start)) + strlen(until);
            ck_assert_uint_lt(len, cap);
            memcpy(out, c->buf + c->start, len);
            out[len] = '\0';
            c->start += len;
            return true;
        }
        if (!live_fill(c))
            return false;
    }
}

/* A channel to @port with the handshake done. */
static inline struct live_conn live_channel(unsigned port)
{
    struct live_conn c = live_dial();
    char line[CHANNEL_LINE_CAP], want[CHANNEL_LINE_CAP];
    live_send(&c, line, channel_format_connect(line, port));
    ck_assert(live_read_until(&c, "\n", line, sizeof line));
    want[channel_format_ok(want, port)] = '\0';
    ck_assert_str_eq(line, want);
    return c;
}

static inline struct live_conn live_http(void)
{
    return live_channel(CHANNEL_PORT_ENVD);
}

/* ---- HTTP ---- */

struct live_reply {
    unsigned status;
    char head[4096];
    char body[64 * 1024];
    size_t body_len;
};

static inline void live_read_head(struct live_conn *c, struct live_reply *r)
{
    ck_assert_msg(live_read_until(c, "\r\n\r\n", r->head, sizeof r->head), "no reply");
    ck_assert_int_eq(sscanf(r->head, "HTTP/1.1 %u", &r->status), 1);
}

/* Up to @cap bytes of a chunked body; 0 at its end, -1 if the connection broke. */
static inline ssize_t live_read_chunked(struct live_conn *c, void *out, size_t cap)
{
    char line[32];
    if (c->chunk_left == 0) {
        if (!live_read_until(c, "\r\n", line, sizeof line))
            return -1;
        c->chunk_left = strtoul(line, NULL, 16);
        if (c->chunk_left == 0)
            return live_read_until(c, "\r\n", line, sizeof line) ? 0 : -1;
    }
    if (c->start == c->end && !live_fill(c))
        return -1;
    size_t n = c->end - c->start;
    n = n > cap ? cap : n;
    n = n > c->chunk_left ? c->chunk_left : n;
    memcpy(out, c->buf + c->start, n);
    c->start += n;
    c->chunk_left -= n;
    if (c->chunk_left == 0)
        ck_assert(live_read_until(c, "\r\n", line, sizeof line));
    return (ssize_t)n;
}

static inline void live_read_reply(struct live_conn *c, struct live_reply *r)
{
    live_read_head(c, r);
    r->body_len = 0;
    const char *length = strcasestr(r->head, "\r\ncontent-length:");
    if (strcasestr(r->head, "\r\ntransfer-encoding: chunked")) {
        ssize_t n;
        while ((n = live_read_chunked(c, r->body + r->body_len, sizeof r->body - r->body_len)) > 0)
            r->body_len += (size_t)n;
        ck_assert_msg(r->body_len < sizeof r->body, "the reply does not fit: read it in parts");
    } else if (length) {
        size_t want = strtoul(length + 17, NULL, 10);
        ck_assert_uint_lt(want, sizeof r->body);
        while (r->body_len < want) {
            ck_assert(c->start < c->end || live_fill(c));
            size_t n =
                c->end - c->start < want - r->body_len ? c->end - c->start : want - r->body_len;
            memcpy(r->body + r->body_len, c->buf + c->start, n);
            r->body_len += n;
            c->start += n;
        }
    }
    r->body[r->body_len] = '\0';
}

/* @headers: whole lines, or "". */
static inline void live_request(struct live_conn *c, const char *method, const char *target,
                                const char *headers, const void *body, size_t len)
{
    char head[4096];
    int n =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: envd\r\n%sContent-Length: %zu\r\n\r\n",
                 method, target, headers, len);
    live_send(c, head, (size_t)n);
    live_send(c, body, len);
}

static inline void live_call(struct live_conn *c, const char *method, const char *target,
                             const char *headers, const char *body, struct live_reply *r)
{
    live_request(c, method, target, headers, body, strlen(body));
    live_read_reply(c, r);
}

/* ---- RPC ---- */

/* A unary call with binary protobuf on a connection of its own. The reply's body is the answer, or
 * the JSON error. */
static inline void live_unary(const char *method, const ProtobufCMessage *m, struct live_reply *r)
{
    struct live_conn c = live_http();
    char target[128];
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(len + 1);
    (void)snprintf(target, sizeof target, "/process.Process/%s", method);
    live_request(&c, "POST", target, "Content-Type: application/proto\r\n", bytes,
                 protobuf_c_message_pack(m, bytes));
    live_read_reply(&c, r);
    free(bytes);
    live_hang_up(&c);
}

static inline void live_send_envelope(struct live_conn *c, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(len + 5);
    bytes[0] = 0;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    (void)protobuf_c_message_pack(m, bytes + 5);
    live_send(c, bytes, len + 5);
    free(bytes);
}

/* Begin a server stream; the reply's head is read. */
static inline struct live_conn live_stream(const char *method, const char *headers,
                                           const ProtobufCMessage *m)
{
    struct live_conn c = live_http();
    struct live_reply r;
    char head[2048];
    size_t len = protobuf_c_message_get_packed_size(m) + 5;
    int n = snprintf(head, sizeof head,
                     "POST /process.Process/%s HTTP/1.1\r\nHost: envd\r\n"
                     "Content-Type: application/connect+proto\r\n%sContent-Length: %zu\r\n\r\n",
                     method, headers, len);
    live_send(&c, head, (size_t)n);
    live_send_envelope(&c, m);
    live_read_head(&c, &r);
    ck_assert_uint_eq(r.status, 200);
    return c;
}

/* All @len bytes of the chunked body. Return: false if it ended or broke. */
static inline bool live_read_body(struct live_conn *c, void *out, size_t len)
{
    while (len > 0) {
        ssize_t n = live_read_chunked(c, out, len);
        if (n <= 0)
            return false;
        out = (char *)out + n;
        len -= (size_t)n;
    }
    return true;
}

/*
 * The next event (StartResponse and ConnectResponse are the same bytes), to be freed with
 * process__start_response__free_unpacked; NULL at the end of the stream: @end is its JSON, or
 * "broken".
 */
static inline Process__StartResponse *live_next(struct live_conn *c, char end[1024])
{
    uint8_t head[5];
    if (!live_read_body(c, head, sizeof head)) {
        (void)snprintf(end, 1024, "broken");
        return NULL;
    }
    size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    uint8_t *payload = malloc(len + 1);
    ck_assert(live_read_body(c, payload, len));
    payload[len] = 0;
    Process__StartResponse *m = NULL;
    if (head[0] & 2) {
        (void)snprintf(end, 1024, "%s", (char *)payload);
    } else {
        m = process__start_response__unpack(NULL, len, payload);
        ck_assert_ptr_nonnull(m);
    }
    free(payload);
    return m;
}

/* What a stream said until its end. */
struct live_run {
    uint32_t pid;
    char out[3][64 * 1024]; /* stdout, stderr, terminal */
    size_t len[3];
    unsigned keepalives;
    bool has_end, exited;
    int exit_code;
    char status[64], error[64];
    char end[1024];
};

static inline void live_take_data(struct live_run *r, const Process__ProcessEvent__DataEvent *d)
{
    int i = d->output_case == PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDOUT   ? 0
            : d->output_case == PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDERR ? 1
                                                                                  : 2;
    ck_assert_uint_lt(r->len[i] + d->stdout.len, sizeof r->out[i]);
    memcpy(r->out[i] + r->len[i], d->stdout.data, d->stdout.len);
    r->len[i] += d->stdout.len;
    r->out[i][r->len[i]] = '\0';
}

static inline void live_take(struct live_run *r, const Process__ProcessEvent *e)
{
    ck_assert_msg(!r->has_end, "an event behind the end event");
    switch (e->event_case) {
    case PROCESS__PROCESS_EVENT__EVENT_START:
        ck_assert_uint_eq(r->pid, 0);
        r->pid = e->start->pid;
        break;
    case PROCESS__PROCESS_EVENT__EVENT_DATA:
        live_take_data(r, e->data);
        break;
    case PROCESS__PROCESS_EVENT__EVENT_END:
        r->has_end = true;
        r->exited = e->end->exited;
        r->exit_code = e->end->exit_code;
        (void)snprintf(r->status, sizeof r->status, "%s", e->end->status);
        if (e->end->has_error_case == PROCESS__PROCESS_EVENT__END_EVENT__HAS_ERROR_ERROR)
            (void)snprintf(r->error, sizeof r->error, "%s", e->end->error);
        break;
    default:
        r->keepalives++;
    }
}

/* Take one event. Return: false at the end of the stream. */
static inline bool live_step(struct live_conn *c, struct live_run *r)
{
    Process__StartResponse *m = live_next(c, r->end);
    if (!m)
        return false;
    ck_assert_ptr_nonnull(m->event);
    live_take(r, m->event);
    process__start_response__free_unpacked(m, NULL);
    return true;
}

static inline void live_finish(struct live_conn *c, struct live_run *r)
{
    while (live_step(c, r))
        continue;
    live_hang_up(c);
}

/* Take events until output @i contains @text. */
static inline void live_await(struct live_conn *c, struct live_run *r, int i, const char *text)
{
    while (!memmem(r->out[i], r->len[i], text, strlen(text)))
        ck_assert_msg(live_step(c, r), "the stream ended before \"%s\"", text);
}

/* A start request for a shell command. */
struct live_shell {
    Process__StartRequest request;
    Process__ProcessConfig config;
    char *args[2];
};

static inline void live_shell_init(struct live_shell *s, const char *command)
{
    static char sh[] = "/bin/sh", dash_c[] = "-c", root[] = "/";
    process__start_request__init(&s->request);
    process__process_config__init(&s->config);
    s->args[0] = dash_c;
    s->args[1] = strdup(command);
    s->config.cmd = sh;
    s->config.args = s->args;
    s->config.n_args = 2;
    s->config.has_cwd_case = PROCESS__PROCESS_CONFIG__HAS_CWD_CWD;
    s->config.cwd = root;
    s->request.process = &s->config;
    s->request.has_stdin_case = PROCESS__START_REQUEST__HAS_STDIN_STDIN;
    s->request.stdin = false;
}

static inline struct live_conn live_shell_start(struct live_shell *s, const char *headers)
{
    struct live_conn c = live_stream("Start", headers, &s->request.base);
    free(s->args[1]);
    return c;
}

/* Run a shell command to its end. */
static inline void live_sh(const char *command, const char *headers, struct live_run *r)
{
    struct live_shell s;
    live_shell_init(&s, command);
    memset(r, 0, sizeof *r);
    struct live_conn c = live_shell_start(&s, headers);
    live_finish(&c, r);
}

static inline void live_selector(Process__ProcessSelector *s, uint32_t pid)
{
    process__process_selector__init(s);
    s->selector_case = PROCESS__PROCESS_SELECTOR__SELECTOR_PID;
    s->pid = pid;
}

#endif
