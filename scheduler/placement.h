/* SPDX-License-Identifier: Apache-2.0 */
/* Which node a new sandbox goes to. No I/O, no clock, no randomness of its own. */
#ifndef SCHEDULER_PLACEMENT_H
#define SCHEDULER_PLACEMENT_H

#include "scheduler/registry.h"

enum placement_verdict {
    PLACEMENT_FITS,
    PLACEMENT_UNREACHABLE,
    PLACEMENT_DRAINING,
    PLACEMENT_INCOMPATIBLE,
    PLACEMENT_FULL,
    PLACEMENT_VERDICT_CNT,
};

/*
 * @isolation:      empty: any
 * @excluded:       nodes that refused this sandbox themselves
 * @warm_node_id:   where it waits already; empty: nowhere
 * @now_ms:         on the clock of registry_node.heard_ms
 * @unreachable_ms: a node that was not heard of for longer gets nothing
 * @random:         any number
 */
struct placement_need {
    const Scheduler__Template *template;
    const char *isolation;
    char *const *excluded;
    size_t excluded_cnt;
    const char *warm_node_id;
    uint64_t now_ms, unreachable_ms, random;
};

/*
 * @placed:  sandboxes that got a node
 * @refused: sandboxes that got none while some node fell to that filter
 */
struct placement_counters {
    uint64_t placed, refused[PLACEMENT_VERDICT_CNT];
};

#define PLACEMENT_WHY_CAP 96

/* One node: does it fit, and if not, why ("not heard of for 12 s"). */
enum placement_verdict placement_judge(const struct registry_node *n,
                                       const struct placement_need *need,
                                       char why[PLACEMENT_WHY_CAP]);
/*
 * The better of two random nodes that fit: one that has the template already, else the one that is
 * less used afterwards. Errors: UNAVAILABLE, with how many nodes fell to which filter and why.
 */
ADIT_MUST_CHECK int placement_choose(struct registry_node *const *nodes, size_t node_cnt,
                                     const struct placement_need *need,
                                     struct placement_counters *counters,
                                     struct registry_node **out, struct adit_err *err);

#endif
