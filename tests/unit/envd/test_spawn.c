/* SPDX-License-Identifier: Apache-2.0 */
#include "envd/process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <seccomp.h>

#include "tests/unit/suite.h"

/* What a child said, and how it ended. */
struct outcome {
    int code;
    struct adit_err err;
    char out[16 * 1024], complaint[4096];
    int wait_status;
};

static char *no_env[] = {NULL};

static void read_all(int fd, char *out, size_t cap)
{
    size_t len = 0;
    ssize_t n;
    while (len < cap - 1 && (n = read(fd, out + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    (void)close(fd);
}

/* Fills in what @r leaves open: root, "/", no environment, /dev/null. @args: NULL behind the last.
 */
static void run_request(struct spawn_request *r, char **args, struct outcome *o)
{
    static struct user_entry root = {.name = "root"};
    char *room[16] = {NULL};
    int out[2], complaint[2];
    pid_t pid = -1;
    for (size_t i = 0; args && args[i]; i++)
        room[SPAWN_ARGV_SPARE + 1 + i] = args[i];
    char *cmd = strdup(r->cmd);
    room[SPAWN_ARGV_SPARE] = cmd;
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(complaint, O_CLOEXEC), 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r->argv_room = room;
    r->envp = r->envp ? r->envp : no_env;
    r->cwd = r->cwd ? r->cwd : "/";
    r->user = r->user ? r->user : &root;
    r->fds[0] = null;
    r->fds[1] = out[1];
    r->fds[2] = complaint[1];
    r->cgroup_fd = -1;
    memset(o, 0, sizeof *o);
    o->code = spawn_start(r, &pid, &o->err);
    (void)close(null);
    (void)close(out[1]);
    (void)close(complaint[1]);
    read_all(out[0], o->out, sizeof o->out);
    read_all(complaint[0], o->complaint, sizeof o->complaint);
    if (o->code == ADIT_OK)
        ck_assert_int_eq(waitpid(pid, &o->wait_status, 0), pid);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    free(cmd);
}

static void run_sh(struct spawn_request *r, const char *command, struct outcome *o)
{
    static char dash_c[] = "-c";
    char *copy = strdup(command);
    char *args[] = {dash_c, copy, NULL};
    r->cmd = "/bin/sh";
    run_request(r, args, o);
    free(copy);
}

static int exit_code(const struct outcome *o)
{
    ck_assert_int_eq(o->code, ADIT_OK);
    ck_assert(WIFEXITED(o->wait_status));
    return WEXITSTATUS(o->wait_status);
}

START_TEST(spawn_runs_a_program_and_returns_its_exit_code)
{
    struct spawn_request r = {0};
    struct outcome o;
    run_sh(&r, "echo out; echo err >&2; exit 42", &o);
    ck_assert_int_eq(exit_code(&o), 42);
    ck_assert_str_eq(o.out, "out\n");
    ck_assert_str_eq(o.complaint, "err\n");
}
END_TEST

START_TEST(spawn_gives_exactly_the_environment_it_was_given)
{
    static char a[] = "A=1", b[] = "B=two words";
    char *env[] = {a, b, NULL};
    struct spawn_request r = {.cmd = "/usr/bin/env", .envp = env};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 0);
    ck_assert_str_eq(o.out, "A=1\nB=two words\n");
}
END_TEST

START_TEST(spawn_becomes_the_user_with_all_its_groups)
{
    static struct user_entry user = {
        .name = "someone", .uid = 4321, .gid = 5432, .groups = {77, 88}, .group_cnt = 2};
    struct spawn_request r = {.user = &user};
    struct outcome o;
    run_sh(&r, "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status", &o);
    ck_assert_str_eq(o.out, "Uid:\t4321\t4321\t4321\t4321\n"
                            "Gid:\t5432\t5432\t5432\t5432\n"
                            "Groups:\t77 88 \n"
                            "CapEff:\t0000000000000000\n");
}
END_TEST

START_TEST(spawn_sets_scheduling_memory_and_mask_of_the_child_only)
{
    struct spawn_request r = {0};
    struct outcome o;
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, 3), 0);
    (void)umask(077);
    run_sh(&r, "cat /proc/self/oom_score_adj; nice; umask; ionice 2>/dev/null || echo none", &o);
    ck_assert_msg(strncmp(o.out, "100\n0\n0022\n", 11) == 0, "%s", o.out);
    ck_assert(strstr(o.out, "best-effort: prio 4") || strstr(o.out, "none"));
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), 3);
    ck_assert_uint_eq(umask(022), 077);
}
END_TEST

