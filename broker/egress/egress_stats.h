/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the sandboxes of this host, counted. Written by the egress thread alone, read by any.
 */
#ifndef BROKER_EGRESS_EGRESS_STATS_H
#define BROKER_EGRESS_EGRESS_STATS_H

#include <stdatomic.h>
#include <stdint.h>

enum egress_count {
    /* ends of dials */
    EGRESS_COUNT_CONNECTED,
    EGRESS_COUNT_PROHIBITED,
    EGRESS_COUNT_REFUSED,
    EGRESS_COUNT_UNREACHABLE,
    EGRESS_COUNT_TIMED_OUT,
    EGRESS_COUNT_BUSY,
    EGRESS_COUNT_CANCELED,
    /* ends of connections; a broken one had a reset on either side */
    EGRESS_COUNT_CLOSED,
    EGRESS_COUNT_BROKEN,
    /* names */
    EGRESS_COUNT_LOOKUPS,
    EGRESS_COUNT_LOOKUPS_REFUSED,
    EGRESS_COUNT_LOOKUPS_BUSY,
    /* control channels */
    EGRESS_COUNT_CHANNELS_OPENED,
    EGRESS_COUNT_CHANNELS_LOST,
    EGRESS_COUNT_RULES_BROKEN,
    /* there are now */
    EGRESS_COUNT_DIALS,
    EGRESS_COUNT_CHANNELS,
    EGRESS_COUNT_CNT,
};

struct egress_counters {
    _Atomic uint64_t at[EGRESS_COUNT_CNT];
};

struct egress_stats {
    uint64_t at[EGRESS_COUNT_CNT];
};

static inline void egress_count(struct egress_counters *c, enum egress_count which)
{
    atomic_fetch_add_explicit(&c->at[which], 1, memory_order_relaxed);
}

/* Of what there is now: one less. */
static inline void egress_uncount(struct egress_counters *c, enum egress_count which)
{
    atomic_fetch_sub_explicit(&c->at[which], 1, memory_order_relaxed);
}

#endif
