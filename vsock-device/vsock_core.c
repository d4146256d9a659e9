/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device without I/O: connections, what the guest sends, what host sockets do, timers.
 *
 * Theory of operation
 *
 * What:    keeps VSOCK_CONNS_MAX slots. A slot's number is part of its host port, so a packet finds
 * its connection by a mask, and then both ports are compared. States: vsock_conn.c.
 * Ownership: the I/O side has the sockets under the slots' numbers. A slot is free again when the
 * I/O side forgot it and the guest was told all it has to be told.
 * Limits:  those of vsock_core.h. Per packet nothing is allocated, nothing is searched, and at most
 * one answer comes to be pending, so work and memory do not depend on what a guest floods.
 * Trust:   packets are the guest's. By what they do to us:
 *     not a whole packet, longer than VSOCK_PACKET_PAYLOAD_MAX          the device ends
 *     a source CID that is not the guest's, a destination not the host  ignored, counted
 *     another type than stream, no such connection (any REQUEST too)    answered by RST, counted
 *     a packet that breaks its connection's rules (vsock_conn.c)        that connection is reset
 * Failure: no memory to keep bytes for a slow host, or VSOCK_KEPT_MAX slow ones already: that
 * connection is reset, rather than the machine ended for its memory.
 * Fairness: a host that does not read leaves its connection without credit, and no other. Who sends
 * to the guest next: vsock_output.c.
 */
#include "vsock-device/vsock_core.h"

#include <assert.h>
#include <stdlib.h>

#include "vsock-device/vsock_core_int.h"

enum {
    SLOT_MASK = VSOCK_CONNS_MAX - 1,
    PORT_MASK = VSOCK_PORT_BASE - 1,
};

_Static_assert((VSOCK_CONNS_MAX & SLOT_MASK) == 0, "a slot is some bits of a port");

static struct vsock_conn *conn_at(struct vsock_core *core, uint32_t id)
{
    return &core->conns[id & SLOT_MASK];
}

static uint32_t id_of(const struct vsock_core *core, const struct vsock_conn *c)
{
    return (uint32_t)(c - core->conns);
}

/* ---- life of the core and of slots --------------------------------------------------------- */

static void init_slot(struct vsock_core *core, struct vsock_conn *c, uint32_t seed)
{
    uint32_t uses = seed * VSOCK_CONNS_MAX & PORT_MASK;
    c->host_port = VSOCK_PORT_BASE | uses | id_of(core, c);
    adit_list_init(&c->flow);
    adit_list_init(&c->control);
    adit_list_init(&c->timer);
    adit_list_init(&c->changed);
    adit_list_push(&core->free, &c->flow);
}

int vsock_core_new(uint64_t guest_cid, uint32_t seed, struct vsock_core **out, struct adit_err *err)
{
    struct vsock_core *core = calloc(1, sizeof(*core));
    if (!core)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the connections");
    core->guest_cid = guest_cid;
    struct adit_list *lists[] = {&core->free,    &core->fresh,  &core->bulk,
                                 &core->control, &core->timers, &core->changed};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        adit_list_init(lists[i]);
    for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
        init_slot(core, &core->conns[i], seed);
    *out = core;
    return ADIT_OK;
}

void vsock_core_free(struct vsock_core *core)
{
    for (uint32_t i = 0; core && i < VSOCK_CONNS_MAX; i++)
        free(core->conns[i].kept);
    if (core)
        free(core->spare);
    free(core);
}

/* Give the keeping buffer of @c back, with what is in it. */
static void drop_kept(struct vsock_core *core, struct vsock_conn *c)
{
    core->kept_cnt -= c->kept != NULL;
    if (core->spare)
        free(c->kept);
    else
        core->spare = c->kept;
    c->kept = NULL;
    c->kept_start = c->kept_len = 0;
}

static void change(struct vsock_core *core, struct vsock_conn *c)
{
    if (c->has_io && adit_list_empty(&c->changed))
        adit_list_push(&core->changed, &c->changed);
}

