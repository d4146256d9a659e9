/* SPDX-License-Identifier: Apache-2.0 */
/* Does one more sandbox fit on this host? Pure accounting. */
#ifndef BROKER_NODE_ADMISSION_H
#define BROKER_NODE_ADMISSION_H

#include <stdint.h>

#include "base/err.h"

struct admission_ask {
    uint32_t cpu_count;
    uint64_t memory_mb, disk_mb;
};

/* Capacities have overcommit applied. */
struct admission {
    uint64_t cpu_cap, memory_mb_cap, disk_mb_cap, sandbox_max;
    uint64_t cpu_used, memory_mb_used, disk_mb_used, sandbox_cnt;
};

/* What may be given out, in percent of what there is. */
struct admission_conf {
    uint64_t cpu_percent, memory_percent, disk_percent, sandbox_max;
};

/* Capacity of this machine, and of the file system @dir is on, times the overcommit figures. */
void admission_init(struct admission *a, const struct admission_conf *conf, const char *dir);
/* Errors: UNAVAILABLE, the message says what is short and by how much. */
ADIT_MUST_CHECK int admission_take(struct admission *a, const struct admission_ask *ask,
                                   struct adit_err *err);
/* Take without asking: it runs already (adopted). */
void admission_force(struct admission *a, const struct admission_ask *ask);
void admission_give_back(struct admission *a, const struct admission_ask *ask);

#endif
