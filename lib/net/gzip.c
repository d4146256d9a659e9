/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip coding of bodies on zlib.
 *
 * Theory of operation
 *
 * What:    one struct for both directions around a z_stream, in pieces; and whole small messages.
 *          Exactly one gzip member is a body: bytes behind the trailer are an error, not ignored.
 * Limits:  a decoder's output: @max_out. How far it was compressed says nothing: a file of zeros
 *          comes 1:1,026, which is also all that deflate can do. Memory: zlib's own, about 40 KiB
 *          to read and 256 KiB to write.
 * Trust:   a decoder's input is hostile.
 * Failure: the coder is of no use after an error.
 */
#include "net/gzip.h"

#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

/* zlib: 15 bits of window, 16 more for the gzip wrapper instead of zlib's. */
#define WINDOW_BITS (15 + 16)
#define MEMORY_LEVEL 8
/* Bodies are coded while somebody waits for them: speed before size. */
#define LEVEL Z_BEST_SPEED
/* zlib counts in unsigned int. */
#define PIECE_MAX (1u << 30)
/* How much room the whole-message functions ask for at a time. */
#define ROOM 4096u

struct gzip {
    z_stream z;
    bool is_encoder, is_done;
    uint64_t max_out, total_out;
};

static int new_coder(bool is_encoder, uint64_t max_out, struct gzip **out, struct adit_err *err)
{
    struct gzip *g = calloc(1, sizeof(*g));
    if (!g)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for gzip");
    g->is_encoder = is_encoder;
    g->max_out = max_out;
    int rc = is_encoder ? deflateInit2(&g->z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                                       Z_DEFAULT_STRATEGY)
                        : inflateInit2(&g->z, WINDOW_BITS);
    if (rc != Z_OK) {
        free(g);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for gzip");
    }
    *out = g;
    return ADIT_OK;
}

int gzip_decoder_new(uint64_t max_out, struct gzip **out, struct adit_err *err)
{
    return new_coder(false, max_out, out, err);
}

int gzip_encoder_new(struct gzip **out, struct adit_err *err)
{
    return new_coder(true, UINT64_MAX, out, err);
}

void gzip_free(struct gzip *g)
{
    if (!g)
        return;
    if (g->is_encoder)
        deflateEnd(&g->z);
    else
        inflateEnd(&g->z);
    free(g);
}

static unsigned piece(size_t len)
{
    return len < PIECE_MAX ? (unsigned)len : PIECE_MAX;
}

/* One call of zlib. Return: its result. */
static int run(struct gzip *g, struct adit_view *in, bool finish, void *out, size_t out_cap,
               size_t *out_len)
{
    unsigned in_piece = piece(in->len), out_piece = piece(out_cap);
    g->z.next_in = (const Bytef *)in->ptr;
    g->z.avail_in = in_piece;
    g->z.next_out = out;
    g->z.avail_out = out_piece;
    int flush = finish && in_piece == in->len ? Z_FINISH : Z_NO_FLUSH;
    int rc = g->is_encoder ? deflate(&g->z, flush) : inflate(&g->z, Z_NO_FLUSH);
    size_t used = in_piece - g->z.avail_in;
    *out_len = out_piece - g->z.avail_out;
    g->total_out += *out_len;
    if (used > 0)
        *in = adit_view_mem(in->ptr + used, in->len - used);
    return rc;
}

int gzip_step(struct gzip *g, struct adit_view *in, bool finish, void *out, size_t out_cap,
              size_t *out_len, bool *done, struct adit_err *err)
{
    *out_len = 0;
    *done = false;
    int rc = g->is_done ? Z_STREAM_END : run(g, in, finish, out, out_cap, out_len);
    g->is_done = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for gzip");
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "corrupt gzip data");
    if (g->is_done && in->len > 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "bytes behind the end of gzip data");
    bool is_stuck = finish && in->len == 0 && *out_len < out_cap && !g->is_done;
    if (is_stuck)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "truncated gzip data");
    *done = g->is_done;
    if (g->total_out > g->max_out)
        return adit_err_set(err, ADIT_ERR_LIMIT, "decompressed body is too large");
    return ADIT_OK;
}

/* A full buffer is no error while only the end of the stream is to come. */
static int code_beyond(struct gzip *g, struct adit_view *in, bool *done, struct adit_err *err)
{
    char extra;
    size_t len;
    int rc = gzip_step(g, in, true, &extra, 1, &len, done, err);
    if (rc == ADIT_OK && len > 0)
        return adit_err_set(err, ADIT_ERR_LIMIT, "no room for the coded message");
    return rc;
}

static int code_some(struct gzip *g, struct adit_view *in, struct adit_buf *out, bool *done,
                     struct adit_err *err)
{
    size_t len, room = out->max - out->len < ROOM ? out->max - out->len : ROOM;
    if (room == 0)
        return code_beyond(g, in, done, err);
    if (adit_buf_reserve(out, room) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the coded message");
    int rc = gzip_step(g, in, true, adit_buf_tail(out), room, &len, done, err);
    if (rc == ADIT_OK)
        adit_buf_added(out, len);
    return rc;
}

static int code_all(struct gzip *g, struct adit_view in, struct adit_buf *out, struct adit_err *err)
{
    bool done = false;
    int rc = ADIT_OK;
    while (rc == ADIT_OK && !done)
        rc = code_some(g, &in, out, &done, err);
    return rc;
}

int gzip_decode_all(struct adit_view in, uint64_t max_out, struct adit_buf *out,
                    struct adit_err *err)
{
    struct gzip *g;
    int rc = gzip_decoder_new(max_out, &g, err);
    if (rc != ADIT_OK)
        return rc;
    rc = code_all(g, in, out, err);
    gzip_free(g);
    return rc;
}

int gzip_encode_all(struct adit_view in, struct adit_buf *out, struct adit_err *err)
{
    struct gzip *g;
    int rc = gzip_encoder_new(&g, err);
    if (rc != ADIT_OK)
        return rc;
    rc = code_all(g, in, out, err);
    gzip_free(g);
    return rc;
}
