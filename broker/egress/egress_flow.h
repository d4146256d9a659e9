/* SPDX-License-Identifier: Apache-2.0 */
/* What one sandbox moves in and out: counted, and no faster than it may. */
#ifndef BROKER_EGRESS_EGRESS_FLOW_H
#define BROKER_EGRESS_EGRESS_FLOW_H

#include "broker/egress/egress_stats.h"
#include "net/net_loop.h"

/* How much of the bandwidth may have been saved up. */
#define EGRESS_FLOW_BURST_MS 250

/* A stream that is not read until it may be; embedded in its owner. */
struct egress_flow_wait {
    struct adit_list node;
    void (*go)(struct egress_flow_wait *w);
};

/*
 * @per_s:   bytes a second, both directions together; 0: as many as there are
 * @tokens:  bytes that may be moved now; below 0 as many were moved too early
 * @waiting: who reads on, in this order
 */
struct egress_flow {
    struct egress_counters *counters; /* borrowed; of all sandboxes */
    struct egress_traffic *traffic;   /* borrowed; of this one */
    uint64_t per_s, last_ns;
    int64_t tokens;
    struct adit_list waiting;
    struct net_deadline deadline;
};

void egress_flow_init(struct egress_flow *f, struct net_loop *l, uint64_t per_s,
                      struct egress_counters *counters, struct egress_traffic *traffic);
/* Nobody goes on any more. */
void egress_flow_fini(struct egress_flow *f);

/* @len bytes were moved. Return: whether the stream may be read on at once. */
bool egress_flow_count(struct egress_flow *f, enum egress_direction direction, size_t len);

void egress_flow_wait_init(struct egress_flow_wait *w, void (*go)(struct egress_flow_wait *w));
/* Call @w->go when it may be read on, from the loop; one that waits already waits on. */
void egress_flow_wait(struct egress_flow *f, struct egress_flow_wait *w);
void egress_flow_wait_cancel(struct egress_flow_wait *w);

#endif
