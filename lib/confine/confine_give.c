/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing a directory's files over to another user.
 *
 * Theory of operation
 *
 * What: a program that was root in an earlier version, or another user, left files that the new one
 * must be able to write. Trust: the tree belonged to a process that reads bytes of strangers, so it
 * is taken for hostile: one component at a time by openat2 without symlinks and without crossing
 * mounts, the owner changed by descriptor, a file with a second name left alone, since that could
 * be somebody else's file. Limits: CONFINE_GIVE_DEPTH directories deep.
 */
#include "confine/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static int open_entry(int dir_fd, const char *name, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
}

static bool is_skipped(const char *name, const char *const *skip)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    for (; *skip; skip++)
        if (strcmp(name, *skip) == 0)
            return true;
    return false;
}

/* Files, sockets and FIFOs with one name, and directories. */
static bool is_ours_to_give(const struct stat *st)
{
    return S_ISDIR(st->st_mode) ||
           ((S_ISREG(st->st_mode) || S_ISSOCK(st->st_mode) || S_ISFIFO(st->st_mode)) &&
            st->st_nlink == 1);
}

static int give_dir(int dir_fd, const char *const *skip, const struct confine_user *user, int depth,
                    struct adit_err *err);

static int give_entry(int dir_fd, const char *name, const char *const *skip,
                      const struct confine_user *user, int depth, struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open_entry(dir_fd, name, O_PATH);
    if (fd < 0 && (errno == ELOOP || errno == EXDEV || errno == ENOENT))
        return 0;
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "open %s", name);
    if (!is_ours_to_give(&st))
        return 0;
    if ((st.st_uid != user->uid || st.st_gid != user->gid) &&
        fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH))
        return adit_err_sys(err, errno, "give %s to user %u", name, user->uid);
    if (!S_ISDIR(st.st_mode) || depth == CONFINE_GIVE_DEPTH)
        return 0;
    ADIT_CLEANUP_CLOSE int dir = open_entry(fd, ".", O_RDONLY | O_DIRECTORY);
    if (dir < 0)
        return adit_err_sys(err, errno, "open %s", name);
    return give_dir(dir, skip, user, depth + 1, err);
}

static int give_dir(int dir_fd, const char *const *skip, const struct confine_user *user, int depth,
                    struct adit_err *err)
{
    int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    int rc = 0;
    if (!dir) {
        rc = adit_err_sys(err, errno, "read a directory");
        if (copy >= 0)
            (void)close(copy); /* only read */
        return rc;
    }
    while (rc == 0 && (entry = readdir(dir)))
        if (!is_skipped(entry->d_name, skip))
            rc = give_entry(dir_fd, entry->d_name, skip, user, depth, err);
    (void)closedir(dir); /* only read */
    return rc;
}

int confine_give_tree(int dir_fd, const char *const *skip, const struct confine_user *user,
                      struct adit_err *err)
{
    return give_dir(dir_fd, skip, user, 1, err);
}
