/* SPDX-License-Identifier: Apache-2.0 */
/* /files of a live envd: statuses, ranges, large bodies both ways, clients that leave. */
#include "tests/unit/suite.h"
#include "live_envd.h"
#include "scratch.h"

#include <zlib.h>

#include "base/clock.h"

#define OCTETS "Content-Type: application/octet-stream\r\n"
#define LARGE (20u * 1024 * 1024 + 17)

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

/* "/files?path=<dir>/<name>" */
static const char *target(const char *name)
{
    static char text[PATH_MAX];
    (void)snprintf(text, sizeof text, "/files?path=%s", scratch(name));
    return text;
}

static const char *header(const char *name)
{
    static char value[256];
    char line[64];
    (void)snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = strcasestr(reply.head, line);
    if (!at)
        return "(none)";
    at += strlen(line);
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static unsigned get(const char *path, const char *headers)
{
    live_call(&conn, "GET", path, headers, "", &reply);
    return reply.status;
}

START_TEST(files_round_trip_with_all_headers)
{
    live_call(&conn, "POST", target("d/a.txt"), OCTETS, "hello", &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_str_eq(header("Content-Type"), "application/json");
    ck_assert_uint_eq(get(target("d/a.txt"), ""), 200);
    ck_assert_str_eq(reply.body, "hello");
    ck_assert_str_eq(header("Content-Type"), "text/plain; charset=utf-8");
    ck_assert_str_eq(header("Content-Disposition"), "inline; filename=a.txt");
    ck_assert_str_eq(header("Content-Length"), "5");
    ck_assert_str_eq(header("Accept-Ranges"), "bytes");
    ck_assert_str_eq(header("Vary"), "Accept-Encoding");
    ck_assert_int_eq((int)strlen(header("Last-Modified")), 29);
    ck_assert_uint_eq(get(target("d/a.txt"), "Range: bytes=1-2\r\n"), 206);
    ck_assert_str_eq(reply.body, "el");
    ck_assert_str_eq(header("Content-Range"), "bytes 1-2/5");
    ck_assert_uint_eq(get(target("d/a.txt"), "Range: bytes=5-\r\n"), 416);
    ck_assert_str_eq(header("Content-Range"), "bytes */5");
    ck_assert_uint_eq(get(target("d/a.txt"), "If-None-Match: *\r\n"), 304);
    ck_assert_uint_eq(get(target("d/a.txt"), ""), 200); /* the connection is in step */
}
END_TEST

START_TEST(files_download_refusals)
{
    static const struct {
        const char *target, *headers;
        unsigned status;
        const char *message;
    } rows[] = {
        {"/files?path=/nonexistent", "", 404, "path '/nonexistent' does not exist"},
        {"/files?path=/dev/null/x", "", 404, "path '/dev/null/x' does not exist"},
        {"/files?path=/", "", 400, "path '/' is a directory"},
        {"/files?path=/dev/zero", "", 400, "path '/dev/zero' is not a regular file"},
        {"/files?path=~x/y", "", 400, "error expanding and resolving path '~x/y': failed"},
        {"/files?path=/a&username=nobody-there", "", 401,
         "error looking up user 'nobody-there': user: unknown user nobody-there"},
        {"/files?path=%00", "", 400, "invalid query"},
        {"/files?path=%2", "", 400, "invalid query"},
        {"/files?path=/etc/passwd", "Accept-Encoding: identity;q=0\r\n", 406,
         "error parsing Accept-Encoding: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[512];
        ck_assert_msg(get(rows[i].target, rows[i].headers) == rows[i].status, "row %zu: %u %s", i,
                      reply.status, reply.body);
        (void)snprintf(want, sizeof want, "{\"code\":%u,\"message\":\"%s", rows[i].status,
                       rows[i].message);
        ck_assert_msg(strncmp(reply.body, want, strlen(want)) == 0, "row %zu: %s", i, reply.body);
        ck_assert_int_eq(reply.body[reply.body_len - 1], '\n');
        ck_assert_str_eq(header("X-Content-Type-Options"), "nosniff");
    }
}
END_TEST

START_TEST(files_of_procfs_are_read_to_their_end)
{
    ck_assert_uint_eq(get("/files?path=/proc/sys/kernel/random/boot_id", ""), 200);
    ck_assert_uint_eq(reply.body_len, 37);
    ck_assert_uint_eq(get("/files?path=/proc/self/../version", "Range: bytes=0-0\r\n"), 200);
    ck_assert_uint_gt(reply.body_len, 10);
    ck_assert_uint_eq(get("/files?path=/proc/self/maps", ""), 200);
    ck_assert_ptr_nonnull(strstr(reply.body, "[stack]"));
    scratch_write("empty", "", 0);
    ck_assert_uint_eq(get(target("empty"), ""), 200);
    ck_assert_str_eq(header("Content-Length"), "0");
}
END_TEST

START_TEST(files_gzip_only_when_identity_is_refused)
{
    static char bytes[300 * 1024];
    uLong len = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i / 1000);
    scratch_write("f", bytes, sizeof bytes);
    ck_assert_uint_eq(get(target("f"), "Accept-Encoding: identity;q=0, gzip\r\n"), 200);
    ck_assert_str_eq(header("Content-Encoding"), "gzip");
    ck_assert_str_eq(header("Transfer-Encoding"), "chunked");
    static char plain[sizeof bytes + 1];
    z_stream z = {.next_in = (Bytef *)reply.body,
                  .avail_in = (uInt)reply.body_len,
                  .next_out = (Bytef *)plain,
                  .avail_out = sizeof plain};
    ck_assert_int_eq(inflateInit2(&z, 31), Z_OK);
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    len = z.total_out;
    (void)inflateEnd(&z);
    ck_assert_uint_eq(len, sizeof bytes);
    ck_assert_int_eq(memcmp(plain, bytes, sizeof bytes), 0);
}
END_TEST

/* Read exactly the reply's body into @out. */
static void read_body(struct live_conn *c, char *out, size_t len)
{
    while (len) {
        ck_assert(c->start < c->end || live_fill(c));
        size_t n = c->end - c->start < len ? c->end - c->start : len;
        memcpy(out, c->buf + c->start, n);
        c->start += n;
        out += n;
        len -= n;
    }
}

START_TEST(files_large_bodies_both_ways)
{
    char *bytes = scratch_bytes(LARGE), *back = malloc(LARGE);
    for (int round = 0; round < 2; round++) { /* new, then over an existing one */
        live_request(&conn, "POST", target("large"), OCTETS, bytes + round, LARGE - 1);
        live_read_reply(&conn, &reply);
        ck_assert_uint_eq(reply.status, 200);
        ck_assert(scratch_is("large", bytes + round, LARGE - 1));
        live_request(&conn, "GET", target("large"), "", "", 0);
        live_read_head(&conn, &reply);
        ck_assert_uint_eq(reply.status, 200);
        read_body(&conn, back, LARGE - 1);
        ck_assert_int_eq(memcmp(back, bytes + round, LARGE - 1), 0);
    }
    live_request(&conn, "GET", target("large"), "Range: bytes=1000000-\r\n", "", 0);
    live_read_head(&conn, &reply);
    ck_assert_uint_eq(reply.status, 206);
    read_body(&conn, back, LARGE - 1 - 1000000);
    ck_assert_int_eq(memcmp(back, bytes + 1 + 1000000, LARGE - 1 - 1000000), 0);
    ck_assert_int_eq(scratch_count(scratch_dir), 1);
    free(bytes);
    free(back);
}
END_TEST

START_TEST(files_chunked_upload_is_taken)
{
    static const char request[] = "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n";
    char head[512];
    (void)snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: x\r\n" OCTETS "Transfer-Encoding: chunked\r\n\r\n",
                   target("f"));
    live_send(&conn, head, strlen(head));
    live_send(&conn, request, sizeof request - 1);
    live_read_reply(&conn, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert(scratch_is("f", "hello!", 6));
}
END_TEST

/* Wait until envd runs no more for its clients: a request on another connection comes back. */
static void settle(void)
{
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(get("/files?path=/nonexistent", ""), 404);
}

START_TEST(files_upload_whose_client_leaves_changes_nothing)
{
    static const size_t sent[] = {0, 1, 1000, 300 * 1024, 3u * 1024 * 1024, LARGE - 1};
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", "old", 3);
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        struct live_conn c = live_http();
        char head[512];
        (void)snprintf(head, sizeof head,
                       "POST %s HTTP/1.1\r\nHost: x\r\n" OCTETS "Content-Length: %u\r\n\r\n",
                       target(i % 2 ? "f" : "new"), LARGE);
        live_send(&c, head, strlen(head));
        live_send(&c, bytes, sent[i]);
        live_hang_up(&c);
        settle();
        ck_assert(scratch_is("f", "old", 3));
        ck_assert_int_eq(scratch_count(scratch_dir), 1);
    }
    free(bytes);
}
END_TEST

static void kill_envd(void)
{
    ck_assert_int_eq(kill(live_pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(live_pid, NULL, 0), live_pid);
    live_hang_up(&conn);
    (void)unlink(live_path);
    setup();
}

/* Send the head and @sent of @len bytes. */
static void begin_upload(const char *name, const char *bytes, size_t sent, size_t len)
{
    char head[512];
    (void)snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: x\r\n" OCTETS "Content-Length: %zu\r\n\r\n",
                   target(name), len);
    live_send(&conn, head, strlen(head));
    live_send(&conn, bytes, sent);
}

START_TEST(files_killed_envd_leaves_no_half_upload)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", "old", 3);
    for (int i = 0; i < 4; i++) {
        begin_upload(i % 2 ? "f" : "new", bytes, i < 2 ? 1000 : LARGE - 1, LARGE);
        kill_envd();
        ck_assert(scratch_is("f", "old", 3));
        ck_assert_int_eq(scratch_count(scratch_dir), 1);
    }
    free(bytes);
}
END_TEST

