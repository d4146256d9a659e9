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
/* Asked of the host and not answered; the others wait their turn. Many, as one that nobody answers
 * takes half a minute. */
#define EGRESS_DIALS_ASKED_MAX 256
/* From the first packet to the host's answer, longer than the host itself takes. */
#define EGRESS_DIAL_MS 35000
/* How long a connection waits for a host that is not there: a broker that starts again is faster.
 */
#define EGRESS_DIAL_NO_HOST_MS 5000
/* From letting a first packet go to the connection that it makes. */
#define EGRESS_DIAL_ACCEPT_MS 2000

struct egress_dials;
struct egress_dial;

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
/*
 * Somebody in envd who wants a connection. Called from the loop, never inside a call of this
 * module's but egress_dials_free(). One of the first two is called, once.
 */
struct egress_caller_ops {
    /* The host has connected. The caller may say something on @host, which is not its own. Return:
     * the program's stream, the table's from now on; the two are joined. */
    struct net_stream *(*on_granted)(void *owner, struct net_stream *host);
    void (*on_refused)(void *owner, Control__Reason reason);
    /* A connection that was granted is over; @is_broken: not by its two ends. */
    void (*on_over)(void *owner, bool is_broken);
};

/* Connect to @to. *out is the caller's to leave until it hears of its end. Errors: LIMIT (of
 * connections, or no memory). */
ADIT_MUST_CHECK int egress_dials_call(struct egress_dials *d, const struct egress_address *to,
                                      const struct egress_caller_ops *ops, void *owner,
                                      struct egress_dial **out);
/* The caller wants to hear no more: a connection that was granted goes on alone, also when this is
 * called inside on_granted; another is given up. */
void egress_dials_leave(struct egress_dial *d);

/* From the host: the channel that answers dial @id. It is told @owed and "OK", and is the table's
 * then. Return: false when nobody waits for it; the stream is the caller's still. */
ADIT_MUST_CHECK bool egress_dials_channel(struct egress_dials *d, uint32_t id,
                                          struct net_stream *take_host, struct adit_view owed);

/* From the control channel. An id that is over is ignored: the two sides may end it at once. */
void egress_dials_open(struct egress_dials *d);
void egress_dials_lost(struct egress_dials *d);
void egress_dials_refused(struct egress_dials *d, uint32_t id, Control__Reason reason);
void egress_dials_ended(struct egress_dials *d, uint32_t id, bool is_reset);

#endif