START_TEST(spawn_leaks_no_descriptor_even_one_that_is_not_close_on_exec)
{
    struct spawn_request r = {0};
    struct outcome o;
    int leaky = open("/dev/null", O_RDONLY);
    ck_assert_int_ge(leaky, 3);
    run_sh(&r, "n=3; while [ $n -lt 64 ]; do [ -h /proc/$$/fd/$n ] && echo $n; n=$((n+1)); done",
           &o);
    ck_assert_str_eq(o.out, "");
    (void)close(leaky);
}
END_TEST

START_TEST(spawn_resets_signals)
{
    struct spawn_request r = {0};
    struct outcome o;
    sigset_t blocked;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &blocked, NULL);
    run_sh(&r, "grep -E '^Sig(Blk|Ign):' /proc/self/status", &o);
    unsigned long long blocked_in_child, ignored_in_child;
    ck_assert_int_eq(
        sscanf(o.out, "SigBlk: %llx SigIgn: %llx", &blocked_in_child, &ignored_in_child), 2);
    ck_assert_uint_eq(blocked_in_child, 0);
    /* 32 and 33 are glibc's own: what started the test may have left them ignored. */
    ck_assert_uint_eq(ignored_in_child & ~0x180000000ull, 0);
    sigset_t now;
    (void)sigprocmask(SIG_BLOCK, NULL, &now);
    ck_assert_int_eq(sigismember(&now, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&now, SIGTERM), 0);
}
END_TEST

START_TEST(spawn_makes_the_child_a_session_leader)
{
    struct spawn_request r = {0};
    struct outcome o;
    run_sh(&r, "read -r p n s pp pg sid rest < /proc/$$/stat; [ $$ = $pg ] && [ $$ = $sid ]", &o);
    ck_assert_int_eq(exit_code(&o), 0);
}
END_TEST

START_TEST(spawn_gives_the_descriptor_limit_it_was_told)
{
    struct rlimit limit = {123, 456};
    struct spawn_request r = {.nofile = &limit};
    struct outcome o;
    run_sh(&r, "ulimit -Sn; ulimit -Hn", &o);
    ck_assert_str_eq(o.out, "123\n456\n");
}
END_TEST

START_TEST(spawn_looks_a_name_up_in_the_search_path)
{
    struct spawn_request r = {.cmd = "env",
                              .search_path = "/nonexistent:/etc/passwd::/usr/bin:/bin"};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 0);
}
END_TEST

START_TEST(spawn_does_not_look_a_path_up)
{
    struct spawn_request r = {.cmd = "./env", .search_path = "/usr/bin"};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 127);
    ck_assert_str_eq(o.complaint, "./env: not found\n");
}
END_TEST

START_TEST(spawn_missing_program_complains_and_exits_127)
{
    static const char *const paths[] = {NULL, "", "/usr/bin:/bin", "/nonexistent", ":::"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct spawn_request r = {.cmd = "no-such-program", .search_path = paths[i]};
        struct outcome o;
        run_request(&r, NULL, &o);
        ck_assert_int_eq(exit_code(&o), 127);
        ck_assert_str_eq(o.complaint, "no-such-program: not found\n");
    }
}
END_TEST

START_TEST(spawn_file_that_may_not_run_exits_126)
{
    struct spawn_request r = {.cmd = "/etc/passwd"}, dir = {.cmd = "/tmp"};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 126);
    ck_assert_str_eq(o.complaint, "/etc/passwd: Permission denied\n");
    run_request(&dir, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 126);
    struct spawn_request searched = {.cmd = "passwd", .search_path = "/etc:/nonexistent"};
    run_request(&searched, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 126);
}
END_TEST

