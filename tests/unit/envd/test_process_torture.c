/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation that serving a command makes fails once. Whatever that does to the one request,
 * envd goes on serving and stops in order.
 */
#include <sys/mman.h>

#include "live_process.h"
#include "tests/unit/failing_malloc.h"

#if FAILING_MALLOC
/* More allocations than one request makes; the test asserts it. */
#define FAILURES_MAX 400

static long *fired; /* shared with the parent: how many failed */

static void note_failure(void)
{
    ++*fired;
}

static long fail_at;

static void arm(void)
{
    failing_malloc.on_failure = note_failure;
    failing_malloc.countdown = fail_at + 1;
}

/* Send @text and read until the peer closes, or @until. Return: whether @until came. */
static bool try_request(const char *text, const char *until)
{
    char out[64 * 1024];
    struct live_conn c = live_dial();
    (void)send(c.fd, text, strlen(text), MSG_NOSIGNAL); /* a refusal is one of the outcomes */
    bool came = live_read_until(&c, until, out, sizeof out);
    live_hang_up(&c);
    return came;
}

static const char *const requests[] = {
    "CONNECT 49983\nPOST /process.Process/Start HTTP/1.1\r\nHost: envd\r\nConnection: close\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 2\r\n\r\n{}",
    "CONNECT 49983\nPOST /process.Process/List HTTP/1.1\r\nHost: envd\r\nConnection: close\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 2\r\n\r\n{}",
    "CONNECT 1024\nTCP 1\n",
};
#define REQUEST_CNT (sizeof(requests) / sizeof(requests[0]))
/* Behind these come two more: a command, and one with a terminal. */
#define SCENARIO_CNT (REQUEST_CNT + 2)

static void build_start(char out[1024], const char *pty)
{
    char message[512];
    int len =
        snprintf(message, sizeof message,
                 "{\"process\":{\"cmd\":\"/bin/sh\",\"args\":[\"-c\",\"echo hi\"],\"cwd\":\"/\","
                 "\"envs\":{\"A\":\"1\"}},\"tag\":\"t\"%s}",
                 pty);
    (void)snprintf(out, 1024,
                   "CONNECT 49983\nPOST /process.Process/Start HTTP/1.1\r\nHost: envd\r\n"
                   "Connection: close\r\nContent-Type: application/connect+json\r\n"
                   "Content-Length: %d\r\n\r\n",
                   len + 5);
    size_t head = strlen(out);
    memset(out + head, 0, 3);
    out[head + 3] = (char)(len >> 8);
    out[head + 4] = (char)len;
    memcpy(out + head + 5, message, (size_t)len);
}

static bool try_start(const char *pty)
{
    char bytes[1024], out[64 * 1024];
    build_start(bytes, pty);
    const char *body = strstr(bytes, "\r\n\r\n") + 4;
    size_t len = (size_t)(body - bytes) + strtoul(strstr(bytes, "Length: ") + 8, NULL, 10);
    struct live_conn c = live_dial();
    (void)send(c.fd, bytes, len, MSG_NOSIGNAL); /* a refusal is one of the outcomes */
    bool came = live_read_until(&c, "0\r\n\r\n", out, sizeof out);
    live_hang_up(&c);
    return came;
}

static void torture(size_t which)
{
    for (fail_at = 0;; fail_at++) {
        *fired = 0;
        ck_assert_int_lt(fail_at, FAILURES_MAX);
        live_start();
        if (which < REQUEST_CNT)
            (void)try_request(requests[which], "no such text");
        else
            (void)try_start(which == REQUEST_CNT ? ""
                                                 : ",\"pty\":{\"size\":{\"cols\":80,\"rows\":24}}");
        bool is_over = *fired == 0;
        bool is_serving = false;
        for (int i = 0; i < 3 && !is_serving; i++)
            is_serving = try_start("");
        ck_assert_msg(is_serving, "request %zu, allocation %ld: envd does not serve", which,
                      fail_at);
        live_stop();
        if (is_over)
            return;
    }
}

START_TEST(process_survives_every_failed_allocation)
{
    fired = mmap(NULL, sizeof *fired, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    live_before_run = arm;
    torture((size_t)_i);
}
END_TEST

SUITE_MAIN_WITH("process_torture", LOOPS({process_survives_every_failed_allocation, SCENARIO_CNT}))

#else

int main(void)
{
    suite_skip("test_process_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