/* The kill comes at another moment of the commit in each round. */
START_TEST(files_killed_envd_leaves_new_files_whole_or_absent)
{
    enum { LEN = 300 * 1024, ROUNDS = 40 };
    char *bytes = scratch_bytes(LEN);
    for (int i = 0; i < ROUNDS; i++) {
        begin_upload("new", bytes, LEN, LEN);
        uint64_t until = adit_clock_mono_ns() + (uint64_t)i * 25000;
        while (adit_clock_mono_ns() < until)
            continue;
        kill_envd();
        int cnt = scratch_count(scratch_dir);
        ck_assert(cnt == 0 || (cnt == 1 && scratch_is("new", bytes, LEN)));
        (void)unlink(scratch("new"));
    }
    free(bytes);
}
END_TEST

/* Descriptors of envd. */
static int descriptors(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)live_pid);
    return scratch_count(path);
}

START_TEST(files_download_whose_client_leaves_frees_everything)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", bytes, LARGE);
    free(bytes);
    settle();
    int before = descriptors();
    for (int i = 0; i < 20; i++) {
        struct live_conn c = live_http();
        live_request(&c, "GET", target("f"), "", "", 0);
        if (i % 2)
            live_read_head(&c, &reply);
        live_hang_up(&c);
    }
    uint64_t until = adit_clock_mono_ns() + UINT64_C(10000000000);
    while (descriptors() > before && adit_clock_mono_ns() < until)
        settle();
    ck_assert_int_le(descriptors(), before);
}
END_TEST

