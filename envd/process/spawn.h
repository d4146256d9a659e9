/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one program as a user of the guest: one exec, no shell, no copy of envd's page tables.
 */
#ifndef ENVD_SPAWN_H
#define ENVD_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

#include "base/user.h"

/* The child's own stack; it holds one path and little else. */
#define SPAWN_STACK_SIZE (64u * 1024)
/* A path tried during the search is at most this long. */
#define SPAWN_PATH_CAP 4096
#define SPAWN_OOM_SCORE_ADJ "100"

/*
 * @argv_room:   argv[0] is argv_room[SPAWN_ARGV_SPARE]; the spare places let a script without "#!"
 *               be given to /bin/sh; the first two places may have changed afterwards
 * @search_path: the PATH of @envp, or NULL; for a @cmd without a slash
 * @fds:         become 0, 1, 2; all above 2
 * @channel_fd:  becomes 3; 0: there is none
 * @has_tty:     fds[0] is a terminal and becomes the controlling one
 * @cgroup_fd:   directory of the cgroup to start in, or -1
 * @nofile:      the descriptor limit of the child
 */
#define SPAWN_ARGV_SPARE 1
struct spawn_request {
    const char *cmd;
    char **argv_room;
    char **envp;
    const char *search_path;
    const char *cwd;
    const struct user_entry *user;
    int fds[3];
    int channel_fd;
    bool has_tty;
    int cgroup_fd;
    const struct rlimit *nofile; /* NULL: inherited */
};

/*
 * Returns when the child runs the program, or has failed to. A program that cannot be run is not an
 * error here: the child says so on its stderr and exits with 127 (not found) or 126, as under a
 * shell. Errors: LIMIT (no process left), NO_MEMORY, BAD_INPUT (identity or @cwd not possible).
 */
ADIT_MUST_CHECK int spawn_start(const struct spawn_request *r, pid_t *pid, struct adit_err *err);

#endif
