/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes as containers.
 *
 * Theory of operation
 *
 * What: the launcher does all of it (broker/launcher/launch_container.c): a container needs nobody
 * beside its first process, and envd listens as soon as that runs.
 */
#include "broker/vmm/container.h"

void container_init(struct launched_vmm *out, struct launched *all, const char *isolation)
{
    *out = (struct launched_vmm){
        .vmm = {.driver = &launched_driver, .name = "container", .isolation = isolation},
        .all = all,
        .kind = LAUNCH_DRIVER_CONTAINER,
    };
}
