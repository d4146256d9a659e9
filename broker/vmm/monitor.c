/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of monitors that have an HTTP API.
 *
 * Theory of operation
 *
 *   launcher: CREATE ──> monitor listens, no machine ── orders ──> the machine boots ──> envd
 *
 * What:  the launcher answers when the monitor takes orders; the create is done when they were
 *        obeyed. A monitor that refuses one is ended and removed as any create that failed.
 * Files: the disks are where the launcher put them; sockets are the monitor's own, in a folder of
 *        the sandbox that it may write to (docs/isolation.md).
 */
#include "broker/vmm/monitor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "broker/launcher/launch_vm.h"

#define KERNEL_WORDS "console=ttyS0 reboot=t panic=-1 quiet rdinit=/init -- --vm --hostname"

/* One that is being told. */
struct telling {
    struct vmm_api *api;
    launched_configured_fn done;
    void *user;
};

static void on_told(void *user, const struct adit_err *err)
{
    struct telling t = *(struct telling *)user;
    free(user);
    t.done(t.user, err);
}

static void describe(const struct monitor *mon, const struct launched_machine *l,
                     struct monitor_machine *out)
{
    memset(out, 0, sizeof(*out));
    out->cpu_count = l->cpu_count;
    out->memory_mb = l->memory_mb;
    out->cid = LAUNCH_VM_CID_BASE + l->slot;
    (void)snprintf(out->kernel, sizeof(out->kernel), "%s/" LAUNCH_VM_KERNEL_NAME, mon->guest_dir);
    (void)snprintf(out->initramfs, sizeof(out->initramfs), "%s/" LAUNCH_VM_INITRAMFS_NAME,
                   mon->guest_dir);
    (void)snprintf(out->root, sizeof(out->root), "%s/" LAUNCH_VM_ROOT_NAME, l->template_dir);
    (void)snprintf(out->overlay, sizeof(out->overlay),
                   "%s/" LAUNCH_VM_NAME "/" LAUNCH_VM_OVERLAY_NAME, l->sandbox_dir);
    (void)snprintf(out->channel, sizeof(out->channel), "%s/" LAUNCH_VM_RUN_CHANNEL, l->sandbox_dir);
    (void)snprintf(out->kernel_args, sizeof(out->kernel_args), KERNEL_WORDS " %s", l->sandbox_id);
    if (access(out->overlay, F_OK)) /* the template has none */
        out->overlay[0] = '\0';
}

static int configure(struct launched_vmm *v, const struct launched_machine *l,
                     launched_configured_fn done, void *user, struct adit_err *err)
{
    struct monitor *mon = ADIT_CONTAINER_OF(v, struct monitor, launched);
    struct vmm_api_plan plan = {.cnt = 0};
    struct monitor_machine machine;
    char path[LAUNCH_SANDBOX_DIR_CAP + sizeof("/" LAUNCH_VMM_SOCKET_NAME)];
    struct telling *t = calloc(1, sizeof(*t));
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    t->done = done;
    t->user = user;
    describe(mon, l, &machine);
    (void)snprintf(path, sizeof(path), "%s/" LAUNCH_VMM_SOCKET_NAME, l->sandbox_dir);
    int rc = mon->plan(&machine, &plan, err);
    if (rc)
        vmm_api_plan_fini(&plan);
    else
        rc = vmm_api_start(mon->loop, path, &plan, MONITOR_ORDERS_MS, on_told, t, &t->api, err);
    if (rc)
        free(t);
    return rc;
}

void monitor_init(struct monitor *out, const char *name, enum launch_driver kind,
                  int (*plan)(const struct monitor_machine *, struct vmm_api_plan *,
                              struct adit_err *),
                  const char *unusable)
{
    static const struct launched_ops ops = {.configure = configure};
    *out = (struct monitor){
        .launched = {.vmm = {.driver = &launched_driver,
                             .name = name,
                             .isolation = "vm",
                             .unusable = unusable,
                             .boot_ms = MONITOR_BOOT_MS},
                     .kind = kind,
                     .accel = LAUNCH_ACCEL_KVM,
                     .ops = &ops},
        .plan = plan,
    };
}

void monitor_open(struct monitor *m, struct launched *all, struct net_loop *loop,
                  const char *guest_dir)
{
    m->launched.all = all;
    m->loop = loop;
    m->guest_dir = guest_dir;
}
