/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launcher opens at its start, and how names in requests are resolved.
 */
#ifndef BROKER_LAUNCHER_LAUNCH_HOST_H
#define BROKER_LAUNCHER_LAUNCH_HOST_H

#include "broker/launcher/launch_cgroup.h"
#include "broker/launcher/launcher.h"

/* Names in requests are resolved below the two directories. */
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
ADIT_MUST_CHECK int launch_host_open(struct launch_host *h, const struct launcher_conf *conf,
                                     bool is_private, struct adit_err *err);
void launch_host_close(struct launch_host *h);

/* Open what @path names below the directory of templates, or of sandboxes (a directory there),
 * without following links. *out belongs to the caller. Errors: BAD_INPUT, NOT_FOUND, IO. */
ADIT_MUST_CHECK int launch_host_open_template(const struct launch_host *h, const char *path,
                                              uint64_t flags, int *out, struct adit_err *err);
ADIT_MUST_CHECK int launch_host_open_sandbox(const struct launch_host *h, const char *path,
                                             int *out, struct adit_err *err);

#endif
