/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: what it knows of the guest's side, credit in both directions, and the bytes kept
 * for a host that is slower than the guest. It knows no other connection and sends nothing; lists
 * and turns are vsock_core's, whose table holds it.
 */
#ifndef ADIT_VSOCK_DEVICE_VSOCK_CONN_H
#define ADIT_VSOCK_DEVICE_VSOCK_CONN_H

#include "base/list.h"
#include "vsock-device/vsock_core.h"

/* What a guest may have us believe of its buffer; far from where 32 bits wrap. */
#define VSOCK_CONN_WINDOW_MAX (1u << 30)

enum vsock_conn_state {
    VSOCK_CONN_FREE,
    VSOCK_CONN_CONNECTING, /* REQUEST sent or about to be */
    VSOCK_CONN_OPEN,
    VSOCK_CONN_CLOSING, /* no direction is in use: SHUTDOWN sent, RST awaited; no socket any more */
    VSOCK_CONN_FLUSHING, /* the guest is done; the host has not got everything yet */
    VSOCK_CONN_OVER,     /* only a RST to send and the I/O side's vsock_core_forget to await */
};

/* Packets that a connection wants to send; each at most once however often it is asked for. */
enum {
    VSOCK_PEND_RST = 1,
    VSOCK_PEND_REQUEST = 2,
    VSOCK_PEND_SHUTDOWN = 4,
    VSOCK_PEND_CREDIT_UPDATE = 8,
    VSOCK_PEND_CREDIT_REQUEST = 16,
};

/*
 * Owned by: vsock_core's table. Counters of bytes wrap at 2^32, as those in packets do.
 * @guest_shut, host_shut: VSOCK_SHUT_*, what each side said that it will not do any more
 * @tx_cnt:         bytes sent to the guest; of these it has used @peer_fwd_cnt
 * @peer_buf_alloc: bytes that it lets be on their way
 * @rx_cnt:         bytes taken from the guest; of these the host has @fwd_cnt, of which the guest
 *                  knows @told_fwd_cnt. The others are in @kept, or in a payload handed out
 * @kept:           ring of VSOCK_BUF_ALLOC bytes or NULL; @kept_len bytes from @kept_start on
 * @pending:        VSOCK_PEND_*
 * @deficit:        bytes that are left of its turn
 * @has_io:         the I/O side has not forgotten it
 * @is_readable:    the host socket has something, as far as is known
 * @is_credit_asked: CREDIT_REQUEST was sent and no credit came
 * @deadline_ms:    while in the list of timers
 */
struct vsock_conn {
    enum vsock_conn_state state;
    enum vsock_end end;
    uint32_t guest_port, host_port;
    unsigned guest_shut, host_shut;
    uint32_t tx_cnt, peer_fwd_cnt, peer_buf_alloc;
    uint32_t rx_cnt, fwd_cnt, told_fwd_cnt;
    uint8_t *kept;
    uint32_t kept_start, kept_len;
    unsigned pending;
    uint32_t deficit;
    bool has_io, is_readable, is_credit_asked;
    uint64_t deadline_ms;
    struct adit_list flow;    /* free, new or old flows */
    struct adit_list control; /* while pending */
    struct adit_list timer;
    struct adit_list changed;
};

/* What a packet of the guest means. */
enum vsock_verdict {
    VSOCK_VERDICT_NOTHING,  /* credit at most */
    VSOCK_VERDICT_ACCEPTED, /* the request was answered */
    VSOCK_VERDICT_DATA,     /* its payload is the host's; taken into account */
    VSOCK_VERDICT_ASKED,    /* credit is to be told */
    VSOCK_VERDICT_SHUT,     /* it uses one direction less */
    VSOCK_VERDICT_CLOSED,   /* it uses none any more: to be confirmed by a RST */
    VSOCK_VERDICT_RESET,    /* it reset the connection */
    VSOCK_VERDICT_BREACH,
};

/* The state after @p, a packet that names this connection, in CONNECTING, OPEN or CLOSING; but for
 * guest_shut and counters, acting on the verdict is the caller's. */
enum vsock_verdict vsock_conn_step(struct vsock_conn *c, const struct vsock_packet *p);

/* Bytes that may be sent to the guest now. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* Bytes taken from the guest that the host has not got. */
static inline uint32_t vsock_conn_owed(const struct vsock_conn *c)
{
    return c->rx_cnt - c->fwd_cnt;
}
/* Whether the guest should hear of the room that it has again: half of the buffer. */
bool vsock_conn_owes_update(const struct vsock_conn *c);
/* Whether bytes of the host may still go to the guest; bytes of the guest to the host. */
bool vsock_conn_sends(const struct vsock_conn *c);
bool vsock_conn_receives(const struct vsock_conn *c);

/* Keep the bytes of @iov, at most vsock_conn_owed. c->kept is there. */
void vsock_conn_keep(struct vsock_conn *c, const struct iovec *iov, unsigned cnt);
/* What is kept, oldest first. Return: how many iovecs. */
unsigned vsock_conn_kept(const struct vsock_conn *c, struct iovec out[2]);
/* The host got the first @n of the kept bytes. */
void vsock_conn_drained(struct vsock_conn *c, uint32_t n);

#endif