static void start_timer(struct vsock_core *core, struct vsock_conn *c)
{
    c->deadline_ms = core->now_ms + VSOCK_ANSWER_TIMEOUT_MS;
    adit_list_push(&core->timers, &c->timer);
}

void vsock_core_try_free(struct vsock_core *core, struct vsock_conn *c)
{
    if (c->state != VSOCK_CONN_OVER || c->has_io || c->pending)
        return;
    uint32_t uses = (c->host_port + VSOCK_CONNS_MAX) & PORT_MASK & ~(uint32_t)SLOT_MASK;
    *c = (struct vsock_conn){.state = VSOCK_CONN_FREE};
    c->host_port = VSOCK_PORT_BASE | uses | id_of(core, c);
    adit_list_init(&c->control);
    adit_list_init(&c->timer);
    adit_list_init(&c->changed);
    adit_list_init(&c->flow);
    adit_list_push(&core->free, &c->flow);
}

void vsock_core_end(struct vsock_core *core, struct vsock_conn *c, enum vsock_end end, bool is_told)
{
    c->state = VSOCK_CONN_OVER;
    c->end = end;
    drop_kept(core, c);
    adit_list_remove(&c->timer);
    adit_list_remove(&c->flow);
    vsock_output_pend(core, c, is_told ? VSOCK_PEND_RST : 0);
    change(core, c);
    vsock_core_try_free(core, c);
}

/* Neither direction is in use any more: the guest is told, and the socket is not needed. */
static void settle(struct vsock_core *core, struct vsock_conn *c)
{
    if (c->state == VSOCK_CONN_FLUSHING && vsock_conn_owed(c) == 0)
        vsock_core_end(core, c, c->end, (c->pending & VSOCK_PEND_RST) != 0);
    if (c->state != VSOCK_CONN_OPEN || vsock_conn_sends(c) || vsock_conn_receives(c))
        return;
    c->state = VSOCK_CONN_CLOSING;
    c->end = VSOCK_END_CLOSED;
    drop_kept(core, c);
    vsock_output_flow(core, c, false);
    vsock_output_pend(core, c, VSOCK_PEND_SHUTDOWN);
    start_timer(core, c);
    change(core, c);
}

/* ---- time ---------------------------------------------------------------------------------- */

static void expire(struct vsock_core *core, struct vsock_conn *c)
{
    bool is_connecting = c->state == VSOCK_CONN_CONNECTING;
    /* A request that the guest had no buffer for need not be taken back. */
    bool is_known = !(c->pending & VSOCK_PEND_REQUEST);
    core->counters.connect_timeouts += is_connecting;
    vsock_core_end(core, c, is_connecting ? VSOCK_END_TIMEOUT : VSOCK_END_CLOSED, is_known);
}

static struct vsock_conn *first_timer(const struct vsock_core *core)
{
    struct adit_list *first = adit_list_first(&core->timers);
    return first ? ADIT_CONTAINER_OF(first, struct vsock_conn, timer) : NULL;
}

void vsock_core_tick(struct vsock_core *core, uint64_t now_ms)
{
    struct vsock_conn *c;
    core->now_ms = now_ms;
    while ((c = first_timer(core)) && c->deadline_ms <= now_ms)
        expire(core, c);
}

int vsock_core_wait_ms(const struct vsock_core *core)
{
    const struct vsock_conn *c = first_timer(core);
    /* What is due was ended by the tick. */
    return c ? (int)(c->deadline_ms - core->now_ms) : -1;
}

/* ---- connections of the host --------------------------------------------------------------- */

int vsock_core_open(struct vsock_core *core, uint32_t port, uint32_t *id, struct adit_err *err)
{
    struct adit_list *slot = adit_list_first(&core->free);
    if (!slot)
        return adit_err_set(err, ADIT_ERR_LIMIT, "%u connections are open", VSOCK_CONNS_MAX);
    adit_list_remove(slot);
    struct vsock_conn *c = ADIT_CONTAINER_OF(slot, struct vsock_conn, flow);
    c->state = VSOCK_CONN_CONNECTING;
    c->guest_port = port;
    c->has_io = true;
    core->counters.opened++;
    vsock_output_pend(core, c, VSOCK_PEND_REQUEST);
    start_timer(core, c);
    *id = id_of(core, c);
    return ADIT_OK;
}

