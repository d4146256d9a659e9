/* SPDX-License-Identifier: Apache-2.0 */
/* What gets out of a sandbox, and how: the one object that envd has of this room. */
#ifndef ENVD_EGRESS_EGRESS_H
#define ENVD_EGRESS_EGRESS_H

#include "envd/egress/egress_network.h"
#include "net/stream.h"

struct egress;

/* Set up the sandbox's network as well as the kernel lets us, at most @best; what is missing is
 * logged. @version: kept by reference. Errors: NO_MEMORY, IO (not even a listener). */
ADIT_MUST_CHECK int egress_new(struct net_loop *l, enum egress_mode best, const char *version,
                               struct egress **out, struct adit_err *err);
/* Break all connections and free. */
void egress_free(struct egress *e);
enum egress_mode egress_active_mode(const struct egress *e);
/* What programs have to be told when nothing is redirected, or NULL. */
const char *egress_proxy_url(const struct egress *e);
/* Of accept channels whose connection has not begun, and of connections: for the server's limit. */
size_t egress_channel_cnt(const struct egress *e);

/* Streams of guest ports 1025 and 1026; @already was read from them. @owed: egress_accepts_adopt()
 */
void egress_adopt_control(struct egress *e, struct net_stream *take_stream,
                          struct adit_view already);
void egress_adopt_accept(struct egress *e, struct net_stream *take_stream, struct adit_view already,
                         struct adit_view owed);

#endif
