/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty root.
 *
 * Theory of operation
 *
 * What: a small tmpfs becomes the root of this process's mount namespace; in it, at their old
 * paths, are detached clones of the few directories and files that are needed; the old root is
 * taken away. So a path means afterwards what it meant before, or nothing. Order: all clones are
 * made first, because the stage covers a directory that may hold some of them. What is mounted on
 * the host later is not seen. Flags: nothing in it can be executed or be a device but where the
 * mount says so, and nothing changes a user.
 */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define STAGE_DIR "/tmp"
#define MOUNTS_MAX 32

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

/* Without a sanitizer nothing is added. */
static const struct confine_mount sanitizer_mounts[] = {{.path = "/proc"}};

static int clone_tree(const struct confine_mount *m, int *tree, struct adit_err *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID |
                                          (m->is_writable ? 0 : MOUNT_ATTR_RDONLY) |
                                          (m->has_programs ? 0 : MOUNT_ATTR_NOEXEC) |
                                          (m->has_devices ? 0 : MOUNT_ATTR_NODEV)};
    *tree = (int)syscall(SYS_open_tree, AT_FDCWD, m->path,
                         OPEN_TREE_CLONE | AT_RECURSIVE | (unsigned)O_CLOEXEC);
    if (*tree < 0 ||
        syscall(SYS_mount_setattr, *tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)))
        return adit_err_sys(err, errno, "clone the mount of %s", m->path);
    return 0;
}

/* The place to attach @tree at, with the directories that lead to it. Those that an earlier mount
 * brought are there already. */
static int make_place(const char *path, int tree, struct adit_err *err)
{
    char part[PATH_MAX];
    struct stat st;
    size_t len = strlen(path);
    if (len >= sizeof(part) || fstat(tree, &st))
        return adit_err_set(err, ADIT_ERR_LIMIT, "path %s", path);
    memcpy(part, path, len + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        if (mkdir(part + 1, 0755) && errno != EEXIST)
            return adit_err_sys(err, errno, "make %s", part);
    }
    int rc = S_ISDIR(st.st_mode) ? mkdir(part + 1, 0755) : mknod(part + 1, S_IFREG | 0444, 0);
    return rc && errno != EEXIST ? adit_err_sys(err, errno, "make %s", part) : 0;
}

static int attach(const char *path, int tree, struct adit_err *err)
{
    int rc = make_place(path, tree, err);
    if (rc == 0 && syscall(SYS_move_mount, tree, "", AT_FDCWD, path + 1, MOVE_MOUNT_F_EMPTY_PATH))
        rc = adit_err_sys(err, errno, "attach %s", path);
    return rc;
}

static int enter_stage(struct adit_err *err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("root", STAGE_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=1m") ||
        chdir(STAGE_DIR))
        return adit_err_sys(err, errno, "make an empty root");
    return 0;
}

static int leave_host(struct adit_err *err)
{
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              NULL))
        return adit_err_sys(err, errno, "leave the host's root");
    return 0;
}

int confine_root(const struct confine_mount *mounts, size_t cnt, struct adit_err *err)
{
    struct confine_mount all[MOUNTS_MAX];
    int trees[MOUNTS_MAX], rc = 0;
    size_t made = 0;
    if (cnt + 1 > MOUNTS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d mounts", MOUNTS_MAX - 1);
    memcpy(all, mounts, cnt * sizeof(*mounts));
    if (CONFINE_IS_SANITIZED)
        all[cnt++] = sanitizer_mounts[0];
    while (rc == 0 && made < cnt) {
        rc = clone_tree(&all[made], &trees[made], err);
        made += trees[made] >= 0;
    }
    if (rc == 0)
        rc = enter_stage(err);
    mode_t was = umask(022);
    for (size_t i = 0; rc == 0 && i < cnt; i++)
        rc = attach(all[i].path, trees[i], err);
    (void)umask(was);
    while (made > 0)
        (void)close(trees[--made]); /* a mount's descriptor */
    return rc ? rc : leave_host(err);
}
