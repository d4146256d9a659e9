/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/launcher/launch_disk.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define MIB (1 << 20)
#define SIZE ((off_t)256 * MIB)

static char dir_path[] = "/tmp/adit-disk-XXXXXX";
static int dir_fd, image, copy = -1;

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir_path));
    dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    image = openat(dir_fd, "image", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert(dir_fd >= 0 && image >= 0);
}

static void teardown(void)
{
    static const char *const names[] = {"image", "copy", "link", "victim"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlinkat(dir_fd, names[i], 0); /* not in each test */
    (void)close(dir_fd);
    (void)close(image);
    if (copy >= 0)
        (void)close(copy);
    ck_assert_int_eq(rmdir(dir_path), 0);
}

static void put(off_t at, const char *text)
{
    ck_assert_int_eq(pwrite(image, text, strlen(text), at), (ssize_t)strlen(text));
}

static void assert_has(off_t at, const char *text)
{
    char found[64] = "";
    ck_assert_int_eq(pread(copy, found, strlen(text), at), (ssize_t)strlen(text));
    ck_assert_str_eq(found, text);
}

START_TEST(launch_disk_copies_data_and_keeps_holes)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct stat st;
    ck_assert_int_eq(ftruncate(image, SIZE), 0);
    put(0, "the head");
    put(100 * MIB + 5, "in the middle");
    put(SIZE - 7, "the end");
    ck_assert_msg(launch_disk_copy(image, dir_fd, "copy", &copy, &err) == 0, "%s", err.msg);
    assert_has(0, "the head");
    assert_has(100 * MIB + 5, "in the middle");
    assert_has(SIZE - 7, "the end");
    ck_assert_int_eq(fstat(copy, &st), 0);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_int_lt(st.st_blocks * 512, MIB);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(launch_disk_copies_what_is_nothing_but_a_hole_and_what_is_empty)
{
    struct stat st;
    ck_assert_int_eq(ftruncate(image, SIZE), 0);
    ck_assert_int_eq(launch_disk_copy(image, dir_fd, "copy", &copy, NULL), 0);
    ck_assert_int_eq(fstat(copy, &st), 0);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_int_eq(st.st_blocks, 0);
    (void)close(copy);
    ck_assert_int_eq(unlinkat(dir_fd, "copy", 0), 0);
    ck_assert_int_eq(ftruncate(image, 0), 0);
    ck_assert_int_eq(launch_disk_copy(image, dir_fd, "copy", &copy, NULL), 0);
    ck_assert_int_eq(fstat(copy, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
}
END_TEST

/* Another file system: the kernel may refuse to copy between the two by itself. */
START_TEST(launch_disk_copies_between_file_systems)
{
    struct stat here, there;
    int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(shm, 0);
    ck_assert_int_eq(ftruncate(image, SIZE), 0);
    put(3 * MIB, "far from the head");
    ck_assert(fstat(dir_fd, &here) == 0 && fstat(shm, &there) == 0);
    ck_assert_msg(here.st_dev != there.st_dev, "/tmp and /dev/shm are one file system");
    (void)unlinkat(shm, "adit-disk-copy", 0); /* a run that was killed */
    int rc = launch_disk_copy(image, shm, "adit-disk-copy", &copy, NULL);
    ck_assert_int_eq(unlinkat(shm, "adit-disk-copy", 0), 0);
    (void)close(shm);
    ck_assert_int_eq(rc, 0);
    assert_has(3 * MIB, "far from the head");
    ck_assert_int_eq(fstat(copy, &here), 0);
    ck_assert_int_eq(here.st_size, SIZE);
    ck_assert_int_lt(here.st_blocks * 512, MIB);
}
END_TEST

START_TEST(launch_disk_does_not_write_through_what_is_there)
{
    struct stat st;
    int victim = openat(dir_fd, "victim", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(victim, 0);
    (void)close(victim);
    put(0, "data");
    ck_assert_int_eq(symlinkat("victim", dir_fd, "link"), 0);
    ck_assert_int_eq(launch_disk_copy(image, dir_fd, "link", &copy, NULL), ADIT_ERR_EXISTS);
    ck_assert_int_eq(launch_disk_copy(image, dir_fd, "victim", &copy, NULL), ADIT_ERR_EXISTS);
    ck_assert_int_eq(fstatat(dir_fd, "victim", &st, 0), 0);
    ck_assert_int_eq(st.st_size, 0);
}
END_TEST

SUITE_MAIN_WITH("launch_disk", .fixtures = {{setup, teardown}},
                TESTS(launch_disk_copies_data_and_keeps_holes,
                      launch_disk_copies_what_is_nothing_but_a_hole_and_what_is_empty,
                      launch_disk_copies_between_file_systems,
                      launch_disk_does_not_write_through_what_is_there))
