/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sandboxes of this host may run in: the operator's options, and what is there.
 */
#ifndef BROKER_ISOLATION_H
#define BROKER_ISOLATION_H

#include "broker/broker_conf.h"
#include "broker/kvm_probe.h"
#include "broker/vmm/vmm_set.h"

#define ISOLATION_WHY_CAP 256

/*
 * What a virtual machine takes, as it was found before files were out of sight.
 *
 * @missing: what is not there and how it comes there; "": nothing
 */
struct isolation_vm {
    char missing[ISOLATION_WHY_CAP];
    struct kvm_probe kvm;
};

/* Are the options' words known? Errors: BAD_INPUT naming the option. */
ADIT_MUST_CHECK int isolation_check(const struct broker_conf *c, struct adit_err *err);
/* Look for QEMU, the vsock device and the guest's images, and for what is known of KVM. */
void isolation_find_vm(const struct broker_conf *c, const char *boot_id, struct isolation_vm *out);
/* What the driver of Firecracker or Cloud Hypervisor lacks, in the same way; "": nothing. Runs
 * Firecracker to ask for its version. */
void isolation_find_monitor(const struct broker_conf *c, const char *name,
                            char missing[ISOLATION_WHY_CAP]);
/* Does the answer of kvm_probe_run() make a difference? */
bool isolation_needs_probe(const struct broker_conf *c, const struct isolation_vm *vm);
bool isolation_has_kvm(const struct broker_conf *c, const struct isolation_vm *vm);
/* Make unusable what the options forbid, and choose the fallback. Errors: PRECONDITION: the one
 * that was asked for cannot be used, with the reason. */
ADIT_MUST_CHECK int isolation_choose(const struct broker_conf *c, const struct isolation_vm *vm,
                                     struct vmm_set *set, struct adit_err *err);

#endif
