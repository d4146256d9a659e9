/* SPDX-License-Identifier: Apache-2.0 */
/*
 * envd as the first process of a virtual machine: from the kernel's first root to the sandbox's.
 *
 * All of it is done before the loop runs. What fails in vm_boot() leaves nothing to serve; what
 * fails later is logged and done without.
 */
#ifndef ENVD_VM_H
#define ENVD_VM_H

#include <sys/resource.h>

#include "base/view.h"

/* Longest name of a host, with its NUL. */
#define VM_HOSTNAME_CAP 65
/* Longest entropy, as text, with its NUL: 512 bytes. */
#define VM_ENTROPY_CAP 689
/* Largest list of modules. */
#define VM_LIST_CAP (64u * 1024)
/* Memory and processes that those of the sandbox leave to envd and the kernel. */
#define VM_MEMORY_RESERVE (24u * 1024 * 1024)
#define VM_PROCESS_RESERVE 128
/* For the last words on the console. */
#define VM_DRAIN_MS 1000
/* Descriptors of a process. */
#define VM_NOFILE 65536

/*
 * Load /modules/order, make the disks the root, mount what belongs to a system, and go there.
 * Errors: NOT_FOUND (no disk with a root), IO.
 */
ADIT_MUST_CHECK int vm_boot(const char *hostname, struct adit_err *err);
/* What the kernel gives its first process is too little: limits as a container has them. @nofile:
 * the new limit of descriptors. */
void vm_raise_limits(struct rlimit *nofile);
/* Load /modules/order.late, forget the files, and let nobody load any from then on. */
void vm_finish(void);
/* Give the machine its name. Errors: BAD_INPUT (letters, digits, "-" and "." only). A container may
 * not be renamed, which is logged at debug level and no error. */
ADIT_MUST_CHECK int vm_set_hostname(const char *name, struct adit_err *err);
/* Mix what the host drew (base64) into the kernel's random numbers, at once. Errors: BAD_INPUT. A
 * container may not, and shares the host's, which is no error. */
ADIT_MUST_CHECK int vm_add_entropy(const char *base64, struct adit_err *err);
/* The mounts of a system in the root that the caller is in, and what belongs to /dev. */
void vm_mount_system(void);
/* Stop the machine: put what is written to its disk and reboot, which ends the VMM. As anything but
 * the first process of a machine: end. */
__attribute__((noreturn)) void vm_leave(void);

#endif
