/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a connection to a target.
 *
 * Theory of operation
 *
 * States:
 *
 *   BUSY_PEER ──tick──> (connect) ──> CONNECTING ──> WAIT_OK ──> WAIT_SERVICE ──> over
 *      ^──────EAGAIN───────┘               └─(plain target)─────────────────────────^
 *
 * A Unix connect succeeds or fails at once; EAGAIN says that the listener's backlog is full, and
 * since nothing tells when there is room, the next tick tries again. TCP and AF_VSOCK connects that
 * are under way are watched with uv_poll until the socket is writable. A tunnel is asked for when
 * the channel is there, so that an answer tells which of the two failed; whoever waits for a dial's
 * answer waits for both alike, so that its id goes with the first line.
 *
 * Ownership: a dial frees itself after on_done or dial_cancel(); if its poll handle was used, in
 * that handle's close callback.
 *
 * Failure: whatever comes up before dial_start() returned is kept in @failure and told by a task.
 *
 * Trust: the peer may be a guest. Lines are bounded by CHANNEL_LINE_CAP; one deadline covers all.
 */
#include "net/dial.h"

#include "net/address_int.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* Of a TCP connection without a byte, before the other end is asked whether it is there. */
#define KEEPALIVE_S 120

enum dial_state { DIAL_BUSY_PEER, DIAL_CONNECTING, DIAL_WAIT_OK, DIAL_WAIT_SERVICE, DIAL_OVER };

struct dial {
    struct net_loop *loop; /* borrowed */
    struct http_target target;
    dial_done_fn on_done;
    void *owner; /* borrowed */
    enum dial_state state;
    union net_address address;
    socklen_t address_len;
    int fd;         /* while CONNECTING */
    uv_poll_t poll; /* open or closing if @is_polling */
    bool is_polling, is_freed;
    struct net_stream *stream; /* once connected */
    struct channel_line line;
    struct net_deadline deadline;
    uint64_t due_ms; /* by the loop's clock */
    struct net_task task;
    struct adit_err failure;
};

/* ---- ends ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    struct dial *d = handle->data;

    d->is_polling = false;
    if (d->is_freed)
        free(d);
}

/* Before anything else uses the descriptor: closing the handle takes it out of the poller. */
static void close_poll(struct dial *d)
{
    if (d->is_polling && !uv_is_closing((uv_handle_t *)&d->poll))
        uv_close((uv_handle_t *)&d->poll, on_poll_closed);
}

static void dial_free(struct dial *d)
{
    d->is_freed = true;
    net_deadline_cancel(&d->deadline);
    net_task_cancel(&d->task);
    if (d->stream)
        net_stream_close(d->stream);
    close_poll(d);
    if (d->fd >= 0)
        (void)close(d->fd);
    if (!d->is_polling)
        free(d);
}

void dial_cancel(struct dial *d)
{
    dial_free(d);
}

static void dial_fail(struct dial *d, const struct adit_err *err)
{
    dial_done_fn on_done = d->on_done;
    void *owner = d->owner;
    struct adit_err copy = *err;

    dial_free(d);
    on_done(owner, NULL, adit_view_mem(NULL, 0), &copy);
}

static void dial_succeed(struct dial *d, struct adit_view already)
{
    dial_done_fn on_done = d->on_done;
    void *owner = d->owner;
    struct net_stream *stream = d->stream;

    net_stream_set_owner(stream, NULL, NULL);
    d->stream = NULL;
    dial_free(d);
    on_done(owner, stream, already, NULL);
}

/* The end of a dial that was known where nothing may be called back. */
static void on_task(struct net_task *t)
{
    struct dial *d = ADIT_CONTAINER_OF(t, struct dial, task);

    if (d->failure.code)
        dial_fail(d, &d->failure);
    else
        dial_succeed(d, adit_view_mem(NULL, 0));
}

/* The error object of a failed system call; "nothing listens" gets a code of its own. */
static void set_sys_error(struct dial *d, int sys_errno)
{
    (void)adit_err_sys(&d->failure, sys_errno, "connect"); /* read by the task */
    if (sys_errno == ECONNREFUSED || sys_errno == ENOENT || sys_errno == ECONNRESET ||
        sys_errno == ENODEV) /* the last two are AF_VSOCK's: no listener, no such CID */
        d->failure.code = ADIT_ERR_UNAVAILABLE;
}

/* ---- handshake ---- */

