/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator says for all sandboxes, and which addresses the host has. */
#ifndef BROKER_EGRESS_EGRESS_OPERATOR_H
#define BROKER_EGRESS_EGRESS_OPERATOR_H

#include "broker/egress/egress_policy.h"

#define EGRESS_OPERATOR_BLOCKS_MAX 256
#define EGRESS_OPERATOR_OWN_MAX 1024

/*
 * Read options egress-allow-private and egress-deny (blocks, separated by commas) and the addresses
 * of the host's interfaces, so before the broker is confined. An address of the host that the first
 * names by itself is open; as part of a block it is not. Errors: BAD_INPUT, LIMIT, NO_MEMORY, IO;
 * then there is nothing to free.
 */
ADIT_MUST_CHECK int egress_operator_read(const char *allowed, const char *denied,
                                         struct egress_operator *out, struct adit_err *err);
void egress_operator_fini(struct egress_operator *o);
/* Whether @addr is opened by itself, not as part of a block. */
bool egress_operator_names(const struct egress_operator *o, const struct ip_addr *addr);

#endif
