/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and removing one container, as root, in a process of its own (it blocks).
 */
#ifndef BROKER_LAUNCHER_LAUNCH_CONTAINER_H
#define BROKER_LAUNCHER_LAUNCH_CONTAINER_H

#include "broker/launcher/launch_cgroup.h"
#include "broker/launcher/launch_msg.h"
#include "broker/launcher/launcher.h"

/* What the launcher opened at its start. Names in requests are resolved below these directories. */
struct launch_host {
    const struct launcher_conf *conf;
    struct launch_cgroup_host cgroups;
    char *seccomp_bpf; /* for config.json; heap */
    int templates_fd, sandboxes_fd, runtime_fd;
};

/*
 * Check and open; @is_private: in a new mount namespace, as launch_container_create() needs it.
 * Errors: NOT_FOUND or IO for a directory or the agent, PRECONDITION for cgroups.
 */
ADIT_MUST_CHECK int launch_container_open(struct launch_host *h, const struct launcher_conf *conf,
                                          bool is_private, struct adit_err *err);
void launch_container_close(struct launch_host *h);

/*
 * Start the container of a checked request. *pidfd belongs to the caller. The calling process gets
 * a mount namespace of its own. On failure nothing is left behind. Errors: BAD_INPUT (directories
 * outside of the configured ones, a template that is refused), EXISTS, NOT_FOUND, TIMEOUT, IO (with
 * the runtime's words).
 */
ADIT_MUST_CHECK int launch_container_create(const struct launch_host *h,
                                            const struct launch_request *r, pid_t *pid,
                                            uint64_t *pid_start, int *pidfd, struct adit_err *err);

/*
 * End the sandbox of a checked request and remove its processes, group, socket and files. What is
 * missing is fine. Errors: BAD_INPUT, TIMEOUT, IO.
 */
ADIT_MUST_CHECK int launch_container_destroy(const struct launch_host *h,
                                             const struct launch_request *r, struct adit_err *err);

/* Hold the process that a record names. *pidfd belongs to the caller. Errors: NOT_FOUND when it is
 * gone, or the number is another's now; what else fails says nothing about it. */
ADIT_MUST_CHECK int launch_container_adopt(const struct launch_request *r, int *pidfd,
                                           struct adit_err *err);

/* Field 22 of /proc/<pid>/stat. Errors: NOT_FOUND. */
ADIT_MUST_CHECK int launch_container_pid_start(pid_t pid, uint64_t *start, struct adit_err *err);

#endif
