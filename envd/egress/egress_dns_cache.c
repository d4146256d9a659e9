/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that were looked up.
 *
 * Theory of operation
 *
 * What:      an entry is a result as it came over the wire, under type and name. It lives as long
 * as its shortest time to live; a result without answers as long as its negative one; a failure of
 * the resolver is not kept. Ownership: the cache owns entries, and copies what it is given. Limits:
 * EGRESS_DNS_CACHE_ENTRIES_MAX and _BYTES_MAX: the least recently used goes first. Failure: without
 * memory nothing is kept, and the name is asked for again.
 */
#include "envd/egress/egress_dns_cache.h"

#include <stdlib.h>

#define KEY_CAP (CONTROL_NAME_MAX + 3)

struct entry {
    struct adit_list node;
    uint64_t since_ms, until_ms;
    char key[KEY_CAP];
    size_t key_len, len;
    uint8_t packed[];
};

void egress_dns_cache_init(struct egress_dns_cache *c)
{
    adit_map_init(&c->entries);
    adit_list_init(&c->lru);
    c->bytes = 0;
}

static size_t cost(const struct entry *e)
{
    return sizeof *e + e->len;
}

static void drop(struct egress_dns_cache *c, struct entry *e)
{
    (void)adit_map_del(&c->entries, adit_view_mem(e->key, e->key_len));
    adit_list_remove(&e->node);
    c->bytes -= cost(e);
    free(e);
}

static struct entry *oldest(struct egress_dns_cache *c)
{
    return ADIT_CONTAINER_OF(adit_list_first(&c->lru), struct entry, node);
}

void egress_dns_cache_clear(struct egress_dns_cache *c)
{
    while (!adit_list_empty(&c->lru))
        drop(c, oldest(c));
    adit_map_fini(&c->entries);
    adit_map_init(&c->entries);
}

/* Return: its length, 0 for a name that is too long. */
static size_t make_key(char key[KEY_CAP], const char *name, uint16_t type)
{
    size_t len = strlen(name);
    if (len > CONTROL_NAME_MAX)
        return 0;
    memcpy(key, &type, sizeof type);
    memcpy(key + sizeof type, name, len);
    return sizeof type + len;
}

static uint32_t life_s(const Control__LookupResult *r)
{
    uint32_t least = EGRESS_DNS_CACHE_S_MAX;
    bool has_answers = r->rcode == 0 && r->n_answers > 0;
    if (r->rcode != 0 && r->rcode != 3)
        return 0;
    for (size_t i = 0; has_answers && i < r->n_answers; i++)
        least = r->answers[i]->ttl < least ? r->answers[i]->ttl : least;
    if (has_answers)
        return least;
    return r->negative_ttl < EGRESS_DNS_CACHE_NEGATIVE_S_MAX ? r->negative_ttl
                                                             : EGRESS_DNS_CACHE_NEGATIVE_S_MAX;
}

static struct entry *find(struct egress_dns_cache *c, const char *name, uint16_t type)
{
    char key[KEY_CAP];
    size_t len = make_key(key, name, type);
    return len ? adit_map_get(&c->entries, adit_view_mem(key, len)) : NULL;
}

void egress_dns_cache_put(struct egress_dns_cache *c, const char *name, uint16_t type,
                          const Control__LookupResult *result, uint64_t now_ms)
{
    struct entry *e = find(c, name, type);
    uint32_t life = life_s(result);
    size_t len = control__lookup_result__get_packed_size(result);
    if (e)
        drop(c, e);
    e = life && sizeof *e + len <= EGRESS_DNS_CACHE_BYTES_MAX ? calloc(1, sizeof *e + len) : NULL;
    if (!e)
        return;
    e->len = len;
    e->key_len = make_key(e->key, name, type);
    e->since_ms = now_ms;
    e->until_ms = now_ms + life * UINT64_C(1000);
    (void)control__lookup_result__pack(result, e->packed); /* its length is known */
    while (c->entries.len >= EGRESS_DNS_CACHE_ENTRIES_MAX ||
           c->bytes + cost(e) > EGRESS_DNS_CACHE_BYTES_MAX)
        drop(c, oldest(c));
    if (!e->key_len || adit_map_put(&c->entries, adit_view_mem(e->key, e->key_len), e) != ADIT_OK) {
        free(e);
        return;
    }
    adit_list_push(&c->lru, &e->node);
    c->bytes += cost(e);
}

Control__LookupResult *egress_dns_cache_get(struct egress_dns_cache *c, const char *name,
                                            uint16_t type, uint64_t now_ms, uint32_t *age_s)
{
    struct entry *e = find(c, name, type);
    if (e && now_ms >= e->until_ms) {
        drop(c, e);
        e = NULL;
    }
    if (!e)
        return NULL;
    adit_list_remove(&e->node);
    adit_list_push(&c->lru, &e->node);
    *age_s = (uint32_t)((now_ms - e->since_ms) / 1000);
    return control__lookup_result__unpack(NULL, e->len, e->packed);
}
