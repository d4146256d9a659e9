/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request is for, read from Host and the routing headers. No I/O.
 *
 * Order (house rules, routing.md 3.1): Host "api.<domain>" is the control API's whatever the
 * headers say; Host "<port>-<sandbox>.<domain>"; the headers E2b-Sandbox-Id and E2b-Sandbox-Port on
 * any other host; everything else is for the control API. Both kinds present and different:
 * refused, and so is a target in absolute form that names another host than Host. Ports are
 * canonical decimals and are compared and forwarded as numbers.
 */
#ifndef BROKER_EDGE_EDGE_TARGET_H
#define BROKER_EDGE_EDGE_TARGET_H

#include "broker/edge/edge.h"

enum edge_target_kind {
    EDGE_TARGET_API,
    EDGE_TARGET_SANDBOX,
    EDGE_TARGET_REFUSED, /* 400 text/plain with @refusal */
};

/*
 * @sandbox_id: borrowed from the input, [a-z0-9]+
 * @refusal:    static text
 */
struct edge_target {
    enum edge_target_kind kind;
    struct adit_view sandbox_id;
    uint16_t port;
    const char *refusal;
};

/*
 * What the client sent, borrowed from its head.
 *
 * @host: the Host header, with or without port; empty: none
 * @id:   E2b-Sandbox-Id, @port: E2b-Sandbox-Port; NULL ptr when absent
 * @path: the request target
 */
struct edge_target_input {
    struct adit_view host, id, port, path;
};

/* @domain: lower case, without port. */
void edge_target_parse(const struct edge_target_input *in, struct adit_view domain,
                       struct edge_target *out);

/* Ports that no client reaches: the tunnel, control and accept ports of the channel. */
bool edge_target_is_reserved(uint16_t port);
/* Is the cleaned path one of envd's control routes, which only the host may call? */
bool edge_target_is_envd_control(struct adit_view clean_path);

#endif
