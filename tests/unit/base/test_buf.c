/* SPDX-License-Identifier: Apache-2.0 */
/* The byte buffer: growth, its maximum, consumption, printing. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "base/buf.h"

/* Let a sanitizer's allocator refuse what is too large, as the C library's does. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static struct adit_buf new_buf(size_t max)
{
    struct adit_buf b;
    adit_buf_init(&b, max);
    return b;
}

static void expect(const struct adit_buf *b, const char *text)
{
    struct adit_view v = adit_buf_view(b);
    ck_assert_msg(adit_view_eq_str(v, text), "is \"%.*s\", not \"%s\"", ADIT_VIEW_ARG(v), text);
}

START_TEST(buf_allocates_nothing_before_first_append)
{
    struct adit_buf b = new_buf(100);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(adit_buf_append(&b, NULL, 0), 0);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(adit_buf_view(&b).len, 0);
    adit_buf_consume(&b, 0);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_fills_to_its_maximum_and_not_beyond)
{
    struct adit_buf b = new_buf(1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(adit_buf_append_char(&b, 'x'), 0);
    ck_assert_int_eq(adit_buf_append_char(&b, 'y'), ADIT_ERR_LIMIT);
    ck_assert_int_eq(adit_buf_appendf(&b, "%d", 1), ADIT_ERR_LIMIT);
    ck_assert_int_eq(adit_buf_append_str(&b, ""), 0);
    ck_assert_uint_eq(b.len, 1000);
    ck_assert_uint_le(b.cap, 1000);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_limit_is_checked_before_arithmetic_can_wrap)
{
    struct adit_buf b = new_buf(100);
    ck_assert_int_eq(adit_buf_append_str(&b, "abc"), 0);
    ck_assert_int_eq(adit_buf_reserve(&b, SIZE_MAX), ADIT_ERR_LIMIT);
    ck_assert_int_eq(adit_buf_reserve(&b, SIZE_MAX - 2), ADIT_ERR_LIMIT);
    expect(&b, "abc");
    adit_buf_fini(&b);

    struct adit_buf huge = new_buf(SIZE_MAX);
    ck_assert_int_eq(adit_buf_reserve(&huge, SIZE_MAX / 2), ADIT_ERR_NO_MEMORY);
    adit_buf_fini(&huge);
}
END_TEST

START_TEST(buf_reuses_consumed_room_at_its_maximum)
{
    struct adit_buf b = new_buf(300);
    char block[300];
    memset(block, 'a', sizeof block);
    ck_assert_int_eq(adit_buf_append(&b, block, sizeof block), 0);
    adit_buf_consume(&b, 299);
    ck_assert_int_eq(adit_buf_append_str(&b, "bcd"), 0);
    expect(&b, "abcd");
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_behaves_as_a_queue_of_bytes)
{
    struct adit_buf b = new_buf(4096);
    unsigned seed = 1, written = 0, read = 0, wrong = 0;
    for (int i = 0; i < 100000; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned n = seed >> 16 & 0xFF;
        if (seed & 0x1000000) {
            for (unsigned k = 0; k < n && b.len < 4096; k++)
                wrong += adit_buf_append_char(&b, (char)(written++ % 251)) != 0;
        } else {
            struct adit_view v = adit_buf_view(&b);
            n = n < v.len ? n : (unsigned)v.len;
            for (unsigned k = 0; k < n; k++)
                wrong += v.ptr[k] != (char)(read++ % 251);
            adit_buf_consume(&b, n);
        }
        wrong += b.len != written - read;
    }
    ck_assert_uint_eq(wrong, 0);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_gives_large_storage_back_when_emptied)
{
    struct adit_buf b = new_buf(100000);
    ck_assert_int_eq(adit_buf_reserve(&b, 10000), 0);
    adit_buf_added(&b, 10);
    adit_buf_consume(&b, 10);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(adit_buf_append_str(&b, "small"), 0);
    adit_buf_consume(&b, 5);
    ck_assert_ptr_nonnull(b.data);
    ck_assert_uint_le(b.cap, ADIT_BUF_KEEP);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_clear_keeps_storage)
{
    struct adit_buf b = new_buf(100000);
    ck_assert_int_eq(adit_buf_reserve(&b, 10000), 0);
    adit_buf_added(&b, 5000);
    adit_buf_clear(&b);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_uint_ge(b.cap, 10000);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_prints_across_growth)
{
    struct adit_buf b = new_buf(100000);
    char expected[20000];
    size_t len = 0;
    for (int i = 0; i < 2000; i++) {
        ck_assert_int_eq(adit_buf_appendf(&b, "%d;", i), 0);
        len += (size_t)sprintf(expected + len, "%d;", i);
    }
    expect(&b, expected);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_prints_exactly_to_its_maximum)
{
    struct adit_buf b = new_buf(5);
    ck_assert_int_eq(adit_buf_appendf(&b, "%s", "abcdef"), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_int_eq(adit_buf_appendf(&b, "%s", "abcde"), 0);
    expect(&b, "abcde");
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_json_text_escapes_and_repairs)
{
    struct adit_buf b = new_buf(1000);
    ck_assert_int_eq(
        adit_buf_append_json_text(&b, adit_view_str("plain \"q\" \\ \n\x01 \xE2\x82\xAC \xFF.")),
        0);
    expect(&b, "plain \\\"q\\\" \\\\ \\n\\u0001 \xE2\x82\xAC \xEF\xBF\xBD.");
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_json_text_is_all_or_nothing)
{
    struct adit_buf b = new_buf(10);
    ck_assert_int_eq(adit_buf_append_str(&b, "abc"), 0);
    ck_assert_int_eq(adit_buf_append_json_text(&b, adit_view_str("de\n\n\n")), ADIT_ERR_LIMIT);
    expect(&b, "abc");
    adit_buf_fini(&b);
}
END_TEST

START_TEST(buf_steals_content_as_a_string)
{
    struct adit_buf b = new_buf(10);
    ck_assert_int_eq(adit_buf_append_str(&b, "0123456789"), 0);
    adit_buf_consume(&b, 4);
    char *s = adit_buf_steal_str(&b);
    ck_assert_str_eq(s, "456789");
    free(s);
    ck_assert_ptr_null(b.data);
    s = adit_buf_steal_str(&b);
    ck_assert_str_eq(s, "");
    free(s);
    ck_assert_int_eq(adit_buf_append_str(&b, "again"), 0);
    expect(&b, "again");
    adit_buf_fini(&b);
}
END_TEST

SUITE_MAIN("buf", buf_allocates_nothing_before_first_append,
           buf_fills_to_its_maximum_and_not_beyond, buf_limit_is_checked_before_arithmetic_can_wrap,
           buf_reuses_consumed_room_at_its_maximum, buf_behaves_as_a_queue_of_bytes,
           buf_gives_large_storage_back_when_emptied, buf_clear_keeps_storage,
           buf_prints_across_growth, buf_prints_exactly_to_its_maximum,
           buf_json_text_escapes_and_repairs, buf_json_text_is_all_or_nothing,
           buf_steals_content_as_a_string)
