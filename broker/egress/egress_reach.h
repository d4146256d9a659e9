/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection to a host, given by its name or address: looked up, judged, dialled. */
#ifndef BROKER_EGRESS_EGRESS_REACH_H
#define BROKER_EGRESS_EGRESS_REACH_H

#include "broker/egress/egress_resolver.h"
#include "net/stream.h"

/* Addresses of a name that are tried. */
#define EGRESS_REACH_ADDRESSES_MAX 8

struct egress_reach;

/*
 * @host, @may's @owner: borrowed until the end
 * @may: whether it may be connected to this address; NULL: to any
 * @ms:  for everything together
 */
struct egress_reach_conf {
    struct net_loop *loop;
    struct egress_resolver *resolver;
    const char *host;
    uint16_t port;
    bool (*may)(void *owner, const struct ip_addr *addr);
    uint64_t ms;
};

/* Called once, never inside egress_reach_start(); the reach is gone. @take_stream is the callee's
 * (reading is on), or NULL; @reason says why then. */
typedef void (*egress_reached_fn)(void *owner, struct net_stream *take_stream,
                                  Control__Reason reason);

/* @conf is copied. Errors: NO_MEMORY, LIMIT; then @done is not called. */
ADIT_MUST_CHECK int egress_reach_start(const struct egress_reach_conf *conf, egress_reached_fn done,
                                       void *owner, struct egress_reach **out);
/* @done is not called. */
void egress_reach_cancel(struct egress_reach *r);

#endif
