/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that take connections out of a sandbox to envd.
 *
 * Theory of operation
 *
 * What:    a table with these chains:
 *
 *   capture, output hook before nat: the first packet of a connection goes to the queue
 *   redir,   nat output hook:        DNS to the stub, all other TCP to the listener
 *   refuse,  input hook:             what a verdict has marked is answered by the kernel
 *
 * A refused packet is redirected too and refused on arrival. In the output hook the kernel could
 * reset it, but send no ICMP error over IPv4: over a route through the loopback interface it would
 * take the packet's destination for its own address. Programs may use port 53 of the sandbox's own
 * addresses for servers of theirs: only the stub's well-known address and those outside are
 * redirected.
 *
 * The table is written as nft would (Documentation of libnftnl; linux/netfilter/nf_tables.h):
 * messages in a batch, rules of expressions that load into a register, compare it, and act.
 * Failure: a batch is done whole or not at all.
 */
#include "envd/egress/egress_network_int.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>

/* Hook priorities, the same in both families: before nat; nat; ordinary. */
#define BEFORE_NAT NF_IP_PRI_MANGLE
#define NAT NF_IP_PRI_NAT_DST
#define FILTER NF_IP_PRI_FILTER

/* A table of rules being written. */
struct rules {
    struct egress_netlink_request request;
    const struct egress_family *family;
    uint16_t listener_port, dns_port;
};

/* ---- expressions ---- */

struct expression {
    size_t whole, data;
};

static struct expression expression(struct rules *s, const char *name)
{
    struct expression e = {.whole = egress_netlink_nest(&s->request, NFTA_LIST_ELEM)};
    egress_netlink_put_text(&s->request, NFTA_EXPR_NAME, name);
    e.data = egress_netlink_nest(&s->request, NFTA_EXPR_DATA);
    return e;
}

static void expression_end(struct rules *s, struct expression e)
{
    egress_netlink_nest_end(&s->request, e.data);
    egress_netlink_nest_end(&s->request, e.whole);
}

static void put_value(struct rules *s, uint16_t type, const void *value, size_t len)
{
    size_t nest = egress_netlink_nest(&s->request, type);
    egress_netlink_put(&s->request, NFTA_DATA_VALUE, value, len);
    egress_netlink_nest_end(&s->request, nest);
}

/* Go on with the rule only if the register is, or is not, this. */
static void compare(struct rules *s, enum nft_cmp_ops op, const void *value, size_t len)
{
    struct expression e = expression(s, "cmp");
    egress_netlink_put_be32(&s->request, NFTA_CMP_SREG, NFT_REG_1);
    egress_netlink_put_be32(&s->request, NFTA_CMP_OP, op);
    put_value(s, NFTA_CMP_DATA, value, len);
    expression_end(s, e);
}

static void load(struct rules *s, enum nft_payload_bases base, uint32_t offset, uint32_t len)
{
    struct expression e = expression(s, "payload");
    egress_netlink_put_be32(&s->request, NFTA_PAYLOAD_DREG, NFT_REG_1);
    egress_netlink_put_be32(&s->request, NFTA_PAYLOAD_BASE, base);
    egress_netlink_put_be32(&s->request, NFTA_PAYLOAD_OFFSET, offset);
    egress_netlink_put_be32(&s->request, NFTA_PAYLOAD_LEN, len);
    expression_end(s, e);
}

static void load_meta(struct rules *s, enum nft_meta_keys key)
{
    struct expression e = expression(s, "meta");
    egress_netlink_put_be32(&s->request, NFTA_META_DREG, NFT_REG_1);
    egress_netlink_put_be32(&s->request, NFTA_META_KEY, key);
    expression_end(s, e);
}

static void match_protocol(struct rules *s, uint8_t protocol)
{
    load_meta(s, NFT_META_L4PROTO);
    compare(s, NFT_CMP_EQ, &protocol, sizeof protocol);
}

/* The first @len bytes of the destination. */
static void match_destination(struct rules *s, const char *text, uint32_t len)
{
    uint8_t bytes[16] = {0};
    load(s, NFT_PAYLOAD_NETWORK_HEADER, s->family->destination, len);
    if (inet_pton(s->family->address_family, text, bytes) == 1)
        compare(s, NFT_CMP_EQ, bytes, len);
}

static void match_dns(struct rules *s, uint8_t protocol)
{
    uint16_t port = htons(EGRESS_DNS_PORT);
    match_protocol(s, protocol);
    load(s, NFT_PAYLOAD_TRANSPORT_HEADER, 2, sizeof port);
    compare(s, NFT_CMP_EQ, &port, sizeof port);
}

