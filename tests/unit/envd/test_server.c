/* SPDX-License-Identifier: Apache-2.0 */
/* The doors of a live envd: the channel handshake, and the table of routes with its authorization.
 */
#include "live_process.h"

#include <dirent.h>
#include <time.h>

#define TOKEN "a-token-of-this-sandbox"
#define WITH_TOKEN "X-Access-Token: " TOKEN "\r\n"

/* ---- the handshake ---- */

static bool is_closed_without_answer(const void *bytes, size_t len)
{
    struct live_conn c = live_dial();
    (void)send(c.fd, bytes, len, MSG_NOSIGNAL); /* it may be closed already */
    bool closed = live_is_at_end(&c);
    live_hang_up(&c);
    return closed;
}

START_TEST(server_closes_bad_handshakes_without_an_answer)
{
    static const char *const lines[] = {
        "CONNECT 1\n",          "CONNECT 49998\n",    "CONNECT 1025\n",   "CONNECT 1026\n",
        "CONNECT 049983\n",     "CONNECT +49983\n",   "CONNECT 49983 \n", "CONNECT  49983\n",
        "connect 49983\n",      "CONNECT 49983\r\n",  "CONNECT\n",        "\n",
        "CONNECT 4294967295\n", "GET / HTTP/1.1\r\n", "TCP 80\n",         "CONNECT 49983\0\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ck_assert_msg(is_closed_without_answer(lines[i], strlen(lines[i])), "%s", lines[i]);
    char endless[200];
    memset(endless, 'C', sizeof endless);
    ck_assert(is_closed_without_answer(endless, sizeof endless));
    ck_assert(is_closed_without_answer("CONNECT 49983\0\n", 15));
}
END_TEST

START_TEST(server_takes_a_handshake_in_pieces_and_a_request_right_behind_it)
{
    static const char text[] = "CONNECT 49983\nGET /health HTTP/1.1\r\nHost: envd\r\n\r\n";
    struct live_reply r;
    char line[CHANNEL_LINE_CAP];
    struct live_conn c = live_dial();
    for (size_t i = 0; i < 10; i++)
        live_send(&c, text + i, 1);
    live_send(&c, text + 10, sizeof text - 11);
    ck_assert(live_read_until(&c, "\n", line, sizeof line));
    ck_assert_str_eq(line, "OK 49983\n");
    live_read_reply(&c, &r);
    ck_assert_uint_eq(r.status, 204);
    live_hang_up(&c);
}
END_TEST

START_TEST(server_closes_a_silent_connection_after_its_deadline)
{
    struct timespec before, after;
    struct live_conn c = live_dial();
    live_send(&c, "CONN", 4);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    ck_assert(live_is_at_end(&c));
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    double s =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    ck_assert_double_ge(s, 1.9);
    ck_assert_double_le(s, 4.0);
    live_hang_up(&c);
}
END_TEST

static bool is_served(void)
{
    static const char request[] = "CONNECT 49983\nGET /health HTTP/1.1\r\nHost: envd\r\n\r\n";
    char text[4096];
    struct live_conn c = live_dial();
    (void)send(c.fd, request, sizeof request - 1, MSG_NOSIGNAL); /* it may be closed already */
    bool served = live_read_until(&c, "204 No Content\r\n", text, sizeof text);
    live_hang_up(&c);
    return served;
}

static size_t envd_fds(void)
{
    char path[64];
    size_t cnt = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)live_pid);
    DIR *d = opendir(path);
    while (readdir(d))
        cnt++;
    (void)closedir(d);
    return cnt;
}

START_TEST(server_serves_1024_channels_at_once_and_closes_them_all)
{
    enum { CNT = 1024 };
    static struct live_conn c[CNT];
    struct rlimit most;
    struct live_reply r;
    (void)getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &most);
    ck_assert(is_served());
    size_t before = envd_fds();
    for (int i = 0; i < CNT; i++)
        c[i] = live_http();
    for (int i = 0; i < CNT; i++) {
        live_call(&c[i], "GET", "/health", "", "", &r);
        ck_assert_uint_eq(r.status, 204);
    }
    for (int i = 0; i < CNT; i++)
        live_hang_up(&c[i]);
    for (int i = 0; i < 500 && envd_fds() > before; i++)
        (void)poll(NULL, 0, 10);
    ck_assert_uint_le(envd_fds(), before);
}
END_TEST

