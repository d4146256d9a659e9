/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a file in place, whole or not at all. */
/*
 * Theory of operation
 *
 * Content is gathered first: in memory up to PLACE_SMALL_MAX, beyond it in a file that has no name
 * (O_TMPFILE), so that a broken upload or a killed envd leaves nothing behind. The commit then
 * takes one of three ways:
 *
 *   new name         the nameless file gets the name (linkat), all at once
 *   small, existing  one pwrite over the old bytes, then ftruncate: the inode, its links, mode and
 *                    open descriptors stay. When the write fails, the bytes that it covered are
 *                    written back; those blocks exist, so that needs no space.
 *   large, existing  the nameless file gets a name for a moment and is renamed over the old one
 *
 * A reader of a new or a large file never sees a part of it. Watchers count on a CHMOD and a WRITE
 * event under the file's name; linkat and rename give neither, so announce() makes them without
 * changing anything.
 *
 * The nameless file is made in "/" where that is the same mount: writing to it is visible to
 * watchers of its directory under an odd name, and "/" is the least watched one.
 *
 * Two commits that meet come out as one after the other. linkat and rename see to that themselves;
 * the steps of an in-place commit are done under a lock that commits to the same inode share.
 *
 * Limits: PLACE_SMALL_MAX in memory, one descriptor.
 *
 * Failure: where the file system has no O_TMPFILE the file has a hidden name from the start, and
 * only a kill of envd can leave that behind; in "/" place_clean() removes it at the next start. A
 * target that is a mount point cannot be renamed over and is copied into.
 */
#include "envd/filesystem/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rand.h"
#include "envd/failure.h"
#include "envd/paths.h"

#define FILE_MODE 0644
#define COPY_STEP (256u * 1024)
#define INODE_LOCK_CNT 16

static int no_memory(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
}

/* The words for a failed write of @len bytes. */
static int write_failure(struct adit_err *err, const char *path, size_t len, int sys_errno)
{
    struct statvfs fs;
    if (sys_errno != ENOSPC && sys_errno != EDQUOT)
        return failure_as(err, ADIT_ERR_IO, sys_errno, "error writing file");
    if (statvfs(path, &fs) == 0 && fs.f_files > 0 && fs.f_favail == 0)
        return failure_as(err, ADIT_ERR_NO_SPACE, sys_errno, "not enough inodes available");
    return failure_as(err, ADIT_ERR_NO_SPACE, sys_errno,
                      "not enough disk space available: attempted to write %zu bytes", len);
}

