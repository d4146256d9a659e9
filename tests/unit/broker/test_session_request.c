/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the session API: ids, bodies, paths; which are taken and which refused. */
#include "broker/session/session_request.h"

#include "broker/jtext.h"
#include "broker/session/session_access.h"
#include "tests/unit/suite.h"

static const struct {
    const char *segment, *id; /* NULL: refused */
} ids[] = {
    {"a", "a"},      {"user@example.com:7_x-Y.z", "user@example.com:7_x-Y.z"},
    {"%41b", "Ab"},  {"_", "_"},
    {"", NULL},      {".", NULL},
    {"..", NULL},    {"-a", NULL},
    {":a", NULL},    {"@a", NULL},
    {"a%2fb", NULL}, {"a%00", NULL},
    {"a b", NULL},   {"%c3%a4", NULL},
    {"a%", NULL},
};

START_TEST(session_request_takes_ids)
{
    char id[RECORD_SESSION_CAP];
    int rc = session_request_id(adit_view_str(ids[_i].segment), id, NULL);
    ck_assert_int_eq(rc, ids[_i].id ? 0 : ADIT_ERR_BAD_INPUT);
    if (rc == 0)
        ck_assert_str_eq(id, ids[_i].id);
}
END_TEST

START_TEST(session_request_takes_ids_of_128_characters)
{
    char long_id[130], id[RECORD_SESSION_CAP];
    memset(long_id, 'x', sizeof(long_id));
    ck_assert_int_eq(session_request_id(adit_view_mem(long_id, 128), id, NULL), 0);
    ck_assert_uint_eq(strlen(id), 128);
    ck_assert_int_eq(session_request_id(adit_view_mem(long_id, 129), id, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

static const struct {
    const char *body, *custom;
    bool is_taken, is_custom;
} starts[] = {
    {"", "", true, false},
    {"{}", "", true, false},
    {"{\"sandbox_type\":null}", "", true, false},
    {"{\"sandbox_type\":\"code_interpreter\",\"else\":1}", "", true, false},
    {"{\"sandbox_type\":\"custom\"}", "tpl", true, true},
    {"{\"sandbox_type\":\"custom\",\"template_id\":\"tpl\"}", "tpl", true, true},
    {"{\"sandbox_type\":\"custom\",\"template_id\":\"x\"}", "tpl", false, false},
    {"{\"sandbox_type\":\"custom\"}", "", false, false},
    {"{\"sandbox_type\":\"vm\"}", "tpl", false, false},
    {"{\"sandbox_type\":7}", "tpl", false, false},
    {"[]", "", false, false},
    {"{", "", false, false},
};

START_TEST(session_request_takes_types)
{
    bool is_custom = false;
    int rc =
        session_request_start(adit_view_str(starts[_i].body), starts[_i].custom, &is_custom, NULL);
    ck_assert_int_eq(rc, starts[_i].is_taken ? 0 : ADIT_ERR_BAD_INPUT);
    if (rc == 0)
        ck_assert_int_eq(is_custom, starts[_i].is_custom);
}
END_TEST

/* The code of a cell. */
static char *code_of(const struct adit_buf *cell)
{
    json_t *doc = json_loadb(cell->data + cell->off, cell->len, 0, NULL);
    ck_assert_msg(doc != NULL, "%.*s", ADIT_VIEW_ARG(adit_buf_view(cell)));
    char *code = strdup(json_string_value(json_object_get(doc, "code")));
    json_decref(doc);
    return code;
}

START_TEST(session_request_passes_code_on_as_it_is)
{
    struct adit_buf cell;
    adit_buf_init(&cell, SESSION_REQUEST_CELL_MAX);
    ck_assert_int_eq(
        session_request_execute(adit_view_str("{\"code\":\"print(\\\"\\u00e4\\\\n\\\")\\n\\t1\"}"),
                                &cell, NULL),
        0);
    char *code = code_of(&cell);
    ck_assert_str_eq(code, "print(\"\xc3\xa4\\n\")\n\t1");
    free(code);
    adit_buf_fini(&cell);
}
END_TEST

static const char *const packages[] = {
    "[\"requests\"]",
    "[\"a\",\"b.c-d_e[x,y]>=1.2,!=1.3\"]",
    "[\"x ~= 1\"]",
    "[\"numpy==1.26.*\"]",
};
static const char *const no_packages[] = {
    "null",          "[]",           "[1]",
    "[\"\"]",        "[\"-e\"]",     "[\"--index-url=x\"]",
    "[\"a'b\"]",     "[\"a\\\"b\"]", "[\"a\\\\b\"]",
    "[\"a\\nb\"]",   "{}",           "\"requests\"",
    "[\"a;b\"]",     "[\"a@b\"]",    "[\".\"]",
    "[\"/x\"]",      "[\"a(b)\"]",   "[\"a\",null]",
    "[\"\\u00e4\"]",
};

static int install(const char *list, struct adit_buf *cell)
{
    char body[512];
    (void)snprintf(body, sizeof(body), "{\"packages\":%s}", list);
    return session_request_install(adit_view_str(body), cell, NULL);
}

START_TEST(session_request_makes_a_cell_of_packages)
{
    struct adit_buf cell;
    adit_buf_init(&cell, SESSION_REQUEST_CELL_MAX);
    ck_assert_int_eq(install(packages[_i], &cell), 0);
    char *code = code_of(&cell);
    ck_assert_ptr_nonnull(strstr(code, "'-m', 'pip', 'install'"));
    free(code);
    adit_buf_fini(&cell);
}
END_TEST

START_TEST(session_request_refuses_what_is_no_package)
{
    struct adit_buf cell;
    adit_buf_init(&cell, SESSION_REQUEST_CELL_MAX);
    ck_assert_int_eq(install(no_packages[_i], &cell), ADIT_ERR_BAD_INPUT);
    adit_buf_fini(&cell);
}
END_TEST

START_TEST(session_request_refuses_too_many_and_too_long_packages)
{
    char list[8 * SESSION_REQUEST_PACKAGES_MAX + 400] = "[\"a\"", body[sizeof(list) + 32];
    struct adit_buf cell;
    adit_buf_init(&cell, SESSION_REQUEST_CELL_MAX);
    for (int i = 0; i < SESSION_REQUEST_PACKAGES_MAX; i++)
        strcat(list, ",\"a\"");
    (void)snprintf(body, sizeof(body), "{\"packages\":%s]}", list);
    ck_assert_int_eq(session_request_install(adit_view_str(body), &cell, NULL), ADIT_ERR_BAD_INPUT);
    (void)snprintf(body, sizeof(body), "{\"packages\":[\"%0*d\"]}",
                   SESSION_REQUEST_PACKAGE_LEN_MAX + 1, 7);
    ck_assert_int_eq(session_request_install(adit_view_str(body), &cell, NULL), ADIT_ERR_BAD_INPUT);
    adit_buf_fini(&cell);
}
END_TEST

static const struct {
    const char *query, *fallback, *path; /* NULL: refused */
} paths[] = {
    {"path=/a/b", NULL, "/a/b"},
    {"path=%2Fa+b", NULL, "/a b"},
    {"x=1&path=/%C3%A4", NULL, "/\xc3\xa4"},
    {"path=/a..b/...", NULL, "/a..b/..."},
    {"", "/d", "/d"},
    {"path=", "/d", "/d"},
    {"path=", NULL, NULL},
    {"path=a", NULL, NULL},
    {"path=/..", NULL, NULL},
    {"path=/a/../b", NULL, NULL},
    {"path=/a/.", NULL, NULL},
    {"path=/%00", NULL, NULL},
    {"path=/%0A", NULL, NULL},
    {"path=/%7F", NULL, NULL},
    {"path=/%FF", NULL, NULL},
    {"path=/%", NULL, NULL},
};

START_TEST(session_request_takes_paths)
{
    char path[SESSION_REQUEST_PATH_MAX + 1];
    struct adit_err err = ADIT_ERR_INIT;
    int rc = session_request_path(adit_view_str(paths[_i].query), paths[_i].fallback, path, &err);
    ck_assert_int_eq(rc, paths[_i].path ? 0 : ADIT_ERR_BAD_INPUT);
    if (rc == 0)
        ck_assert_str_eq(path, paths[_i].path);
    else
        ck_assert_uint_gt(strlen(err.msg), 0);
}
END_TEST

static const struct {
    const char *filename, *name;
} names[] = {
    {"a.csv", "a.csv"},
    {"/etc/passwd", "passwd"},
    {"..\\..\\x y", "x y"},
    {"a/", NULL},
    {"", NULL},
    {".", NULL},
    {"x/..", NULL},
    {"a\nb", NULL},
    {"\xff", NULL},
};

START_TEST(session_request_takes_the_last_part_of_a_name)
{
    struct adit_view name;
    int rc = session_request_file_name(adit_view_str(names[_i].filename), &name, NULL);
    ck_assert_int_eq(rc, names[_i].name ? 0 : ADIT_ERR_BAD_INPUT);
    if (rc == 0)
        ck_assert(adit_view_eq_str(name, names[_i].name));
}
END_TEST

START_TEST(session_request_escapes_paths)
{
    struct adit_buf text;
    adit_buf_init(&text, 256);
    ck_assert_int_eq(session_request_append_escaped(&text, adit_view_str("/a b&c=%\xc3\xa4.~-_")),
                     0);
    ck_assert(adit_view_eq_str(adit_buf_view(&text), "/a%20b%26c%3D%25%C3%A4.~-_"));
    adit_buf_fini(&text);
}
END_TEST

/* ---- the development switch ---- */

static const struct {
    const char *peer, *host, *origin, *forwarded;
    bool is_local;
} askers[] = {
    {"127.0.0.1", "localhost:3000", NULL, NULL, true},
    {"127.5.5.5", "127.0.0.1", NULL, NULL, true},
    {"::1", "[::1]:3000", "http://[::1]:5173", NULL, true},
    {"127.0.0.1", "LocalHost", "http://localhost:5173", NULL, true},
    {"127.0.0.1", "localhost", "https://127.0.0.1", NULL, true},
    {"10.0.0.1", "localhost", NULL, NULL, false},
    {"unix", "localhost", NULL, NULL, false},
    {"127.0.0.1", "sandbox.example", NULL, NULL, false},
    {"127.0.0.1", "localhost.example", NULL, NULL, false},
    {"127.0.0.1", "", NULL, NULL, false},
    {"127.0.0.1", "localhost", "https://example.com", NULL, false},
    {"127.0.0.1", "localhost", "http://localhost.example", NULL, false},
    {"127.0.0.1", "localhost", "http://localhost@example.com", NULL, false},
    {"127.0.0.1", "localhost", "null", NULL, false},
    {"127.0.0.1", "localhost", "", NULL, false},
    {"127.0.0.1", "localhost", "file://localhost", NULL, false},
    {"127.0.0.1", "localhost", NULL, "for=10.0.0.1", false},
    {"127.0.0.1", "localhost", NULL, "", false},
};

START_TEST(session_access_knows_this_machines_own_requests)
{
    struct session_access_input in = {
        .peer = adit_view_str(askers[_i].peer),
        .host = adit_view_str(askers[_i].host),
        .origin = adit_view_str(askers[_i].origin),
        .forwarded = adit_view_str(askers[_i].forwarded),
    };
    ck_assert_int_eq(session_access_is_local(&in), askers[_i].is_local);
}
END_TEST

#define LOOP(test, table)                                                                          \
    {                                                                                              \
        test, sizeof(table) / sizeof((table)[0])                                                   \
    }
SUITE_MAIN_WITH(
    "session_request",
    TESTS(session_request_takes_ids_of_128_characters, session_request_passes_code_on_as_it_is,
          session_request_refuses_too_many_and_too_long_packages, session_request_escapes_paths),
    LOOPS(LOOP(session_request_takes_ids, ids), LOOP(session_request_takes_types, starts),
          LOOP(session_request_makes_a_cell_of_packages, packages),
          LOOP(session_request_refuses_what_is_no_package, no_packages),
          LOOP(session_request_takes_paths, paths),
          LOOP(session_request_takes_the_last_part_of_a_name, names),
          LOOP(session_access_knows_this_machines_own_requests, askers)))
