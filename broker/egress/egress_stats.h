/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the sandboxes of this host, counted. Written by the egress thread alone, read by any.
 */
#ifndef BROKER_EGRESS_EGRESS_STATS_H
#define BROKER_EGRESS_EGRESS_STATS_H

#include <stdatomic.h>
#include <stddef.h>
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
    EGRESS_COUNT_INSECURE, /* headers were to be set, and TLS with either side came to nothing */
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
    /* bytes; by egress_direction */
    EGRESS_COUNT_BYTES_OUT,
    EGRESS_COUNT_BYTES_IN,
    /* there are now */
    EGRESS_COUNT_DIALS,
    EGRESS_COUNT_CHANNELS,
    EGRESS_COUNT_CNT,
};

/* Of bytes, as seen from the sandbox. */
enum egress_direction { EGRESS_OUT, EGRESS_IN, EGRESS_DIRECTION_CNT };

/* Of one sandbox. */
struct egress_traffic {
    _Atomic uint64_t bytes[EGRESS_DIRECTION_CNT];
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

static inline void egress_count_bytes(struct egress_counters *c, enum egress_direction direction,
                                      size_t len)
{
    atomic_fetch_add_explicit(&c->at[EGRESS_COUNT_BYTES_OUT + direction], len,
                              memory_order_relaxed);
}

/* Of what there is now. */
static inline uint64_t egress_counted(const struct egress_counters *c, enum egress_count which)
{
    return atomic_load_explicit(&c->at[which], memory_order_relaxed);
}

/* Of what there is now: one less. */
static inline void egress_uncount(struct egress_counters *c, enum egress_count which)
{
    atomic_fetch_sub_explicit(&c->at[which], 1, memory_order_relaxed);
}

#endif
