/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox runs in. One file a driver; nothing above can tell them apart.
 *
 * All functions are called on the control loop and call back there, never before they return. What
 * needs privileges is done by the launcher process. A driver's sandboxes are not children of the
 * broker: they survive it and are adopted again from what vmm_instance says, which the node keeps
 * in the sandbox's record.
 */
#ifndef BROKER_VMM_VMM_H
#define BROKER_VMM_VMM_H

#include <sys/types.h>

#include "net/http_client.h"

#define VMM_ID_CAP 64
/* In the sandbox's folder: a FIFO that takes what its first process or console says, where a driver
 * has that. Its writer never waits for a reader. */
#define VMM_CONSOLE_NAME "console"

/*
 * @sandbox_id:  [a-z0-9]+, checked by the caller
 * @template_dir: the template's folder in the artifact store (absolute)
 * @sandbox_dir:  the sandbox's own folder, exists, empty but for the record (absolute)
 */
struct vmm_spec {
    const char *sandbox_id, *template_id, *template_dir, *sandbox_dir;
    uint32_t cpu_count;
    uint64_t memory_mb, disk_mb;
    uint32_t pids_max;
};

/* What identifies a running sandbox across restarts of the broker. */
struct vmm_instance {
    char driver[24];
    pid_t pid;          /* of the sandbox's first process, as the host sees it */
    uint64_t pid_start; /* field 22 of /proc/PID/stat, against reused pids */
    uint32_t slot;      /* user-id range (container) or CID (vm) */
    struct http_target target;
};

struct vmm;
struct vmm_driver;

/*
 * One way to run sandboxes on this host. owned by: its driver
 *
 * @name:      "container", "qemu", …; stands in records
 * @isolation: what clients are told and may ask for: "container", "gvisor", "vm"
 * @unusable:  NULL, or why this host can make none of it. Those that an earlier broker made are
 *             watched and ended all the same
 * @boot_ms:   what a kernel of its own takes until envd runs; 0 without one
 */
struct vmm {
    const struct vmm_driver *driver;
    const char *name, *isolation, *unusable;
    uint64_t boot_ms;
};

typedef void (*vmm_created_fn)(void *user, const struct vmm_instance *instance,
                               const struct adit_err *err);
typedef void (*vmm_done_fn)(void *user, const struct adit_err *err);
/* A sandbox ended by itself. @reason: "exit status 0", "signal: killed", "out of memory", … */
typedef void (*vmm_exited_fn)(void *owner, const char *sandbox_id, const char *reason);

/* The @reason of one that an earlier broker left and that does not run any more. */
#define VMM_ENDED_UNWATCHED "ended while no broker watched it"

/* What a sandbox uses, as the host sees it. @cpu_ns: since its start; 0: the host does not say. */
struct vmm_usage {
    uint64_t memory, cache, memory_max; /* bytes; @memory counts @cache */
    uint64_t cpu_ns;
};
/* @usage: NULL when it could not be found out. */
typedef void (*vmm_measured_fn)(void *owner, const char *sandbox_id, const struct vmm_usage *usage);

struct vmm_driver {
    /* Start it; on failure nothing is left behind. */
    int (*create)(struct vmm *v, const struct vmm_spec *spec, vmm_created_fn done, void *user,
                  struct adit_err *err);
    /* End it and remove everything of it (processes, mounts, cgroups, sockets, files of the driver
     * in sandbox_dir). Idempotent; also for half-made or vanished ones. */
    int (*destroy)(struct vmm *v, const char *sandbox_id, const char *sandbox_dir,
                   const struct vmm_instance *instance, vmm_done_fn done, void *user,
                   struct adit_err *err);
    /* Watch a sandbox that an earlier broker started. One that no longer runs is reported by
     * vmm_exited_fn. Errors: NOT_FOUND when @instance names none; any other says nothing about it.
     */
    int (*adopt)(struct vmm *v, const char *sandbox_id, const struct vmm_instance *instance,
                 struct adit_err *err);
    /* Ask for its usage; @owner must outlive the answer. NULL where the guest knows it best. */
    int (*measure)(struct vmm *v, const char *sandbox_id, vmm_measured_fn done, void *owner,
                   struct adit_err *err);
};

#endif
