/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Durations use the monotonic clock; wall time only for records, certificates and logs. Both
 * can be replaced by tests.
 */
#ifndef ADIT_BASE_CLOCK_H
#define ADIT_BASE_CLOCK_H

#include <stdint.h>

#include "base/view.h"

uint64_t adit_clock_mono_ns(void);
/* Nanoseconds since 1970-01-01 UTC. */
int64_t adit_clock_wall_ns(void);

/* Tests: replace either source; NULL restores the system's. */
void adit_clock_set(uint64_t (*mono_ns)(void), int64_t (*wall_ns)(void));

/* "2026-11-21T07:08:09.123456789Z" and shorter: 0, 3, 6 or 9 fractional digits, as few as say all.
 */
#define ADIT_CLOCK_RFC3339_CAP 40
void adit_clock_format_rfc3339(int64_t wall_ns, char out[ADIT_CLOCK_RFC3339_CAP]);
/* The same with always three digits, cut, not rounded: columns of a log stay aligned. */
void adit_clock_format_ms(int64_t wall_ns, char out[ADIT_CLOCK_RFC3339_CAP]);
/* RFC 3339 with Z or offset, 0 to 9 fractional digits. Errors: ADIT_ERR_BAD_INPUT. */
ADIT_MUST_CHECK int adit_clock_parse_rfc3339(struct adit_view v, int64_t *wall_ns);

#endif
