/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API requests whose bodies go between client and sandbox: handed over to their relay loop.
 *
 * Theory of operation
 *
 *   asked (control) → handed over (loop) → begun (loop) → ended (loop) → over (control) → freed
 *
 * What: the control loop has decided who may do what; from then on the exchange and a pool to the
 * sandbox belong to the transfer's own code, on the relay loop that the client is connected to. One
 * message goes there and back, the request itself, so nothing can fail for want of memory.
 *
 * Limits: a transfer counts as one of the sandbox's requests (channels_per_sandbox).
 */
#include "broker/edge/edge_api_int.h"

#include <stdio.h>

static void deliver_over(struct edge_mail *m, void *receiver)
{
    struct edge_api_request *r = ADIT_CONTAINER_OF(m, struct edge_api_request, mail);
    struct edge *e = receiver;
    const struct edge_transfer_ops *ops = r->transfer;
    void *user = r->transfer_user;

    edge_api_free(r);
    ops->over(user);
    edge_api_over(e);
}

void edge_transfer_end(struct edge_api_request *r, unsigned status)
{
    struct edge_loop *l = r->loop;

    edge_stats_count(&l->stats, EDGE_STATS_API, status, uv_hrtime() - r->began_ns);
    if (r->usage != NULL) {
        atomic_fetch_sub(&r->usage->active, 1);
        edge_usage_unref(r->usage);
    }
    l->api_bytes -= r->held;
    r->held = 0;
    r->mail.deliver = deliver_over;
    (void)edge_mailbox_post(&l->edge->inbox, &r->mail); /* open until every loop has ended */
}

static void use(struct edge_api_request *r, struct edge_usage *usage)
{
    r->usage = usage;
    atomic_fetch_add(&usage->refs, 1);
    atomic_fetch_add(&usage->active, 1);
}

static int find_pool(struct edge_api_request *r, struct http_pool **pool, struct adit_err *err)
{
    struct edge_loop *l = r->loop;
    struct edge_entry *entry = edge_loop_find(l, adit_view_str(r->sandbox_id));

    if (entry == NULL)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "the sandbox has ended");
    if (atomic_load(&entry->usage->active) >= l->edge->conf.channels_per_sandbox)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many requests to this sandbox");
    int rc = edge_loop_pool(l, entry, r->port, pool, err);
    if (rc == 0)
        use(r, entry->usage);
    return rc;
}

static void deliver_hand_over(struct edge_mail *m, void *receiver)
{
    struct edge_api_request *r = ADIT_CONTAINER_OF(m, struct edge_api_request, mail);
    struct adit_err err = ADIT_ERR_INIT;
    struct http_pool *pool = NULL;
    struct http_exchange *x = r->x;

    (void)receiver;
    if (x == NULL) {
        edge_transfer_end(r, 0);
        return;
    }
    edge_request_id_show(x, r->id);
    if (r->has_origin)
        edge_api_set_cors(x);
    int rc = find_pool(r, &pool, &err);
    http_exchange_set_ops(x, NULL, NULL);
    r->transfer->begin(r->transfer_user, r, x, pool, rc ? &err : NULL);
}

void edge_api_hand_over(struct edge_api_request *r, const char *sandbox_id, uint16_t port,
                        const struct edge_transfer_ops *ops, void *user)
{
    snprintf(r->sandbox_id, sizeof(r->sandbox_id), "%s", sandbox_id); /* ids fit */
    r->port = port;
    r->transfer = ops;
    r->transfer_user = user;
    r->mail.deliver = deliver_hand_over;
    if (edge_mailbox_post(&r->loop->inbox, &r->mail))
        return;
    r->mail.deliver = deliver_over; /* its loop has ended, and its client with it */
    (void)edge_mailbox_post(&r->loop->edge->inbox, &r->mail); /* ours, open */
}
