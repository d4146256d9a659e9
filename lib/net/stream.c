/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected byte stream on the loop: TCP, Unix or AF_VSOCK.
 *
 * Theory of operation
 *
 * What: a libuv stream handle (uv_tcp_t for IP; uv_pipe_t for the rest, which serves any stream
 * socket) plus a bounded send queue. A write goes to the socket with uv_try_write; the rest is
 * copied to the buffer "waiting". One uv_write at a time is under way with the bytes of "sending";
 * when it is done the two buffers change places. So many small writes cost one copy each and no
 * request object, and order is kept because the socket is tried directly only while both are empty.
 *
 *   open ──close_gracefully──> flushing ──queue empty, shutdown──> lingering ──EOF, time──> closed
 *    └────────close, reset──────────────────────────────────────────────────────────────────┘
 *
 * Ownership: the handle's close callback frees the object; nothing else does. After close, ops are
 * those of nobody, so late events find nothing to call.
 *
 * Limits: @sending and @waiting together hold at most NET_STREAM_QUEUE_MAX bytes; an empty queue
 * holds no memory. A stream that is closed gracefully lives at most NET_STREAM_FLUSH_MS without
 * progress, then NET_STREAM_LINGER_MS.
 *
 * A sink takes the bytes of large reads within the kernel (splice.h), while nothing waits before
 * its socket.
 *
 * A filter (stream_filter.h) takes the place of the socket for the owner's bytes, and that of the
 * owner for the socket's. Once the stream is closed, gracefully too, its input goes nowhere.
 *
 * Failure: a failed write ends writing only (see stream.h). If reading is off nobody would notice
 * the peer's end, so then on_end is called at once for a queued write that fails.
 */
#include "net/stream.h"

#include "net/address_int.h"
#include "net/splice.h"
#include "net/stream_filter.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/buf.h"

/* Large reads of one turn of the loop. */
#define SPLICE_BUDGET 4

enum stream_state { STREAM_OPEN, STREAM_FLUSHING, STREAM_LINGERING, STREAM_CLOSED };

/*
 * @handle:         first, so that a libuv handle pointer is the stream's
 * @sending:        bytes of the uv_write under way; @is_sending says that there is one
 * @waiting:        bytes that come after them
 * @is_reading:     the owner wants on_read
 * @is_bulk:        the last read was a large one
 * @has_ended:      EOF or a read error was seen: no more reading
 * @write_failed:   no more writing
 * @wants_shutdown: half-close when the queue is empty
 */
struct net_stream {
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    struct net_loop *loop; /* borrowed */
    const struct net_stream_ops *ops;
    void *owner;
    struct net_stream_filter *filter; /* owned; or NULL */
    struct net_stream *sink;          /* borrowed; or NULL */
    net_stream_splice_fn on_splice;   /* with a sink */
    enum stream_state state;
    bool is_reading, is_bulk, has_ended, write_failed, is_sending, wants_shutdown, is_shut,
        is_congested;
    uv_write_t request;
    struct adit_buf sending, waiting;
    struct net_deadline deadline;   /* of a graceful close */
    size_t high;                    /* congested above it */
    size_t queued_before;           /* when the deadline was armed */
    char peer[NET_STREAM_PEER_CAP]; /* empty until it was asked for */
};

static void ignore_read(struct net_stream *s, struct adit_view bytes)
{
    (void)s;
    (void)bytes;
}

static void ignore_end(struct net_stream *s, const struct adit_err *err)
{
    (void)s;
    (void)err;
}

static void ignore_drain(struct net_stream *s)
{
    (void)s;
}

static const struct net_stream_ops no_ops = {ignore_read, ignore_end, ignore_drain};

static void on_closed(uv_handle_t *handle)
{
    struct net_stream *s = handle->data;

    adit_buf_fini(&s->sending);
    adit_buf_fini(&s->waiting);
    if (s->filter)
        s->filter->ops->free(s->filter);
    free(s);
}

