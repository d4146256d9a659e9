/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker has of its host: directories, the launcher, the driver. */
#ifndef BROKER_HOST_H
#define BROKER_HOST_H

#include <uv.h>

#include "broker/broker_conf.h"
#include "broker/launcher/launcher_client.h"
#include "broker/vmm/vmm.h"

/* owned by: main() */
struct host {
    int launcher_fd;
    struct launcher_client *launcher;
    struct vmm *vmm;
    const struct vmm_driver *driver;
    void (*on_lost)(void *owner); /* may be NULL */
    void *owner;
};

/*
 * Make the directories, fork the launcher, lock the state directory. The caller has one thread and
 * no loop. Errors: as launcher_start(); EXISTS (another broker uses the directory), IO…
 */
ADIT_MUST_CHECK int host_prepare(struct host *h, const struct broker_conf *c, struct adit_err *err);
/*
 * Open the driver. @on_exited and @on_lost get @owner. @on_lost (may be NULL): the launcher is gone
 * for good, nothing can be created or ended any more. Errors: NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int host_open(struct host *h, uv_loop_t *uv, const struct broker_conf *c,
                              vmm_exited_fn on_exited, void (*on_lost)(void *owner), void *owner,
                              struct adit_err *err);
/* Close it; the loop must run on for a moment. Sandboxes stay. */
void host_close(struct host *h);

#endif
