/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket. */
/*
 * Theory of operation
 *
 * What     Tokens are counted in thousandths. A refill credits whole thousandths and moves last_ns
 *          on by the time they stand for, so that frequent calls lose nothing and gain nothing.
 * Limits   ADIT_LIMIT_MAX for both figures keeps every product below 2^64.
 * Failure  None. A clock that goes back refills nothing.
 */
#include "base/limit.h"

#define MILLI UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)

static uint64_t at_most(uint64_t n, uint64_t max)
{
    return n < max ? n : max;
}

void adit_limit_init(struct adit_limit *l, uint64_t burst, uint64_t per_second, uint64_t now_ns)
{
    l->burst = at_most(burst, ADIT_LIMIT_MAX);
    l->per_second = at_most(per_second, ADIT_LIMIT_MAX);
    l->tokens_milli = l->burst * MILLI;
    l->last_ns = now_ns;
}

static void refill(struct adit_limit *l, uint64_t now_ns)
{
    if (l->per_second == 0 || now_ns <= l->last_ns)
        return;
    uint64_t elapsed = now_ns - l->last_ns;
    uint64_t missing = l->burst * MILLI - l->tokens_milli;

    /* One thousandth takes NS_PER_MS / per_second nanoseconds. */
    if (elapsed >= missing * NS_PER_MS / l->per_second + 1) {
        l->tokens_milli = l->burst * MILLI;
        l->last_ns = now_ns;
        return;
    }
    uint64_t credit = at_most(elapsed * l->per_second / NS_PER_MS, missing);
    l->tokens_milli += credit;
    l->last_ns += (credit * NS_PER_MS + l->per_second - 1) / l->per_second;
}

bool adit_limit_take(struct adit_limit *l, uint64_t now_ns)
{
    refill(l, now_ns);
    if (l->tokens_milli < MILLI)
        return false;
    l->tokens_milli -= MILLI;
    return true;
}

void adit_limit_give_back(struct adit_limit *l)
{
    l->tokens_milli = at_most(l->tokens_milli + MILLI, l->burst * MILLI);
}