/* Return: 0 or errno. */
static int write_at(int fd, struct adit_view bytes, off_t at)
{
    while (bytes.len) {
        ssize_t n = pwrite(fd, bytes.ptr, bytes.len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        bytes.ptr += n;
        bytes.len -= (size_t)n;
        at += n;
    }
    return 0;
}

/* ---- beginning ---- */

/* Replace the link at @path, of which @text is the content, by what it names. */
static int follow_link(char path[PATH_MAX], const char *text)
{
    char next[PATH_MAX];
    struct adit_view dir = paths_dir_name(adit_view_str(path));
    int len = text[0] == '/' ? snprintf(next, sizeof next, "%s", text)
                             : snprintf(next, sizeof next, "%.*s/%s", ADIT_VIEW_ARG(dir), text);
    if (len < 0 || (size_t)len >= sizeof next)
        return ENAMETOOLONG;
    memcpy(path, next, (size_t)len + 1);
    return 0;
}

/* The name that is meant by @path: symlinks at its end are followed, also to a name that does not
 * exist yet. Return: 0 or errno. */
static int resolve_links(char path[PATH_MAX])
{
    for (int i = 0; i <= PLACE_LINKS_MAX; i++) {
        char text[PATH_MAX];
        ssize_t n = readlink(path, text, sizeof text - 1);
        if (n < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : errno;
        text[n] = '\0';
        int failed = follow_link(path, text);
        if (failed)
            return failed;
    }
    return ELOOP;
}

static int check_target(const char *path, struct adit_err *err)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : failure_as(err, ADIT_ERR_IO, errno, "error getting file info");
    if (S_ISDIR(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is a directory: %s", path);
    if (!S_ISREG(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is not a regular file: %s", path);
    return 0;
}

static int ensure_parents(const char *path, struct tree_owner owner, struct adit_err *err)
{
    int rc = tree_make_parents(path, owner, err);
    if (!rc)
        return 0;
    if (rc != ADIT_ERR_NO_SPACE && rc != ADIT_ERR_NO_MEMORY && err)
        err->code = ADIT_ERR_IO;
    (void)adit_err_wrap(err, "error ensuring directories"); /* the code is the same */
    return err ? err->code : rc;
}

int place_init(struct place *p, const struct place_conf *conf, const char *path,
               struct adit_err *err)
{
    char target[PATH_MAX];
    size_t len = strlen(path);

    memset(p, 0, sizeof *p);
    p->fd = -1;
    p->conf = *conf;
    adit_buf_init(&p->held, PLACE_SMALL_MAX);
    if (len >= sizeof target)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is too long");
    int rc = ensure_parents(path, conf->owner, err);
    if (rc)
        return rc;
    /* "x/" names a directory, existing or not */
    if (len == 0 || path[len - 1] == '/')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is a directory: %s", path);
    memcpy(target, path, len + 1);
    int failed = resolve_links(target);
    if (failed)
        return failure_as(err, ADIT_ERR_IO, failed, "error getting file info: %s", path);
    rc = check_target(target, err);
    if (rc)
        return rc;
    p->target = strdup(target);
    return p->target ? 0 : no_memory(err);
}

/* ---- the file without a name ---- */

/* Are both paths on one mount, so that a link can lead from one to the other? */
static bool is_same_mount(const char *a, const char *b)
{
    struct statx x, y;
    return statx(AT_FDCWD, a, 0, STATX_MNT_ID, &x) == 0 &&
           statx(AT_FDCWD, b, 0, STATX_MNT_ID, &y) == 0 && (x.stx_mask & STATX_MNT_ID) &&
           x.stx_mnt_id == y.stx_mnt_id;
}

/* A random hidden name in @dir. Return: NULL without memory. */
static char *temp_name(const char *dir)
{
    char tag[17], *name;
    adit_rand_hex(tag, 8);
    const char *slash = dir[strlen(dir) - 1] == '/' ? "" : "/";
    return asprintf(&name, "%s%s%s%s", dir, slash, PLACE_TEMP_PREFIX, tag) < 0 ? NULL : name;
}

/* Where the file is until it has its name. Return: NULL without memory. */
static char *staging_dir(const struct place *p)
{
    char *dir = adit_view_dup(paths_dir_name(adit_view_str(p->target)));
    if (dir && is_same_mount("/", dir))
        dir[1] = '\0'; /* an absolute path begins with "/" */
    return dir;
}

static bool is_without_tmpfile(int sys_errno)
{
    return sys_errno == EOPNOTSUPP || sys_errno == EISDIR || sys_errno == EINVAL;
}

static int open_staging(struct place *p, struct adit_err *err)
{
    ADIT_CLEANUP_FREE char *dir = staging_dir(p);
    if (!dir)
        return no_memory(err);
    p->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
    if (p->fd < 0 && is_without_tmpfile(errno)) {
        p->temp = temp_name(dir);
        if (!p->temp)
            return no_memory(err);
        p->fd = open(p->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    }
    if (p->fd >= 0)
        return 0;
    int failed = errno;
    free(adit_steal(&p->temp));
    return write_failure(err, dir, p->held.len, failed);
}

/* Move what is held in memory to the file. */
static int spill(struct place *p, struct adit_err *err)
{
    if (p->fd >= 0)
        return 0;
    int rc = open_staging(p, err);
    if (rc)
        return rc;
    int failed = write_at(p->fd, adit_buf_view(&p->held), 0);
    if (failed)
        return write_failure(err, p->target, p->held.len, failed);
    adit_buf_fini(&p->held);
    adit_buf_init(&p->held, PLACE_SMALL_MAX);
    return 0;
}

int place_write(struct place *p, struct adit_view bytes, struct adit_err *err)
{
    if (p->fd < 0 && !p->conf.spill && bytes.len <= PLACE_SMALL_MAX - p->held.len) {
        if (adit_buf_append_view(&p->held, bytes))
            return no_memory(err);
        p->size += bytes.len;
        return 0;
    }
    int rc = spill(p, err);
    if (rc)
        return rc;
    int failed = write_at(p->fd, bytes, (off_t)p->size);
    if (failed)
        return write_failure(err, p->target, bytes.len, failed);
    p->size += bytes.len;
    return 0;
}

size_t place_held(const struct place *p)
{
    return p->held.len;
}

/* ---- the commit ---- */

/* Owner, mode and metadata of the file that is to appear. @old: what it replaces, or NULL. */
static int dress(struct place *p, const struct stat *old, struct adit_err *err)
{
    if (fchown(p->fd, p->conf.owner.uid, p->conf.owner.gid))
        return failure_as(err, ADIT_ERR_IO, errno, "error changing file ownership");
    if (fchmod(p->fd, old ? old->st_mode & 07777 : FILE_MODE))
        return failure_as(err, ADIT_ERR_IO, errno, "error changing file mode");
    int rc = metadata_replace(p->fd, p->conf.metadata, &p->metadata_stored, err);
    if (rc)
        return rc;
    if (p->conf.fsync && fsync(p->fd))
        return write_failure(err, p->target, (size_t)p->size, errno);
    return 0;
}

/* Give the nameless file the name @path. AT_EMPTY_PATH needs a capability of the initial user
 * namespace; the other way needs /proc. Return: 0 or errno. */
static int link_fd(int fd, const char *path)
{
    char self[64];
    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOENT && errno != EPERM)
        return errno;
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd); /* fits */
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) ? errno : 0;
}

/* Let watchers see CHMOD and WRITE under the file's name. Best effort: the file is complete. */
static void announce(const struct place *p)
{
    struct stat mine, named;
    ADIT_CLEANUP_CLOSE int fd = open(p->target, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(p->fd, &mine) || fstat(fd, &named) || mine.st_ino != named.st_ino ||
        mine.st_dev != named.st_dev)
        return;
    (void)!fchown(fd, named.st_uid, named.st_gid); /* what they are already */
    if (named.st_size > 0)
        (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1); /* allocated already */
}

/* Make the name last. Return: 0 or errno. */
static int sync_dir(const struct place *p)
{
    if (!p->conf.fsync)
        return 0;
    ADIT_CLEANUP_FREE char *dir = adit_view_dup(paths_dir_name(adit_view_str(p->target)));
    ADIT_CLEANUP_CLOSE int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return fd < 0 || fsync(fd) ? errno : 0;
}

/* Give the nameless file a name for a moment, so that it can be renamed. */
static int name_temporarily(struct place *p, struct adit_err *err)
{
    if (p->temp)
        return 0;
    ADIT_CLEANUP_FREE char *dir = staging_dir(p);
    p->temp = dir ? temp_name(dir) : NULL;
    if (!p->temp)
        return no_memory(err);
    int failed = link_fd(p->fd, p->temp);
    if (!failed)
        return 0;
    free(adit_steal(&p->temp));
    return write_failure(err, p->target, (size_t)p->size, failed);
}

/* For a target that is a mount point: reserve the space, then copy. */
static int copy_over(struct place *p, struct adit_err *err)
{
    off_t from = 0;
    ADIT_CLEANUP_CLOSE int fd = open(p->target, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fchown(fd, p->conf.owner.uid, p->conf.owner.gid))
        return failure_as(err, ADIT_ERR_IO, errno, "error opening file");
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)p->size) && errno == ENOSPC)
        return write_failure(err, p->target, (size_t)p->size, ENOSPC);
    while ((uint64_t)from < p->size) {
        ssize_t n = sendfile(fd, p->fd, &from, COPY_STEP);
        if (n <= 0)
            return write_failure(err, p->target, (size_t)p->size, n < 0 ? errno : EIO);
    }
    if (ftruncate(fd, (off_t)p->size) || (p->conf.fsync && fsync(fd)))
        return write_failure(err, p->target, (size_t)p->size, errno);
    return metadata_replace(fd, p->conf.metadata, &p->metadata_stored, err);
}

