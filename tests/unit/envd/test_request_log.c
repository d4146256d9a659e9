/* SPDX-License-Identifier: Apache-2.0 */
/* What a live envd logs of its requests, and what it does not. */
#include "live_envd.h"

#include <sys/mman.h>

#define TOKEN "a-token-of-this-sandbox"
#define JSON "Content-Type: application/json\r\nX-Access-Token: " TOKEN "\r\n"

static int log_fd;
static enum adit_log_level level;

static void log_into_file(void)
{
    (void)dup2(log_fd, STDERR_FILENO); /* both are open */
    adit_log_init("envd", level, true);
}

static void start(enum adit_log_level l)
{
    level = l;
    log_fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(log_fd, 0);
    live_before_run = log_into_file;
    live_start_in(0, TOKEN);
}

/* One request, and one more after it: the line of the first is written then. */
static void request(const char *method, const char *target, const char *headers, const char *body)
{
    struct live_reply r;
    struct live_conn c = live_http();
    live_call(&c, method, target, headers, body, &r);
    live_hang_up(&c);
    c = live_http();
    live_call(&c, "GET", "/health", "", "", &r);
    live_hang_up(&c);
}

static const char *logged(void)
{
    static char text[256 * 1024];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

static size_t count(const char *text, const char *needle)
{
    size_t cnt = 0;
    for (const char *p = text; (p = strstr(p, needle)); p++)
        cnt++;
    return cnt;
}

static void expect(const char *needle)
{
    ck_assert_msg(strstr(logged(), needle), "no %s in %s", needle, logged());
}

static void expect_none(const char *needle)
{
    ck_assert_msg(!strstr(logged(), needle), "%s in %s", needle, logged());
}

START_TEST(request_log_has_one_line_a_request)
{
    start(ADIT_LOG_INFO);
    request("POST", "/process.Process/List",
            JSON "X-Request-Id: 0123-abc.DEF_9\r\nAuthorization: Basic cm9vdDo=\r\n", "{}");
    expect("\",\"level\":\"info\",\"logger\":\"envd\",\"message\":\"request\",\"request_id\":"
           "\"0123-abc.DEF_9\",\"method\":\"POST\",\"path\":\"/process.Process/List\","
           "\"status\":200,\"ms\":");
    expect("\"bytes\":2,\"user\":\"root\"}\n");
    request("GET", "/nothing", "X-Access-Token: " TOKEN "\r\n", "");
    expect("\"method\":\"GET\",\"path\":\"/nothing\",\"status\":404,");
    request("POST", "/filesystem.Filesystem/Stat", JSON, "{\"path\":\"/no/such\"}");
    expect("\"path\":\"/filesystem.Filesystem/Stat\",\"status\":404,\"code\":\"not_found\",");
    ck_assert_uint_eq(count(logged(), "\"message\":\"request\""), 3);
    live_stop();
}
END_TEST

START_TEST(request_log_tells_of_health_and_metrics_only_when_asked_for)
{
    start(ADIT_LOG_DEBUG);
    request("GET", "/metrics", "X-Access-Token: " TOKEN "\r\n", "");
    expect("\"level\":\"debug\",\"logger\":\"envd\",\"message\":\"request\",\"method\":\"GET\","
           "\"path\":\"/metrics\",\"status\":200,");
    live_stop();
}
END_TEST

START_TEST(request_log_leaves_out_ids_that_are_none)
{
    static const char *const ids[] = {
        "a b",  "a\"b",
        "a\\b", "a,b",
        "a=b",  "\xC3\xA9",
        "a/b",  "{}",
        "a:b",  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345"};
    start(ADIT_LOG_INFO);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char headers[200];
        (void)snprintf(headers, sizeof headers, "X-Request-Id: %s\r\n", ids[i]); /* fits */
        request("GET", "/envs", headers, "");
    }
    ck_assert_uint_eq(count(logged(), "\"path\":\"/envs\""), sizeof ids / sizeof ids[0]);
    expect_none("request_id");
    request("GET", "/envs",
            "X-Request-Id: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234\r\n",
            "");
    expect("\"request_id\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234\"");
    live_stop();
}
END_TEST

START_TEST(request_log_has_no_secrets)
{
    start(ADIT_LOG_DEBUG);
    request("GET", "/files?path=/etc/hosts&signature=v1_secretsignature", "", "");
    request("POST", "/init", "",
            "{\"accessToken\":\"" TOKEN "\",\"envVars\":{\"A\":\"secretvar\"}}");
    request("GET", "/envs",
            "X-Access-Token: secrettoken\r\nCookie: secretcookie\r\n"
            "Authorization: Basic dXNlcjpzZWNyZXRwYXNzd29yZA==\r\n",
            "");
    request("GET", "http://a:secretpassword@host/envs?secretquery", "", "");
    expect("\"user\":\"user\"");
    expect_none("secret");
    expect_none(TOKEN);
    live_stop();
}
END_TEST

START_TEST(request_log_cuts_long_paths_and_escapes)
{
    char target[4000];
    memset(target, 'x', sizeof target);
    memcpy(target, "/%22%0A", 7);
    target[sizeof target - 1] = '\0';
    start(ADIT_LOG_INFO);
    request("GET", target, "", "");
    ck_assert_uint_lt(strlen(strstr(logged(), "\"message\":\"request\"")), 300);
    live_stop();
}
END_TEST

START_TEST(request_log_leaves_out_lines_of_a_flood_and_counts_them)
{
    struct live_reply r;
    size_t cnt = 2 * REQUEST_LOG_BURST;
    start(ADIT_LOG_INFO);
    struct live_conn c = live_http();
    for (size_t i = 0; i < cnt; i++)
        live_call(&c, "GET", "/nothing", "X-Access-Token: " TOKEN "\r\n", "", &r);
    ck_assert_uint_lt(count(logged(), "\"message\":\"request\""), cnt);
    /* Lines come again, and the first of them says how many there were not. */
    for (int i = 0; i < 1000000 && !strstr(logged(), "\"requests_dropped\":"); i++)
        live_call(&c, "GET", "/nothing", "X-Access-Token: " TOKEN "\r\n", "", &r);
    expect("\"requests_dropped\":");
    live_hang_up(&c);
    live_stop();
}
END_TEST

START_TEST(request_log_says_when_an_answer_was_broken_off)
{
    Process__StartRequest request;
    Process__ProcessConfig config;
    char *args[] = {(char[]){"1000"}};
    process__start_request__init(&request);
    process__process_config__init(&config);
    config.cmd = (char[]){"/bin/sleep"};
    config.args = args;
    config.n_args = 1;
    request.process = &config;
    start(ADIT_LOG_INFO);
    struct live_conn c =
        live_stream("Start", "X-Access-Token: " TOKEN "\r\nX-Request-Id: left\r\n", &request.base);
    live_hang_up(&c);
    for (int i = 0; i < LIVE_WAIT_MS && !strstr(logged(), "left"); i++)
        (void)poll(NULL, 0, 1);
    expect("\"request_id\":\"left\",\"method\":\"POST\",\"path\":\"/process.Process/Start\","
           "\"status\":200,");
    expect(",\"broken\":1}\n");
    live_stop();
}
END_TEST

SUITE_MAIN("request_log", request_log_has_one_line_a_request,
           request_log_tells_of_health_and_metrics_only_when_asked_for,
           request_log_leaves_out_ids_that_are_none, request_log_has_no_secrets,
           request_log_cuts_long_paths_and_escapes,
           request_log_leaves_out_lines_of_a_flood_and_counts_them,
           request_log_says_when_an_answer_was_broken_off)
