/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files, directories and trees. */
/*
 * Theory of operation
 *
 * What     Reading to the end, replacing by rename, mkdir -p, rm -rf.
 * Trust    Contents and trees may be hostile, and may change while they are worked on. Sizes are
 * not believed, and a removal opens one component at a time below a descriptor that it holds, with
 * openat2 refusing symlinks and mount points. Depth    A removal holds at most DEPTH_MAX
 * directories open. What lies deeper is moved to the top directory of the removal under a random
 * name and met there again, so neither descriptors nor memory grow with the depth of a tree. Limits
 * A directory is read again when it is not empty at its end, because others may add entries and
 * some file systems skip entries during removal; PASS_MAX times, then CONFLICT. Failure  A failed
 * read leaves the buffer as it was; a failed replacement leaves the old file. A failed removal has
 * removed a part.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/rand.h"

#define READ_STEP 4096
#define DEPTH_MAX 32
#define PASS_MAX 16

/* The end is where read(2) says so; a full buffer is asked for one byte more. */
static int read_all(int fd, struct adit_buf *out, int *sys_errno)
{
    for (;;) {
        char extra;
        size_t room = out->max - out->len;
        size_t step = out->len > READ_STEP ? out->len : READ_STEP;
        if (step > room)
            step = room;
        int rc = adit_buf_reserve(out, step);
        if (rc)
            return rc;
        ssize_t n = step ? read(fd, adit_buf_tail(out), step) : read(fd, &extra, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *sys_errno = errno;
            return ADIT_ERR_IO;
        }
        if (n == 0)
            return 0;
        if (step == 0)
            return ADIT_ERR_LIMIT;
        adit_buf_added(out, (size_t)n);
    }
}

int adit_file_read(int dir_fd, const char *path, struct adit_buf *out, struct adit_err *err)
{
    int sys_errno = 0;
    size_t len_before = out->len;
    /* O_NONBLOCK: a FIFO planted in place of the file must not stop the caller. */
    ADIT_CLEANUP_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", path);

    int rc = read_all(fd, out, &sys_errno);
    if (!rc)
        return 0;
    out->len = len_before;
    if (sys_errno)
        return adit_err_sys(err, sys_errno, "read %s", path);
    if (rc == ADIT_ERR_LIMIT)
        return adit_err_set(err, rc, "read %s: larger than %zu bytes", path, out->max);
    return adit_err_set(err, rc, "read %s: out of memory", path);
}

