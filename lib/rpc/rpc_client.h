/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unary Connect calls with binary protobuf over a pool. One callback per call: the answer (freed by
 * the client after it returns) or the peer's error, within timeout_ms.
 */
#ifndef ADIT_RPC_RPC_CLIENT_H
#define ADIT_RPC_RPC_CLIENT_H

#include <protobuf-c/protobuf-c.h>

#include "net/http_client.h"

/* Largest answer. */
#define RPC_CLIENT_ANSWER_MAX (16u * 1024 * 1024)

struct rpc_client_call;

/* Exactly one of @answer and @err is not NULL. Errors: the server's own code and message; TIMEOUT;
 * UNAVAILABLE (nobody there). */
typedef void (*rpc_client_fn)(void *user, const ProtobufCMessage *answer,
                              const struct adit_err *err);

/* Never calls back before it returns. Errors: LIMIT, NO_MEMORY; then no callback comes. *out may be
 * NULL when the caller never cancels. */
ADIT_MUST_CHECK int rpc_client_start(struct http_pool *p, const char *path,
                                     const ProtobufCMessage *request,
                                     const ProtobufCMessageDescriptor *response,
                                     uint64_t timeout_ms, rpc_client_fn on_done, void *user,
                                     struct rpc_client_call **out, struct adit_err *err);
/* No callback follows. */
void rpc_client_cancel(struct rpc_client_call *c);

#endif
