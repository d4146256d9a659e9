/* SPDX-License-Identifier: Apache-2.0 */
/* API keys that the scheduler vouched for a moment ago: who may go on while it does not answer. */
#ifndef BROKER_KEY_CACHE_H
#define BROKER_KEY_CACHE_H

#include "base/map.h"
#include "base/sha256.h"

/* A scheduler that was restarted answers again within this time. */
#define KEY_CACHE_TTL_MS 3000
#define KEY_CACHE_MAX 10000
#define KEY_CACHE_TEAM_CAP 65 /* a name of the scheduler, at most 64 */
/* Longest key accepted, in bytes after decoding. */
#define KEY_CACHE_KEY_MAX 64

/* Who a key stands for. @timeout_max_s: longest life of its sandboxes; 0: as configured */
struct key_identity {
    char key_id[KEY_CACHE_TEAM_CAP];
    char team_id[KEY_CACHE_TEAM_CAP];
    uint32_t timeout_max_s;
};

struct key_cache {
    struct adit_map by_hash; /* SHA-256 → struct entry */
};

void key_cache_init(struct key_cache *c);
void key_cache_fini(struct key_cache *c);
/* @now_ns: monotonic. Return: false when unknown or older than KEY_CACHE_TTL_MS. */
bool key_cache_get(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   struct key_identity *out);
/* Best effort: without memory the key has to wait for the scheduler. */
void key_cache_put(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   const struct key_identity *who);
/* The scheduler does not know it any more. */
void key_cache_drop(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN]);

/* "e2b_" and lower-case hexadecimal → SHA-256 of the decoded bytes. Errors: UNAUTHENTICATED. */
ADIT_MUST_CHECK int key_cache_hash(struct adit_view key, uint8_t hash[ADIT_SHA256_LEN]);

#endif
