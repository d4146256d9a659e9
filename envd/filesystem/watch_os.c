/* SPDX-License-Identifier: Apache-2.0 */
/* What watched trees ask of the kernel. */
/*
 * Theory of operation
 *
 * Thin calls of inotify(7), readdir(3) and statfs(2). Below its root a tree follows no symlink, and
 * does not go into network mounts unless they are allowed, nor into /proc, /sys and control groups:
 * those have tens of thousands of directories, and nothing in them makes events.
 *
 * Limits: the kernel's: fs.inotify.max_user_instances (one for envd), fs.inotify.max_user_watches.
 */
#include "envd/filesystem/watch_os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "envd/failure.h"

#define MASK                                                                                       \
    (IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVED_TO | IN_MOVED_FROM |            \
     IN_MOVE_SELF | IN_ATTRIB)

bool watch_os_is_network(unsigned long type)
{
    return type == NFS_SUPER_MAGIC || type == CIFS_SUPER_MAGIC || type == SMB_SUPER_MAGIC ||
           type == SMB2_SUPER_MAGIC || type == FUSE_SUPER_MAGIC;
}

/* Does the kernel make it up? Nothing is ever told of it then. */
static bool is_made_up(unsigned long type)
{
    return type == PROC_SUPER_MAGIC || type == SYSFS_MAGIC || type == CGROUP_SUPER_MAGIC ||
           type == CGROUP2_SUPER_MAGIC;
}

int watch_os_check(const char *path, bool allows_network, struct adit_err *err)
{
    struct stat st;
    struct statfs fs;

    if (stat(path, &st)) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        return failure_as(err, is_missing ? ADIT_ERR_NOT_FOUND : ADIT_ERR_IO, errno,
                          is_missing ? "path %s not found: stat %s"
                                     : "error statting path %s: stat %s",
                          path, path);
    }
    if (!S_ISDIR(st.st_mode))
        return failure_as(err, ADIT_ERR_BAD_INPUT, ENOTDIR, "path %s not a directory", path);
    if (allows_network)
        return 0;
    if (statfs(path, &fs))
        return failure_as(err, ADIT_ERR_IO, errno, "error checking mount status");
    if (watch_os_is_network((unsigned long)fs.f_type))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "cannot watch path on network filesystem: %s",
                            path);
    return 0;
}

static int add(struct watch_os *os, const char *path, bool is_root)
{
    struct watch_kernel *k = ADIT_CONTAINER_OF(os, struct watch_kernel, os);
    int wd = inotify_add_watch(k->fd, path, MASK | IN_ONLYDIR | (is_root ? 0 : IN_DONT_FOLLOW));
    return wd < 0 ? -errno : wd;
}

static void stop(struct watch_os *os, int wd)
{
    struct watch_kernel *k = ADIT_CONTAINER_OF(os, struct watch_kernel, os);
    (void)inotify_rm_watch(k->fd, wd); /* it ends by itself with its directory */
}

static bool goes_into(int fd, enum watch_place place)
{
    struct statfs fs;
    if (place == WATCH_ROOT || fstatfs(fd, &fs))
        return true;
    unsigned long type = (unsigned long)fs.f_type;
    return !is_made_up(type) && (place == WATCH_INNER || !watch_os_is_network(type));
}

static bool is_dir(DIR *dir, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type == DT_DIR;
    return fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int list(struct watch_os *os, const char *path, enum watch_place place,
                watch_tree_name_fn on_name, void *arg)
{
    const struct dirent *d;
    int fd =
        open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place == WATCH_ROOT ? 0 : O_NOFOLLOW));
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    (void)os; /* needs nothing of it */

    if (fd < 0)
        return -errno;
    if (!dir) {
        (void)close(fd); /* opened for reading only */
        return -ENOMEM;
    }
    bool goes_on = goes_into(fd, place);
    int failed = 0;
    while (goes_on) {
        errno = 0;
        d = readdir(dir);
        failed = d ? 0 : errno;
        bool is_self = d && (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0);
        goes_on = d && (is_self || on_name(arg, d->d_name, is_dir(dir, d)));
    }
    (void)closedir(dir); /* opened for reading only */
    return -failed;
}

static struct entry *look(struct watch_os *os, const char *path)
{
    struct watch_kernel *k = ADIT_CONTAINER_OF(os, struct watch_kernel, os);
    struct entry *e;
    if (!k->has_names)
        user_files_refresh(&k->names);
    k->has_names = true;
    return entry_new(path, &k->names, &e, NULL) ? NULL : e;
}

int watch_os_open(struct watch_kernel *k, struct adit_err *err)
{
    memset(k, 0, sizeof *k);
    k->os = (struct watch_os){add, stop, list, look};
    k->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (k->fd < 0 && errno == EMFILE)
        return adit_err_set(err, ADIT_ERR_LIMIT,
                            "error creating watcher: the limit fs.inotify.max_user_instances, or "
                            "that of open files, is reached");
    return k->fd < 0 ? failure_sys(err, errno, "error creating watcher") : 0;
}

void watch_os_close(struct watch_kernel *k)
{
    if (k->fd >= 0)
        (void)close(k->fd); /* nothing is written to it */
    k->fd = -1;
    user_files_fini(&k->names);
}
