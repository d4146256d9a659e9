/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing what sandboxes run in.
 *
 * Theory of operation
 *
 * What:   a driver that lacks something, or that the operator does not want, stays in the set for
 * what an earlier broker left, but is unusable for something new. Of the others one is the
 * fallback, for who asks for nothing: with "auto" a machine of its own where KVM runs one, else a
 * container. Emulation is never taken by itself: it is slow, and QEMU does not call it a boundary.
 * Trust:  options and files are the operator's.
 */
#include "broker/isolation.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/program.h"
#include "broker/vmm/firecracker.h"

#define VERSION_CAP 512

static bool is_one_of(const char *word, const char *const *words, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static bool is_allowed(const struct broker_conf *c, const char *isolation)
{
    struct adit_view rest = adit_view_str(c->allow_isolations), word;
    while (rest.len > 0) {
        (void)adit_view_split(rest, ',', &word, &rest); /* the last one has no "," */
        if (adit_view_eq_str(adit_view_trim(word), isolation))
            return true;
    }
    return false;
}

static int check_allowed(const struct broker_conf *c, struct adit_err *err)
{
    struct adit_view rest = adit_view_str(c->allow_isolations), word;
    while (rest.len > 0) {
        (void)adit_view_split(rest, ',', &word, &rest); /* as above */
        if (!vmm_set_knows(adit_view_trim(word)))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "allow-isolations: %.*s is none",
                                ADIT_VIEW_ARG(word));
    }
    return 0;
}

int isolation_check(const struct broker_conf *c, struct adit_err *err)
{
    static const char *const vmms[] = {"auto", "qemu", "firecracker", "cloud-hypervisor"};
    static const char *const accels[] = {"auto", "kvm", "tcg"};
    bool is_auto = strcmp(c->isolation, "auto") == 0;
    if (!is_auto && !vmm_set_knows(adit_view_str(c->isolation)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "isolation: %s is none", c->isolation);
    if (!is_one_of(c->vmm, vmms, sizeof(vmms) / sizeof(vmms[0])))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "vmm: %s is none", c->vmm);
    if (!is_one_of(c->accel, accels, sizeof(accels) / sizeof(accels[0])))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "accel: %s is none", c->accel);
    int rc = check_allowed(c, err);
    if (rc == 0 && !is_auto && !is_allowed(c, c->isolation))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "isolation: %s is not in allow-isolations",
                          c->isolation);
    return rc;
}

static void find_images(const struct broker_conf *c, char missing[ISOLATION_WHY_CAP])
{
    char kernel[PATH_MAX], initramfs[PATH_MAX];
    (void)snprintf(kernel, sizeof(kernel), "%s/vmlinux", c->guest_dir);
    (void)snprintf(initramfs, sizeof(initramfs), "%s/initramfs", c->guest_dir);
    if (access(kernel, R_OK) || access(initramfs, R_OK))
        (void)snprintf(missing, ISOLATION_WHY_CAP,
                       "%.160s has no guest images (rootfs-builder kernel, initramfs)",
                       c->guest_dir);
}

static void check_version(const char *path, char missing[ISOLATION_WHY_CAP])
{
    char said[VERSION_CAP];
    struct adit_view line, rest;
    size_t len = program_ask_version(path, said, sizeof(said));
    (void)adit_view_split(adit_view_mem(said, len), '\n', &line, &rest); /* the first line */
    if (!firecracker_is_recent(line))
        (void)snprintf(missing, ISOLATION_WHY_CAP,
                       "%.160s is no Firecracker of 1.16.1 or later (earlier ones let guests out)",
                       path);
}

void isolation_find_monitor(const struct broker_conf *c, const char *name,
                            char missing[ISOLATION_WHY_CAP])
{
    char path[PATH_MAX] = "";
    bool is_firecracker = strcmp(name, "firecracker") == 0;
    const char *wanted = is_firecracker ? c->firecracker : c->cloud_hypervisor;
    missing[0] = '\0';
    find_images(c, missing);
    if (program_find(wanted, path, sizeof(path), NULL) || access(path, X_OK))
        (void)snprintf(missing, ISOLATION_WHY_CAP, "there is no program %.200s", wanted);
    else if (is_firecracker)
        check_version(path, missing);
}

