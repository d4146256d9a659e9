/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of the device.
 *
 * Theory of operation
 *
 * What:    moves packets between the two rings of the guest and the core, the core's orders to the
 * sockets, and the front end's messages to vhost_user.
 *
 *   epoll_wait → messages, kicks, sockets → transmit ring → receive ring → interrupts → epoll_wait
 *
 * A turn serves at most DEVICE_BATCH chains of each ring; if a ring has more, the next turn does
 * not wait. Plain epoll instead of libuv: the process has one kind of work, a handful of system
 * calls and no timers but one deadline, and is the size of what it does.
 * Wake-ups: a ring is asked for kicks (vring_await) only when it was found empty and is needed:
 * the receive ring while there is something to send. What there is to do is read from the rings and
 * the core in every turn, so a VM that was paused needs no event to go on. Kicks are edges and are
 * not read: a count that nobody wants is not worth a system call.
 * Ownership: all of it; descriptors of rings are vhost_user's.
 * Trust:   the front end and the guest are hostile; what breaks the protocol ends the device.
 * Failure: device_run() returns, the process ends, the VM's keeper takes the VM down.
 */
#include "vsock-device/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vsock-device/device_memory.h"
#include "vsock-device/host_socket.h"

/* epoll_event.data.u64 of what is no client (HOST_SOCKET_LISTENER is the listening socket). */
#define DATA_VHOST 1ull
#define DATA_KICK 2ull

#define RING_RX 0
#define RING_TX 1
#define NS_PER_MS 1000000

/*
 * @chain:       the one in work; the rings never have one each at a time
 * @has_run:     connections may be known to a guest's driver
 * @is_busy:     a ring has more than one turn's work
 * @has_left:    the VMM closed its end
 */
struct device {
    int epoll_fd, vhost_fd, listen_fd;
    struct vhost_user vhost;
    struct device_memory memory;
    struct vring rings[VHOST_USER_RING_CNT];
    struct vsock_core *core;
    struct host_socket_table sockets;
    struct vring_chain chain;
    bool has_run, is_busy, has_left;
};

/* ---- rings ---- */

static int watch(const struct device *d, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event e = {.events = events, .data.u64 = data};
    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void unwatch(const struct device *d, int fd)
{
    struct epoll_event unused = {0};
    (void)epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, &unused); /* it was added */
}

/* A descriptor that blocks would stop the loop. */
static int unblock(int fd, struct adit_err *err)
{
    int flags = fd < 0 ? O_NONBLOCK : fcntl(fd, F_GETFL);
    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
        return adit_err_sys(err, errno, "interrupts that do not block");
    return 0;
}

static void interrupt(struct device *d, unsigned i)
{
    const uint64_t one = 1;
    if (vring_should_notify(&d->rings[i]) && d->vhost.rings[i].call_fd >= 0)
        (void)!write(d->vhost.rings[i].call_fd, &one, sizeof(one)); /* full: it was told often */
}

/*
 * Return: 1: d->chain is the next one; 0: there is none, and a kick will come when there is;
 * < 0: the guest broke the ring.
 */
static int next_chain(struct device *d, unsigned ring, struct adit_err *err)
{
    struct vring *r = &d->rings[ring];
    int rc = vring_pop(r, &d->chain, err);
    if (rc == 0 && vring_await(r))
        rc = vring_pop(r, &d->chain, err);
    return rc;
}

static int serve_transmit(struct device *d, struct adit_err *err)
{
    struct vring *r = &d->rings[RING_TX];
    int rc = 0;
    vring_suppress_kicks(r);
    for (int i = 0; i < DEVICE_BATCH; i++) {
        struct vsock_payload payload;
        rc = next_chain(d, RING_TX, err);
        if (rc <= 0)
            return rc;
        rc = vsock_core_feed(d->core, d->chain.iov, d->chain.cnt, &payload, err);
        if (rc)
            return rc;
        if (payload.len > 0)
            host_socket_give(&d->sockets, &payload);
        vring_push(r, &d->chain, 0);
        host_socket_step(&d->sockets);
    }
    d->is_busy = true;
    return 0;
}

/* Fill the chain. Return: bytes of it to push, 0: there is nothing to send; < 0: device's end. */
static int64_t fill_chain(struct device *d, struct adit_err *err)
{
    struct vsock_send s;
    for (;;) {
        int rc = vsock_core_next(d->core, d->chain.iov, d->chain.cnt, &s, err);
        if (rc)
            return rc;
        if (s.kind == VSOCK_SEND_NOTHING)
            return 0;
        if (s.kind == VSOCK_SEND_PACKET)
            return VSOCK_PACKET_HEADER_LEN;
        size_t n = host_socket_take(&d->sockets, &s);
        if (n > 0)
            return vsock_core_sent(d->core, &s, n);
    }
}

