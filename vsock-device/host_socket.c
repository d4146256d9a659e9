/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets of clients, and the connections of the core that they are tied to.
 *
 * Theory of operation
 *
 * What:    accepts, reads the line, asks the core for a connection, and from then on moves bytes
 * between the socket and the guest's own buffers: there is no buffer here.
 *
 *     waiting --"CONNECT <port>"--> connecting --guest answers, "OK <n>"--> open --> closed
 *        |                              |                                     ^
 *        +--no line in time, not one--->+--refused, timed out, client left----+
 *
 * Events are edges: the kernel tells of new bytes once, the core remembers that there are some, and
 * they are read when the guest has credit and a buffer. So a socket that nobody can read from costs
 * nothing, and nothing depends on an event that came while the VM was paused. Writing is of
 * interest only while something is kept for the socket.
 * Ownership: the sockets are the table's. A slot's number and use are an event's data, so that an
 * event for a socket closed in the same turn finds nobody.
 * Limits:  HOST_SOCKET_MAX, HOST_SOCKET_LINE_TIMEOUT_MS, HOST_SOCKET_WIDE_MAX; one line of
 * CHANNEL_LINE_CAP, looked at in the socket's own buffer until it is whole. Trust:   clients may
 * open what they like in the guest, but they may be many, slow and gone. Failure: of one socket: it
 * is closed, or its connection shut. An accept that fails for want of descriptors is tried again
 * when a socket was closed.
 */
#include "vsock-device/host_socket.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "net/channel.h"

#define NOBODY UINT16_MAX
_Static_assert(HOST_SOCKET_MAX < NOBODY, "a slot's number fits");

/* ---- slots ---- */

static uint16_t index_of(const struct host_socket_table *t, const struct host_socket *s)
{
    return (uint16_t)(s - t->slots);
}

static uint64_t event_data(const struct host_socket_table *t, const struct host_socket *s)
{
    return (uint64_t)s->use << 32 | (HOST_SOCKET_FIRST + index_of(t, s));
}

static struct host_socket *find_slot(struct host_socket_table *t, uint64_t data)
{
    uint32_t i = (uint32_t)data - (uint32_t)HOST_SOCKET_FIRST;
    struct host_socket *s = i < HOST_SOCKET_MAX ? &t->slots[i] : NULL;
    return s && s->fd >= 0 && s->use == data >> 32 ? s : NULL;
}

static bool is_waiting(const struct host_socket *s)
{
    return s->id == VSOCK_NONE;
}

static void begin_waiting(struct host_socket_table *t, struct host_socket *s)
{
    s->next = NOBODY;
    s->prev = t->last_waiting;
    if (s->prev == NOBODY)
        t->first_waiting = index_of(t, s);
    else
        t->slots[s->prev].next = index_of(t, s);
    t->last_waiting = index_of(t, s);
}

static void end_waiting(struct host_socket_table *t, const struct host_socket *s)
{
    if (s->prev == NOBODY)
        t->first_waiting = s->next;
    else
        t->slots[s->prev].next = s->next;
    if (s->next == NOBODY)
        t->last_waiting = s->prev;
    else
        t->slots[s->next].prev = s->prev;
}

static void close_slot(struct host_socket_table *t, struct host_socket *s)
{
    if (is_waiting(s))
        end_waiting(t, s);
    else
        vsock_core_forget(t->core, s->id);
    (void)close(s->fd); /* what the client did not read is its loss */
    s->fd = -1;
    s->next = t->free;
    t->free = index_of(t, s);
    t->open_cnt--;
    t->is_accept_due = true;
}

static int watch(const struct host_socket_table *t, struct host_socket *s, int op, uint32_t more)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | more,
                            .data.u64 = event_data(t, s)};
    s->is_write_watched = more != 0;
    return epoll_ctl(t->epoll_fd, op, s->fd, &e);
}

/* ---- from the guest to the socket ---- */

/* The client takes no more. What the guest still sends is thrown away, the other way lives on. */
static void stop_writing(struct host_socket_table *t, const struct host_socket *s)
{
    vsock_core_host_shut(t->core, s->id, VSOCK_SHUT_RCV);
}

/* Return: bytes written; 0: not now, or never. */
static size_t write_some(struct host_socket_table *t, struct host_socket *s,
                         const struct iovec *iov, unsigned cnt)
{
    ssize_t n = writev(s->fd, iov, (int)cnt);
    if (n >= 0)
        return (size_t)n;
    if (errno != EAGAIN)
        stop_writing(t, s);
    return 0;
}

static void write_kept(struct host_socket_table *t, struct host_socket *s)
{
    struct iovec iov[2];
    unsigned cnt;
    size_t n = 1;
    while (n > 0 && (cnt = vsock_core_kept(t->core, s->id, iov)) > 0) {
        n = write_some(t, s, iov, cnt);
        if (n > 0)
            vsock_core_drained(t->core, s->id, n);
    }
}

