/* SPDX-License-Identifier: Apache-2.0 */
/* What only the host's own network knows of an address. */
#ifndef BROKER_EGRESS_EGRESS_ROUTE_H
#define BROKER_EGRESS_EGRESS_ROUTE_H

#include "net/ip_block.h"

/* Whether packets to @addr would stay on this host, as its routes are now. Sends nothing. */
bool egress_route_is_own(const struct ip_addr *addr);

#endif
