/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/vmm/qmp_reader.h"

#include <string.h>

#include "tests/unit/suite.h"

static struct qmp_message m;
static struct adit_err error;

/* One line, and its end; what follows is in *rest. */
static int read_line(const char *text, bool *has)
{
    struct qmp_reader r;
    struct adit_view in = adit_view_str(text);
    qmp_reader_init(&r);
    int rc = qmp_reader_feed(&r, &in, &m, has, &error);
    qmp_reader_fini(&r);
    return rc;
}

static const struct {
    const char *line;
    enum qmp_reader_kind kind;
    int64_t id;
    const char *word, *reason;
} lines[] = {
    {"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, "
     "\"capabilities\": [\"oob\"]}}\r\n",
     QMP_READER_GREETING, -1, "", ""},
    {"{\"return\": {}, \"id\": 0}\r\n", QMP_READER_ANSWER, 0, "", ""},
    {"{\"return\": {\"status\": \"paused\", \"running\": false}, \"id\": 4}\n", QMP_READER_ANSWER,
     4, "", "paused"},
    {"{\"return\": [], \"id\": \"4\"}\n", QMP_READER_ANSWER, -1, "", ""},
    {"{\"id\": 5, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command\"}}\n",
     QMP_READER_ERROR, 5, "CommandNotFound", "The command"},
    {"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
     QMP_READER_EVENT, -1, "SHUTDOWN", "guest-reset"},
    {"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}}\n", QMP_READER_EVENT, -1,
     "GUEST_PANICKED", "pause"},
    {"{\"event\": \"STOP\"}\n", QMP_READER_EVENT, -1, "STOP", ""},
    {"{\"event\": \"A\", \"data\": []}\n", QMP_READER_EVENT, -1, "A", ""},
    {"{\"event\": \"A\\u001b[31m\\n\\u00e4\", \"data\": {\"reason\": 7}}\n", QMP_READER_EVENT, -1,
     "A?[31m???", ""},
};

START_TEST(qmp_reader_takes_what_a_monitor_says)
{
    bool has = false;
    ck_assert_msg(read_line(lines[_i].line, &has) == 0, "%s", error.msg);
    ck_assert(has);
    ck_assert_int_eq(m.kind, lines[_i].kind);
    ck_assert_int_eq(m.id, lines[_i].id);
    ck_assert_str_eq(m.word, lines[_i].word);
    ck_assert_str_eq(m.reason, lines[_i].reason);
}
END_TEST

static const char *const broken[] = {
    "{}\n",
    "\r\n",
    "[]\n",
    "{\"event\": 1}\n",
    "{\"error\": \"no\"}\n",
    "{\"QMP\": 1}\n",
    "{\"return\": {}\n",
    "{\"return\": {}, \"return\": {}}\n",
    "{\"return\": {}} {}\n",
    "{\"event\": \"\xff\"}\n",
    "{\"event\": \"a\\u0000b\"}\n",
};

START_TEST(qmp_reader_refuses_what_is_no_message)
{
    bool has = false;
    ck_assert_int_eq(read_line(broken[_i], &has), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(qmp_reader_bounds_lines_and_depth)
{
    static char text[QMP_READER_LINE_CAP + 2];
    bool has = false;
    memset(text, 'a', QMP_READER_LINE_CAP + 1);
    ck_assert_int_eq(read_line(text, &has), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(error.msg, "the monitor's line is too long");
    memset(text, '[', 4000);
    memcpy(text, "{\"return\":", 10);
    text[4000] = '\n';
    ck_assert_int_eq(read_line(text, &has), ADIT_ERR_PROTOCOL);
    memset(text, 'a', 300);
    memcpy(text, "{\"event\":\"", 10);
    memcpy(text + 298, "\"}\n", 4);
    ck_assert_int_eq(read_line(text, &has), 0);
    ck_assert_uint_eq(strlen(m.word), QMP_READER_WORD_CAP - 1);
}
END_TEST

START_TEST(qmp_reader_takes_lines_in_pieces_of_any_size)
{
    static const char text[] = "{\"event\":\"A\"}\r\n{\"event\":\"B\"}\n  \n{\"return\":{}}\n{\"ev";
    for (size_t step = 1; step < sizeof(text); step++) {
        struct qmp_reader r;
        char seen[8] = "";
        qmp_reader_init(&r);
        for (size_t at = 0; at < sizeof(text) - 1; at += step) {
            size_t left = sizeof(text) - 1 - at;
            struct adit_view in = {text + at, left < step ? left : step};
            while (in.len > 0) {
                bool has = false;
                ck_assert_int_eq(qmp_reader_feed(&r, &in, &m, &has, NULL), 0);
                if (has)
                    strcat(seen, m.word[0] ? m.word : "r");
            }
        }
        qmp_reader_fini(&r);
        ck_assert_str_eq(seen, "ABr");
    }
}
END_TEST

SUITE_MAIN_WITH("qmp_reader",
                TESTS(qmp_reader_bounds_lines_and_depth,
                      qmp_reader_takes_lines_in_pieces_of_any_size),
                LOOPS({qmp_reader_takes_what_a_monitor_says, sizeof(lines) / sizeof(lines[0])},
                      {qmp_reader_refuses_what_is_no_message, sizeof(broken) / sizeof(broken[0])}))
