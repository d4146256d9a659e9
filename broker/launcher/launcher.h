/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher: the only process of a broker that has privileges.
 *
 * It is forked before the broker drops its own, takes the typed requests of launch_msg.h over a
 * socket pair, and does each in a process of its own. It keeps nothing about sandboxes: what runs
 * is told by control groups and directories, so a new launcher knows as much as its predecessor.
 */
#ifndef BROKER_LAUNCHER_LAUNCHER_H
#define BROKER_LAUNCHER_LAUNCHER_H

#include <sys/types.h>

#include "base/view.h"

/* Requests at hand at once, in work or waiting for it; more wait in the socket. */
#define LAUNCHER_JOBS_MAX 32
/* A request that takes longer is killed and undone. */
#define LAUNCHER_JOB_MS 20000
/* Ends of sandboxes remembered for EXPLAIN. */
#define LAUNCHER_EXITS_MAX 256

/*
 * All paths absolute; all strings must stay valid until launcher_start() returns.
 * @runtime:       OCI runtime ("/usr/bin/crun")
 * @envd:          the agent's binary
 * @qemu, @vsock_device: programs of virtual machines; opened when one is made. @qemu: "" without
 * @firecracker, @cloud_hypervisor: the same; "" without
 * @guest_dir:     their kernel and initramfs
 * @templates_dir: templates of requests lie below it
 * @sandboxes_dir: sandbox directories of requests lie below it
 * @cgroup_parent: one name, "adit"
 * @uid, @gid:     who connects to the channels: the broker's user after it dropped privileges
 */
struct launcher_conf {
    const char *runtime, *envd, *qemu, *vsock_device, *firecracker, *cloud_hypervisor, *guest_dir;
    const char *templates_dir, *sandboxes_dir, *cgroup_parent;
    uid_t uid;
    gid_t gid;
};

/*
 * Check the configuration and fork. The caller has one thread and runs no loop yet. *out_fd is the
 * broker's end (for launcher_client_open()), *out_pid the keeper, which starts a new launcher when
 * one dies and ends by itself when the broker's end is closed; the broker is its parent and may
 * reap it. Errors: NOT_FOUND, DENIED, PRECONDITION (no root, no cgroup controller, no runtime), IO.
 */
ADIT_MUST_CHECK int launcher_start(const struct launcher_conf *conf, int *out_fd, pid_t *out_pid,
                                   struct adit_err *err);

#endif
