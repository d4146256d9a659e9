/* SPDX-License-Identifier: Apache-2.0 */
/* Names for sandboxes: until a resolver is there, every name fails. */
#include "broker/egress/egress_resolver.h"

#include <stdlib.h>

struct egress_resolver {
    struct net_loop *loop;
};

struct egress_query {
    egress_resolved_fn done;
    void *owner;
    struct net_task task;
};

int egress_resolver_new(const char *servers, struct egress_resolver **out, struct adit_err *err)
{
    (void)servers;
    *out = calloc(1, sizeof **out);
    return *out ? ADIT_OK : adit_err_set(err, ADIT_ERR_NO_MEMORY, "resolver");
}

void egress_resolver_start(struct egress_resolver *r, struct net_loop *l)
{
    r->loop = l;
}

void egress_resolver_close(struct egress_resolver *r)
{
    free(r);
}

static void on_task(struct net_task *t)
{
    struct egress_query q = *ADIT_CONTAINER_OF(t, struct egress_query, task);
    struct egress_resolved failed = {.rcode = EGRESS_RCODE_FAILED};
    free(ADIT_CONTAINER_OF(t, struct egress_query, task));
    q.done(q.owner, &failed);
}

int egress_resolver_lookup(struct egress_resolver *r, const char *name, unsigned type,
                           egress_resolved_fn done, void *owner, struct egress_query **out)
{
    (void)name;
    (void)type;
    struct egress_query *q = calloc(1, sizeof *q);
    if (!q)
        return ADIT_ERR_NO_MEMORY;
    q->done = done;
    q->owner = owner;
    net_task_init(&q->task, r->loop, on_task);
    net_task_post(&q->task);
    *out = q;
    return ADIT_OK;
}

void egress_resolver_cancel(struct egress_query *q)
{
    net_task_cancel(&q->task);
    free(q);
}

bool egress_resolver_host_has_ipv6(void)
{
    return false;
}