START_TEST(files_that_shrink_while_they_are_sent_break_the_connection)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", bytes, LARGE);
    live_request(&conn, "GET", target("f"), "", "", 0);
    live_read_head(&conn, &reply);
    ck_assert_int_eq(truncate(scratch("f"), 1000), 0);
    size_t got = conn.end - conn.start;
    conn.start = conn.end;
    while (live_fill(&conn)) {
        got += conn.end - conn.start;
        conn.start = conn.end;
    }
    ck_assert_uint_lt(got, LARGE);
    live_hang_up(&conn);
    conn = live_http();
    free(bytes);
}
END_TEST

/* Resident memory of envd in KiB. */
static long resident(void)
{
    char path[64], line[256];
    long kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)live_pid);
    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "VmRSS: %ld kB", &kib) != 1)
        continue;
    (void)fclose(f);
    return kib;
}

START_TEST(files_slow_readers_cost_bounded_memory)
{
#ifdef __clang__ /* builds with sanitizers use it: red zones and quarantine */
    enum { READERS = 50, EACH_KIB = 4096 };
#else
    enum { READERS = 50, EACH_KIB = 512 };
#endif
    static struct live_conn readers[READERS];
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", bytes, LARGE);
    long before = resident();
    for (int i = 0; i < READERS; i++) {
        readers[i] = live_http();
        live_request(&readers[i], "GET", target("f"), "", "", 0);
        live_read_head(&readers[i], &reply);
    }
    settle(); /* others are served meanwhile */
    ck_assert_int_lt(resident() - before, READERS * EACH_KIB);
    for (int i = 0; i < READERS; i++)
        live_hang_up(&readers[i]);
    free(bytes);
}
END_TEST

