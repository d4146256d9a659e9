/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all network objects of one event loop share: the read buffer and the deadlines.
 *
 * Theory of operation
 *
 * One net_loop belongs to one uv_loop_t and one thread; nothing in it is shared between threads.
 * Reads of all streams go into one scratch buffer, so an idle connection holds no buffer.
 *
 * Deadlines are coarse on purpose (NET_DEADLINE_TICK_MS): a connection re-arms its timer with every
 * request, so arming must be O(1) and free of system calls. Deadlines are kept in a hashed timer
 * wheel driven by one uv_timer that runs only while a deadline is armed.
 *
 * Tasks run once at the next turn of the loop, before it waits: for what must not happen inside the
 * caller's own call (callbacks, the next pipelined request) and for what may be merged with more.
 */
#ifndef ADIT_NET_NET_LOOP_H
#define ADIT_NET_NET_LOOP_H

#include <uv.h>

#include "base/list.h"
#include "base/view.h"

#define NET_SCRATCH_CAP (64u * 1024)
#define NET_DEADLINE_TICK_MS 50
#define NET_DEADLINE_SLOTS 1024

struct net_loop {
    uv_loop_t *uv; /* borrowed */
    uv_timer_t tick;
    uint64_t current_tick;
    size_t armed_cnt;
    struct adit_list slots[NET_DEADLINE_SLOTS];
    uv_idle_t turn;
    struct adit_list tasks;
    bool is_closing;
    int pipe_fds[2]; /* of splice.c; -1: none */
    char scratch[NET_SCRATCH_CAP];
};

ADIT_MUST_CHECK int net_loop_init(struct net_loop *l, uv_loop_t *uv, struct adit_err *err);
/*
 * Starts closing its handles; the loop must run until they are closed. Deadlines still armed become
 * due at once, inside this call: that ends streams that linger after net_stream_close_gracefully().
 */
void net_loop_close(struct net_loop *l);

/* Embedded in its owner. */
struct net_deadline {
    struct adit_list node;
    struct net_loop *loop;
    uint64_t due_tick;
    void (*on_due)(struct net_deadline *d);
};

void net_deadline_init(struct net_deadline *d, struct net_loop *l,
                       void (*on_due)(struct net_deadline *));
/* (Re-)arm to fire @ms from now, at the earliest one tick later. */
void net_deadline_arm(struct net_deadline *d, uint64_t ms);
void net_deadline_cancel(struct net_deadline *d);
static inline bool net_deadline_is_armed(const struct net_deadline *d)
{
    return !adit_list_empty(&d->node);
}

/* Embedded in its owner. */
struct net_task {
    struct adit_list node;
    struct net_loop *loop;
    void (*run)(struct net_task *t);
};

void net_task_init(struct net_task *t, struct net_loop *l, void (*run)(struct net_task *));
/* Run once at the next turn; posting a posted task changes nothing. */
void net_task_post(struct net_task *t);
void net_task_cancel(struct net_task *t);

#endif
