/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxies of a sandbox whose kernel redirects nothing: HTTP and SOCKS5 on one port, told apart
 * by what a client says first.
 */
#ifndef ENVD_EGRESS_EGRESS_PROXIES_H
#define ENVD_EGRESS_EGRESS_PROXIES_H

#include "envd/egress/egress_dial.h"
#include "envd/egress/egress_dns.h"

/* Clients whose connection is being made; the next is reset. */
#define EGRESS_PROXIES_CLIENTS_MAX 512
/* From accept to the end of a client's first request. */
#define EGRESS_PROXIES_REQUEST_MS 10000

struct egress_proxies;

/* @dns, @dials: borrowed. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_proxies_new(struct net_loop *l, struct egress_dns *dns,
                                       struct egress_dials *dials, struct egress_proxies **out,
                                       struct adit_err *err);
/* Before the resolver and the table of dials are freed. Connections that were made go on. Its last
 * memory goes when the loop has turned. */
void egress_proxies_free(struct egress_proxies *p);
/* A client has connected. */
void egress_proxies_accept(struct egress_proxies *p, struct net_stream *take_client);

#endif
