/* SPDX-License-Identifier: Apache-2.0 */
/* The Cloud Hypervisor driver. */
#ifndef BROKER_VMM_CLOUD_HYPERVISOR_H
#define BROKER_VMM_CLOUD_HYPERVISOR_H

#include "broker/vmm/monitor.h"

void cloud_hypervisor_init(struct monitor *out, const char *unusable);
/* The orders that make and start a machine. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int cloud_hypervisor_plan(const struct monitor_machine *m, struct vmm_api_plan *out,
                                          struct adit_err *err);

#endif
