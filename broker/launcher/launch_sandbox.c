/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every sandbox has, whoever makes it.
 *
 * Theory of operation
 *
 * What:    in <sandbox_dir> sockets, the console's FIFO and a folder of the sandbox's own; a
 * control group; a first process, which is known by its number and the time of its start. Trust:
 * <sandbox_dir> belongs to the broker, whose user may have put anything there: names are made anew,
 * exclusively, and as that user where they are its own; what is opened again is looked at. The
 * folder of the sandbox's own is root's. Failure: whatever was made, in part or whole, by whichever
 * driver, is removed by launch_sandbox_remove().
 */
#include "broker/launcher/launch_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* What one driver or another makes for the sandbox alone. */
#define FOLDERS_CNT 2
static const char *const folders[FOLDERS_CNT] = {LAUNCH_CONTAINER_NAME, LAUNCH_VM_NAME};

uid_t launch_sandbox_uid(const struct launch_request *r)
{
    return LAUNCH_UID_BASE + r->slot * LAUNCH_UID_CNT;
}

int launch_sandbox_check_new(int sandbox_fd, const char *sandbox_id, struct adit_err *err)
{
    for (size_t i = 0; i < FOLDERS_CNT; i++)
        if (faccessat(sandbox_fd, folders[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return adit_err_set(err, ADIT_ERR_EXISTS, "sandbox %s exists", sandbox_id);
    return 0;
}

int launch_sandbox_make_dir(int parent_fd, const char *name, mode_t mode, uid_t owner, int *out,
                            struct adit_err *err)
{
    if (mkdirat(parent_fd, name, mode))
        return adit_err_sys(err, errno, "make %s", name);
    *out = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*out < 0 || fchown(*out, owner, owner) || fchmod(*out, mode))
        return adit_err_sys(err, errno, "make %s", name);
    return 0;
}

/* Bound through the directory's descriptor: the path is not walked again. */
int launch_sandbox_listen(const struct launch_host *h, int sandbox_fd, const char *name, int *out,
                          struct adit_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ADIT_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return adit_err_sys(err, errno, "make a socket");
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", sandbox_fd,
                   name);
    /* As the broker, whose directory it is: it is his from the first moment on, and there is no
     * later step before which he could put something else in its place. None of this can fail. */
    mode_t was = umask(0177);
    (void)setfsgid(h->conf->gid);
    (void)setfsuid(h->conf->uid);
    int rc = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, SOMAXCONN)
                 ? adit_err_sys(err, errno, "listen on %s", name)
                 : 0;
    (void)setfsuid(0);
    (void)setfsgid(0);
    (void)umask(was);
    if (rc)
        return rc;
    *out = adit_steal_fd(&fd);
    return 0;
}

/* A sandbox's first process may be handed the FIFO's inode; its name stays behind the directory. */
int launch_sandbox_console(int sandbox_fd, int *out, struct adit_err *err)
{
    struct stat st;
    if (mkfifoat(sandbox_fd, LAUNCH_CONSOLE_NAME, 0600))
        return adit_err_sys(err, errno, "make %s", LAUNCH_CONSOLE_NAME);
    ADIT_CLEANUP_CLOSE int fd =
        openat(sandbox_fd, LAUNCH_CONSOLE_NAME, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "open %s", LAUNCH_CONSOLE_NAME);
    if (!S_ISFIFO(st.st_mode)) /* the broker could put something else into its directory */
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is no FIFO", LAUNCH_CONSOLE_NAME);
    if (fchmod(fd, 0666))
        return adit_err_sys(err, errno, "open %s", LAUNCH_CONSOLE_NAME);
    *out = adit_steal_fd(&fd);
    return 0;
}

int launch_sandbox_pid_start(pid_t pid, uint64_t *start, struct adit_err *err)
{
    char path[32];
    struct adit_buf text;
    struct adit_view rest, field = {NULL, 0};
    const char *name_end;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    adit_buf_init(&text, 4096);
    int rc = adit_file_read(AT_FDCWD, path, &text, err);
    rest = adit_buf_view(&text);
    /* Field 2 is the name in parentheses and may hold anything; field 3 follows the last ") ". */
    name_end = rc ? NULL : memrchr(rest.ptr, ')', rest.len);
    if (name_end)
        rest = adit_view_mem(name_end + 1, rest.len - (size_t)(name_end + 1 - rest.ptr));
    for (int i = 2; name_end && i <= 22; i++)
        if (!adit_view_split(rest, ' ', &field, &rest) && i < 22)
            name_end = NULL;
    if (!rc && (!name_end || adit_view_u64(field, UINT64_MAX, start)))
        rc = adit_err_set(err, ADIT_ERR_IO, "%s is malformed", path);
    adit_buf_fini(&text);
    return rc;
}

int launch_sandbox_hold(pid_t pid, uint64_t *pid_start, int *pidfd, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd gone = {fd, POLLIN, 0};
    if (fd < 0 || poll(&gone, 1, 0) != 0 || launch_sandbox_pid_start(pid, pid_start, NULL))
        return adit_err_set(err, ADIT_ERR_IO, "process %d has ended", (int)pid);
    *pidfd = adit_steal_fd(&fd);
    return 0;
}

int launch_sandbox_adopt(const struct launch_request *r, int *pidfd, struct adit_err *err)
{
    uint64_t start = 0;
    ADIT_CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    int rc = fd < 0 ? adit_err_sys(err, errno, "open process %d", r->pid) : 0;
    if (rc == 0) /* in this order: while the descriptor is held, the number cannot pass on */
        rc = launch_sandbox_pid_start(r->pid, &start, err);
    if (rc == ADIT_ERR_LIMIT || rc == ADIT_ERR_NO_MEMORY)
        return rc;
    if (rc || start != r->pid_start || !launch_cgroup_has((uint64_t)r->pid, r->sandbox_id))
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "sandbox %s does not run", r->sandbox_id);
    *pidfd = adit_steal_fd(&fd);
    return 0;
}

/* One name of the sandbox's; missing is fine. */
static int remove_name(int sandbox_fd, const char *name, struct adit_err *err)
{
    if (unlinkat(sandbox_fd, name, 0) && errno != ENOENT)
        return adit_err_sys(err, errno, "remove %s", name);
    return 0;
}

int launch_sandbox_remove(const struct launch_host *h, const char *sandbox_id, int sandbox_fd,
                          struct adit_err *err)
{
    static const char *const names[] = {LAUNCH_CHANNEL_NAME, LAUNCH_VMM_SOCKET_NAME,
                                        LAUNCH_CONSOLE_NAME};
    int rc = launch_cgroup_remove(&h->cgroups, sandbox_id, err);
    for (size_t i = 0; !rc && sandbox_fd >= 0 && i < FOLDERS_CNT; i++)
        rc = adit_file_remove_tree(sandbox_fd, folders[i], err);
    for (size_t i = 0; !rc && sandbox_fd >= 0 && i < sizeof(names) / sizeof(names[0]); i++)
        rc = remove_name(sandbox_fd, names[i], err);
    return rc;
}

int launch_sandbox_destroy(const struct launch_host *h, const struct launch_request *r,
                           struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int sandbox = -1;
    struct adit_err open_err;
    int rc = launch_host_open_sandbox(h, r->sandbox_dir, &sandbox, &open_err);
    if (rc && rc != ADIT_ERR_NOT_FOUND) {
        if (err)
            *err = open_err;
        return rc;
    }
    return launch_sandbox_remove(h, r->sandbox_id, sandbox, err);
}
