/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that programs of the sandbox make to the outside, from their first packet to
 * their end.
 */
#ifndef ENVD_EGRESS_EGRESS_DIAL_H
#define ENVD_EGRESS_EGRESS_DIAL_H

#include "envd/egress/egress_control.h"
#include "envd/egress/egress_queue.h"

/* At once, in any state; the next waits in its program's kernel, which sends its packet again. */
#define EGRESS_DIALS_MAX 1024
/* Asked of the host and not answered; the others wait their turn. */
#define EGRESS_DIALS_ASKED_MAX 64
/* From the first packet to the host's answer, longer than the host itself takes. */
#define EGRESS_DIAL_MS 35000
/* How long a connection waits for a host that is not there: a broker that starts again is faster.
 */
#define EGRESS_DIAL_NO_HOST_MS 5000
/* From letting a first packet go to the connection that it makes. */
#define EGRESS_DIAL_ACCEPT_MS 2000

struct egress_dials;

/* @queue: NULL where packets cannot be held. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_dials_new(struct net_loop *l, struct egress_control *control,
                                     struct egress_queue *queue, struct egress_dials **out,
                                     struct adit_err *err);
/* Break all. */
void egress_dials_free(struct egress_dials *d);
size_t egress_dials_cnt(const struct egress_dials *d);

/* From the queue: somebody connects. */
void egress_dials_packet(struct egress_dials *d, const struct egress_packet *p);
/* From the listener: a program's connection, which it made to @to. */
void egress_dials_accepted(struct egress_dials *d, struct net_stream *take_program,
                           const struct egress_address *to);
/* From the host: the channel that answers dial @id. It is told "OK", and is the table's then.
 * Return: false when nobody waits for it; the stream is the caller's still. */
ADIT_MUST_CHECK bool egress_dials_channel(struct egress_dials *d, uint32_t id,
                                          struct net_stream *take_host);

/* From the control channel. An id that is over is ignored: the two sides may end it at once. */
void egress_dials_open(struct egress_dials *d);
void egress_dials_lost(struct egress_dials *d);
void egress_dials_refused(struct egress_dials *d, uint32_t id, Control__Reason reason);
void egress_dials_ended(struct egress_dials *d, uint32_t id, bool is_reset);

#endif
