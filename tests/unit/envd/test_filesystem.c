/* SPDX-License-Identifier: Apache-2.0 */
/* The service filesystem.Filesystem of a live envd, in JSON as clients speak it. */
#include "tests/unit/suite.h"
#include "live_envd.h"
#include "scratch.h"

static struct live_conn conn;
static struct live_reply reply;

static void setup(void)
{
    live_start();
    conn = live_http();
}

static void teardown(void)
{
    live_hang_up(&conn);
    live_stop();
}

static unsigned call_as(const char *method, const char *json, const char *headers)
{
    char target[128], lines[512];
    (void)snprintf(target, sizeof target, "/filesystem.Filesystem/%s", method);
    (void)snprintf(lines, sizeof lines,
                   "Content-Type: application/json\r\nConnect-Protocol-Version: 1\r\n%s", headers);
    live_call(&conn, "POST", target, lines, json, &reply);
    return reply.status;
}

/* A call with {"path":"<dir>/<name>"<more>}. */
static unsigned call(const char *method, const char *name, const char *more)
{
    char json[2 * PATH_MAX];
    (void)snprintf(json, sizeof json, "{\"path\":\"%s\"%s}", scratch(name), more);
    return call_as(method, json, "");
}

static bool says(const char *text)
{
    return strstr(reply.body, text) != NULL;
}

static bool is_error(const char *code, const char *message, const char *name)
{
    char want[PATH_MAX];
    (void)snprintf(want, sizeof want, "{\"code\":\"%s\",\"message\":\"%s%s", code, message,
                   name ? scratch(name) : "");
    return strncmp(reply.body, want, strlen(want)) == 0;
}

START_TEST(filesystem_stat)
{
    scratch_write("f", "hello", 5);
    ck_assert_uint_eq(call("Stat", "f", ""), 200);
    ck_assert(says("\"name\":\"f\"") && says("\"type\":\"FILE_TYPE_FILE\"") &&
              says("\"size\":\"5\"") && says("\"mode\":420") &&
              says("\"permissions\":\"-rw-r--r--\"") && says("\"owner\":\"root\""));
    ck_assert_uint_eq(call("Stat", "nope", ""), 404);
    ck_assert(is_error("not_found", "file not found: lstat ", "nope"));
    ck_assert(says(": no such file or directory\"}"));
    ck_assert_uint_eq(call("Stat", "f/x", ""), 404);
    ck_assert_uint_eq(call_as("Stat", "{\"path\":\"~x\"}", ""), 400);
    ck_assert(
        is_error("invalid_argument", "failed to expand path '~x' for user 'root': cannot", NULL));
    ck_assert_uint_eq(call_as("Stat", "{\"path\":\"a\\u0000b\"}", ""), 400);
}
END_TEST

START_TEST(filesystem_make_dir)
{
    ck_assert_uint_eq(call("MakeDir", "a/b", ""), 200);
    ck_assert(says("\"type\":\"FILE_TYPE_DIRECTORY\"") && says("drwxr-xr-x"));
    ck_assert_uint_eq(call("MakeDir", "a/b", ""), 409);
    ck_assert(is_error("already_exists", "directory already exists: ", "a/b"));
    scratch_write("f", "x", 1);
    ck_assert_uint_eq(call("MakeDir", "f", ""), 400);
    ck_assert(is_error("invalid_argument", "path already exists but it is not a directory: ", "f"));
    ck_assert_uint_eq(call("MakeDir", "f/x", ""), 500);
}
END_TEST

static unsigned move(const char *from, const char *to)
{
    char json[2 * PATH_MAX];
    (void)snprintf(json, sizeof json, "{\"source\":\"%s\",\"destination\":\"%s\"}", scratch(from),
                   scratch(to));
    return call_as("Move", json, "");
}

START_TEST(filesystem_move)
{
    scratch_write("f", "x", 1);
    ck_assert_uint_eq(move("f", "new/dir/g"), 200);
    ck_assert(says("\"name\":\"g\""));
    ck_assert(scratch_is("new/dir/g", "x", 1) && !scratch_exists("f"));
    ck_assert_uint_eq(move("f", "h/i"), 404);
    ck_assert(is_error("not_found", "source file not found: ", NULL));
    ck_assert(!scratch_exists("h"));
    ck_assert_uint_eq(move("new", "new/dir/inside"), 500);
    ck_assert(is_error("internal", "error renaming: ", NULL));
    ck_assert(scratch_is("new/dir/g", "x", 1));
}
END_TEST

