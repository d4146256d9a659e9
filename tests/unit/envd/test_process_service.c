/* SPDX-License-Identifier: Apache-2.0 */
/* process.Process over a real server: starting, ending, finding, listening. */
#include "live_process.h"

#define HEADER_TIMEOUT(ms) "Connect-Timeout-Ms: " #ms "\r\n"

/* ---- start and end ---- */

START_TEST(process_start_tells_start_output_and_end_in_order)
{
    struct live_run r;
    live_sh("printf out; printf err >&2; exit 3", "", &r);
    ck_assert_uint_gt(r.pid, 1);
    ck_assert_str_eq(r.out[0], "out");
    ck_assert_str_eq(r.out[1], "err");
    ck_assert(r.has_end && r.exited);
    ck_assert_int_eq(r.exit_code, 3);
    ck_assert_str_eq(r.status, "exit status 3");
    ck_assert_str_eq(r.error, "exit status 3");
    ck_assert_str_eq(r.end, "{}");
}
END_TEST

START_TEST(process_exit_zero_has_no_error)
{
    struct live_run r;
    live_sh("true", "", &r);
    ck_assert(r.has_end && r.exited);
    ck_assert_str_eq(r.status, "exit status 0");
    ck_assert_str_eq(r.error, "");
}
END_TEST

START_TEST(process_killed_by_itself_tells_the_signal)
{
    struct live_run r;
    live_sh("kill -SEGV $$", "", &r);
    ck_assert(r.has_end && !r.exited);
    ck_assert_int_eq(r.exit_code, -1);
    ck_assert_int_eq(strncmp(r.status, "signal: segmentation fault", 26), 0);
}
END_TEST

START_TEST(process_missing_program_starts_and_exits_127)
{
    static char cmd[] = "no-such-program";
    struct live_shell s;
    struct live_run r = {0};
    live_shell_init(&s, "");
    s.config.cmd = cmd;
    s.config.n_args = 0;
    struct live_conn c = live_shell_start(&s, "");
    live_finish(&c, &r);
    ck_assert_uint_gt(r.pid, 1);
    ck_assert_str_eq(r.out[1], "no-such-program: not found\n");
    ck_assert_int_eq(r.exit_code, 127);
}
END_TEST

START_TEST(process_missing_directory_is_refused_before_the_start)
{
    static char cwd[] = "/no/such/dir";
    struct live_shell s;
    struct live_run r = {0};
    live_shell_init(&s, "true");
    s.config.cwd = cwd;
    struct live_conn c = live_shell_start(&s, "");
    live_finish(&c, &r);
    ck_assert_uint_eq(r.pid, 0);
    ck_assert_msg(has(r.end, "\"invalid_argument\"") &&
                      has(r.end, "\"cwd '/no/such/dir' does not exist\""),
                  "%s", r.end);
}
END_TEST

START_TEST(process_unknown_user_is_unauthenticated)
{
    struct live_run r;
    live_sh("true", "Authorization: Basic bm8tc3VjaC11c2VyOg==\r\n", &r);
    ck_assert_uint_eq(r.pid, 0);
    ck_assert_msg(has(r.end, "\"unauthenticated\"") &&
                      has(r.end, "\"invalid username: 'no-such-user'\""),
                  "%s", r.end);
    struct live_reply reply;
    struct live_conn c = live_http();
    live_call(&c, "POST", "/process.Process/List",
              "Content-Type: application/json\r\nAuthorization: Basic bm8tc3VjaC11c2VyOg==\r\n",
              "{}", &reply);
    ck_assert_uint_eq(reply.status, 401);
    ck_assert(has(reply.body, "\"unauthenticated\""));
    live_hang_up(&c);
}
END_TEST

START_TEST(process_runs_as_the_named_user)
{
    struct live_run r;
    live_sh("id -un; echo $USER $LOGNAME", "Authorization: Basic bm9ib2R5Og==\r\n", &r);
    ck_assert_str_eq(r.out[0], "nobody\nnobody nobody\n");
}
END_TEST

