/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that a sandbox asks for: judged, made by the host, and joined to channels of
 * guest port 1026. docs/wire/control.md.
 */
#ifndef BROKER_EGRESS_EGRESS_DIAL_H
#define BROKER_EGRESS_EGRESS_DIAL_H

#include "broker/egress/egress_control.h"
#include "broker/egress/egress_judge.h"
#include "broker/egress/egress_resolver.h"

/* Of one sandbox, in any state; the operator may set it lower. As many as a guest has. */
#define EGRESS_DIALS_MAX 1024
/* Not answered yet. Many, as one that nobody answers takes half a minute. */
#define EGRESS_DIALS_ASKED_MAX 256
#define EGRESS_DIALS_PER_S 1000
#define EGRESS_DIALS_BURST 1000
/* Connections with TLS on both sides that begin: each is a millisecond of work for a thread that
 * all sandboxes share. */
#define EGRESS_DIALS_SECURED_PER_S 100
#define EGRESS_DIALS_SECURED_BURST 300
/* For a connection to its destination; all together is shorter than the guest waits. */
#define EGRESS_DIAL_CONNECT_MS 30000
/* Instead, where it goes by the sandbox's proxy: to the proxy, and from there. */
#define EGRESS_DIAL_PROXY_MS 10000
#define EGRESS_DIAL_BEHIND_PROXY_MS 20000
/* For a channel to the guest, and its "OK". */
#define EGRESS_DIAL_CHANNEL_MS 2000
/* For a connection to say its name, where only its name allows it; where it is looked at for
 * headers, from its first byte on. */
#define EGRESS_DIAL_PEEK_MS 5000

struct egress_dials;

/*
 * Borrowed, and outlives it: all of it.
 *
 * @guest:    the sandbox's channel
 * @trust:    says who a server is; NULL: TLS is never read
 * @traffic:  of this sandbox
 * @max:      connections of this one
 * @all_max:  of all that count in @counters: each has two descriptors, and the broker needs others
 * @per_s:    bytes a second; 0: as many as there are
 */
struct egress_dials_conf {
    struct net_loop *loop;
    const struct http_target *guest;
    struct egress_control *control;
    struct egress_judge *judge;
    struct egress_resolver *resolver;
    struct tls_context *trust;
    struct egress_counters *counters;
    struct egress_traffic *traffic;
    uint64_t max, all_max, per_s;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_dials_new(const struct egress_dials_conf *conf,
                                     struct egress_dials **out, struct adit_err *err);
/* Break all. */
void egress_dials_free(struct egress_dials *t);
size_t egress_dials_cnt(const struct egress_dials *t);
/* The judge has another policy: connections that it forbids are ended. */
void egress_dials_judge(struct egress_dials *t);

/* From the control channel. Errors of begin: PROTOCOL (the id is in use). */
ADIT_MUST_CHECK int egress_dials_begin(struct egress_dials *t, const Control__Dial *dial,
                                       struct adit_err *err);
void egress_dials_ended(struct egress_dials *t, uint32_t id, bool is_reset);
void egress_dials_lost(struct egress_dials *t);

#endif
