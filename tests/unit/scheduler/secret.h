/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker sends for a key: the SHA-256 of the bytes that the key spells. */
#ifndef ADIT_TESTS_SCHEDULER_SECRET_H
#define ADIT_TESTS_SCHEDULER_SECRET_H

#include <check.h>

#include "base/encode.h"
#include "scheduler/keys.h"

static void hash_secret(const char *secret, uint8_t sha256[ADIT_SHA256_LEN])
{
    uint8_t bytes[KEYS_SECRET_LEN];
    struct adit_view digits =
        adit_view_mem(secret + sizeof(KEYS_SECRET_PREFIX) - 1, 2 * sizeof(bytes));
    ck_assert_int_eq(adit_hex_decode(digits, bytes, sizeof(bytes)), 0);
    adit_sha256(adit_view_mem(bytes, sizeof(bytes)), sha256);
}

#endif
