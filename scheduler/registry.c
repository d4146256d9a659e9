/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes and the sandboxes on them.
 *
 * Theory of operation
 *
 * What: two maps and the sums per node. Records come from the store only (registry_put_…,
 * registry_drop_…); what is not stored are the times of heartbeats, what heartbeats say, and
 * reservations: resources of claims that the store has not committed yet, so that creates that come
 * together do not all choose the same room.
 *
 * States of a sandbox: (none) ──claim──> claimed ──confirm──> confirmed; either ──drop──> (none).
 * Claims stand in one list by the time they are due: all wait equally long, so a new one goes to
 * the end.
 *
 * Ownership: nodes live as long as the registry, so a pointer to one may be kept across a write.
 * Sandboxes are looked up again by id.
 * Limits: REGISTRY_NODES_MAX, REGISTRY_SANDBOXES_MAX.
 */
#include "scheduler/registry.h"

#include <stdlib.h>

#include "scheduler/message.h"

void registry_init(struct registry *r, uint64_t claim_ttl_ms)
{
    memset(r, 0, sizeof(*r));
    adit_map_init(&r->node_map);
    adit_map_init(&r->sandbox_map);
    adit_list_init(&r->claims);
    quota_init(&r->quota);
    r->claim_ttl_ms = claim_ttl_ms;
}

static void sandbox_free(struct registry_sandbox *s)
{
    adit_list_remove(&s->on_node);
    adit_list_remove(&s->in_claims);
    message_free(s->record);
    free(s);
}

void registry_fini(struct registry *r)
{
    for (size_t i = 0; i < r->node_cnt; i++) {
        struct adit_list *it, *tmp;
        ADIT_LIST_EACH(it, tmp, &r->nodes[i]->sandboxes)
        {
            sandbox_free(ADIT_CONTAINER_OF(it, struct registry_sandbox, on_node));
        }
        message_free(r->nodes[i]->info);
        free(r->nodes[i]);
    }
    adit_map_fini(&r->node_map);
    adit_map_fini(&r->sandbox_map);
    quota_fini(&r->quota);
}

struct registry_node *registry_find_node(const struct registry *r, const char *node_id)
{
    return adit_map_get(&r->node_map, adit_view_str(node_id));
}

struct registry_sandbox *registry_find(const struct registry *r, struct adit_view sandbox_id)
{
    return adit_map_get(&r->sandbox_map, sandbox_id);
}

/* ---- nodes ---- */

static int add_node(struct registry *r, const char *node_id, struct registry_node **out,
                    struct adit_err *err)
{
    if (r->node_cnt == REGISTRY_NODES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "there are %d nodes already", REGISTRY_NODES_MAX);
    struct registry_node *n = calloc(1, sizeof(*n));
    if (!n || adit_map_put(&r->node_map, adit_view_str(node_id), n)) {
        free(n);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    adit_list_init(&n->sandboxes);
    r->nodes[r->node_cnt++] = n;
    *out = n;
    return 0;
}

static void set_info(struct registry_node *n, Scheduler__Node *take_info, uint64_t now_ms)
{
    message_free(n->info);
    n->info = take_info;
    n->heard_ms = now_ms;
}

int registry_put_node(struct registry *r, Scheduler__Node *take_info, uint64_t now_ms,
                      struct adit_err *err)
{
    struct registry_node *n = registry_find_node(r, take_info->node_id);
    int rc = take_info->capacity ? 0 : adit_err_set(err, ADIT_ERR_BAD_INPUT, "no capacity");
    if (rc == 0 && !n)
        rc = add_node(r, take_info->node_id, &n, err);
    if (rc) {
        message_free(take_info);
        return rc;
    }
    n->is_drained = take_info->is_drained;
    set_info(n, take_info, now_ms);
    return 0;
}

/* A release or a registration may have overtaken another message: then only the whole list helps.
 */
static int check_count(struct registry_node *n, struct adit_err *err)
{
    n->mismatches = n->info->sandbox_cnt == n->used.sandbox_cnt ? 0 : n->mismatches + 1;
    if (n->mismatches < REGISTRY_MISMATCHES_MAX)
        return 0;
    n->mismatches = 0;
    return adit_err_set(err, ADIT_ERR_NOT_FOUND, "node '%s' runs other sandboxes than on record",
                        n->info->node_id);
}

int registry_hear(struct registry *r, const Scheduler__Node *info, uint64_t now_ms,
                  struct adit_err *err)
{
    struct registry_node *n = registry_find_node(r, info->node_id);
    if (!n || strcmp(n->info->incarnation, info->incarnation) != 0)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "node '%s' is not registered", info->node_id);
    Scheduler__Node *copy = message_clone(&info->base);
    if (!copy)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    set_info(n, copy, now_ms);
    return check_count(n, err);
}