static int send_line(struct dial *d, const char *line, size_t len)
{
    struct adit_view v = adit_view_mem(line, len);
    int rc = net_stream_write(d->stream, &v, 1);

    return rc == ADIT_OK ? rc : adit_err_set(&d->failure, rc, "handshake: connection lost");
}

static bool has_service_line(const struct dial *d)
{
    return d->target.tcp_port || d->target.is_accept;
}

static size_t format_service_line(const struct dial *d, char *out)
{
    return d->target.is_accept ? channel_format_accept(out, d->target.accept_id)
                               : channel_format_tcp(out, d->target.tcp_port);
}

static int send_connect(struct dial *d)
{
    char lines[2 * CHANNEL_LINE_CAP];
    size_t len = channel_format_connect(lines, d->target.port);

    if (d->target.is_accept)
        len += format_service_line(d, lines + len);
    d->state = DIAL_WAIT_OK;
    return send_line(d, lines, len);
}

static int send_service(struct dial *d)
{
    char line[CHANNEL_LINE_CAP];

    return send_line(d, line, format_service_line(d, line));
}

/* A complete line came. *over: the handshake is complete. */
static int line_came(struct dial *d, bool *over)
{
    struct adit_view line = channel_line_view(&d->line);
    int rc;

    if (d->state == DIAL_WAIT_OK)
        rc = channel_parse_ok(line, &d->failure);
    else
        rc = channel_parse_tunnel_answer(line, &d->failure);
    channel_line_init(&d->line);
    *over = d->state == DIAL_WAIT_SERVICE || !has_service_line(d);
    if (rc != ADIT_OK || *over)
        return rc;
    d->state = DIAL_WAIT_SERVICE;
    return d->target.is_accept ? ADIT_OK : send_service(d);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct dial *d = net_stream_owner(s);
    bool have_line, over = false;
    int rc = ADIT_OK;

    while (rc == ADIT_OK && bytes.len && !over) {
        rc = channel_line_feed(&d->line, &bytes, &have_line, &d->failure);
        if (rc == ADIT_OK && have_line)
            rc = line_came(d, &over);
    }
    if (rc != ADIT_OK)
        dial_fail(d, &d->failure);
    else if (over)
        dial_succeed(d, bytes);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct dial *d = net_stream_owner(s);

    /* Closing an unanswered handshake is how a VMM, or envd, says that nothing listens on the port.
     */
    if (err == NULL && d->line.len == 0)
        (void)adit_err_set(&d->failure, ADIT_ERR_UNAVAILABLE,
                           "nothing listens on the guest's port");
    else
        (void)adit_err_set(&d->failure, ADIT_ERR_CLOSED, "handshake: closed by the peer");
    dial_fail(d, &d->failure);
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* a line never congests */
}

static const struct net_stream_ops handshake_ops = {on_read, on_end, on_drain};

/* Only matters of speed, and of peers that vanish without a word. */
static void set_options(int fd)
{
    const int on = 1, idle_s = KEEPALIVE_S;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

/* @d->fd is connected. A failure is left in @d->failure. */
static int connected(struct dial *d)
{
    int fd = d->fd;
    int rc;

    d->fd = -1;
    if (d->target.kind == HTTP_TARGET_TCP)
        set_options(fd);
    rc = net_stream_open_fd(d->loop, fd, &handshake_ops, d, &d->stream, &d->failure);
    if (rc != ADIT_OK)
        return rc;
    net_stream_read_start(d->stream);
    if (d->target.kind == HTTP_TARGET_CHANNEL)
        return send_connect(d);
    d->state = has_service_line(d) ? DIAL_WAIT_SERVICE : DIAL_OVER;
    return d->state == DIAL_OVER ? ADIT_OK : send_service(d);
}

/* ---- connecting ---- */

/* A connect that was under way is over. A failure is left in @d->failure. */
static int connect_over(struct dial *d, int status)
{
    int sys_errno = 0;
    socklen_t len = sizeof(sys_errno);

    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len) < 0)
        sys_errno = errno;
    if (status < 0 && !sys_errno)
        sys_errno =
            -status; /* libuv's own word for a failed connect is EBADF: the socket knows better */
    if (!sys_errno)
        return connected(d);
    set_sys_error(d, sys_errno);
    return d->failure.code;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    struct dial *d = poll->data;

    (void)events;
    close_poll(d);
    if (connect_over(d, status) != ADIT_OK)
        dial_fail(d, &d->failure);
    else if (d->state == DIAL_OVER)
        dial_succeed(d, adit_view_mem(NULL, 0));
}

