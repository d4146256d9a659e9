/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes as virtual machines of Firecracker.
 *
 * Theory of operation
 *
 * What:   PUT the parts of the machine, then InstanceStart; names and members are those of
 *         Firecracker's own description of its API (src/firecracker/swagger/firecracker.yaml). The
 *         guest's serial line is the monitor's standard output, which is the console.
 * Disks:  the first is the root, the second the sandbox's own: Firecracker gives them no serial
 *         numbers, and envd goes by their order. What the guest forces to its disk is not forced to
 *         the host's ("Unsafe"), as with every driver.
 * Jailer: the launcher's confinement does what the jailer would (user, namespaces, root, group, no
 *         privileges), in the same way for every monitor; Firecracker's own filter of system calls
 *         is on.
 */
#include "broker/vmm/firecracker.h"

#include <string.h>

#define PREFIX "Firecracker v"
#define RECENT_MAJOR 1
#define RECENT_MINOR 16
#define RECENT_PATCH 1

static int add_disk(struct vmm_api_plan *plan, const char *path, const char *id, const char *file,
                    bool is_read_only, struct adit_err *err)
{
    return vmm_api_add(plan, path,
                       json_pack("{s:s, s:s, s:b, s:b, s:s}", "drive_id", id, "path_on_host", file,
                                 "is_root_device", 0, "is_read_only", is_read_only, "cache_type",
                                 "Unsafe"),
                       true, err);
}

static int add_machine(const struct monitor_machine *m, struct vmm_api_plan *out,
                       struct adit_err *err)
{
    uint32_t cpus = m->cpu_count > 1 ? m->cpu_count + m->cpu_count % 2 : 1; /* one, or even */
    int rc = vmm_api_add(out, "/machine-config",
                         json_pack("{s:I, s:I, s:b}", "vcpu_count", (json_int_t)cpus,
                                   "mem_size_mib", (json_int_t)m->memory_mb, "smt", 0),
                         true, err);
    if (!rc)
        rc = vmm_api_add(out, "/boot-source",
                         json_pack("{s:s, s:s, s:s}", "kernel_image_path", m->kernel, "initrd_path",
                                   m->initramfs, "boot_args", m->kernel_args),
                         true, err);
    if (!rc)
        rc = add_disk(out, "/drives/root", "root", m->root, true, err);
    if (!rc && m->overlay[0])
        rc = add_disk(out, "/drives/overlay", "overlay", m->overlay, false, err);
    return rc;
}

int firecracker_plan(const struct monitor_machine *m, struct vmm_api_plan *out,
                     struct adit_err *err)
{
    if (m->cpu_count > FIRECRACKER_CPU_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "firecracker has at most %u processors",
                            FIRECRACKER_CPU_MAX);
    int rc = add_machine(m, out, err);
    if (!rc)
        rc = vmm_api_add(
            out, "/vsock",
            json_pack("{s:I, s:s}", "guest_cid", (json_int_t)m->cid, "uds_path", m->channel), true,
            err);
    if (!rc)
        rc = vmm_api_add(out, "/balloon",
                         json_pack("{s:i, s:b, s:b}", "amount_mib", 0, "deflate_on_oom", 1,
                                   "free_page_reporting", 1),
                         true, err);
    if (!rc)
        rc = vmm_api_add(out, "/actions", json_pack("{s:s}", "action_type", "InstanceStart"), true,
                         err);
    return rc;
}

/* Take a number and what is before the next one. */
static bool take_number(struct adit_view *text, uint64_t *out)
{
    size_t len = 0;
    while (len < text->len && text->ptr[len] >= '0' && text->ptr[len] <= '9')
        len++;
    struct adit_view digits = {text->ptr, len};
    if (adit_view_u64(digits, UINT16_MAX, out))
        return false;
    size_t used = len < text->len && text->ptr[len] == '.' ? len + 1 : len;
    *text = adit_view_mem(text->ptr + used, text->len - used);
    return true;
}

bool firecracker_is_recent(struct adit_view version)
{
    uint64_t major, minor, patch;
    if (!adit_view_has_prefix(version, PREFIX))
        return false;
    version = adit_view_mem(version.ptr + strlen(PREFIX), version.len - strlen(PREFIX));
    if (!take_number(&version, &major) || !take_number(&version, &minor) ||
        !take_number(&version, &patch))
        return false;
    if (major != RECENT_MAJOR)
        return major > RECENT_MAJOR;
    if (minor != RECENT_MINOR)
        return minor > RECENT_MINOR;
    return patch >= RECENT_PATCH;
}

void firecracker_init(struct monitor *out, const char *unusable)
{
    monitor_init(out, "firecracker", LAUNCH_DRIVER_FIRECRACKER, firecracker_plan, unusable);
}
