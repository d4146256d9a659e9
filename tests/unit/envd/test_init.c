/* SPDX-License-Identifier: Apache-2.0 */
/* envd as the first process of its own PID and network namespaces. */
#include <sched.h>

#include "live_process.h"

#include <time.h>

static void setup_pid_one(void)
{
    live_start_in(CLONE_NEWPID | CLONE_NEWNET, "");
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

START_TEST(init_brings_the_loopback_interface_up)
{
    struct live_run r;
    live_sh("python3 -c 'import socket\n"
            "s = socket.create_server((\"127.0.0.1\", 0))\n"
            "socket.create_connection(s.getsockname())\n"
            "print(\"up\")'",
            "", &r);
    ck_assert_str_eq(r.out[0], "up\n");
}
END_TEST

START_TEST(init_reaps_orphans)
{
    struct live_run r;
    live_sh(
        "pid=$(setsid sh -c 'sleep 0.1 > /dev/null & echo $!'); sleep 0.05; kill -0 $pid || exit "
        "9; sleep 0.3; kill -0 $pid && exit 8; exit 0",
        "", &r);
    ck_assert_int_eq(r.exit_code, 0);
}
END_TEST

START_TEST(init_cannot_be_killed_from_inside)
{
    struct live_run r;
    live_sh("kill -KILL 1; kill -HUP 1; kill -USR1 1; kill -STOP 1", "", &r);
    ck_assert(r.has_end);
    live_sh("echo alive", "", &r);
    ck_assert_str_eq(r.out[0], "alive\n");
}
END_TEST

START_TEST(init_stop_reaches_every_process_and_lets_it_clean_up)
{
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s,
                    "trap 'echo bye; exit 3' TERM; setsid sleep 300 & sleep 0.3; echo ready; wait");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "ready\n");
    double before = now_s();
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "ready\nbye\n");
    ck_assert_int_eq(r.exit_code, 3);
    ck_assert_str_eq(r.end, "{}");
    ck_assert_double_lt(now_s() - before, 2.0);
}
END_TEST

START_TEST(init_stop_wakes_a_stopped_process)
{
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "echo ready; kill -STOP $$; sleep 300");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "ready\n");
    double before = now_s();
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    live_finish(&c, &r);
    ck_assert_str_eq(r.status, "signal: terminated");
    ck_assert_double_lt(now_s() - before, 2.0);
}
END_TEST

START_TEST(init_stop_kills_what_does_not_end)
{
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "trap '' TERM; echo ready; while :; do sleep 0.2; done");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "ready\n");
    double before = now_s();
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    live_finish(&c, &r);
    ck_assert_str_eq(r.status, "signal: killed");
    double took = now_s() - before;
    ck_assert_double_gt(took, 4.5);
    ck_assert_double_lt(took, 8.0);
}
END_TEST

SUITE_MAIN_WITH("init", .fixtures = {{setup_pid_one, teardown}},
                TESTS(init_brings_the_loopback_interface_up, init_reaps_orphans,
                      init_cannot_be_killed_from_inside,
                      init_stop_reaches_every_process_and_lets_it_clean_up,
                      init_stop_wakes_a_stopped_process, init_stop_kills_what_does_not_end))
