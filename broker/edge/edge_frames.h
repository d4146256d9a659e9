/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a gRPC-Web answer, cut into what a gRPC client gets as body and its trailers. No I/O.
 *
 * Theory of operation
 *
 * What: the body is envelopes: a byte of flags, four of length, the payload. Those with flag 0x80
 * clear are messages and pass as they are; the one with it is the last and holds the trailers as
 * "name: value" lines. Bytes of messages are never copied, but for a prefix that comes in pieces.
 *
 * Trust: a guest sends this. An unknown flag, trailers above EDGE_FRAMES_TRAILERS_MAX, bytes behind
 * them, an end before them, a grpc-status that is missing, doubled or no number of gRPC's: refused.
 * The length of a message is not looked at; it streams.
 */
#ifndef BROKER_EDGE_EDGE_FRAMES_H
#define BROKER_EDGE_EDGE_FRAMES_H

#include "base/buf.h"

#define EDGE_FRAMES_PREFIX 5
#define EDGE_FRAMES_TRAILERS_MAX (16u * 1024)
#define EDGE_FRAMES_STATUS_MAX 16

/*
 * Embedded by its owner.
 *
 * @prefix: of an envelope, as far as it came; kept until the next call after it was given out
 * @left:   bytes of the envelope's payload to come
 */
struct edge_frames {
    unsigned char prefix[EDGE_FRAMES_PREFIX];
    size_t prefix_len;
    uint32_t left;
    bool in_trailers, is_ended;
    struct adit_buf trailers;
};

void edge_frames_init(struct edge_frames *f);
void edge_frames_fini(struct edge_frames *f);
/*
 * Take bytes from the front of @in; @body is what the client gets of them, empty when all input is
 * used. Errors: PROTOCOL, LIMIT, NO_MEMORY; then it must not be called again.
 */
ADIT_MUST_CHECK int edge_frames_next(struct edge_frames *f, struct adit_view *in,
                                     struct adit_view *body, struct adit_err *err);
/* All came. Errors: PROTOCOL. */
ADIT_MUST_CHECK int edge_frames_end(const struct edge_frames *f, struct adit_err *err);
/* The trailers, once edge_frames_end() was fine: one name and value, taken from the front of @rest.
 * Return: false behind the last. */
struct adit_view edge_frames_trailers(const struct edge_frames *f);
bool edge_frames_trailer(struct adit_view *rest, struct adit_view *name, struct adit_view *value);

#endif
