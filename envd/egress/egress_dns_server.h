/* SPDX-License-Identifier: Apache-2.0 */
/* The stub resolver's sockets: UDP and TCP on one port of an address. */
#ifndef ENVD_EGRESS_EGRESS_DNS_SERVER_H
#define ENVD_EGRESS_EGRESS_DNS_SERVER_H

#include "envd/egress/egress_dns.h"

/* Datagrams in one turn of the loop. */
#define EGRESS_DNS_SERVER_BUDGET 64
/* TCP connections of an address at once; the next is closed. Queries that one may have unanswered
 * before it is read on. */
#define EGRESS_DNS_CONNECTIONS_MAX 64
#define EGRESS_DNS_PIPELINE_MAX 16
/* A connection on which nothing comes. */
#define EGRESS_DNS_IDLE_MS 10000

struct egress_dns_server;

/* @address: numeric, without port. *port: 0 for any, then the one that was found. Errors: of the
 * kernel, NO_MEMORY. */
ADIT_MUST_CHECK int egress_dns_server_open(struct net_loop *l, struct egress_dns *dns,
                                           const char *address, uint16_t *port,
                                           struct egress_dns_server **out, struct adit_err *err);
/* Before its resolver is freed. Frees itself later. */
void egress_dns_server_close(struct egress_dns_server *s);

#endif
