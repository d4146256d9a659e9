/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Connect protocol (connectrpc.com/docs/protocol) without I/O: what a request's head asks for,
 * its body as messages, and the bytes of answers. See docs/wire/connect.md.
 */
#ifndef ADIT_RPC_CONNECT_H
#define ADIT_RPC_CONNECT_H

#include <protobuf-c/protobuf-c.h>

#include "net/http_msg.h"
#include "rpc/frame.h"

/* Largest request message, after decompression; also the largest unary body. */
#define RPC_MESSAGE_MAX FRAME_PAYLOAD_MAX
/* Unary answers below this many bytes are not worth compressing. */
#define CONNECT_GZIP_MIN 4096u
/* Digits of a timeout in milliseconds. */
#define CONNECT_TIMEOUT_DIGITS 10

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM };

enum connect_codec { CONNECT_JSON, CONNECT_PROTO };

/*
 * @gzip_in:    the body (unary) or compressed envelopes are gzip
 * @gzip_out:   the client takes a gzip answer (unary; streams are never compressed)
 * @timeout_ms: 0: none
 */
struct connect_request {
    enum rpc_kind kind;
    enum connect_codec codec;
    bool gzip_in, gzip_out;
    uint64_t timeout_ms;
};

/*
 * Method and content type. Return: 0, or the HTTP status of a plain refusal: 405 (with Allow: POST)
 * or 415 (with Accept-Post: connect_accept_post()).
 */
unsigned connect_negotiate(const struct http_head *head, enum rpc_kind kind,
                           struct connect_request *out);
const char *connect_accept_post(enum rpc_kind kind);
/* Version, timeout, encodings, once the codec is known. Errors: BAD_INPUT, UNIMPLEMENTED. */
ADIT_MUST_CHECK int connect_read_head(const struct http_head *head, struct connect_request *req,
                                      struct adit_err *err);

/* The Content-Type of the answer; for streams also of its errors. */
const char *connect_content_type(const struct connect_request *req);

/* A request's body. @message_cnt: messages yielded so far. */
struct connect_reader {
    const struct connect_request *req; /* borrowed */
    const ProtobufCMessageDescriptor *type;
    struct adit_buf body;       /* unary */
    struct frame_reader frames; /* streams */
    size_t message_cnt;
};

void connect_reader_init(struct connect_reader *r, const struct connect_request *req,
                         const ProtobufCMessageDescriptor *type);
void connect_reader_fini(struct connect_reader *r);
/*
 * Take bytes from the front of @in; *msg is a message (free it with
 * protobuf_c_message_free_unpacked) or NULL when all of @in was taken. Behind the one message of a
 * server stream all bytes are ignored. Errors: BAD_INPUT, LIMIT, PROTOCOL, NO_MEMORY; the reader is
 * of no use then.
 */
ADIT_MUST_CHECK int connect_reader_feed(struct connect_reader *r, struct adit_view *in,
                                        ProtobufCMessage **msg, struct adit_err *err);
/* The body is complete: *msg is the unary message, NULL for streams. Errors: the same. */
ADIT_MUST_CHECK int connect_reader_end(struct connect_reader *r, ProtobufCMessage **msg,
                                       struct adit_err *err);

/* Appends; errors of all: LIMIT, NO_MEMORY (and BAD_INPUT for a message that has no JSON form).
 * @out holds a part then. */

/* A message as the codec writes it, for a unary body. */
ADIT_MUST_CHECK int connect_append_message(enum connect_codec codec, const ProtobufCMessage *m,
                                           struct adit_buf *out);
/* The same in an envelope. */
ADIT_MUST_CHECK int connect_append_envelope(enum connect_codec codec, const ProtobufCMessage *m,
                                            struct adit_buf *out);
/* The body of a unary error: always JSON. */
ADIT_MUST_CHECK int connect_append_error(const struct adit_err *err, struct adit_buf *out);
/* The envelope that ends a stream; @err NULL: a clean end. */
ADIT_MUST_CHECK int connect_append_end(const struct adit_err *err, struct adit_buf *out);
/* Read a unary error's body (clients). Errors: BAD_INPUT when it is none; @out is set on success.
 */
ADIT_MUST_CHECK int connect_parse_error(struct adit_view body, struct adit_err *out);

#endif
