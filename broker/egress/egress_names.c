/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that led to addresses.
 *
 * Theory of operation
 *
 * What: a pair for each name and address, in two lists: of its address, and of all by age. An
 * address without pairs is forgotten. Pairs that are over go when they are met, or when their age
 * makes them give way.
 * Ownership: the map's values are addresses, which own their pairs.
 * Limits: EGRESS_NAMES_MAX pairs, about 1.5 MiB with the longest names; EGRESS_NAMES_OF_ADDRESS_MAX
 * bounds every walk.
 * Trust: names and addresses are chosen by guests and by owners of domains; the map's hash is
 * keyed, so they cannot choose its collisions.
 */
#include "broker/egress/egress_names.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"

struct known_address {
    struct ip_addr addr;
    struct adit_list pairs; /* oldest first */
    size_t pair_cnt;
};

struct pair {
    struct adit_list of_address, by_age;
    struct known_address *address; /* borrowed */
    uint64_t over_ms;
    size_t name_len;
    char name[];
};

struct egress_names {
    struct adit_map addresses;
    struct adit_list by_age; /* oldest first */
    size_t cnt;
};

static struct pair *oldest_of(const struct known_address *a)
{
    return ADIT_CONTAINER_OF(a->pairs.next, struct pair, of_address);
}

static struct adit_view key_of(const struct ip_addr *addr)
{
    return adit_view_mem(addr->bytes, sizeof(addr->bytes));
}

struct egress_names *egress_names_new(void)
{
    struct egress_names *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    adit_map_init(&n->addresses);
    adit_list_init(&n->by_age);
    return n;
}

static void address_free_if_unused(struct egress_names *n, struct known_address *a)
{
    if (a->pair_cnt > 0)
        return;
    (void)adit_map_del(&n->addresses, key_of(&a->addr)); /* it is this one */
    free(a);
}

static void pair_free(struct egress_names *n, struct pair *p)
{
    struct known_address *a = p->address;
    adit_list_remove(&p->of_address);
    adit_list_remove(&p->by_age);
    a->pair_cnt--;
    n->cnt--;
    free(p);
    address_free_if_unused(n, a);
}

static struct pair *oldest(const struct egress_names *n)
{
    return ADIT_CONTAINER_OF(n->by_age.next, struct pair, by_age);
}

void egress_names_free(struct egress_names *n)
{
    if (!n)
        return;
    while (!adit_list_empty(&n->by_age))
        pair_free(n, oldest(n));
    adit_map_fini(&n->addresses);
    free(n);
}

/* ---- learning ---- */

static struct known_address *address_get(struct egress_names *n, const struct ip_addr *addr)
{
    struct known_address *a = adit_map_get(&n->addresses, key_of(addr));
    if (a || !(a = calloc(1, sizeof(*a))))
        return a;
    a->addr = *addr;
    adit_list_init(&a->pairs);
    if (adit_map_put(&n->addresses, key_of(addr), a) == ADIT_OK)
        return a;
    free(a);
    return NULL;
}

static struct pair *pair_find(struct known_address *a, struct adit_view name)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &a->pairs)
    {
        struct pair *p = ADIT_CONTAINER_OF(it, struct pair, of_address);
        if (adit_view_ieq_str(name, p->name))
            return p;
    }
    return NULL;
}

static struct pair *pair_new(struct egress_names *n, struct known_address *a, struct adit_view name)
{
    struct pair *p = calloc(1, sizeof(*p) + name.len + 1);
    if (!p)
        return NULL;
    adit_view_lower(name, p->name);
    p->name_len = name.len;
    p->address = a;
    adit_list_init(&p->of_address);
    adit_list_init(&p->by_age);
    a->pair_cnt++;
    n->cnt++;
    return p;
}

/* It is the newest one now. */
static void touch(struct egress_names *n, struct pair *p, uint64_t over_ms)
{
    adit_list_remove(&p->of_address);
    adit_list_remove(&p->by_age);
    adit_list_push(&p->address->pairs, &p->of_address);
    adit_list_push(&n->by_age, &p->by_age);
    if (over_ms > p->over_ms)
        p->over_ms = over_ms;
}

static int learn_one(struct egress_names *n, struct adit_view name, const struct ip_addr *addr,
                     uint64_t over_ms)
{
    struct known_address *a = address_get(n, addr);
    if (!a)
        return ADIT_ERR_NO_MEMORY;
    struct pair *p = pair_find(a, name);
    if (!p && !(p = pair_new(n, a, name))) {
        address_free_if_unused(n, a);
        return ADIT_ERR_NO_MEMORY;
    }
    touch(n, p, over_ms);
    if (a->pair_cnt > EGRESS_NAMES_OF_ADDRESS_MAX)
        pair_free(n, oldest_of(a));
    if (n->cnt > EGRESS_NAMES_MAX)
        pair_free(n, oldest(n));
    return ADIT_OK;
}

int egress_names_learn(struct egress_names *n, struct adit_view name,
                       const struct egress_resolved *resolved, uint64_t now_ms)
{
    int rc = ADIT_OK;
    for (size_t i = 0; i < resolved->answer_cnt && rc == ADIT_OK; i++) {
        const struct egress_answer *answer = &resolved->answers[i];
        struct ip_addr addr;
        if (answer->type != CONTROL_TYPE_CNAME && ip_addr_from_bytes(answer->data, &addr))
            rc = learn_one(n, name, &addr,
                           now_ms + answer->ttl * UINT64_C(1000) + EGRESS_NAMES_GRACE_MS);
    }
    return rc;
}

/* ---- asking ---- */

static void drop_over(struct egress_names *n, struct known_address *a, uint64_t now_ms)
{
    struct adit_list *it = a->pairs.next;
    for (size_t left = a->pair_cnt; left > 0; left--) {
        struct pair *p = ADIT_CONTAINER_OF(it, struct pair, of_address);
        it = it->next;
        if (p->over_ms <= now_ms)
            pair_free(n, p); /* with the last one @a is gone: @left ends the walk */
    }
}

/* Return: NULL for one without names. */
static struct known_address *address_find(struct egress_names *n, const struct ip_addr *addr,
                                          uint64_t now_ms)
{
    struct known_address *a = adit_map_get(&n->addresses, key_of(addr));
    if (a)
        drop_over(n, a, now_ms);
    return adit_map_get(&n->addresses, key_of(addr));
}

bool egress_names_has(struct egress_names *n, struct adit_view name, const struct ip_addr *addr,
                      uint64_t now_ms)
{
    struct known_address *a = address_find(n, addr, now_ms);
    return a && pair_find(a, name);
}

size_t egress_names_of(struct egress_names *n, const struct ip_addr *addr, uint64_t now_ms,
                       struct adit_view out[EGRESS_NAMES_OF_ADDRESS_MAX])
{
    size_t cnt = 0;
    struct known_address *a = address_find(n, addr, now_ms);
    if (!a)
        return 0;
    for (struct adit_list *it = a->pairs.prev; it != &a->pairs; it = it->prev) {
        const struct pair *p = ADIT_CONTAINER_OF(it, struct pair, of_address);
        out[cnt++] = adit_view_mem(p->name, p->name_len);
    }
    return cnt;
}

size_t egress_names_cnt(const struct egress_names *n)
{
    return n->cnt;
}