void host_socket_give(struct host_socket_table *t, const struct vsock_payload *payload)
{
    struct host_socket *s = &t->slots[t->slot_of[payload->id]];
    vsock_core_wrote(t->core, payload, write_some(t, s, payload->iov, payload->cnt));
}

/* ---- from the socket to the guest ---- */

size_t host_socket_take(struct host_socket_table *t, const struct vsock_send *send)
{
    struct host_socket *s = &t->slots[t->slot_of[send->id]];
    ssize_t n = readv(s->fd, send->iov, (int)send->cnt);
    if (n > 0)
        return (size_t)n;
    if (n == 0)
        vsock_core_host_shut(t->core, s->id, VSOCK_SHUT_SEND);
    else if (errno == EAGAIN)
        vsock_core_unreadable(t->core, s->id);
    else
        vsock_core_host_shut(t->core, s->id, VSOCK_SHUT_BOTH);
    return 0;
}

/* ---- what the core says of a connection ---- */

/* A fresh socket has room for the line; one that has not is not worth waiting for. */
static bool answer(struct host_socket_table *t, struct host_socket *s)
{
    char line[CHANNEL_LINE_CAP];
    size_t len = channel_format_ok(line, vsock_core_host_port(t->core, s->id));
    s->is_answered = true;
    vsock_core_readable(t->core, s->id); /* bytes may stand behind the line of the port */
    return write(s->fd, line, len) == (ssize_t)len;
}

static void apply_shuts(struct host_socket *s, const struct vsock_status *status)
{
    if (status->is_read_shut && !s->is_read_shut)
        (void)shutdown(s->fd, SHUT_RD); /* a client that has gone needs no word */
    if (status->is_write_shut && !s->is_write_shut)
        (void)shutdown(s->fd, SHUT_WR); /* likewise */
    s->is_read_shut = status->is_read_shut;
    s->is_write_shut = status->is_write_shut;
}

static void log_end(const struct host_socket *s, enum vsock_end end)
{
    static const char *const words[] = {
        [VSOCK_END_NONE] = "none",       [VSOCK_END_REFUSED] = "refused",
        [VSOCK_END_TIMEOUT] = "timeout", [VSOCK_END_CLOSED] = "closed",
        [VSOCK_END_BREACH] = "breach",   [VSOCK_END_MEMORY] = "memory",
        [VSOCK_END_RESET] = "reset",
    };
    adit_log(ADIT_LOG_DEBUG, "channel_closed", LOG_U("id", s->id), LOG_S("reason", words[end]));
}

static void step_one(struct host_socket_table *t, struct host_socket *s)
{
    struct vsock_status status = vsock_core_status(t->core, s->id);
    if (status.phase == VSOCK_OPEN && !s->is_answered && !answer(t, s))
        status.phase = VSOCK_OVER;
    if (status.phase == VSOCK_OVER) {
        log_end(s, status.end);
        close_slot(t, s);
        return;
    }
    apply_shuts(s, &status);
    if (status.is_write_wanted != s->is_write_watched &&
        watch(t, s, EPOLL_CTL_MOD, status.is_write_wanted ? EPOLLOUT : 0))
        close_slot(t, s);
}

void host_socket_step(struct host_socket_table *t)
{
    uint32_t id;
    while ((id = vsock_core_changed(t->core)) != VSOCK_NONE)
        step_one(t, &t->slots[t->slot_of[id]]);
}

/* ---- the line with the port ---- */

static int open_connection(struct host_socket_table *t, struct host_socket *s,
                           const struct channel_line *line, struct adit_err *err)
{
    uint32_t port, id;
    int rc = channel_parse_connect(channel_line_view(line), &port, err);
    if (rc == 0)
        rc = vsock_core_open(t->core, port, &id, err);
    if (rc)
        return rc;
    end_waiting(t, s);
    s->id = id;
    t->slot_of[id] = index_of(t, s);
    return 0;
}

/* What stands behind the line stays in the socket. */
static int read_line(struct host_socket_table *t, struct host_socket *s, struct adit_err *err)
{
    char bytes[CHANNEL_LINE_CAP];
    struct channel_line line;
    bool is_whole;
    ssize_t n = recv(s->fd, bytes, sizeof(bytes), MSG_PEEK);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return adit_err_set(err, ADIT_ERR_CLOSED, "client left");
    struct adit_view rest = adit_view_mem(bytes, (size_t)n);
    channel_line_init(&line);
    int rc = channel_line_feed(&line, &rest, &is_whole, err);
    if (rc || !is_whole)
        return rc;
    size_t len = (size_t)n - rest.len;
    if (recv(s->fd, bytes, len, 0) != (ssize_t)len)
        return adit_err_set(err, ADIT_ERR_CLOSED, "client left");
    return open_connection(t, s, &line, err);
}