START_TEST(server_sheds_channels_above_its_maximum_and_recovers)
{
    enum { CNT = SERVER_CHANNELS_MAX };
    static struct live_conn c[CNT];
    struct rlimit most;
    (void)getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &most);
    ck_assert_uint_gt(most.rlim_cur, CNT + 100);
    for (int i = 0; i < CNT; i++) {
        c[i] = live_http();
        c[i].buf = realloc(c[i].buf, 64);
    }
    ck_assert(is_closed_without_answer("CONNECT 49983\n", 14));
    for (int i = 0; i < CNT; i++)
        live_hang_up(&c[i]);
    bool is_back = false;
    for (int i = 0; i < 500 && !is_back; i++) {
        is_back = is_served();
        if (!is_back)
            (void)poll(NULL, 0, 10);
    }
    ck_assert(is_back);
}
END_TEST

/* ---- routes ---- */

static unsigned status_of(const char *method, const char *target, const char *headers)
{
    struct live_reply r;
    struct live_conn c = live_http();
    live_call(&c, method, target, headers, "", &r);
    live_hang_up(&c);
    return r.status;
}

START_TEST(routes_open_sandbox_needs_no_token)
{
    ck_assert_uint_eq(status_of("GET", "/health", ""), 204);
    ck_assert_uint_eq(status_of("GET", "/metrics", ""), 200);
    ck_assert_uint_eq(status_of("GET", "/envs", "X-Access-Token: whatever\r\n"), 200);
    ck_assert_uint_eq(status_of("GET", "/nothing", ""), 404);
    ck_assert_uint_eq(status_of("GET", "/", ""), 404);
    ck_assert_uint_eq(status_of("GET", "/process.Process/", ""), 404);
    ck_assert_uint_eq(status_of("POST", "/process.Process/Nothing", ""), 404);
    ck_assert_uint_eq(status_of("POST", "/process.Process/Start/", "Content-Type: x/y\r\n"), 415);
}
END_TEST

START_TEST(routes_other_methods_are_405_with_allow)
{
    static const struct {
        const char *method, *target, *allow;
    } rows[] = {
        {"POST", "/health", "GET"},
        {"HEAD", "/health", "GET"},
        {"DELETE", "/metrics", "GET"},
        {"PUT", "/files", "GET, POST"},
        {"GET", "/files/compose", "POST"},
        {"GET", "/init", "POST"},
        {"GET", "/process.Process/Start", "POST"},
        {"PUT", "/process.Process/List", "POST"},
        {"OPTIONS", "/health", "GET"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct live_reply r;
        char want[64];
        struct live_conn c = live_http();
        live_request(&c, rows[i].method, rows[i].target, "", "", 0);
        live_read_head(&c, &r);
        ck_assert_msg(r.status == 405, "%s %s: %u", rows[i].method, rows[i].target, r.status);
        (void)snprintf(want, sizeof want, "\r\nAllow: %s\r\n", rows[i].allow);
        ck_assert_msg(strstr(r.head, want) != NULL, "%s", r.head);
        live_hang_up(&c);
    }
}
END_TEST

static const char *const spellings_of_envs[] = {
    "/envs",           "//envs",    "/./envs",
    "/x/../envs",      "/%65nvs",   "/envs/",
    "/envs?x=1",       "/%2e/envs", "http://localhost/envs",
    "/health/../envs",
};

START_TEST(routes_secured_sandbox_answers_every_spelling_with_401)
{
    for (size_t i = 0; i < sizeof(spellings_of_envs) / sizeof(spellings_of_envs[0]); i++) {
        const char *target = spellings_of_envs[i];
        ck_assert_msg(status_of("GET", target, "") == 401, "%s", target);
        ck_assert_msg(status_of("GET", target, "X-Access-Token: no\r\n") == 401, "%s", target);
        ck_assert_msg(status_of("GET", target, WITH_TOKEN) == 200, "%s", target);
    }
}
END_TEST

START_TEST(routes_secured_sandbox_guards_everything_but_its_exemptions)
{
    static const char *const guarded[][2] = {
        {"GET", "/metrics"},
        {"GET", "/envs"},
        {"POST", "/files/compose"},
        {"POST", "/process.Process/List"},
        {"POST", "/process.Process/Start"},
        {"POST", "/process.Process/Connect"},
        {"POST", "/process.Process/StreamInput"},
        {"POST", "/process.Process/SendInput"},
        {"POST", "/process.Process/SendSignal"},
        {"POST", "/process.Process/CloseStdin"},
        {"POST", "/process.Process/Update"},
        {"POST", "/filesystem.Filesystem/Stat"},
        {"POST", "/filesystem.Filesystem/Remove"},
        {"POST", "/filesystem.Filesystem/WatchDir"},
        {"GET", "/process.Process/List"},
        {"GET", "/nothing"},
        {"GET", "/HEALTH"},
        {"GET", "/health;x"},
        {"POST", "/health"},
        {"GET", "/init"},
        {"PUT", "/files"},
        {"OPTIONS", "/envs"},
    };
    struct live_reply r;
    for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
        const char *method = guarded[i][0], *target = guarded[i][1];
        ck_assert_msg(status_of(method, target, "") == 401, "%s %s", method, target);
        ck_assert_msg(status_of(method, target, WITH_TOKEN) != 401, "%s %s", method, target);
        ck_assert_msg(status_of(method, target, WITH_TOKEN WITH_TOKEN) == 401, "%s", target);
    }
    ck_assert_uint_eq(status_of("GET", "/health", ""), 204);
    struct live_conn c = live_http();
    live_call(&c, "POST", "/process.Process/List", "Content-Type: application/json\r\n", "{}", &r);
    ck_assert_str_eq(r.body, "{\"code\":401,\"message\":\"unauthorized access, please provide a "
                             "valid access token or method signing if supported\"}\n");
    ck_assert(strstr(r.head, "application/json; charset=utf-8") != NULL);
    live_hang_up(&c);
}
END_TEST

