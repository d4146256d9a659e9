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

/* The value of a string member of the last answer. */
static const char *member(const char *name)
{
    static char value[128];
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *p = strstr(reply.body, key);
    ck_assert_ptr_nonnull(p);
    p += strlen(key);
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(p, "\""), p);
    return value;
}

static unsigned watcher_call(const char *method, const char *id)
{
    char json[128];
    (void)snprintf(json, sizeof json, "{\"watcherId\":\"%s\"}", id);
    return call_as(method, json, "");
}

START_TEST(filesystem_watcher_gathers_until_it_is_removed)
{
    char id[64];
    ck_assert_uint_eq(call("CreateWatcher", "", ""), 200);
    (void)snprintf(id, sizeof id, "%s", member("watcherId"));
    ck_assert_uint_eq(strlen(id), 21);
    ck_assert_int_eq(id[0], 'w');
    for (int i = 0; i < 100; i++) { /* each fetch has what was before it */
        scratch_write("f", "x", 1);
        ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 200);
        ck_assert(says("{\"name\":\"f\",\"type\":\"EVENT_TYPE_WRITE\"}"));
        ck_assert_int_eq(unlink(scratch("f")), 0);
        ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 200);
        ck_assert_str_eq(reply.body,
                         "{\"events\":[{\"name\":\"f\",\"type\":\"EVENT_TYPE_REMOVE\"}]}");
    }
    live_hang_up(&conn);
    scratch_write("g", "", 0);
    conn = live_http();
    ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 200);
    ck_assert_str_eq(reply.body, "{\"events\":[{\"name\":\"g\",\"type\":\"EVENT_TYPE_CREATE\"}]}");
    ck_assert_uint_eq(watcher_call("RemoveWatcher", id), 200);
    ck_assert_uint_eq(watcher_call("RemoveWatcher", id), 404);
    ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 404);
    ck_assert(is_error("not_found", "watcher with id w", NULL) && says(" not found\"}"));
}
END_TEST

START_TEST(filesystem_watcher_refuses_what_it_cannot_watch)
{
    ck_assert_uint_eq(call("CreateWatcher", "no", ""), 404);
    ck_assert(is_error("not_found", "path ", "no") && says(" not found: stat "));
    scratch_write("f", "", 0);
    ck_assert_uint_eq(call("CreateWatcher", "f", ""), 400);
    ck_assert(is_error("invalid_argument", "path ", "f") && says(" not a directory: "));
    ck_assert_uint_eq(call_as("CreateWatcher", "{\"path\":\"~x\"}", ""), 400);
    for (int i = 0; i < 64; i++)
        ck_assert_uint_eq(call("CreateWatcher", "", ",\"recursive\":true"), 200);
    ck_assert_uint_eq(call("CreateWatcher", "", ""), 429);
    ck_assert(is_error("resource_exhausted", "more than 64 watchers", NULL));
    ck_assert_uint_eq(
        call_as("CreateWatcher", "{}", "Authorization: Basic bm9ib2R5LXRoZXJlOg==\r\n"), 401);
}
END_TEST

START_TEST(filesystem_watcher_entries_and_old_clients)
{
    char id[64], old[64], json[PATH_MAX];
    ck_assert_uint_eq(call("CreateWatcher", "", ",\"includeEntry\":true"), 200);
    (void)snprintf(id, sizeof id, "%s", member("watcherId"));
    (void)snprintf(json, sizeof json, "{\"path\":\"%s\",\"includeEntry\":true}", scratch_dir);
    ck_assert_uint_eq(call_as("CreateWatcher", json, "User-Agent: connect-python\r\n"), 200);
    (void)snprintf(old, sizeof old, "%s", member("watcherId"));
    scratch_write("f", "", 0);
    ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 200);
    ck_assert(says("\"entry\":{\"name\":\"f\",\"type\":\"FILE_TYPE_FILE\""));
    ck_assert_uint_eq(watcher_call("GetWatcherEvents", old), 200);
    ck_assert_str_eq(reply.body, "{\"events\":[{\"name\":\"f\",\"type\":\"EVENT_TYPE_CREATE\"}]}");
}
END_TEST

