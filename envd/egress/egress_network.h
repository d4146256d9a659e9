/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a sandbox: addresses and routes on the loopback interface, and the rules that take
 * every connection out of it to envd. Needs CAP_NET_ADMIN in the sandbox's own network namespace.
 */
#ifndef ENVD_EGRESS_EGRESS_NETWORK_H
#define ENVD_EGRESS_EGRESS_NETWORK_H

#include "envd/egress/egress_netlink.h"

/* What programs see as their own address. */
#define EGRESS_NETWORK_IPV4 "10.0.2.15"
#define EGRESS_NETWORK_IPV6 "fd00:ad17::15"
/* Where resolvers are told to ask; nothing listens there but in the modes without redirection. */
#define EGRESS_NETWORK_RESOLVER "127.0.0.53"
#define EGRESS_NETWORK_TABLE 100
/* The packet queue's number, and the names of the two tables of rules ("ip" and "ip6"). */
#define EGRESS_NETWORK_QUEUE 44343
#define EGRESS_NETWORK_RULES "adit"

/* How connections get out, best first. */
enum egress_mode {
    EGRESS_TRANSPARENT, /* connect() waits for the dial: its errno is the network's */
    EGRESS_REDIRECT,    /* connect() succeeds at once, a failed dial is a reset */
    EGRESS_PROXY,       /* nothing is redirected: proxies on the loopback */
    EGRESS_NONE,
};

/* "transparent", "redirect", "proxy", "none". */
const char *egress_mode_name(enum egress_mode m);

/* What becomes of the first packet of a connection. All but the first two are seen by connect() as
 * the errno beside them. */
enum egress_verdict {
    EGRESS_LET_GO,           /* to envd's listener */
    EGRESS_DROP,             /* as if it was lost: it comes again */
    EGRESS_RESET,            /* ECONNREFUSED */
    EGRESS_HOST_UNREACHABLE, /* EHOSTUNREACH */
    EGRESS_NET_UNREACHABLE,  /* ENETUNREACH */
    EGRESS_PROHIBITED,       /* EHOSTUNREACH; IPv6: EACCES */
};

/* The mark by which a verdict reaches the rule that carries it out. */
#define EGRESS_NETWORK_MARK(verdict) (0xad170000u + (unsigned)(verdict))

/* Ports on 127.0.0.1 and ::1. */
struct egress_network_ports {
    uint16_t listener_ipv4, listener_ipv6, dns_ipv4, dns_ipv6;
};

/*
 * @can_ipv6: the kernel has all that IPv6 needs
 * @has_ipv6: programs have an IPv6 address and route now
 */
struct egress_network {
    struct egress_netlink route;
    enum egress_mode mode;
    bool can_ipv6, has_ipv6;
};

/*
 * Set up the best mode, at most @best, that the kernel can; n->mode says which, n->can_ipv6
 * whether that holds for IPv6 too, which is off until egress_network_set_ipv6(). The queue should
 * be bound before: without a listener its packets are dropped. @why: of a mode that is not @best.
 * What is there from before is taken over.
 */
void egress_network_open(struct egress_network *n, enum egress_mode best,
                         const struct egress_network_ports *ports, struct adit_err *why);
/* The rules stay. */
void egress_network_close(struct egress_network *n);
/* Give programs an IPv6 address and route, or take them away: without, IPv6 fails at once with
 * ENETUNREACH, and resolvers do not ask for it. Errors: UNAVAILABLE (cannot); of the kernel. */
ADIT_MUST_CHECK int egress_network_set_ipv6(struct egress_network *n, bool is_on,
                                            struct adit_err *err);

#endif
