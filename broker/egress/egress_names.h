/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names a sandbox looked up to get which addresses, for the rules about domains
 * (egress_policy_judge). No I/O; the clock is passed in. One for each sandbox.
 */
#ifndef BROKER_EGRESS_EGRESS_NAMES_H
#define BROKER_EGRESS_EGRESS_NAMES_H

#include "broker/egress/egress_reply.h"

/* Pairs of a name and an address; the one learned longest ago gives way. */
#define EGRESS_NAMES_MAX 4096
/* Names of one address; as above. */
#define EGRESS_NAMES_OF_ADDRESS_MAX 64
/* Programs keep an address longer than its TTL: so much after it a name is still known. */
#define EGRESS_NAMES_GRACE_MS (600u * 1000)

struct egress_names;

/* Return: NULL without memory. */
struct egress_names *egress_names_new(void);
void egress_names_free(struct egress_names *n);

/*
 * @name (at most CONTROL_NAME_MAX bytes; kept in lower case) was looked up, and the sandbox is told
 * @resolved. Aliases on the way are no names that it asked for. Errors: NO_MEMORY: it must not be
 * told then, or its connections would be refused.
 */
ADIT_MUST_CHECK int egress_names_learn(struct egress_names *n, struct adit_view name,
                                       const struct egress_resolved *resolved, uint64_t now_ms);
/* The names that led to @addr, newest first. Return: how many. The views are valid until the next
 * egress_names_…() call. */
size_t egress_names_of(struct egress_names *n, const struct ip_addr *addr, uint64_t now_ms,
                       struct adit_view out[EGRESS_NAMES_OF_ADDRESS_MAX]);
/* Whether @name (any case) is one of them. */
bool egress_names_has(struct egress_names *n, struct adit_view name, const struct ip_addr *addr,
                      uint64_t now_ms);
/* For figures. */
size_t egress_names_cnt(const struct egress_names *n);

#endif
