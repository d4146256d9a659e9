/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of requests and answers: bodies and envelopes in both codecs. No I/O. */
#ifndef ADIT_RPC_MESSAGE_H
#define ADIT_RPC_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "rpc/frame.h"
#include "rpc/protocol.h"

/* Largest request message, after decompression; also the largest body that is one message. */
#define RPC_MESSAGE_MAX FRAME_PAYLOAD_MAX

/* A request's body. @message_cnt: messages yielded so far. */
struct message_reader {
    const struct protocol_request *req; /* borrowed */
    const ProtobufCMessageDescriptor *type;
    struct adit_buf body;       /* without envelopes */
    struct frame_reader frames; /* with them */
    size_t message_cnt;
};

void message_reader_init(struct message_reader *r, const struct protocol_request *req,
                         const ProtobufCMessageDescriptor *type);
void message_reader_fini(struct message_reader *r);
/*
 * Take bytes from the front of @in; *msg is a message (free it with
 * protobuf_c_message_free_unpacked) or NULL when all of @in was taken. Where one envelope is all
 * that is wanted (of a server stream, of a unary call) the bytes behind it are ignored. Errors:
 * BAD_INPUT, LIMIT, PROTOCOL, NO_MEMORY; the reader is of no use then.
 */
ADIT_MUST_CHECK int message_reader_feed(struct message_reader *r, struct adit_view *in,
                                        ProtobufCMessage **msg, struct adit_err *err);
/* The body is complete: *msg is the message that it is, NULL with envelopes. Errors: the same. */
ADIT_MUST_CHECK int message_reader_end(struct message_reader *r, ProtobufCMessage **msg,
                                       struct adit_err *err);

/* Appends; errors of both: LIMIT, NO_MEMORY, BAD_INPUT (a message that has no JSON form). @out
 * holds a part then. */

/* A message as the codec writes it. */
ADIT_MUST_CHECK int message_append(enum rpc_codec codec, const ProtobufCMessage *m,
                                   struct adit_buf *out);
/* The same in an envelope. */
ADIT_MUST_CHECK int message_append_envelope(uint8_t flags, enum rpc_codec codec,
                                            const ProtobufCMessage *m, struct adit_buf *out);

#endif
