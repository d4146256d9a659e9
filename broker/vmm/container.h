/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container driver: sandboxes as OCI containers, started by the launcher. docs/isolation.md
 * says what that isolates and what not.
 */
#ifndef BROKER_VMM_CONTAINER_H
#define BROKER_VMM_CONTAINER_H

#include "broker/vmm/launched.h"

/* @all: borrowed. @isolation: "container", or "gvisor" when the launcher's runtime is runsc. */
void container_init(struct launched_vmm *out, struct launched *all, const char *isolation);

#endif