void net_stream_close(struct net_stream *s)
{
    s->ops = &no_ops;
    s->sink = NULL;
    s->state = STREAM_CLOSED;
    net_deadline_cancel(&s->deadline);
    if (!uv_is_closing(&s->handle.any))
        uv_close(&s->handle.any, on_closed);
}

static int fd_of(const struct net_stream *s)
{
    uv_os_fd_t fd;

    return uv_fileno(&s->handle.any, &fd) == 0 ? fd : -1;
}

void net_stream_reset(struct net_stream *s)
{
    const struct linger at_once = {1, 0};

    if (s->handle.any.type == UV_TCP) /* if it fails, an ordinary close is what is left */
        (void)setsockopt(fd_of(s), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    net_stream_close(s);
}

size_t net_stream_queued(const struct net_stream *s)
{
    return s->waiting.len + uv_stream_get_write_queue_size(&s->handle.stream);
}

bool net_stream_is_congested(const struct net_stream *s)
{
    return s->is_congested;
}

void net_stream_set_high(struct net_stream *s, size_t bytes)
{
    s->high = bytes;
}

/* ---- reading ---- */

static bool can_splice(const struct net_stream *s)
{
    const struct net_stream *to = s->sink;

    return s->is_bulk && s->is_reading && s->state == STREAM_OPEN && to &&
           to->state == STREAM_OPEN && !to->is_sending && !to->write_failed && !to->wants_shutdown;
}

/* Without a buffer libuv reads nothing, and says only that there is something to read. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct net_stream *s = handle->data;
    unsigned room = s->filter ? NET_STREAM_FILTER_ROOM : 0;

    (void)suggested;
    if (can_splice(s))
        *buf = uv_buf_init(NULL, 0);
    else
        *buf = uv_buf_init(s->loop->scratch + room, NET_SCRATCH_CAP - room);
}

static void stream_ended(struct net_stream *s, int status)
{
    struct adit_err err = ADIT_ERR_INIT;

    s->has_ended = true;
    if (s->state != STREAM_OPEN) {
        if (status != UV_EOF || s->state == STREAM_LINGERING)
            net_stream_close(s);
        return;
    }
    if (status == UV_EOF && !s->write_failed) {
        s->ops->on_end(s, NULL);
        return;
    }
    (void)adit_err_sys(&err, status == UV_EOF ? EPIPE : -status, "connection"); /* only the text */
    s->ops->on_end(s, &err);
}

/* Nothing may be an end, or urgent data, which splice(2) does not pass: the next read, which is no
 * large one then, tells. */
static void splice_on(struct net_stream *s)
{
    struct adit_view rest;
    ssize_t len = 1;

    for (int i = 0; i < SPLICE_BUDGET && len > 0 && can_splice(s); i++) {
        len = splice_pass(s->loop, fd_of(s), fd_of(s->sink), &rest);
        s->is_bulk = len >= (ssize_t)NET_STREAM_BULK;
        if (len > 0)
            s->on_splice(s, (size_t)len, rest);
        if (s->sink && s->sink->is_sending) {
            s->sink->is_congested = true;
            net_stream_read_stop(s);
        }
    }
    if (len == -EINVAL) {
        s->sink = NULL; /* its bytes go the way through memory */
    } else if (len < 0 && len != -EAGAIN) {
        (void)uv_read_stop(&s->handle.stream); /* always 0 */
        stream_ended(s, (int)len);
    }
}

static void on_bytes(struct net_stream *s, struct adit_view bytes)
{
    s->is_bulk = bytes.len >= NET_STREAM_BULK;
    if (s->state == STREAM_OPEN && s->filter)
        s->filter->ops->input(s->filter, bytes);
    else if (s->state == STREAM_OPEN)
        s->ops->on_read(s, bytes);
}

static void on_uv_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct net_stream *s = stream->data;

    if (nread == 0 || s->state == STREAM_CLOSED)
        return;
    if (nread > 0) {
        on_bytes(s, adit_view_mem(buf->base, (size_t)nread));
        return;
    }
    if (nread == UV_ENOBUFS && !buf->base) { /* see on_alloc() */
        splice_on(s);
        return;
    }
    (void)uv_read_stop(stream); /* always 0 */
    if (nread == UV_EOF && s->state == STREAM_OPEN && s->filter)
        s->filter->ops->input_end(s->filter);
    else
        stream_ended(s, (int)nread);
}

