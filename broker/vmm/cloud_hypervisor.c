/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes as virtual machines of Cloud Hypervisor.
 *
 * Theory of operation
 *
 * What:   vm.create with the whole machine, then vm.boot; names and members are those of its own
 *         description of its API (vmm/src/api/openapi/cloud-hypervisor.yaml). The guest's serial
 *         line is the monitor's standard output, which is the console.
 * Landlock: the monitor's own, on top of the launcher's root: it reaches its files and sockets
 * only.
 */
#include "broker/vmm/cloud_hypervisor.h"

#include <stdio.h>
#include <string.h>

#define MIB 1048576

static json_t *disks(const struct monitor_machine *m)
{
    json_t *all = json_array();
    int bad = json_array_append_new(
        all, json_pack("{s:s, s:b, s:s}", "path", m->root, "readonly", 1, "serial", "root"));
    if (m->overlay[0])
        bad |= json_array_append_new(all, json_pack("{s:s, s:b, s:s}", "path", m->overlay,
                                                    "readonly", 0, "serial", "overlay"));
    if (!bad)
        return all;
    json_decref(all);
    return NULL;
}

/* The folder of its sockets, in which it makes the channel's. */
static json_t *landlock_rules(const struct monitor_machine *m)
{
    char folder[MONITOR_PATH_CAP];
    (void)snprintf(folder, sizeof(folder), "%s", m->channel);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return json_pack("[{s:s, s:s}]", "path", folder, "access", "rw");
}

static json_t *machine(const struct monitor_machine *m)
{
    json_int_t cpus = (json_int_t)m->cpu_count;
    return json_pack(
        "{s:{s:s, s:s, s:s}, s:{s:I, s:I}, s:{s:I, s:b}, s:o, s:{s:I, s:s}, s:{s:s}, s:{s:s}, "
        "s:{s:i, s:b, s:b}, s:{s:s}, s:b, s:o}",
        "payload", "kernel", m->kernel, "initramfs", m->initramfs, "cmdline", m->kernel_args,
        "cpus", "boot_vcpus", cpus, "max_vcpus", cpus, "memory", "size",
        (json_int_t)m->memory_mb * MIB, "shared", 0, "disks", disks(m), "vsock", "cid",
        (json_int_t)m->cid, "socket", m->channel, "serial", "mode", "Tty", "console", "mode", "Off",
        "balloon", "size", 0, "deflate_on_oom", 1, "free_page_reporting", 1, "rng", "src",
        "/dev/urandom", "landlock_enable", 1, "landlock_rules", landlock_rules(m));
}

int cloud_hypervisor_plan(const struct monitor_machine *m, struct vmm_api_plan *out,
                          struct adit_err *err)
{
    int rc = vmm_api_add(out, "/api/v1/vm.create", machine(m), true, err);
    return rc ? rc : vmm_api_add(out, "/api/v1/vm.boot", NULL, false, err);
}

void cloud_hypervisor_init(struct monitor *out, const char *unusable)
{
    monitor_init(out, "cloud-hypervisor", LAUNCH_DRIVER_CLOUD_HYPERVISOR, cloud_hypervisor_plan,
                 unusable);
}
