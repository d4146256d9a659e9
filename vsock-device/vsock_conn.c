/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vsock connection.
 *
 * Theory of operation
 *
 * What:    judges the guest's packets by the state of their connection, counts bytes and credit.
 * States:
 *            open              RESPONSE
 *     FREE ------> CONNECTING ----------> OPEN ------------------> CLOSING   both directions ended,
 *                      |                   |                         |       half by half: SHUTDOWN
 *                      | RST, anything     | SHUTDOWN of both,       | RST   of both is sent
 *                      | else, 2 s         | or RST                  | SHUTDOWN of both, 2 s
 *                      v                   v                         v
 *                     OVER <----------- FLUSHING                    OVER ------> FREE
 *                          host has all                                forgotten, RST sent
 *
 * A connection that the guest ends is flushed: what it sent before still reaches the host.
 * Credit:  what is under way to the guest is tx_cnt - peer_fwd_cnt, in 32 bits that wrap. A fwd_cnt
 * that lies behind the known one is an old packet that was overtaken, and ignored; one beyond what
 * was sent is a breach. buf_alloc may shrink, to 0 too: no credit then, and no underflow.
 * Trust:   every field of a packet is the guest's. A breach ends that connection alone:
 *     anything but RESPONSE or RST to a request       RESPONSE, REQUEST, unknown op on an open one
 *     data after it said that it will not send        more data than it has credit for
 *     fwd_cnt beyond what was sent
 * Flags that are not known, and payload of packets that have none, are ignored.
 * Source:  virtio 1.2, 5.10.6.
 */
#include "vsock-device/vsock_conn.h"

#include <assert.h>
#include <string.h>

#include "vsock-device/guestmem.h"

/* ---- credit -------------------------------------------------------------------------------- */

/* Take the guest's word about its buffer. Return: false: it used bytes that were never sent. */
static bool learn_credit(struct vsock_conn *c, const struct vsock_packet *p)
{
    uint32_t advance = p->fwd_cnt - c->peer_fwd_cnt;
    bool is_old = advance > INT32_MAX;
    if (!is_old && advance > c->tx_cnt - c->peer_fwd_cnt)
        return false;
    if (!is_old)
        c->peer_fwd_cnt = p->fwd_cnt;
    c->peer_buf_alloc = p->buf_alloc < VSOCK_CONN_WINDOW_MAX ? p->buf_alloc : VSOCK_CONN_WINDOW_MAX;
    if (vsock_conn_credit(c) > 0)
        c->is_credit_asked = false;
    return true;
}

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
    uint32_t under_way = c->tx_cnt - c->peer_fwd_cnt;
    return under_way < c->peer_buf_alloc ? c->peer_buf_alloc - under_way : 0;
}

bool vsock_conn_owes_update(const struct vsock_conn *c)
{
    return c->fwd_cnt - c->told_fwd_cnt >= VSOCK_BUF_ALLOC / 2;
}

/* ---- packets ------------------------------------------------------------------------------- */

bool vsock_conn_sends(const struct vsock_conn *c)
{
    return c->state == VSOCK_CONN_OPEN && !(c->guest_shut & VSOCK_SHUT_RCV) &&
           !(c->host_shut & VSOCK_SHUT_SEND);
}

bool vsock_conn_receives(const struct vsock_conn *c)
{
    bool is_ended = (c->guest_shut & VSOCK_SHUT_SEND) && vsock_conn_owed(c) == 0;
    return c->state == VSOCK_CONN_OPEN && !is_ended && !(c->host_shut & VSOCK_SHUT_RCV);
}

static enum vsock_verdict take_data(struct vsock_conn *c, uint32_t len)
{
    if ((c->guest_shut & VSOCK_SHUT_SEND) || len > VSOCK_BUF_ALLOC - vsock_conn_owed(c))
        return VSOCK_VERDICT_BREACH;
    c->rx_cnt += len;
    return VSOCK_VERDICT_DATA;
}

static enum vsock_verdict take_shutdown(struct vsock_conn *c, uint32_t flags)
{
    c->guest_shut |= flags & VSOCK_SHUT_BOTH;
    return c->guest_shut == VSOCK_SHUT_BOTH ? VSOCK_VERDICT_CLOSED : VSOCK_VERDICT_SHUT;
}

static enum vsock_verdict step_open(struct vsock_conn *c, const struct vsock_packet *p)
{
    switch (p->op) {
    case VSOCK_OP_RW:
        return take_data(c, p->len);
    case VSOCK_OP_SHUTDOWN:
        return take_shutdown(c, p->flags);
    case VSOCK_OP_CREDIT_UPDATE:
        return VSOCK_VERDICT_NOTHING;
    case VSOCK_OP_CREDIT_REQUEST:
        return VSOCK_VERDICT_ASKED;
    default:
        return VSOCK_VERDICT_BREACH;
    }
}

enum vsock_verdict vsock_conn_step(struct vsock_conn *c, const struct vsock_packet *p)
{
    if (p->op == VSOCK_OP_RST)
        return VSOCK_VERDICT_RESET;
    if (c->state == VSOCK_CONN_CLOSING) /* what was under way when it began has no effect */
        return p->op == VSOCK_OP_SHUTDOWN ? take_shutdown(c, p->flags) : VSOCK_VERDICT_NOTHING;
    if (!learn_credit(c, p))
        return VSOCK_VERDICT_BREACH;
    if (c->state == VSOCK_CONN_OPEN)
        return step_open(c, p);
    return p->op == VSOCK_OP_RESPONSE ? VSOCK_VERDICT_ACCEPTED : VSOCK_VERDICT_BREACH;
}

/* ---- kept bytes ---------------------------------------------------------------------------- */

static uint32_t ring_at(const struct vsock_conn *c, uint32_t offset)
{
    return (c->kept_start + offset) % VSOCK_BUF_ALLOC;
}

static void put(struct vsock_conn *c, const uint8_t *bytes, size_t len)
{
    uint32_t at = ring_at(c, c->kept_len);
    size_t first = VSOCK_BUF_ALLOC - at < len ? VSOCK_BUF_ALLOC - at : len;
    guestmem_copy_in(c->kept + at, bytes, first);
    guestmem_copy_in(c->kept, bytes + first, len - first);
    c->kept_len += (uint32_t)len;
}

void vsock_conn_keep(struct vsock_conn *c, const struct iovec *iov, unsigned cnt)
{
    for (unsigned i = 0; i < cnt; i++) {
        assert(c->kept && iov[i].iov_len <= VSOCK_BUF_ALLOC - c->kept_len);
        put(c, iov[i].iov_base, iov[i].iov_len);
    }
}

unsigned vsock_conn_kept(const struct vsock_conn *c, struct iovec out[2])
{
    uint32_t first = VSOCK_BUF_ALLOC - c->kept_start;
    if (c->kept_len == 0)
        return 0;
    if (c->kept_len <= first) {
        out[0] = (struct iovec){c->kept + c->kept_start, c->kept_len};
        return 1;
    }
    out[0] = (struct iovec){c->kept + c->kept_start, first};
    out[1] = (struct iovec){c->kept, c->kept_len - first};
    return 2;
}

void vsock_conn_drained(struct vsock_conn *c, uint32_t n)
{
    assert(n <= c->kept_len);
    c->kept_start = ring_at(c, n);
    c->kept_len -= n;
    c->fwd_cnt += n;
}
