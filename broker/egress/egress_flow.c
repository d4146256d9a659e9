/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one sandbox moves.
 *
 * Theory of operation
 *
 * What: a token bucket of bytes, which may be overdrawn by what was read at once: then whoever has
 * read waits in a line until it is even again. From there as many go on as there are bytes for,
 * the first of the line first, so that one busy connection does not starve the others; nothing is
 * ever dropped, since a stream that is not read holds its sender back. Ownership: who waits is
 * embedded in its connection. Limits: of the header; the line has two places a connection at most.
 */
#include "broker/egress/egress_flow.h"

#include "base/clock.h"

#define MS_PER_S 1000u
#define US_PER_S 1000000u
#define NS_PER_US 1000u

static int64_t burst(const struct egress_flow *f)
{
    return (int64_t)(f->per_s * EGRESS_FLOW_BURST_MS / MS_PER_S) + 1;
}

/* What is less than a byte's time is credited the next time. */
static void refill(struct egress_flow *f)
{
    uint64_t elapsed_us = (adit_clock_mono_ns() - f->last_ns) / NS_PER_US;
    f->last_ns += elapsed_us * NS_PER_US;
    if (elapsed_us > US_PER_S) /* a line is never that long without being looked at */
        elapsed_us = US_PER_S;
    f->tokens += (int64_t)(f->per_s * elapsed_us / US_PER_S);
    if (f->tokens > burst(f))
        f->tokens = burst(f);
}

static void arm(struct egress_flow *f)
{
    uint64_t missing = f->tokens < 0 ? (uint64_t)-f->tokens : 0;
    if (!adit_list_empty(&f->waiting) && !net_deadline_is_armed(&f->deadline))
        net_deadline_arm(&f->deadline, missing * MS_PER_S / f->per_s);
}

static void on_due(struct net_deadline *d)
{
    struct egress_flow *f = ADIT_CONTAINER_OF(d, struct egress_flow, deadline);
    struct adit_list *it;
    refill(f);
    int64_t left = f->tokens;
    while (left > 0 && (it = adit_list_first(&f->waiting))) {
        struct egress_flow_wait *w = ADIT_CONTAINER_OF(it, struct egress_flow_wait, node);
        left -= NET_SCRATCH_CAP;
        adit_list_remove(&w->node);
        w->go(w);
    }
    arm(f);
}

bool egress_flow_count(struct egress_flow *f, enum egress_direction direction, size_t len)
{
    egress_count_bytes(f->counters, direction, len);
    atomic_fetch_add_explicit(&f->traffic->bytes[direction], len, memory_order_relaxed);
    if (f->per_s == 0)
        return true;
    refill(f);
    f->tokens -= (int64_t)len;
    return f->tokens > 0;
}

void egress_flow_wait_init(struct egress_flow_wait *w, void (*go)(struct egress_flow_wait *w))
{
    adit_list_init(&w->node);
    w->go = go;
}

void egress_flow_wait(struct egress_flow *f, struct egress_flow_wait *w)
{
    if (adit_list_empty(&w->node))
        adit_list_push(&f->waiting, &w->node);
    arm(f);
}

void egress_flow_wait_cancel(struct egress_flow_wait *w)
{
    adit_list_remove(&w->node);
}

void egress_flow_init(struct egress_flow *f, struct net_loop *l, uint64_t per_s,
                      struct egress_counters *counters, struct egress_traffic *traffic)
{
    f->counters = counters;
    f->traffic = traffic;
    f->per_s = per_s;
    f->last_ns = adit_clock_mono_ns();
    f->tokens = burst(f);
    adit_list_init(&f->waiting);
    net_deadline_init(&f->deadline, l, on_due);
}

void egress_flow_fini(struct egress_flow *f)
{
    net_deadline_cancel(&f->deadline);
    while (!adit_list_empty(&f->waiting))
        adit_list_remove(adit_list_first(&f->waiting));
}
