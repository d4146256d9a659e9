/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of known API keys.
 *
 * Theory of operation
 *
 * The scheduler is asked about every request's key, so that a revoked one is refused from that
 * moment on. What is kept here is for the moments in which it does not answer: good news only, for
 * KEY_CACHE_TTL_MS. Keys themselves are never kept, their hashes are. At KEY_CACHE_MAX entries the
 * cache starts anew.
 */
#include "broker/key_cache.h"

#include <stdlib.h>

#include "base/encode.h"

struct entry {
    uint64_t due_ns;
    struct key_identity who;
};

void key_cache_init(struct key_cache *c)
{
    adit_map_init(&c->by_hash);
}

void key_cache_fini(struct key_cache *c)
{
    size_t pos = 0;
    struct adit_view key;
    void *e;
    while (adit_map_next(&c->by_hash, &pos, &key, &e))
        free(e);
    adit_map_fini(&c->by_hash);
}

static struct adit_view hash_view(const uint8_t hash[ADIT_SHA256_LEN])
{
    return adit_view_mem(hash, ADIT_SHA256_LEN);
}

bool key_cache_get(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   struct key_identity *out)
{
    struct entry *e = adit_map_get(&c->by_hash, hash_view(hash));
    if (!e)
        return false;
    if (now_ns >= e->due_ns) {
        free(adit_map_del(&c->by_hash, hash_view(hash)));
        return false;
    }
    *out = e->who;
    return true;
}

void key_cache_put(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN], uint64_t now_ns,
                   const struct key_identity *who)
{
    if (c->by_hash.len >= KEY_CACHE_MAX) {
        key_cache_fini(c);
        key_cache_init(c);
    }
    struct entry *e = adit_map_get(&c->by_hash, hash_view(hash));
    if (!e) {
        e = calloc(1, sizeof(*e));
        if (!e)
            return;
        if (adit_map_put(&c->by_hash, hash_view(hash), e)) {
            free(e);
            return;
        }
    }
    e->due_ns = now_ns + KEY_CACHE_TTL_MS * UINT64_C(1000000);
    e->who = *who;
}

void key_cache_drop(struct key_cache *c, const uint8_t hash[ADIT_SHA256_LEN])
{
    free(adit_map_del(&c->by_hash, hash_view(hash)));
}

static bool is_lower_hex(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (!((v.ptr[i] >= '0' && v.ptr[i] <= '9') || (v.ptr[i] >= 'a' && v.ptr[i] <= 'f')))
            return false;
    return true;
}

int key_cache_hash(struct adit_view key, uint8_t hash[ADIT_SHA256_LEN])
{
    uint8_t bytes[KEY_CACHE_KEY_MAX];
    if (!adit_view_has_prefix(key, "e2b_"))
        return ADIT_ERR_UNAUTHENTICATED;
    struct adit_view hex = {key.ptr + 4, key.len - 4};
    if (hex.len == 0 || hex.len % 2 || hex.len / 2 > sizeof(bytes) || !is_lower_hex(hex) ||
        adit_hex_decode(hex, bytes, hex.len / 2))
        return ADIT_ERR_UNAUTHENTICATED;
    adit_sha256(adit_view_mem(bytes, hex.len / 2), hash);
    return 0;
}
