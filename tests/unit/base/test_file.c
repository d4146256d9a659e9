/* SPDX-License-Identifier: Apache-2.0 */
/* Files and trees on a real file system, also with a full disk, mounts and an old kernel. */
#include "tests/unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

static char root[] = "/tmp/adit-test-file-XXXXXX";
static int root_fd;
static struct adit_err err;

/* A fresh directory, also the working directory. */
static void begin(void)
{
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(chdir(root), 0);
    root_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(root_fd, 0);
}

static void end(void)
{
    ck_assert_int_eq(close(root_fd), 0);
    ck_assert_int_eq(rmdir(root), 0); /* and nothing was left in it */
}

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(close(fd), 0);
}

static void make_dir(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void expect_content(const char *path, const char *text)
{
    struct adit_buf b;
    adit_buf_init(&b, 1000);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &b, &err), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&b), text));
    adit_buf_fini(&b);
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    ck_assert_int_eq(closedir(dir), 0);
    return n - 2;
}

START_TEST(file_read_appends_up_to_the_buffers_maximum)
{
    begin();
    struct adit_buf b;
    adit_buf_init(&b, 6);
    make_file("f", "abcdef");
    ck_assert_int_eq(adit_file_read(root_fd, "f", &b, &err), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&b), "abcdef"));
    adit_buf_fini(&b);

    adit_buf_init(&b, 6);
    ck_assert_int_eq(adit_buf_append_str(&b, "x"), 0);
    ck_assert_int_eq(adit_file_read(root_fd, "f", &b, &err), ADIT_ERR_LIMIT);
    ck_assert(adit_view_eq_str(adit_buf_view(&b), "x"));
    ck_assert_int_eq(adit_file_read(root_fd, "missing", &b, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(adit_file_read(root_fd, ".", &b, &err), ADIT_ERR_IO);
    ck_assert_int_eq(err.sys_errno, EISDIR);
    adit_buf_fini(&b);
    ck_assert_int_eq(unlink("f"), 0);
    end();
}
END_TEST

START_TEST(file_read_does_not_believe_sizes)
{
    struct adit_buf b;
    adit_buf_init(&b, 100000);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, "/proc/self/status", &b, &err), 0);
    ck_assert_uint_gt(b.len, 100);
    adit_buf_fini(&b);
}
END_TEST

START_TEST(file_read_is_not_stopped_by_a_fifo)
{
    begin();
    struct adit_buf b;
    adit_buf_init(&b, 100);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(adit_file_read(root_fd, "fifo", &b, &err), 0);
    ck_assert_uint_eq(b.len, 0);
    adit_buf_fini(&b);
    ck_assert_int_eq(unlink("fifo"), 0);
    end();
}
END_TEST

