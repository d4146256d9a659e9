/* SPDX-License-Identifier: Apache-2.0 */
/* Results of executions: what is kept, what is told of what is not, and pictures as they come. */
#include "broker/session/session_result.h"

#include <jansson.h>

#include "tests/unit/suite.h"

static struct adit_buf pictures;
static size_t held;

static void on_artifact(void *user, const char *extension)
{
    (void)user;
    ck_assert_int_eq(adit_buf_appendf(&pictures, "<%s>", extension), 0);
}

static void on_artifact_bytes(void *user, struct adit_view bytes)
{
    (void)user;
    ck_assert_int_eq(adit_buf_append_view(&pictures, bytes), 0);
}

static void on_artifact_end(void *user)
{
    (void)user;
    ck_assert_int_eq(adit_buf_append_str(&pictures, ";"), 0);
}

static const struct session_result_ops ops = {on_artifact, on_artifact_bytes, on_artifact_end};

static void setup(void)
{
    held = 0;
    adit_buf_init(&pictures, 1 << 20);
}

static void teardown(void)
{
    adit_buf_fini(&pictures);
    ck_assert_uint_eq(held, 0);
}

/* The document for a stream. */
static json_t *result_of(const char *stream, bool *has_ended)
{
    struct session_result r;
    struct adit_buf text;
    session_result_init(&r, &ops, NULL, &held);
    session_result_feed(&r, adit_view_str(stream));
    *has_ended = r.has_ended;
    adit_buf_init(&text, SESSION_RESULT_DOCUMENT_MAX);
    ck_assert_int_eq(session_result_format(&r, 7, adit_view_str("\"u\""), &text), 0);
    json_t *doc = json_loadb(text.data + text.off, text.len, 0, NULL);
    ck_assert_msg(doc != NULL, "%.*s", ADIT_VIEW_ARG(adit_buf_view(&text)));
    adit_buf_fini(&text);
    session_result_fini(&r);
    return doc;
}

static void check_text(const json_t *doc, const char *member, const char *expected)
{
    const char *text = json_string_value(json_object_get(doc, member));
    if (!expected)
        ck_assert(json_is_null(json_object_get(doc, member)));
    else
        ck_assert_str_eq(text, expected);
}

static const struct {
    const char *stream, *output, *error;
    bool success, has_ended;
} streams[] = {
    {"{\"type\":\"number_of_executions\",\"execution_count\":1}\n"
     "{\"type\":\"stdout\",\"text\":\"a\\n\",\"timestamp\":\"t\"}\n"
     "{\"type\":\"stdout\",\"text\":\"b\\n\"}\n{\"type\":\"end_of_execution\"}\n",
     "a\nb\n", NULL, true, true},
    {"{\"type\":\"stderr\",\"text\":\"warned\"}\n{\"type\":\"end_of_execution\"}\n", "", "warned",
     true, true},
    {"{\"type\":\"stderr\",\"text\":\"noise\"}\n"
     "{\"type\":\"error\",\"name\":\"ValueError\",\"value\":\"v\",\"traceback\":\"T\\nValueError: "
     "v\"}\n"
     "{\"type\":\"error\",\"name\":\"Other\",\"value\":\"w\",\"traceback\":\"X\"}\n"
     "{\"type\":\"end_of_execution\"}\n",
     "", "T\nValueError: v", false, true},
    {"{\"type\":\"error\",\"name\":\"E\",\"value\":\"v\",\"traceback\":\"\"}\n", "", "E: v", false,
     false},
    {"{\"type\":\"stdout\",\"text\":\"cut", "cut", NULL, true, false},
    {"", "", NULL, true, false},
};

START_TEST(session_result_tells_what_was_said)
{
    bool has_ended = false;
    json_t *doc = result_of(streams[_i].stream, &has_ended);
    check_text(doc, "output", streams[_i].output);
    check_text(doc, "error", streams[_i].error);
    ck_assert(json_is_boolean(json_object_get(doc, "success")));
    ck_assert_int_eq(json_is_true(json_object_get(doc, "success")), streams[_i].success);
    ck_assert_int_eq(json_integer_value(json_object_get(doc, "execution_time_ms")), 7);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(doc, "artifacts"), 0)), "u");
    ck_assert_int_eq(has_ended, streams[_i].has_ended);
    json_decref(doc);
}
END_TEST

