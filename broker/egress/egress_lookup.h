/* SPDX-License-Identifier: Apache-2.0 */
/* The names that a sandbox asks for: which of them may be asked, and how many at once. */
#ifndef BROKER_EGRESS_EGRESS_LOOKUP_H
#define BROKER_EGRESS_EGRESS_LOOKUP_H

#include "broker/egress/egress_control.h"
#include "broker/egress/egress_judge.h"
#include "broker/egress/egress_resolver.h"

/* Of one sandbox, not answered yet. */
#define EGRESS_LOOKUPS_MAX 64
#define EGRESS_LOOKUPS_PER_S 200
#define EGRESS_LOOKUPS_BURST 1000

struct egress_lookups;

/* Borrowed, and outlives it: all of it. */
struct egress_lookups_conf {
    struct egress_control *control;
    struct egress_resolver *resolver;
    struct egress_judge *judge;
    struct egress_counters *counters;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_lookups_new(const struct egress_lookups_conf *conf,
                                       struct egress_lookups **out, struct adit_err *err);
void egress_lookups_free(struct egress_lookups *t);

/* From the control channel. Errors of begin: PROTOCOL (the id is in use). */
ADIT_MUST_CHECK int egress_lookups_begin(struct egress_lookups *t, const Control__Lookup *lookup,
                                         struct adit_err *err);
void egress_lookups_lost(struct egress_lookups *t);

#endif
