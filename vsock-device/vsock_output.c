/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent to the guest, and whose turn it is.
 *
 * Theory of operation
 *
 * What:    for each receive buffer of the guest one packet, in this order: resets of packets that
 * belong to no connection; what connections have to say (control); bytes of connections.
 * Fairness: a connection that becomes readable is fresh, and goes before those that had bytes all
 * along (bulk), so that a small request does not wait behind a transfer. When it has sent
 * VSOCK_QUANTUM bytes it is bulk too. Those take turns of VSOCK_QUANTUM bytes, and get one packet
 * after VSOCK_FRESH_RUN of fresh ones, so that many small ones do not stop a transfer.
 *
 *                   readable                    turn used up
 *     idle, no credit -----> fresh (front to back) -----> bulk (round robin) --+
 *            ^                 | nothing to read, no credit |  ^---------------+
 *            +-----------------+----------------------------+    turn used up
 *
 * Limits:  a pending packet is a bit of its connection: asking twice sends once. Resets of strays
 * wait in a ring of VSOCK_STRAY_MAX; the guest that does not take them gets no more.
 * Credit:  every packet tells it, so sending one is an update too. A connection that has used all
 * of the guest's asks for news once.
 */
#include <assert.h>

#include "vsock-device/vsock_core_int.h"

/* ---- what waits ---------------------------------------------------------------------------- */

void vsock_output_pend(struct vsock_core *core, struct vsock_conn *c, unsigned pend)
{
    if ((pend & VSOCK_PEND_RST) || pend == 0)
        c->pending = 0;
    c->pending |= pend;
    if (c->pending == 0)
        adit_list_remove(&c->control);
    else if (adit_list_empty(&c->control))
        adit_list_push(&core->control, &c->control);
}

void vsock_output_stray(struct vsock_core *core, const struct vsock_packet *p)
{
    if (p->op == VSOCK_OP_RST)
        return;
    core->counters.strays++;
    if (core->stray_cnt == VSOCK_STRAY_MAX) {
        core->counters.strays_dropped++;
        return;
    }
    unsigned i = (core->stray_first + core->stray_cnt++) % VSOCK_STRAY_MAX;
    core->strays[i] = (struct vsock_packet){
        .src_port = p->dst_port,
        .dst_port = p->src_port,
        .type = p->type,
        .op = VSOCK_OP_RST,
    };
}

void vsock_output_flow(struct vsock_core *core, struct vsock_conn *c, bool is_fresh)
{
    bool has_bytes = c->is_readable && vsock_conn_sends(c);
    bool is_flow = has_bytes && vsock_conn_credit(c) > 0;
    if (c->state == VSOCK_CONN_FREE)
        return; /* then it is in the list of free slots */
    if (has_bytes && !is_flow && !c->is_credit_asked) {
        c->is_credit_asked = true;
        vsock_output_pend(core, c, VSOCK_PEND_CREDIT_REQUEST);
    }
    if (!is_flow) {
        adit_list_remove(&c->flow);
    } else if (adit_list_empty(&c->flow)) {
        c->deficit = VSOCK_QUANTUM;
        adit_list_push(is_fresh ? &core->fresh : &core->bulk, &c->flow);
    }
}

bool vsock_core_has_output(const struct vsock_core *core)
{
    return core->stray_cnt > 0 || !adit_list_empty(&core->control) ||
           !adit_list_empty(&core->fresh) || !adit_list_empty(&core->bulk);
}

/* ---- packets ------------------------------------------------------------------------------- */

static void put_header(const struct vsock_core *core, const struct iovec *iov, unsigned cnt,
                       struct vsock_packet *p)
{
    uint8_t header[VSOCK_PACKET_HEADER_LEN];
    p->src_cid = VSOCK_CID_HOST;
    p->dst_cid = core->guest_cid;
    vsock_packet_format(p, header);
    vsock_iov_write(iov, cnt, header, sizeof(header));
}

/* A packet of a connection, which tells the guest its credit. */
static void put_packet(struct vsock_core *core, struct vsock_conn *c, const struct iovec *iov,
                       unsigned cnt, struct vsock_packet p)
{
    p.src_port = c->host_port;
    p.dst_port = c->guest_port;
    p.type = VSOCK_TYPE_STREAM;
    p.buf_alloc = VSOCK_BUF_ALLOC;
    p.fwd_cnt = c->fwd_cnt;
    c->told_fwd_cnt = c->fwd_cnt;
    c->pending &= ~(unsigned)VSOCK_PEND_CREDIT_UPDATE;
    adit_list_remove(&c->control);
    if (c->pending)
        adit_list_push(&core->control, &c->control);
    put_header(core, iov, cnt, &p);
    core->counters.packets_to_guest++;
}