int registry_reserve(struct registry *r, struct registry_node *n,
                     const Scheduler__RunningSandbox *s)
{
    const Scheduler__Resources *need = s->resources;
    int rc = quota_add(&r->quota, s);
    if (rc)
        return rc;
    n->used.cpu_cnt += need->cpu_count;
    n->used.memory_mb += need->memory_mb;
    n->used.disk_mb += need->disk_mb;
    n->used.sandbox_cnt++;
    return 0;
}

void registry_unreserve(struct registry *r, struct registry_node *n,
                        const Scheduler__RunningSandbox *s)
{
    const Scheduler__Resources *need = s->resources;
    quota_sub(&r->quota, s);
    n->used.cpu_cnt -= need->cpu_count;
    n->used.memory_mb -= need->memory_mb;
    n->used.disk_mb -= need->disk_mb;
    n->used.sandbox_cnt--;
}

void registry_take_warm(struct registry_node *n, const Scheduler__Resources *taken)
{
    Scheduler__Resources *warm = n->info->warm;
    if (!warm || n->info->warm_cnt == 0)
        return;
    n->info->warm_cnt--;
    warm->cpu_count -= taken->cpu_count < warm->cpu_count ? taken->cpu_count : warm->cpu_count;
    warm->memory_mb -= taken->memory_mb < warm->memory_mb ? taken->memory_mb : warm->memory_mb;
    warm->disk_mb -= taken->disk_mb < warm->disk_mb ? taken->disk_mb : warm->disk_mb;
}

/* ---- sandboxes ---- */

static int add_sandbox(struct registry *r, const char *sandbox_id, struct registry_sandbox **out,
                       struct adit_err *err)
{
    if (r->sandbox_cnt == REGISTRY_SANDBOXES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "there are %d sandboxes already",
                            REGISTRY_SANDBOXES_MAX);
    struct registry_sandbox *s = calloc(1, sizeof(*s));
    if (!s || adit_map_put(&r->sandbox_map, adit_view_str(sandbox_id), s)) {
        free(s);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    adit_list_init(&s->on_node);
    adit_list_init(&s->in_claims);
    r->sandbox_cnt++;
    *out = s;
    return 0;
}

/* @take_record is counted already. */
static void move_to(struct registry *r, struct registry_sandbox *s, struct registry_node *n,
                    Scheduler__Store__SandboxRecord *take_record)
{
    if (s->record) {
        registry_unreserve(r, s->node, s->record->sandbox);
        message_free(s->record);
    }
    s->record = take_record;
    s->node = n;
    adit_list_remove(&s->on_node);
    adit_list_push(&n->sandboxes, &s->on_node);
}

int registry_put_sandbox(struct registry *r, Scheduler__Store__SandboxRecord *take_record,
                         uint64_t now_ms, struct adit_err *err)
{
    struct registry_node *n = registry_find_node(r, take_record->node_id);
    bool is_whole = n && take_record->sandbox && take_record->sandbox->resources;
    int rc = is_whole ? 0 : adit_err_set(err, ADIT_ERR_BAD_INPUT, "the record is not whole");
    struct registry_sandbox *s =
        rc ? NULL : registry_find(r, adit_view_str(take_record->sandbox->sandbox_id));
    if (rc == 0 && registry_reserve(r, n, take_record->sandbox))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    bool is_counted = rc == 0;
    if (rc == 0 && !s)
        rc = add_sandbox(r, take_record->sandbox->sandbox_id, &s, err);
    if (rc) {
        if (is_counted)
            registry_unreserve(r, n, take_record->sandbox);
        message_free(take_record);
        return rc;
    }
    move_to(r, s, n, take_record);
    adit_list_remove(&s->in_claims);
    s->due_ms = 0;
    if (!take_record->is_confirmed) {
        s->due_ms = now_ms + r->claim_ttl_ms;
        adit_list_push(&r->claims, &s->in_claims);
    }
    return 0;
}

void registry_drop_sandbox(struct registry *r, struct adit_view sandbox_id)
{
    struct registry_sandbox *s = adit_map_del(&r->sandbox_map, sandbox_id);
    if (!s)
        return;
    registry_unreserve(r, s->node, s->record->sandbox);
    r->sandbox_cnt--;
    sandbox_free(s);
}

/* ---- claims ---- */

struct registry_sandbox *registry_due_claim(const struct registry *r, uint64_t now_ms)
{
    struct adit_list *first = adit_list_first(&r->claims);
    if (!first)
        return NULL;
    struct registry_sandbox *s = ADIT_CONTAINER_OF(first, struct registry_sandbox, in_claims);
    return s->due_ms <= now_ms ? s : NULL;
}

void registry_postpone(struct registry *r, struct registry_sandbox *s, uint64_t now_ms)
{
    if (s->due_ms == 0)
        return;
    s->due_ms = now_ms + r->claim_ttl_ms;
    adit_list_remove(&s->in_claims);
    adit_list_push(&r->claims, &s->in_claims);
}
