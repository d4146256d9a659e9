/* SPDX-License-Identifier: Apache-2.0 */
/* How many sandboxes to boot, and to end, so that as many wait as are wanted. No I/O, no clock. */
#ifndef BROKER_NODE_WARM_PLAN_H
#define BROKER_NODE_WARM_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* After one failure, and at most, until the next try. */
#define WARM_PLAN_RETRY_MIN_MS 1000
#define WARM_PLAN_RETRY_MAX_MS 60000
/* So long after a try that followed a failure nothing failed: it is forgotten. */
#define WARM_PLAN_CALM_MS 30000

/*
 * One kind of sandbox.
 * @wanted:  that wait
 * @ready:   wait now; of these @taken are in the hands of creates / @booting
 * @failures: in a row; @retry_ns: nothing is booted before; @calm_ns: forgotten then
 */
struct warm_plan {
    unsigned wanted, ready, taken, booting;
    unsigned failures;
    uint64_t retry_ns, calm_ns;
    /* what to do now, by warm_plan_make() */
    unsigned boot, end;
};

/* @booting: of all kinds, and of kinds that are not wanted any more; @booting_max: how many may at
 * once. */
void warm_plan_make(struct warm_plan *plans, size_t cnt, unsigned booting, unsigned booting_max,
                    uint64_t now_ns);
/* One did not come to wait, or ended while it did. */
void warm_plan_failed(struct warm_plan *p, uint64_t now_ns);
/* One was of use. */
void warm_plan_succeeded(struct warm_plan *p);

#endif
