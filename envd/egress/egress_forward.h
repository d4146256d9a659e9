/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP proxy for requests in absolute form (RFC 9112 3.2.2): each request of a connection goes
 * to its own host.
 */
#ifndef ENVD_EGRESS_EGRESS_FORWARD_H
#define ENVD_EGRESS_EGRESS_FORWARD_H

#include "envd/egress/egress_dial.h"
#include "envd/egress/egress_dns.h"

/* Clients at once; the next is closed. */
#define EGRESS_FORWARD_CLIENTS_MAX 512
/* A head, a body of which nothing comes, a connection between two requests. */
#define EGRESS_FORWARD_HEADER_MS 10000
#define EGRESS_FORWARD_BODY_MS 60000
#define EGRESS_FORWARD_IDLE_MS 90000

struct egress_forward;

/* @dns, @dials: borrowed. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_forward_new(struct net_loop *l, struct egress_dns *dns,
                                       struct egress_dials *dials, struct egress_forward **out,
                                       struct adit_err *err);
/* Before the resolver and the table of dials are freed. Its last memory goes when the loop has
 * turned. */
void egress_forward_free(struct egress_forward *f);
/* A client whose request begins with @already. */
void egress_forward_adopt(struct egress_forward *f, struct net_stream *take_client,
                          struct adit_view already);

#endif
