/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation that serving a request makes fails once, in one envd that goes on living. What
 * comes of that request is its own affair: an error, or a broken connection. envd answers the next
 * one, and in the end it holds as many blocks of memory as before.
 */
#include "live_envd.h"
#include "live_failures.h"
#include "scratch.h"

#if FAILING_MALLOC

/* More allocations than one request makes; the test asserts it. */
#define FAILURES_MAX 2000

/* ---- requests ---- */

#define JSON "Content-Type: application/json\r\n"
#define GRPC_WEB "Content-Type: application/grpc-web+json\r\n"
#define STREAM "Content-Type: application/connect+json\r\n"
#define OCTETS "Content-Type: application/octet-stream\r\n"
#define PART                                                                                       \
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s/part\"\r\n\r\nhello\r\n"

/*
 * @target, @body: %s is the scratch directory.
 * @is_enveloped: the body is put into an envelope.
 * @status: when no allocation fails.
 */
static const struct scenario {
    const char *method, *target, *headers, *body;
    unsigned status;
    bool is_enveloped;
} scenarios[] = {
    {"GET", "/health", "", "", 204, false},
    {"GET", "/nothing", "", "", 404, false},
    {"GET", "/metrics", "", "", 200, false},
    {"GET", "/envs", "Origin: null\r\n", "", 200, false},
    {"OPTIONS", "/envs",
     "Origin: null\r\nAccess-Control-Request-Method: GET\r\n"
     "Access-Control-Request-Headers: x-access-token\r\n",
     "", 204, false},
    {"POST", "/files?path=%s/posted", OCTETS "X-Metadata-Key: value\r\n", "hello", 200, false},
    {"POST", "/files", "Content-Type: multipart/form-data; boundary=b\r\n", PART "--b--\r\n", 200,
     false},
    {"GET", "/files?path=%s/file", "", "", 200, false},
    {"GET", "/files?path=%s/file", "Accept-Encoding: gzip;q=1, identity;q=0\r\n", "", 200, false},
    {"GET", "/files?path=%s/file", "Range: bytes=1-2\r\n", "", 206, false},
    {"GET", "/files?path=%s/none", "", "", 404, false},
    {"POST", "/files/compose", JSON,
     "{\"source_paths\":[\"%s/removed\"],\"destination\":\"%s/made/joined\"}", 200, false},
    {"POST", "/init", JSON, "{\"envVars\":{\"NAME\":\"value\"},\"defaultUser\":\"root\"}", 204,
     false},
    {"POST", "/process.Process/List", JSON, "{}", 200, false},
    {"POST", "/process.Process/SendInput", JSON "Authorization: Basic cm9vdDo=\r\n",
     "{\"process\":{\"tag\":\"none\"},\"input\":{\"stdin\":\"aGk=\"}}", 404, false},
    {"POST", "/filesystem.Filesystem/Stat", JSON, "{\"path\":\"%s/file\"}", 200, false},
    {"POST", "/filesystem.Filesystem/ListDir", JSON, "{\"path\":\"%s\",\"depth\":2}", 200, false},
    {"POST", "/filesystem.Filesystem/MakeDir", JSON, "{\"path\":\"%s/made/deep\"}", 200, false},
    {"POST", "/filesystem.Filesystem/Move", JSON,
     "{\"source\":\"%s/moving\",\"destination\":\"%s/moving\"}", 200, false},
    {"POST", "/filesystem.Filesystem/Remove", JSON, "{\"path\":\"%s/removed\"}", 200, false},
    {"POST", "/filesystem.Filesystem/Stat", GRPC_WEB, "{\"path\":\"%s/file\"}", 200, true},
    {"POST", "/process.Process/Connect", GRPC_WEB, "{\"process\":{\"tag\":\"none\"}}", 200, true},
    {"POST", "/filesystem.Filesystem/WatchDir", STREAM "Connect-Timeout-Ms: 3\r\n",
     "{\"path\":\"%s\",\"recursive\":true}", 200, true},
    {"POST", "/process.Process/StreamInput", GRPC_WEB,
     "{\"start\":{\"process\":{\"tag\":\"none\"}}}", 200, true},
};
#define SCENARIO_CNT (sizeof(scenarios) / sizeof(scenarios[0]))

