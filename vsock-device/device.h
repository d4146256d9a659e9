/* SPDX-License-Identifier: Apache-2.0 */
/* The device: one VM's vsock, its front end on one socket, its clients on another; one loop. */
#ifndef ADIT_VSOCK_DEVICE_DEVICE_H
#define ADIT_VSOCK_DEVICE_DEVICE_H

#include <stdint.h>

#include "base/err.h"

/* Chains of one ring that are served before the other ring and the sockets get their turn. */
#define DEVICE_BATCH 64
/* Events that one turn of the loop takes. */
#define DEVICE_EVENTS 64

struct device;

/*
 * @vhost_fd:  connected to the VMM's front end; taken
 * @listen_fd: on which clients come in, non-blocking; taken
 * @seed:      anything (vsock_core_new())
 * On failure both are closed. Errors: NO_MEMORY, of system calls.
 */
ADIT_MUST_CHECK int device_new(int vhost_fd, int listen_fd, uint64_t guest_cid, uint32_t seed,
                               struct device **out, struct adit_err *err);
/*
 * Serve until the VMM leaves. Return: 0 then. Errors: PROTOCOL: the VMM or its guest broke the
 * protocol; others: of system calls.
 */
ADIT_MUST_CHECK int device_run(struct device *d, struct adit_err *err);
void device_free(struct device *d); /* NULL is allowed */

#endif