static void reading_on(struct net_stream *s)
{
    if (!s->has_ended && s->state != STREAM_CLOSED)
        (void)uv_read_start(&s->handle.stream, on_alloc, on_uv_read); /* EALREADY is fine */
}

void net_stream_read_start(struct net_stream *s)
{
    if (s->is_reading)
        return;
    s->is_reading = true;
    reading_on(s);
}

void net_stream_read_stop(struct net_stream *s)
{
    if (!s->is_reading)
        return;
    s->is_reading = false;
    (void)uv_read_stop(&s->handle.stream); /* always 0 */
}

/* ---- writing ---- */

static void drop_queue(struct net_stream *s)
{
    s->write_failed = true;
    adit_buf_fini(&s->waiting);
}

/* The queue is empty: half-close if that was wanted, and begin to linger. */
static void queue_sent(struct net_stream *s)
{
    adit_buf_fini(&s->sending);
    adit_buf_fini(&s->waiting);
    if (s->wants_shutdown && !s->is_shut) {
        s->is_shut = true;
        (void)shutdown(fd_of(s), SHUT_WR); /* fails only if the peer is gone: reading tells */
    }
    if (s->state != STREAM_FLUSHING)
        return;
    if (s->has_ended) {
        net_stream_close(s);
        return;
    }
    s->state = STREAM_LINGERING;
    net_deadline_arm(&s->deadline, NET_STREAM_LINGER_MS);
    reading_on(s);
}

static void on_written(uv_write_t *request, int status);

/* Return: 0, or a libuv error. */
static int send_waiting(struct net_stream *s)
{
    struct adit_buf empty = s->sending;
    uv_buf_t buf;
    int rc;

    adit_buf_clear(&empty);
    s->sending = s->waiting;
    s->waiting = empty;
    buf = uv_buf_init(s->sending.data + s->sending.off, (unsigned)s->sending.len);
    rc = uv_write(&s->request, &s->handle.stream, &buf, 1, on_written);
    s->is_sending = rc == 0;
    return rc;
}

static void queued_write_failed(struct net_stream *s, int status)
{
    drop_queue(s);
    if (s->state != STREAM_OPEN)
        net_stream_close(s);
    else if (!s->is_reading && !s->has_ended)
        stream_ended(s, status);
    else if (s->has_ended)
        stream_ended(s, UV_EPIPE); /* half-closed by the peer: only we could still notice */
}

static void on_written(uv_write_t *request, int status)
{
    struct net_stream *s = request->handle->data;

    s->is_sending = false;
    if (s->state == STREAM_CLOSED)
        return;
    if (status == 0 && s->waiting.len)
        status = send_waiting(s);
    else if (status == 0)
        queue_sent(s);
    if (status < 0) {
        queued_write_failed(s, status);
        return;
    }
    if (s->is_congested && net_stream_queued(s) <= NET_STREAM_LOW) {
        s->is_congested = false;
        s->ops->on_drain(s);
    }
}

/* Put what the socket did not take, the bytes behind the first @skip of @views, into the queue. */
static int queue_rest(struct net_stream *s, const struct adit_view *views, size_t cnt, size_t skip)
{
    int rc = ADIT_OK;

    for (size_t i = 0; i < cnt && rc == ADIT_OK; i++) {
        size_t gone = skip < views[i].len ? skip : views[i].len;
        skip -= gone;
        if (views[i].len > gone)
            rc = adit_buf_append(&s->waiting, views[i].ptr + gone, views[i].len - gone);
    }
    if (rc == ADIT_OK && net_stream_queued(s) > NET_STREAM_QUEUE_MAX)
        rc = ADIT_ERR_LIMIT;
    if (rc == ADIT_OK && !s->is_sending && send_waiting(s) < 0)
        rc = ADIT_ERR_CLOSED;
    if (rc != ADIT_OK)
        drop_queue(s);
    else if (net_stream_queued(s) > s->high)
        s->is_congested = true;
    return rc;
}

