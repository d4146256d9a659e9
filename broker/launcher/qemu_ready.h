/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting until a QEMU that was started takes orders.
 */
#ifndef BROKER_LAUNCHER_QEMU_READY_H
#define BROKER_LAUNCHER_QEMU_READY_H

#include <sys/types.h>

#include "base/err.h"

/*
 * Say hello on the QMP socket @name in the directory @dir_fd, which is @owner's, and wait at most
 * @wait_ms for the answer: QEMU gives it when the machine is made and runs. Errors: TIMEOUT, CLOSED
 * (it ended), IO, BAD_INPUT (something else is in the place of the socket).
 */
ADIT_MUST_CHECK int qemu_ready_wait(int dir_fd, const char *name, uid_t owner, unsigned wait_ms,
                                    struct adit_err *err);

#endif
