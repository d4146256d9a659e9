/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own admission.
 *
 * Theory of operation
 *
 * The scheduler chooses by what it was told some time ago; the last word is here, before anything
 * is made. Three figures are kept: virtual CPUs, memory, count. Adopted sandboxes are counted
 * without a question, so the sums may lie above a capacity that was configured smaller since; then
 * nothing new is admitted.
 */
#include "broker/node/admission.h"

#include <stdbool.h>
#include <sys/sysinfo.h>
#include <unistd.h>

void admission_init(struct admission *a, uint64_t cpu_percent, uint64_t memory_percent,
                    uint64_t sandbox_max)
{
    struct sysinfo info;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t memory_mb = 0;
    if (sysinfo(&info) == 0)
        memory_mb = (uint64_t)info.totalram * info.mem_unit >> 20;
    *a = (struct admission){
        .cpu_cap = (uint64_t)(cores > 0 ? cores : 1) * cpu_percent / 100,
        .memory_mb_cap = memory_mb * memory_percent / 100,
        .sandbox_max = sandbox_max,
    };
}

static bool fits(uint64_t cap, uint64_t used, uint64_t ask)
{
    return used <= cap && ask <= cap - used;
}

int admission_take(struct admission *a, const struct admission_ask *ask, struct adit_err *err)
{
    if (!fits(a->sandbox_max, a->sandbox_cnt, 1))
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE,
                            "this node is full: it runs %llu of at most %llu sandboxes",
                            (unsigned long long)a->sandbox_cnt, (unsigned long long)a->sandbox_max);
    if (!fits(a->cpu_cap, a->cpu_used, ask->cpu_count))
        return adit_err_set(
            err, ADIT_ERR_UNAVAILABLE,
            "this node is full: %u virtual CPUs were asked for, %llu of %llu are taken",
            ask->cpu_count, (unsigned long long)a->cpu_used, (unsigned long long)a->cpu_cap);
    if (!fits(a->memory_mb_cap, a->memory_mb_used, ask->memory_mb))
        return adit_err_set(
            err, ADIT_ERR_UNAVAILABLE,
            "this node is full: %llu MiB of memory were asked for, %llu of %llu are taken",
            (unsigned long long)ask->memory_mb, (unsigned long long)a->memory_mb_used,
            (unsigned long long)a->memory_mb_cap);
    admission_force(a, ask);
    return 0;
}

void admission_force(struct admission *a, const struct admission_ask *ask)
{
    a->sandbox_cnt++;
    a->cpu_used += ask->cpu_count;
    a->memory_mb_used += ask->memory_mb;
}

void admission_give_back(struct admission *a, const struct admission_ask *ask)
{
    a->sandbox_cnt--;
    a->cpu_used -= ask->cpu_count;
    a->memory_mb_used -= ask->memory_mb;
}
