/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the outside, as egress_dial.c and egress_dial_peek.c share it. */
#ifndef BROKER_EGRESS_EGRESS_DIAL_INT_H
#define BROKER_EGRESS_EGRESS_DIAL_INT_H

#include "broker/egress/egress_dial.h"

#include "base/limit.h"
#include "base/map.h"
#include "broker/egress/egress_filter.h"
#include "broker/egress/egress_flow.h"
#include "broker/egress/egress_intercept.h"
#include "broker/egress/egress_peek.h"
#include "broker/egress/egress_proxy.h"
#include "broker/egress/egress_reach.h"
#include "net/join.h"

/* Sides of a join. */
enum { GUEST, TARGET };

enum dial_state { DIAL_CONNECTING, DIAL_OPENING, DIAL_PEEKING, DIAL_SECURING, DIAL_JOINED };

/*
 * @host:        @addr as text
 * @reach, @handshake: to the target, or to @proxy (borrowed from the policy) and through it
 * @dial:        to the guest
 * @early:       what the target said before the guest could hear it
 * @streams:     GUEST and TARGET, until they are joined
 * @guest_ended: the guest has said that its side ends
 * @is_named:    it has to say its name
 * @peek:        where what it says is looked at; in PEEKING what came so far is @gathered
 * @is_led:      what it said is a name that led the guest to @addr
 * @intercept:   SECURING: TLS on both sides; @is_secured: that is done
 * @filter:      where each of its requests is; else NULL
 * @waits:       of the join's sides, for bandwidth
 */
struct egress_dial {
    struct adit_list node;
    struct egress_dials *table; /* borrowed */
    enum dial_state state;
    uint32_t id;
    struct ip_addr addr;
    uint16_t port;
    bool guest_ended, is_named, is_led, is_secured;
    char host[IP_ADDR_TEXT_CAP];
    const struct egress_proxy *proxy;
    struct egress_reach *reach;
    struct egress_proxy_handshake *handshake;
    struct dial *dial;
    struct net_stream *streams[2];
    struct net_deadline deadline;
    struct join *join;
    struct egress_peek *peek;
    struct egress_intercept *intercept;
    struct egress_filter *filter;
    struct egress_flow_wait waits[2];
    struct adit_buf gathered, early;
};

/*
 * @by_id:     id → struct egress_dial
 * @asked_cnt: CONNECTING: the guest may take an answer for given from then on
 */
struct egress_dials {
    struct egress_dials_conf conf;
    struct http_target guest;
    struct adit_map by_id;
    struct adit_list all;
    size_t cnt, asked_cnt;
    struct adit_limit rate, secured_rate;
    struct egress_flow flow;
};

/* What counts of what it said. */
static inline struct adit_view egress_dial_said_name(const struct egress_dial *d)
{
    return d->is_led ? egress_peek_name(d->peek) : adit_view_mem(NULL, 0);
}

/* ---- egress_dial.c ---- */

/* NULL: there is none, or it is over. */
struct egress_dial *egress_dial_find(const struct egress_dials *t, uint32_t id);
void egress_dial_set_state(struct egress_dial *d, enum dial_state state);
/* Both ends free @d. Both sides are reset; the guest knows already, or hears of it otherwise. */
void egress_dial_drop(struct egress_dial *d);
/* The program's connect() fails, or its connection is reset. */
void egress_dial_refuse(struct egress_dial *d, Control__Reason reason);
/* Bytes pass from now on, @already first: what the program said behind the guest's "OK". May free
 * @d. */
void egress_dial_join(struct egress_dial *d, struct adit_view already);

/* ---- egress_dial_peek.c ---- */

/* Have its first bytes to be looked at? */
bool egress_dial_is_to_be_peeked(const struct egress_dial *d);
/* Look at what comes, @already first, and join it when that is known, or refuse it. May free @d. */
void egress_dial_peek(struct egress_dial *d, struct adit_view already);
/* It has not said its name in time. */
void egress_dial_on_peek_deadline(struct net_deadline *due);

#endif
