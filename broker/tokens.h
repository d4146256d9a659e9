/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of sandboxes, derived from one secret of this installation. */
#ifndef BROKER_TOKENS_H
#define BROKER_TOKENS_H

#include "base/sha256.h"
#include "broker/sandbox_id.h"

#define TOKENS_SEED_LEN 32
#define TOKENS_CAP (2 * ADIT_SHA256_LEN + 1)

struct tokens {
    uint8_t seed[TOKENS_SEED_LEN];
};

/* Read "<state_dir>/seed", made at the first start (mode 0600). Errors: BAD_INPUT (not ours), IO…
 */
ADIT_MUST_CHECK int tokens_load(const char *state_dir, struct tokens *out, struct adit_err *err);
/* Lower-case hexadecimal, the same for as long as nobody rotates them. @generation: 0 at first. */
void tokens_envd(const struct tokens *t, const char *sandbox_id, uint32_t generation,
                 char out[TOKENS_CAP]);
void tokens_traffic(const struct tokens *t, const char *sandbox_id, uint32_t generation,
                    char out[TOKENS_CAP]);
/* The sandbox id that belongs to a team's idempotency key: the same key, the same sandbox. */
void tokens_sandbox_id(const struct tokens *t, const char *team_id, struct adit_view key,
                       char out[SANDBOX_ID_CAP]);

#endif
