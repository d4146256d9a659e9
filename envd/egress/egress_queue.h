/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue in which the first packet of a connection waits for its verdict
 * (kernel: nfnetlink_queue). Every message, verdicts included, needs CAP_NET_ADMIN.
 */
#ifndef ENVD_EGRESS_EGRESS_QUEUE_H
#define ENVD_EGRESS_EGRESS_QUEUE_H

#include "envd/egress/egress_address.h"
#include "envd/egress/egress_network.h"
#include "net/net_loop.h"

/* Packets that wait at most; the kernel drops the next, and it comes again. */
#define EGRESS_QUEUE_LEN 1024
/* Bytes of a packet that are looked at: an IPv6 and a TCP header. */
#define EGRESS_QUEUE_COPY 128
/* Packets in one turn of the loop. */
#define EGRESS_QUEUE_BUDGET 64

/*
 * A packet. @id: for the verdict. @is_dial: it begins a TCP connection from @from to @to; otherwise
 * those say nothing.
 */
struct egress_packet {
    uint32_t id;
    bool is_dial;
    struct egress_address from, to;
};

struct egress_queue;

/* A connection is being made: it waits until egress_queue_decide(), which may be called inside. */
typedef void (*egress_queue_fn)(void *owner, const struct egress_packet *p);

/* Bind the queue. Errors: of the kernel (UNIMPLEMENTED-like errno as IO, DENIED); NO_MEMORY. */
ADIT_MUST_CHECK int egress_queue_open(struct net_loop *l, egress_queue_fn on_dial, void *owner,
                                      struct egress_queue **out, struct adit_err *err);
/* What waits is dropped. Frees itself later. */
void egress_queue_close(struct egress_queue *q);
/* A verdict for a packet that has none yet; for another the kernel does nothing. */
void egress_queue_decide(struct egress_queue *q, uint32_t id, enum egress_verdict v);

/*
 * Read the body of a message of the kernel's queue (behind the netlink header). Return: false when
 * it is not a packet with an id: there is nothing to decide then.
 */
bool egress_queue_parse(struct adit_view body, struct egress_packet *out);

#endif