/* Return: 0 or errno. */
static int write_all(int fd, struct adit_view content)
{
    while (content.len) {
        ssize_t n = write(fd, content.ptr, content.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        content.ptr += n;
        content.len -= (size_t)n;
    }
    return 0;
}

/* Return: 0 or errno. */
static int write_new(int dir_fd, const char *path, struct adit_view content, mode_t mode,
                     bool is_lazy)
{
    int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int failed = write_all(fd, content);
    if (!failed && (fchmod(fd, mode) || (!is_lazy && fsync(fd))))
        failed = errno;
    if (close(fd) && !failed)
        failed = errno;
    return failed;
}

/* Make the directory that holds @path keep what was renamed in it. Return: 0 or errno. */
static int sync_parent(int dir_fd, const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;

    if (len >= sizeof parent)
        return ENAMETOOLONG;
    memcpy(parent, path, len);
    memcpy(parent + len, ".", 2);
    ADIT_CLEANUP_CLOSE int fd = openat(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? errno : 0;
}

static int replace(int dir_fd, const char *path, struct adit_view content, mode_t mode,
                   bool is_lazy, struct adit_err *err)
{
    char temp[PATH_MAX], tag[17];
    adit_rand_hex(tag, 8);
    int len = snprintf(temp, sizeof temp, "%s.%s.tmp", path, tag);
    if (len < 0 || (size_t)len >= sizeof temp)
        return adit_err_sys(err, ENAMETOOLONG, "replace %s", path);

    int failed = write_new(dir_fd, temp, content, mode, is_lazy);
    if (!failed && renameat(dir_fd, temp, dir_fd, path))
        failed = errno;
    if (failed) {
        if (failed != EEXIST)
            (void)unlinkat(dir_fd, temp, 0); /* it may not have come to be */
        return adit_err_sys(err, failed, "replace %s", path);
    }
    if (is_lazy)
        return 0;
    failed = sync_parent(dir_fd, path);
    return failed ? adit_err_sys(err, failed, "sync the directory of %s", path) : 0;
}

int adit_file_replace(int dir_fd, const char *path, struct adit_view content, mode_t mode,
                      struct adit_err *err)
{
    return replace(dir_fd, path, content, mode, false, err);
}

int adit_file_replace_lazy(int dir_fd, const char *path, struct adit_view content, mode_t mode,
                           struct adit_err *err)
{
    return replace(dir_fd, path, content, mode, true, err);
}

int adit_file_mkdirs(const char *path, mode_t mode, struct adit_err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof part)
        return adit_err_sys(err, ENAMETOOLONG, "make directory %s", path);

    for (size_t end = 1; end <= len; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        if (mkdir(part, mode) && errno != EEXIST)
            return adit_err_sys(err, errno, "make directory %s", part);
    }
    struct stat st;
    if (stat(path, &st))
        return adit_err_sys(err, errno, "make directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return adit_err_sys(err, ENOTDIR, "make directory %s", path);
    return 0;
}

/* @name: of this directory in the one above. @passes: times it was read again. */
struct level {
    DIR *dir;
    unsigned passes;
    char name[NAME_MAX + 1];
};

/* @top_fd: borrowed, holds the first level. @moved: something was moved into the first level since
 * that was last read from its start. */
struct removal {
    int top_fd;
    size_t depth;
    bool moved;
    struct level levels[DEPTH_MAX];
};

/* For kernels without openat2 (before 5.6, some sandboxes): the device number tells mounts apart,
 * except bind mounts of the same file system. Return: descriptor or -1 with errno. */
static int open_dir_by_device(int dir_fd, const char *name, int flags)
{
    struct stat above, below;
    int fd = openat(dir_fd, name, flags);
    if (fd < 0)
        return -1;
    if (fstat(dir_fd, &above) == 0 && fstat(fd, &below) == 0 && above.st_dev == below.st_dev)
        return fd;
    (void)close(fd); /* opened for reading only */
    errno = EXDEV;
    return -1;
}

static int open_dir(int dir_fd, const char *name)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
    if (fd < 0 && errno == ENOSYS)
        return open_dir_by_device(dir_fd, name, (int)how.flags);
    return (int)fd;
}

/* The descriptor of the directory that is @above levels over the current one. */
static int level_fd(const struct removal *r, size_t above)
{
    return r->depth > above ? dirfd(r->levels[r->depth - above - 1].dir) : r->top_fd;
}

/* Return: 0 or errno; a directory that vanished is no error. */
static int enter(struct removal *r, const char *name)
{
    struct level *level = &r->levels[r->depth];
    size_t len = strlen(name);
    if (len >= sizeof level->name)
        return ENAMETOOLONG;
    int fd = open_dir(level_fd(r, 0), name);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    level->dir = fdopendir(fd);
    if (!level->dir) {
        int failed = errno;
        (void)close(fd); /* opened for reading only */
        return failed;
    }
    memcpy(level->name, name, len + 1);
    level->passes = 0;
    r->depth++;
    return 0;
}

/* Return: 0 or errno. */
static int move_to_first_level(struct removal *r, const char *name)
{
    char fresh[] = ".removing-0123456789abcdef";
    adit_rand_hex(fresh + sizeof fresh - 17, 8);
    r->moved = true;
    if (renameat(level_fd(r, 0), name, dirfd(r->levels[0].dir), fresh) && errno != ENOENT)
        return errno;
    return 0;
}

/* Remove what can be removed at once; go into a directory that is not empty. Return: 0 or errno. */
static int remove_entry(struct removal *r, const char *name, bool is_dir)
{
    int dir_fd = level_fd(r, 0);
    if (!is_dir) {
        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
            return 0;
        if (errno != EISDIR)
            return errno;
    }
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return errno;
    return r->depth < DEPTH_MAX ? enter(r, name) : move_to_first_level(r, name);
}

/* The current directory was read to its end. Return: 0 or errno; ENOTEMPTY: others keep filling it.
 */
static int leave(struct removal *r)
{
    struct level *level = &r->levels[r->depth - 1];
    if (unlinkat(level_fd(r, 1), level->name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        (void)closedir(level->dir); /* opened for reading only */
        r->depth--;
        return 0;
    }
    if (errno != ENOTEMPTY && errno != EEXIST)
        return errno;
    if (r->depth == 1 && r->moved)
        r->moved = false;
    else if (++level->passes > PASS_MAX)
        return ENOTEMPTY;
    rewinddir(level->dir);
    return 0;
}

/* Return: 0 or errno. */
static int remove_next(struct removal *r)
{
    errno = 0;
    const struct dirent *entry = readdir(r->levels[r->depth - 1].dir);
    if (!entry)
        return errno ? errno : leave(r);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return 0;
    return remove_entry(r, entry->d_name, entry->d_type == DT_DIR);
}

static bool is_component(const char *name)
{
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

int adit_file_remove_tree(int dir_fd, const char *name, struct adit_err *err)
{
    struct removal r;
    r.top_fd = dir_fd;
    r.depth = 0;
    r.moved = false;
    if (!is_component(name))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "remove %s: not one path component", name);

    int failed = remove_entry(&r, name, false);
    while (!failed && r.depth)
        failed = remove_next(&r);
    while (r.depth)
        (void)closedir(r.levels[--r.depth].dir); /* opened for reading only */
    if (failed == ENOTEMPTY)
        return adit_err_set(err, ADIT_ERR_CONFLICT, "remove %s: others keep filling it", name);
    return failed ? adit_err_sys(err, failed, "remove %s", name) : 0;
}
