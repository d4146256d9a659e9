/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes and the identifiers made of them (getrandom(2)); fatal only if the kernel has none.
 */
#ifndef ADIT_BASE_RAND_H
#define ADIT_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void adit_rand_bytes(void *out, size_t len);
uint64_t adit_rand_u64(void);

/* @len characters of [a-z0-9] without bias, and a NUL: out needs len + 1 bytes. */
void adit_rand_id(char *out, size_t len);
/* Lower-case hexadecimal of @bytes random bytes, and a NUL: out needs 2 * bytes + 1. */
void adit_rand_hex(char *out, size_t bytes);
/* A random UUID (version 4) in text, with NUL. */
void adit_rand_uuid(char out[37]);

#endif
