/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and routes of a sandbox, and the mode that the kernel allows.
 *
 * Theory of operation
 *
 * What:    nothing has a route but TCP and DNS, whose packets leave through the loopback
 * interface, so that everything else fails at once with ENETUNREACH:
 *
 *   rule 100  ipproto tcp           lookup 100      table 100  default dev lo src 10.0.2.15
 *   rule 101  ipproto udp dport 53  lookup 100                 local default dev lo (IPv6)
 *
 * IPv6 takes a route of type local, since a default route over the loopback interface is made one
 * that rejects. What becomes of the packets say the rules (egress_rules.c), a table a family, since
 * IPv4 must not depend on what IPv6 lacks. Rules come before routes: a packet that had a route and
 * no rule would be lost without a word.
 *
 * The kernel's queue expression is tried first, then the older target through its compatibility
 * layer; without both, connections are redirected at once; without nat, there are the proxies.
 *
 * Ownership: the netlink socket is kept for turning IPv6 on and off.
 * Failure:   each mode's rules are one transaction: they are there whole or not at all.
 */
#include "envd/egress/egress_network_int.h"

#include <errno.h>
#include <net/if.h>

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define RULE_TCP 100
#define RULE_DNS 101

const struct egress_family egress_families[2] = {
    {NFPROTO_IPV4, AF_INET, EGRESS_NETWORK_IPV4, "127.0.0.0", 4, 1, 16, ICMP_HOST_UNREACH,
     ICMP_NET_UNREACH, ICMP_PKT_FILTERED},
    {NFPROTO_IPV6, AF_INET6, EGRESS_NETWORK_IPV6, "::1", 16, 16, 24, ICMPV6_ADDR_UNREACH,
     ICMPV6_NOROUTE, ICMPV6_ADM_PROHIBITED},
};

const char *egress_mode_name(enum egress_mode m)
{
    static const char *const names[] = {"transparent", "redirect", "proxy", "none"};
    return names[m];
}

/* ---- addresses and routes ---- */

static void put_address(struct egress_netlink_request *r, const struct egress_family *f,
                        uint16_t type, const char *text)
{
    uint8_t bytes[16];
    if (inet_pton(f->address_family, text, bytes) == 1)
        egress_netlink_put(r, type, bytes, f->address_len);
}

/* On a removal the bit of NLM_F_EXCL means another thing. */
static uint16_t change_flags(uint16_t type)
{
    bool is_removal = type == RTM_DELADDR || type == RTM_DELROUTE;
    return is_removal ? NLM_F_ACK : NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
}

/* Return: 0; what is there already is as good as what was asked for. */
static int route_request(struct egress_network *n, struct egress_netlink_request *r,
                         const char *what, struct adit_err *err)
{
    struct adit_err mine = ADIT_ERR_INIT;
    int code = egress_netlink_request(&n->route, r, what, &mine);
    if (code == ADIT_OK || mine.sys_errno == EEXIST)
        return ADIT_OK;
    *err = mine;
    return code;
}