START_TEST(file_replace_swaps_content_and_mode)
{
    begin();
    make_dir("d");
    struct stat st;
    (void)umask(077);
    ck_assert_int_eq(adit_file_replace(root_fd, "d/f", adit_view_str("one"), 0644, &err), 0);
    expect_content("d/f", "one");
    ck_assert_int_eq(stat("d/f", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    ck_assert_int_eq(adit_file_replace(AT_FDCWD, "d/f", adit_view_str(""), 0600, &err), 0);
    expect_content("d/f", "");
    ck_assert_int_eq(count_entries("d"), 1);
    ck_assert_int_eq(unlink("d/f"), 0);
    ck_assert_int_eq(rmdir("d"), 0);
    end();
}
END_TEST

START_TEST(file_replace_does_not_write_through_a_symlink)
{
    begin();
    make_file("victim", "old");
    ck_assert_int_eq(symlink("victim", "link"), 0);
    ck_assert_int_eq(adit_file_replace(root_fd, "link", adit_view_str("new"), 0600, &err), 0);
    expect_content("victim", "old");
    expect_content("link", "new");
    ck_assert_int_eq(unlink("link"), 0);
    ck_assert_int_eq(unlink("victim"), 0);
    end();
}
END_TEST

START_TEST(file_replace_that_fails_leaves_nothing)
{
    begin();
    make_dir("d");
    ck_assert_int_ne(adit_file_replace(root_fd, "d", adit_view_str("x"), 0600, &err), 0);
    ck_assert_int_eq(adit_file_replace(root_fd, "no/f", adit_view_str("x"), 0600, &err),
                     ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(count_entries("."), 1);
    ck_assert_int_eq(rmdir("d"), 0);
    end();
}
END_TEST

/* Mounts of our own; false where that is not allowed, and the test has nothing to stand on. */
static bool mount_tmpfs(const char *path, const char *options)
{
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        suite_skip("test_file: mounts", "CAP_SYS_ADMIN");
        return false;
    }
    ck_assert_int_eq(mount("none", path, "tmpfs", 0, options), 0);
    ck_assert_int_eq(close(root_fd), 0); /* it belongs to the mounts of before */
    root_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(root_fd, 0);
    return true;
}

START_TEST(file_replace_on_a_full_disk_keeps_the_old_file)
{
    begin();
    make_dir("full");
    if (mount_tmpfs("full", "size=64k")) {
        static char big[1024 * 1024];
        ck_assert_int_eq(adit_file_replace(root_fd, "full/f", adit_view_str("old"), 0600, &err), 0);
        ck_assert_int_eq(
            adit_file_replace(root_fd, "full/f", adit_view_mem(big, sizeof big), 0600, &err),
            ADIT_ERR_NO_SPACE);
        expect_content("full/f", "old");
        ck_assert_int_eq(count_entries("full"), 1);
        ck_assert_int_eq(umount("full"), 0);
    }
    ck_assert_int_eq(rmdir("full"), 0);
    end();
}
END_TEST

START_TEST(file_mkdirs_makes_every_part)
{
    begin();
    char path[sizeof root + 20];
    (void)sprintf(path, "%s/a//b/c/", root);
    ck_assert_int_eq(adit_file_mkdirs(path, 0700, &err), 0);
    ck_assert_int_eq(adit_file_mkdirs(path, 0700, &err), 0);
    ck_assert_int_eq(adit_file_mkdirs("a/b/d", 0700, &err), 0);
    make_file("a/f", "");
    ck_assert_int_eq(adit_file_mkdirs("a/f", 0700, &err), ADIT_ERR_IO);
    ck_assert_int_eq(adit_file_mkdirs("a/f/g", 0700, &err), ADIT_ERR_IO);
    ck_assert_int_eq(err.sys_errno, ENOTDIR);
    ck_assert_int_eq(adit_file_mkdirs("", 0700, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "a", &err), 0);
    end();
}
END_TEST

START_TEST(file_remove_tree_takes_one_component_only)
{
    static const char *const bad[] = {"", ".", "..", "/", "a/b", "/tmp", "a/"};
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(adit_file_remove_tree(root_fd, bad[i], &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "missing", &err), 0);
    make_file("f", "");
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "f", &err), 0);
    end();
}
END_TEST

static void remove_tree_with_links(void)
{
    make_dir("outside");
    make_file("outside/kept", "kept");
    make_dir("tree");
    make_dir("tree/sub");
    make_dir("tree/empty");
    make_file("tree/sub/f", "");
    make_file("tree/sub/...", "");
    ck_assert_int_eq(symlink("../outside", "tree/link"), 0);
    ck_assert_int_eq(symlink("../../outside/kept", "tree/sub/link"), 0);
    ck_assert_int_eq(link("outside/kept", "tree/hard"), 0);
    ck_assert_int_eq(mkfifo("tree/fifo", 0600), 0);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "tree", &err), 0);
    ck_assert_int_eq(access("tree", F_OK), -1);
    expect_content("outside/kept", "kept");

    ck_assert_int_eq(symlink("outside", "link"), 0);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "link", &err), 0);
    expect_content("outside/kept", "kept");
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "outside", &err), 0);
}

