/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a cell leaves: what events of its directory mean, in their order. */
#include "broker/session/session_watch.h"

#include "tests/unit/suite.h"

/* Events in short: + made, = written, - removed, > moved away, c mode, d a directory made,
 * ? made and gone before it was looked at; each with a name of one word. */
static json_t *make_events(const char *text)
{
    static const struct {
        char sign;
        const char *type, *entry;
    } kinds[] = {
        {'+', "EVENT_TYPE_CREATE", "FILE_TYPE_FILE"},
        {'=', "EVENT_TYPE_WRITE", "FILE_TYPE_FILE"},
        {'-', "EVENT_TYPE_REMOVE", NULL},
        {'>', "EVENT_TYPE_RENAME", NULL},
        {'c', "EVENT_TYPE_CHMOD", "FILE_TYPE_FILE"},
        {'d', "EVENT_TYPE_CREATE", "FILE_TYPE_DIRECTORY"},
        {'?', "EVENT_TYPE_CREATE", NULL},
    };
    json_t *events = json_array();
    struct adit_view rest = adit_view_str(text), word;
    bool more = rest.len > 0;
    while (more) {
        size_t i = 0;
        more = adit_view_split(rest, ' ', &word, &rest);
        while (kinds[i].sign != word.ptr[0])
            i++;
        json_t *event =
            json_pack("{s:s%, s:s}", "name", word.ptr + 1, word.len - 1, "type", kinds[i].type);
        if (kinds[i].entry)
            json_object_set_new(event, "entry", json_pack("{s:s}", "type", kinds[i].entry));
        json_array_append_new(events, event);
    }
    return json_pack("{s:o}", "events", events);
}

static const struct {
    const char *events, *files;
} cases[] = {
    {"", ""},          {"+a =a =a", "a"},   {"=a +b =b", "a b"},
    {"+a -a", ""},     {"+a >a +b", "b"},   {"+a +b +c -b", "a c"},
    {"+a -a +a", "a"}, {"ca dd ?e -f", ""}, {"+.hidden +a/b +a", "a"},
};

START_TEST(session_watch_reads_events_in_their_order)
{
    struct session_watch_files files;
    char text[256] = "";
    json_t *answer = make_events(cases[_i].events);
    session_watch_read(&files, answer);
    json_decref(answer);
    for (size_t i = 0; i < files.cnt; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
                       files.names[i]);
    ck_assert_str_eq(text, cases[_i].files);
}
END_TEST

START_TEST(session_watch_names_so_many_files_and_no_more)
{
    struct session_watch_files files;
    char text[8 * SESSION_WATCH_FILES_MAX + 8] = "";
    for (int i = 0; i < SESSION_WATCH_FILES_MAX + 1; i++)
        (void)snprintf(text + strlen(text), 8, "%s+%d", i ? " " : "", i);
    json_t *answer = make_events(text);
    session_watch_read(&files, answer);
    json_decref(answer);
    ck_assert_uint_eq(files.cnt, SESSION_WATCH_FILES_MAX);
}
END_TEST

#define A_FILE "\"entry\":{\"type\":\"FILE_TYPE_FILE\"}"
#define CREATED(name) "{\"events\":[{\"name\":" name ",\"type\":\"EVENT_TYPE_CREATE\"," A_FILE "}]}"

static const char *const odd[] = {
    "{}",
    "{\"events\":7}",
    "{\"events\":null}",
    "{\"events\":[7,null,[],{}]}",
    CREATED("7"),
    CREATED("\"\""),
    "{\"events\":[{\"name\":\"a\",\"type\":\"EVENT_TYPE_CREATE\",\"entry\":[]}]}",
    "{\"events\":[{\"name\":\"a\"," A_FILE "}]}",
};

START_TEST(session_watch_takes_nothing_from_odd_answers)
{
    struct session_watch_files files;
    json_t *answer = json_loads(odd[_i], 0, NULL);
    ck_assert_ptr_nonnull(answer);
    session_watch_read(&files, answer);
    ck_assert_uint_eq(files.cnt, 0);
    json_decref(answer);
}
END_TEST

SUITE_MAIN_WITH("session_watch", TESTS(session_watch_names_so_many_files_and_no_more),
                LOOPS({session_watch_reads_events_in_their_order, sizeof(cases) / sizeof(cases[0])},
                      {session_watch_takes_nothing_from_odd_answers, sizeof(odd) / sizeof(odd[0])}))
