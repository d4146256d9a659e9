/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a connection to a target: connect, channel handshake, line of the port's service. The
 * result is a stream on which the two ends speak whatever comes next.
 */
#ifndef ADIT_NET_DIAL_H
#define ADIT_NET_DIAL_H

#include "net/channel.h"
#include "net/stream.h"

enum http_target_kind {
    HTTP_TARGET_UNIX,    /* a plain Unix socket: @path */
    HTTP_TARGET_CHANNEL, /* a Unix socket with the channel handshake: @path, @port */
    HTTP_TARGET_VSOCK,   /* AF_VSOCK: @cid, @port */
    HTTP_TARGET_TCP,     /* a numeric address: @path is "127.0.0.1:80" */
};

struct http_target {
    enum http_target_kind kind;
    char path[108];
    uint32_t cid, port;
    uint16_t
        tcp_port;   /* nonzero: port is the tunnel, ask it for this port of the guest's loopback */
    bool is_accept; /* port is the accept port: the channel answers the guest's dial @accept_id */
    uint32_t accept_id;
};

struct dial;

/*
 * The end of a dial; called once, never inside dial_start(). On success @take_stream is the
 * callee's (reading is on, the callee sets its owner) and @already are bytes that came behind the
 * handshake. On failure @take_stream is NULL and @err says why: TIMEOUT; UNAVAILABLE (nothing
 * listens: ECONNREFUSED, ENOENT, "ERR refused"); CLOSED (ended in the handshake); PROTOCOL (wrong
 * line); LIMIT; IO.
 */
typedef void (*dial_done_fn)(void *owner, struct net_stream *take_stream, struct adit_view already,
                             const struct adit_err *err);

/* @ms: for all steps in sum. Errors: NO_MEMORY, BAD_INPUT (address); then @on_done is not called.
 */
ADIT_MUST_CHECK int dial_start(struct net_loop *l, const struct http_target *target, uint64_t ms,
                               dial_done_fn on_done, void *owner, struct dial **out,
                               struct adit_err *err);
/* Give up before @on_done came. The pointer is dead then, as it is once @on_done was called. */
void dial_cancel(struct dial *d);

#endif
