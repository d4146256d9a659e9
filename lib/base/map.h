/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from bytes to pointers: keyed SipHash-like hash with a random key per process (keys
 * come from clients), open addressing or chaining inside, keys copied. Values are borrowed: the map
 * frees its keys only.
 */
#ifndef ADIT_BASE_MAP_H
#define ADIT_BASE_MAP_H

#include "base/view.h"

struct adit_map_entry;

struct adit_map {
    struct adit_map_entry **slots;
    size_t slot_cnt, len;
};

void adit_map_init(struct adit_map *m);
void adit_map_fini(struct adit_map *m);
/* Return: the value or NULL. */
void *adit_map_get(const struct adit_map *m, struct adit_view key);
/* Insert or replace. @value is not NULL. Errors: ADIT_ERR_NO_MEMORY, when it is inserted. */
ADIT_MUST_CHECK int adit_map_put(struct adit_map *m, struct adit_view key, void *value);
/* Return: the removed value, or NULL when there was none. */
void *adit_map_del(struct adit_map *m, struct adit_view key);

/* Iterate: start with *pos = 0; false at the end. The map must not change meanwhile. */
bool adit_map_next(const struct adit_map *m, size_t *pos, struct adit_view *key, void **value);

#endif
