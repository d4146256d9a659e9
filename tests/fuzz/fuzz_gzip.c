/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip: the input is decoded, and encoded and decoded. Oracles: round trip; the cut does not
 * matter; output is bounded.
 */
#include "net/gzip.h"

#include <stdlib.h>

#define OUT_MAX (1024u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Pieces of 1 byte in, 61 bytes out. */
static int decode_in_pieces(struct adit_view in, struct adit_buf *out)
{
    struct gzip *g;
    bool done = false;
    int rc = gzip_decoder_new(OUT_MAX, &g, NULL);
    check(rc == ADIT_OK);
    do {
        struct adit_view piece = {in.ptr, in.len > 0 ? 1 : 0};
        if (piece.len > 0)
            in = adit_view_mem(in.ptr + 1, in.len - 1);
        char bytes[61];
        size_t len = sizeof(bytes);
        while (rc == ADIT_OK && (piece.len > 0 || (len == sizeof(bytes) && !done))) {
            rc = gzip_step(g, &piece, in.len == 0, bytes, sizeof(bytes), &len, &done, NULL);
            if (rc == ADIT_OK)
                check(adit_buf_append(out, bytes, len) == ADIT_OK);
        }
    } while (rc == ADIT_OK && in.len > 0);
    gzip_free(g);
    return rc;
}

static void check_decode(struct adit_view in)
{
    struct adit_buf whole, cut;
    adit_buf_init(&whole, 2 * OUT_MAX);
    adit_buf_init(&cut, 2 * OUT_MAX);
    int rc = gzip_decode_all(in, OUT_MAX, &whole, NULL);
    int cut_rc = decode_in_pieces(in, &cut);
    check(whole.len <= OUT_MAX && cut.len <= OUT_MAX);
    check((rc == ADIT_OK) == (cut_rc == ADIT_OK));
    check(rc != ADIT_OK || adit_view_eq(adit_buf_view(&whole), adit_buf_view(&cut)));
    adit_buf_fini(&cut);
    adit_buf_fini(&whole);
}

static void check_round_trip(struct adit_view in)
{
    struct adit_buf coded, plain;
    adit_buf_init(&coded, in.len + 1024);
    adit_buf_init(&plain, in.len);
    check(gzip_encode_all(in, &coded, NULL) == ADIT_OK);
    check(gzip_decode_all(adit_buf_view(&coded), in.len, &plain, NULL) == ADIT_OK);
    check(adit_view_eq(in, adit_buf_view(&plain)));
    adit_buf_fini(&plain);
    adit_buf_fini(&coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_decode(adit_view_mem(data, size));
    check_round_trip(adit_view_mem(data, size));
    return 0;
}
