/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection through a sandbox's own proxy: the talk with it, on a stream that is connected to
 * it. The one who dials the proxy judges its address as any other that the sandbox names.
 */
#ifndef BROKER_EGRESS_EGRESS_PROXY_H
#define BROKER_EGRESS_EGRESS_PROXY_H

#include "broker/egress/egress_proxy_talk.h"
#include "net/stream.h"

struct egress_proxy_handshake;

/*
 * Called once, never inside egress_proxy_open(); the handshake is gone. @take_stream is the
 * callee's: it leads to the destination, @already came from there, reading is on. On failure it is
 * NULL, and @reason is what the guest is told.
 */
typedef void (*egress_proxy_done_fn)(void *owner, struct net_stream *take_stream,
                                     struct adit_view already, Control__Reason reason,
                                     const struct adit_err *err);

/*
 * Ask the proxy behind @take_stream for @addr and @port, within @ms. @proxy is borrowed until the
 * end. Errors: NO_MEMORY, CLOSED; the stream is closed then, and @done not called.
 */
ADIT_MUST_CHECK int egress_proxy_open(struct net_stream *take_stream,
                                      const struct egress_proxy *proxy, const struct ip_addr *addr,
                                      uint16_t port, uint64_t ms, egress_proxy_done_fn done,
                                      void *owner, struct egress_proxy_handshake **out);
/* Give up: closes the stream; @done is not called. */
void egress_proxy_cancel(struct egress_proxy_handshake *h);

#endif