static int replace_large(struct place *p, const struct stat *old, struct adit_err *err)
{
    int rc = dress(p, old, err);
    if (!rc)
        rc = name_temporarily(p, err);
    if (rc)
        return rc;
    if (rename(p->temp, p->target)) {
        int failed = errno;
        if (failed == EBUSY)
            return copy_over(p, err);
        return write_failure(err, p->target, (size_t)p->size, failed);
    }
    free(adit_steal(&p->temp));
    announce(p);
    int failed = sync_dir(p);
    return failed ? write_failure(err, p->target, (size_t)p->size, failed) : 0;
}

/* *exists: somebody else was faster, and the target is to be replaced now. */
static int appear(struct place *p, bool *exists, struct adit_err *err)
{
    int rc = spill(p, err);
    if (!rc)
        rc = dress(p, NULL, err);
    if (rc)
        return rc;
    int failed = p->temp ? (rename(p->temp, p->target) ? errno : 0) : link_fd(p->fd, p->target);
    *exists = failed == EEXIST;
    if (*exists)
        return 0;
    if (!failed) {
        free(adit_steal(&p->temp));
        announce(p);
        failed = sync_dir(p);
    }
    return failed ? write_failure(err, p->target, (size_t)p->size, failed) : 0;
}

/* ---- the commit in place ---- */

