/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between loops: a mailbox is a locked list and a uv_async that wakes its owner.
 *
 * Posting is allowed from any thread; reading only on the owner's. Messages of one sender arrive in
 * order. A message is heap memory whose owner is the mailbox until it is delivered.
 */
#ifndef BROKER_EDGE_EDGE_MAIL_H
#define BROKER_EDGE_EDGE_MAIL_H

#include <pthread.h>
#include <uv.h>

#include "base/list.h"

/* First member of every message; @deliver runs on the receiver's thread and owns the message. */
struct edge_mail {
    struct adit_list node;
    void (*deliver)(struct edge_mail *m, void *receiver);
};

struct edge_mailbox {
    pthread_mutex_t lock;
    struct adit_list queue;   /* under the lock */
    struct adit_list reading; /* taken out, not delivered yet; the owner's alone */
    bool is_closed;           /* under the lock */
    uv_async_t wake;
    void *receiver;
};

/* On the receiver's loop, before its thread runs. Return: a libuv error or 0. */
int edge_mailbox_init(struct edge_mailbox *b, uv_loop_t *loop, void *receiver);
/* Return: false when the mailbox is closed; the message stays the caller's then. */
bool edge_mailbox_post(struct edge_mailbox *b, struct edge_mail *take_m);
/* Deliver what is there now. Also called by the wake-up. May be called while a message is
 * delivered: older messages still go first. */
void edge_mailbox_read(struct edge_mailbox *b);
/* Take no more mail, deliver what is there, and start closing the wake handle. */
void edge_mailbox_close(struct edge_mailbox *b, uv_close_cb on_closed);

#endif
