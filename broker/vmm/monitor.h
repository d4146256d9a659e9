/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drivers of monitors with an HTTP API share: the launcher starts the monitor
 * (broker/launcher/launch_vm.c), its API is told what machine to run.
 */
#ifndef BROKER_VMM_MONITOR_H
#define BROKER_VMM_MONITOR_H

#include "broker/vmm/launched.h"
#include "broker/vmm/vmm_api.h"

/* All orders in sum; and then what a kernel takes to boot with KVM. */
#define MONITOR_ORDERS_MS 5000
#define MONITOR_BOOT_MS 5000
#define MONITOR_PATH_CAP 1024
#define MONITOR_ARGS_CAP 256

/*
 * A machine as a driver describes it to its monitor. Paths are those of the host, which the monitor
 * sees under the same names.
 * @kernel_args: whole; what stands behind "--" is for the guest's first process
 * @overlay:     "": the guest's writable layer is memory
 */
struct monitor_machine {
    uint32_t cpu_count, cid;
    uint64_t memory_mb;
    char kernel[MONITOR_PATH_CAP], initramfs[MONITOR_PATH_CAP], root[MONITOR_PATH_CAP];
    char overlay[MONITOR_PATH_CAP], channel[MONITOR_PATH_CAP];
    char kernel_args[MONITOR_ARGS_CAP];
};

/* owned by: whoever opens the drivers; strings are borrowed */
struct monitor {
    struct launched_vmm launched;
    struct net_loop *loop;
    const char *guest_dir;
    int (*plan)(const struct monitor_machine *m, struct vmm_api_plan *out, struct adit_err *err);
};

/* @name: of the driver. @plan: fills in the orders. @unusable: NULL, or why this host has none. */
void monitor_init(struct monitor *out, const char *name, enum launch_driver kind,
                  int (*plan)(const struct monitor_machine *, struct vmm_api_plan *,
                              struct adit_err *),
                  const char *unusable);
/* Where it works: the sandboxes of the launcher, the loop, the folder of guest images. */
void monitor_open(struct monitor *m, struct launched *all, struct net_loop *loop,
                  const char *guest_dir);

#endif