static int change_address(struct egress_network *n, const struct egress_family *f, uint16_t type,
                          struct adit_err *err)
{
    struct egress_netlink_request r;
    struct ifaddrmsg head = {.ifa_family = f->address_family,
                             .ifa_prefixlen = (uint8_t)(f->address_len * 8),
                             .ifa_index = if_nametoindex("lo")};
    egress_netlink_init(&r);
    egress_netlink_begin(&r, type, change_flags(type), &head, sizeof head);
    put_address(&r, f, IFA_LOCAL, f->own);
    put_address(&r, f, IFA_ADDRESS, f->own);
    egress_netlink_put_u32(&r, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
    return route_request(n, &r, "address", err);
}

/* @is_own: to the sandbox's own address, in the table of local routes; otherwise to anywhere. */
static int change_route(struct egress_network *n, const struct egress_family *f, uint16_t type,
                        bool is_own, struct adit_err *err)
{
    struct egress_netlink_request r;
    bool is_local = is_own || f == EGRESS_IPV6;
    struct rtmsg head = {.rtm_family = f->address_family,
                         .rtm_dst_len = (uint8_t)(is_own ? f->address_len * 8 : 0),
                         .rtm_table = is_own ? RT_TABLE_LOCAL : EGRESS_NETWORK_TABLE,
                         .rtm_protocol = RTPROT_BOOT,
                         .rtm_scope = is_local ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                         .rtm_type = is_local ? RTN_LOCAL : RTN_UNICAST};
    egress_netlink_init(&r);
    egress_netlink_begin(&r, type, change_flags(type), &head, sizeof head);
    egress_netlink_put_u32(&r, RTA_OIF, if_nametoindex("lo"));
    if (is_own)
        put_address(&r, f, RTA_DST, f->own);
    else
        put_address(&r, f, RTA_PREFSRC, f->own);
    return route_request(n, &r, "route", err);
}

static int add_lookup(struct egress_network *n, const struct egress_family *f, uint32_t priority,
                      struct adit_err *err)
{
    struct egress_netlink_request r;
    struct fib_rule_port_range dns = {EGRESS_DNS_PORT, EGRESS_DNS_PORT};
    struct fib_rule_hdr head = {
        .family = f->address_family, .table = EGRESS_NETWORK_TABLE, .action = FR_ACT_TO_TBL};
    egress_netlink_init(&r);
    egress_netlink_begin(&r, RTM_NEWRULE, change_flags(RTM_NEWRULE), &head, sizeof head);
    egress_netlink_put_u32(&r, FRA_PRIORITY, priority);
    egress_netlink_put_u8(&r, FRA_IP_PROTO, priority == RULE_DNS ? IPPROTO_UDP : IPPROTO_TCP);
    if (priority == RULE_DNS)
        egress_netlink_put(&r, FRA_DPORT_RANGE, &dns, sizeof dns);
    return route_request(n, &r, "routing rule", err);
}

static int add_lookups(struct egress_network *n, const struct egress_family *f,
                       struct adit_err *err)
{
    int code = add_lookup(n, f, RULE_TCP, err);
    return code == ADIT_OK ? add_lookup(n, f, RULE_DNS, err) : code;
}

/* ---- modes ---- */

static int set_mode_rules(const struct egress_family *f, enum egress_mode mode,
                          const struct egress_network_ports *ports, struct adit_err *err)
{
    if (mode == EGRESS_REDIRECT)
        return egress_rules_set(f, ports, EGRESS_UNQUEUED, err);
    int code = egress_rules_set(f, ports, EGRESS_BY_EXPRESSION, err);
    return code == ADIT_OK ? code : egress_rules_set(f, ports, EGRESS_BY_TARGET, err);
}

static int open_ipv4(struct egress_network *n, struct adit_err *err)
{
    int code = change_address(n, EGRESS_IPV4, RTM_NEWADDR, err);
    if (code == ADIT_OK)
        code = change_route(n, EGRESS_IPV4, RTM_NEWROUTE, false, err);
    return code == ADIT_OK ? add_lookups(n, EGRESS_IPV4, err) : code;
}

void egress_network_open(struct egress_network *n, enum egress_mode best,
                         const struct egress_network_ports *ports, struct adit_err *why)
{
    struct adit_err ignored; /* IPv6 is not promised */
    int code = egress_netlink_open(&n->route, NETLINK_ROUTE, why);
    n->mode = best;
    n->can_ipv6 = n->has_ipv6 = false;
    while (code == ADIT_OK && n->mode < EGRESS_PROXY &&
           set_mode_rules(EGRESS_IPV4, n->mode, ports, why) != ADIT_OK)
        n->mode++;
    if (code != ADIT_OK || n->mode >= EGRESS_PROXY || open_ipv4(n, why) != ADIT_OK) {
        n->mode = best > EGRESS_PROXY ? best : EGRESS_PROXY;
        return;
    }
    int untracked = egress_tracking_shorten(&ignored); /* nor is this */
    (void)untracked;
    n->can_ipv6 = ports->listener_ipv6 && ports->dns_ipv6 &&
                  set_mode_rules(EGRESS_IPV6, n->mode, ports, &ignored) == ADIT_OK &&
                  add_lookups(n, EGRESS_IPV6, &ignored) == ADIT_OK;
}

void egress_network_close(struct egress_network *n)
{
    egress_netlink_close(&n->route);
}

/* The source of the default route must be there while that is. The kernel adds the local route of
 * an address some time later; answers on their way back must not meet that time. */
static int add_ipv6(struct egress_network *n, struct adit_err *err)
{
    int code = change_address(n, EGRESS_IPV6, RTM_NEWADDR, err);
    if (code == ADIT_OK)
        code = change_route(n, EGRESS_IPV6, RTM_NEWROUTE, true, err);
    return code == ADIT_OK ? change_route(n, EGRESS_IPV6, RTM_NEWROUTE, false, err) : code;
}

static int remove_ipv6(struct egress_network *n, struct adit_err *err)
{
    int code = change_route(n, EGRESS_IPV6, RTM_DELROUTE, false, err);
    if (code == ADIT_OK)
        code = change_route(n, EGRESS_IPV6, RTM_DELROUTE, true, err);
    return code == ADIT_OK ? change_address(n, EGRESS_IPV6, RTM_DELADDR, err) : code;
}

int egress_network_set_ipv6(struct egress_network *n, bool is_on, struct adit_err *err)
{
    if (n->has_ipv6 == is_on)
        return ADIT_OK;
    if (!n->can_ipv6)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "no IPv6 in this sandbox's kernel");
    int code = is_on ? add_ipv6(n, err) : remove_ipv6(n, err);
    n->has_ipv6 = code == ADIT_OK ? is_on : n->has_ipv6;
    return code;
}
