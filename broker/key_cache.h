/* SPDX-License-Identifier: Apache-2.0 */
/* API keys that the scheduler vouched for, for a few seconds. */
#ifndef BROKER_KEY_CACHE_H
#define BROKER_KEY_CACHE_H

#include "base/map.h"
#include "base/sha256.h"

/* With the longest answer of the scheduler (SCHEDULER_CLIENT_TIMEOUT_MS): 5 s after it was revoked
 * a key is nowhere known any more. */
#define KEY_CACHE_TTL_MS 3000
#define KEY_CACHE_MAX 10000
#define KEY_CACHE_TEAM_CAP 64
/* Longest key accepted, in bytes after decoding. */
#define KEY_CACHE_KEY_MAX 64

struct key_cache {
    struct adit_map by_hash; /* SHA-256 → struct entry */
};

void key_cache_init(struct key_cache *c);
void key_cache_fini(struct key_cache *c);
/* @now_ns: monotonic. Return: false when unknown or older than KEY_CACHE_TTL_MS. */
bool key_cache_get(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   char team_id[KEY_CACHE_TEAM_CAP]);
/* Best effort: without memory the key is simply asked for again. */
void key_cache_put(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   const char *team_id);

/* "e2b_" and lower-case hexadecimal → SHA-256 of the decoded bytes. Errors: UNAUTHENTICATED. */
ADIT_MUST_CHECK int key_cache_hash(struct adit_view key, uint8_t hash[ADIT_SHA256_LEN]);

#endif
