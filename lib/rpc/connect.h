/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is Connect's own (connectrpc.com/docs/protocol), without I/O: heads, errors, the end of a
 * stream. See docs/wire/connect.md.
 */
#ifndef ADIT_RPC_CONNECT_H
#define ADIT_RPC_CONNECT_H

#include "rpc/protocol.h"

/* Digits of a timeout in milliseconds. */
#define CONNECT_TIMEOUT_DIGITS 10

/* A unary call is one message a body; streams have envelopes. */
extern const struct protocol connect_unary, connect_stream;

/* Appends; errors of both: LIMIT, NO_MEMORY; @out holds a part then. */

/* The body of a unary error: always JSON. */
ADIT_MUST_CHECK int connect_append_error(const struct adit_err *err, struct adit_buf *out);
/* The envelope that ends a stream, always JSON; @err NULL: a clean end. */
ADIT_MUST_CHECK int connect_append_end(const struct adit_err *err, struct adit_buf *out);
/* Read a unary error's body (clients). Errors: BAD_INPUT when it is none; @out is set on success.
 */
ADIT_MUST_CHECK int connect_parse_error(struct adit_view body, struct adit_err *out);

#endif
