/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of booting a machine can be tried without one: in name spaces of its own, that of users
 * included, so that nothing of this host can be mounted; with an empty file system as the root.
 * tests/vm/test_boot.py has the rest.
 */
#include "envd/vm.h"

#include <sched.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include <linux/magic.h>

#include "tests/unit/envd/scratch.h"
#include "tests/unit/suite.h"

/* Beside the numbers of checks. */
enum { NO_NAMESPACES = 77, NOT_IN };

static bool is_of(const char *path, long magic)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == (__fsword_t)magic;
}

/* As the first process of the name spaces, in the empty root. Return: which check failed, or 0. */
static int look_around(void)
{
    char text[8];
    vm_mount_system();
    if (!is_of("/proc", PROC_SUPER_MAGIC) || access("/proc/self/exe", F_OK) != 0)
        return 1;
    if (!is_of("/dev/shm", TMPFS_MAGIC) || access("/dev/shm", W_OK) != 0)
        return 2;
    if (access("/dev/pts", F_OK) != 0 || access("/sys", F_OK) != 0)
        return 3;
    ssize_t n = readlink("/dev/stdin", text, sizeof text);
    return n == sizeof text && memcmp(text, "/proc/se", sizeof text) == 0 ? 0 : 4;
}

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_put = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return fd >= 0 && close(fd) == 0 && is_put;
}

static int status_of(pid_t pid)
{
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : NOT_IN;
}

/* In a process that has only this to do: who has left its name spaces is good for nothing else. */
static int run_inside(void)
{
    char uids[32], gids[32];
    (void)snprintf(uids, sizeof uids, "0 %u 1", geteuid());
    (void)snprintf(gids, sizeof gids, "0 %u 1", getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) != 0 ||
        !put("/proc/self/setgroups", "deny") || !put("/proc/self/uid_map", uids) ||
        !put("/proc/self/gid_map", gids))
        return NO_NAMESPACES;
    pid_t pid = fork();
    if (pid == 0) {
        bool is_in = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                     mount("tmpfs", scratch_dir, "tmpfs", 0, NULL) == 0 &&
                     chroot(scratch_dir) == 0 && chdir("/") == 0;
        _exit(is_in ? look_around() : NOT_IN);
    }
    return status_of(pid);
}

START_TEST(vm_mounts_a_system_where_an_image_has_no_folder_for_it)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_inside());
    int status = status_of(pid);
    if (status == NO_NAMESPACES)
        printf("# no name spaces of users: nothing can be mounted\n");
    else
        ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(vm_refuses_names_that_are_none)
{
    struct adit_err err = ADIT_ERR_INIT;
    static const char *const names[] = {"", "a b", "a/b", "\xC3\xA4", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_int_eq(vm_set_hostname(names[i], &err), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("vm", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(vm_mounts_a_system_where_an_image_has_no_folder_for_it,
                      vm_refuses_names_that_are_none))