static int serve_receive(struct device *d, struct adit_err *err)
{
    struct vring *r = &d->rings[RING_RX];
    vring_suppress_kicks(r);
    for (int i = 0; i < DEVICE_BATCH; i++) {
        if (!vsock_core_has_output(d->core))
            return 0;
        int rc = next_chain(d, RING_RX, err);
        if (rc <= 0)
            return rc;
        int64_t len = fill_chain(d, err);
        if (len <= 0) {
            vring_unpop(r);
            return (int)len;
        }
        vring_push(r, &d->chain, (uint32_t)len);
    }
    d->is_busy = true;
    return 0;
}

static bool is_live(const struct device *d)
{
    return vring_is_enabled(&d->rings[RING_RX]) && vring_is_enabled(&d->rings[RING_TX]);
}

static int serve_rings(struct device *d, struct adit_err *err)
{
    d->is_busy = false;
    int rc = is_live(d) ? serve_transmit(d, err) : 0;
    if (rc == 0 && is_live(d))
        rc = serve_receive(d, err);
    host_socket_step(&d->sockets);
    for (unsigned i = 0; i < VHOST_USER_RING_CNT; i++)
        if (vring_is_enabled(&d->rings[i]))
            interrupt(d, i);
    return rc;
}

/* ---- the front end ---- */

static int run_ring(struct device *d, unsigned i, struct adit_err *err)
{
    const struct vhost_user_ring *from = &d->vhost.rings[i];
    const struct vring_setup setup = {
        .size = from->size,
        .base = from->base,
        .desc = from->desc,
        .avail = from->avail,
        .used = from->used,
        .features = d->vhost.features,
        .direction = i == RING_RX ? VRING_TO_GUEST : VRING_FROM_GUEST,
    };
    int rc = vring_enable(&d->rings[i], &d->memory.guest, &setup, err);
    if (rc == 0 && watch(d, from->kick_fd, EPOLLIN | EPOLLET, DATA_KICK))
        rc = adit_err_sys(err, errno, "listen to a ring");
    if (rc || !is_live(d))
        return rc;
    if (d->has_run && !vhost_user_is_resumed(&d->vhost))
        vsock_core_reset(d->core);
    adit_log(ADIT_LOG_INFO, "driver_running", LOG_U("rx_base", d->vhost.rings[RING_RX].base),
             LOG_U("tx_base", d->vhost.rings[RING_TX].base));
    d->has_run = true;
    return 0;
}

static void halt_ring(struct device *d, unsigned i)
{
    struct vhost_user_ring *r = &d->vhost.rings[i];
    unwatch(d, r->kick_fd);
    r->base = vring_disable(&d->rings[i]);
    adit_log(ADIT_LOG_DEBUG, "ring_halted", LOG_U("ring", i), LOG_U("base", r->base));
}

static int apply(struct device *d, struct adit_err *err)
{
    const struct vhost_user *v = &d->vhost;
    switch (v->event) {
    case VHOST_USER_MEMORY:
        return device_memory_set(&d->memory, v, d->rings, err);
    case VHOST_USER_LOG:
        return device_memory_set_log(&d->memory, v, err);
    case VHOST_USER_RUN:
        return run_ring(d, v->ring, err);
    case VHOST_USER_HALT:
        halt_ring(d, v->ring);
        return 0;
    case VHOST_USER_CALL:
        return unblock(v->rings[v->ring].call_fd, err);
    case VHOST_USER_NOTHING:
        break;
    }
    return 0;
}

static int finish_message(struct device *d, struct adit_err *err)
{
    uint8_t reply[VHOST_USER_MESSAGE_MAX];
    int rc = apply(d, err);
    if (rc)
        return rc;
    size_t len = vhost_user_finish(&d->vhost, reply);
    if (len > 0 && send(d->vhost_fd, reply, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        return adit_err_sys(err, errno, "answer the VMM");
    return 0;
}

/* Return: how many descriptors came with the message, in @fds. */
static size_t received_fds(struct msghdr *m, int fds[VHOST_USER_REGION_MAX])
{
    size_t cnt = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); /* the room is for no more */
        memcpy(fds, CMSG_DATA(c), cnt * sizeof(int));
    }
    return cnt;
}