START_TEST(process_gets_path_home_and_request_variables_and_nothing_else)
{
    static char cmd[] = "/usr/bin/env", a[] = "A", one[] = "1", home[] = "HOME", tmp[] = "/tmp";
    Process__ProcessConfig__EnvsEntry vars[2];
    Process__ProcessConfig__EnvsEntry *list[] = {&vars[0], &vars[1]};
    struct live_shell s;
    struct live_run r = {0};
    process__process_config__envs_entry__init(&vars[0]);
    process__process_config__envs_entry__init(&vars[1]);
    vars[0].key = a;
    vars[0].value = one;
    vars[1].key = home;
    vars[1].value = tmp;
    live_shell_init(&s, "");
    s.config.cmd = cmd;
    s.config.n_args = 0;
    s.config.envs = list;
    s.config.n_envs = 2;
    struct live_conn c = live_shell_start(&s, "");
    live_finish(&c, &r);
    ck_assert_int_eq(strncmp(r.out[0], "PATH=", 5), 0);
    ck_assert(has(r.out[0], "\nHOME=/tmp\n"));
    ck_assert(has(r.out[0], "\nUSER=root\nLOGNAME=root\n"));
    ck_assert(has(r.out[0], "\nE2B_SANDBOX=true\n"));
    ck_assert(has(r.out[0], "\nA=1\n"));
    ck_assert(!has(r.out[0], "CK_"));
}
END_TEST

START_TEST(process_end_waits_for_the_output_of_grandchildren)
{
    struct live_run r;
    live_sh("(sleep 0.3; echo late) & exit 5", "", &r);
    ck_assert_str_eq(r.out[0], "late\n");
    ck_assert_int_eq(r.exit_code, 5);
}
END_TEST

START_TEST(process_kill_does_not_wait_for_grandchildren)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "echo before; sleep 30 & wait");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "before\n");
    signal_pid(r.pid, PROCESS__SIGNAL__SIGNAL_SIGKILL, &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_finish(&c, &r);
    ck_assert_int_eq(r.exit_code, -1);
    ck_assert_str_eq(r.status, "signal: killed");
    ck_assert_str_eq(r.error, "signal: killed");
    ck_assert_str_eq(r.end, "{}");
}
END_TEST

START_TEST(process_term_lets_the_program_clean_up)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "ready\n");
    signal_pid(r.pid, PROCESS__SIGNAL__SIGNAL_SIGTERM, &reply);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "ready\nbye\n");
    ck_assert_int_eq(r.exit_code, 7);
}
END_TEST

START_TEST(process_killed_is_no_zombie_for_the_next_command)
{
    for (int i = 0; i < 20; i++) {
        struct live_shell s;
        struct live_run r, probe;
        struct live_reply reply;
        char command[128];
        live_shell_init(&s, "sleep 30");
        struct live_conn c = start(&s, "", &r);
        signal_pid(r.pid, PROCESS__SIGNAL__SIGNAL_SIGKILL, &reply);
        (void)snprintf(command, sizeof command, "kill -0 %u", r.pid);
        live_sh(command, "", &probe);
        ck_assert_int_eq(probe.exit_code, 1);
        ck_assert_uint_eq(list_cnt(), 0);
        live_finish(&c, &r);
    }
}
END_TEST

START_TEST(process_refuses_other_signals)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "sleep 30");
    struct live_conn c = start(&s, "", &r);
    signal_pid(r.pid, PROCESS__SIGNAL__SIGNAL_UNSPECIFIED, &reply);
    ck_assert_uint_eq(reply.status, 501);
    ck_assert(has(reply.body, "\"unimplemented\"") && has(reply.body, "invalid signal"));
    signal_pid(999999999, PROCESS__SIGNAL__SIGNAL_SIGKILL, &reply);
    ck_assert_uint_eq(reply.status, 404);
    ck_assert(has(reply.body, "\"process with pid 999999999 not found\""));
    live_hang_up(&c);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(process_deadline_is_told_before_the_kill_and_kills)
{
    struct live_shell s;
    struct live_run r, probe;
    char command[128];
    live_shell_init(&s, "exec sleep 30");
    struct live_conn c = start(&s, HEADER_TIMEOUT(200), &r);
    live_finish(&c, &r);
    ck_assert(!r.has_end);
    ck_assert_msg(has(r.end, "\"deadline_exceeded\"") && has(r.end, "context deadline exceeded"),
                  "%s", r.end);
    (void)snprintf(command, sizeof command,
                   "for i in 1 2 3 4 5 6 7 8 9; do kill -0 %u || exit 1; sleep 0.1; done", r.pid);
    live_sh(command, "", &probe);
    ck_assert_int_eq(probe.exit_code, 1);
    ck_assert_uint_eq(list_cnt(), 0);
}
END_TEST

