/* SPDX-License-Identifier: Apache-2.0 */
/* Hexadecimal and base64. */
#include "tests/unit/suite.h"

#include "base/encode.h"

START_TEST(hex_goes_both_ways)
{
    unsigned char bytes[256], back[256];
    char text[513];
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    adit_hex_encode(bytes, 256, text);
    ck_assert_int_eq(strncmp(text, "000102", 6), 0);
    ck_assert_str_eq(text + 506, "fdfeff");
    ck_assert_int_eq(adit_hex_decode(adit_view_str(text), back, 256), 0);
    ck_assert_mem_eq(bytes, back, 256);
    ck_assert_int_eq(adit_hex_decode(adit_view_str("aBCd"), back, 2), 0);
    ck_assert_mem_eq(back, "\xAB\xCD", 2);
}
END_TEST

START_TEST(hex_refuses_other_lengths_and_digits)
{
    char out[4];
    static const char *const bad[] = {"", "a", "abc", "abcdef", "ag", "0x", " a", "a\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(adit_hex_decode(adit_view_str(bad[i]), out, i == 3 ? 2 : 1),
                         ADIT_ERR_BAD_INPUT);
}
END_TEST

static const struct {
    const char *bytes, *text;
} rfc_rows[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xFB\xFF\xBF", "+/+/"},
};

START_TEST(base64_matches_rfc_4648)
{
    for (size_t i = 0; i < sizeof rfc_rows / sizeof rfc_rows[0]; i++) {
        struct adit_buf b;
        adit_buf_init(&b, 100);
        size_t len = strlen(rfc_rows[i].bytes), out_len = 99;
        char out[16];
        ck_assert_int_eq(adit_base64_append(&b, rfc_rows[i].bytes, len), 0);
        ck_assert(adit_view_eq_str(adit_buf_view(&b), rfc_rows[i].text));
        ck_assert_int_eq(adit_base64_decode(adit_view_str(rfc_rows[i].text), out, &out_len), 0);
        ck_assert(adit_view_eq_str(adit_view_mem(out, out_len), rfc_rows[i].bytes));
        adit_buf_fini(&b);
    }
}
END_TEST

START_TEST(base64_reads_both_alphabets_and_missing_padding)
{
    char out[16];
    size_t len;
    ck_assert_int_eq(adit_base64_decode(adit_view_str("-_-_"), out, &len), 0);
    ck_assert(adit_view_eq_str(adit_view_mem(out, len), "\xFB\xFF\xBF"));
    ck_assert_int_eq(adit_base64_decode(adit_view_str("Zm9vYg"), out, &len), 0);
    ck_assert(adit_view_eq_str(adit_view_mem(out, len), "foob"));
    ck_assert_int_eq(adit_base64_decode(adit_view_str("Zm9vYmE"), out, &len), 0);
    ck_assert(adit_view_eq_str(adit_view_mem(out, len), "fooba"));
}
END_TEST

START_TEST(base64_refuses_everything_else)
{
    static const char *const bad[] = {
        "=",     "==",    "===",   "====",     "A",     "A===",    "AA=",
        "AAA==", "AAAAA", "Zg= =", "Zg==Zg==", "Z=g=",  "Zm9v\n",  " Zm9v",
        "Zm9*",  "Zh==",  "Zm9=",  "Zh",       "Zm9v=", "Zm\xFF=", "Zm9v====",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char out[16];
        size_t len;
        ck_assert_msg(adit_base64_decode(adit_view_str(bad[i]), out, &len) == ADIT_ERR_BAD_INPUT,
                      "%s", bad[i]);
    }
}
END_TEST

START_TEST(base64_returns_what_was_encoded_for_every_length)
{
    unsigned char bytes[300], back[310];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct adit_buf b;
        size_t len;
        adit_buf_init(&b, adit_base64_len(n));
        ck_assert_int_eq(adit_base64_append(&b, bytes, n), 0);
        ck_assert_uint_eq(b.len, adit_base64_len(n));
        ck_assert_int_eq(adit_base64_decode(adit_buf_view(&b), back, &len), 0);
        ck_assert_uint_eq(len, n);
        ck_assert_int_eq(memcmp(bytes, back, n), 0);
        adit_buf_fini(&b);
    }
}
END_TEST

START_TEST(base64_append_keeps_to_the_buffers_maximum)
{
    struct adit_buf b;
    adit_buf_init(&b, 7);
    ck_assert_int_eq(adit_base64_append(&b, "abcd", 4), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_int_eq(adit_base64_append(&b, NULL, SIZE_MAX), ADIT_ERR_LIMIT);
    adit_buf_fini(&b);
}
END_TEST

SUITE_MAIN("encode", hex_goes_both_ways, hex_refuses_other_lengths_and_digits,
           base64_matches_rfc_4648, base64_reads_both_alphabets_and_missing_padding,
           base64_refuses_everything_else, base64_returns_what_was_encoded_for_every_length,
           base64_append_keeps_to_the_buffers_maximum)
