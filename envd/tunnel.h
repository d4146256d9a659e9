/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest port 1024: a channel that becomes a connection to a TCP port on the guest's loopback
 * (docs/wire/channel.md).
 */
#ifndef ENVD_TUNNEL_H
#define ENVD_TUNNEL_H

#include "net/stream.h"

/* From adoption to the line, and for both attempts to connect together. */
#define TUNNEL_LINE_MS 2000
#define TUNNEL_DIAL_MS 2000

/* All tunnels; embedded in its owner. @tunnels: owned. */
struct tunnel_set {
    struct net_loop *loop; /* borrowed */
    struct adit_list tunnels;
    size_t cnt;
};

void tunnel_set_init(struct tunnel_set *s, struct net_loop *l);
/* Break every tunnel. */
void tunnel_set_close(struct tunnel_set *s);
/* Take a stream on which the line comes next; @already was read from it. */
void tunnel_adopt(struct tunnel_set *s, struct net_stream *take_stream, struct adit_view already);

#endif
