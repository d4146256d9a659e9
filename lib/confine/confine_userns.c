/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user namespace without a process.
 *
 * Theory of operation
 *
 * What: a child is made with a user namespace of its own and held by a pipe while the maps are
 * written and the namespace is opened; then it ends, and the descriptor is all that is left. It is
 * for mounts whose ids are translated, and for processes that enter it.
 * Trust: whoever calls has the ids of the map to give (CAP_SETUID and CAP_SETGID).
 */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Runs in a child with a new user namespace: exists until its parent has written the maps and
 * opened the namespace, then ends by the closed pipe. */
static _Noreturn void hold_userns(int pipe_fd)
{
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* always valid */
    while (read(pipe_fd, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

static int write_map(pid_t pid, const char *file, uint32_t base, uint32_t cnt, struct adit_err *err)
{
    char path[48], map[48];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int len = snprintf(map, sizeof(map), "0 %u %u", base, cnt);
    ADIT_CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, map, (size_t)len) != len)
        return adit_err_sys(err, errno, "write %s", path);
    return 0;
}

int confine_userns(uint32_t base, uint32_t cnt, int *out, struct adit_err *err)
{
    char path[48];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return adit_err_sys(err, errno, "pipe");
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        (void)close(ends[1]); /* or it would wait for itself */
        hold_userns(ends[0]);
    }
    (void)close(ends[0]); /* the child has its own */
    int rc = pid < 0 ? adit_err_sys(err, errno, "make a user namespace") : 0;
    if (!rc)
        rc = write_map(pid, "uid_map", base, cnt, err);
    if (!rc)
        rc = write_map(pid, "gid_map", base, cnt, err);
    if (!rc) {
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
        *out = open(path, O_RDONLY | O_CLOEXEC);
        if (*out < 0)
            rc = adit_err_sys(err, errno, "open %s", path);
    }
    (void)close(ends[1]); /* ends the child */
    if (pid > 0)
        (void)waitpid(pid, NULL, 0); /* nothing to learn from it */
    return rc;
}