uint32_t vsock_core_host_port(const struct vsock_core *core, uint32_t id)
{
    return core->conns[id & SLOT_MASK].host_port;
}

void vsock_core_forget(struct vsock_core *core, uint32_t id)
{
    struct vsock_conn *c = conn_at(core, id);
    bool is_known = !(c->pending & VSOCK_PEND_REQUEST);
    c->has_io = false;
    adit_list_remove(&c->changed);
    if (c->state == VSOCK_CONN_FLUSHING)
        vsock_core_end(core, c, c->end, (c->pending & VSOCK_PEND_RST) != 0);
    else if (c->state == VSOCK_CONN_CONNECTING || c->state == VSOCK_CONN_OPEN)
        vsock_core_end(core, c, VSOCK_END_CLOSED, is_known);
    else
        vsock_core_try_free(core, c);
}

void vsock_core_readable(struct vsock_core *core, uint32_t id)
{
    struct vsock_conn *c = conn_at(core, id);
    c->is_readable = true;
    vsock_output_flow(core, c, true);
}

void vsock_core_unreadable(struct vsock_core *core, uint32_t id)
{
    struct vsock_conn *c = conn_at(core, id);
    c->is_readable = false;
    vsock_output_flow(core, c, false);
}

void vsock_core_host_shut(struct vsock_core *core, uint32_t id, unsigned shut)
{
    struct vsock_conn *c = conn_at(core, id);
    unsigned before = c->host_shut;
    c->host_shut |= shut & VSOCK_SHUT_BOTH;
    if (c->host_shut == before)
        return;
    if (c->host_shut & VSOCK_SHUT_RCV) {
        drop_kept(core, c);
        c->fwd_cnt = c->rx_cnt;
    }
    if (c->state == VSOCK_CONN_OPEN)
        vsock_output_pend(core, c, VSOCK_PEND_SHUTDOWN);
    vsock_output_flow(core, c, false);
    change(core, c);
    settle(core, c);
}

uint32_t vsock_core_changed(struct vsock_core *core)
{
    struct adit_list *first = adit_list_first(&core->changed);
    if (!first)
        return VSOCK_NONE;
    adit_list_remove(first);
    return id_of(core, ADIT_CONTAINER_OF(first, struct vsock_conn, changed));
}

static enum vsock_phase phase_of(const struct vsock_conn *c)
{
    switch (c->state) {
    case VSOCK_CONN_CONNECTING:
        return VSOCK_CONNECTING;
    case VSOCK_CONN_OPEN:
        return VSOCK_OPEN;
    case VSOCK_CONN_FLUSHING:
        return VSOCK_FLUSHING;
    default:
        return VSOCK_OVER;
    }
}

struct vsock_status vsock_core_status(const struct vsock_core *core, uint32_t id)
{
    const struct vsock_conn *c = &core->conns[id & SLOT_MASK];
    bool is_open = c->state == VSOCK_CONN_OPEN;
    return (struct vsock_status){
        .phase = phase_of(c),
        .end = c->end,
        .is_read_wanted = vsock_conn_sends(c) && !c->is_readable,
        .is_write_wanted = c->kept_len > 0,
        .is_read_shut = is_open && (c->guest_shut & VSOCK_SHUT_RCV),
        .is_write_shut = is_open && !vsock_conn_receives(c),
    };
}

/* ---- the guest's bytes to the host --------------------------------------------------------- */

/* The host has more than before: credit for the guest, and maybe an end that waited for it. */
static void after_forward(struct vsock_core *core, struct vsock_conn *c)
{
    if (vsock_conn_receives(c) && vsock_conn_owes_update(c))
        vsock_output_pend(core, c, VSOCK_PEND_CREDIT_UPDATE);
    if ((c->guest_shut & VSOCK_SHUT_SEND) && vsock_conn_owed(c) == 0)
        change(core, c);
    settle(core, c);
}

