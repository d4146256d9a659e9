/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's processor is called, for lists of nodes. */
#ifndef BROKER_MACHINE_H
#define BROKER_MACHINE_H

#include "base/view.h"

#define MACHINE_TEXT_CAP 64

/* Printable ASCII, cut to the room; what the kernel does not tell is empty. */
struct machine {
    char cpu_family[MACHINE_TEXT_CAP], cpu_model[MACHINE_TEXT_CAP];
    char cpu_model_name[MACHINE_TEXT_CAP], cpu_architecture[MACHINE_TEXT_CAP];
};

/* Of this host. Reads /proc/cpuinfo, so it comes before privileges are given up. */
void machine_read(struct machine *out);
/* The first processor of /proc/cpuinfo; @out->cpu_architecture is not touched. */
void machine_parse(struct adit_view cpuinfo, struct machine *out);

#endif
