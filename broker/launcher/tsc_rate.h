/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate of this machine's time stamp counter.
 */
#ifndef BROKER_LAUNCHER_TSC_RATE_H
#define BROKER_LAUNCHER_TSC_RATE_H

#include <stdint.h>

/* Takes TSC_RATE_MS. Return: kHz; 0 where there is no such counter or it cannot be measured. */
#define TSC_RATE_MS 20
uint32_t tsc_rate_khz(void);

#endif
