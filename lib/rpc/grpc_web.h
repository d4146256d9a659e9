/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is gRPC-Web's own (github.com/grpc/grpc, doc/PROTOCOL-WEB.md), without I/O: heads and the
 * envelope of trailers that ends an answer. See docs/wire/connect.md.
 */
#ifndef ADIT_RPC_GRPC_WEB_H
#define ADIT_RPC_GRPC_WEB_H

#include "rpc/protocol.h"

/* Digits of a timeout, before its unit. */
#define GRPC_WEB_TIMEOUT_DIGITS 8

extern const struct protocol grpc_web;

/* grpc-timeout as milliseconds, rounded up, at least 1: "0n" has passed, but is a limit. Absent or
 * empty: 0, none. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int grpc_web_timeout(struct adit_view text, uint64_t *out_ms, struct adit_err *err);
/* The envelope of trailers; @err NULL: a clean end. Errors: LIMIT, NO_MEMORY; @out holds a part
 * then. */
ADIT_MUST_CHECK int grpc_web_append_end(const struct adit_err *err, struct adit_buf *out);

#endif
