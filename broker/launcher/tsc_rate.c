/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate of this machine's time stamp counter.
 *
 * Theory of operation
 *
 * What:    QEMU's emulation shows a guest the counter of the host. The guest's kernel measures its
 *          rate against an emulated timer when it starts, which does not work when the emulation
 * has to share its core: it then goes without a clock and hangs. So it is told the rate, which
 *          nothing on the host tells: it is measured here against the host's clock.
 * How:     counter and clock are read together, twice; a reading between whose parts the process
 * did not run for a moment is made again.
 */
#include "broker/launcher/tsc_rate.h"

#include <stdbool.h>
#include <time.h>

#define ATTEMPTS 1000
/* The clock before and after the counter: at most 50 millionths of what is measured. */
#define GAP_NS 1000

#ifdef __x86_64__
#include <x86intrin.h>

static int64_t clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &now); /* cannot fail */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool read_both(uint64_t *counter, int64_t *ns)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        int64_t before = clock_ns();
        *counter = __rdtsc();
        *ns = clock_ns();
        if (*ns - before <= GAP_NS)
            return true;
    }
    return false;
}

uint32_t tsc_rate_khz(void)
{
    const struct timespec interval = {.tv_nsec = TSC_RATE_MS * 1000000};
    uint64_t from, to;
    int64_t from_ns, to_ns;
    if (!read_both(&from, &from_ns))
        return 0;
    (void)nanosleep(&interval, NULL); /* what is measured: however long it was */
    if (!read_both(&to, &to_ns) || to <= from)
        return 0;
    return (uint32_t)((to - from) * 1000000 / (uint64_t)(to_ns - from_ns));
}
#else
uint32_t tsc_rate_khz(void)
{
    return 0;
}
#endif
