/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First packets of connections.
 *
 * Theory of operation
 *
 * What:      binds queue EGRESS_NETWORK_QUEUE, reads packets as they come and hands those that
 * begin a TCP connection to the owner; all others have no business in the queue and are reset. A
 * verdict other than to let go or to drop lets the packet go with a mark, and a rule refuses it
 * (egress_network.c).
 * Ownership: the queue owns its socket; the close callback of the poll handle frees it.
 * Limits:    EGRESS_QUEUE_LEN, EGRESS_QUEUE_COPY, EGRESS_QUEUE_BUDGET.
 * Trust:     programs make these packets, with raw sockets even each of their bytes. Nothing is
 * read that is not there; an IP option is skipped by its length, and what follows an IPv6 extension
 * header is not looked for: who sends one is reset.
 * Failure:   a verdict that does not get through leaves the packet in the queue until the kernel
 * or the owner gives up; the socket is large enough for EGRESS_QUEUE_BUDGET of them.
 */
#include "envd/egress/egress_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#define IPV4_HEAD_MIN 20
#define IPV6_HEAD_LEN 40
#define TCP_HEAD_MIN 20
#define TCP_FLAGS_AT 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define FRAGMENT_MASK 0x1fff

struct egress_queue {
    uv_poll_t poll;
    struct egress_netlink netlink;
    egress_queue_fn on_dial;
    void *owner; /* borrowed */
    bool is_closing;
};

/* ---- packets ---- */

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool parse_tcp(const uint8_t *p, size_t len, struct egress_packet *out)
{
    if (len < TCP_HEAD_MIN || (p[TCP_FLAGS_AT] & (TCP_SYN | TCP_ACK)) != TCP_SYN)
        return false;
    out->from.port = be16(p);
    out->to.port = be16(p + 2);
    return out->to.port != 0;
}

static bool parse_ipv4(const uint8_t *p, size_t len, struct egress_packet *out)
{
    size_t head_len = len >= IPV4_HEAD_MIN ? (size_t)(p[0] & 15) * 4 : 0;
    if (head_len < IPV4_HEAD_MIN || head_len > len || p[9] != IPPROTO_TCP ||
        (be16(p + 6) & FRAGMENT_MASK))
        return false;
    egress_address_set(&out->from, p + 12, EGRESS_IPV4_LEN, 0);
    egress_address_set(&out->to, p + 16, EGRESS_IPV4_LEN, 0);
    return parse_tcp(p + head_len, len - head_len, out);
}

static bool parse_ipv6(const uint8_t *p, size_t len, struct egress_packet *out)
{
    if (len < IPV6_HEAD_LEN || p[6] != IPPROTO_TCP)
        return false;
    egress_address_set(&out->from, p + 8, EGRESS_IPV6_LEN, 0);
    egress_address_set(&out->to, p + 24, EGRESS_IPV6_LEN, 0);
    return parse_tcp(p + IPV6_HEAD_LEN, len - IPV6_HEAD_LEN, out);
}

static bool parse_packet(struct adit_view packet, struct egress_packet *out)
{
    const uint8_t *p = (const uint8_t *)packet.ptr;
    if (packet.len == 0)
        return false;
    if (p[0] >> 4 == 4)
        return parse_ipv4(p, packet.len, out);
    return p[0] >> 4 == 6 && parse_ipv6(p, packet.len, out);
}

bool egress_queue_parse(struct adit_view body, struct egress_packet *out)
{
    struct adit_view in = body, value, packet = {NULL, 0};
    bool has_id = false;
    uint16_t type;
    memset(out, 0, sizeof *out);
    if (in.len < sizeof(struct nfgenmsg))
        return false;
    in = adit_view_mem(in.ptr + sizeof(struct nfgenmsg), in.len - sizeof(struct nfgenmsg));
    while (egress_netlink_next_attribute(&in, &type, &value)) {
        if (type == NFQA_PAYLOAD)
            packet = value;
        if (type != NFQA_PACKET_HDR || value.len < sizeof(struct nfqnl_msg_packet_hdr))
            continue;
        memcpy(&out->id, value.ptr, sizeof out->id);
        out->id = ntohl(out->id);
        has_id = true;
    }
    out->is_dial = parse_packet(packet, out);
    return has_id;
}

/* ---- verdicts ---- */

static void begin(struct egress_netlink_request *r, uint16_t type, uint16_t flags)
{
    struct nfgenmsg head = {.nfgen_family = NFPROTO_UNSPEC, .res_id = htons(EGRESS_NETWORK_QUEUE)};
    egress_netlink_init(r);
    egress_netlink_begin(r, (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type), flags, &head, sizeof head);
}

