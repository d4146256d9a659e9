/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from bytes to pointers. */
/*
 * Theory of operation
 *
 * What     Open addressing with linear probing over a power-of-two table of pointers to entries. A
 *          deletion closes the gap behind it, so there are no tombstones and a look-up ends at the
 *          first empty slot.
 * Limits   At most three quarters of the slots are used; the table doubles and never shrinks. How
 *          many keys there may be is the caller's limit.
 * Trust    Keys come from clients. They are hashed with SipHash-1-3 under a key drawn once per
 *          process, so that nobody outside can choose keys that share a slot.
 * Ownership The map owns entries with a copy of each key; values are borrowed.
 * Failure  Without memory a put changes nothing. To replace needs none.
 */
#include "base/map.h"

#include <endian.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/rand.h"

#define FIRST_SLOT_CNT 16

struct adit_map_entry {
    uint64_t hash;
    void *value;
    size_t key_len;
    char key[];
};

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void draw_hash_key(void)
{
    adit_rand_bytes(hash_key, sizeof hash_key);
}

static uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson and Bernstein): one round a word, three to finish. */
static uint64_t hash_of(struct adit_view key)
{
    (void)pthread_once(&hash_key_once, draw_hash_key); /* fails only for a bad control object */
    uint64_t v[4] = {
        hash_key[0] ^ 0x736f6d6570736575,
        hash_key[1] ^ 0x646f72616e646f6d,
        hash_key[0] ^ 0x6c7967656e657261,
        hash_key[1] ^ 0x7465646279746573,
    };
    size_t whole = key.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, key.ptr + i, 8);
        sip_word(v, le64toh(word));
    }
    uint64_t last = 0;
    if (key.len > whole)
        memcpy(&last, key.ptr + whole, key.len - whole);
    sip_word(v, le64toh(last) | (uint64_t)key.len << 56);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void adit_map_init(struct adit_map *m)
{
    *m = (struct adit_map){0};
}

void adit_map_fini(struct adit_map *m)
{
    for (size_t i = 0; i < m->slot_cnt; i++)
        free(m->slots[i]);
    free(m->slots);
    *m = (struct adit_map){0};
}

/* The slot that holds @key, or the empty one where it would go. The table is never full. */
static size_t find(const struct adit_map *m, uint64_t hash, struct adit_view key)
{
    size_t mask = m->slot_cnt - 1, i = hash & mask;
    for (; m->slots[i]; i = (i + 1) & mask) {
        const struct adit_map_entry *e = m->slots[i];
        if (e->hash == hash && adit_view_eq(adit_view_mem(e->key, e->key_len), key))
            break;
    }
    return i;
}

void *adit_map_get(const struct adit_map *m, struct adit_view key)
{
    if (m->len == 0)
        return NULL;
    const struct adit_map_entry *e = m->slots[find(m, hash_of(key), key)];
    return e ? e->value : NULL;
}

/* Have room for one more entry. */
static int grow(struct adit_map *m)
{
    if (m->len < m->slot_cnt / 4 * 3)
        return 0;
    size_t slot_cnt = m->slot_cnt ? m->slot_cnt * 2 : FIRST_SLOT_CNT;
    struct adit_map_entry **slots = calloc(slot_cnt, sizeof(struct adit_map_entry *));
    if (!slots)
        return ADIT_ERR_NO_MEMORY;
    for (size_t i = 0; i < m->slot_cnt; i++) {
        if (!m->slots[i])
            continue;
        size_t to = m->slots[i]->hash & (slot_cnt - 1);
        while (slots[to])
            to = (to + 1) & (slot_cnt - 1);
        slots[to] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->slot_cnt = slot_cnt;
    return 0;
}

int adit_map_put(struct adit_map *m, struct adit_view key, void *value)
{
    uint64_t hash = hash_of(key);
    struct adit_map_entry *e = m->len ? m->slots[find(m, hash, key)] : NULL;
    if (e) {
        e->value = value;
        return 0;
    }
    int rc = grow(m);
    if (rc)
        return rc;
    e = malloc(sizeof *e + key.len);
    if (!e)
        return ADIT_ERR_NO_MEMORY;
    e->hash = hash;
    e->value = value;
    e->key_len = key.len;
    if (key.len)
        memcpy(e->key, key.ptr, key.len);
    m->slots[find(m, hash, key)] = e;
    m->len++;
    return 0;
}

/* Move later entries of the probe sequence into the empty slot @gap, as long as that brings them
 * no nearer than their home slot. */
static void close_gap(struct adit_map *m, size_t gap)
{
    size_t mask = m->slot_cnt - 1;
    for (size_t i = (gap + 1) & mask; m->slots[i]; i = (i + 1) & mask) {
        size_t home = m->slots[i]->hash & mask;
        if (((i - home) & mask) < ((i - gap) & mask))
            continue;
        m->slots[gap] = m->slots[i];
        m->slots[i] = NULL;
        gap = i;
    }
}

void *adit_map_del(struct adit_map *m, struct adit_view key)
{
    if (m->len == 0)
        return NULL;
    size_t slot = find(m, hash_of(key), key);
    struct adit_map_entry *e = m->slots[slot];
    if (!e)
        return NULL;
    void *value = e->value;
    free(e);
    m->slots[slot] = NULL;
    m->len--;
    close_gap(m, slot);
    return value;
}

bool adit_map_next(const struct adit_map *m, size_t *pos, struct adit_view *key, void **value)
{
    while (*pos < m->slot_cnt) {
        const struct adit_map_entry *e = m->slots[(*pos)++];
        if (!e)
            continue;
        *key = adit_view_mem(e->key, e->key_len);
        *value = e->value;
        return true;
    }
    return false;
}
