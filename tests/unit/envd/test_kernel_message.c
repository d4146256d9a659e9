/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a kernel's channel: what is taken, what is refused, and when more bytes are needed. */
#include "../suite.h"
#include "envd/kernel/kernel_message.h"

static struct kernel_message m;
static size_t len, need;

static int next(const char *text)
{
    return kernel_message_next(adit_view_str(text), &m, &len, &need, NULL);
}

START_TEST(message_takes_the_first_frame_and_says_its_length)
{
    ck_assert_int_eq(next("O 5\nhelloD 0\n"), ADIT_OK);
    ck_assert_uint_eq(len, 9);
    ck_assert_int_eq(m.kind, KERNEL_NEWS_STDOUT);
    ck_assert(adit_view_eq_str(m.body, "hello"));
    ck_assert_int_eq(next("D 0\n"), ADIT_OK);
    ck_assert_uint_eq(len, 4);
    ck_assert_int_eq(m.kind, KERNEL_NEWS_DONE);
    ck_assert_uint_eq(m.body.len, 0);
}
END_TEST

START_TEST(message_says_how_many_bytes_are_missing)
{
    static const char *const heads[] = {"", "O", "O ", "O 12"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        ck_assert_int_eq(next(heads[i]), ADIT_OK);
        ck_assert_uint_eq(len, 0);
        ck_assert_uint_eq(need, 0);
    }
    ck_assert_int_eq(next("O 12\nhello"), ADIT_OK);
    ck_assert_uint_eq(len, 0);
    ck_assert_uint_eq(need, 7);
}
END_TEST

START_TEST(message_refuses_what_is_no_frame)
{
    static const char *const texts[] = {
        "\n",     "O\n",    "O \n",   "Z 0\n",  "O  1\n",           "O 01\n",
        "O +1\n", "O -1\n", "O 1 \n", "O1\n",   "O 12582913\n",     "hello, cell here\n",
        "D 1\nx", "R 1\nx", "F 1\nx", "W 1\nx", "0123456789abcdef", "O 99999999999999999999\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(next(texts[i]) == ADIT_ERR_PROTOCOL, "%s", texts[i]);
    ck_assert_int_eq(kernel_message_next(adit_view_mem("\0 1\nx", 5), &m, &len, &need, NULL),
                     ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(message_passes_on_only_whole_json_objects_in_ascii)
{
    static const char *const good[] = {"{}", "{\"a\":[1,null,{\"b\":\"\\u00e9\"}]}"};
    static const char *const bad[] = {
        "",
        "1",
        "[]",
        "{",
        "{ }",
        " {}",
        "{}\n",
        "{}{}",
        "{\"a\":1,}",
        "{\"a\":NaN}",
        "{\"a\":\"\xC3\xA9\"}",
        "{\"a\":\n1}",
        "{\"a\":\"\x7F\"}",
        "{\"type\" 1}",
    };
    char text[128];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(text, sizeof text, "P %zu\n%s", strlen(good[i]), good[i]);
        ck_assert_msg(next(text) == ADIT_OK, "%s", text);
        ck_assert(adit_view_eq_str(m.body, good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, "X %zu\n%s", strlen(bad[i]), bad[i]);
        ck_assert_msg(next(text) == ADIT_ERR_PROTOCOL, "%s", text);
    }
}
END_TEST

START_TEST(message_refuses_objects_that_are_nested_too_deeply)
{
    enum { DEPTH = 100 };
    char text[8 * DEPTH + 32], *p = text;
    p += sprintf(p, "P %d\n", DEPTH * 6 + 1);
    for (int i = 0; i < DEPTH; i++)
        p += sprintf(p, "{\"a\":");
    *p++ = '1';
    for (int i = 0; i < DEPTH; i++)
        *p++ = '}';
    *p = '\0';
    ck_assert_int_eq(next(text), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(message_put_appends_a_frame_or_nothing)
{
    struct adit_buf out;
    adit_buf_init(&out, 16);
    ck_assert_int_eq(kernel_message_put(&out, KERNEL_ORDER_RUN, adit_view_str("1+1")), ADIT_OK);
    ck_assert(adit_view_eq_str(adit_buf_view(&out), "X 3\n1+1"));
    ck_assert_int_eq(kernel_message_put(&out, KERNEL_ORDER_RUN, adit_view_str("0123456789")),
                     ADIT_ERR_LIMIT);
    ck_assert(adit_view_eq_str(adit_buf_view(&out), "X 3\n1+1"));
    adit_buf_fini(&out);
}
END_TEST

SUITE_MAIN("kernel_message", message_takes_the_first_frame_and_says_its_length,
           message_says_how_many_bytes_are_missing, message_refuses_what_is_no_frame,
           message_passes_on_only_whole_json_objects_in_ascii,
           message_refuses_objects_that_are_nested_too_deeply,
           message_put_appends_a_frame_or_nothing)