void egress_queue_decide(struct egress_queue *q, uint32_t id, enum egress_verdict v)
{
    struct egress_netlink_request r;
    struct nfqnl_msg_verdict_hdr verdict = {
        .verdict = htonl(v == EGRESS_DROP ? NF_DROP : NF_ACCEPT), .id = htonl(id)};
    begin(&r, NFQNL_MSG_VERDICT, 0);
    egress_netlink_put(&r, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
    if (v >= EGRESS_RESET)
        egress_netlink_put_be32(&r, NFQA_MARK, EGRESS_NETWORK_MARK(v));
    /* Refused when the packet is gone with its queue; nothing is left to decide then. */
    int failed = egress_netlink_send(&q->netlink, &r);
    (void)failed;
}

/* ---- the socket ---- */

static void take_packets(struct egress_queue *q, struct adit_view datagram)
{
    struct adit_view body;
    struct egress_packet p;
    uint16_t type;
    uint32_t sequence;
    while (!q->is_closing && egress_netlink_next_message(&datagram, &type, &sequence, &body)) {
        if (type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || !egress_queue_parse(body, &p))
            continue;
        if (p.is_dial)
            q->on_dial(q->owner, &p);
        else
            egress_queue_decide(q, p.id, EGRESS_RESET);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct egress_queue *q = poll->data;
    _Alignas(8) char datagram[2048];
    (void)status;
    (void)events;
    for (int i = 0; i < EGRESS_QUEUE_BUDGET && !q->is_closing; i++) {
        ssize_t len = recv(q->netlink.fd, datagram, sizeof datagram, MSG_DONTWAIT);
        if (len < 0 && errno != EINTR)
            return;
        if (len > 0)
            take_packets(q, adit_view_mem(datagram, (size_t)len));
    }
}

static int configure(struct egress_queue *q, struct adit_err *err)
{
    struct egress_netlink_request r;
    struct nfqnl_msg_config_cmd bind_it = {.command = NFQNL_CFG_CMD_BIND};
    struct nfqnl_msg_config_params copy = {.copy_range = htonl(EGRESS_QUEUE_COPY),
                                           .copy_mode = NFQNL_COPY_PACKET};
    begin(&r, NFQNL_MSG_CONFIG, NLM_F_ACK);
    egress_netlink_put(&r, NFQA_CFG_CMD, &bind_it, sizeof bind_it);
    int code = egress_netlink_request(&q->netlink, &r, "bind the packet queue", err);
    if (code != ADIT_OK)
        return code;
    begin(&r, NFQNL_MSG_CONFIG, NLM_F_ACK);
    egress_netlink_put(&r, NFQA_CFG_PARAMS, &copy, sizeof copy);
    egress_netlink_put_be32(&r, NFQA_CFG_QUEUE_MAXLEN, EGRESS_QUEUE_LEN);
    return egress_netlink_request(&q->netlink, &r, "configure the packet queue", err);
}

static void on_closed(uv_handle_t *h)
{
    struct egress_queue *q = h->data;
    free(q);
}

int egress_queue_open(struct net_loop *l, egress_queue_fn on_dial, void *owner,
                      struct egress_queue **out, struct adit_err *err)
{
    const int on = 1;
    struct egress_queue *q = calloc(1, sizeof *q);
    if (!q)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "packet queue");
    q->on_dial = on_dial;
    q->owner = owner;
    q->netlink.fd = -1;
    int code = egress_netlink_open(&q->netlink, NETLINK_NETFILTER, err);
    if (code == ADIT_OK)
        code = configure(q, err);
    int failed = code == ADIT_OK ? uv_poll_init(l->uv, &q->poll, q->netlink.fd) : 0;
    if (failed)
        code = adit_err_sys(err, -failed, "packet queue");
    if (code != ADIT_OK) {
        egress_netlink_close(&q->netlink);
        free(q);
        return code;
    }
    q->poll.data = q;
    /* A full socket loses packets, which come again; being told of it changes nothing. */
    (void)setsockopt(q->netlink.fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
    (void)uv_poll_start(&q->poll, UV_READABLE, on_readable); /* an open descriptor: cannot fail */
    *out = q;
    return ADIT_OK;
}

void egress_queue_close(struct egress_queue *q)
{
    q->is_closing = true;
    uv_close((uv_handle_t *)&q->poll, on_closed);
    egress_netlink_close(&q->netlink);
}
