/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one virtual machine, as root, in a process of its own (it blocks).
 */
#ifndef BROKER_LAUNCHER_LAUNCH_VM_H
#define BROKER_LAUNCHER_LAUNCH_VM_H

#include "broker/launcher/launch_host.h"

/* Names in the guest directory, in a template, and in LAUNCH_VM_NAME of a sandbox. */
#define LAUNCH_VM_KERNEL_NAME "vmlinux"
#define LAUNCH_VM_INITRAMFS_NAME "initramfs"
#define LAUNCH_VM_ROOT_NAME "root.erofs"
#define LAUNCH_VM_OVERLAY_NAME "overlay.ext4"

/* A monitor that makes its sockets itself does so in a folder of its own in LAUNCH_VM_NAME; where
 * the others' are, in the sandbox's directory, are links to them. */
#define LAUNCH_VM_RUN_NAME "run"
#define LAUNCH_VM_RUN_CHANNEL LAUNCH_VM_NAME "/" LAUNCH_VM_RUN_NAME "/channel"
#define LAUNCH_VM_RUN_API LAUNCH_VM_NAME "/" LAUNCH_VM_RUN_NAME "/api"
/* CIDs 0 to 2 are the hypervisor, the machine itself and the host. */
#define LAUNCH_VM_CID_BASE 3u

/* A guest with less does not boot. */
#define LAUNCH_VM_MEMORY_MB_MIN 96u
/* What the group may use beside the guest's memory: the monitor, its device with what it keeps for
 * clients that do not read (109 MiB at the most: VSOCK_KEPT_MAX, HOST_SOCKET_WIDE_MAX), page
 * tables, tables of the kernel; with emulation translated code (QEMU_ARGV_TCG_MB) and what it knows
 * of that. */
#define LAUNCH_VM_ALLOWANCE_MB 160u
#define LAUNCH_VM_EMULATION_MB 192u
/* Processors for the monitor and its device, or a guest that computes would wait for its disks. */
#define LAUNCH_VM_CPU_ALLOWANCE 1u
/* Threads of a monitor beside those that are the guest's processors. */
#define LAUNCH_VM_THREADS_MAX 128u

/*
 * Start the virtual machine of a checked request. *pidfd belongs to the caller. On failure nothing
 * is left behind. Errors: BAD_INPUT (directories outside of the configured ones, figures that no
 * virtual machine has, a driver that is not there), PRECONDITION (a program or image is missing),
 * EXISTS, NOT_FOUND, NO_SPACE, TIMEOUT, IO (with the monitor's words).
 */
ADIT_MUST_CHECK int launch_vm_create(const struct launch_host *h, const struct launch_request *r,
                                     pid_t *pid, uint64_t *pid_start, int *pidfd,
                                     struct adit_err *err);

/*
 * Boot a guest that leaves at once. Return: 0 when it did. Nothing is left behind. Errors:
 * PRECONDITION as above, TIMEOUT (LAUNCH_PROBE_KVM_MS, LAUNCH_PROBE_TCG_MS), IO.
 */
ADIT_MUST_CHECK int launch_vm_probe(const struct launch_host *h, const struct launch_request *r,
                                    struct adit_err *err);

#endif
