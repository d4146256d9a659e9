/* SPDX-License-Identifier: Apache-2.0 */
/* The Firecracker driver. */
#ifndef BROKER_VMM_FIRECRACKER_H
#define BROKER_VMM_FIRECRACKER_H

#include "broker/vmm/monitor.h"

#define FIRECRACKER_CPU_MAX 32u

void firecracker_init(struct monitor *out, const char *unusable);
/* The orders that make and start a machine. Errors: NO_MEMORY, LIMIT (more processors than it
 * has). */
ADIT_MUST_CHECK int firecracker_plan(const struct monitor_machine *m, struct vmm_api_plan *out,
                                     struct adit_err *err);
/* Whether the first line of "firecracker --version" names 1.16.1 or a later one; earlier ones let a
 * guest write outside of its memory (CVE-2026-5747). */
bool firecracker_is_recent(struct adit_view version);

#endif
