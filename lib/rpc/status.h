/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where an error code becomes an HTTP status, a Connect code or an exit status. */
#ifndef ADIT_RPC_STATUS_H
#define ADIT_RPC_STATUS_H

#include "base/view.h"

/* REST: 400, 401, 403, 404, 409, 429, 507, 504, … */
unsigned rpc_status_http(int code);
/* Connect: "invalid_argument", "unauthenticated", … (docs:
 * connectrpc.com/docs/protocol#error-codes). */
const char *rpc_status_connect(int code);
/* The HTTP status of a unary Connect error. */
unsigned rpc_status_connect_http(int code);
/* gRPC: 0 for none, 3 for "invalid_argument", … (grpc.io/docs/guides/status-codes). */
unsigned rpc_status_grpc(int code);
/* A Connect code word, or an HTTP status without one, as an error code (clients). */
int rpc_status_from_connect(struct adit_view word);
int rpc_status_from_http(unsigned status);
/* sysexits(3)-like: 0, 1, 2 (usage), 69, 73, 75, 77. */
int rpc_status_exit(int code);

#endif
