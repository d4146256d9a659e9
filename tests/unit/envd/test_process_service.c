/* SPDX-License-Identifier: Apache-2.0 */
/* process.Process over a real server: what clients see of processes. */
#include "live_envd.h"

#include <sys/stat.h>
#include <time.h>

#define HEADER_TIMEOUT(ms) "Connect-Timeout-Ms: " #ms "\r\n"

static void setup(void)
{
    live_start();
}

static void teardown(void)
{
    live_stop();
}

static int has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void signal_pid(uint32_t pid, Process__Signal number, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__SendSignalRequest m;
    live_selector(&selector, pid);
    process__send_signal_request__init(&m);
    m.process = &selector;
    m.signal = number;
    live_unary("SendSignal", &m.base, r);
}

static struct live_conn connect_pid(uint32_t pid)
{
    Process__ProcessSelector selector;
    Process__ConnectRequest m;
    live_selector(&selector, pid);
    process__connect_request__init(&m);
    m.process = &selector;
    return live_stream("Connect", "", &m.base);
}

static void send_input(uint32_t pid, bool to_pty, const char *text, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__ProcessInput input;
    Process__SendInputRequest m;
    char *copy = strdup(text);
    live_selector(&selector, pid);
    process__process_input__init(&input);
    input.input_case =
        to_pty ? PROCESS__PROCESS_INPUT__INPUT_PTY : PROCESS__PROCESS_INPUT__INPUT_STDIN;
    input.stdin.data = (uint8_t *)copy;
    input.stdin.len = strlen(text);
    process__send_input_request__init(&m);
    m.process = &selector;
    m.input = &input;
    live_unary("SendInput", &m.base, r);
    free(copy);
}

static void close_stdin(uint32_t pid, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__CloseStdinRequest m;
    live_selector(&selector, pid);
    process__close_stdin_request__init(&m);
    m.process = &selector;
    live_unary("CloseStdin", &m.base, r);
}

static size_t list_cnt(void)
{
    struct live_reply r;
    Process__ListRequest m;
    process__list_request__init(&m);
    live_unary("List", &m.base, &r);
    ck_assert_uint_eq(r.status, 200);
    Process__ListResponse *list =
        process__list_response__unpack(NULL, r.body_len, (const uint8_t *)r.body);
    ck_assert_ptr_nonnull(list);
    size_t cnt = list->n_processes;
    process__list_response__free_unpacked(list, NULL);
    return cnt;
}

/* Start @command with stdin, and take its first event. */
static struct live_conn start(struct live_shell *s, const char *headers, struct live_run *r)
{
    memset(r, 0, sizeof *r);
    struct live_conn c = live_shell_start(s, headers);
    ck_assert(live_step(&c, r));
    ck_assert_uint_gt(r->pid, 1);
    return c;
}

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
        char command[64];
        live_shell_init(&s, "sleep 30");
        struct live_conn c = start(&s, "", &r);
        signal_pid(r.pid, PROCESS__SIGNAL__SIGNAL_SIGKILL, &reply);
        (void)snprintf(command, sizeof command, "kill -0 %u", r.pid);
        live_finish(&c, &r);
        live_sh(command, "", &probe);
        ck_assert_int_eq(probe.exit_code, 1);
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
    char command[64];
    live_shell_init(&s, "exec sleep 30");
    struct live_conn c = start(&s, HEADER_TIMEOUT(200), &r);
    live_finish(&c, &r);
    ck_assert(!r.has_end);
    ck_assert_msg(has(r.end, "\"deadline_exceeded\"") && has(r.end, "context deadline exceeded"),
                  "%s", r.end);
    (void)snprintf(command, sizeof command, "kill -0 %u", r.pid);
    live_sh(command, "", &probe);
    ck_assert_int_eq(probe.exit_code, 1);
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

/* ---- much output ---- */

/* Read @c to its end; each 4-byte word of stdout is its own index. Return: bytes. */
static uint64_t read_counted(struct live_conn *c, uint64_t pause_at)
{
    uint64_t total = 0;
    uint8_t word[4];
    char end[1024];
    Process__StartResponse *m;
    while ((m = live_next(c, end))) {
        const Process__ProcessEvent *e = m->event;
        size_t len = e->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA ? e->data->stdout.len : 0;
        for (size_t i = 0; i < len; i++, total++) {
            word[total % 4] = e->data->stdout.data[i];
            if (total % 4 != 3)
                continue;
            uint32_t n = (uint32_t)word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 |
                         (uint32_t)word[3] << 24;
            ck_assert_uint_eq(n, total / 4);
        }
        process__start_response__free_unpacked(m, NULL);
        if (pause_at > 0 && total > pause_at) {
            (void)poll(NULL, 0, 300);
            pause_at = 0;
        }
    }
    ck_assert_str_eq(end, "{}");
    return total;
}

