/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of its own scheduler's keeper.
 *
 * Theory of operation
 *
 * What: a socket that is watched for its end. To close is to shut it down for writing and to wait
 * for the keeper, which ends when the scheduler has ended; so a broker that has stopped leaves
 * neither behind. Failure: an end that was not asked for is told (on_lost).
 */
#include "broker/scheduler_child.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/scheduler_keeper.h"

struct scheduler_child {
    uv_poll_t poll;
    int fd;
    bool is_closing;
    void (*on_lost)(void *owner);
    void *owner; /* borrowed */
};

static void on_closed(uv_handle_t *h)
{
    struct scheduler_child *c = h->data;
    (void)close(c->fd); /* the keeper has ended */
    free(c);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    struct scheduler_child *c = poll->data;
    char none;
    (void)status;
    (void)events; /* one kind only */
    if (recv(c->fd, &none, 1, MSG_DONTWAIT) < 0 && errno != ECONNRESET)
        return;
    (void)uv_poll_stop(poll); /* always 0 */
    if (c->is_closing) {
        uv_close((uv_handle_t *)poll, on_closed);
        return;
    }
    adit_log(ADIT_LOG_ERROR, "scheduler_keeper_lost");
    c->on_lost(c->owner);
}

int scheduler_child_new(uv_loop_t *uv, int take_fd, void (*on_lost)(void *owner), void *owner,
                        struct scheduler_child **out, struct adit_err *err)
{
    struct scheduler_child *c = calloc(1, sizeof(*c));
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    c->fd = take_fd;
    c->on_lost = on_lost;
    c->owner = owner;
    int rc = uv_poll_init(uv, &c->poll, take_fd);
    if (rc) {
        free(c);
        return adit_err_sys(err, -rc, "watch the scheduler's keeper");
    }
    c->poll.data = c;
    (void)uv_poll_start(&c->poll, UV_READABLE, on_end); /* an open descriptor: cannot fail */
    *out = c;
    return 0;
}

void scheduler_child_kick(struct scheduler_child *c)
{
    static const char letter = SCHEDULER_KEEPER_KICK;
    (void)send(c->fd, &letter, 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* asked again if it stays silent */
}

void scheduler_child_close(struct scheduler_child *c)
{
    c->is_closing = true;
    (void)shutdown(c->fd, SHUT_WR);                     /* refused only when it has ended */
    (void)uv_poll_start(&c->poll, UV_READABLE, on_end); /* again, where its end was told */
}
