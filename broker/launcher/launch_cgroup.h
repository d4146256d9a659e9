/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control group of a sandbox: limits for memory, CPU and processes, and the list of everything
 * that runs in it.
 *
 * One module for both layouts: cgroup v2 (/sys/fs/cgroup is cgroup2) and v1 or hybrid hosts
 * (memory, cpu and pids each mounted under /sys/fs/cgroup/<name>; cpuacct if it is there). A
 * group's name is <parent>/<id>.
 */
#ifndef BROKER_LAUNCHER_LAUNCH_CGROUP_H
#define BROKER_LAUNCHER_LAUNCH_CGROUP_H

#include <sys/types.h>

#include "broker/launcher/launch_msg.h"

#define LAUNCH_CGROUP_HIERARCHIES_MAX 4
/* How long killed processes may take to be gone. */
#define LAUNCH_CGROUP_KILL_MS 8000u

/*
 * @fd:  directories of the hierarchies' roots: one of v2, or memory, cpu, pids of v1, and cpuacct
 *       where it is one of its own
 * @parent: one path component, made on demand and removed when it is empty
 */
struct launch_cgroup_host {
    bool is_v2;
    int hierarchy_cnt;
    int fd[LAUNCH_CGROUP_HIERARCHIES_MAX];
    char parent[64];
};

struct launch_cgroup_limits {
    uint64_t memory_bytes;
    uint32_t cpu_count, pids_max;
};

/* Find the hierarchies. Errors: PRECONDITION naming the controller that is missing. */
ADIT_MUST_CHECK int launch_cgroup_open(struct launch_cgroup_host *h, const char *parent,
                                       struct adit_err *err);
void launch_cgroup_close(struct launch_cgroup_host *h);

/* Make the group (EXISTS if it is there) and set its limits. On failure it may be there in part:
 * launch_cgroup_remove() it. */
ADIT_MUST_CHECK int launch_cgroup_create(const struct launch_cgroup_host *h, const char *id,
                                         const struct launch_cgroup_limits *limits,
                                         struct adit_err *err);
/* Move the calling process, which must have one thread, into the group. */
ADIT_MUST_CHECK int launch_cgroup_join(const struct launch_cgroup_host *h, const char *id,
                                       struct adit_err *err);
/* Kill all processes in the group, wait for their end (LAUNCH_CGROUP_KILL_MS) and remove it.
 * Missing is fine. Errors: TIMEOUT, IO. */
ADIT_MUST_CHECK int launch_cgroup_remove(const struct launch_cgroup_host *h, const char *id,
                                         struct adit_err *err);
/* Is the process with this number in a group of this name? */
bool launch_cgroup_has(uint64_t pid, const char *id);
/* What the group uses now. Errors: NOT_FOUND, IO. */
ADIT_MUST_CHECK int launch_cgroup_measure(const struct launch_cgroup_host *h, const char *id,
                                          struct launch_usage *out, struct adit_err *err);
/* Return: how many processes of the group were killed for want of memory; 0 if unknown. */
uint64_t launch_cgroup_oom_kills(const struct launch_cgroup_host *h, const char *id);

#endif
