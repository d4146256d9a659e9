/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's token for the administrative part of the API. */
#ifndef BROKER_ADMIN_TOKEN_H
#define BROKER_ADMIN_TOKEN_H

#include "base/sha256.h"

/* In the state directory, when no file is configured. */
#define ADMIN_TOKEN_FILE "admin-token"
#define ADMIN_TOKEN_MIN 16
#define ADMIN_TOKEN_MAX 256

struct admin_token {
    uint8_t sha256[ADIT_SHA256_LEN];
};

/*
 * Read @file, or "<state_dir>/admin-token" when that is empty, made at the first start (mode 0600).
 * It holds the token, or "sha256:" and the hexadecimal digest of it. Errors: BAD_INPUT (somebody
 * else may read it; no token in it), NOT_FOUND, IO…
 */
ADIT_MUST_CHECK int admin_token_load(const char *state_dir, const char *file,
                                     struct admin_token *out, struct adit_err *err);
/* In a time that does not depend on how near @text is. */
bool admin_token_matches(const struct admin_token *t, struct adit_view text);

#endif
