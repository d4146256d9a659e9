/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of an execution: which strings are told, and that no line spoils the next. */
#include "broker/session/session_stream.h"

#include "base/buf.h"
#include "tests/unit/suite.h"

static struct adit_buf told;

static void on_text(void *user, const char *type, const char *name, struct adit_view bytes)
{
    (void)user;
    ck_assert_int_eq(adit_buf_appendf(&told, "%s.%s+%.*s", type, name, ADIT_VIEW_ARG(bytes)), 0);
}

static void on_text_end(void *user, const char *type, const char *name)
{
    (void)user;
    ck_assert_int_eq(adit_buf_appendf(&told, "%s.%s;", type, name), 0);
}

static void on_line(void *user, const char *type, bool is_whole)
{
    (void)user;
    ck_assert_int_eq(adit_buf_appendf(&told, "%s%s", type, is_whole ? "|" : "!"), 0);
}

static const struct session_stream_ops ops = {on_text, on_text_end, on_line};

static void check(const char *in, const char *expected)
{
    struct session_stream s;
    adit_buf_init(&told, 1 << 16);
    session_stream_init(&s, &ops, NULL);
    session_stream_feed(&s, adit_view_str(in));
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&told), expected), "%s: %.*s", in,
                  ADIT_VIEW_ARG(adit_buf_view(&told)));
    adit_buf_fini(&told);
}

static const struct {
    const char *in, *expected;
} lines[] = {
    {"{\"type\":\"stdout\",\"text\":\"a\"}\n", "stdout.text+astdout.text;stdout|"},
    {" { \"type\" : \"stdout\" , \"text\" : \"\" } \r\n", "stdout.text;stdout|"},
    {"{\"type\":\"a\",\"n\":1,\"t\":true,\"o\":{\"x\":[\"}\\\"\",{}]},\"s\":\"y\"}\n",
     "a.s+ya.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\n\\t\\\"\\\\\\/\"}\n", "a.s+\na.s+\ta.s+\"a.s+\\a.s+/a.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\u00e4\\u20ac\"}\n", "a.s+\xc3\xa4"
                                                    "a.s+\xe2\x82\xac"
                                                    "a.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\ud83d\\ude00\"}\n", "a.s+\xf0\x9f\x98\x80"
                                                    "a.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\ud83dx\"}\n", "a.s+\xef\xbf\xbd"
                                              "a.s+xa.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\ude00\"}\n", "a.s+\xef\xbf\xbd"
                                             "a.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\ud83d\"}\n", "a.s+\xef\xbf\xbd"
                                             "a.s;a|"},
    {"{\"type\":\"a\",\"s\":\"\\u00g0\"}\n", "a!"},
    {"{\"type\":\"a\",\"s\":\"\\x\"}\n", "a!"},
    /* what breaks off, and what follows */
    {"{\"type\":\"a\",\"s\":\"x\n{\"type\":\"b\"}\n", "a.s+xa!b|"},
    {"{\"type\":\"a\"}x\n{\"type\":\"b\"}\n", "a!b|"},
    {"garbage\n\n{\"type\":\"b\"}\n", "b|"},
    {"{\"type\":\"a\",\n", "a!"},
    {"{\"type\":\"a\"", ""},
    /* lines of another kind */
    {"{\"text\":\"x\",\"type\":\"stdout\"}\n", ""},
    {"{\"type\":7,\"text\":\"x\"}\n", ""},
    {"{\"type\":\"a name that is longer than any\",\"s\":\"x\"}\n", ""},
    {"{\"type\":\"a\",\"a name that is longer than any\":\"x\",\"s\":\"y\"}\n", "a.s+ya.s;a|"},
    {"[]\n{}\n", ""},
    {"{\"type\":\"a\",\"type\":\"b\"}\n", "a.type+ba.type;a|"},
    {"{\"type\":\"\",\"s\":\"x\"}\n", ""},
};

START_TEST(session_stream_tells_the_strings_of_lines)
{
    check(lines[_i].in, lines[_i].expected);
}
END_TEST

START_TEST(session_stream_bears_any_nesting)
{
    struct session_stream s;
    adit_buf_init(&told, 1 << 16);
    session_stream_init(&s, &ops, NULL);
    session_stream_feed(&s, adit_view_str("{\"type\":\"a\",\"o\":"));
    for (int i = 0; i < 1000000; i++)
        session_stream_feed(&s, adit_view_str("["));
    for (int i = 0; i < 1000000; i++)
        session_stream_feed(&s, adit_view_str("]"));
    session_stream_feed(&s, adit_view_str("}\n"));
    ck_assert(adit_view_eq_str(adit_buf_view(&told), "a|"));
    adit_buf_fini(&told);
}
END_TEST

SUITE_MAIN_WITH("session_stream", TESTS(session_stream_bears_any_nesting),
                LOOPS({session_stream_tells_the_strings_of_lines,
                       sizeof(lines) / sizeof(lines[0])}))
