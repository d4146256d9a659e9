/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip (RFC 1952) coding of bodies on zlib, streaming, without I/O. A decoder stops with
 * ADIT_ERR_LIMIT when the output passes @max_out.
 */
#ifndef ADIT_NET_GZIP_H
#define ADIT_NET_GZIP_H

#include "base/buf.h"

struct gzip; /* opaque */

ADIT_MUST_CHECK int gzip_decoder_new(uint64_t max_out, struct gzip **out, struct adit_err *err);
ADIT_MUST_CHECK int gzip_encoder_new(struct gzip **out, struct adit_err *err);
void gzip_free(struct gzip *g);

/*
 * Code a piece: take from the front of @in, write at most @out_cap bytes to @out, set *out_len.
 * Call again until in->len is 0 and *out_len < out_cap. @finish: there is no more input; *done is
 * set when the stream is complete (decoder: the trailer was checked; bytes after it are an error).
 * Errors: BAD_INPUT (corrupt, truncated with @finish), LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int gzip_step(struct gzip *g, struct adit_view *in, bool finish, void *out,
                              size_t out_cap, size_t *out_len, bool *done, struct adit_err *err);
/* Whole small messages. Appends to @out. */
ADIT_MUST_CHECK int gzip_decode_all(struct adit_view in, uint64_t max_out, struct adit_buf *out,
                                    struct adit_err *err);
ADIT_MUST_CHECK int gzip_encode_all(struct adit_view in, struct adit_buf *out,
                                    struct adit_err *err);

#endif