START_TEST(spawn_cuts_an_overlong_complaint)
{
    static char cmd[20000];
    memset(cmd, 'x', sizeof cmd - 1);
    cmd[0] = '/';
    struct spawn_request r = {.cmd = cmd}, searched = {.cmd = cmd + 1, .search_path = "/bin"};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 126);
    ck_assert_uint_lt(strlen(o.complaint), 600);
    run_request(&searched, NULL, &o);
    ck_assert_int_eq(exit_code(&o), 127);
}
END_TEST

START_TEST(spawn_gives_a_script_without_interpreter_to_the_shell)
{
    static char arg[] = "an argument";
    char path[] = "/tmp/spawn-script-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "echo \"$0 got $1\"\n";
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    ck_assert_int_eq(fchmod(fd, 0755), 0);
    (void)close(fd);
    char *args[] = {arg, NULL};
    struct spawn_request r = {.cmd = path};
    struct outcome o;
    run_request(&r, args, &o);
    (void)unlink(path);
    char want[100];
    (void)snprintf(want, sizeof want, "%s got an argument\n", path);
    ck_assert_str_eq(o.out, want);
    ck_assert_int_eq(exit_code(&o), 0);
}
END_TEST

START_TEST(spawn_refuses_a_directory_the_user_cannot_enter)
{
    static struct user_entry user = {.name = "someone", .uid = 4321, .gid = 4321};
    char path[] = "/tmp/spawn-dir-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(path));
    struct spawn_request r = {.cmd = "/bin/true", .cwd = path, .user = &user};
    struct outcome o;
    run_request(&r, NULL, &o);
    ck_assert_int_eq(o.code, ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(o.err.msg, "Permission denied"));
    ck_assert_ptr_nonnull(strstr(o.err.msg, path));
    struct spawn_request as_root = {.cmd = "/bin/pwd", .cwd = path};
    run_request(&as_root, NULL, &o);
    ck_assert_int_eq(strncmp(o.out, path, strlen(path)), 0);
    (void)rmdir(path);
}
END_TEST

START_TEST(spawn_works_where_clone3_is_missing)
{
    struct spawn_request r = {0};
    struct outcome o;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), 0);
    ck_assert_int_eq(seccomp_load(filter), 0);
    seccomp_release(filter);
    run_sh(&r, "echo here; exit 3", &o);
    ck_assert_int_eq(exit_code(&o), 3);
    ck_assert_str_eq(o.out, "here\n");
}
END_TEST

START_TEST(spawn_reports_a_missing_process_slot_as_a_limit)
{
    static struct user_entry nobody = {.name = "nobody", .uid = 65534, .gid = 65534};
    struct spawn_request r = {.cmd = "/bin/true", .user = &nobody};
    struct outcome o;
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
    ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    (void)prctl(PR_SET_DUMPABLE, 1); /* for leak checkers, which attach to the process */
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    run_request(&r, NULL, &o);
    ck_assert_int_eq(o.code, ADIT_ERR_LIMIT);
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &before), 0); /* leak checkers start a thread */
}
END_TEST

SUITE_MAIN("spawn", spawn_runs_a_program_and_returns_its_exit_code,
           spawn_gives_exactly_the_environment_it_was_given,
           spawn_becomes_the_user_with_all_its_groups,
           spawn_sets_scheduling_memory_and_mask_of_the_child_only,
           spawn_leaks_no_descriptor_even_one_that_is_not_close_on_exec, spawn_resets_signals,
           spawn_makes_the_child_a_session_leader, spawn_gives_the_descriptor_limit_it_was_told,
           spawn_looks_a_name_up_in_the_search_path, spawn_does_not_look_a_path_up,
           spawn_missing_program_complains_and_exits_127, spawn_file_that_may_not_run_exits_126,
           spawn_cuts_an_overlong_complaint, spawn_gives_a_script_without_interpreter_to_the_shell,
           spawn_refuses_a_directory_the_user_cannot_enter, spawn_works_where_clone3_is_missing,
           spawn_reports_a_missing_process_slot_as_a_limit)