static int watch_connect(struct dial *d)
{
    int rc = uv_poll_init(d->loop->uv, &d->poll, d->fd);

    if (rc < 0)
        return adit_err_sys(&d->failure, -rc, "connect");
    d->poll.data = d;
    d->is_polling = true;
    d->state = DIAL_CONNECTING;
    (void)uv_poll_start(&d->poll, UV_WRITABLE, on_writable); /* cannot fail: just opened */
    return ADIT_OK;
}

/* A near one has before connect() returned. */
static bool has_answered(int fd)
{
    struct pollfd p = {fd, POLLOUT, 0};

    return poll(&p, 1, 0) == 1;
}

static int try_connect(struct dial *d)
{
    d->fd = socket(d->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0)
        return adit_err_sys(&d->failure, errno, "socket");
    if (connect(d->fd, &d->address.any, d->address_len) == 0)
        return connected(d);
    if (errno == EINPROGRESS)
        return has_answered(d->fd) ? connect_over(d, 0) : watch_connect(d);
    if (errno != EAGAIN) {
        set_sys_error(d, errno);
        return d->failure.code;
    }
    (void)close(d->fd);
    d->fd = -1;
    d->state = DIAL_BUSY_PEER;
    net_deadline_arm(&d->deadline, NET_DEADLINE_TICK_MS);
    return ADIT_OK;
}

/* One attempt, from a place that must not call back. */
static void attempt(struct dial *d)
{
    if (try_connect(d) != ADIT_OK || d->state == DIAL_OVER)
        net_task_post(&d->task);
}

static void on_due(struct net_deadline *deadline)
{
    struct dial *d = ADIT_CONTAINER_OF(deadline, struct dial, deadline);
    uint64_t now = uv_now(d->loop->uv);

    if (now < d->due_ms && d->state == DIAL_BUSY_PEER) {
        net_deadline_arm(&d->deadline, d->due_ms - now);
        attempt(d);
        return;
    }
    (void)adit_err_set(&d->failure, ADIT_ERR_TIMEOUT, "connect: no answer in time");
    dial_fail(d, &d->failure);
}

/* "127.0.0.1:80", "[::1]:80". */
static int parse_tcp(const char *text, union net_address *a, socklen_t *len)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    uint64_t port;

    if (host_len == 0 || host_len >= sizeof(host) ||
        adit_view_u64(adit_view_str(colon + 1), UINT16_MAX, &port) != ADIT_OK)
        return ADIT_ERR_BAD_INPUT;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        a->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        *len = sizeof(a->in6);
        return inet_pton(AF_INET6, host + 1, &a->in6.sin6_addr) == 1 ? 0 : ADIT_ERR_BAD_INPUT;
    }
    a->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    *len = sizeof(a->in);
    return inet_pton(AF_INET, host, &a->in.sin_addr) == 1 ? 0 : ADIT_ERR_BAD_INPUT;
}

static int make_address(const struct http_target *t, union net_address *a, socklen_t *len)
{
    size_t path_len = strnlen(t->path, sizeof(t->path));

    switch (t->kind) {
    case HTTP_TARGET_VSOCK:
        a->vm =
            (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = t->cid, .svm_port = t->port};
        *len = sizeof(a->vm);
        return ADIT_OK;
    case HTTP_TARGET_TCP:
        return path_len < sizeof(t->path) ? parse_tcp(t->path, a, len) : ADIT_ERR_BAD_INPUT;
    case HTTP_TARGET_UNIX:
    case HTTP_TARGET_CHANNEL:
        break;
    }
    if (path_len == 0 || path_len >= sizeof(a->un.sun_path))
        return ADIT_ERR_BAD_INPUT;
    a->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->un.sun_path, t->path, path_len);
    *len = sizeof(a->un);
    return ADIT_OK;
}

int dial_start(struct net_loop *l, const struct http_target *target, uint64_t ms,
               dial_done_fn on_done, void *owner, struct dial **out, struct adit_err *err)
{
    struct dial *d = calloc(1, sizeof(*d));

    if (!d)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "dial");
    if (make_address(target, &d->address, &d->address_len) != ADIT_OK) {
        free(d);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "connect: not an address");
    }
    d->loop = l;
    d->target = *target;
    d->on_done = on_done;
    d->owner = owner;
    d->fd = -1;
    channel_line_init(&d->line);
    net_task_init(&d->task, l, on_task);
    net_deadline_init(&d->deadline, l, on_due);
    net_deadline_arm(&d->deadline, ms);
    d->due_ms = uv_now(l->uv) + ms;
    attempt(d);
    *out = d;
    return ADIT_OK;
}
