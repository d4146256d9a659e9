/* SPDX-License-Identifier: Apache-2.0 */
/* A digest of everything that a build depends on, to see that nothing has to be done. */
#ifndef ROOTFS_BUILDER_FINGERPRINT_H
#define ROOTFS_BUILDER_FINGERPRINT_H

#include "base/buf.h"
#include "base/sha256.h"

/* Inputs in all. */
#define FINGERPRINT_INPUTS_CAP (8u * 1024 * 1024)
/* In hex. */
#define FINGERPRINT_LEN (2 * ADIT_SHA256_LEN)

/* Append one input to @inputs, so that no two lists of inputs look the same. Errors: LIMIT,
 * NO_MEMORY. */
ADIT_MUST_CHECK int fingerprint_add(struct adit_buf *inputs, const char *name,
                                    struct adit_view value);
/* The same with a file's name and what is in it. Errors also: those of reading it. */
ADIT_MUST_CHECK int fingerprint_add_file(struct adit_buf *inputs, const char *name,
                                         const char *path, struct adit_err *err);
void fingerprint_make(const struct adit_buf *inputs, char out[FINGERPRINT_LEN + 1]);

#endif