/* Clients keep the same time and hang up a moment before envd does. */
START_TEST(process_deadline_kills_though_the_client_left_before)
{
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "exec sleep 30");
    struct live_conn c = start(&s, HEADER_TIMEOUT(200), &r);
    live_hang_up(&c);
    ck_assert_uint_eq(list_cnt(), 1);
    struct live_conn d = connect_pid(r.pid);
    struct live_run again = {0};
    live_finish(&d, &again);
    ck_assert(again.has_end);
    ck_assert_int_eq(again.exit_code, -1);
    ck_assert_uint_eq(list_cnt(), 0);
}
END_TEST

START_TEST(process_deadline_of_connect_does_not_kill)
{
    struct live_shell s;
    struct live_run r, other = {0};
    Process__ProcessSelector selector;
    Process__ConnectRequest m;
    live_shell_init(&s, "sleep 1; echo survived");
    struct live_conn c = start(&s, "", &r);
    live_selector(&selector, r.pid);
    process__connect_request__init(&m);
    m.process = &selector;
    struct live_conn d = live_stream("Connect", HEADER_TIMEOUT(100), &m.base);
    live_finish(&d, &other);
    ck_assert_uint_eq(other.pid, r.pid);
    ck_assert(has(other.end, "deadline_exceeded"));
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "survived\n");
}
END_TEST

START_TEST(process_keepalive_comes_while_nothing_is_said)
{
    struct live_run r;
    live_sh("sleep 2.5; echo done", "Keepalive-Ping-Interval: 1\r\n", &r);
    ck_assert_uint_eq(r.keepalives, 2);
    ck_assert_str_eq(r.out[0], "done\n");
}
END_TEST

/* ---- readers ---- */

START_TEST(process_survives_its_reader_and_can_be_found_again)
{
    struct live_shell s;
    struct live_run r, again = {0};
    struct live_reply reply;
    live_shell_init(&s, "read x; echo got $x");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    live_hang_up(&c);
    ck_assert_uint_eq(list_cnt(), 1);
    struct live_conn d = connect_pid(r.pid);
    ck_assert(live_step(&d, &again));
    send_input(r.pid, false, "it\n", &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_finish(&d, &again);
    ck_assert_uint_eq(again.pid, r.pid);
    ck_assert_str_eq(again.out[0], "got it\n");
    ck_assert_int_eq(again.exit_code, 0);
}
END_TEST

START_TEST(process_every_reader_gets_every_event)
{
    struct live_shell s;
    struct live_run r[3] = {0};
    struct live_conn c[3];
    struct live_reply reply;
    live_shell_init(&s, "read x; i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done");
    s.request.stdin = true;
    c[0] = start(&s, "", &r[0]);
    for (int i = 1; i < 3; i++) {
        c[i] = connect_pid(r[0].pid);
        ck_assert(live_step(&c[i], &r[i]));
    }
    send_input(r[0].pid, false, "go\n", &reply);
    for (int i = 0; i < 3; i++) {
        live_finish(&c[i], &r[i]);
        ck_assert_str_eq(r[i].out[0], r[0].out[0]);
        ck_assert(r[i].has_end);
    }
    ck_assert(has(r[0].out[0], "line 0\n") && has(r[0].out[0], "line 499\n"));
}
END_TEST

START_TEST(process_that_ended_lately_still_tells_start_and_end)
{
    struct live_run r, late = {0};
    struct live_reply reply;
    live_sh("echo gone; exit 9", "", &r);
    struct live_conn c = connect_pid(r.pid);
    live_finish(&c, &late);
    ck_assert_uint_eq(late.pid, r.pid);
    ck_assert_uint_eq(late.len[0], 0);
    ck_assert_int_eq(late.exit_code, 9);
    ck_assert_str_eq(late.end, "{}");
    ck_assert_uint_eq(list_cnt(), 0);
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 404);
}
END_TEST

