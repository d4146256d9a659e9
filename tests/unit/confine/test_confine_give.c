/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile tree is handed over: what is in it, and nothing else. Needs root. */
#include "confine/confine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static const struct confine_user user = {61180, 61181};
static const char *const skip[] = {"skipped", NULL};
static char dir[32];
static int tree;

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0, "%s", path);
    (void)close(fd); /* nothing was written */
}

static void make_dir(const char *path)
{
    ck_assert_msg(mkdir(path, 0700) == 0, "%s", path);
}

static void assert_owner(const char *path, uid_t uid, gid_t gid)
{
    struct stat st;
    ck_assert_msg(lstat(path, &st) == 0, "%s", path);
    ck_assert_msg(st.st_uid == uid && st.st_gid == gid, "%s is %u:%u", path, st.st_uid, st.st_gid);
}

static void setup(void)
{
    if (geteuid() != 0)
        return;
    (void)snprintf(dir, sizeof(dir), "/tmp/adit-give-XXXXXX");
    ck_assert(mkdtemp(dir) && chdir(dir) == 0);
    make_dir("outside");
    make_file("outside/file");
    make_dir("tree");
    make_dir("tree/sub");
    tree = open("tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(tree, 0);
}

static void teardown(void)
{
    char command[64];
    if (geteuid() != 0)
        return;
    (void)close(tree); /* read only */
    (void)snprintf(command, sizeof(command), "cd / && rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static bool is_skipped(const char *test)
{
    if (geteuid() != 0)
        suite_skip(test, "root");
    return geteuid() != 0;
}

static void give(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(confine_give_tree(tree, skip, &user, &err) == 0, "%s", err.msg);
}

START_TEST(confine_give_takes_all_that_is_the_trees)
{
    if (is_skipped("confine_give_takes_all_that_is_the_trees"))
        return;
    make_file("tree/file");
    make_file("tree/sub/file");
    make_dir("tree/skipped");
    ck_assert_int_eq(mkfifo("tree/sub/fifo", 0600), 0);
    give();
    assert_owner("tree/file", user.uid, user.gid);
    assert_owner("tree/sub", user.uid, user.gid);
    assert_owner("tree/sub/file", user.uid, user.gid);
    assert_owner("tree/sub/fifo", user.uid, user.gid);
    assert_owner("tree/skipped", 0, 0);
    assert_owner("tree", 0, 0);
}
END_TEST

START_TEST(confine_give_follows_no_link)
{
    if (is_skipped("confine_give_follows_no_link"))
        return;
    ck_assert_int_eq(symlink("../outside", "tree/dir"), 0);
    ck_assert_int_eq(symlink("../../outside", "tree/sub/dir"), 0);
    ck_assert_int_eq(symlink("../../outside/file", "tree/sub/file"), 0);
    ck_assert_int_eq(link("outside/file", "tree/sub/second"), 0);
    give();
    assert_owner("outside", 0, 0);
    assert_owner("outside/file", 0, 0);
    assert_owner("tree/sub/dir", 0, 0);
    assert_owner("tree/sub", user.uid, user.gid);
}
END_TEST

START_TEST(confine_give_leaves_devices_and_other_mounts)
{
    if (is_skipped("confine_give_leaves_devices_and_other_mounts"))
        return;
    make_dir("tree/mounted");
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("outside", "tree/mounted", NULL, MS_BIND, NULL), 0);
    ck_assert_int_eq(mknod("tree/sub/null", S_IFCHR | 0600, makedev(1, 3)), 0);
    give();
    assert_owner("outside", 0, 0);
    assert_owner("outside/file", 0, 0);
    assert_owner("tree/sub/null", 0, 0);
    ck_assert_int_eq(umount2("tree/mounted", MNT_DETACH), 0);
}
END_TEST

SUITE_MAIN_WITH("confine_give", .fixtures = {{setup, teardown}},
                TESTS(confine_give_takes_all_that_is_the_trees, confine_give_follows_no_link,
                      confine_give_leaves_devices_and_other_mounts))
