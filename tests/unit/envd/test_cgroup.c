/* SPDX-License-Identifier: Apache-2.0 */
#include "envd/process/cgroup.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "envd/process/spawn.h"

#include "tests/unit/suite.h"

static char mount_dir[64], own[128];

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

/* A cgroup2 of our own, mounted for this process only, with us in a group of our own. */
static void setup(void)
{
    adit_log_init("test", ADIT_LOG_WARN, false);
    (void)snprintf(mount_dir, sizeof mount_dir, "/tmp/test-cgroup-%d", (int)getpid());
    (void)snprintf(own, sizeof own, "%s/test-adit-%d", mount_dir, (int)getpid());
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mkdir(mount_dir, 0700), 0);
    ck_assert_int_eq(mount("none", mount_dir, "cgroup2", 0, NULL), 0);
    ck_assert_int_eq(mkdir(own, 0755), 0);
    write_file(own, "cgroup.procs", "0");
}

static void teardown(void)
{
    static const char *const below[] = {"adit/user", "adit/pty", "adit/system", "adit", ""};
    write_file(mount_dir, "cgroup.procs", "0");
    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s", own, below[i]);
        (void)rmdir(path);
    }
    ck_assert_int_ne(access(own, F_OK), 0);
    ck_assert_int_eq(umount2(mount_dir, MNT_DETACH), 0);
    ck_assert_int_eq(rmdir(mount_dir), 0);
}

static void group_of_child(int cgroup_fd, char *out, size_t cap)
{
    static struct user_entry root = {.name = "root"};
    static char cmd[] = "/bin/grep", pattern[] = "^0::", file[] = "/proc/self/cgroup";
    char *room[] = {NULL, cmd, pattern, file, NULL}, *env[] = {NULL};
    int ends[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct adit_err err = ADIT_ERR_INIT;
    pid_t pid;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct spawn_request r = {.cmd = cmd,
                              .argv_room = room,
                              .envp = env,
                              .cwd = "/",
                              .user = &root,
                              .fds = {null, ends[1], ends[1]},
                              .cgroup_fd = cgroup_fd};
    ck_assert_msg(spawn_start(&r, &pid, &err) == ADIT_OK, "%s", err.msg);
    (void)close(ends[1]);
    (void)close(null);
    ssize_t n = read(ends[0], out, cap - 1);
    ck_assert_int_gt(n, 0);
    out[n] = '\0';
    (void)close(ends[0]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(cgroup_children_are_born_in_their_group)
{
    static const char *const names[CGROUP_KIND_CNT] = {"user", "pty", "system"};
    struct cgroup_set s;
    cgroup_set_init(&s, mount_dir);
    for (int i = 0; i < CGROUP_KIND_CNT; i++) {
        char line[256], want[256];
        ck_assert_int_ge(s.dir_fds[i], 0);
        group_of_child(s.dir_fds[i], line, sizeof line);
        (void)snprintf(want, sizeof want, "0::/test-adit-%d/adit/%s\n", (int)getpid(), names[i]);
        ck_assert_str_eq(line, want);
    }
    cgroup_set_fini(&s);
}
END_TEST

START_TEST(cgroup_set_can_be_made_again_over_an_old_one)
{
    struct cgroup_set first, second;
    cgroup_set_init(&first, mount_dir);
    cgroup_set_init(&second, mount_dir);
    for (int i = 0; i < CGROUP_KIND_CNT; i++)
        ck_assert_int_ge(second.dir_fds[i], 0);
    cgroup_set_fini(&first);
    cgroup_set_fini(&second);
}
END_TEST

START_TEST(cgroup_missing_gives_no_groups_and_no_error)
{
    static const char *const mounts[] = {"/tmp", "/nonexistent", "/proc"};
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        struct cgroup_set s;
        cgroup_set_init(&s, mounts[i]);
        for (int k = 0; k < CGROUP_KIND_CNT; k++)
            ck_assert_int_eq(s.dir_fds[k], -1);
        cgroup_set_fini(&s);
    }
}
END_TEST

SUITE_MAIN_WITH("cgroup", .fixtures = {{setup, teardown}},
                TESTS(cgroup_children_are_born_in_their_group,
                      cgroup_set_can_be_made_again_over_an_old_one,
                      cgroup_missing_gives_no_groups_and_no_error))