static const char counting[] =
    "exec python3 -c 'import sys,array\n"
    "for b in range(0, 25000000, 500000): sys.stdout.buffer.write(array.array(\"I\", range(b, "
    "b+500000)).tobytes())'";

START_TEST(process_output_of_100_megabytes_is_whole_and_in_order)
{
    struct live_shell s;
    live_shell_init(&s, counting);
    struct live_conn c = live_shell_start(&s, "");
    ck_assert_uint_eq(read_counted(&c, 20000000), 100000000);
    live_hang_up(&c);
}
END_TEST

static size_t rss_kib(void)
{
    char path[64], line[256];
    size_t kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)live_pid);
    FILE *f = fopen(path, "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %zu", &kib) == 1)
            break;
    (void)fclose(f);
    return kib;
}

START_TEST(process_single_slow_reader_holds_the_process_back_in_little_memory)
{
    struct live_shell s;
    size_t before = rss_kib();
    live_shell_init(&s, counting);
    struct live_conn c = live_shell_start(&s, "");
    (void)poll(NULL, 0, 500);
    ck_assert_uint_lt(rss_kib(), before + 4096);
    ck_assert_uint_eq(list_cnt(), 1);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_slow_reader_beside_a_quick_one_is_ended_and_harms_nobody)
{
    struct live_shell s;
    struct live_run r, slow = {0};
    struct live_reply reply;
    live_shell_init(&s, "read x; head -c 20000000 /dev/zero; echo");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    struct live_conn d = connect_pid(r.pid);
    ck_assert(live_step(&d, &slow));
    send_input(r.pid, false, "go\n", &reply);
    uint64_t total = 0;
    char end[1024];
    Process__StartResponse *m;
    while ((m = live_next(&c, end))) {
        if (m->event->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA)
            total += m->event->data->stdout.len;
        process__start_response__free_unpacked(m, NULL);
    }
    ck_assert_uint_eq(total, 20000001);
    total = 0;
    while ((m = live_next(&d, end))) {
        if (m->event->event_case == PROCESS__PROCESS_EVENT__EVENT_DATA)
            total += m->event->data->stdout.len;
        process__start_response__free_unpacked(m, NULL);
    }
    ck_assert_msg(has(end, "resource_exhausted"), "%s", end);
    ck_assert_uint_gt(total, SUBSCRIBER_LAG_MAX);
    ck_assert_uint_lt(total, 4 * SUBSCRIBER_LAG_MAX);
    live_hang_up(&c);
    live_hang_up(&d);
}
END_TEST

START_TEST(process_without_readers_is_never_blocked)
{
    struct live_shell s;
    struct live_run r, late = {0};
    live_shell_init(&s, "read x; head -c 5000000 /dev/zero; exit 4");
    s.request.stdin = true;
    struct live_reply reply;
    struct live_conn c = start(&s, "", &r);
    live_hang_up(&c);
    send_input(r.pid, false, "go\n", &reply);
    while (list_cnt() > 0)
        (void)poll(NULL, 0, 10);
    struct live_conn d = connect_pid(r.pid);
    live_finish(&d, &late);
    ck_assert_int_eq(late.exit_code, 4);
}
END_TEST

/* ---- input ---- */

START_TEST(process_input_arrives_in_order_and_end_of_file_ends_it)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    send_input(r.pid, false, "one ", &reply);
    ck_assert_uint_eq(reply.status, 200);
    send_input(r.pid, false, "", &reply);
    ck_assert_uint_eq(reply.status, 200);
    send_input(r.pid, false, "two", &reply);
    for (int i = 0; i < 2; i++) {
        close_stdin(r.pid, &reply);
        ck_assert_uint_eq(reply.status, i == 0 ? 200 : reply.status);
    }
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "one two");
    ck_assert_int_eq(r.exit_code, 0);
}
END_TEST

START_TEST(process_close_stdin_is_idempotent_and_later_input_is_refused)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat; sleep 30");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    for (int i = 0; i < 2; i++) {
        close_stdin(r.pid, &reply);
        ck_assert_uint_eq(reply.status, 200);
    }
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert_msg(has(reply.body, "\"internal\"") &&
                      has(reply.body, "error writing to stdin: stdin not enabled or closed"),
                  "%s", reply.body);
    live_hang_up(&c);
}
END_TEST

START_TEST(process_without_stdin_refuses_input)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    live_shell_init(&s, "cat; sleep 30");
    struct live_conn c = start(&s, "", &r);
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to stdin: stdin not enabled or closed"));
    send_input(r.pid, true, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to tty: tty not assigned to process"));
    live_hang_up(&c);
}
END_TEST

