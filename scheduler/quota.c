/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much teams and keys have.
 *
 * Theory of operation
 *
 * What: sandboxes by team and by key, as many as are on record or on their way there, so that
 * creates that come together, through however many brokers, cannot pass a maximum; the figures are
 * right again as soon as a restarted scheduler has read its records. And a token bucket a key, in
 * memory only: a restart fills it.
 *
 * Ownership: an entry is there while something is counted, and while a bucket is not that of a key
 * that is gone. Limits: as many entries as sandboxes and keys.
 */
#include "scheduler/quota.h"

#include <stdlib.h>

struct use {
    size_t sandbox_cnt;
    struct adit_limit creates; /* burst 0: none */
};

void quota_init(struct quota *q)
{
    adit_map_init(&q->teams);
    adit_map_init(&q->keys);
}

static void free_uses(struct adit_map *m)
{
    size_t pos = 0;
    struct adit_view id;
    void *use;
    while (adit_map_next(m, &pos, &id, &use))
        free(use);
    adit_map_fini(m);
}

void quota_fini(struct quota *q)
{
    free_uses(&q->teams);
    free_uses(&q->keys);
}

/* Return: NULL without memory. */
static struct use *use_of(struct adit_map *m, const char *id)
{
    struct use *u = adit_map_get(m, adit_view_str(id));
    if (u)
        return u;
    u = calloc(1, sizeof(*u));
    if (u && adit_map_put(m, adit_view_str(id), u)) {
        free(u);
        return NULL;
    }
    return u;
}

static void drop_unused(struct adit_map *m, struct adit_view id)
{
    const struct use *u = adit_map_get(m, id);
    if (u && u->sandbox_cnt == 0 && u->creates.burst == 0)
        free(adit_map_del(m, id));
}

static void sub(struct adit_map *m, const char *id)
{
    struct use *u = adit_map_get(m, adit_view_str(id));
    if (u && u->sandbox_cnt > 0)
        u->sandbox_cnt--;
    drop_unused(m, adit_view_str(id));
}

int quota_add(struct quota *q, const Scheduler__RunningSandbox *s)
{
    struct use *team = use_of(&q->teams, s->team_id);
    struct use *key = s->key_id[0] ? use_of(&q->keys, s->key_id) : NULL;
    if (!team || (s->key_id[0] && !key)) {
        drop_unused(&q->teams, adit_view_str(s->team_id));
        return ADIT_ERR_NO_MEMORY;
    }
    team->sandbox_cnt++;
    if (key)
        key->sandbox_cnt++;
    return 0;
}

void quota_sub(struct quota *q, const Scheduler__RunningSandbox *s)
{
    sub(&q->teams, s->team_id);
    if (s->key_id[0])
        sub(&q->keys, s->key_id);
}

static size_t cnt_of(const struct adit_map *m, const char *id)
{
    const struct use *u = adit_map_get(m, adit_view_str(id));
    return u ? u->sandbox_cnt : 0;
}

size_t quota_team_cnt(const struct quota *q, const char *team_id)
{
    return cnt_of(&q->teams, team_id);
}

size_t quota_key_cnt(const struct quota *q, const char *key_id)
{
    return cnt_of(&q->keys, key_id);
}

bool quota_next_team(const struct quota *q, size_t *pos, struct adit_view *team_id, size_t *cnt)
{
    void *u;
    if (!adit_map_next(&q->teams, pos, team_id, &u))
        return false;
    *cnt = ((const struct use *)u)->sandbox_cnt;
    return true;
}

int quota_take_create(struct quota *q, const char *key_id, uint32_t rate, uint32_t burst,
                      uint64_t now_ns, bool *is_allowed)
{
    struct use *u = rate ? use_of(&q->keys, key_id) : NULL;
    *is_allowed = true;
    if (!rate)
        return 0;
    if (!u)
        return ADIT_ERR_NO_MEMORY;
    if (!burst)
        burst = rate;
    if (u->creates.per_second != rate || u->creates.burst != burst)
        adit_limit_init(&u->creates, burst, rate, now_ns);
    *is_allowed = adit_limit_take(&u->creates, now_ns);
    return 0;
}

void quota_forget_key(struct quota *q, struct adit_view key_id)
{
    struct use *u = adit_map_get(&q->keys, key_id);
    if (u)
        u->creates = (struct adit_limit){0, 0, 0, 0};
    drop_unused(&q->keys, key_id);
}

Scheduler__Limits quota_limits(const Scheduler__Limits *own, const Scheduler__Limits *base)
{
    static const Scheduler__Limits none = SCHEDULER__LIMITS__INIT;
    Scheduler__Limits l = base ? *base : none;
    if (!own)
        return l;
    if (own->sandbox_max)
        l.sandbox_max = own->sandbox_max;
    if (own->create_rate)
        l.create_rate = own->create_rate;
    if (own->create_burst)
        l.create_burst = own->create_burst;
    if (own->timeout_max_s)
        l.timeout_max_s = own->timeout_max_s;
    return l;
}
