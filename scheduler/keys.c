/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys.
 *
 * Theory of operation
 *
 * What: a key is "e2b_" and 40 lower-case hexadecimal digits of 20 random bytes. Kept is the
 * SHA-256 of those bytes and a masked form; the key itself is shown once, when it is made. 160
 * random bits need no slow hash, and looking a hash up tells nobody's guess how near it was. A
 * revoked key stays on record, so that lists can show it, until a new one needs its room; it
 * authenticates nobody. Ownership:
 * records belong to by_id; by_sha256 borrows them.
 */
#include "scheduler/keys.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/rand.h"
#include "scheduler/message.h"

#define PREFIX_LEN (sizeof(KEYS_SECRET_PREFIX) - 1)
#define MASKED_HEAD 2
#define MASKED_TAIL 4

void keys_init(struct keys *k)
{
    adit_map_init(&k->by_id);
    adit_map_init(&k->by_sha256);
}

void keys_fini(struct keys *k)
{
    size_t pos = 0;
    struct adit_view key;
    void *value;
    while (adit_map_next(&k->by_id, &pos, &key, &value))
        message_free(value);
    adit_map_fini(&k->by_id);
    adit_map_fini(&k->by_sha256);
}

void keys_generate(char secret[KEYS_SECRET_CAP], char masked[KEYS_MASKED_CAP],
                   uint8_t sha256[ADIT_SHA256_LEN])
{
    uint8_t bytes[KEYS_SECRET_LEN];
    adit_rand_bytes(bytes, sizeof(bytes));
    adit_sha256(adit_view_mem(bytes, sizeof(bytes)), sha256);
    memcpy(secret, KEYS_SECRET_PREFIX, PREFIX_LEN);
    adit_hex_encode(bytes, sizeof(bytes), secret + PREFIX_LEN);
    (void)snprintf(masked, KEYS_MASKED_CAP, "%.*s…%s", (int)PREFIX_LEN + MASKED_HEAD, secret,
                   secret + PREFIX_LEN + 2 * KEYS_SECRET_LEN - MASKED_TAIL); /* fits exactly */
}

static struct adit_view hash_of(const Scheduler__Store__KeyRecord *r)
{
    return adit_view_mem(r->sha256.data, r->sha256.len);
}

static int check_record(const Scheduler__Store__KeyRecord *r, struct adit_err *err)
{
    if (!r->key || !r->key->key_id[0] || r->sha256.len != ADIT_SHA256_LEN)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the record is not whole");
    return 0;
}

static void drop(struct keys *k, Scheduler__Store__KeyRecord *r)
{
    (void)adit_map_del(&k->by_id, adit_view_str(r->key->key_id)); /* may not be there */
    (void)adit_map_del(&k->by_sha256, hash_of(r));                /* may not be there */
    message_free(r);
}

int keys_put(struct keys *k, Scheduler__Store__KeyRecord *take_record, struct adit_err *err)
{
    int rc = check_record(take_record, err);
    if (rc) {
        message_free(take_record);
        return rc;
    }
    Scheduler__Store__KeyRecord *old =
        adit_map_get(&k->by_id, adit_view_str(take_record->key->key_id));
    if (old)
        drop(k, old);
    if (adit_map_put(&k->by_id, adit_view_str(take_record->key->key_id), take_record) ||
        adit_map_put(&k->by_sha256, hash_of(take_record), take_record)) {
        drop(k, take_record);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    return 0;
}

int keys_authenticate(const struct keys *k, const uint8_t sha256[ADIT_SHA256_LEN],
                      const Scheduler__Store__KeyRecord **out, struct adit_err *err)
{
    const Scheduler__Store__KeyRecord *r =
        adit_map_get(&k->by_sha256, adit_view_mem(sha256, ADIT_SHA256_LEN));
    if (!r || r->key->revoked)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "no such key");
    *out = r;
    return 0;
}

int keys_find(const struct keys *k, const char *prefix, const char *team_id,
              const Scheduler__Store__KeyRecord **out, struct adit_err *err)
{
    const Scheduler__Store__KeyRecord *found = NULL, *r;
    size_t pos = 0;
    if (!prefix[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the key's id is empty");
    while ((r = keys_next(k, &pos))) {
        if (!adit_view_has_prefix(adit_view_str(r->key->key_id), prefix) ||
            (team_id[0] && strcmp(r->key->team_id, team_id) != 0))
            continue;
        if (found)
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "several keys begin with '%s'", prefix);
        found = r;
    }
    if (!found)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "no such key");
    *out = found;
    return 0;
}

const Scheduler__Store__KeyRecord *keys_get(const struct keys *k, const char *key_id)
{
    return adit_map_get(&k->by_id, adit_view_str(key_id));
}

void keys_drop(struct keys *k, struct adit_view key_id)
{
    Scheduler__Store__KeyRecord *r = adit_map_get(&k->by_id, key_id);
    if (r)
        drop(k, r);
}

const Scheduler__Store__KeyRecord *keys_next(const struct keys *k, size_t *pos)
{
    struct adit_view key;
    void *value;
    return adit_map_next(&k->by_id, pos, &key, &value) ? value : NULL;
}

size_t keys_cnt(const struct keys *k)
{
    return k->by_id.len;
}
