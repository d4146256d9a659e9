/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures in Prometheus' text format (version 0.0.4). No I/O.
 *
 * Names carry their unit ("_seconds", "_bytes"), counters end with "_total". A label's value may be
 * anything; it is escaped. The first error sticks: check @rc once, at the end.
 */
#ifndef ADIT_BASE_PROM_H
#define ADIT_BASE_PROM_H

#include "base/buf.h"

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prom {
    struct adit_buf *out;
    const char *name; /* of the family begun last */
    int rc;
};

/* Pairs of a name and a value; a NULL name ends them. */
struct prom_label {
    const char *name, *value;
};

void prom_init(struct prom *p, struct adit_buf *out);
/* Begin a family. @type: "counter", "gauge" or "histogram". */
void prom_family(struct prom *p, const char *name, const char *type, const char *help);
/* One sample of it. @labels may be NULL. */
void prom_u64(struct prom *p, const struct prom_label *labels, uint64_t value);
void prom_real(struct prom *p, const struct prom_label *labels, double value);
/* A whole family of one sample without labels. */
void prom_counter(struct prom *p, const char *name, const char *help, uint64_t value);
void prom_gauge(struct prom *p, const char *name, const char *help, double value);
/* One histogram of the family: @buckets has one more than @bounds and is not cumulative. */
void prom_histogram(struct prom *p, const struct prom_label *label, const double *bounds,
                    const uint64_t *buckets, size_t bound_cnt, double sum);
/* What every program tells of itself: build, CPU time, memory, open descriptors, start. */
void prom_process(struct prom *p, const char *build_family, const char *version);

#endif