START_TEST(filesystem_list_and_remove)
{
    ck_assert_uint_eq(call("MakeDir", "d/e", ""), 200);
    scratch_write("d/e/f", "x", 1);
    ck_assert_uint_eq(call("ListDir", "d", ",\"depth\":2"), 200);
    ck_assert(says("/d/e\"") && says("/d/e/f\""));
    ck_assert_uint_eq(call("ListDir", "d", ""), 200);
    ck_assert(says("/d/e\"") && !says("/d/e/f\""));
    ck_assert_uint_eq(call("ListDir", "d/e/f", ""), 400);
    ck_assert(is_error("invalid_argument", "path is not a directory: ", "d/e/f"));
    ck_assert_uint_eq(call("ListDir", "nope", ""), 404);
    ck_assert(is_error("not_found", "path not found: ", NULL));
    ck_assert_uint_eq(call("Remove", "d", ""), 200);
    ck_assert_str_eq(reply.body, "{}");
    ck_assert(!scratch_exists("d"));
    ck_assert_uint_eq(call("Remove", "d", ""), 200);
    ck_assert_uint_eq(call_as("Remove", "{\"path\":\"/\"}", ""), 400);
}
END_TEST

START_TEST(filesystem_unknown_user_is_unauthenticated)
{
    /* nobody-there: */
    ck_assert_uint_eq(
        call_as("Stat", "{\"path\":\"/\"}", "Authorization: Basic bm9ib2R5LXRoZXJlOg==\r\n"), 401);
    ck_assert(is_error("unauthenticated", "invalid username: 'nobody-there'", NULL));
}
END_TEST

START_TEST(filesystem_old_clients_get_old_fields_only)
{
    char json[PATH_MAX], want[PATH_MAX];
    scratch_write("f", "x", 1);
    (void)snprintf(json, sizeof json, "{\"path\":\"%s\"}", scratch("f"));
    (void)snprintf(want, sizeof want,
                   "{\"entry\":{\"name\":\"f\",\"type\":\"FILE_TYPE_FILE\",\"path\":\"%s\"}}",
                   scratch("f"));
    ck_assert_uint_eq(call_as("Stat", json, "User-Agent: connect-python\r\n"), 200);
    ck_assert_str_eq(reply.body, want);
    ck_assert_ptr_nonnull(strcasestr(reply.head, "\r\nX-E2B-Legacy-SDK: true\r\n"));
    ck_assert_uint_eq(call_as("Stat", json, "User-Agent: connect-python/2\r\n"), 200);
    ck_assert(says("\"permissions\""));
    ck_assert_ptr_null(strcasestr(reply.head, "\r\nX-E2B-Legacy-SDK:"));
}
END_TEST

START_TEST(filesystem_watching_fails_loudly)
{
    static const char *const methods[] = {"CreateWatcher", "GetWatcherEvents", "RemoveWatcher"};
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(call_as(methods[i], "{}", ""), 501);
        ck_assert(is_error("unimplemented", "watching directories is not supported", NULL));
    }
    static const char envelope[] = "\0\0\0\0\2{}";
    live_request(&conn, "POST", "/filesystem.Filesystem/WatchDir",
                 "Content-Type: application/connect+json\r\n", envelope, 7);
    live_read_reply(&conn, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_int_eq(reply.body[0], 2);
    ck_assert_ptr_nonnull(strstr(reply.body + 5, "\"code\":\"unimplemented\""));
}
END_TEST

START_TEST(filesystem_client_that_leaves_harms_nobody)
{
    for (int i = 0; i < 200; i++) {
        struct live_conn c = live_http();
        static const char json[] = "{\"path\":\"/usr\",\"depth\":3}";
        live_request(&c, "POST", "/filesystem.Filesystem/ListDir",
                     "Content-Type: application/json\r\n", json, sizeof json - 1);
        live_hang_up(&c);
    }
    live_hang_up(&conn);
    conn = live_http();
    ck_assert_uint_eq(call("Stat", "", ""), 200);
}
END_TEST

SUITE_MAIN_WITH("filesystem", .fixtures = {{scratch_setup, scratch_teardown}, {setup, teardown}},
                TESTS(filesystem_stat, filesystem_make_dir, filesystem_move,
                      filesystem_list_and_remove, filesystem_unknown_user_is_unauthenticated,
                      filesystem_old_clients_get_old_fields_only, filesystem_watching_fails_loudly,
                      filesystem_client_that_leaves_harms_nobody))
