/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper, the launcher and its workers may do.
 *
 * Theory of operation
 *
 * What: these processes are root, since mounts, the ids of sandboxes and control groups take it.
 * They keep the capabilities of the table below, each for the reason beside it and found by leaving
 * it out, lose the network (own empty namespace: neither devices nor abstract sockets of the host),
 * and the system calls that change the kernel itself. Inherited: by the OCI runtime and by what
 * runs in sandboxes. So the calls are a subset of those that oci_seccomp.c refuses there in any
 * case (a test compares them), no_new_privs is not set (set-user-id programs work in sandboxes),
 * and Landlock is not used (it forbids mounts). Capabilities in a sandbox are those of its own user
 * namespace, which the kernel starts with a full set: they do not depend on what is kept here.
 */
#include "broker/launcher/launcher_profile.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>

#include "confine/confine.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)

static const uint64_t kept_caps =
    CAP(CHOWN) |        /* directories and FIFO of a sandbox become its root's */
    CAP(DAC_OVERRIDE) | /* folders of the broker and of sandboxes are closed to others */
    CAP(FOWNER) |       /* modes of files that were given away; removing what sandboxes made */
    CAP(FSETID) |       /* an overlay acts with the rights of its mounter: set-group-id bits */
    CAP(SETFCAP) |      /* the same: capabilities of files in sandboxes */
    CAP(KILL) |         /* the processes of a sandbox, where cgroup v1 has them killed one by one */
    CAP(SETGID) |       /* maps of ids; the channel is made as the broker */
    CAP(SETUID) |       /* the same; user namespaces are made as their owner */
    CAP(MKNOD) |        /* the null device that the runtime is given */
    CAP(SYS_ADMIN) |    /* namespaces, mounts, a filter without no_new_privs */
    CAP(SYS_RESOURCE);  /* the agent is the last to go when memory runs out */

int launcher_profile_enter(struct adit_err *err)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS))
        return adit_err_sys(err, errno, "make the launcher's namespaces");
    int rc = confine_deny_kernel(err);
    if (rc == 0)
        rc = confine_keep_caps(kept_caps, err);
    return rc ? rc : confine_hide_memory(err);
}
