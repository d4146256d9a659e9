/* SPDX-License-Identifier: Apache-2.0 */
/* Where redirected connections arrive: 127.0.0.1 and ::1, a free port each. */
#ifndef ENVD_EGRESS_EGRESS_LISTENER_H
#define ENVD_EGRESS_EGRESS_LISTENER_H

#include "envd/egress/egress_address.h"
#include "net/listener.h"

/* A connection, and where its program wanted to go. @to: NULL when it was not redirected. */
typedef void (*egress_listener_fn)(void *owner, struct net_stream *take_stream,
                                   const struct egress_address *to);

/* Embedded in its owner. @ports: IPv4, IPv6; 0 where the family is not there. */
struct egress_listener {
    struct net_loop *loop; /* borrowed */
    egress_listener_fn on_connection;
    void *owner; /* borrowed */
    struct listener *listeners[2];
    uint16_t ports[2];
};

/* IPv6 is left out where there is none. Errors: of the kernel, NO_MEMORY; then nothing listens. */
ADIT_MUST_CHECK int egress_listener_open(struct egress_listener *e, struct net_loop *l,
                                         egress_listener_fn on_connection, void *owner,
                                         struct adit_err *err);
void egress_listener_close(struct egress_listener *e);

#endif
