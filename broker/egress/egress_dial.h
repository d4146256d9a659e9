/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that a sandbox asks for: judged, made by the host, and joined to channels of
 * guest port 1026. docs/wire/control.md.
 */
#ifndef BROKER_EGRESS_EGRESS_DIAL_H
#define BROKER_EGRESS_EGRESS_DIAL_H

#include "broker/egress/egress_control.h"
#include "broker/egress/egress_policy.h"

/* Of one sandbox, in any state. */
#define EGRESS_DIALS_MAX 1024
/* Not answered yet. */
#define EGRESS_DIALS_ASKED_MAX 64
#define EGRESS_DIALS_PER_S 200
#define EGRESS_DIALS_BURST 1000
/* For a connection to its destination; all together is shorter than the guest waits. */
#define EGRESS_DIAL_CONNECT_MS 30000
/* For a channel to the guest, and from there to its "OK". */
#define EGRESS_DIAL_CHANNEL_MS 2000
#define EGRESS_DIAL_OK_MS 2000
/* Lines about refused connections. */
#define EGRESS_DIAL_LOG_PER_S 1
#define EGRESS_DIAL_LOG_BURST 20

struct egress_dials;

/* Borrowed, and outlives it: all of it. @guest: the sandbox's channel */
struct egress_dials_conf {
    struct net_loop *loop;
    const char *sandbox_id;
    const struct http_target *guest;
    struct egress_control *control;
    const struct egress_operator *operator_;
    struct egress_counters *counters;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_dials_new(const struct egress_dials_conf *conf,
                                     struct egress_dials **out, struct adit_err *err);
/* Break all. */
void egress_dials_free(struct egress_dials *t);
size_t egress_dials_cnt(const struct egress_dials *t);
/* What is judged by from now on (borrowed); connections that it forbids are ended. NULL, as in the
 * beginning: nothing gets out. */
void egress_dials_set_policy(struct egress_dials *t, const struct egress_policy *policy);

/* From the control channel. Errors of begin: PROTOCOL (the id is in use). */
ADIT_MUST_CHECK int egress_dials_begin(struct egress_dials *t, const Control__Dial *dial,
                                       struct adit_err *err);
void egress_dials_ended(struct egress_dials *t, uint32_t id, bool is_reset);
void egress_dials_lost(struct egress_dials *t);

#endif
