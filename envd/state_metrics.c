/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox uses: processors, memory, disk. */
/*
 * Theory of operation
 *
 * Figures of the whole guest come from /proc. Where the guest is a container, the root of its
 * cgroup name space carries limits (cgroup v2): then those and its own accounting count. All files
 * are read from memory by the kernel, so they are read on the loop.
 *
 * The processor figure is the share of the time since the last call, 0 to 100 over all processors;
 * at the first call it is 0.
 *
 * Failure: a figure that cannot be read is 0.
 */
#include "envd/state.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/file.h"

#define CGROUP "/sys/fs/cgroup/"
#define MIB (UINT64_C(1024) * 1024)
#define FILE_CAP (64 * 1024)
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US 1000

struct figures {
    uint64_t cpu_cnt, mem_total, mem_used, mem_cache, disk_total, disk_used;
    double cpu_used_pct;
};

static bool read_file(const char *path, struct adit_buf *out)
{
    adit_buf_init(out, FILE_CAP);
    return adit_file_read(AT_FDCWD, path, out, NULL) == 0;
}

/* The first number in @v, or 0. */
static uint64_t first_number(struct adit_view v)
{
    uint64_t n = 0;
    size_t i = 0;
    while (i < v.len && (v.ptr[i] < '0' || v.ptr[i] > '9'))
        i++;
    for (; i < v.len && v.ptr[i] >= '0' && v.ptr[i] <= '9' && n < UINT64_MAX / 20; i++)
        n = n * 10 + (uint64_t)(v.ptr[i] - '0');
    return n;
}

/* The number behind @key at the start of a line. */
static uint64_t number_of(struct adit_view file, const char *key)
{
    struct adit_view line;
    while (file.len) {
        (void)adit_view_split(file, '\n', &line, &file); /* the last line may lack its end */
        if (adit_view_has_prefix(line, key)) {
            size_t len = strlen(key);
            return first_number(adit_view_mem(line.ptr + len, line.len - len));
        }
    }
    return 0;
}

/* The number in a file of the cgroup. Return: false for "max" and when there is none. */
static bool cgroup_number(const char *path, uint64_t *out)
{
    struct adit_buf file;
    bool is_read = read_file(path, &file);
    struct adit_view text = adit_buf_view(&file);
    bool is_number = is_read && text.len && text.ptr[0] >= '0' && text.ptr[0] <= '9';
    if (is_number)
        *out = first_number(text);
    adit_buf_fini(&file);
    return is_number;
}

/* ---- memory ---- */

static void read_memory(struct figures *f)
{
    struct adit_buf file;
    if (read_file("/proc/meminfo", &file)) {
        struct adit_view text = adit_buf_view(&file);
        f->mem_total = number_of(text, "MemTotal:") * 1024;
        f->mem_used = f->mem_total - number_of(text, "MemAvailable:") * 1024;
        f->mem_cache = number_of(text, "Cached:") * 1024;
    }
    adit_buf_fini(&file);
}

static void read_cgroup_memory(struct figures *f)
{
    uint64_t max, current;
    struct adit_buf file;
    if (!cgroup_number(CGROUP "memory.max", &max) || max >= f->mem_total ||
        !cgroup_number(CGROUP "memory.current", &current))
        return;
    f->mem_total = max;
    f->mem_cache = 0;
    if (read_file(CGROUP "memory.stat", &file))
        f->mem_cache = number_of(adit_buf_view(&file), "file ");
    adit_buf_fini(&file);
    f->mem_used = current > f->mem_cache ? current - f->mem_cache : 0;
}

/* ---- processors ---- */

/* "cpu  user nice system idle iowait irq softirq steal …"; guest time is in user time. */
static void read_cpu_time(struct envd_cpu_time *t)
{
    struct adit_buf file;
    struct adit_view line, field, rest;

    *t = (struct envd_cpu_time){0, 0};
    if (read_file("/proc/stat", &file)) {
        (void)adit_view_split(adit_buf_view(&file), '\n', &line, &rest); /* the sum is first */
        (void)adit_view_split(line, ' ', &field, &line);
        line = adit_view_trim(line);
        for (int i = 0; i < 8 && line.len; i++) {
            (void)adit_view_split(line, ' ', &field, &line);
            uint64_t n = first_number(field);
            t->total += n;
            t->busy += i == 3 || i == 4 ? 0 : n;
        }
    }
    adit_buf_fini(&file);
}

/* With a quota: what the cgroup used of what it may use. */
static void read_cgroup_cpu_time(struct figures *f, struct envd_cpu_time *t)
{
    uint64_t quota;
    struct adit_buf max, stat;
    bool has_max = read_file(CGROUP "cpu.max", &max),
         has_stat = read_file(CGROUP "cpu.stat", &stat);
    struct adit_view quota_text, period_text;

    (void)adit_view_split(adit_buf_view(&max), ' ', &quota_text, &period_text);
    uint64_t period = first_number(period_text);
    if (has_max && has_stat && period && adit_view_u64(quota_text, UINT64_MAX, &quota) == 0) {
        uint64_t cnt = (quota + period - 1) / period;
        if (cnt < f->cpu_cnt)
            f->cpu_cnt = cnt ? cnt : 1;
        t->busy = number_of(adit_buf_view(&stat), "usage_usec ") * NS_PER_US;
        t->total = adit_clock_mono_ns() / period * quota;
    }
    adit_buf_fini(&max);
    adit_buf_fini(&stat);
}

static void read_cpu(struct envd *e, struct figures *f)
{
    struct envd_cpu_time now;
    cpu_set_t set;

    f->cpu_cnt = sched_getaffinity(0, sizeof set, &set) ? 1 : (uint64_t)CPU_COUNT(&set);
    read_cpu_time(&now);
    read_cgroup_cpu_time(f, &now);
    if (e->cpu_before.total && now.total > e->cpu_before.total && now.busy >= e->cpu_before.busy)
        f->cpu_used_pct = 100.0 * (double)(now.busy - e->cpu_before.busy) /
                          (double)(now.total - e->cpu_before.total);
    if (f->cpu_used_pct > 100)
        f->cpu_used_pct = 100;
    e->cpu_before = now;
}

static void read_disk(struct figures *f)
{
    struct statvfs fs;
    if (statvfs("/", &fs))
        return;
    f->disk_total = (uint64_t)fs.f_blocks * fs.f_frsize;
    f->disk_used = f->disk_total - (uint64_t)fs.f_bavail * fs.f_frsize;
}

int state_append_metrics(struct envd *e, struct adit_buf *out)
{
    struct figures f = {0};
    read_memory(&f);
    read_cgroup_memory(&f);
    read_cpu(e, &f);
    read_disk(&f);
    return adit_buf_appendf(
        out,
        "{\"ts\":%llu,\"cpu_count\":%llu,\"cpu_used_pct\":%.2f,\"mem_total_mib\":%llu,"
        "\"mem_used_mib\":%llu,\"mem_total\":%llu,\"mem_used\":%llu,\"mem_cache\":%llu,"
        "\"disk_used\":%llu,\"disk_total\":%llu}",
        (unsigned long long)((uint64_t)adit_clock_wall_ns() / NS_PER_S),
        (unsigned long long)f.cpu_cnt, f.cpu_used_pct, (unsigned long long)(f.mem_total / MIB),
        (unsigned long long)(f.mem_used / MIB), (unsigned long long)f.mem_total,
        (unsigned long long)f.mem_used, (unsigned long long)f.mem_cache,
        (unsigned long long)f.disk_used, (unsigned long long)f.disk_total);
}
