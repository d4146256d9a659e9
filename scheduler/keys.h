/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: made, and the working copy of what the store holds of them. */
#ifndef SCHEDULER_KEYS_H
#define SCHEDULER_KEYS_H

#include "base/map.h"
#include "base/sha256.h"
#include "scheduler_store.pb-c.h"

/* New ones are refused above it; a revoked one makes room for a new one. */
#define KEYS_MAX 4096
#define KEYS_SECRET_PREFIX "e2b_"
/* Random bytes of a key. */
#define KEYS_SECRET_LEN 20
/* "e2b_", 40 hexadecimal digits, NUL. */
#define KEYS_SECRET_CAP 45
/* "e2b_12…cdef" with NUL; the ellipsis is three bytes. */
#define KEYS_MASKED_CAP 14

struct keys {
    struct adit_map by_id, by_sha256;
};

void keys_init(struct keys *k);
void keys_fini(struct keys *k);

/* A new key as the client sees it, and what is kept of it. */
void keys_generate(char secret[KEYS_SECRET_CAP], char masked[KEYS_MASKED_CAP],
                   uint8_t sha256[ADIT_SHA256_LEN]);

/* A change from the store. The message is taken in any case. Errors: NO_MEMORY, BAD_INPUT (a record
 * without its parts). */
ADIT_MUST_CHECK int keys_put(struct keys *k, Scheduler__Store__KeyRecord *take_record,
                             struct adit_err *err);
/* A change from the store: the record is gone. */
void keys_drop(struct keys *k, struct adit_view key_id);
/* Errors: NOT_FOUND (no such key, or revoked). */
ADIT_MUST_CHECK int keys_authenticate(const struct keys *k, const uint8_t sha256[ADIT_SHA256_LEN],
                                      const Scheduler__Store__KeyRecord **out,
                                      struct adit_err *err);
/* By id, or by its beginning when no other key begins so; of that team, unless it is empty. Errors:
 * NOT_FOUND, BAD_INPUT. */
ADIT_MUST_CHECK int keys_find(const struct keys *k, const char *prefix, const char *team_id,
                              const Scheduler__Store__KeyRecord **out, struct adit_err *err);
/* By the whole id. Return: NULL when there is none. */
const Scheduler__Store__KeyRecord *keys_get(const struct keys *k, const char *key_id);
/* Start with *pos = 0; NULL at the end. */
const Scheduler__Store__KeyRecord *keys_next(const struct keys *k, size_t *pos);
size_t keys_cnt(const struct keys *k);

#endif
