/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on stderr.
 *
 * Theory of operation
 *
 * A line is: time, level, program, event name, then key=value pairs in the order given:
 *   2026-11-21T07:08:09.123Z info broker sandbox_running sandbox=i3k… ms=12
 * or one JSON object with the same fields; the first four are "timestamp", "level", "logger" and
 * "message", as clients of sandboxes know them. Values are escaped and cut at ADIT_LOG_VALUE_CAP,
 * so that guest or client text can neither forge a line nor flood one. A line is formatted on the
 * stack and written with one write(2); errno is kept; nothing allocates. A line that cannot be
 * written at once (EAGAIN) is dropped and counted, and the count is logged with the next one.
 * Thread-safe. Not to be called from a signal handler. Never log tokens, environment values or file
 * contents.
 *
 * Use:  adit_log(ADIT_LOG_INFO, "sandbox_running", LOG_S("sandbox", id), LOG_U("ms", ms));
 */
#ifndef ADIT_BASE_LOG_H
#define ADIT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define ADIT_LOG_LINE_CAP 2048
#define ADIT_LOG_VALUE_CAP 512

enum adit_log_level { ADIT_LOG_DEBUG, ADIT_LOG_INFO, ADIT_LOG_WARN, ADIT_LOG_ERROR };

struct adit_log_field {
    const char *key;
    char kind; /* 's' text, 'u' unsigned, 'd' signed, 0 end */
    struct adit_view text;
    uint64_t number;
};

#define LOG_S(k, s) ((struct adit_log_field){(k), 's', adit_view_str(s), 0})
#define LOG_V(k, v) ((struct adit_log_field){(k), 's', (v), 0})
#define LOG_U(k, n) ((struct adit_log_field){(k), 'u', {NULL, 0}, (uint64_t)(n)})
#define LOG_D(k, n) ((struct adit_log_field){(k), 'd', {NULL, 0}, (uint64_t)(int64_t)(n)})
/* Of a struct adit_err: its message under "error". */
#define LOG_ERR(err) LOG_S("error", (err)->msg)

/* Once at start. @program is kept by reference. */
void adit_log_init(const char *program, enum adit_log_level level, bool json);
bool adit_log_enabled(enum adit_log_level level);
/* "debug" "info" "warn" "error". Errors: ADIT_ERR_BAD_INPUT. */
ADIT_MUST_CHECK int adit_log_level_parse(const char *text, enum adit_log_level *level);
const char *adit_log_level_name(enum adit_log_level level);

void adit_log_fields(enum adit_log_level level, const char *event,
                     const struct adit_log_field *fields);

#define adit_log(level, event, ...)                                                                \
    do {                                                                                           \
        if (adit_log_enabled(level))                                                               \
            adit_log_fields((level), (event),                                                      \
                            (const struct adit_log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}});       \
    } while (0)

#endif
