/* SPDX-License-Identifier: Apache-2.0 */
/* The doors of envd: channels come in here and go on to HTTP or to a tunnel. */
#ifndef ENVD_SERVER_H
#define ENVD_SERVER_H

#include "envd/envd.h"
#include "envd/tunnel.h"
#include "net/channel.h"
#include "net/listener.h"

/* Channels at once, whatever they are used for; the next one is closed. */
#define SERVER_CHANNELS_MAX 2048
#define SERVER_HANDSHAKE_MS 2000
#define SERVER_HEADER_MS 10000
#define SERVER_BODY_MS 60000
/* Longer than the host keeps an idle channel, so that the host is the one that closes. */
#define SERVER_IDLE_MS (640u * 1000)
#define SERVER_HOST_CID 2

struct server;

/* Make the HTTP server (envd.http) and the object. Nothing listens yet. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int server_new(struct envd *e, struct server **out, struct adit_err *err);
/* Listen on an inherited Unix socket, each connection of which begins with the channel handshake.
 */
ADIT_MUST_CHECK int server_listen_channel(struct server *s, int take_fd, struct adit_err *err);
/* Listen on the AF_VSOCK ports, for the host only. */
ADIT_MUST_CHECK int server_listen_vsock(struct server *s, struct adit_err *err);
/* Stop listening; open exchanges go on. */
void server_stop_listening(struct server *s);
/*
 * Break tunnels and handshakes, give running exchanges @grace_ms, then free; @on_closed is called
 * once all is over (may be at once). envd.http and .kernel_http are NULL from now on.
 */
void server_close(struct server *s, uint64_t grace_ms, void (*on_closed)(void *owner), void *owner);

#endif
