/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed bytes: comparing, cutting, numbers. */
#include "tests/unit/suite.h"

#include "base/view.h"

static struct adit_view text(const char *s)
{
    return adit_view_str(s);
}

START_TEST(view_compares_by_length_and_bytes)
{
    struct adit_view none = {NULL, 0};
    ck_assert(adit_view_eq(none, text("")));
    ck_assert(adit_view_eq(text("ab"), text("ab")));
    ck_assert(!adit_view_eq(text("ab"), text("abc")));
    ck_assert(!adit_view_eq(text("ab"), text("aB")));
    ck_assert(adit_view_eq_str(adit_view_mem("a\0b", 3), "a") == false);
    ck_assert(adit_view_eq_str(none, ""));
}
END_TEST

START_TEST(view_ignores_case_of_ascii_letters_only)
{
    ck_assert(adit_view_ieq_str(text("Content-LENGTH"), "content-length"));
    ck_assert(!adit_view_ieq_str(text("content_length"), "content-length"));
    ck_assert(!adit_view_ieq_str(text("@"), "`"));
    ck_assert(!adit_view_ieq_str(text("[k"), "{k"));
    ck_assert(!adit_view_ieq_str(text("\xC4"), "\xE4"));
    char lower[5] = "";
    adit_view_lower(text("A[z\xC4"), lower);
    ck_assert_str_eq(lower, "a[z\xC4");
    ck_assert(!adit_view_ieq_str(text("ab"), "abc"));
}
END_TEST

START_TEST(view_secret_comparison_agrees_with_plain_one)
{
    ck_assert(adit_view_eq_secret(text("token"), text("token")));
    ck_assert(!adit_view_eq_secret(text("token"), text("tokeN")));
    ck_assert(!adit_view_eq_secret(text("Token"), text("token")));
    ck_assert(!adit_view_eq_secret(text("token"), text("toke")));
    ck_assert(adit_view_eq_secret(text(""), adit_view_mem(NULL, 0)));
}
END_TEST

START_TEST(view_prefix_never_reads_past_the_end)
{
    ck_assert(adit_view_has_prefix(text("abc"), "ab"));
    ck_assert(adit_view_has_prefix(text("abc"), ""));
    ck_assert(!adit_view_has_prefix(adit_view_mem("abc", 1), "ab"));
    ck_assert(!adit_view_has_prefix(adit_view_mem(NULL, 0), "a"));
}
END_TEST

START_TEST(view_trims_spaces_and_tabs_only)
{
    ck_assert(adit_view_eq_str(adit_view_trim(text(" \t a b\t ")), "a b"));
    ck_assert(adit_view_eq_str(adit_view_trim(text(" \t ")), ""));
    ck_assert(adit_view_eq_str(adit_view_trim(text("\ra\n")), "\ra\n"));
    ck_assert_uint_eq(adit_view_trim(adit_view_mem(NULL, 0)).len, 0);
}
END_TEST

START_TEST(view_splits_at_first_separator)
{
    struct adit_view head, tail;
    ck_assert(adit_view_split(text("a:b:c"), ':', &head, &tail));
    ck_assert(adit_view_eq_str(head, "a"));
    ck_assert(adit_view_eq_str(tail, "b:c"));
    ck_assert(adit_view_split(text(":"), ':', &head, &tail));
    ck_assert_uint_eq(head.len + tail.len, 0);
    ck_assert(!adit_view_split(text("abc"), ':', &head, &tail));
    ck_assert(adit_view_eq_str(head, "abc"));
    ck_assert_uint_eq(tail.len, 0);

    struct adit_view rest = text("x,y");
    ck_assert(adit_view_split(rest, ',', &head, &rest));
    ck_assert(adit_view_eq_str(rest, "y"));
}
END_TEST

START_TEST(view_reads_canonical_decimals)
{
    uint64_t n = 7;
    ck_assert_int_eq(adit_view_u64(text("0"), 10, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(adit_view_u64(text("18446744073709551615"), UINT64_MAX, &n), 0);
    ck_assert_uint_eq(n, UINT64_MAX);
    ck_assert_int_eq(adit_view_u64(text("65535"), 65535, &n), 0);
    ck_assert_uint_eq(n, 65535);
}
END_TEST

START_TEST(view_refuses_other_spellings_of_numbers)
{
    static const char *const bad[] = {
        "",
        "+1",
        "-1",
        " 1",
        "1 ",
        "01",
        "00",
        "0x1",
        "1.0",
        "1e3",
        "1_0",
        "65536",
        "18446744073709551616",
        "99999999999999999999999",
        "\xD9\xA1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t n = 7;
        ck_assert_msg(adit_view_u64(text(bad[i]), 65535, &n) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
        ck_assert_uint_eq(n, 7);
    }
    uint64_t n = 7;
    ck_assert_int_eq(adit_view_u64(text("18446744073709551616"), UINT64_MAX, &n),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(adit_view_u64(adit_view_mem("1\0", 2), 65535, &n), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(view_dup_ends_with_nul)
{
    char *s = adit_view_dup(adit_view_mem("abcdef", 3));
    ck_assert_str_eq(s, "abc");
    free(s);
    s = adit_view_dup(adit_view_mem(NULL, 0));
    ck_assert_str_eq(s, "");
    free(s);
    ck_assert_ptr_null(adit_view_dup(adit_view_mem("x", SIZE_MAX)));
}
END_TEST

SUITE_MAIN("view", view_compares_by_length_and_bytes, view_ignores_case_of_ascii_letters_only,
           view_secret_comparison_agrees_with_plain_one, view_prefix_never_reads_past_the_end,
           view_trims_spaces_and_tabs_only, view_splits_at_first_separator,
           view_reads_canonical_decimals, view_refuses_other_spellings_of_numbers,
           view_dup_ends_with_nul)