START_TEST(files_full_disk_is_507_and_leaves_the_old_file)
{
    static const size_t sizes[] = {500 * 1024, 1500 * 1024, 5u * 1024 * 1024};
    char *bytes = scratch_bytes(8u * 1024 * 1024), *ballast = scratch_bytes(2u * 1024 * 1024);
    scratch_mount("2m");
    scratch_write("ballast", ballast, 1800 * 1024);
    scratch_write("old", "old", 3);
    for (size_t i = 0; i < 3; i++) {
        for (int k = 0; k < 2; k++) {
            struct live_conn c = live_http();
            live_request(&c, "POST", target(k ? "old" : "new"), OCTETS, bytes, sizes[i]);
            live_read_reply(&c, &reply);
            ck_assert_uint_eq(reply.status, 507);
            ck_assert_ptr_nonnull(strstr(reply.body, "not enough disk space available"));
            live_hang_up(&c);
            ck_assert(scratch_is("old", "old", 3));
            ck_assert_int_eq(scratch_count(scratch_dir), 2);
        }
    }
    free(bytes);
    free(ballast);
}
END_TEST

static unsigned compose(const char *json)
{
    live_call(&conn, "POST", "/files/compose", "Content-Type: application/json\r\n", json, &reply);
    return reply.status;
}

START_TEST(files_compose_joins_and_removes_the_sources)
{
    char json[2048], want[1024];
    scratch_write("a", "one ", 4);
    scratch_write("b", "two", 3);
    (void)snprintf(
        json, sizeof json,
        "{\"source_paths\":[\"%s\",\"%s\"],\"destination\":\"%s\",\"username\":\"root\"}",
        scratch("a"), scratch("b"), scratch("sub/all"));
    ck_assert_uint_eq(compose(json), 200);
    (void)snprintf(want, sizeof want, "{\"path\":\"%s\",\"name\":\"all\",\"type\":\"file\"}",
                   scratch("sub/all"));
    ck_assert_str_eq(reply.body, want);
    ck_assert(scratch_is("sub/all", "one two", 7));
    ck_assert(!scratch_exists("a") && !scratch_exists("b"));
}
END_TEST

