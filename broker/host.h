/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker has of its host: directories, its helpers with privileges, the drivers. */
#ifndef BROKER_HOST_H
#define BROKER_HOST_H

#include <uv.h>

#include "broker/broker_conf.h"
#include "broker/isolation.h"
#include "broker/launcher/launcher_client.h"
#include "broker/machine.h"
#include "broker/node/record.h"
#include "broker/vmm/launched.h"
#include "broker/vmm/monitor.h"
#include "broker/vmm/qemu.h"
#include "broker/vmm/vmm_set.h"
#include "confine/confine.h"

/* owned by: main() */
struct host {
    char boot_id[RECORD_BOOT_ID_CAP]; /* of this host, or empty */
    struct machine machine;
    int launcher_fd, scheduler_fd;
    bool is_launcher_lost;
    struct confine_user user;
    struct launcher_client *launcher;
    struct launched *launched;
    struct launched_vmm container;
    struct isolation_vm vm;
    struct qemu qemu;
    struct monitor firecracker, cloud_hypervisor;
    char firecracker_missing[ISOLATION_WHY_CAP], cloud_hypervisor_missing[ISOLATION_WHY_CAP];
    struct vmm_set vmms;
    void (*on_lost)(void *owner); /* may be NULL */
    void *owner;
};

/* The host's boot, into a zeroed text, which stays empty where /proc does not say it. */
void host_read_boot_id(char out[RECORD_BOOT_ID_CAP]);
/*
 * What takes root: make the directories and lock the state directory, give it to the user that the
 * broker becomes, fork the launcher. The caller has one thread and no loop. Errors: as
 * launcher_start(); EXISTS (another broker uses the directory), PRECONDITION (templates that are
 * not root's), IO… Links in c->templates_dir are resolved.
 */
ADIT_MUST_CHECK int host_prepare(struct host *h, struct broker_conf *c, struct adit_err *err);
/* Fork the keeper of the broker's own scheduler; h->scheduler_fd is its socket. As above. */
ADIT_MUST_CHECK int host_start_scheduler(struct host *h, const struct broker_conf *c,
                                         struct adit_err *err);
/* Give up all privileges for good (broker_profile.h). Listening sockets are open by now. */
ADIT_MUST_CHECK int host_confine(const struct host *h, const struct broker_conf *c,
                                 struct adit_err *err);
/*
 * Open the drivers. @on_exited and @on_lost get @owner. @on_lost (may be NULL): the launcher is
 * gone for good, nothing can be created or ended any more. Errors: NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int host_open(struct host *h, struct net_loop *loop, const struct broker_conf *c,
                              vmm_exited_fn on_exited, void (*on_lost)(void *owner), void *owner,
                              struct adit_err *err);
/*
 * Settle what new sandboxes run in. Where it is not known what KVM can do, a guest is booted, and
 * the loop runs meanwhile: nothing that calls back may be on it yet. Errors: PRECONDITION (the
 * isolation that was asked for is not there), UNAVAILABLE (the launcher is gone).
 */
ADIT_MUST_CHECK int host_choose_isolation(struct host *h, uv_loop_t *uv,
                                          const struct broker_conf *c, struct adit_err *err);
/* Close it; the loop must run on for a moment. Sandboxes stay. */
void host_close(struct host *h);

#endif
