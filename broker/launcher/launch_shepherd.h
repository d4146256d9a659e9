/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of a virtual machine's sandbox: it starts the others and tells how they ended.
 */
#ifndef BROKER_LAUNCHER_LAUNCH_SHEPHERD_H
#define BROKER_LAUNCHER_LAUNCH_SHEPHERD_H

#include "broker/launcher/launch_cgroup.h"
#include "confine/confine.h"

#define LAUNCH_SHEPHERD_KEEP_MAX 4
/* Until everything runs, or the machine is too busy for another one. */
#define LAUNCH_SHEPHERD_START_MS 5000u
/* A device that ends in order does so because its monitor ends: it has this long to be seen. */
#define LAUNCH_SHEPHERD_GRACE_MS 2000
/* Open files of one process. */
#define LAUNCH_SHEPHERD_FILES_MAX 2048u

/*
 * A process to start.
 * @program_fd: what it executes
 * @argv:       NULL: there is none
 * @keep:       descriptors that it inherits under the same numbers, beside the first three
 */
struct launch_shepherd_child {
    int program_fd;
    char *const *argv;
    struct confine_user user;
    const struct confine_mount *mounts;
    size_t mount_cnt;
    int keep[LAUNCH_SHEPHERD_KEEP_MAX];
    size_t keep_cnt;
};

/*
 * @user:       whose the shepherd is
 * @vmm, @device: the virtual machine monitor, and its vsock device if it needs one
 * @console_fd: their standard output and error
 * @has_kvm:    /dev/kvm is there, and the monitor's
 * @makes_sockets: the broker's user may connect to what the monitor makes; folders keep others off
 * @file_max:   bytes of the largest file that they may write
 */
struct launch_shepherd_flock {
    const char *sandbox_id;
    const struct launch_cgroup_host *cgroups;
    struct confine_user user;
    struct launch_shepherd_child vmm, device;
    int console_fd;
    bool has_kvm, makes_sockets;
    uint64_t file_max;
};

/*
 * Start them all in the sandbox's control group, which exists, and in namespaces of their own.
 * *pid is a child of the caller. On failure some of it may be left in the group. Errors: TIMEOUT,
 * and what failed.
 */
ADIT_MUST_CHECK int launch_shepherd_start(const struct launch_shepherd_flock *f, pid_t *pid,
                                          struct adit_err *err);

/* Put into words what the wait status of a shepherd says. @is_oom: memory ran out in its group. */
void launch_shepherd_explain(int status, bool is_oom, char *text, size_t cap);

#endif
