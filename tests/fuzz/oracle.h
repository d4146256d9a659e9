/* SPDX-License-Identifier: Apache-2.0 */
/* What every harness begins with: its entry point, and a check that ends the run with the input. */
#ifndef ADIT_TESTS_FUZZ_ORACLE_H
#define ADIT_TESTS_FUZZ_ORACLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ORACLE(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