static bool find_room(struct vsock_core *core, struct vsock_conn *c)
{
    if (core->kept_cnt == VSOCK_KEPT_MAX)
        return false;
    c->kept = core->spare ? core->spare : malloc(VSOCK_BUF_ALLOC);
    core->spare = NULL;
    core->kept_cnt += c->kept != NULL;
    return c->kept != NULL;
}

static void keep(struct vsock_core *core, struct vsock_conn *c, const struct iovec *iov,
                 unsigned cnt)
{
    if (!c->kept && !find_room(core, c)) {
        vsock_core_end(core, c, VSOCK_END_MEMORY, true);
        return;
    }
    vsock_conn_keep(c, iov, cnt);
    change(core, c);
}

static void take_payload(struct vsock_core *core, struct vsock_conn *c, struct vsock_payload *pay)
{
    if (c->host_shut & VSOCK_SHUT_RCV) {
        c->fwd_cnt += (uint32_t)pay->len; /* nobody is there to read it */
        after_forward(core, c);
        pay->len = 0;
    } else if (c->kept_len > 0) {
        keep(core, c, pay->iov, pay->cnt);
        pay->len = 0;
    }
}

void vsock_core_wrote(struct vsock_core *core, const struct vsock_payload *pay, size_t n)
{
    struct vsock_conn *c = conn_at(core, pay->id);
    if (c->state != VSOCK_CONN_OPEN || (c->host_shut & VSOCK_SHUT_RCV))
        return; /* the socket failed meanwhile, and this went with it */
    c->fwd_cnt += (uint32_t)n;
    if (n < pay->len) {
        size_t len;
        struct iovec *iov = core->payload;
        unsigned cnt = vsock_iov_slice(iov, pay->cnt, n, pay->len - n, iov, VRING_SIZE_MAX, &len);
        keep(core, c, iov, cnt);
    }
    after_forward(core, c);
}

unsigned vsock_core_kept(struct vsock_core *core, uint32_t id, struct iovec out[2])
{
    return vsock_conn_kept(conn_at(core, id), out);
}

void vsock_core_drained(struct vsock_core *core, uint32_t id, size_t n)
{
    struct vsock_conn *c = conn_at(core, id);
    vsock_conn_drained(c, (uint32_t)n);
    if (c->kept_len == 0) {
        drop_kept(core, c);
        change(core, c);
    }
    after_forward(core, c);
}

/* ---- packets of the guest ------------------------------------------------------------------ */

/* The guest uses the connection no more. What it sent before still goes to the host. */
static void guest_done(struct vsock_core *core, struct vsock_conn *c, bool is_told)
{
    bool was_connecting = c->state == VSOCK_CONN_CONNECTING;
    core->counters.refused += was_connecting;
    if (c->state != VSOCK_CONN_OPEN || vsock_conn_owed(c) == 0) {
        vsock_core_end(core, c, was_connecting ? VSOCK_END_REFUSED : VSOCK_END_CLOSED, is_told);
        return;
    }
    c->state = VSOCK_CONN_FLUSHING;
    c->end = VSOCK_END_CLOSED;
    vsock_output_flow(core, c, false);
    vsock_output_pend(core, c, is_told ? VSOCK_PEND_RST : 0);
    change(core, c);
}

static void accepted(struct vsock_core *core, struct vsock_conn *c)
{
    c->state = VSOCK_CONN_OPEN;
    adit_list_remove(&c->timer);
    if (c->host_shut)
        vsock_output_pend(core, c, VSOCK_PEND_SHUTDOWN);
    vsock_output_flow(core, c, true);
    change(core, c);
}

