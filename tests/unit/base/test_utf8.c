/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 from outside. */
#include "tests/unit/suite.h"

#include "base/utf8.h"

START_TEST(utf8_accepts_every_scalar_value)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        uint32_t rest = c;
        for (size_t i = n; i-- > 1; rest >>= 6)
            b[i] = (char)(0x80 | (rest & 0x3F));
        static const unsigned lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
        b[0] = (char)(lead[n] | rest);
        bool is_surrogate = c >= 0xD800 && c <= 0xDFFF;
        ck_assert_uint_eq(adit_utf8_char_len(adit_view_mem(b, n)), is_surrogate ? 0 : n);
        if (n > 1)
            ck_assert_uint_eq(adit_utf8_char_len(adit_view_mem(b, n - 1)), 0);
    }
}
END_TEST

START_TEST(utf8_refuses_what_is_not_a_character)
{
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xC3(",
        "\xE2\x82(",
        "\xE2(\xA1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!adit_utf8_valid(adit_view_str(bad[i])), "row %zu", i);
    ck_assert(adit_utf8_valid(adit_view_str("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80")));
    ck_assert(adit_utf8_valid(adit_view_mem(NULL, 0)));
}
END_TEST

static void expect_json(const char *in, size_t in_len, const char *out, size_t used)
{
    char got[ADIT_UTF8_JSON_CAP];
    size_t got_used, n = adit_utf8_json_char(adit_view_mem(in, in_len), got, &got_used);
    ck_assert(adit_view_eq_str(adit_view_mem(got, n), out));
    ck_assert_uint_eq(got_used, used);
}

START_TEST(utf8_escapes_what_json_and_terminals_must_not_see)
{
    expect_json("\"", 1, "\\\"", 1);
    expect_json("\\", 1, "\\\\", 1);
    expect_json("\n", 1, "\\n", 1);
    expect_json("\t", 1, "\\t", 1);
    expect_json("\0", 1, "\\u0000", 1);
    expect_json("\x1b[0m", 4, "\\u001b", 1);
    expect_json("\x7f", 1, "\\u007f", 1);
    expect_json("\xC2\x9B", 2, "\\u009b", 2);
    expect_json("\xC2\xA0", 2, "\xC2\xA0", 2);
    expect_json("/", 1, "/", 1);
    expect_json("\xE2\x82\xAC", 3, "\xE2\x82\xAC", 3);
}
END_TEST

START_TEST(utf8_replaces_one_bad_byte_at_a_time)
{
    expect_json("\xE2\x82\"", 3, "\xEF\xBF\xBD", 1);
    expect_json("\xFF", 1, "\xEF\xBF\xBD", 1);
    expect_json("\xF0\x9F\x98", 3, "\xEF\xBF\xBD", 1);
}
END_TEST

SUITE_MAIN("utf8", utf8_accepts_every_scalar_value, utf8_refuses_what_is_not_a_character,
           utf8_escapes_what_json_and_terminals_must_not_see, utf8_replaces_one_bad_byte_at_a_time)