/* Chosen by inode number; different inodes may share one. */
static pthread_mutex_t inode_locks[INODE_LOCK_CNT] = {
    [0 ... INODE_LOCK_CNT - 1] = PTHREAD_MUTEX_INITIALIZER,
};

/* What an in-place write must be able to give back. */
struct saved {
    struct stat st;
    char *bytes;
    size_t len;
};

/* Return: 0 or errno. */
static int save(int fd, size_t len, struct saved *s)
{
    if ((off_t)len > s->st.st_size)
        len = (size_t)s->st.st_size;
    s->bytes = malloc(len + 1);
    if (!s->bytes)
        return ENOMEM;
    while (s->len < len) {
        ssize_t n = pread(fd, s->bytes + s->len, len - s->len, (off_t)s->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break; /* shorter than it said, as files of procfs are */
        s->len += (size_t)n;
    }
    return 0;
}

/* Best effort, but for blocks that exist already. */
static void give_back(int fd, const struct saved *s)
{
    (void)write_at(fd, adit_view_mem(s->bytes, s->len), 0);
    (void)!ftruncate(fd, s->st.st_size);
    (void)!fchown(fd, s->st.st_uid, s->st.st_gid);
    (void)fchmod(fd, s->st.st_mode & 07777); /* chown takes the set-id bits off */
}

/* The order is what watchers count on: CHMOD, WRITE, WRITE. */
static int overwrite_fd(struct place *p, int fd, struct saved *s, struct adit_err *err)
{
    struct adit_view content = adit_buf_view(&p->held);

    int failed = save(fd, content.len, s);
    if (failed)
        return failure_as(err, ADIT_ERR_IO, failed, "error reading file");
    if (fchown(fd, p->conf.owner.uid, p->conf.owner.gid))
        return failure_as(err, ADIT_ERR_IO, errno, "error changing file ownership");
    failed = write_at(fd, content, 0);
    int rc = failed ? write_failure(err, p->target, content.len, failed)
                    : metadata_replace(fd, p->conf.metadata, &p->metadata_stored, err);
    /* last, because what it cuts off cannot be given back */
    if (!rc && (ftruncate(fd, (off_t)content.len) || (p->conf.fsync && fsync(fd))))
        rc = write_failure(err, p->target, content.len, errno);
    if (rc)
        give_back(fd, s);
    return rc;
}

static int overwrite(struct place *p, struct adit_err *err)
{
    struct saved s = {0};
    ADIT_CLEANUP_CLOSE int fd = open(p->target, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && (errno == ENOSPC || errno == EDQUOT)) /* an overlay copies up now */
        return write_failure(err, p->target, p->held.len, errno);
    if (fd < 0 || fstat(fd, &s.st))
        return failure_as(err, ADIT_ERR_IO, errno, "error opening file");
    if (!S_ISREG(s.st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is not a regular file: %s", p->target);
    pthread_mutex_t *lock = &inode_locks[s.st.st_ino % INODE_LOCK_CNT];
    (void)pthread_mutex_lock(lock); /* fails only for a bad lock */
    int rc = fstat(fd, &s.st) ? failure_as(err, ADIT_ERR_IO, errno, "error getting file info")
                              : overwrite_fd(p, fd, &s, err);
    (void)pthread_mutex_unlock(lock);
    free(s.bytes);
    return rc;
}

/* Take small content that was spilled back into memory. */
static int unspill(struct place *p, struct adit_err *err)
{
    while (p->held.len < p->size) {
        size_t missing = (size_t)p->size - p->held.len;
        if (adit_buf_reserve(&p->held, missing))
            return no_memory(err);
        ssize_t n = pread(p->fd, adit_buf_tail(&p->held), missing, (off_t)p->held.len);
        if (n <= 0)
            return failure_as(err, ADIT_ERR_IO, n < 0 ? errno : EIO, "error reading file");
        adit_buf_added(&p->held, (size_t)n);
    }
    return 0;
}

static int replace(struct place *p, const struct stat *old, struct adit_err *err)
{
    if (p->size > PLACE_SMALL_MAX)
        return replace_large(p, old, err);
    int rc = unspill(p, err);
    return rc ? rc : overwrite(p, err);
}

int place_commit(struct place *p, struct adit_err *err)
{
    struct stat old;
    bool exists = lstat(p->target, &old) == 0;

    if (!exists) {
        int rc = appear(p, &exists, err);
        if (rc || !exists)
            return rc;
        if (lstat(p->target, &old))
            return failure_as(err, ADIT_ERR_IO, errno, "error getting file info");
    }
    int rc = check_target(p->target, err);
    return rc ? rc : replace(p, &old, err);
}

void place_fini(struct place *p)
{
    adit_buf_fini(&p->held);
    if (p->fd >= 0)
        (void)close(p->fd); /* committed or unwanted */
    p->fd = -1;
    if (p->temp)
        (void)unlink(p->temp); /* it may be gone with its directory */
    free(adit_steal(&p->temp));
    free(adit_steal(&p->target));
}

void place_clean(void)
{
    DIR *dir = opendir("/");
    const struct dirent *d;
    while (dir && (d = readdir(dir))) {
        if (strncmp(d->d_name, PLACE_TEMP_PREFIX, sizeof PLACE_TEMP_PREFIX - 1) == 0 &&
            strlen(d->d_name) == PLACE_TEMP_NAME_CAP - 1)
            (void)unlinkat(dirfd(dir), d->d_name, 0); /* a directory of that name is not ours */
    }
    if (dir)
        (void)closedir(dir); /* opened for reading only */
}