static int send_views(struct net_stream *s, const struct adit_view *views, size_t cnt)
{
    uv_buf_t bufs[NET_STREAM_IOV_MAX];
    unsigned buf_cnt = 0;
    size_t total = 0;
    int taken = 0;

    for (size_t i = 0; i < cnt; i++) {
        if (views[i].len) /* libuv takes no const, and does not write */
            bufs[buf_cnt++] = (uv_buf_t){(char *)(uintptr_t)views[i].ptr, views[i].len};
        total += views[i].len;
    }
    if (total == 0)
        return ADIT_OK;
    if (!s->is_sending)
        taken = uv_try_write(&s->handle.stream, bufs, buf_cnt);
    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0) {
        drop_queue(s);
        return ADIT_ERR_CLOSED;
    }
    if ((size_t)taken == total)
        return ADIT_OK;
    return queue_rest(s, views, cnt, (size_t)taken);
}

int net_stream_write(struct net_stream *s, const struct adit_view *views, size_t cnt)
{
    if (s->write_failed || s->wants_shutdown || s->state != STREAM_OPEN)
        return ADIT_ERR_CLOSED;
    return s->filter ? s->filter->ops->write(s->filter, views, cnt) : send_views(s, views, cnt);
}

void net_stream_shutdown(struct net_stream *s)
{
    if (s->filter && !s->wants_shutdown && !s->write_failed)
        s->filter->ops->finish(s->filter);
    s->wants_shutdown = true;
    if (!s->is_sending)
        queue_sent(s);
}

/* ---- graceful close ---- */

static void on_flush_due(struct net_deadline *d)
{
    struct net_stream *s = ADIT_CONTAINER_OF(d, struct net_stream, deadline);
    size_t queued = net_stream_queued(s);

    if (s->state == STREAM_LINGERING || queued >= s->queued_before || s->loop->is_closing) {
        net_stream_reset(s);
        return;
    }
    s->queued_before = queued;
    net_deadline_arm(d, NET_STREAM_FLUSH_MS);
}

void net_stream_close_gracefully(struct net_stream *s)
{
    s->ops = &no_ops;
    s->sink = NULL;
    if (s->write_failed || s->loop->is_closing) {
        net_stream_close(s);
        return;
    }
    s->state = STREAM_FLUSHING;
    s->queued_before = net_stream_queued(s);
    net_deadline_arm(&s->deadline, NET_STREAM_FLUSH_MS);
    reading_on(s);
    net_stream_shutdown(s);
}

/* ---- filters ---- */

void net_stream_set_filter(struct net_stream *s, struct net_stream_filter *take_f)
{
    take_f->stream = s;
    s->filter = take_f;
}

struct net_stream_filter *net_stream_filter_of(const struct net_stream *s)
{
    return s->filter;
}

int net_stream_filter_send(struct net_stream *s, struct adit_view bytes)
{
    if (s->write_failed || s->is_shut || s->state == STREAM_CLOSED)
        return ADIT_ERR_CLOSED;
    return send_views(s, &bytes, 1);
}

void net_stream_filter_deliver(struct net_stream *s, struct adit_view bytes)
{
    if (s->state == STREAM_OPEN)
        s->ops->on_read(s, bytes);
}

void net_stream_filter_end(struct net_stream *s, const struct adit_err *err)
{
    if (s->has_ended || s->state == STREAM_CLOSED)
        return;
    s->has_ended = true;
    (void)uv_read_stop(&s->handle.stream); /* always 0 */
    if (s->state == STREAM_OPEN)
        s->ops->on_end(s, err);
}

bool net_stream_is_encrypted(const struct net_stream *s)
{
    return s->filter != NULL;
}

/* ---- opening and asking ---- */