START_TEST(process_input_is_answered_only_when_the_process_took_it)
{
    struct live_shell s;
    struct live_run r;
    size_t len = 1000000;
    char *text = malloc(len + 1);
    live_shell_init(&s, "sleep 0.3; exec wc -c");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    memset(text, 'x', len);
    text[len] = '\0';
    struct live_reply reply;
    struct timespec before, after;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    send_input(r.pid, false, text, &reply);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_int_ge(
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 100);
    close_stdin(r.pid, &reply);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "1000000\n");
    free(text);
}
END_TEST

START_TEST(process_that_dies_fails_the_input_it_did_not_take)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    size_t len = 1000000;
    char *text = malloc(len + 1);
    live_shell_init(&s, "sleep 0.2");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    memset(text, 'x', len);
    text[len] = '\0';
    send_input(r.pid, false, text, &reply);
    ck_assert_uint_eq(reply.status, 500);
    live_finish(&c, &r);
    free(text);
}
END_TEST

START_TEST(process_stream_input_feeds_a_process)
{
    struct live_shell s;
    struct live_run r;
    Process__ProcessSelector selector;
    Process__StreamInputRequest m;
    Process__StreamInputRequest__StartEvent begin;
    Process__StreamInputRequest__DataEvent data;
    Process__ProcessInput input;
    live_shell_init(&s, "head -c 2000000 | wc -c");
    s.request.stdin = true;
    struct live_conn c = start(&s, "", &r);
    struct live_conn in = live_http();
    char head[] = "POST /process.Process/StreamInput HTTP/1.1\r\nHost: envd\r\nTransfer-Encoding: "
                  "chunked\r\nContent-Type: application/connect+proto\r\n\r\n";
    live_send(&in, head, sizeof head - 1);
    live_selector(&selector, r.pid);
    process__stream_input_request__init(&m);
    process__stream_input_request__start_event__init(&begin);
    process__stream_input_request__data_event__init(&data);
    process__process_input__init(&input);
    begin.process = &selector;
    m.event_case = PROCESS__STREAM_INPUT_REQUEST__EVENT_START;
    m.start = &begin;
    char chunk[32];
    live_send(&in, chunk,
              (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n",
                               protobuf_c_message_get_packed_size(&m.base) + 5));
    live_send_envelope(&in, &m.base);
    live_send(&in, "\r\n", 2);
    static uint8_t bytes[100000];
    input.input_case = PROCESS__PROCESS_INPUT__INPUT_STDIN;
    input.stdin.data = bytes;
    input.stdin.len = sizeof bytes;
    data.input = &input;
    m.event_case = PROCESS__STREAM_INPUT_REQUEST__EVENT_DATA;
    m.data = &data;
    for (int i = 0; i < 20; i++) {
        live_send(&in, chunk,
                  (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n",
                                   protobuf_c_message_get_packed_size(&m.base) + 5));
        live_send_envelope(&in, &m.base);
        live_send(&in, "\r\n", 2);
    }
    live_send(&in, "0\r\n\r\n", 5);
    struct live_reply reply;
    live_read_reply(&in, &reply);
    ck_assert_uint_eq(reply.status, 200);
    ck_assert_uint_eq(reply.body_len, 5 + 5 + 2);
    ck_assert_str_eq(reply.body + 10, "{}");
    live_hang_up(&in);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[0], "2000000\n");
}
END_TEST

/* ---- terminals ---- */

static struct live_conn start_pty(const char *command, struct live_run *r)
{
    static Process__PTY pty;
    static Process__PTY__Size size;
    struct live_shell s;
    process__pty__init(&pty);
    process__pty__size__init(&size);
    size.cols = 91;
    size.rows = 37;
    pty.size = &size;
    live_shell_init(&s, command);
    s.request.has_pty_case = PROCESS__START_REQUEST__HAS_PTY_PTY;
    s.request.pty = &pty;
    return start(&s, "", r);
}

START_TEST(process_terminal_has_its_size_and_is_controlling)
{
    struct live_run r;
    struct live_conn c =
        start_pty("stty size; echo there > /dev/tty; tty | cut -c 1-9; exit 6", &r);
    live_finish(&c, &r);
    ck_assert_str_eq(r.out[2], "37 91\r\nthere\r\n/dev/pts/\r\n");
    ck_assert_uint_eq(r.len[0] + r.len[1], 0);
    ck_assert_int_eq(r.exit_code, 6);
}
END_TEST

