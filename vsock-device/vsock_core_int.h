/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vsock_core.c (connections, what the guest sends, timers) and vsock_output.c (what is sent to
 * the guest) share.
 */
#ifndef ADIT_VSOCK_DEVICE_VSOCK_CORE_INT_H
#define ADIT_VSOCK_DEVICE_VSOCK_CORE_INT_H

#include "vsock-device/vring.h"
#include "vsock-device/vsock_conn.h"

/*
 * @free:      slots, the one that was freed first in front
 * @fresh:     flows that became readable and have not used up their turn
 * @bulk:      the other flows: readable, with credit, round robin
 * @fresh_run: packets sent of fresh flows since one of a bulk flow
 * @control:   connections with something pending
 * @timers:    by deadline: all wait equally long
 * @changed:   connections that vsock_core_changed has to return
 * @kept_cnt:  keeping buffers in use
 * @spare:     a keeping buffer that was in use, or NULL
 * @payload:   the iovecs of the packet that was fed last
 * @strays:    ring of resets that answer packets of no connection
 */
struct vsock_core {
    uint64_t guest_cid;
    uint64_t now_ms;
    struct adit_list free, fresh, bulk, control, timers, changed;
    unsigned fresh_run;
    unsigned kept_cnt;
    uint8_t *spare;
    struct iovec payload[VRING_SIZE_MAX];
    struct vsock_packet strays[VSOCK_STRAY_MAX];
    unsigned stray_first, stray_cnt;
    struct vsock_counters counters;
    struct vsock_conn conns[VSOCK_CONNS_MAX];
};

/* vsock_core.c */
/* The connection is done, but for a RST if @is_told; frees it if the I/O side knows it no more. */
void vsock_core_end(struct vsock_core *core, struct vsock_conn *c, enum vsock_end end,
                    bool is_told);
/* Free the slot if nothing needs it any more. */
void vsock_core_try_free(struct vsock_core *core, struct vsock_conn *c);

/* vsock_output.c */
/* Have @pend (VSOCK_PEND_*) sent; RST takes the place of all others. */
void vsock_output_pend(struct vsock_core *core, struct vsock_conn *c, unsigned pend);
/* Answer @p, a packet of no connection. */
void vsock_output_stray(struct vsock_core *core, const struct vsock_packet *p);
/* Put the connection among the flows, or take it from there, as readability and credit want it. */
void vsock_output_flow(struct vsock_core *core, struct vsock_conn *c, bool is_fresh);

#endif
