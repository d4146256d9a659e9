/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU driver: sandboxes as virtual machines of QEMU's microvm machine, started by the
 * launcher.
 */
#ifndef BROKER_VMM_QEMU_H
#define BROKER_VMM_QEMU_H

#include "broker/vmm/launched.h"
#include "net/net_loop.h"

/* What a kernel takes to boot: with KVM, and emulated on a machine that has other things to do. */
#define QEMU_BOOT_KVM_MS 5000
#define QEMU_BOOT_TCG_MS 25000

/* owned by: whoever opens the drivers */
struct qemu {
    struct launched_vmm launched;
    struct net_loop *loop; /* borrowed */
};

/* Machines are emulated. @all, @loop: borrowed. @unusable: NULL, or why this host can start none
 * (stays). */
void qemu_init(struct qemu *out, struct launched *all, struct net_loop *loop, const char *unusable);
/* New ones run on KVM. */
void qemu_use_kvm(struct qemu *q);

#endif