START_TEST(process_connect_to_nobody_is_not_found)
{
    struct live_run r = {0};
    struct live_conn c = connect_pid(999999999);
    live_finish(&c, &r);
    ck_assert_uint_eq(r.pid, 0);
    ck_assert(has(r.end, "\"not_found\"") && has(r.end, "process with pid 999999999 not found"));
}
END_TEST

START_TEST(process_empty_selector_is_unimplemented)
{
    struct live_reply r;
    struct live_conn c = live_http();
    live_call(&c, "POST", "/process.Process/SendSignal", "Content-Type: application/json\r\n",
              "{\"process\":{},\"signal\":\"SIGNAL_SIGKILL\"}", &r);
    ck_assert_uint_eq(r.status, 501);
    live_call(&c, "POST", "/process.Process/CloseStdin", "Content-Type: application/json\r\n", "{}",
              &r);
    ck_assert_uint_eq(r.status, 501);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_is_found_by_tag_and_listed_with_its_configuration)
{
    static char tag[] = "my tag";
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    struct live_conn u = live_http();
    live_shell_init(&s, "exec sleep 30");
    s.request.has_tag_case = PROCESS__START_REQUEST__HAS_TAG_TAG;
    s.request.tag = tag;
    struct live_conn c = start(&s, "", &r);
    live_call(&u, "POST", "/process.Process/List", "Content-Type: application/json\r\n", "{}",
              &reply);
    char want[256];
    (void)snprintf(want, sizeof want,
                   "{\"processes\":[{\"config\":{\"cmd\":\"/bin/sh\",\"args\":[\"-c\",\"exec sleep "
                   "30\"],\"cwd\":\"/\"},\"pid\":%u,\"tag\":\"my tag\"}]}",
                   r.pid);
    ck_assert_str_eq(reply.body, want);
    live_call(&u, "POST", "/process.Process/SendSignal", "Content-Type: application/json\r\n",
              "{\"process\":{\"tag\":\"my tag\"},\"signal\":\"SIGNAL_SIGTERM\"}", &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_finish(&c, &r);
    ck_assert_str_eq(r.status, "signal: terminated");
    live_call(&u, "POST", "/process.Process/SendSignal", "Content-Type: application/json\r\n",
              "{\"process\":{\"tag\":\"my tag\"},\"signal\":\"SIGNAL_SIGTERM\"}", &reply);
    ck_assert_uint_eq(reply.status, 404);
    ck_assert(has(reply.body, "process with tag my tag not found"));
    live_hang_up(&u);
}
END_TEST

START_TEST(process_tag_means_the_last_one_that_had_it)
{
    static char tag[] = "again";
    static const char *const commands[] = {"exit 1", "exit 2"};
    Process__ProcessSelector selector;
    Process__ConnectRequest m;
    struct live_run r, late = {0};
    struct live_conn c;
    for (int i = 0; i < 2; i++) {
        struct live_shell s;
        live_shell_init(&s, commands[i]);
        s.request.has_tag_case = PROCESS__START_REQUEST__HAS_TAG_TAG;
        s.request.tag = tag;
        c = start(&s, "", &r);
        live_finish(&c, &r);
    }
    process__process_selector__init(&selector);
    selector.selector_case = PROCESS__PROCESS_SELECTOR__SELECTOR_TAG;
    selector.tag = tag;
    process__connect_request__init(&m);
    m.process = &selector;
    c = live_stream("Connect", "", &m.base);
    live_finish(&c, &late);
    ck_assert_uint_eq(late.pid, r.pid);
    ck_assert_int_eq(late.exit_code, 2);
}
END_TEST

/* ---- the table ---- */

START_TEST(process_table_remembers_a_bounded_number_of_ends)
{
    static struct live_run first, r, late;
    live_sh("exit 1", "", &first);
    struct live_conn c = connect_pid(first.pid);
    live_finish(&c, &late);
    ck_assert_int_eq(late.exit_code, 1);
    for (int i = 0; i < PROCESS_TABLE_RETAINED_MAX; i++)
        live_sh("", "", &r);
    memset(&late, 0, sizeof late);
    c = connect_pid(first.pid);
    live_finish(&c, &late);
    ck_assert_msg(has(late.end, "not_found"), "%s", late.end);
    c = connect_pid(r.pid);
    live_finish(&c, &late);
    ck_assert(late.has_end);
}
END_TEST

static int open_fds(void)
{
    static struct live_run r;
    live_sh("ls /proc/$PPID/fd | wc -l", "", &r);
    return atoi(r.out[0]);
}

START_TEST(process_many_at_once_all_end_and_leave_nothing)
{
    enum { CNT = 100 };
    static struct live_conn c[CNT];
    static struct live_run r;
    for (int i = 0; i < CNT; i++) {
        struct live_shell s;
        char command[128];
        (void)snprintf(command, sizeof command, "echo %d; exit %d", i, i);
        live_shell_init(&s, command);
        c[i] = live_shell_start(&s, "");
    }
    for (int i = 0; i < CNT; i++) {
        memset(&r, 0, sizeof r);
        live_finish(&c[i], &r);
        ck_assert_int_eq(r.exit_code, i);
    }
    ck_assert_uint_eq(list_cnt(), 0);
    int fds = open_fds();
    for (int i = 0; i < 500 && fds >= 24; i++) { /* connections that it has not seen closed yet */
        (void)poll(NULL, 0, 10);
        fds = open_fds();
    }
    ck_assert_int_lt(fds, 24);
}
END_TEST

START_TEST(process_orphans_are_reaped)
{
    struct live_run r;
    live_sh("(sleep 0.1 & ) ; sleep 0.5; ps --ppid $PPID -o stat= | grep -c Z", "", &r);
    ck_assert_str_eq(r.out[0], "0\n");
}
END_TEST

START_TEST(process_streams_end_when_envd_is_told_to_stop)
{
    struct live_shell s;
    struct live_run r;
    live_shell_init(&s, "echo ready; exec sleep 30");
    struct live_conn c = start(&s, "", &r);
    live_await(&c, &r, 0, "ready");
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    live_finish(&c, &r);
    ck_assert_str_eq(r.status, "signal: terminated");
    ck_assert_str_eq(r.end, "{}");
}
END_TEST

SUITE_MAIN_WITH(
    "process_service", .fixtures = {{setup, teardown}},
    TESTS(process_start_tells_start_output_and_end_in_order, process_exit_zero_has_no_error,
          process_killed_by_itself_tells_the_signal, process_missing_program_starts_and_exits_127,
          process_missing_directory_is_refused_before_the_start,
          process_unknown_user_is_unauthenticated, process_runs_as_the_named_user,
          process_gets_path_home_and_request_variables_and_nothing_else,
          process_end_waits_for_the_output_of_grandchildren,
          process_kill_does_not_wait_for_grandchildren, process_term_lets_the_program_clean_up,
          process_killed_is_no_zombie_for_the_next_command, process_refuses_other_signals,
          process_deadline_is_told_before_the_kill_and_kills,
          process_deadline_kills_though_the_client_left_before,
          process_deadline_of_connect_does_not_kill, process_keepalive_comes_while_nothing_is_said,
          process_survives_its_reader_and_can_be_found_again, process_every_reader_gets_every_event,
          process_that_ended_lately_still_tells_start_and_end,
          process_connect_to_nobody_is_not_found, process_empty_selector_is_unimplemented,
          process_is_found_by_tag_and_listed_with_its_configuration,
          process_tag_means_the_last_one_that_had_it,
          process_table_remembers_a_bounded_number_of_ends,
          process_many_at_once_all_end_and_leave_nothing, process_orphans_are_reaped,
          process_streams_end_when_envd_is_told_to_stop))
