/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which protocol a request speaks, found by its content type: Connect or gRPC-Web. All serve the
 * same methods with the same messages (message.h); what differs is in struct protocol. No I/O.
 */
#ifndef ADIT_RPC_PROTOCOL_H
#define ADIT_RPC_PROTOCOL_H

#include "base/buf.h"
#include "net/http_msg.h"

/* Bytes of a header's value that an error text quotes. */
#define PROTOCOL_QUOTE_CAP 40

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM };

enum rpc_codec { RPC_JSON, RPC_PROTO };

/*
 * @type:       the content type, that of the answer too; for Connect's streams and for gRPC-Web
 * also that of errors
 * @gzip_in:    the body, or its compressed envelopes, are gzip
 * @gzip_out:   the client takes a gzip answer (a body that is one message; envelopes are never
 *              compressed)
 * @timeout_ms: 0: none
 */
struct protocol_request {
    const struct protocol *protocol;
    enum rpc_kind kind;
    enum rpc_codec codec;
    const char *type;
    bool gzip_in, gzip_out;
    uint64_t timeout_ms;
};

/*
 * @has_envelopes:   messages come in envelopes, the status is 200 always, and an end follows that
 *                   tells how the call went; otherwise a body is one message, an error an HTTP
 * status
 * @accept_encoding: what the answer says of compressed requests, as a header's name; may be NULL
 * @read_head:       timeout and encodings. Errors: BAD_INPUT, UNIMPLEMENTED
 * @append_end:      the bytes that end an answer; @err NULL or without a code: a clean end. Errors:
 *                   LIMIT, NO_MEMORY; @out holds a part then
 * @append_error:    the body of an error, without envelopes. Errors: the same
 */
struct protocol {
    bool has_envelopes;
    const char *accept_encoding;
    int (*read_head)(const struct http_head *head, struct protocol_request *req,
                     struct adit_err *err);
    int (*append_end)(const struct adit_err *err, struct adit_buf *out);
    int (*append_error)(const struct adit_err *err, struct adit_buf *out);
};

/*
 * Method and content type. Return: 0, or the HTTP status of a plain refusal: 405 (with Allow: POST)
 * or 415 (with Accept-Post: protocol_accept_post()).
 */
unsigned protocol_negotiate(const struct http_head *head, enum rpc_kind kind,
                            struct protocol_request *out);
const char *protocol_accept_post(enum rpc_kind kind);

/* For heads: is a message encoding gzip? Errors: UNIMPLEMENTED. */
ADIT_MUST_CHECK int protocol_read_encoding(struct adit_view name, bool *gzip, struct adit_err *err);
/* The beginning of a header's value. */
struct adit_view protocol_quote(struct adit_view value);

#endif
