/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), on OpenSSL's SHA256_Init/Update/Final: those
 * three link to 20 KiB in the static agent, where the EVP interface would pull in 3 MiB.
 */
#ifndef ADIT_BASE_SHA256_H
#define ADIT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

#define ADIT_SHA256_LEN 32

void adit_sha256(struct adit_view data, uint8_t out[ADIT_SHA256_LEN]);
void adit_sha256_hmac(struct adit_view key, struct adit_view data, uint8_t out[ADIT_SHA256_LEN]);

/* A digest taken piece by piece; a copy of the struct goes on from the same place, so that the
 * beginning of many texts is digested once. */
struct adit_sha256 {
    uint64_t opaque[16];
};

void adit_sha256_begin(struct adit_sha256 *s);
void adit_sha256_add(struct adit_sha256 *s, struct adit_view data);
void adit_sha256_end(struct adit_sha256 *s, uint8_t out[ADIT_SHA256_LEN]);

#endif
