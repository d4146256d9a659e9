/* SPDX-License-Identifier: Apache-2.0 */
/* Guest port 1025: the channel on which envd asks the host for connections and names. */
#ifndef ENVD_EGRESS_EGRESS_CONTROL_H
#define ENVD_EGRESS_EGRESS_CONTROL_H

#include "envd/egress/egress_address.h"
#include "envd/egress/egress_network.h"
#include "net/stream.h"
#include "rpc/control.h"

/* From adoption to the host's first frame. */
#define EGRESS_CONTROL_HELLO_MS 2000
/* Frames that the host has not read; more, and the channel is given up. What waits for an answer is
 * limited, so that an honest host never gets there. */
#define EGRESS_CONTROL_QUEUE_MAX (256u * 1024)

struct egress_control;

/* Called from the loop, never inside a call of this module's but egress_control_adopt(). */
struct egress_control_ops {
    /* The host is there. */
    void (*on_open)(void *owner, bool has_ipv6);
    /* It is gone, and forgets all that was asked. Follows on_open once. */
    void (*on_lost)(void *owner);
    void (*on_refusal)(void *owner, uint32_t id, Control__Reason reason);
    void (*on_end)(void *owner, uint32_t id, bool is_reset);
    void (*on_lookup)(void *owner, const Control__LookupResult *result);
};

/* @version: kept by reference. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_control_new(struct net_loop *l, const char *version,
                                       const struct egress_control_ops *ops, void *owner,
                                       struct egress_control **out, struct adit_err *err);
/* What hosts are told, EGRESS_NONE before; they come later than this. */
void egress_control_set_mode(struct egress_control *c, enum egress_mode mode);
/* Close the channel, without on_lost, and free. */
void egress_control_free(struct egress_control *c);
/* Take a stream on which the host's frames come next; @already was read from it. The one before is
 * closed: a host that comes again has forgotten it. */
void egress_control_adopt(struct egress_control *c, struct net_stream *take_stream,
                          struct adit_view already);
bool egress_control_is_open(const struct egress_control *c);

/* Ask, or tell. Lost while the channel is not open: on_lost came, or will come. */
void egress_control_dial(struct egress_control *c, uint32_t id, const struct egress_address *to);
void egress_control_end(struct egress_control *c, uint32_t id, bool is_reset);
/* @type: CONTROL_TYPE_A or CONTROL_TYPE_AAAA. @name keeps control_is_name(). */
void egress_control_lookup(struct egress_control *c, uint32_t id, const char *name, uint16_t type);

#endif
