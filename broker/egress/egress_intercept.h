/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on both sides of a connection whose requests get headers: with the server as its client, then
 * with the sandbox's program as that server.
 */
#ifndef BROKER_EGRESS_EGRESS_INTERCEPT_H
#define BROKER_EGRESS_EGRESS_INTERCEPT_H

#include "net/tls.h"

/* For each of the two handshakes. */
#define EGRESS_INTERCEPT_MS 10000

struct egress_intercept;

/*
 * Borrowed until the end, but for @leaf, of which a reference is taken.
 *
 * @guest, @target: nobody reads them; their owners are set by it
 * @name:  the server's, as the program has said it
 * @hello: what the program has said so far
 * @trust: says who a server is; @leaf: to speak as the server
 */
struct egress_intercept_conf {
    struct net_stream *guest, *target;
    struct adit_view name, hello;
    struct tls_context *trust, *leaf;
};

/*
 * Called once, never inside egress_intercept_start(); the intercept is gone. @err NULL: both
 * streams carry plain text now. Else they are of no use, but for @is_guest_clear: nothing was said
 * to the program yet.
 */
typedef void (*egress_intercept_done_fn)(void *owner, bool is_guest_clear,
                                         const struct adit_err *err);

/* Errors: NO_MEMORY, CLOSED, LIMIT; then @done is not called. */
ADIT_MUST_CHECK int egress_intercept_start(const struct egress_intercept_conf *conf,
                                           egress_intercept_done_fn done, void *owner,
                                           struct egress_intercept **out, struct adit_err *err);
/* Give up; @done is not called, and the streams are left as they are. */
void egress_intercept_cancel(struct egress_intercept *x);

#endif