void isolation_find_vm(const struct broker_conf *c, const char *boot_id, struct isolation_vm *out)
{
    char qemu[PATH_MAX] = "", kernel[PATH_MAX], initramfs[PATH_MAX];
    const char *files[] = {qemu, c->vsock_device, kernel, initramfs};
    bool has_qemu = program_find(c->qemu, qemu, sizeof(qemu), NULL) == 0 && access(qemu, X_OK) == 0;
    (void)snprintf(kernel, sizeof(kernel), "%s/vmlinux", c->guest_dir);
    (void)snprintf(initramfs, sizeof(initramfs), "%s/initramfs", c->guest_dir);
    memset(out, 0, sizeof(*out));
    if (!has_qemu)
        (void)snprintf(out->missing, sizeof(out->missing),
                       "%s is not installed (apt-get install qemu-system-x86)", c->qemu);
    else if (access(c->vsock_device, X_OK))
        (void)snprintf(out->missing, sizeof(out->missing), "there is no program %.200s",
                       c->vsock_device);
    else
        find_images(c, out->missing);
    kvm_probe_init(&out->kvm, boot_id, files, sizeof(files) / sizeof(files[0]));
}

bool isolation_needs_probe(const struct broker_conf *c, const struct isolation_vm *vm)
{
    return !vm->missing[0] && !vm->kvm.is_known && strcmp(c->accel, "auto") == 0 &&
           is_allowed(c, "vm");
}

bool isolation_has_kvm(const struct broker_conf *c, const struct isolation_vm *vm)
{
    return strcmp(c->accel, "auto") == 0 ? vm->kvm.works : strcmp(c->accel, "kvm") == 0;
}

/* "auto": the first of these that can be used. */
static struct vmm *choose_best(const struct broker_conf *c, const struct isolation_vm *vm,
                               const struct vmm_set *set)
{
    static const char *const words[] = {"vm", "gvisor", "container"};
    for (size_t i = isolation_has_kvm(c, vm) ? 0 : 1; i < sizeof(words) / sizeof(words[0]); i++) {
        struct vmm *v = vmm_set_choose(set, words[i]);
        if (v)
            return v;
    }
    return NULL;
}

static bool is_chosen(const struct broker_conf *c, const struct vmm *v)
{
    return strcmp(v->isolation, "vm") != 0 || strcmp(c->vmm, "auto") == 0 ||
           strcmp(c->vmm, v->name) == 0;
}

/* Why there is none of c->isolation ("auto": of any). */
static const char *why_not(const struct broker_conf *c, const struct vmm_set *set)
{
    const char *why = "no driver of this host makes it";
    for (size_t i = set->cnt; i > 0; i--) {
        const struct vmm *v = set->items[i - 1];
        if (v->unusable && is_chosen(c, v) &&
            (strcmp(c->isolation, "auto") == 0 || strcmp(v->isolation, c->isolation) == 0))
            why = v->unusable;
    }
    return why;
}

int isolation_choose(const struct broker_conf *c, const struct isolation_vm *vm,
                     struct vmm_set *set, struct adit_err *err)
{
    bool is_auto = strcmp(c->isolation, "auto") == 0;
    for (size_t i = 0; i < set->cnt; i++) {
        struct vmm *v = set->items[i];
        if (!is_allowed(c, v->isolation))
            v->unusable = "the operator does not allow it";
        else if (!is_chosen(c, v))
            v->unusable = "the operator chose another monitor";
    }
    set->fallback = is_auto ? choose_best(c, vm, set) : vmm_set_choose(set, c->isolation);
    if (!set->fallback)
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "isolation: %s: %s", c->isolation,
                            why_not(c, set));
    return 0;
}
