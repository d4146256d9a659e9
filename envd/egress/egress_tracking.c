/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the kernel remembers connections of a sandbox.
 *
 * Theory of operation
 *
 * What:    redirection needs the kernel to track connections, those within the sandbox too, and it
 * keeps what has ended for two minutes: a busy server on loopback alone would fill its table, and
 * new connections of that sandbox would be dropped. So ended ones are forgotten soon. Nothing is
 * lost between a program and envd that could come late, and queries wait no longer for an answer.
 * Failure: a kernel that does not know how keeps its own times; all else works.
 */
#include "envd/egress/egress_network_int.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_cttimeout.h>
#include <linux/netlink.h>

#include <netinet/in.h>
#include <sys/socket.h>

#define ENDED_S 1
#define QUERY_S 10

static void message(struct egress_netlink_request *r, uint8_t protocol, uint16_t first,
                    uint16_t second, uint32_t seconds)
{
    struct nfgenmsg head = {.nfgen_family = AF_INET};
    egress_netlink_begin(r, NFNL_SUBSYS_CTNETLINK_TIMEOUT << 8 | IPCTNL_MSG_TIMEOUT_DEFAULT_SET,
                         NLM_F_ACK, &head, sizeof head);
    egress_netlink_put_be16(r, CTA_TIMEOUT_L3PROTO, AF_INET); /* both families share them */
    egress_netlink_put_u8(r, CTA_TIMEOUT_L4PROTO, protocol);
    size_t nest = egress_netlink_nest(r, CTA_TIMEOUT_DATA);
    egress_netlink_put_be32(r, first, seconds);
    egress_netlink_put_be32(r, second, seconds);
    egress_netlink_nest_end(r, nest);
}

int egress_tracking_shorten(struct adit_err *err)
{
    struct egress_netlink_request r;
    struct egress_netlink filter;
    egress_netlink_init(&r);
    message(&r, IPPROTO_TCP, CTA_TIMEOUT_TCP_TIME_WAIT, CTA_TIMEOUT_TCP_CLOSE, ENDED_S);
    message(&r, IPPROTO_UDP, CTA_TIMEOUT_UDP_UNREPLIED, CTA_TIMEOUT_UDP_REPLIED, QUERY_S);
    int code = egress_netlink_open(&filter, NETLINK_NETFILTER, err);
    if (code != ADIT_OK)
        return code;
    code = egress_netlink_request(&filter, &r, "tracking", err);
    egress_netlink_close(&filter);
    return code;
}
