/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of disk images.
 *
 * Theory of operation
 *
 * What:    an empty overlay disk of some GiB has a MiB of data. It is copied for every sandbox, so
 *          what counts is that: by reflink (FICLONE) where the file system has them, else extent by
 *          extent, in the kernel where it can (copy_file_range), else through a buffer.
 * Trust:   the image may hold anything: only its size and its extents matter. It must not be
 *          written to meanwhile, which root does not: images are replaced by rename.
 */
#include "broker/launcher/launch_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BUFFER_BYTES (64u << 10)

/* At most @len bytes at *@at, moved on. Return: false at the end of the file or with errno set. */
static bool copy_through_buffer(int from, int to, off_t *at, size_t len)
{
    char buffer[BUFFER_BYTES];
    ssize_t n = pread(from, buffer, len < sizeof(buffer) ? len : sizeof(buffer), *at);
    if (n <= 0 || pwrite(to, buffer, (size_t)n, *at) != n)
        return false;
    *at += n;
    return true;
}

/* Two file systems of different kinds cannot do it in the kernel, and some not at all. */
static bool is_refused(int error)
{
    return error == EXDEV || error == EINVAL || error == EOPNOTSUPP || error == ENOSYS;
}

static bool copy_extent(int from, int to, off_t at, off_t end)
{
    bool in_kernel = true;
    errno = 0;
    while (at < end) {
        off_t to_at = at;
        ssize_t n = in_kernel ? copy_file_range(from, &at, to, &to_at, (size_t)(end - at), 0) : 0;
        if (in_kernel && n < 0 && is_refused(errno))
            in_kernel = false;
        else if (in_kernel && n <= 0)
            return false;
        if (!in_kernel && !copy_through_buffer(from, to, &at, (size_t)(end - at)))
            return false;
    }
    return true;
}

static int copy_data(int from, int to, off_t size, struct adit_err *err)
{
    off_t at = 0, end = 0;
    while (end < size && (at = lseek(from, end, SEEK_DATA)) >= 0) {
        end = lseek(from, at, SEEK_HOLE);
        if (end < 0 || !copy_extent(from, to, at, end))
            return adit_err_sys(err, errno ? errno : EIO, "copy a disk image");
    }
    if (at < 0 && errno != ENXIO) /* else there is nothing but a hole to the end */
        return adit_err_sys(err, errno, "read a disk image");
    return 0;
}

int launch_disk_copy(int from_fd, int dir_fd, const char *name, int *out, struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int to =
        openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0 || fstat(from_fd, &st))
        return adit_err_sys(err, errno, "make %s", name);
    if (ioctl(to, FICLONE, from_fd)) {
        if (ftruncate(to, st.st_size))
            return adit_err_sys(err, errno, "make %s of %lld bytes", name, (long long)st.st_size);
        int rc = copy_data(from_fd, to, st.st_size, err);
        if (rc)
            return rc;
    }
    *out = adit_steal_fd(&to);
    return 0;
}
