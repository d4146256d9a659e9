/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: at most @burst at once, refilled at @per_second. Clock passed in. */
#ifndef ADIT_BASE_LIMIT_H
#define ADIT_BASE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* Larger figures are taken as this. */
#define ADIT_LIMIT_MAX UINT64_C(1000000000)

struct adit_limit {
    uint64_t burst, per_second, tokens_milli, last_ns;
};

void adit_limit_init(struct adit_limit *l, uint64_t burst, uint64_t per_second, uint64_t now_ns);
/* Take one. Return: false when the bucket is empty. */
bool adit_limit_take(struct adit_limit *l, uint64_t now_ns);
/* What was taken last was not needed. */
void adit_limit_give_back(struct adit_limit *l);

#endif
