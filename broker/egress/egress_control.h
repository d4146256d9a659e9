/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a sandbox's control channel (guest port 1025): opened, and opened again
 * whenever it is lost. docs/wire/control.md.
 */
#ifndef BROKER_EGRESS_EGRESS_CONTROL_H
#define BROKER_EGRESS_EGRESS_CONTROL_H

#include "broker/egress/egress_reply.h"
#include "broker/egress/egress_stats.h"
#include "net/dial.h"

/* To the handshake of the channel, and from there to the guest's hello. */
#define EGRESS_CONTROL_OPEN_MS 2000
#define EGRESS_CONTROL_HELLO_MS 2000
/* Between a loss and the next attempt; doubled with each that fails. A guest that answers again is
 * met within the last. */
#define EGRESS_CONTROL_RETRY_MS 100
#define EGRESS_CONTROL_RETRY_MAX_MS 1000
/* Frames that the guest has not read; more, and the channel is given up. */
#define EGRESS_CONTROL_QUEUE_MAX (256u * 1024)
/* Frames of the guest; one that sends more is not read for as long as they would have taken. */
#define EGRESS_CONTROL_FRAMES_PER_S 4000
#define EGRESS_CONTROL_FRAMES_BURST 10000

struct egress_control;

/*
 * Called from the loop, never inside a call of this module's. An error ends the channel: the guest
 * broke a rule.
 */
struct egress_control_ops {
    void (*on_open)(void *owner, Control__Mode mode);
    /* Follows on_open once. */
    void (*on_lost)(void *owner);
    int (*on_dial)(void *owner, const Control__Dial *dial, struct adit_err *err);
    void (*on_end)(void *owner, uint32_t id, bool is_reset);
    int (*on_lookup)(void *owner, const Control__Lookup *lookup, struct adit_err *err);
};

/*
 * Borrowed, and outlives it: all of it.
 *
 * @guest: the sandbox's channel; the port is the control channel's
 */
struct egress_control_conf {
    struct net_loop *loop;
    const char *sandbox_id;
    const struct http_target *guest;
    struct egress_counters *counters;
    const struct egress_control_ops *ops;
    void *owner;
};

/* Begins at the next turn of the loop. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_control_new(const struct egress_control_conf *conf,
                                       struct egress_control **out, struct adit_err *err);
/* Close the channel, without on_lost, and free. */
void egress_control_free(struct egress_control *c);

/* Tell the guest. Lost while the channel is not open: on_lost came, or will come. */
void egress_control_refuse(struct egress_control *c, uint32_t id, Control__Reason reason);
void egress_control_end(struct egress_control *c, uint32_t id, bool is_reset);
void egress_control_answer(struct egress_control *c, uint32_t id,
                           const struct egress_resolved *resolved);

#endif