static int open_handle(struct net_stream *s, int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);
    int rc;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
        return -errno;
    if (domain == AF_INET || domain == AF_INET6) {
        (void)uv_tcp_init(s->loop->uv, &s->handle.tcp); /* cannot fail without a socket */
        rc = uv_tcp_open(&s->handle.tcp, fd);
    } else {
        (void)uv_pipe_init(s->loop->uv, &s->handle.pipe, 0); /* cannot fail */
        rc = uv_pipe_open(&s->handle.pipe, fd);
    }
    s->handle.any.data = s;
    if (rc < 0)
        uv_close(&s->handle.any, on_closed);
    return rc;
}

int net_stream_open_fd(struct net_loop *l, int take_fd, const struct net_stream_ops *ops,
                       void *owner, struct net_stream **out, struct adit_err *err)
{
    struct net_stream *s = calloc(1, sizeof(*s));
    int rc;

    if (!s) {
        (void)close(take_fd);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "stream");
    }
    s->loop = l;
    s->high = NET_STREAM_HIGH;
    net_stream_set_owner(s, ops, owner);
    adit_buf_init(&s->sending, NET_STREAM_QUEUE_MAX);
    adit_buf_init(&s->waiting, NET_STREAM_QUEUE_MAX);
    net_deadline_init(&s->deadline, l, on_flush_due);
    rc = open_handle(s, take_fd);
    if (rc < 0) {
        (void)close(take_fd);
        if (s->handle.any.type == UV_UNKNOWN_HANDLE)
            free(s);
        return adit_err_sys(err, -rc, "stream");
    }
    *out = s;
    return ADIT_OK;
}

void net_stream_set_owner(struct net_stream *s, const struct net_stream_ops *ops, void *owner)
{
    s->ops = ops ? ops : &no_ops;
    s->owner = owner;
}

void net_stream_set_sink(struct net_stream *s, struct net_stream *to,
                         net_stream_splice_fn on_splice)
{
    s->sink = to;
    s->on_splice = on_splice;
}

void *net_stream_owner(const struct net_stream *s)
{
    return s->owner;
}

struct net_loop *net_stream_loop(const struct net_stream *s)
{
    return s->loop;
}

bool net_stream_peer_has_closed(const struct net_stream *s)
{
    struct pollfd p = {fd_of(s), POLLRDHUP, 0};

    return poll(&p, 1, 0) == 1 && p.revents != 0;
}

static sa_family_t peer_address(const struct net_stream *s, union net_address *a)
{
    socklen_t len = sizeof(*a);

    a->any.sa_family = AF_UNSPEC;
    (void)getpeername(fd_of(s), &a->any, &len); /* a peer that has gone has no address */
    return a->any.sa_family;
}

static void format_peer(const struct net_stream *s, char out[NET_STREAM_PEER_CAP])
{
    union net_address a;
    const char *text = "unknown";

    switch (peer_address(s, &a)) {
    case AF_INET:
        text = inet_ntop(AF_INET, &a.in.sin_addr, out, NET_STREAM_PEER_CAP);
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr))
            text = inet_ntop(AF_INET, &a.in6.sin6_addr.s6_addr[12], out, NET_STREAM_PEER_CAP);
        else
            text = inet_ntop(AF_INET6, &a.in6.sin6_addr, out, NET_STREAM_PEER_CAP);
        break;
    case AF_VSOCK:
        (void)snprintf(out, NET_STREAM_PEER_CAP, "vsock:%u", a.vm.svm_cid); /* fits */
        return;
    case AF_UNIX:
        text = "unix";
        break;
    default:
        break;
    }
    if (text != out)
        (void)snprintf(out, NET_STREAM_PEER_CAP, "%s", text); /* fits */
}

const char *net_stream_peer(struct net_stream *s)
{
    if (s->peer[0] == '\0')
        format_peer(s, s->peer);
    return s->peer;
}

uint32_t net_stream_peer_cid(const struct net_stream *s)
{
    union net_address a;

    return peer_address(s, &a) == AF_VSOCK ? a.vm.svm_cid : 0;
}
