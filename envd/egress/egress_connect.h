/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to a host by its name, for the proxies: the name is looked up and its addresses are
 * dialled, as a program would do it.
 */
#ifndef ENVD_EGRESS_EGRESS_CONNECT_H
#define ENVD_EGRESS_EGRESS_CONNECT_H

#include "envd/egress/egress_dial.h"
#include "envd/egress/egress_dns.h"
#include "envd/egress/egress_proxy_answer.h"

/* Addresses of a name that are tried, of each family. */
#define EGRESS_CONNECT_ADDRESSES_MAX 4

/* Called from the loop, on_failed also inside egress_connect_start(). */
struct egress_connect_ops {
    /* As egress_caller_ops has it. */
    struct net_stream *(*on_granted)(void *owner, struct net_stream *host);
    /* It is over: nothing else was called. */
    void (*on_failed)(void *owner, enum egress_proxy_outcome why);
    /* As egress_caller_ops has it; NULL: on_granted is the last that is heard. */
    void (*on_over)(void *owner, bool is_broken);
};

/*
 * Embedded in its owner.
 *
 * @type:      of the addresses that are tried now; 0: the host is an address
 * @outcome:   of the last that was tried
 * @is_asking: @client waits
 * @dial:      NULL while there is none
 */
struct egress_connect {
    struct egress_dns *dns;     /* borrowed */
    struct egress_dials *dials; /* borrowed */
    const struct egress_connect_ops *ops;
    void *owner; /* borrowed */
    struct egress_proxy_target target;
    uint16_t type;
    enum egress_proxy_outcome outcome;
    struct egress_address addresses[EGRESS_CONNECT_ADDRESSES_MAX];
    size_t address_cnt, next;
    bool is_asking;
    struct egress_dns_client client;
    struct egress_dial *dial;
};

/* All zero before. */
void egress_connect_start(struct egress_connect *c, struct egress_dns *dns,
                          struct egress_dials *dials, const struct egress_proxy_target *target,
                          const struct egress_connect_ops *ops, void *owner);
/* The owner goes away. What was granted goes on; may be called in any state, also all zero. */
void egress_connect_leave(struct egress_connect *c);

#endif
