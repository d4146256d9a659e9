/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes that the launcher starts: what all drivers share. A driver fills in a struct
 * launched_vmm, and that is most of it.
 */
#ifndef BROKER_VMM_LAUNCHED_H
#define BROKER_VMM_LAUNCHED_H

#include <uv.h>

#include "broker/launcher/launcher_client.h"
#include "broker/vmm/vmm.h"

struct launched;
struct launched_vmm;

/* A machine whose monitor runs and waits for orders. Borrowed, during the call. */
struct launched_machine {
    const char *sandbox_id, *sandbox_dir, *template_dir;
    uint32_t cpu_count, slot;
    uint64_t memory_mb;
};

typedef void (*launched_configured_fn)(void *user, const struct adit_err *err);

/*
 * What a driver keeps beside each sandbox that runs: its connection to a VMM.
 *
 * Each may be NULL; @why and @detach go with @attach.
 *
 * @configure: the launcher has started the monitor: tell it what to run. Calls back once, never
 *          before it returns; after an error it does not. NULL: nothing is left to do
 * @attach: it runs, made now or found again. What comes back is the driver's own (NULL: nothing)
 * @why:    it ended: better words than the launcher's, valid until @detach; NULL: there are none
 * @detach: it is over, is being destroyed, or nobody watches it any more
 */
struct launched_ops {
    int (*configure)(struct launched_vmm *v, const struct launched_machine *m,
                     launched_configured_fn done, void *user, struct adit_err *err);
    void *(*attach)(struct launched_vmm *v, const char *sandbox_id, const char *sandbox_dir);
    const char *(*why)(void *attached);
    void (*detach)(void *attached);
};

/*
 * One driver. owned by: the driver's file, or who has it from there; outlives @all
 *
 * @vmm: its driver is launched_driver
 * @all: borrowed
 * @ops: NULL when there is nothing to keep
 */
struct launched_vmm {
    struct vmm vmm;
    struct launched *all;
    enum launch_driver kind;
    enum launch_accel accel;
    const struct launched_ops *ops;
};

extern const struct vmm_driver launched_driver;

/*
 * @client:    borrowed; outlives it
 * @on_exited: a sandbox ended by itself; not called for one that is being destroyed
 */
struct launched_conf {
    uv_loop_t *loop;
    struct launcher_client *client;
    vmm_exited_fn on_exited;
    void *owner;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int launched_open(const struct launched_conf *conf, struct launched **out,
                                  struct adit_err *err);
uv_loop_t *launched_loop(const struct launched *all);
/* Sandboxes stay. Creates and destroys that are on their way must have called back. Closes the
 * handles on the loop and frees it. */
void launched_close(struct launched *all);

#endif