START_TEST(file_remove_tree_follows_no_symlink)
{
    begin();
    remove_tree_with_links();
    end();
}
END_TEST

START_TEST(file_remove_tree_works_without_openat2)
{
    begin();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    ck_assert_ptr_nonnull(filter);
    ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0), 0);
    ck_assert_int_eq(seccomp_load(filter), 0);
    seccomp_release(filter);
    remove_tree_with_links();
    end();
}
END_TEST

/* A chain of directories, deeper than a path can be long, with a file and a side branch in each. */
static void make_deep_tree(int depth)
{
    int fd = dup(root_fd);
    for (int i = 0; i < depth; i++) {
        const char *name = i ? "a-directory" : "deep";
        ck_assert_int_eq(mkdirat(fd, name, 0700), 0);
        int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_ge(below, 0);
        ck_assert_int_eq(close(fd), 0);
        fd = below;
        ck_assert_int_eq(mkdirat(fd, "side", 0700), 0);
        ck_assert_int_eq(mkdirat(fd, "side/branch", 0700), 0);
        ck_assert_int_eq(symlinkat("/", fd, "link"), 0);
    }
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(file_remove_tree_of_any_depth_needs_few_descriptors)
{
    begin();
    make_deep_tree(3000);
    int before = count_entries("/proc/self/fd");
    struct rlimit few = {.rlim_cur = 48, .rlim_max = 48};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "deep", &err), 0);
    ck_assert_int_eq(count_entries("/proc/self/fd"), before);
    end();
}
END_TEST

START_TEST(file_remove_tree_out_of_descriptors_fails_and_leaks_none)
{
    begin();
    make_deep_tree(100);
    int before = count_entries("/proc/self/fd");
    struct rlimit old, few;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 16;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "deep", &err), ADIT_ERR_LIMIT);
    ck_assert_int_eq(count_entries("/proc/self/fd"), before);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "deep", &err), 0);
    end();
}
END_TEST

START_TEST(file_remove_tree_removes_wide_directories)
{
    begin();
    make_dir("wide");
    for (int i = 0; i < 5000; i++) {
        char path[40];
        (void)sprintf(path, "wide/%d", i);
        if (i % 2)
            make_file(path, "");
        else
            make_dir(path);
        (void)sprintf(path, "wide/%d/%d", i, i);
        if (i % 4 == 0)
            make_dir(path);
    }
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "wide", &err), 0);
    end();
}
END_TEST

START_TEST(file_remove_tree_does_not_cross_a_mount)
{
    begin();
    make_dir("tree");
    make_dir("tree/a");
    make_dir("tree/a/mounted");
    if (mount_tmpfs("tree/a/mounted", NULL)) {
        make_file("tree/a/mounted/kept", "kept");
        ck_assert_int_ne(adit_file_remove_tree(root_fd, "tree", &err), 0);
        expect_content("tree/a/mounted/kept", "kept");
        ck_assert_int_eq(umount("tree/a/mounted"), 0);
    }
    ck_assert_int_eq(adit_file_remove_tree(root_fd, "tree", &err), 0);
    end();
}
END_TEST

SUITE_MAIN("file", file_read_appends_up_to_the_buffers_maximum, file_read_does_not_believe_sizes,
           file_read_is_not_stopped_by_a_fifo, file_replace_swaps_content_and_mode,
           file_replace_does_not_write_through_a_symlink, file_replace_that_fails_leaves_nothing,
           file_replace_on_a_full_disk_keeps_the_old_file, file_mkdirs_makes_every_part,
           file_remove_tree_takes_one_component_only, file_remove_tree_follows_no_symlink,
           file_remove_tree_works_without_openat2,
           file_remove_tree_of_any_depth_needs_few_descriptors,
           file_remove_tree_out_of_descriptors_fails_and_leaks_none,
           file_remove_tree_removes_wide_directories, file_remove_tree_does_not_cross_a_mount)