static void send_stray(struct vsock_core *core, const struct iovec *iov, unsigned cnt)
{
    put_header(core, iov, cnt, &core->strays[core->stray_first]);
    core->stray_first = (core->stray_first + 1) % VSOCK_STRAY_MAX;
    core->stray_cnt--;
    core->counters.packets_to_guest++;
}

static unsigned shut_flags(const struct vsock_conn *c)
{
    return c->state == VSOCK_CONN_CLOSING ? VSOCK_SHUT_BOTH : c->host_shut;
}

static void send_control(struct vsock_core *core, struct vsock_conn *c, const struct iovec *iov,
                         unsigned cnt)
{
    static const struct {
        unsigned pend;
        uint16_t op;
    } kinds[] = {
        {VSOCK_PEND_RST, VSOCK_OP_RST},
        {VSOCK_PEND_REQUEST, VSOCK_OP_REQUEST},
        {VSOCK_PEND_SHUTDOWN, VSOCK_OP_SHUTDOWN},
        {VSOCK_PEND_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST},
        {VSOCK_PEND_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE},
    };
    unsigned i = 0;
    while (!(c->pending & kinds[i].pend))
        i++;
    struct vsock_packet p = {.op = kinds[i].op};
    if (p.op == VSOCK_OP_SHUTDOWN)
        p.flags = shut_flags(c);
    c->pending &= ~kinds[i].pend;
    put_packet(core, c, iov, cnt, p);
    vsock_core_try_free(core, c);
}

/* ---- turns --------------------------------------------------------------------------------- */

static struct vsock_conn *first_flow(const struct adit_list *flows)
{
    struct adit_list *first = adit_list_first(flows);
    return first ? ADIT_CONTAINER_OF(first, struct vsock_conn, flow) : NULL;
}

/* Whose turn it is. There is a flow. */
static struct vsock_conn *next_flow(struct vsock_core *core)
{
    struct vsock_conn *fresh = first_flow(&core->fresh), *bulk = first_flow(&core->bulk);
    if (fresh && (!bulk || core->fresh_run < VSOCK_FRESH_RUN)) {
        core->fresh_run++;
        return fresh;
    }
    core->fresh_run = 0;
    return bulk;
}

static void end_turn(struct vsock_core *core, struct vsock_conn *c)
{
    c->deficit = VSOCK_QUANTUM;
    adit_list_remove(&c->flow);
    adit_list_push(&core->bulk, &c->flow);
}

static void ask_read(struct vsock_core *core, struct vsock_conn *c, struct vsock_send *s)
{
    size_t len = vsock_conn_credit(c);
    /* Its turn bounds it only while another waits. */
    bool is_alone = adit_list_first(&core->fresh) == NULL && core->bulk.next == core->bulk.prev;
    size_t most = is_alone ? VSOCK_PACKET_PAYLOAD_MAX : c->deficit;
    s->kind = VSOCK_SEND_READ;
    s->id = (uint32_t)(c - core->conns);
    s->cnt = vsock_iov_slice(s->chain, s->chain_cnt, VSOCK_PACKET_HEADER_LEN,
                             len < most ? len : most, s->iov, VSOCK_READ_IOV_MAX, &s->len);
}

int vsock_core_next(struct vsock_core *core, const struct iovec *iov, unsigned cnt,
                    struct vsock_send *s, struct adit_err *err)
{
    size_t len;
    struct iovec one;
    *s = (struct vsock_send){.id = VSOCK_NONE, .chain = iov, .chain_cnt = cnt};
    if (vsock_iov_slice(iov, cnt, VSOCK_PACKET_HEADER_LEN, 1, &one, 1, &len) == 0)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a receive buffer without room for a byte");
    if (!vsock_core_has_output(core))
        return ADIT_OK;
    s->kind = VSOCK_SEND_PACKET;
    struct adit_list *control = adit_list_first(&core->control);
    if (core->stray_cnt > 0)
        send_stray(core, iov, cnt);
    else if (control)
        send_control(core, ADIT_CONTAINER_OF(control, struct vsock_conn, control), iov, cnt);
    else
        ask_read(core, next_flow(core), s);
    return ADIT_OK;
}

uint32_t vsock_core_sent(struct vsock_core *core, const struct vsock_send *s, size_t n)
{
    struct vsock_conn *c = &core->conns[s->id];
    assert(n > 0 && n <= s->len);
    put_packet(core, c, s->chain, s->chain_cnt,
               (struct vsock_packet){.op = VSOCK_OP_RW, .len = (uint32_t)n});
    c->tx_cnt += (uint32_t)n;
    core->counters.bytes_to_guest += n;
    c->deficit -= n < c->deficit ? (uint32_t)n : c->deficit;
    if (c->deficit == 0)
        end_turn(core, c);
    vsock_output_flow(core, c, false);
    return VSOCK_PACKET_HEADER_LEN + (uint32_t)n;
}
