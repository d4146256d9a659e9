/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of other packages.
 *
 * Theory of operation
 *
 * What:    a child with an environment of its own, waited for. What is to be read from it goes to
 * a file in memory first, so that neither side waits for the other.
 * Trust:   argument vectors are ours: no shell reads them.
 */
#include "rootfs-builder/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int wait_for(pid_t pid, const char *name, struct adit_err *err)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return adit_err_set(err, ADIT_ERR_IO, "%s failed with status %d", name,
                        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The builder ignores SIGPIPE; what it runs does not expect that. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t defaults;
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    int rc = posix_spawnattr_setsigdefault(attributes, &defaults);
    return rc ? rc : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF);
}

static int set_files(posix_spawn_file_actions_t *files, const struct tool_call *c)
{
    int rc = c->in
                 ? posix_spawn_file_actions_adddup2(files, c->in, STDIN_FILENO)
                 : posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc =
            posix_spawn_file_actions_adddup2(files, c->out ? c->out : STDERR_FILENO, STDOUT_FILENO);
    return rc || !c->dir ? rc : posix_spawn_file_actions_addchdir_np(files, c->dir);
}

static int spawn(const struct tool_call *c, char *const argv[], char *const envp[], pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (!rc) {
        rc = set_attributes(&attributes);
        if (!rc)
            rc = set_files(&files, c);
        if (!rc)
            rc = posix_spawnp(pid, argv[0], &files, &attributes, argv, envp);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&files);
    return rc;
}

int tool_run(const struct tool_call *c, struct adit_err *err)
{
    static const char *const env[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive"};
    char *argv[TOOL_ARGS_MAX + 1] = {NULL}, *envp[5] = {NULL};
    size_t argc = 0;
    pid_t pid;
    while (c->argv[argc])
        argc++;
    if (argc > TOOL_ARGS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many words for %s", c->argv[0]);
    /* The types of execve(2) say that words may be written to; nobody does. */
    memcpy(argv, c->argv, argc * sizeof(argv[0]));
    memcpy(envp, env, sizeof(env));
    memcpy(&envp[3], &c->env, sizeof(envp[3]));
    int rc = spawn(c, argv, envp, &pid);
    if (rc == ENOENT)
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "%s is not installed: it comes with the package %s", argv[0],
                            c->package);
    if (rc)
        return adit_err_sys(err, rc, "start %s", argv[0]);
    return wait_for(pid, argv[0], err);
}

int tool_read(const struct tool_call *c, struct adit_buf *text, struct adit_err *err)
{
    char path[32];
    struct tool_call call = *c;
    ADIT_CLEANUP_CLOSE int fd = memfd_create("output", MFD_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "file for the output of %s", c->argv[0]);
    call.out = fd;
    int rc = tool_run(&call, err);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return rc ? rc : adit_file_read(AT_FDCWD, path, text, err);
}
