/* SPDX-License-Identifier: Apache-2.0 */
/* One measurement of a sandbox: as envd tells it, and as it is kept on disk. No I/O. */
#ifndef BROKER_NODE_SAMPLE_H
#define BROKER_NODE_SAMPLE_H

#include <stdint.h>

#include "base/view.h"

/* Between two measurements of a sandbox. */
#define SAMPLE_INTERVAL_MS 5000
/* Longest answer of a guest that is looked at. */
#define SAMPLE_TEXT_CAP 4096
/* A record on disk. */
#define SAMPLE_LEN 64
/* What a guest may claim. */
#define SAMPLE_CPUS_MAX 4096
#define SAMPLE_BYTES_MAX (UINT64_C(1) << 60)

/*
 * @at_ms:         wall clock of the broker
 * @cpu_centi_pct: share of all processors in use since the sample before, 0 to 10,000
 */
struct sample {
    int64_t at_ms;
    uint32_t cpu_cnt, cpu_centi_pct;
    uint64_t mem_used, mem_total, mem_cache, disk_used, disk_total; /* bytes */
};

/* What envd answered to GET /metrics; @out->at_ms is the caller's. A figure that is missing,
 * negative, no number or out of its range refuses the whole. Errors: BAD_INPUT, NO_MEMORY. */
ADIT_MUST_CHECK int sample_parse(struct adit_view text, struct sample *out, struct adit_err *err);
void sample_encode(const struct sample *s, uint8_t out[SAMPLE_LEN]);
/* Return: false for a record that is torn or none. */
bool sample_decode(const uint8_t in[SAMPLE_LEN], struct sample *out);

#endif
