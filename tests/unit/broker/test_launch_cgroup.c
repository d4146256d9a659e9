/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups. test_container runs the layout of the host it runs on with all its limits; here
 * is what both layouts share, and joining and killing in cgroup v2 with what a launcher may do. */
#include "broker/launcher/launch_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/launcher/launcher_profile.h"
#include "tests/unit/suite.h"

/* A name of this run's own: others may test on the same host. */
static char parent[48], parent_a[56];

static void setup(void)
{
    (void)snprintf(parent, sizeof(parent), "adit-cgroup-test-%d", (int)getpid());
    (void)snprintf(parent_a, sizeof(parent_a), "%s/a", parent);
}

START_TEST(launch_cgroup_refuses_parents_that_are_no_plain_names)
{
    static const char *const bad[] = {"", "a/b", "/a", "..", ".a"};
    struct launch_cgroup_host h;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(launch_cgroup_open(&h, bad[i], NULL) == ADIT_ERR_BAD_INPUT, "'%s'", bad[i]);
}
END_TEST

/* Return: the root of cgroup v2, which also a host with v1 has, seen by this process alone; or -1.
 */
static int open_v2(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("cgroup2", "/tmp", "cgroup2", 0, NULL))
        return -1;
    return open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

START_TEST(launch_cgroup_v2_remove_kills_what_joined)
{
    struct launch_cgroup_host h = {.is_v2 = true, .hierarchy_cnt = 1};
    int ready[2], status;
    char byte = 0;
    h.fd[0] = open_v2();
    if (h.fd[0] < 0) {
        suite_skip("launch_cgroup_v2_remove_kills_what_joined", "root that may mount cgroup2");
        return;
    }
    ck_assert_int_eq(launcher_profile_enter(NULL), 0);
    memcpy(h.parent, parent, sizeof(parent));
    ck_assert(mkdirat(h.fd[0], parent, 0755) == 0);
    ck_assert(mkdirat(h.fd[0], parent_a, 0755) == 0);
    ck_assert(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (launch_cgroup_join(&h, "a", NULL) || fork() < 0 || write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    /* Both, the one that joined and the one that it started. */
    ck_assert(read(ready[0], &byte, 1) == 1 && read(ready[0], &byte, 1) == 1);
    ck_assert_int_eq(launch_cgroup_remove(&h, "a", NULL), 0);
    ck_assert(waitpid(pid, &status, 0) == pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert(faccessat(h.fd[0], parent, F_OK, 0) != 0 && errno == ENOENT);
    ck_assert_int_eq(launch_cgroup_remove(&h, "a", NULL), 0);
    ck_assert_uint_eq(launch_cgroup_oom_kills(&h, "a"), 0);
    launch_cgroup_close(&h);
}
END_TEST

/* As many processes as the group may have, and a new one for each that is killed. Says when there
 * is no room for more. */
static _Noreturn void fork_bomb(int ready_fd)
{
    bool has_said = false;
    char byte = 0;

    (void)signal(SIGCHLD, SIG_IGN); /* nothing to reap */
    for (;;)
        if (fork() < 0 && !has_said)
            has_said = write(ready_fd, &byte, 1) == 1;
}

START_TEST(launch_cgroup_remove_wins_against_a_fork_bomb)
{
    /* Memory for all of them with a sanitizer: processes must be what they run out of. */
    const struct launch_cgroup_limits limits = {
        .memory_bytes = UINT64_C(4) << 30, .cpu_count = 1, .pids_max = 100};
    struct launch_cgroup_host h;
    struct adit_err err = ADIT_ERR_INIT;
    int ready[2];
    char byte;

    if (geteuid() != 0 || launch_cgroup_open(&h, parent, NULL)) {
        suite_skip("launch_cgroup_remove_wins_against_a_fork_bomb", "root and the controllers");
        return;
    }
    ck_assert_int_eq(launch_cgroup_create(&h, "b", &limits, &err), 0);
    ck_assert(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (launch_cgroup_join(&h, "b", NULL))
            _exit(1);
        fork_bomb(ready[1]);
    }
    ck_assert(read(ready[0], &byte, 1) == 1);
    ck_assert_msg(launch_cgroup_remove(&h, "b", &err) == 0, "%s", err.msg);
    ck_assert(waitpid(pid, NULL, 0) == pid);
    launch_cgroup_close(&h);
}
END_TEST

static void spin(const struct launch_cgroup_host *h)
{
    if (launch_cgroup_join(h, "b", NULL))
        _exit(1);
    for (;;)
        ;
}

START_TEST(launch_cgroup_tells_the_time_that_its_processes_used)
{
    const struct launch_cgroup_limits limits = {
        .memory_bytes = UINT64_C(4) << 30, .cpu_count = 1, .pids_max = 100};
    struct launch_cgroup_host h;
    struct launch_usage before = {0}, now = {0};

    if (geteuid() != 0 || launch_cgroup_open(&h, parent, NULL) ||
        (!h.is_v2 && access("/sys/fs/cgroup/cpuacct", F_OK))) {
        suite_skip("launch_cgroup_tells_the_time_that_its_processes_used",
                   "root and the controllers");
        return;
    }
    ck_assert_int_eq(launch_cgroup_create(&h, "b", &limits, NULL), 0);
    ck_assert_int_eq(launch_cgroup_measure(&h, "b", &before, NULL), 0);
    ck_assert_uint_eq(before.cpu_ns, 0); /* not the host's */
    pid_t pid = fork();
    if (pid == 0)
        spin(&h);
    while (now.cpu_ns < 20000000) /* the suite's own limit of time ends it otherwise */
        ck_assert_int_eq(launch_cgroup_measure(&h, "b", &now, NULL), 0);
    ck_assert_int_eq(launch_cgroup_remove(&h, "b", NULL), 0);
    ck_assert(waitpid(pid, NULL, 0) == pid);
    launch_cgroup_close(&h);
}
END_TEST

SUITE_MAIN_WITH("launch_cgroup", .fixtures = {{setup, NULL}},
                TESTS(launch_cgroup_refuses_parents_that_are_no_plain_names,
                      launch_cgroup_v2_remove_kills_what_joined,
                      launch_cgroup_tells_the_time_that_its_processes_used,
                      launch_cgroup_remove_wins_against_a_fork_bomb))
