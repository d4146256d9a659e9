/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for sandboxes: A and AAAA records from the name servers of the host, asked on the loop
 * without ever waiting (c-ares). No hosts file, no search domains, no cache: those are the guest's.
 */
#ifndef BROKER_EGRESS_EGRESS_RESOLVER_H
#define BROKER_EGRESS_EGRESS_RESOLVER_H

#include "broker/egress/egress_reply.h"
#include "net/net_loop.h"

/* Of one resolver, given-up ones that wait for their servers included. */
#define EGRESS_RESOLVER_QUERIES_MAX 4096
/* From the call to the answer, whatever the servers do. */
#define EGRESS_RESOLVER_QUERY_MS 5000
/* For the first try of one server; doubled with each round. */
#define EGRESS_RESOLVER_TRY_MS 1500
#define EGRESS_RESOLVER_TRIES 2

struct egress_resolver; /* one per loop */
struct egress_query;

/* Called once, never inside egress_resolver_lookup(). @resolved is gone when it returns. The query
 * is dead before it is called. */
typedef void (*egress_resolved_fn)(void *owner, const struct egress_resolved *resolved);

/*
 * Reads /etc/resolv.conf and takes random bytes, so before the broker is confined; sends nothing.
 * @servers: "1.2.3.4,[2001:db8::1]:53", comma separated, instead of those in the file; NULL or
 * empty for the file's. The resolver is heap memory. Errors: BAD_INPUT (@servers), NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int egress_resolver_new(const char *servers, struct egress_resolver **out,
                                        struct adit_err *err);
/* Before the first lookup, on the thread of @l, once. */
void egress_resolver_start(struct egress_resolver *r, struct net_loop *l);
/*
 * Give up all queries (their @done is not called) and free the resolver; when it was started, at
 * the end of the close callbacks on its loop. NULL is allowed.
 */
void egress_resolver_close(struct egress_resolver *r);

/*
 * Ask for @name (egress_reply_is_name() holds) and @type (CONTROL_TYPE_A or _AAAA).
 * *out is valid until @done is called or egress_resolver_cancel(). Errors: LIMIT
 * (EGRESS_RESOLVER_QUERIES_MAX), NO_MEMORY, BAD_INPUT; then @done is not called.
 */
ADIT_MUST_CHECK int egress_resolver_lookup(struct egress_resolver *r, const char *name,
                                           unsigned type, egress_resolved_fn done, void *owner,
                                           struct egress_query **out);
/* @done will not be called. */
void egress_resolver_cancel(struct egress_query *q);

/* Whether this host has a route to the IPv6 internet (2000::/3) and an address for it. Sends
 * nothing. */
bool egress_resolver_host_has_ipv6(void);

#endif