START_TEST(routes_bad_targets_are_refused)
{
    static const char *const targets[] = {"/%zz", "/%00", "/envs%00", "*", "/%"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        ck_assert_msg(status_of("GET", targets[i], "") == 400, "%s", targets[i]);
}
END_TEST

/* ---- CORS ---- */

START_TEST(routes_preflight_is_answered_before_authorization)
{
    struct live_reply r;
    struct live_conn c = live_http();
    live_call(&c, "OPTIONS", "/process.Process/Start",
              "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
              "Access-Control-Request-Headers: x-access-token,connect-protocol-version\r\n",
              "", &r);
    ck_assert_uint_eq(r.status, 204);
    ck_assert(strstr(r.head, "\r\nAccess-Control-Allow-Origin: *\r\n") != NULL);
    ck_assert(strstr(r.head, "\r\nAccess-Control-Allow-Headers: "
                             "x-access-token,connect-protocol-version\r\n") != NULL);
    ck_assert(strstr(r.head, "\r\nAccess-Control-Max-Age: 7200\r\n") != NULL);
    ck_assert(strstr(r.head, "POST") != NULL);
    live_hang_up(&c);
}
END_TEST

START_TEST(routes_answers_to_browsers_carry_cors_headers)
{
    static const char *const targets[] = {"/health", "/nothing", "/envs", "/process.Process/List"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct live_reply r;
        struct live_conn c = live_http();
        live_call(&c, "GET", targets[i], "Origin: null\r\n", "", &r);
        ck_assert_msg(strstr(r.head, "\r\nAccess-Control-Allow-Origin: *\r\n") != NULL, "%s",
                      r.head);
        ck_assert(strstr(r.head, "\r\nAccess-Control-Expose-Headers: Location, Cache-Control, ") !=
                  NULL);
        live_call(&c, "GET", targets[i], "", "", &r);
        ck_assert_ptr_null(strstr(r.head, "Access-Control"));
        live_hang_up(&c);
    }
}
END_TEST

static void setup_secured(void)
{
    live_start_in(0, TOKEN);
}

int main(void)
{
    const struct suite open = {
        .name = "server",
        .fixtures = {{setup, teardown}},
        TESTS(server_closes_bad_handshakes_without_an_answer,
              server_takes_a_handshake_in_pieces_and_a_request_right_behind_it,
              server_closes_a_silent_connection_after_its_deadline,
              server_serves_1024_channels_at_once_and_closes_them_all,
              server_sheds_channels_above_its_maximum_and_recovers,
              routes_open_sandbox_needs_no_token, routes_other_methods_are_405_with_allow,
              routes_bad_targets_are_refused, routes_answers_to_browsers_carry_cors_headers)};
    const struct suite secured = {.name = "server secured",
                                  .fixtures = {{setup_secured, teardown}},
                                  TESTS(routes_secured_sandbox_answers_every_spelling_with_401,
                                        routes_secured_sandbox_guards_everything_but_its_exemptions,
                                        routes_preflight_is_answered_before_authorization)};
    int failed = suite_run(&open);
    return suite_run(&secured) || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
