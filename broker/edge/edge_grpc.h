/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC for envd, which speaks HTTP/1.1: a gRPC request over HTTP/2 goes to it as gRPC-Web, and its
 * answer's last envelope becomes trailers (docs/wire/connect.md). Messages pass as they are.
 */
#ifndef BROKER_EDGE_EDGE_GRPC_H
#define BROKER_EDGE_EDGE_GRPC_H

#include "broker/edge/edge_frames.h"
#include "net/http_server.h"

/* gRPC's codes that the broker itself answers with. */
enum edge_grpc_code {
    EDGE_GRPC_UNKNOWN = 2,
    EDGE_GRPC_NOT_FOUND = 5,
    EDGE_GRPC_DENIED = 7,
    EDGE_GRPC_EXHAUSTED = 8,
    EDGE_GRPC_UNIMPLEMENTED = 12,
    EDGE_GRPC_INTERNAL = 13,
    EDGE_GRPC_UNAVAILABLE = 14,
    EDGE_GRPC_UNAUTHENTICATED = 16,
};

/* Is this gRPC itself (not gRPC-Web)? */
bool edge_grpc_is(struct adit_view content_type);
/* Append "Content-Type: …" as gRPC-Web says it. @content_type: one that edge_grpc_is(). */
ADIT_MUST_CHECK int edge_grpc_write_type(struct adit_buf *b, struct adit_view content_type);
/* Answer with a status alone. @message: visible ASCII without a percent sign. */
void edge_grpc_refuse(struct http_exchange *x, enum edge_grpc_code code, struct adit_view message);

/* The guest's reply on its way; the functions are those of struct relay_ops. */
struct edge_grpc {
    struct edge_frames frames;
};

void edge_grpc_init(struct edge_grpc *g);
void edge_grpc_fini(struct edge_grpc *g);
bool edge_grpc_head(struct http_exchange *x, const struct http_head *head);
bool edge_grpc_body(struct edge_grpc *g, struct http_exchange *x, struct adit_view bytes);
bool edge_grpc_end(struct edge_grpc *g, struct http_exchange *x);

#endif
