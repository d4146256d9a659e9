/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the launcher and their answers, without waiting.
 *
 * Theory of operation
 *
 * What:    a request is queued, sent when the socket takes it, and answered by id in any order.
 * States:  OPEN ──socket closed──> LOST ──close──> CLOSING ──handles closed──> freed
 *            └───────────────close──────────────────────┘
 * Restart: a new launcher says hello (id 0). What was sent to its predecessor and not answered has
 *          failed; a late answer to such a request finds nobody and its descriptor is closed.
 * Requests that were not sent yet go to the new one. Ownership: pending requests are owned by the
 * list; the client by who opened it. on_reply callbacks may send and close. Limits:
 * LAUNCHER_CLIENT_PENDING_MAX requests; one timer, running while something is pending.
 */
#include "broker/launcher/launcher_client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"

#define TICK_MS 1000
/* Answers taken in one turn of the loop. */
#define BUDGET 64

enum client_state { CLIENT_OPEN, CLIENT_LOST, CLIENT_CLOSING };

struct pending {
    struct adit_list node;
    bool is_sent;
    uint64_t due_ms;
    launcher_reply_fn done;
    void *user;
    struct launch_request request;
};

struct launcher_client {
    enum client_state state;
    unsigned open_handles;
    int fd;
    uv_poll_t poll;
    uv_timer_t tick;
    uint64_t next_id;
    size_t pending_cnt;
    struct adit_list pending;
    pid_t launcher_pid;
    uint64_t answered, failed;
    struct launcher_client_ops ops;
    void *owner; /* borrowed */
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void answer(struct launcher_client *c, struct pending *p, const struct launch_reply *reply,
                   int take_pidfd, const struct adit_err *err)
{
    launcher_reply_fn done = p->done;
    void *user = p->user;
    adit_list_remove(&p->node);
    c->pending_cnt--;
    c->answered += err == NULL;
    c->failed += err != NULL;
    free(p);
    done(user, reply, take_pidfd, err);
}

/* Callbacks may queue new requests: those are not failed. */
static void fail_pending(struct launcher_client *c, bool only_sent, int code, const char *why)
{
    struct adit_list failed, *it, *tmp;
    struct adit_err err;

    (void)adit_err_set(&err, code, "%s", why);
    adit_list_init(&failed);
    ADIT_LIST_EACH(it, tmp, &c->pending)
    {
        struct pending *p = ADIT_CONTAINER_OF(it, struct pending, node);
        if (only_sent && !p->is_sent)
            continue;
        adit_list_remove(it);
        adit_list_push(&failed, it);
    }
    while ((it = adit_list_first(&failed)) != NULL)
        answer(c, ADIT_CONTAINER_OF(it, struct pending, node), NULL, -1, &err);
}

/* Watch for answers, and for room while something waits to be sent. */
static void watch(struct launcher_client *c)
{
    struct adit_list *it, *tmp;
    int events = UV_READABLE;
    if (c->state != CLIENT_OPEN)
        return;
    ADIT_LIST_EACH(it, tmp, &c->pending)
    if (!ADIT_CONTAINER_OF(it, struct pending, node)->is_sent)
        events = UV_READABLE | UV_WRITABLE;
    (void)uv_poll_start(&c->poll, events, on_poll); /* fails only for a closing handle */
}

static void lose(struct launcher_client *c)
{
    if (c->state != CLIENT_OPEN)
        return;
    c->state = CLIENT_LOST;
    (void)uv_poll_stop(&c->poll); /* always 0 */
    adit_log(ADIT_LOG_ERROR, "launcher_lost");
    fail_pending(c, false, ADIT_ERR_UNAVAILABLE, "the launcher is gone");
    c->ops.on_lost(c->owner);
}

static void send_waiting(struct launcher_client *c)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &c->pending)
    {
        struct pending *p = ADIT_CONTAINER_OF(it, struct pending, node);
        if (p->is_sent)
            continue;
        if (send(c->fd, &p->request, sizeof(p->request), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return; /* no room: on_poll comes again; peer gone: reading will say so */
        p->is_sent = true;
    }
}

static void on_reply(struct launcher_client *c, const struct launch_reply *reply, int take_pidfd)
{
    struct adit_list *it, *tmp;
    struct adit_err err = ADIT_ERR_INIT;

    if (reply->id == 0) {
        bool is_restart = c->launcher_pid != 0;
        c->launcher_pid = reply->pid;
        if (!is_restart)
            return;
        adit_log(ADIT_LOG_WARN, "launcher_restarted", LOG_D("pid", reply->pid));
        fail_pending(c, true, ADIT_ERR_UNAVAILABLE, "the launcher died");
        if (c->ops.on_restart && c->state == CLIENT_OPEN)
            c->ops.on_restart(c->owner);
        return;
    }
    ADIT_LIST_EACH(it, tmp, &c->pending)
    {
        struct pending *p = ADIT_CONTAINER_OF(it, struct pending, node);
        if (p->request.id != reply->id)
            continue;
        if (reply->code) {
            (void)adit_err_set(&err, reply->code, "%s", reply->text);
            err.sys_errno = reply->sys_errno;
        }
        answer(c, p, reply, take_pidfd, reply->code ? &err : NULL);
        return;
    }
    if (take_pidfd >= 0)
        (void)close(take_pidfd); /* a late answer */
}

/* One datagram with at most one descriptor. Return: false when there is no more for now. */
static bool read_one(struct launcher_client *c)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char datagram[sizeof(struct launch_reply)];
    struct iovec part = {datagram, sizeof(datagram)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct launch_reply reply;
    struct adit_err err;
    int fd = -1;

    ssize_t n = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == ENOTCONN)))
        lose(c);
    if (n <= 0)
        return false; /* lost, or nothing yet, or out of memory: what is there stays there */
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    if (launch_msg_parse_reply(adit_view_mem(datagram, (size_t)n), &reply, &err)) {
        adit_log(ADIT_LOG_ERROR, "launcher_reply", LOG_ERR(&err));
        if (fd >= 0)
            (void)close(fd); /* nobody's */
        return true;
    }
    on_reply(c, &reply, fd);
    return c->state == CLIENT_OPEN;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct launcher_client *c = handle->data;
    if (status < 0)
        lose(c);
    for (int i = 0; c->state == CLIENT_OPEN && (events & UV_READABLE) && i < BUDGET; i++)
        if (!read_one(c))
            break;
    if (c->state == CLIENT_OPEN)
        send_waiting(c);
    watch(c);
}