START_TEST(session_result_decodes_pictures_wherever_they_are_cut)
{
    static const char stream[] =
        "{\"type\":\"result\",\"text\":\"t\",\"png\":\"aGVs\\nbG8gd29ybGQ=\",\"is_main_result\":"
        "true}\n"
        "{\"type\":\"result\",\"svg\":\"<svg a=\\\"b\\\"/>\",\"jpeg\":\"aGk\",\"pdf\":\"\"}\n"
        "{\"type\":\"result\",\"png\":\"!!!!aGk=\"}\n{\"type\":\"result\",\"png\":\"aGk\n"
        "{\"type\":\"display\",\"png\":\"aGk=\"}\n";
    static const char expected[] = "<png>hello world;<svg><svg a=\"b\"/>;<jpeg>hi;<png>hi;<png>hi;";
    for (size_t step = 1; step < sizeof(stream); step++) {
        struct session_result r;
        session_result_init(&r, &ops, NULL, &held);
        for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
            size_t left = sizeof(stream) - 1 - at;
            session_result_feed(&r, adit_view_mem(stream + at, left < step ? left : step));
        }
        ck_assert_msg(adit_view_eq_str(adit_buf_view(&pictures), expected), "step %zu: %.*s", step,
                      ADIT_VIEW_ARG(adit_buf_view(&pictures)));
        adit_buf_clear(&pictures);
        session_result_fini(&r);
    }
}
END_TEST

START_TEST(session_result_takes_so_many_pictures_and_no_more)
{
    struct session_result r;
    session_result_init(&r, &ops, NULL, &held);
    for (int i = 0; i < SESSION_RESULT_ARTIFACTS_MAX + 5; i++)
        session_result_feed(&r, adit_view_str("{\"type\":\"result\",\"png\":\"aGk=\"}\n"));
    ck_assert_uint_eq(pictures.len, SESSION_RESULT_ARTIFACTS_MAX * strlen("<png>hi;"));
    session_result_fini(&r);
}
END_TEST

static void feed_output(struct session_result *r, size_t len)
{
    static char bytes[1 << 16];
    memset(bytes, 'x', sizeof(bytes));
    session_result_feed(r, adit_view_str("{\"type\":\"stdout\",\"text\":\""));
    for (; len > 0; len -= len < sizeof(bytes) ? len : sizeof(bytes))
        session_result_feed(r, adit_view_mem(bytes, len < sizeof(bytes) ? len : sizeof(bytes)));
    session_result_feed(r, adit_view_str("\"}\n"));
}

START_TEST(session_result_counts_what_it_does_not_keep)
{
    struct session_result r;
    struct adit_buf text;
    session_result_init(&r, &ops, NULL, &held);
    feed_output(&r, 3 * SESSION_RESULT_OUTPUT_MAX);
    feed_output(&r, 5);
    ck_assert_uint_eq(held, SESSION_RESULT_OUTPUT_MAX);
    adit_buf_init(&text, SESSION_RESULT_DOCUMENT_MAX);
    ck_assert_int_eq(session_result_format(&r, 1, adit_view_str(""), &text), 0);
    ck_assert_ptr_nonnull(memmem(text.data + text.off, text.len,
                                 "[16777221 bytes more were not kept]",
                                 strlen("[16777221 bytes more were not kept]")));
    adit_buf_fini(&text);
    session_result_fini(&r);
}
END_TEST

START_TEST(session_results_together_hold_no_more_than_they_may)
{
    struct session_result r;
    held = SESSION_RESULT_HELD_MAX - 10;
    session_result_init(&r, &ops, NULL, &held);
    feed_output(&r, 100);
    ck_assert_uint_eq(r.output.kept.len, 10);
    ck_assert_uint_eq(r.output.dropped, 90);
    ck_assert_uint_eq(held, SESSION_RESULT_HELD_MAX);
    session_result_fini(&r);
    ck_assert_uint_eq(held, SESSION_RESULT_HELD_MAX - 10);
    held = 0;
}
END_TEST

SUITE_MAIN_WITH("session_result", .fixtures = {{setup, teardown}},
                TESTS(session_result_decodes_pictures_wherever_they_are_cut,
                      session_result_takes_so_many_pictures_and_no_more,
                      session_result_counts_what_it_does_not_keep,
                      session_results_together_hold_no_more_than_they_may),
                LOOPS({session_result_tells_what_was_said, sizeof(streams) / sizeof(streams[0])}))
