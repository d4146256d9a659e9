/* SPDX-License-Identifier: Apache-2.0 */
/* How the benchmarks print a figure: a line each, as figure() of bench/support.py does. */
#ifndef BENCH_FIGURE_H
#define BENCH_FIGURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum figure_verdict { FIGURE_MISSED, FIGURE_MET, FIGURE_NO_AIM };

/*
 * Print whether the aim is met, what the figure is of, the aim, and what was seen.
 *
 * @is_met: as a truth value, or FIGURE_NO_AIM
 */
static inline __attribute__((format(printf, 4, 5))) void
figure_print(enum figure_verdict is_met, const char *what, const char *aim, const char *seen, ...)
{
    static const char *const words[] = {"missed", "ok", "-"};
    va_list args;

    printf("%-7s %-52s aim %-22s seen ", words[is_met], what, aim);
    va_start(args, seen);
    vprintf(seen, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static inline enum figure_verdict figure_is(bool met)
{
    return met ? FIGURE_MET : FIGURE_MISSED;
}

/* Every size and time of the aims; otherwise what takes minutes is cut short. */
static inline bool figure_is_full(void)
{
    const char *scale = getenv("ADIT_BENCH_SCALE");

    return scale && strcmp(scale, "full") == 0;
}

#endif
