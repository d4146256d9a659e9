/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a sandbox's network share: the two families, and the rules of one. */
#ifndef ENVD_EGRESS_EGRESS_NETWORK_INT_H
#define ENVD_EGRESS_EGRESS_NETWORK_INT_H

#include "envd/egress/egress_network.h"

#define EGRESS_DNS_PORT 53

/*
 * @own, @loopback: the sandbox's own address; what else stays inside
 * @loopback_len:   bytes of it that are compared
 * @destination:    where the header has it
 * @..._code:       of ICMP
 */
struct egress_family {
    uint8_t nfproto, address_family;
    const char *own, *loopback;
    uint8_t address_len, loopback_len;
    uint8_t destination;
    uint8_t host_code, net_code, prohibited_code;
};
extern const struct egress_family egress_families[2];
#define EGRESS_IPV4 (&egress_families[0])
#define EGRESS_IPV6 (&egress_families[1])

/* How a first packet gets into the queue. */
enum egress_queue_way {
    EGRESS_BY_EXPRESSION, /* of nft */
    EGRESS_BY_TARGET,     /* the older one, through the compatibility layer */
    EGRESS_UNQUEUED,      /* not at all */
};

/* Put the rules of a family in place of those that are there; all or none. Errors: of the kernel.
 */
ADIT_MUST_CHECK int egress_rules_set(const struct egress_family *f,
                                     const struct egress_network_ports *ports,
                                     enum egress_queue_way way, struct adit_err *err);
/* Let the kernel forget ended connections soon. Errors: of the kernel; it goes on as it does. */
ADIT_MUST_CHECK int egress_tracking_shorten(struct adit_err *err);

#endif
