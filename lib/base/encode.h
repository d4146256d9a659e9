/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of bytes: hexadecimal and base64 (RFC 4648). */
#ifndef ADIT_BASE_ENCODE_H
#define ADIT_BASE_ENCODE_H

#include "base/buf.h"

/* Lower-case; out needs 2 * len + 1 bytes. */
void adit_hex_encode(const void *p, size_t len, char *out);
ADIT_MUST_CHECK int adit_hex_decode(struct adit_view v, void *out, size_t out_len);

/* Bytes of base64 text for @n bytes, padded. */
static inline size_t adit_base64_len(size_t n)
{
    return (n + 2) / 3 * 4;
}
/* Standard alphabet, padded. */
ADIT_MUST_CHECK int adit_base64_append(struct adit_buf *b, const void *p, size_t len);
/*
 * Standard or URL-safe alphabet, with or without padding, nothing else (no white space).
 * @out has room for v.len / 4 * 3 + 3 bytes. Errors: ADIT_ERR_BAD_INPUT.
 */
ADIT_MUST_CHECK int adit_base64_decode(struct adit_view v, void *out, size_t *out_len);

#endif
