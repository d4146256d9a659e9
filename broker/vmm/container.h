/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container driver: sandboxes as OCI containers, started by the launcher. docs/isolation.md
 * says what that isolates and what not.
 */
#ifndef BROKER_VMM_CONTAINER_H
#define BROKER_VMM_CONTAINER_H

#include <uv.h>

#include "broker/launcher/launcher_client.h"
#include "broker/vmm/vmm.h"

/*
 * @client:    borrowed; outlives the driver
 * @isolation: "container", or "gvisor" when the launcher's runtime is runsc
 * @on_exited: a sandbox ended by itself; not called for one that is being destroyed
 */
struct container_conf {
    uv_loop_t *loop;
    struct launcher_client *client;
    const char *isolation;
    vmm_exited_fn on_exited;
    void *owner;
};

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int container_open(const struct container_conf *conf, struct vmm **out,
                                   struct adit_err *err);
/* The functions to call with what container_open() gave. */
const struct vmm_driver *container_driver(const struct vmm *v);
/* Sandboxes stay. Creates and destroys that are on their way must have called back. Closes the
 * driver's handles on the loop and frees it. */
void container_close(struct vmm *v);

#endif
