/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does KVM run a guest here? A /dev/kvm that opens may still not, so a guest is booted, once for
 * each boot of the host and each set of programs, and the answer is kept in the state directory.
 */
#ifndef BROKER_KVM_PROBE_H
#define BROKER_KVM_PROBE_H

#include "broker/launcher/launcher_client.h"

#define KVM_PROBE_FILE "kvm-probe.json"
#define KVM_PROBE_DEVICE "/dev/kvm"
#define KVM_PROBE_KEY_CAP 65

/*
 * @key:      what the answer depends on: the host's boot, QEMU, the guest's images
 * @is_known: whether @works says anything
 * @why:      it does not work, in words
 */
struct kvm_probe {
    char key[KVM_PROBE_KEY_CAP];
    bool is_known, works;
    char why[ADIT_ERR_MSG_CAP];
};

/* Make the key from the host's boot and the files that take part; a host without the device is
 * known not to work. While files can be seen. */
void kvm_probe_init(struct kvm_probe *p, const char *boot_id, const char *const *files,
                    size_t file_cnt);
/* Take the answer of an earlier probe with the same key. What cannot be read is not known. */
void kvm_probe_load(struct kvm_probe *p, const char *state_dir);
/* Errors: IO, NO_MEMORY. */
ADIT_MUST_CHECK int kvm_probe_save(const struct kvm_probe *p, const char *state_dir,
                                   struct adit_err *err);
/* What booting a guest came to; @err: NULL when it did. An error that is only a trouble of the
 * moment, or that came before anything was booted, leaves it unknown. */
void kvm_probe_note(struct kvm_probe *p, const struct adit_err *err);
/* Have the launcher boot a guest, and run the loop until it answered (seconds). Nothing else that
 * matters may be on the loop. */
void kvm_probe_run(struct kvm_probe *p, uv_loop_t *uv, struct launcher_client *launcher);

#endif
