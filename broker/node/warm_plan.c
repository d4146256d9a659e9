/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many sandboxes to boot, and to end.
 *
 * Theory of operation
 *
 * What: a decision from counts alone, made anew whenever something has changed; nothing is
 * remembered but failures. Boots of all kinds share booting_max places, and the kind that lacks the
 * largest part of what it wants gets the next one. One that a create has in hand counts as there:
 * it may come back.
 * Failure: a kind that fails waits, twice as long each time (what fails meanwhile is of the same
 * failure), and then tries with one at a time
 * until WARM_PLAN_CALM_MS have passed without another failure, or one was of use. A sandbox that
 * comes up and ends again is a failure like one that never comes up.
 */
#include "broker/node/warm_plan.h"

#include <stdbool.h>

#define NS_PER_MS UINT64_C(1000000)

static void forget_old_failures(struct warm_plan *p, uint64_t now_ns)
{
    if (p->failures && now_ns >= p->calm_ns)
        warm_plan_succeeded(p);
}

static unsigned there(const struct warm_plan *p)
{
    return p->ready + p->booting + p->boot;
}

static bool may_boot(const struct warm_plan *p, uint64_t now_ns)
{
    if (there(p) >= p->wanted || now_ns < p->retry_ns)
        return false;
    return p->failures == 0 || p->booting + p->boot == 0;
}

/* Does @a lack a larger part than @b? */
static bool is_emptier(const struct warm_plan *a, const struct warm_plan *b)
{
    return (uint64_t)there(a) * b->wanted < (uint64_t)there(b) * a->wanted;
}

static struct warm_plan *emptiest(struct warm_plan *plans, size_t cnt, uint64_t now_ns)
{
    struct warm_plan *best = NULL;
    for (size_t i = 0; i < cnt; i++)
        if (may_boot(&plans[i], now_ns) && (!best || is_emptier(&plans[i], best)))
            best = &plans[i];
    return best;
}

static void begin(struct warm_plan *p, uint64_t now_ns)
{
    unsigned have = p->ready + p->booting, free = p->ready - p->taken;
    unsigned excess = have > p->wanted ? have - p->wanted : 0;
    forget_old_failures(p, now_ns);
    p->boot = 0;
    p->end = excess < free ? excess : free;
}

void warm_plan_make(struct warm_plan *plans, size_t cnt, unsigned booting, unsigned booting_max,
                    uint64_t now_ns)
{
    struct warm_plan *next;
    for (size_t i = 0; i < cnt; i++)
        begin(&plans[i], now_ns);
    for (; booting < booting_max && (next = emptiest(plans, cnt, now_ns)); booting++)
        next->boot++;
}

void warm_plan_failed(struct warm_plan *p, uint64_t now_ns)
{
    if (now_ns < p->retry_ns) /* of those that were begun together, or ended with the host */
        return;
    uint64_t wait_ms = WARM_PLAN_RETRY_MIN_MS;
    for (unsigned i = 0; i < p->failures && wait_ms < WARM_PLAN_RETRY_MAX_MS; i++)
        wait_ms *= 2;
    if (wait_ms > WARM_PLAN_RETRY_MAX_MS)
        wait_ms = WARM_PLAN_RETRY_MAX_MS;
    p->failures++;
    p->retry_ns = now_ns + wait_ms * NS_PER_MS;
    p->calm_ns = p->retry_ns + WARM_PLAN_CALM_MS * NS_PER_MS;
}

void warm_plan_succeeded(struct warm_plan *p)
{
    p->failures = 0;
    p->retry_ns = p->calm_ns = 0;
}