/* ---- events ---- */

static void on_line(struct host_socket_table *t, struct host_socket *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (read_line(t, s, &err) == 0)
        return;
    adit_log(ADIT_LOG_DEBUG, "connect_refused", LOG_ERR(&err));
    close_slot(t, s);
}

/* A client that left for good cannot be given anything; what it sent before is still delivered. */
static void on_hang_up(struct host_socket_table *t, struct host_socket *s)
{
    if (vsock_core_status(t->core, s->id).phase == VSOCK_CONNECTING)
        close_slot(t, s);
    else
        stop_writing(t, s);
}

static void on_socket(struct host_socket_table *t, struct host_socket *s, uint32_t events)
{
    if (is_waiting(s)) {
        on_line(t, s);
        return;
    }
    if (events & EPOLLOUT)
        write_kept(t, s);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        vsock_core_readable(t->core, s->id);
    if (events & (EPOLLHUP | EPOLLERR))
        on_hang_up(t, s);
}

void host_socket_on_event(struct host_socket_table *t, uint64_t data, uint32_t events)
{
    if (data == HOST_SOCKET_LISTENER) {
        t->is_accept_due = true;
        return;
    }
    struct host_socket *s = find_slot(t, data);
    if (s)
        on_socket(t, s, events);
}

/* Return: false when the kernel does not bound what it holds for the client. */
static bool bound_room(const struct host_socket_table *t, int fd)
{
    const int room = HOST_SOCKET_NARROW_BYTES;
    return t->open_cnt < HOST_SOCKET_WIDE_MAX ||
           setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0;
}

static void begin(struct host_socket_table *t, int fd)
{
    struct host_socket *s = t->free == NOBODY ? NULL : &t->slots[t->free];
    if (!s) {
        (void)close(fd); /* refused: as many as the device has */
        return;
    }
    uint16_t next = s->next;
    uint32_t use = s->use + 1;
    *s = (struct host_socket){.fd = fd, .id = VSOCK_NONE, .use = use, .since_ms = t->now_ms};
    if (!bound_room(t, fd) || watch(t, s, EPOLL_CTL_ADD, 0)) {
        (void)close(fd); /* no memory in the kernel for it */
        *s = (struct host_socket){.fd = -1, .next = next, .use = use};
        return;
    }
    t->free = next;
    t->open_cnt++;
    begin_waiting(t, s);
}

void host_socket_accept(struct host_socket_table *t)
{
    for (int i = 0; t->is_accept_due && i < HOST_SOCKET_ACCEPT_MAX; i++) {
        int fd = accept4(t->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            begin(t, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            t->is_accept_due = false;
    }
}

/* ---- life ---- */

int host_socket_init(struct host_socket_table *t, struct vsock_core *core, int epoll_fd,
                     int listen_fd, struct adit_err *err)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = HOST_SOCKET_LISTENER};
    *t = (struct host_socket_table){.core = core,
                                    .epoll_fd = epoll_fd,
                                    .listen_fd = listen_fd,
                                    .is_accept_due = true,
                                    .first_waiting = NOBODY,
                                    .last_waiting = NOBODY};
    for (uint16_t i = 0; i < HOST_SOCKET_MAX; i++) {
        uint16_t next = (uint16_t)(i + 1);
        t->slots[i] =
            (struct host_socket){.fd = -1, .next = next < HOST_SOCKET_MAX ? next : NOBODY};
    }
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e)
               ? adit_err_sys(err, errno, "listen to clients")
               : 0;
}

void host_socket_fini(struct host_socket_table *t)
{
    for (size_t i = 0; i < HOST_SOCKET_MAX; i++)
        if (t->slots[i].fd >= 0)
            close_slot(t, &t->slots[i]);
}

static uint64_t line_deadline(const struct host_socket_table *t)
{
    return t->slots[t->first_waiting].since_ms + HOST_SOCKET_LINE_TIMEOUT_MS;
}

void host_socket_tick(struct host_socket_table *t, uint64_t now_ms)
{
    t->now_ms = now_ms;
    while (t->first_waiting != NOBODY && line_deadline(t) <= now_ms) {
        adit_log(ADIT_LOG_DEBUG, "connect_refused", LOG_S("error", "no line in time"));
        close_slot(t, &t->slots[t->first_waiting]);
    }
}

int host_socket_wait_ms(const struct host_socket_table *t)
{
    if (t->first_waiting == NOBODY)
        return -1;
    uint64_t deadline = line_deadline(t);
    return deadline > t->now_ms ? (int)(deadline - t->now_ms) : 0;
}
