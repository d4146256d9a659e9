/* SPDX-License-Identifier: Apache-2.0 */
/* gzip coding: round trips in any pieces, and bodies that are refused. */
#include "net/gzip.h"

#include "tests/unit/suite.h"
#include <stdlib.h>
#include <zlib.h>

#define MEBIBYTE (1024u * 1024)

static struct adit_buf coded, plain;

static void setup(void)
{
    adit_buf_init(&coded, 8 * MEBIBYTE);
    adit_buf_init(&plain, 8 * MEBIBYTE);
}

static void teardown(void)
{
    adit_buf_fini(&coded);
    adit_buf_fini(&plain);
}

/* Text that repeats a little. */
static void fill(struct adit_buf *b, size_t len)
{
    unsigned seed = 1;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245u + 12345u;
        ck_assert_int_eq(adit_buf_append_char(b, (char)('a' + (seed >> 16) % 7)), ADIT_OK);
    }
}

START_TEST(gzip_decodes_what_it_encodes)
{
    static const size_t lens[] = {0, 1, 4095, 4096, 100000};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct adit_buf text;
        adit_buf_init(&text, MEBIBYTE);
        fill(&text, lens[i]);
        adit_buf_clear(&coded);
        adit_buf_clear(&plain);
        ck_assert_int_eq(gzip_encode_all(adit_buf_view(&text), &coded, NULL), ADIT_OK);
        ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), lens[i], &plain, NULL), ADIT_OK);
        ck_assert(adit_view_eq(adit_buf_view(&text), adit_buf_view(&plain)));
        adit_buf_fini(&text);
    }
}
END_TEST

/* Decode @in in pieces of @in_step bytes into pieces of @out_step. */
static int decode_in_pieces(struct adit_view in, size_t in_step, size_t out_step)
{
    struct gzip *g;
    bool done = false;
    int rc = gzip_decoder_new(UINT64_MAX, &g, NULL);
    ck_assert_int_eq(rc, ADIT_OK);
    while (rc == ADIT_OK && !done) {
        struct adit_view piece = {in.ptr, in.len < in_step ? in.len : in_step};
        in = adit_view_mem(in.ptr + piece.len, in.len - piece.len);
        size_t len = out_step;
        while (rc == ADIT_OK && !done && (piece.len > 0 || len == out_step)) {
            char bytes[64];
            rc = gzip_step(g, &piece, in.len == 0, bytes, out_step, &len, &done, NULL);
            if (rc == ADIT_OK)
                rc = adit_buf_append(&plain, bytes, len);
        }
    }
    gzip_free(g);
    return rc;
}

START_TEST(gzip_does_not_care_how_a_stream_is_cut)
{
    static const size_t steps[] = {1, 2, 7, 64};
    struct adit_buf text;
    adit_buf_init(&text, MEBIBYTE);
    fill(&text, 5000);
    ck_assert_int_eq(gzip_encode_all(adit_buf_view(&text), &coded, NULL), ADIT_OK);
    for (size_t i = 0; i < 16; i++) {
        adit_buf_clear(&plain);
        ck_assert_int_eq(decode_in_pieces(adit_buf_view(&coded), steps[i / 4], steps[i % 4]),
                         ADIT_OK);
        ck_assert(adit_view_eq(adit_buf_view(&text), adit_buf_view(&plain)));
    }
    adit_buf_fini(&text);
}
END_TEST

START_TEST(gzip_refuses_every_truncation)
{
    static const struct adit_view text = ADIT_VIEW("hello hello hello");
    ck_assert_int_eq(gzip_encode_all(text, &coded, NULL), ADIT_OK);
    for (size_t len = 0; len < coded.len; len++) {
        struct adit_view cut = {adit_buf_view(&coded).ptr, len};
        adit_buf_clear(&plain);
        ck_assert_int_eq(gzip_decode_all(cut, 100, &plain, NULL), ADIT_ERR_BAD_INPUT);
    }
}
END_TEST

START_TEST(gzip_refuses_corruption_and_what_is_behind_the_end)
{
    static const struct adit_view text = ADIT_VIEW("hello hello hello"), junk = ADIT_VIEW("junk");
    ck_assert_int_eq(gzip_encode_all(text, &coded, NULL), ADIT_OK);
    size_t len = coded.len;
    coded.data[coded.off + len - 6] ^= 1; /* the checksum */
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), 100, &plain, NULL), ADIT_ERR_BAD_INPUT);
    coded.data[coded.off + len - 6] ^= 1;
    ck_assert_int_eq(gzip_encode_all(text, &coded, NULL), ADIT_OK); /* a second member */
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), 100, &plain, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(gzip_decode_all(junk, 100, &plain, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(gzip_bounds_the_output)
{
    static const struct adit_view text = ADIT_VIEW("hello hello hello");
    struct adit_buf small;
    ck_assert_int_eq(gzip_encode_all(text, &coded, NULL), ADIT_OK);
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), text.len, &plain, NULL), ADIT_OK);
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), text.len - 1, &plain, NULL),
                     ADIT_ERR_LIMIT);
    adit_buf_init(&small, text.len);
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), 100, &small, NULL), ADIT_OK);
    adit_buf_fini(&small);
    adit_buf_init(&small, text.len - 1);
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&coded), 100, &small, NULL), ADIT_ERR_LIMIT);
    adit_buf_fini(&small);
}
END_TEST

/* As dense as deflate gets, 1:1025; the encoder under test is made for speed and reaches 1:229. */
static struct adit_view bomb(size_t len, unsigned char *out, size_t out_cap)
{
    z_stream z = {0};
    unsigned char *zeros = calloc(1, len);
    ck_assert_ptr_nonnull(zeros);
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = zeros;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = (unsigned)out_cap;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    free(zeros);
    return adit_view_mem(out, out_cap - z.avail_out);
}

START_TEST(gzip_bounds_a_bomb_by_its_size_alone)
{
    unsigned char bytes[16384];
    struct adit_view in = bomb(7 * MEBIBYTE, bytes, sizeof(bytes));
    ck_assert_int_eq(gzip_decode_all(in, MEBIBYTE, &plain, NULL), ADIT_ERR_LIMIT);
    ck_assert_uint_le(plain.len, MEBIBYTE);
    adit_buf_clear(&plain);
    ck_assert_int_eq(gzip_decode_all(in, UINT64_MAX, &plain, NULL), ADIT_OK);
    ck_assert_uint_eq(plain.len, 7 * MEBIBYTE);
}
END_TEST

SUITE_MAIN_WITH("gzip", .fixtures = {{setup, teardown}},
                TESTS(gzip_decodes_what_it_encodes, gzip_does_not_care_how_a_stream_is_cut,
                      gzip_refuses_every_truncation,
                      gzip_refuses_corruption_and_what_is_behind_the_end, gzip_bounds_the_output,
                      gzip_bounds_a_bomb_by_its_size_alone))