static void act(struct vsock_core *core, struct vsock_conn *c, enum vsock_verdict verdict,
                struct vsock_payload *pay)
{
    switch (verdict) {
    case VSOCK_VERDICT_DATA:
        take_payload(core, c, pay);
        return;
    case VSOCK_VERDICT_ACCEPTED:
        accepted(core, c);
        break;
    case VSOCK_VERDICT_ASKED:
        vsock_output_pend(core, c, VSOCK_PEND_CREDIT_UPDATE);
        break;
    case VSOCK_VERDICT_SHUT:
        change(core, c);
        break;
    case VSOCK_VERDICT_CLOSED:
    case VSOCK_VERDICT_RESET:
        guest_done(core, c, verdict == VSOCK_VERDICT_CLOSED);
        break;
    case VSOCK_VERDICT_BREACH:
        core->counters.breaches++;
        vsock_core_end(core, c, VSOCK_END_BREACH, true);
        break;
    case VSOCK_VERDICT_NOTHING:
        break;
    }
    pay->len = 0;
}

/* The connection that @p names and that the guest may still use, or NULL. */
static struct vsock_conn *find(struct vsock_core *core, const struct vsock_packet *p)
{
    struct vsock_conn *c = conn_at(core, p->dst_port);
    bool is_used = c->state == VSOCK_CONN_CONNECTING || c->state == VSOCK_CONN_OPEN ||
                   c->state == VSOCK_CONN_CLOSING;
    bool is_named = c->host_port == p->dst_port && c->guest_port == p->src_port;
    return is_used && is_named && p->type == VSOCK_TYPE_STREAM ? c : NULL;
}

static void dispatch(struct vsock_core *core, const struct vsock_packet *p,
                     struct vsock_payload *pay)
{
    struct vsock_conn *c = find(core, p);
    if (!c) {
        vsock_output_stray(core, p);
        pay->len = 0;
        return;
    }
    pay->id = id_of(core, c);
    act(core, c, vsock_conn_step(c, p), pay);
    /* Credit may have come, or a direction ended. */
    vsock_output_flow(core, c, false);
    settle(core, c);
}

static size_t iov_len(const struct iovec *iov, unsigned cnt)
{
    size_t len = 0;
    for (unsigned i = 0; i < cnt; i++)
        len += iov[i].iov_len;
    return len;
}

int vsock_core_feed(struct vsock_core *core, const struct iovec *iov, unsigned cnt,
                    struct vsock_payload *pay, struct adit_err *err)
{
    uint8_t header[VSOCK_PACKET_HEADER_LEN];
    struct vsock_packet p;
    size_t len = iov_len(iov, cnt);
    *pay = (struct vsock_payload){.id = VSOCK_NONE, .iov = core->payload};
    if (len < sizeof(header) || cnt > VRING_SIZE_MAX)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a packet of %zu bytes has no header", len);
    vsock_iov_read(iov, cnt, header, sizeof(header));
    vsock_packet_parse(header, &p);
    if (p.len > len - sizeof(header) || p.len > VSOCK_PACKET_PAYLOAD_MAX)
        return adit_err_set(err, ADIT_ERR_PROTOCOL,
                            "a packet says %u bytes in a buffer for %zu, at most %u", p.len,
                            len - sizeof(header), VSOCK_PACKET_PAYLOAD_MAX);
    core->counters.packets_from_guest++;
    if (p.src_cid != core->guest_cid || p.dst_cid != VSOCK_CID_HOST) {
        core->counters.foreign++;
        return ADIT_OK;
    }
    pay->cnt =
        vsock_iov_slice(iov, cnt, sizeof(header), p.len, core->payload, VRING_SIZE_MAX, &pay->len);
    core->counters.bytes_from_guest += pay->len;
    dispatch(core, &p, pay);
    return ADIT_OK;
}

/* ---- the driver ---------------------------------------------------------------------------- */

void vsock_core_reset(struct vsock_core *core)
{
    core->stray_cnt = 0;
    for (struct vsock_conn *c = core->conns; c < core->conns + VSOCK_CONNS_MAX; c++) {
        if (c->state != VSOCK_CONN_FREE)
            vsock_core_end(core, c, VSOCK_END_RESET, false);
    }
}

const struct vsock_counters *vsock_core_counters(const struct vsock_core *core)
{
    return &core->counters;
}