/* One envelope of a stream's answer, as text. */
static const char *envelope(void)
{
    static char text[64 * 1024];
    unsigned char head[5];
    size_t got = 0;
    while (got < sizeof head) {
        ssize_t n = live_read_chunked(&conn, head + got, sizeof head - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
    }
    size_t len = (size_t)head[3] << 8 | head[4];
    for (got = 0; got < len;) {
        ssize_t n = live_read_chunked(&conn, text + got, len - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
    }
    text[len] = '\0';
    return text;
}

static void watch_dir(const char *name, const char *headers)
{
    char message[PATH_MAX], lines[256];
    int len = snprintf(message + 5, sizeof message - 5, "{\"path\":\"%s\",\"recursive\":true}",
                       scratch(name));
    memcpy(message, (char[]){0, 0, 0, (char)(len >> 8), (char)len}, 5);
    (void)snprintf(lines, sizeof lines, "Content-Type: application/connect+json\r\n%s", headers);
    live_request(&conn, "POST", "/filesystem.Filesystem/WatchDir", lines, message, (size_t)len + 5);
    live_read_head(&conn, &reply);
    ck_assert_uint_eq(reply.status, 200);
}

START_TEST(filesystem_watch_dir_streams)
{
    watch_dir("", "Keepalive-Ping-Interval: 1\r\n");
    ck_assert_str_eq(envelope(), "{\"start\":{}}");
    ck_assert_int_eq(mkdir(scratch("d"), 0755), 0);
    ck_assert_str_eq(envelope(),
                     "{\"filesystem\":{\"name\":\"d\",\"type\":\"EVENT_TYPE_CREATE\"}}");
    scratch_write("d/f", "", 0);
    ck_assert_str_eq(envelope(),
                     "{\"filesystem\":{\"name\":\"d/f\",\"type\":\"EVENT_TYPE_CREATE\"}}");
    ck_assert_str_eq(envelope(), "{\"keepalive\":{}}");
    ck_assert_str_eq(envelope(), "{\"keepalive\":{}}");
}
END_TEST

START_TEST(filesystem_watch_dir_ends_at_its_deadline)
{
    watch_dir("", "Connect-Timeout-Ms: 300\r\n");
    ck_assert_str_eq(envelope(), "{\"start\":{}}");
    ck_assert_str_eq(envelope(), "{\"error\":{\"code\":\"deadline_exceeded\",\"message\":\"context "
                                 "deadline exceeded\"}}");
    live_hang_up(&conn);
    conn = live_http();
    watch_dir("no", "");
    ck_assert_ptr_nonnull(strstr(envelope(), "\"code\":\"not_found\",\"message\":\"path "));
}
END_TEST

/* Write a byte to each of nine files in turn, so that no event is like the one before it. */
static void flood(int cnt)
{
    static int fds[9];
    for (int i = 0; i < 9 && !fds[8]; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "d/%d%0200d", i, 0);
        fds[i] = open(scratch(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        ck_assert_int_ge(fds[i], 0);
    }
    for (int i = 0; i < cnt; i++)
        ck_assert_int_eq(write(fds[i % 9], "x", 1), 1);
}

START_TEST(filesystem_slow_reader_of_a_watch_is_ended_and_harms_nobody)
{
    char id[64];
    const char *last;
    int told = 0;
    ck_assert_int_eq(mkdir(scratch("d"), 0755), 0);
    flood(0);
    ck_assert_uint_eq(call("CreateWatcher", "d", ""), 200);
    (void)snprintf(id, sizeof id, "%s", member("watcherId"));
    struct live_conn quick = conn;
    conn = live_http();
    watch_dir("d", "");
    ck_assert_str_eq(envelope(), "{\"start\":{}}");
    struct live_conn slow = conn;
    conn = quick;
    for (int i = 0; i < 60000; i += 200) { /* 20 MB of events */
        flood(200);
        ck_assert_uint_eq(watcher_call("GetWatcherEvents", id), 200);
        int cnt = 0;
        for (const char *p = reply.body; (p = strstr(p, "EVENT_TYPE_WRITE")); p++)
            cnt++;
        ck_assert_int_eq(cnt, 200);
    }
    conn = slow;
    while (strncmp(last = envelope(), "{\"filesystem\":", 14) == 0)
        told++;
    ck_assert_int_gt(told, 100); /* what was on the way */
    ck_assert_str_eq(last,
                     "{\"error\":{\"code\":\"internal\",\"message\":\"watcher error: events were "
                     "not fetched in time, and no more can be kept\"}}");
    live_hang_up(&conn);
    conn = quick;
}
END_TEST

START_TEST(filesystem_watchers_of_clients_that_leave_are_closed)
{
    for (int i = 0; i < 200; i++) {
        struct live_conn kept = conn;
        conn = live_http();
        watch_dir("", "");
        if (i % 2)
            ck_assert_str_eq(envelope(), "{\"start\":{}}");
        live_hang_up(&conn);
        conn = kept;
        ck_assert_uint_eq(call("Stat", "", ""), 200); /* envd has seen it */
    }
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
                      filesystem_old_clients_get_old_fields_only,
                      filesystem_watcher_gathers_until_it_is_removed,
                      filesystem_watcher_refuses_what_it_cannot_watch,
                      filesystem_watcher_entries_and_old_clients, filesystem_watch_dir_streams,
                      filesystem_watch_dir_ends_at_its_deadline,
                      filesystem_slow_reader_of_a_watch_is_ended_and_harms_nobody,
                      filesystem_watchers_of_clients_that_leave_are_closed,
                      filesystem_client_that_leaves_harms_nobody))
