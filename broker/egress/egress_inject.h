/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of one HTTP/1 connection on their way out: each is for a host that is allowed, and
 * gets the headers that the sandbox's rules set for it. No I/O.
 */
#ifndef BROKER_EGRESS_EGRESS_INJECT_H
#define BROKER_EGRESS_EGRESS_INJECT_H

#include "base/buf.h"
#include "broker/egress/egress_rules.h"

/* So much is taken at once, and none while so much waits to be sent. */
#define EGRESS_INJECT_STEP (64u * 1024)
/* The least maximum of an output buffer: what waits, and one more head with its rule. */
#define EGRESS_INJECT_OUT_MAX (256u * 1024)

/* What becomes of a request: it is not for this connection, or goes without a rule's headers, or
 * with those of its host's. */
enum egress_inject_verdict { EGRESS_INJECT_REFUSE, EGRESS_INJECT_PASS, EGRESS_INJECT_SET };

/* About a request for the host @name (any case, no dot at its end; "": it names none). Asked for
 * each one, so an update of the policy counts from the next one on. */
typedef enum egress_inject_verdict (*egress_inject_judge_fn)(void *owner, struct adit_view name);

struct egress_inject;

/* Takes a reference of @rules. Return: NULL without memory. */
struct egress_inject *egress_inject_new(struct egress_rules *rules, egress_inject_judge_fn judge,
                                        void *owner);
void egress_inject_free(struct egress_inject *x);
/* Go by others from the next request on (as above). */
void egress_inject_set_rules(struct egress_inject *x, struct egress_rules *rules);

/*
 * Take the guest's bytes from the front of @in and append what is sent instead. Something is left
 * while @out holds EGRESS_INJECT_STEP, and while egress_inject_is_waiting(): call again when that
 * is over. Errors: DENIED (a request that may not go), BAD_INPUT, LIMIT, UNIMPLEMENTED (no request
 * that can be understood), NO_MEMORY; the connection is reset then, without what is in @out.
 */
ADIT_MUST_CHECK int egress_inject_feed(struct egress_inject *x, struct adit_view *in,
                                       struct adit_buf *out, struct adit_err *err);
/* It asked for a WebSocket, and the reply is not there yet. */
bool egress_inject_is_waiting(const struct egress_inject *x);
/* All bytes of the other end, from the first on, before they go to the guest (as they are). */
void egress_inject_see_reply(struct egress_inject *x, struct adit_view bytes);
/* The other end took the WebSocket: what comes from now on goes through egress_inject_feed() as it
 * is, or past it. */
bool egress_inject_is_raw(const struct egress_inject *x);

#endif
