/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between loops.
 *
 * Theory of operation
 *
 * The lock is held for a list operation and the wake-up only, never while a message is delivered. A
 * read takes the whole queue at once, so a message posted during delivery waits for the next
 * wake-up and one reader cannot be kept busy for ever by two loops that answer each other.
 */
#include "broker/edge/edge_mail.h"

static void on_wake(uv_async_t *wake)
{
    edge_mailbox_read(wake->data);
}

int edge_mailbox_init(struct edge_mailbox *b, uv_loop_t *loop, void *receiver)
{
    pthread_mutex_init(&b->lock, NULL);
    adit_list_init(&b->queue);
    adit_list_init(&b->reading);
    b->receiver = receiver;
    b->is_closed = false;
    b->wake.data = b;
    return uv_async_init(loop, &b->wake, on_wake);
}

bool edge_mailbox_post(struct edge_mailbox *b, struct edge_mail *take_m)
{
    pthread_mutex_lock(&b->lock);
    bool is_open = !b->is_closed;
    if (is_open) {
        adit_list_push(&b->queue, &take_m->node);
        /* Inside the lock: once closed, the handle must not be touched. */
        uv_async_send(&b->wake);
    }
    pthread_mutex_unlock(&b->lock);
    return is_open;
}

static void take_queue(struct edge_mailbox *b)
{
    struct adit_list *it;

    pthread_mutex_lock(&b->lock);
    while ((it = adit_list_first(&b->queue)) != NULL) {
        adit_list_remove(it);
        adit_list_push(&b->reading, it);
    }
    pthread_mutex_unlock(&b->lock);
}

void edge_mailbox_read(struct edge_mailbox *b)
{
    struct adit_list *it;

    take_queue(b);
    while ((it = adit_list_first(&b->reading)) != NULL) {
        struct edge_mail *m = ADIT_CONTAINER_OF(it, struct edge_mail, node);

        adit_list_remove(it);
        m->deliver(m, b->receiver);
    }
}

void edge_mailbox_close(struct edge_mailbox *b, uv_close_cb on_closed)
{
    pthread_mutex_lock(&b->lock);
    b->is_closed = true;
    pthread_mutex_unlock(&b->lock);
    edge_mailbox_read(b);
    uv_close((uv_handle_t *)&b->wake, on_closed);
}
