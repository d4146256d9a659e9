/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures as text.
 *
 * Theory of operation
 *
 * A family is its HELP and TYPE lines and then its samples, together; the caller keeps that order.
 * Names and help texts are ours; values of labels may be somebody else's and are escaped as the
 * format says (backslash, quote, newline). Errors stick in @rc, and nothing is appended after one.
 */
#include "base/prom.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"

#define LABELS_MAX 8

void prom_init(struct prom *p, struct adit_buf *out)
{
    *p = (struct prom){out, "", 0};
}

static void put(struct prom *p, const char *text)
{
    if (p->rc == 0)
        p->rc = adit_buf_append_str(p->out, text);
}

static void put_escaped(struct prom *p, const char *text)
{
    for (; p->rc == 0 && *text; text++) {
        if (*text == '\n')
            p->rc = adit_buf_append_str(p->out, "\\n");
        else if (*text == '\\' || *text == '"')
            p->rc = adit_buf_appendf(p->out, "\\%c", *text);
        else
            p->rc = adit_buf_append_char(p->out, *text);
    }
}

void prom_family(struct prom *p, const char *name, const char *type, const char *help)
{
    p->name = name;
    if (p->rc == 0)
        p->rc = adit_buf_appendf(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* "name_suffix{a="b",…} " */
static void put_head(struct prom *p, const char *suffix, const struct prom_label *labels)
{
    put(p, p->name);
    put(p, suffix);
    for (size_t i = 0; labels && labels[i].name; i++) {
        put(p, i ? "," : "{");
        put(p, labels[i].name);
        put(p, "=\"");
        put_escaped(p, labels[i].value);
        put(p, labels[i + 1].name ? "\"" : "\"}");
    }
    put(p, " ");
}

static void put_u64(struct prom *p, uint64_t value)
{
    if (p->rc == 0)
        p->rc = adit_buf_appendf(p->out, "%" PRIu64 "\n", value);
}

static void put_real(struct prom *p, double value)
{
    if (p->rc == 0)
        p->rc = adit_buf_appendf(p->out, "%.9g\n", value);
}

void prom_u64(struct prom *p, const struct prom_label *labels, uint64_t value)
{
    put_head(p, "", labels);
    put_u64(p, value);
}

void prom_real(struct prom *p, const struct prom_label *labels, double value)
{
    put_head(p, "", labels);
    put_real(p, value);
}

void prom_counter(struct prom *p, const char *name, const char *help, uint64_t value)
{
    prom_family(p, name, "counter", help);
    prom_u64(p, NULL, value);
}

void prom_gauge(struct prom *p, const char *name, const char *help, double value)
{
    prom_family(p, name, "gauge", help);
    prom_real(p, NULL, value);
}

void prom_histogram(struct prom *p, const struct prom_label *label, const double *bounds,
                    const uint64_t *buckets, size_t bound_cnt, double sum)
{
    struct prom_label labels[LABELS_MAX] = {{NULL, NULL}};
    char bound[32];
    uint64_t count = 0;
    size_t cnt = 0;
    for (; label && label[cnt].name && cnt < LABELS_MAX - 2; cnt++)
        labels[cnt] = label[cnt];
    labels[cnt] = (struct prom_label){"le", bound};
    for (size_t i = 0; i <= bound_cnt; i++) {
        (void)snprintf(bound, sizeof(bound), "%.9g", i < bound_cnt ? bounds[i] : 0);
        labels[cnt].value = i < bound_cnt ? bound : "+Inf";
        count += buckets[i];
        put_head(p, "_bucket", labels);
        put_u64(p, count);
    }
    labels[cnt].name = NULL;
    put_head(p, "_sum", labels);
    put_real(p, sum);
    put_head(p, "_count", labels);
    put_u64(p, count);
}

/* ---- the process ---- */

static uint64_t open_descriptors(void)
{
    uint64_t cnt = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        cnt++;
    (void)closedir(dir);          /* only read */
    return cnt > 3 ? cnt - 3 : 0; /* ".", ".." and the directory's own */
}

static uint64_t resident_bytes(void)
{
    struct adit_buf text;
    struct adit_view size = {NULL, 0}, resident = {NULL, 0}, rest;
    uint64_t pages = 0;
    adit_buf_init(&text, 512);
    if (adit_file_read(AT_FDCWD, "/proc/self/statm", &text, NULL) == 0 &&
        adit_view_split(adit_buf_view(&text), ' ', &size, &rest))
        (void)adit_view_split(rest, ' ', &resident, &rest); /* the check is below */
    if (adit_view_u64(resident, UINT32_MAX, &pages))
        pages = 0;
    adit_buf_fini(&text);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void prom_process(struct prom *p, const char *build_family, const char *version)
{
    struct rusage use = {0};
    (void)getrusage(RUSAGE_SELF, &use); /* always valid */
    prom_family(p, build_family, "gauge", "Always 1; the labels say which build this is.");
    prom_u64(p, (const struct prom_label[]){{"version", version}, {NULL, NULL}}, 1);
    prom_family(p, "process_cpu_seconds_total", "counter", "Processor time, user and system.");
    prom_real(p, NULL,
              (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                  (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    prom_gauge(p, "process_resident_memory_bytes", "Resident memory.", (double)resident_bytes());
    prom_gauge(p, "process_open_fds", "Open descriptors.", (double)open_descriptors());
}
