/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes of Connect's streams, of gRPC-Web and of the control channel: one byte of flags, four
 * bytes big-endian length, payload. No I/O. (connectrpc.com/docs/protocol#streaming-request; grpc's
 * PROTOCOL-WEB.md)
 */
#ifndef ADIT_RPC_FRAME_H
#define ADIT_RPC_FRAME_H

#include "base/buf.h"

#define FRAME_HEAD_LEN 5
#define FRAME_FLAG_COMPRESSED 0x01
#define FRAME_FLAG_END 0x02      /* Connect */
#define FRAME_FLAG_TRAILERS 0x80 /* gRPC-Web */
#define FRAME_PAYLOAD_MAX (4u * 1024 * 1024)

/*
 * @max:        longest payload
 * @partial:    the envelope that arrives in pieces, with its head
 * @handed_out: @partial is whole and was given to the caller
 */
struct frame_reader {
    size_t max;
    struct adit_buf partial;
    bool handed_out;
};

/* @max: of a payload, at most FRAME_PAYLOAD_MAX. */
void frame_reader_init(struct frame_reader *r, size_t max);
void frame_reader_fini(struct frame_reader *r);
/*
 * Take bytes from the front of @in. *complete: @flags and @payload describe one envelope, valid
 * until the next call. Errors: LIMIT (length above the maximum, checked before any
 * allocation), BAD_INPUT (unknown flag bits), NO_MEMORY.
 */
ADIT_MUST_CHECK int frame_read(struct frame_reader *r, struct adit_view *in, bool *complete,
                               uint8_t *flags, struct adit_view *payload, struct adit_err *err);
/* True when no part of an envelope is held. */
bool frame_reader_is_idle(const struct frame_reader *r);
/* @len: bytes of the payload, at most 4 GiB - 1. */
void frame_write_head(char out[FRAME_HEAD_LEN], uint8_t flags, size_t len);
/* Append an envelope whose length is not known yet: room for its head, then what the caller
 * appends, then the head is written. @start: out->len before frame_begin(). Errors: LIMIT,
 * NO_MEMORY. */
ADIT_MUST_CHECK int frame_begin(struct adit_buf *out);
void frame_finish(struct adit_buf *out, size_t start, uint8_t flags);

#endif