/* First packets, whatever conntrack makes of them: a port may be used again while it still knows a
 * connection of it that was reset, and then the packet is not of a "new" one. */
static void match_first(struct rules *s)
{
    const uint8_t mask = TH_SYN | TH_ACK, first = TH_SYN, zero = 0;
    load(s, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_flags), sizeof mask);
    struct expression e = expression(s, "bitwise");
    egress_netlink_put_be32(&s->request, NFTA_BITWISE_SREG, NFT_REG_1);
    egress_netlink_put_be32(&s->request, NFTA_BITWISE_DREG, NFT_REG_1);
    egress_netlink_put_be32(&s->request, NFTA_BITWISE_LEN, sizeof mask);
    put_value(s, NFTA_BITWISE_MASK, &mask, sizeof mask);
    put_value(s, NFTA_BITWISE_XOR, &zero, sizeof zero);
    expression_end(s, e);
    compare(s, NFT_CMP_EQ, &first, sizeof first);
}

static void leave_chain(struct rules *s)
{
    struct expression e = expression(s, "immediate");
    egress_netlink_put_be32(&s->request, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = egress_netlink_nest(&s->request, NFTA_IMMEDIATE_DATA);
    size_t verdict = egress_netlink_nest(&s->request, NFTA_DATA_VERDICT);
    egress_netlink_put_be32(&s->request, NFTA_VERDICT_CODE, (uint32_t)NFT_RETURN);
    egress_netlink_nest_end(&s->request, verdict);
    egress_netlink_nest_end(&s->request, data);
    expression_end(s, e);
}

static void redirect(struct rules *s, uint16_t port)
{
    uint16_t be = htons(port);
    struct expression e = expression(s, "immediate");
    egress_netlink_put_be32(&s->request, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    put_value(s, NFTA_IMMEDIATE_DATA, &be, sizeof be);
    expression_end(s, e);
    e = expression(s, "redir");
    egress_netlink_put_be32(&s->request, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    expression_end(s, e);
}

static void reject(struct rules *s, enum nft_reject_types type, uint8_t code)
{
    struct expression e = expression(s, "reject");
    egress_netlink_put_be32(&s->request, NFTA_REJECT_TYPE, type);
    egress_netlink_put_u8(&s->request, NFTA_REJECT_ICMP_CODE, code);
    expression_end(s, e);
}

static void queue(struct rules *s, enum egress_queue_way way)
{
    struct xt_NFQ_info info = {.queuenum = EGRESS_NETWORK_QUEUE};
    _Alignas(8) char aligned[8] = {0}; /* as the layer wants targets' data */
    struct expression e = expression(s, way == EGRESS_BY_EXPRESSION ? "queue" : "target");
    if (way == EGRESS_BY_EXPRESSION) {
        egress_netlink_put_be16(&s->request, NFTA_QUEUE_NUM, EGRESS_NETWORK_QUEUE);
        egress_netlink_put_be16(&s->request, NFTA_QUEUE_TOTAL, 1);
    } else {
        memcpy(aligned, &info, sizeof info);
        egress_netlink_put_text(&s->request, NFTA_TARGET_NAME, "NFQUEUE");
        egress_netlink_put_be32(&s->request, NFTA_TARGET_REV, 0);
        egress_netlink_put(&s->request, NFTA_TARGET_INFO, aligned, sizeof aligned);
    }
    expression_end(s, e);
}

/* ---- chains ---- */

static void message(struct rules *s, uint16_t type, uint16_t flags, uint8_t family,
                    uint16_t resource)
{
    struct nfgenmsg head = {.nfgen_family = family, .res_id = htons(resource)};
    egress_netlink_begin(&s->request, type, flags, &head, sizeof head);
}

static void rules_message(struct rules *s, uint16_t type, uint16_t flags)
{
    message(s, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), (uint16_t)(NLM_F_ACK | flags),
            s->family->nfproto, 0);
}

static void table(struct rules *s, uint16_t type, uint16_t flags)
{
    rules_message(s, type, flags);
    egress_netlink_put_text(&s->request, NFTA_TABLE_NAME, EGRESS_NETWORK_RULES);
}

static void chain(struct rules *s, const char *name, const char *type, uint32_t hook, int priority)
{
    rules_message(s, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    egress_netlink_put_text(&s->request, NFTA_CHAIN_TABLE, EGRESS_NETWORK_RULES);
    egress_netlink_put_text(&s->request, NFTA_CHAIN_NAME, name);
    egress_netlink_put_text(&s->request, NFTA_CHAIN_TYPE, type);
    size_t nest = egress_netlink_nest(&s->request, NFTA_CHAIN_HOOK);
    egress_netlink_put_be32(&s->request, NFTA_HOOK_HOOKNUM, hook);
    egress_netlink_put_be32(&s->request, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    egress_netlink_nest_end(&s->request, nest);
}

/* Begin a rule; give what it returns to the end. */
static size_t rule(struct rules *s, const char *chain_name)
{
    rules_message(s, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    egress_netlink_put_text(&s->request, NFTA_RULE_TABLE, EGRESS_NETWORK_RULES);
    egress_netlink_put_text(&s->request, NFTA_RULE_CHAIN, chain_name);
    return egress_netlink_nest(&s->request, NFTA_RULE_EXPRESSIONS);
}

static void rule_end(struct rules *s, size_t expressions)
{
    egress_netlink_nest_end(&s->request, expressions);
}

/* What stays in the sandbox is nobody's business here. */
static void spare_own_addresses(struct rules *s, const char *chain_name)
{
    size_t r = rule(s, chain_name);
    match_destination(s, s->family->loopback, s->family->loopback_len);
    leave_chain(s);
    rule_end(s, r);
    r = rule(s, chain_name);
    match_destination(s, s->family->own, s->family->address_len);
    leave_chain(s);
    rule_end(s, r);
}

static void capture_chain(struct rules *s, enum egress_queue_way way)
{
    static const char name[] = "capture";
    chain(s, name, "filter", NF_INET_LOCAL_OUT, BEFORE_NAT);
    spare_own_addresses(s, name);
    size_t r = rule(s, name);
    match_dns(s, IPPROTO_TCP);
    leave_chain(s);
    rule_end(s, r);
    r = rule(s, name);
    match_protocol(s, IPPROTO_TCP);
    match_first(s);
    queue(s, way);
    rule_end(s, r);
}

static void refuse_chain(struct rules *s)
{
    static const char name[] = "refuse";
    const uint8_t codes[] = {[EGRESS_HOST_UNREACHABLE] = s->family->host_code,
                             [EGRESS_NET_UNREACHABLE] = s->family->net_code,
                             [EGRESS_PROHIBITED] = s->family->prohibited_code};
    chain(s, name, "filter", NF_INET_LOCAL_IN, FILTER);
    for (unsigned verdict = EGRESS_RESET; verdict <= EGRESS_PROHIBITED; verdict++) {
        uint32_t mark = EGRESS_NETWORK_MARK(verdict);
        size_t r = rule(s, name);
        load_meta(s, NFT_META_MARK);
        compare(s, NFT_CMP_EQ, &mark, sizeof mark);
        reject(s, verdict == EGRESS_RESET ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMP_UNREACH,
               codes[verdict]);
        rule_end(s, r);
    }
}

/* @only: the destination, or NULL for any. */
static void redirect_dns(struct rules *s, const char *chain_name, const char *only)
{
    static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
    for (size_t i = 0; i < sizeof(protocols); i++) {
        size_t r = rule(s, chain_name);
        if (only)
            match_destination(s, only, s->family->address_len);
        match_dns(s, protocols[i]);
        redirect(s, s->dns_port);
        rule_end(s, r);
    }
}

static void redirect_chain(struct rules *s)
{
    static const char name[] = "redir";
    chain(s, name, "nat", NF_INET_LOCAL_OUT, NAT);
    if (s->family == EGRESS_IPV4)
        redirect_dns(s, name, EGRESS_NETWORK_RESOLVER);
    spare_own_addresses(s, name);
    redirect_dns(s, name, NULL);
    size_t r = rule(s, name);
    match_protocol(s, IPPROTO_TCP);
    redirect(s, s->listener_port);
    rule_end(s, r);
}

int egress_rules_set(const struct egress_family *f, const struct egress_network_ports *ports,
                     enum egress_queue_way way, struct adit_err *err)
{
    struct rules s = {.family = f,
                      .listener_port =
                          f == EGRESS_IPV4 ? ports->listener_ipv4 : ports->listener_ipv6,
                      .dns_port = f == EGRESS_IPV4 ? ports->dns_ipv4 : ports->dns_ipv6};
    struct egress_netlink filter;
    egress_netlink_init(&s.request);
    message(&s, NFNL_MSG_BATCH_BEGIN, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
    table(&s, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    table(&s, NFT_MSG_DELTABLE, 0);
    table(&s, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    if (way != EGRESS_UNQUEUED) {
        capture_chain(&s, way);
        refuse_chain(&s);
    }
    redirect_chain(&s);
    message(&s, NFNL_MSG_BATCH_END, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
    int code = egress_netlink_open(&filter, NETLINK_NETFILTER, err);
    if (code == ADIT_OK) {
        code = egress_netlink_request(&filter, &s.request, "rules", err);
        egress_netlink_close(&filter);
    }
    return code;
}