static void on_tick(uv_timer_t *handle)
{
    struct launcher_client *c = handle->data;
    struct adit_err err;
    struct adit_list *it = adit_list_first(&c->pending);

    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the launcher does not answer");
    /* The oldest is first, and all have the same time. */
    while (it && ADIT_CONTAINER_OF(it, struct pending, node)->due_ms <= uv_now(handle->loop)) {
        answer(c, ADIT_CONTAINER_OF(it, struct pending, node), NULL, -1, &err);
        it = c->state == CLIENT_CLOSING ? NULL : adit_list_first(&c->pending);
    }
    if (c->state != CLIENT_CLOSING && c->pending_cnt == 0)
        (void)uv_timer_stop(&c->tick); /* always 0 */
}

int launcher_client_open(uv_loop_t *loop, int take_fd, const struct launcher_client_ops *ops,
                         void *owner, struct launcher_client **out, struct adit_err *err)
{
    struct launcher_client *c = calloc(1, sizeof(*c));
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the launcher's client");
    adit_list_init(&c->pending);
    c->ops = *ops;
    c->owner = owner;
    c->next_id = 1;
    int rc = uv_poll_init(loop, &c->poll, take_fd);
    if (rc) {
        free(c);
        return adit_err_sys(err, -rc, "watch the launcher's socket");
    }
    c->fd = take_fd;
    (void)uv_timer_init(loop, &c->tick); /* always 0 */
    c->poll.data = c->tick.data = c;
    c->open_handles = 2;
    watch(c);
    *out = c;
    return 0;
}

int launcher_client_send(struct launcher_client *c, const struct launch_request *request,
                         launcher_reply_fn done, void *user, struct adit_err *err)
{
    if (c->state != CLIENT_OPEN)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "the launcher is gone");
    if (c->pending_cnt == LAUNCHER_CLIENT_PENDING_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many requests wait for the launcher");
    struct pending *p = calloc(1, sizeof(*p));
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a request");
    p->request = *request;
    p->request.magic = LAUNCH_MAGIC;
    p->request.id = c->next_id++;
    p->done = done;
    p->user = user;
    p->due_ms = uv_now(c->poll.loop) + LAUNCHER_CLIENT_TIMEOUT_MS;
    adit_list_push(&c->pending, &p->node);
    c->pending_cnt++;
    if (!uv_is_active((uv_handle_t *)&c->tick))
        (void)uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS); /* fails only when closing */
    send_waiting(c);
    watch(c);
    return 0;
}

struct launcher_client_stats launcher_client_stats(const struct launcher_client *c)
{
    return (struct launcher_client_stats){c->answered, c->failed, c->pending_cnt};
}

pid_t launcher_client_pid(const struct launcher_client *c)
{
    return c->launcher_pid;
}

static void on_closed(uv_handle_t *handle)
{
    struct launcher_client *c = handle->data;
    if (--c->open_handles)
        return;
    (void)close(c->fd); /* tells the launcher to end */
    free(c);
}

void launcher_client_close(struct launcher_client *c)
{
    if (c->state == CLIENT_CLOSING)
        return;
    c->state = CLIENT_CLOSING;
    fail_pending(c, false, ADIT_ERR_CANCELED, "the broker ends");
    uv_close((uv_handle_t *)&c->poll, on_closed);
    uv_close((uv_handle_t *)&c->tick, on_closed);
}
