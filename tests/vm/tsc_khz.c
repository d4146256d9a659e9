/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Print how many thousand times a second this machine's time stamp counter counts. A guest under
 * software emulation has the same counter, and on a busy host no luck in measuring it.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define SPAN_NS 50000000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(void)
{
    uint64_t ns = now_ns(), ticks = __rdtsc(), spent;
    while ((spent = now_ns() - ns) < SPAN_NS)
        ;
    printf("%llu\n", (unsigned long long)((__rdtsc() - ticks) * 1000000 / spent));
    return 0;
}