START_TEST(files_compose_refusals_change_nothing)
{
    static const struct {
        const char *json; /* %1$s: the directory */
        unsigned status;
        const char *message;
    } rows[] = {
        {"{\"source_paths\":[],\"destination\":\"/x\"}", 400, "source_paths must not be empty"},
        {"{\"destination\":\"/x\"}", 400, "source_paths must not be empty"},
        {"{\"source_paths\":[\"/a\"]}", 400, "destination is required"},
        {"{\"source_paths\":[1],\"destination\":\"/x\"}", 400, "source_paths must be strings"},
        {"[]", 400, "invalid request body"},
        {"", 400, "invalid request body"},
        {"{\"source_paths\":[\"%1$s/a\",\"%1$s/nope\"],\"destination\":\"%1$s/c\"}", 404,
         "source file not found: "},
        {"{\"source_paths\":[\"%1$s/a\",\"%1$s/c\"],\"destination\":\"%1$s/c\"}", 400,
         "source path equals destination"},
        {"{\"source_paths\":[\"%1$s/a\",\"%1$s\"],\"destination\":\"%1$s/c\"}", 400,
         "source is not a regular file"},
        {"{\"source_paths\":[\"/a\"],\"destination\":\"/b\",\"username\":\"who\"}", 401,
         "error looking up user 'who'"},
    };
    scratch_write("a", "a", 1);
    scratch_write("c", "c", 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct adit_buf json;
        adit_buf_init(&json, 4096);
        for (const char *p = rows[i].json; *p; p++) {
            bool is_dir = strncmp(p, "%1$s", 4) == 0;
            ck_assert_int_eq(is_dir ? adit_buf_append_str(&json, scratch_dir)
                                    : adit_buf_append_char(&json, *p),
                             0);
            p += is_dir ? 3 : 0;
        }
        char *text = adit_buf_steal_str(&json);
        ck_assert_msg(compose(text) == rows[i].status, "row %zu: %u %s", i, reply.status,
                      reply.body);
        ck_assert_msg(strstr(reply.body, rows[i].message) != NULL, "row %zu: %s", i, reply.body);
        free(text);
    }
    ck_assert(scratch_is("a", "a", 1) && scratch_is("c", "c", 1));
    ck_assert_int_eq(scratch_count(scratch_dir), 2);
}
END_TEST

START_TEST(files_of_a_secured_sandbox)
{
    ck_assert_uint_eq(get("/files?path=/etc/passwd", ""), 200);
    live_call(&conn, "POST", "/init", "", "{\"accessToken\":\"secret\"}", &reply);
    ck_assert_uint_eq(reply.status, 204);
    ck_assert_uint_eq(get("/files?path=/etc/passwd", ""), 401);
    ck_assert_uint_eq(get("/files?path=/etc/passwd", "X-Access-Token: wrong\r\n"), 401);
    ck_assert_uint_eq(get("/files?path=/etc/passwd", "X-Access-Token: secret\r\n"), 200);
    live_call(&conn, "POST", target("f"), OCTETS, "x", &reply);
    ck_assert_uint_eq(reply.status, 401);
    ck_assert(!scratch_exists("f"));
    struct live_conn c = live_http();
    live_call(&c, "POST", "/init", "", "{}", &reply);
    ck_assert_uint_eq(reply.status, 401);
    ck_assert_str_eq(header("Content-Type"), "text/plain");
    live_call(&c, "POST", "/init", "", "{", &reply);
    ck_assert_uint_eq(reply.status, 400);
    live_hang_up(&c);
}
END_TEST

SUITE_MAIN_WITH(
    "files", .fixtures = {{scratch_setup, scratch_teardown}, {setup, teardown}},
    TESTS(files_round_trip_with_all_headers, files_download_refusals,
          files_of_procfs_are_read_to_their_end, files_gzip_only_when_identity_is_refused,
          files_large_bodies_both_ways, files_chunked_upload_is_taken,
          files_upload_whose_client_leaves_changes_nothing, files_killed_envd_leaves_no_half_upload,
          files_killed_envd_leaves_new_files_whole_or_absent,
          files_download_whose_client_leaves_frees_everything,
          files_that_shrink_while_they_are_sent_break_the_connection,
          files_slow_readers_cost_bounded_memory, files_full_disk_is_507_and_leaves_the_old_file,
          files_compose_joins_and_removes_the_sources, files_compose_refusals_change_nothing,
          files_of_a_secured_sandbox))