START_TEST(process_terminal_is_resized)
{
    struct live_run r;
    struct live_reply reply;
    Process__ProcessSelector selector;
    Process__UpdateRequest m;
    Process__PTY pty;
    Process__PTY__Size size;
    struct live_conn c =
        start_pty("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", &r);
    live_await(&c, &r, 2, "ready");
    live_selector(&selector, r.pid);
    process__update_request__init(&m);
    process__pty__init(&pty);
    process__pty__size__init(&size);
    size.cols = 100;
    size.rows = 70000;
    pty.size = &size;
    m.process = &selector;
    m.has_pty_case = PROCESS__UPDATE_REQUEST__HAS_PTY_PTY;
    m.pty = &pty;
    live_unary("Update", &m.base, &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_finish(&c, &r);
    ck_assert(has(r.out[2], "65535 100"));
}
END_TEST

START_TEST(process_terminal_takes_input_and_refuses_stdin)
{
    struct live_run r;
    struct live_reply reply;
    struct live_conn c = start_pty("stty -echo; echo ready; read x; echo got $x; cat", &r);
    live_await(&c, &r, 2, "ready");
    send_input(r.pid, false, "x", &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error writing to stdin: tty assigned to process — input should be "
                              "written to the pty, not the stdin"));
    close_stdin(r.pid, &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "\"unknown\"") &&
              has(reply.body, "error closing stdin: cannot close stdin for PTY process — send "
                              "Ctrl+D (0x04) instead"));
    send_input(r.pid, true, "hello\n", &reply);
    ck_assert_uint_eq(reply.status, 200);
    live_await(&c, &r, 2, "got hello");
    send_input(r.pid, true, "\004", &reply);
    live_finish(&c, &r);
    ck_assert_int_eq(r.exit_code, 0);
}
END_TEST

START_TEST(process_without_terminal_cannot_be_resized)
{
    struct live_shell s;
    struct live_run r;
    struct live_reply reply;
    char body[128];
    live_shell_init(&s, "sleep 30");
    struct live_conn c = start(&s, "", &r), u = live_http();
    (void)snprintf(body, sizeof body, "{\"process\":{\"pid\":%u},\"pty\":{\"size\":{\"cols\":1}}}",
                   r.pid);
    live_call(&u, "POST", "/process.Process/Update", "Content-Type: application/json\r\n", body,
              &reply);
    ck_assert_uint_eq(reply.status, 500);
    ck_assert(has(reply.body, "error resizing tty: tty not assigned to process"));
    live_hang_up(&c);
    live_hang_up(&u);
}
END_TEST

/* ---- the table ---- */

START_TEST(process_many_at_once_all_end_and_leave_nothing)
{
    enum { CNT = 100 };
    static struct live_conn c[CNT];
    static struct live_run r;
    for (int i = 0; i < CNT; i++) {
        struct live_shell s;
        char command[64];
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
    live_sh("ls /proc/$PPID/fd | wc -l", "", &r);
    int fds = atoi(r.out[0]);
    live_sh("ls /proc/$PPID/fd | wc -l", "", &r);
    ck_assert_int_eq(atoi(r.out[0]), fds);
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

int main(void)
{
    const TTest *const tests[] = {
        process_start_tells_start_output_and_end_in_order,
        process_exit_zero_has_no_error,
        process_killed_by_itself_tells_the_signal,
        process_missing_program_starts_and_exits_127,
        process_missing_directory_is_refused_before_the_start,
        process_unknown_user_is_unauthenticated,
        process_runs_as_the_named_user,
        process_gets_path_home_and_request_variables_and_nothing_else,
        process_end_waits_for_the_output_of_grandchildren,
        process_kill_does_not_wait_for_grandchildren,
        process_term_lets_the_program_clean_up,
        process_killed_is_no_zombie_for_the_next_command,
        process_refuses_other_signals,
        process_deadline_is_told_before_the_kill_and_kills,
        process_deadline_of_connect_does_not_kill,
        process_keepalive_comes_while_nothing_is_said,
        process_survives_its_reader_and_can_be_found_again,
        process_every_reader_gets_every_event,
        process_that_ended_lately_still_tells_start_and_end,
        process_connect_to_nobody_is_not_found,
        process_empty_selector_is_unimplemented,
        process_is_found_by_tag_and_listed_with_its_configuration,
        process_output_of_100_megabytes_is_whole_and_in_order,
        process_single_slow_reader_holds_the_process_back_in_little_memory,
        process_slow_reader_beside_a_quick_one_is_ended_and_harms_nobody,
        process_without_readers_is_never_blocked,
        process_input_arrives_in_order_and_end_of_file_ends_it,
        process_close_stdin_is_idempotent_and_later_input_is_refused,
        process_without_stdin_refuses_input,
        process_input_is_answered_only_when_the_process_took_it,
        process_that_dies_fails_the_input_it_did_not_take,
        process_stream_input_feeds_a_process,
        process_terminal_has_its_size_and_is_controlling,
        process_terminal_is_resized,
        process_terminal_takes_input_and_refuses_stdin,
        process_without_terminal_cannot_be_resized,
        process_many_at_once_all_end_and_leave_nothing,
        process_orphans_are_reaped,
        process_streams_end_when_envd_is_told_to_stop,
    };
    Suite *suite = suite_create("process_service");
    TCase *tcase = tcase_create("process_service");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