static void replace_all(char *out, size_t cap, const char *text)
{
    const char *at;
    size_t len = 0;
    for (; (at = strstr(text, "%s")); text = at + 2)
        len +=
            (size_t)snprintf(out + len, cap - len, "%.*s%s", (int)(at - text), text, scratch_dir);
    ck_assert_uint_lt(len + (size_t)snprintf(out + len, cap - len, "%s", text), cap);
}

static void build(const struct scenario *s, char *out, size_t cap, size_t *len)
{
    char target[512], body[1024];
    replace_all(target, sizeof target, s->target);
    replace_all(body, sizeof body, s->body);
    size_t body_len = strlen(body), envelope_len = s->is_enveloped ? 5 : 0;
    int n = snprintf(out, cap,
                     "CONNECT 49983\n%s %s HTTP/1.1\r\nHost: envd\r\nConnection: close\r\n"
                     "%sContent-Length: %zu\r\n\r\n",
                     s->method, target, s->headers, body_len + envelope_len);
    ck_assert_uint_lt((size_t)n + envelope_len + body_len, cap);
    if (s->is_enveloped)
        memcpy(out + n, (char[]){0, 0, 0, (char)(body_len >> 8), (char)body_len}, 5);
    memcpy(out + (size_t)n + envelope_len, body, body_len);
    *len = (size_t)n + envelope_len + body_len;
}

/* What requests take away or make. */
static void prepare(void)
{
    scratch_write("removed", "contents", 8);
    (void)unlink(scratch("made/joined")); /* it may not be there, as the next */
    (void)rmdir(scratch("made/deep"));
    (void)rmdir(scratch("made"));
}

/* Return: the status, 0 when the connection broke before. */
static unsigned run(const struct scenario *s)
{
    char bytes[2048], line[256];
    unsigned status = 0;
    size_t len;
    prepare();
    struct live_conn c = live_dial();
    build(s, bytes, sizeof bytes, &len);
    (void)send(c.fd, bytes, len, MSG_NOSIGNAL); /* a refusal is one of the outcomes */
    if (live_read_until(&c, "\n", line, sizeof line) &&
        live_read_until(&c, "\r\n", line, sizeof line))
        ck_assert_int_eq(sscanf(line, "HTTP/1.1 %u", &status), 1);
    c.start = c.end;
    while (live_fill(&c))
        c.start = c.end;
    live_hang_up(&c);
    return status;
}

static void expect_health(void)
{
    ck_assert_uint_eq(run(&scenarios[0]), 204);
}

/* ---- the test ---- */

START_TEST(request_survives_every_failed_allocation)
{
    const struct scenario *s = &scenarios[_i];
    long n = 0, fired;
    (void)live_fail_nth(0);
    ck_assert_uint_eq(run(s), s->status); /* also makes what is made once */
    ck_assert_uint_eq(run(s), s->status);
    expect_health();
    long before = live_fail_nth(0);
    do {
        fired = live_failures->fired;
        (void)live_fail_nth(++n);
        unsigned status = run(s);
        (void)live_fail_nth(0);
        expect_health();
        if (live_failures->fired == fired)
            ck_assert_uint_eq(status, s->status);
        ck_assert_int_lt(n, FAILURES_MAX);
    } while (live_failures->fired != fired);
    ck_assert_int_gt(n, 3);
    live_expect_blocks(before);
}
END_TEST

static void setup(void)
{
    scratch_setup();
    scratch_write("file", "contents", 8);
    scratch_write("moving", "contents", 8);
    live_failures_share();
    live_start();
    expect_health(); /* envd hears signals */
}

static void teardown(void)
{
    live_stop();
    scratch_teardown();
}

SUITE_MAIN_WITH("request_torture", .fixtures = {{setup, teardown}},
                LOOPS({request_survives_every_failed_allocation, SCENARIO_CNT}))

#else

int main(void)
{
    suite_skip("test_request_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
