/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for each test, and small helpers to look into it. */
#ifndef ADIT_TESTS_UNIT_ENVD_SCRATCH_H
#define ADIT_TESTS_UNIT_ENVD_SCRATCH_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char scratch_dir[64];

/* Unchecked fixture: the directory exists before the test's process and is removed after it. */
static inline void scratch_setup(void)
{
    (void)snprintf(scratch_dir, sizeof scratch_dir, "/tmp/adit-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch_dir));
}

static inline void scratch_teardown(void)
{
    (void)umount2(scratch_dir, MNT_DETACH); /* of the tests that mount */
    int fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(fd, scratch_dir + 5, NULL), 0);
    (void)close(fd);
}

/* A small file system of @size bytes on the directory. */
static inline void scratch_mount(const char *size)
{
    char options[64];
    (void)snprintf(options, sizeof options, "size=%s", size);
    ck_assert_int_eq(mount("tmpfs", scratch_dir, "tmpfs", 0, options), 0);
}

/* <dir>/<name>; two may be used at once. */
static inline const char *scratch(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, PATH_MAX, "%s/%s", scratch_dir, name);
    return path;
}

static inline void scratch_write(const char *name, const char *content, size_t len)
{
    int fd = open(scratch(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, len), (ssize_t)len);
    (void)close(fd);
}

static inline bool scratch_exists(const char *name)
{
    struct stat st;
    return lstat(scratch(name), &st) == 0;
}

static inline bool scratch_is(const char *name, const char *content, size_t len)
{
    struct adit_buf b;
    adit_buf_init(&b, 64u * 1024 * 1024);
    bool is_same = adit_file_read(AT_FDCWD, scratch(name), &b, NULL) == 0 &&
                   adit_view_eq(adit_buf_view(&b), adit_view_mem(content, len));
    adit_buf_fini(&b);
    return is_same;
}

/* Names in a directory, hidden ones included. */
static inline int scratch_count(const char *path)
{
    int cnt = -2; /* . and .. */
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        cnt++;
    (void)closedir(d);
    return cnt;
}

/* @len bytes that repeat at no power of two. Freed by the caller. */
static inline char *scratch_bytes(size_t len)
{
    char *p = malloc(len + 1);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < len; i++)
        p[i] = (char)(i * 31 % 251);
    return p;
}

#endif
