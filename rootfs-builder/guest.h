/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest directory: what a virtual machine starts from, whatever its template.
 *
 *   vmlinux, vmlinuz    the kernel, as an ELF image and as it came (only if it was a bzImage)
 *   modules/            NAME.ko, and lists of them, one a line, in the order of loading: "order"
 *                       before the root is mounted, "order.pci" too, on machines with a PCI bus,
 *                       "order.late" afterwards
 *   initramfs           the agent and the modules
 *   kernel.json         what the kernel was made from
 */
#ifndef ROOTFS_BUILDER_GUEST_H
#define ROOTFS_BUILDER_GUEST_H

#include "rootfs-builder/builder.h"

/* Default of --out. */
#define GUEST_DIR "/var/lib/adit/guest"
/* A module, as it is loaded. */
#define GUEST_MODULE_MAX (64u * 1024 * 1024)

extern const struct builder_command kernel_command, initramfs_command;

#endif