/* One piece of a message. *is_more: there may be another one. */
static int on_piece(struct device *d, bool *is_more, struct adit_err *err)
{
    uint8_t bytes[VHOST_USER_MESSAGE_MAX];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(VHOST_USER_REGION_MAX * sizeof(int))];
    } control;
    struct iovec iov = {bytes, vhost_user_wanted(&d->vhost)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    int fds[VHOST_USER_REGION_MAX];
    bool done;
    ssize_t n = recvmsg(d->vhost_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *is_more = n > 0;
    d->has_left = n == 0 || (n < 0 && errno == ECONNRESET);
    if (d->has_left || (n < 0 && errno == EAGAIN))
        return 0;
    if (n < 0)
        return adit_err_sys(err, errno, "read from the VMM");
    int rc = vhost_user_feed(&d->vhost, bytes, (size_t)n, fds, received_fds(&m, fds), &done, err);
    if (rc == 0 && (m.msg_flags & MSG_CTRUNC))
        rc = adit_err_set(err, ADIT_ERR_PROTOCOL, "vhost-user: more descriptors than are taken");
    return rc == 0 && done ? finish_message(d, err) : rc;
}

/* Messages are few, and each waits for its answer or is followed by one that does. */
static int on_front_end(struct device *d, struct adit_err *err)
{
    bool is_more = true;
    int rc = 0;
    while (rc == 0 && is_more)
        rc = on_piece(d, &is_more, err);
    return rc;
}

/* ---- the loop ---- */

static int shorter(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

static int wait_ms(const struct device *d)
{
    if (d->is_busy || d->sockets.is_accept_due)
        return 0;
    return shorter(vsock_core_wait_ms(d->core), host_socket_wait_ms(&d->sockets));
}

static void tick(struct device *d)
{
    uint64_t now_ms = adit_clock_mono_ns() / NS_PER_MS;
    vsock_core_tick(d->core, now_ms);
    host_socket_tick(&d->sockets, now_ms);
}

static int on_event(struct device *d, const struct epoll_event *e, struct adit_err *err)
{
    switch (e->data.u64) {
    case DATA_VHOST:
        return on_front_end(d, err);
    case DATA_KICK:
        return 0; /* the rings are looked at in every turn */
    default:
        host_socket_on_event(&d->sockets, e->data.u64, e->events);
        return 0;
    }
}

static int turn(struct device *d, struct adit_err *err)
{
    struct epoll_event events[DEVICE_EVENTS];
    int cnt = epoll_wait(d->epoll_fd, events, DEVICE_EVENTS, wait_ms(d)), rc = 0;
    if (cnt < 0)
        return errno == EINTR ? 0 : adit_err_sys(err, errno, "wait for events");
    tick(d);
    for (int i = 0; rc == 0 && i < cnt; i++)
        rc = on_event(d, &events[i], err);
    if (rc)
        return rc;
    host_socket_accept(&d->sockets);
    return serve_rings(d, err);
}

int device_run(struct device *d, struct adit_err *err)
{
    int rc = 0;
    tick(d);
    while (rc == 0 && !d->has_left)
        rc = turn(d, err);
    return rc;
}

/* ---- life ---- */

static int open_all(struct device *d, uint64_t guest_cid, uint32_t seed, struct adit_err *err)
{
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (d->epoll_fd < 0 || watch(d, d->vhost_fd, EPOLLIN, DATA_VHOST))
        return adit_err_sys(err, errno, "make the loop");
    int rc = vsock_core_new(guest_cid, seed, &d->core, err);
    return rc ? rc : host_socket_init(&d->sockets, d->core, d->epoll_fd, d->listen_fd, err);
}

int device_new(int vhost_fd, int listen_fd, uint64_t guest_cid, uint32_t seed, struct device **out,
               struct adit_err *err)
{
    struct device *d = calloc(1, sizeof(*d));
    if (!d) {
        (void)close(vhost_fd); /* nothing was said on either */
        (void)close(listen_fd);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the device");
    }
    d->epoll_fd = -1;
    d->vhost_fd = vhost_fd;
    d->listen_fd = listen_fd;
    vhost_user_init(&d->vhost, guest_cid);
    int rc = open_all(d, guest_cid, seed, err);
    if (rc)
        device_free(d);
    else
        *out = d;
    return rc;
}

void device_free(struct device *d)
{
    if (!d)
        return;
    if (d->sockets.core)
        host_socket_fini(&d->sockets);
    vsock_core_free(d->core);
    vhost_user_fini(&d->vhost);
    device_memory_fini(&d->memory);
    (void)close(d->vhost_fd); /* all was said on them */
    (void)close(d->listen_fd);
    if (d->epoll_fd >= 0)
        (void)close(d->epoll_fd);
    free(d);
}
