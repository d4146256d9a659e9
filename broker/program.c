/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding programs, and asking them for their version.
 *
 * Theory of operation
 *
 * What: for starts and for people, with the rights of whoever calls: a broker that serves has
 * neither PATH's folders nor the right to execute.
 */
#include "broker/program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int program_find(const char *name, char *out, size_t cap, struct adit_err *err)
{
    struct adit_view rest = adit_view_str(getenv("PATH")), dir;
    if (strchr(name, '/')) {
        (void)snprintf(out, cap, "%s", name);
        return 0;
    }
    while (rest.len > 0) {
        (void)adit_view_split(rest, ':', &dir, &rest); /* the last one has no ":" */
        int n = snprintf(out, cap, "%.*s/%s", ADIT_VIEW_ARG(dir), name);
        if (dir.len && n > 0 && (size_t)n < cap && access(out, X_OK) == 0)
            return 0;
    }
    return adit_err_set(err, ADIT_ERR_NOT_FOUND, "%s is not in PATH", name);
}

size_t program_ask_version(const char *path, char *out, size_t cap)
{
    char name[512];
    char *argv[] = {name, (char[]){"--version"}, NULL};
    char *envp[] = {NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int ends[2];
    ssize_t n = 0;

    (void)snprintf(name, sizeof(name), "%s", path);
    if (pipe2(ends, O_CLOEXEC))
        return 0;
    (void)posix_spawn_file_actions_init(&actions); /* fails in the next call at the latest */
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 1); /* as above */
    int rc = posix_spawn(&pid, name, &actions, NULL, argv, envp);
    (void)posix_spawn_file_actions_destroy(&actions); /* always 0 */
    (void)close(ends[1]);                             /* the child has it */
    if (rc == 0) {
        n = read(ends[0], out, cap);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    (void)close(ends[0]); /* was only read */
    return n > 0 ? (size_t)n : 0;
}
