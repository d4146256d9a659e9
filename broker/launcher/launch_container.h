/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one container, as root, in a process of its own (it blocks).
 */
#ifndef BROKER_LAUNCHER_LAUNCH_CONTAINER_H
#define BROKER_LAUNCHER_LAUNCH_CONTAINER_H

#include "broker/launcher/launch_host.h"

/*
 * Start the container of a checked request. *pidfd belongs to the caller. The calling process gets
 * a mount namespace of its own. On failure nothing is left behind. Errors: BAD_INPUT (directories
 * outside of the configured ones, a template that is refused), EXISTS, NOT_FOUND, TIMEOUT, IO (with
 * the runtime's words).
 */
ADIT_MUST_CHECK int launch_container_create(const struct launch_host *h,
                                            const struct launch_request *r, pid_t *pid,
                                            uint64_t *pid_start, int *pidfd, struct adit_err *err);

#endif
