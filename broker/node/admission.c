/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own admission.
 *
 * Theory of operation
 *
 * The scheduler chooses by what it was told some time ago; the last word is here, before anything
 * is made. Four figures are kept: count, virtual CPUs, memory, disk. Adopted sandboxes are counted
 * without a question, so the sums may lie above a capacity that was configured smaller since; then
 * nothing new is admitted.
 */
#include "broker/node/admission.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static uint64_t memory_mb(void)
{
    struct sysinfo info;
    return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit >> 20;
}

static uint64_t disk_mb(const char *dir)
{
    struct statvfs fs;
    return statvfs(dir, &fs) ? 0 : (uint64_t)fs.f_blocks * fs.f_frsize >> 20;
}

void admission_init(struct admission *a, const struct admission_conf *conf, const char *dir)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *a = (struct admission){
        .cpu_cap = (uint64_t)(cores > 0 ? cores : 1) * conf->cpu_percent / 100,
        .memory_mb_cap = memory_mb() * conf->memory_percent / 100,
        .disk_mb_cap = disk_mb(dir) * conf->disk_percent / 100,
        .sandbox_max = conf->sandbox_max,
    };
}

/* What a refusal names. */
static int check(const char *what, uint64_t ask, uint64_t used, uint64_t cap, struct adit_err *err)
{
    if (used <= cap && ask <= cap - used)
        return 0;
    return adit_err_set(
        err, ADIT_ERR_UNAVAILABLE, "this node is full: %llu %s asked for, %llu of %llu taken",
        (unsigned long long)ask, what, (unsigned long long)used, (unsigned long long)cap);
}

int admission_take(struct admission *a, const struct admission_ask *ask, struct adit_err *err)
{
    int rc;
    if ((rc = check("sandbox", 1, a->sandbox_cnt, a->sandbox_max, err)) ||
        (rc = check("virtual CPUs", ask->cpu_count, a->cpu_used, a->cpu_cap, err)) ||
        (rc = check("MiB of memory", ask->memory_mb, a->memory_mb_used, a->memory_mb_cap, err)) ||
        (rc = check("MiB of disk", ask->disk_mb, a->disk_mb_used, a->disk_mb_cap, err)))
        return rc;
    admission_force(a, ask);
    return 0;
}

void admission_force(struct admission *a, const struct admission_ask *ask)
{
    a->sandbox_cnt++;
    a->cpu_used += ask->cpu_count;
    a->memory_mb_used += ask->memory_mb;
    a->disk_mb_used += ask->disk_mb;
}

void admission_give_back(struct admission *a, const struct admission_ask *ask)
{
    a->sandbox_cnt--;
    a->cpu_used -= ask->cpu_count;
    a->memory_mb_used -= ask->memory_mb;
    a->disk_mb_used -= ask->disk_mb;
}
