/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of an /execute answer: ASCII, whole, and nothing of the text lost. */
#include "../suite.h"
#include "base/clock.h"
#include "envd/kernel/kernel_line.h"

#define TIME "2001-09-09T01:46:40Z"
static struct adit_buf out;
static struct kernel_line_tail tail;

static int64_t fixed_time(void)
{
    return INT64_C(1000000000) * 1000000000;
}

static void setup(void)
{
    adit_clock_set(NULL, fixed_time);
    adit_buf_init(&out, 1024 * 1024);
    tail.len = 0;
}

static void teardown(void)
{
    adit_buf_fini(&out);
}

/* The lines so far are @want, and forgotten. */
static void check(const char *want)
{
    struct adit_view got = adit_buf_view(&out);
    ck_assert_msg(adit_view_eq_str(got, want), "%.*s", ADIT_VIEW_ARG(got));
    adit_buf_clear(&out);
}

static void put(const char *text)
{
    ck_assert_int_eq(kernel_line_text(&out, "stdout", adit_view_str(text), &tail), ADIT_OK);
}

START_TEST(line_of_text_is_ascii_with_the_time)
{
    put("a\"b\\c\n\r\t\x01\x7F/");
    check("{\"type\":\"stdout\",\"text\":\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f/"
          "\",\"timestamp\":\"" TIME "\"}\n");
    put("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    check("{\"type\":\"stdout\",\"text\":\"\\u00e9\\u20ac\\ud83d\\ude00\",\"timestamp\":\"" TIME
          "\"}\n");
}
END_TEST

START_TEST(line_of_text_replaces_what_is_no_character)
{
    put("\x80-\xFF-\xC0\x80-\xED\xA0\x80-");
    check("{\"type\":\"stdout\",\"text\":\"\\ufffd-\\ufffd-\\ufffd\\ufffd-\\ufffd\\ufffd\\ufffd-\","
          "\"timestamp\":\"" TIME "\"}\n");
    ck_assert_uint_eq(tail.len, 0);
}
END_TEST

START_TEST(line_joins_a_character_that_comes_in_pieces)
{
    static const char text[] = "a\xF0\x9F\x98\x80z";
    static const char *const want[] = {
        "{\"type\":\"stdout\",\"text\":\"a\",\"timestamp\":\"" TIME "\"}\n",
        "",
        "",
        "",
        "{\"type\":\"stdout\",\"text\":\"\\ud83d\\ude00\",\"timestamp\":\"" TIME "\"}\n",
        "{\"type\":\"stdout\",\"text\":\"z\",\"timestamp\":\"" TIME "\"}\n",
    };
    for (size_t i = 0; i < sizeof text - 1; i++) {
        ck_assert_int_eq(kernel_line_text(&out, "stdout", adit_view_mem(text + i, 1), &tail),
                         ADIT_OK);
        check(want[i]);
    }
    ck_assert_uint_eq(tail.len, 0);
}
END_TEST

START_TEST(line_shows_a_character_that_never_became_whole)
{
    put("a\xE2\x82");
    check("{\"type\":\"stdout\",\"text\":\"a\",\"timestamp\":\"" TIME "\"}\n");
    ck_assert_uint_eq(tail.len, 2);
    put("b");
    check("{\"type\":\"stdout\",\"text\":\"\\ufffd\\ufffdb\",\"timestamp\":\"" TIME "\"}\n");
    put("\xC3");
    check("");
    ck_assert_int_eq(kernel_line_text_end(&out, "stderr", &tail), ADIT_OK);
    check("{\"type\":\"stderr\",\"text\":\"\\ufffd\",\"timestamp\":\"" TIME "\"}\n");
    ck_assert_int_eq(kernel_line_text_end(&out, "stderr", &tail), ADIT_OK);
    check("");
}
END_TEST

START_TEST(line_of_an_object_has_its_members)
{
    ck_assert_int_eq(kernel_line_object(&out, "result", adit_view_str("{\"text\":\"2\"}")),
                     ADIT_OK);
    check("{\"type\":\"result\",\"text\":\"2\"}\n");
    ck_assert_int_eq(kernel_line_object(&out, "error", adit_view_str("{}")), ADIT_OK);
    check("{\"type\":\"error\"}\n");
    ck_assert_int_eq(kernel_line_count(&out, 7), ADIT_OK);
    ck_assert_int_eq(kernel_line_error(&out, "N", "a \"v\"", "t\n"), ADIT_OK);
    ck_assert_int_eq(kernel_line_plain(&out, "keepalive"), ADIT_OK);
    check("{\"type\":\"number_of_executions\",\"execution_count\":7}\n"
          "{\"type\":\"error\",\"name\":\"N\",\"value\":\"a \\\"v\\\"\",\"traceback\":\"t\\n\"}\n"
          "{\"type\":\"keepalive\"}\n");
}
END_TEST

/* What is in the buffer stays one line, and the tail waits for the next try. */
START_TEST(line_that_does_not_fit_leaves_nothing)
{
    struct adit_buf small;
    adit_buf_init(&small, 40);
    struct kernel_line_tail open = {"\xE2\x82", 2};
    ck_assert_int_eq(kernel_line_plain(&small, "keepalive"), ADIT_OK);
    ck_assert_int_eq(kernel_line_text(&small, "stdout", adit_view_str("\xAC some text"), &open),
                     ADIT_ERR_LIMIT);
    ck_assert_int_eq(kernel_line_text_end(&small, "stdout", &open), ADIT_ERR_LIMIT);
    ck_assert_int_eq(kernel_line_object(&small, "result", adit_view_str("{\"a\":\"bcdefgh\"}")),
                     ADIT_ERR_LIMIT);
    ck_assert_int_eq(kernel_line_error(&small, "name", "value", "traceback"), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(open.len, 2);
    ck_assert(adit_view_eq_str(adit_buf_view(&small), "{\"type\":\"keepalive\"}\n"));
    adit_buf_fini(&small);
}
END_TEST

SUITE_MAIN_WITH("kernel_line", .fixtures = {{setup, teardown}},
                TESTS(line_of_text_is_ascii_with_the_time,
                      line_of_text_replaces_what_is_no_character,
                      line_joins_a_character_that_comes_in_pieces,
                      line_shows_a_character_that_never_became_whole,
                      line_of_an_object_has_its_members, line_that_does_not_fit_leaves_nothing))
