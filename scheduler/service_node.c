/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods about nodes and sandboxes.
 *
 * Theory of operation
 *
 * A sandbox is claimed by Place, confirmed by its node, and released by whoever sees its end. A
 * claim that nobody confirms is dropped by the sweep (scheduler.c).
 *
 * Place is where maxima of teams and keys are held (service_keys.c): every create of every broker
 * passes here, and the counts hold what is still on its way to the disk.
 *
 * RegisterNode brings our records of a node in line with what the node says it runs: the node is
 * right. Claims of the same incarnation are left alone, because their creates may be under way;
 * those of an earlier one can never be confirmed and go at once.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rand.h"
#include "scheduler/check.h"
#include "scheduler/message.h"
#include "scheduler/service_int.h"

/* ---- nodes ---- */

/*
 * The changes of one registration.
 * @records: messages that changes of added sandboxes point to
 */
struct reconciliation {
    struct service_change *changes;
    Scheduler__Store__SandboxRecord *records;
    size_t change_cnt, record_cnt;
    Google__Protobuf__Timestamp now;
};

static bool is_same(const struct registry_sandbox *known, const struct registry_node *node,
                    const Scheduler__RunningSandbox *said)
{
    const Scheduler__RunningSandbox *have = known->record->sandbox;
    const Scheduler__Resources *a = have->resources, *b = said->resources;
    return known->node == node && known->record->is_confirmed &&
           strcmp(have->team_id, said->team_id) == 0 &&
           strcmp(have->template_id, said->template_id) == 0 &&
           strcmp(have->key_id, said->key_id) == 0 && a->cpu_count == b->cpu_count &&
           a->memory_mb == b->memory_mb && a->disk_mb == b->disk_mb;
}

/* Sandboxes that the node runs and we have not on record so. */
static void add_missing(struct scheduler *s, const Scheduler__RegisterNodeRequest *q,
                        struct reconciliation *r)
{
    const struct registry_node *node = registry_find_node(&s->registry, q->node->node_id);
    for (size_t i = 0; i < q->n_sandboxes; i++) {
        Scheduler__RunningSandbox *said = q->sandboxes[i];
        struct registry_sandbox *known =
            registry_find(&s->registry, adit_view_str(said->sandbox_id));
        if (known && is_same(known, node, said))
            continue;
        Scheduler__Store__SandboxRecord *record = &r->records[r->record_cnt++];
        scheduler__store__sandbox_record__init(record);
        record->sandbox = said;
        record->node_id = q->node->node_id;
        record->is_confirmed = true;
        record->created_at = known ? known->record->created_at : &r->now;
        r->changes[r->change_cnt++] =
            (struct service_change){STORE_SANDBOX, said->sandbox_id, &record->base};
    }
}

/* Records of the node that it knows nothing of. */
static void remove_vanished(const struct registry_node *node, bool is_same_incarnation,
                            const struct adit_map *listed, struct reconciliation *r)
{
    struct adit_list *it;
    for (it = node->sandboxes.next; it != &node->sandboxes; it = it->next) {
        struct registry_sandbox *known = ADIT_CONTAINER_OF(it, struct registry_sandbox, on_node);
        const char *id = known->record->sandbox->sandbox_id;
        if (adit_map_get(listed, adit_view_str(id)) ||
            (is_same_incarnation && !known->record->is_confirmed))
            continue;
        r->changes[r->change_cnt++] = (struct service_change){STORE_SANDBOX, id, NULL};
    }
}

static int list_ids(const Scheduler__RegisterNodeRequest *q, struct adit_map *listed,
                    struct adit_err *err)
{
    for (size_t i = 0; i < q->n_sandboxes; i++) {
        struct adit_view id = adit_view_str(q->sandboxes[i]->sandbox_id);
        if (adit_map_get(listed, id))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "sandboxes: one is listed twice");
        if (adit_map_put(listed, id, q->sandboxes[i]))
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    return 0;
}

static int check_registration(const Scheduler__RegisterNodeRequest *q, struct adit_err *err)
{
    int rc = check_node(q->node, err);
    if (rc == 0 && q->n_sandboxes > CHECK_NODE_SANDBOXES_MAX)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "sandboxes: too many");
    for (size_t i = 0; rc == 0 && i < q->n_sandboxes; i++)
        rc = check_running(q->sandboxes[i], err);
    return rc;
}

static int reconcile(struct scheduler *s, const Scheduler__RegisterNodeRequest *q,
                     struct reconciliation *r, struct adit_err *err)
{
    const struct registry_node *node = registry_find_node(&s->registry, q->node->node_id);
    struct adit_map listed;
    size_t on_node = node ? node->used.sandbox_cnt : 0;

    q->node->is_drained = node && node->is_drained; /* ours, whatever was sent */

    adit_map_init(&listed);
    int rc = list_ids(q, &listed, err);
    r->changes = calloc(1 + q->n_sandboxes + on_node, sizeof(*r->changes));
    r->records = calloc(1 + q->n_sandboxes, sizeof(*r->records));
    if (rc == 0 && (!r->changes || !r->records))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    if (rc == 0) {
        service_timestamp(&r->now);
        r->changes[r->change_cnt++] =
            (struct service_change){STORE_NODE, q->node->node_id, &q->node->base};
        if (node)
            remove_vanished(node, strcmp(node->info->incarnation, q->node->incarnation) == 0,
                            &listed, r);
        add_missing(s, q, r);
    }
    adit_map_fini(&listed);
    return rc;
}

static int check_room(const struct scheduler *s, const Scheduler__RegisterNodeRequest *q,
                      struct adit_err *err)
{
    if (!registry_find_node(&s->registry, q->node->node_id) &&
        s->registry.node_cnt >= REGISTRY_NODES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "there are %d nodes already", REGISTRY_NODES_MAX);
    if (s->registry.sandbox_cnt + q->n_sandboxes > REGISTRY_SANDBOXES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "there are %zu sandboxes already",
                            s->registry.sandbox_cnt);
    return 0;
}

/* A broker that introduces itself again often has nothing new to say: that needs no write. */
static void finish_registration(struct rpc_call *c, const Scheduler__RegisterNodeRequest *q,
                                const struct reconciliation *r)
{
    Scheduler__RegisterNodeResponse answer = SCHEDULER__REGISTER_NODE_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);

    adit_log(ADIT_LOG_INFO, "node_registered", LOG_S("node", q->node->node_id),
             LOG_S("incarnation", q->node->incarnation), LOG_U("sandboxes", q->n_sandboxes),
             LOG_U("changes", r->change_cnt - 1));
    answer.heartbeat_ms = (uint32_t)s->conf->heartbeat_ms;
    if (r->change_cnt == 1 && registry_hear(&s->registry, q->node, scheduler_now_ms(), NULL) == 0)
        service_answer(c, &answer.base);
    else
        service_commit(c, r->changes, r->change_cnt, &answer.base, NULL);
}

void service_register_node(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__RegisterNodeRequest *q = (const Scheduler__RegisterNodeRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    struct reconciliation r = {0};
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_registration(q, &err);
    if (rc == 0)
        rc = check_room(s, q, &err);
    if (rc == 0)
        rc = reconcile(s, q, &r, &err);
    if (rc == 0)
        finish_registration(c, q, &r);
    else
        rpc_call_finish(c, &err);
    free(r.changes);
    free(r.records);
}

void service_heartbeat(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__HeartbeatRequest *q = (const Scheduler__HeartbeatRequest *)m;
    Scheduler__HeartbeatResponse answer = SCHEDULER__HEARTBEAT_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_node(q->node, &err);
    if (rc == 0)
        rc = registry_hear(&s->registry, q->node, scheduler_now_ms(), &err);
    if (rc)
        rpc_call_finish(c, &err);
    else
        service_answer(c, &answer.base);
}

/* ---- sandboxes ---- */

uint64_t service_unreachable_ms(const struct scheduler *s)
{
    return SCHEDULER_HEARTBEATS_MISSED * s->conf->heartbeat_ms;
}

static int check_place(const Scheduler__PlaceRequest *q, struct adit_err *err)
{
    int rc = check_id("sandbox_id", q->sandbox_id, err);
    if (rc == 0)
        rc = check_name("team_id", q->team_id, err);
    if (rc == 0 && q->isolation[0])
        rc = check_name("isolation", q->isolation, err);
    if (rc == 0 && q->key_id[0])
        rc = check_name("key_id", q->key_id, err);
    if (rc == 0 && q->warm_node_id[0])
        rc = check_name("warm_node_id", q->warm_node_id, err);
    if (rc == 0 && q->n_excluded_node_ids > REGISTRY_NODES_MAX)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "excluded_node_ids: too many");
    for (size_t i = 0; rc == 0 && i < q->n_excluded_node_ids; i++)
        rc = check_name("excluded_node_ids", q->excluded_node_ids[i], err);
    return rc;
}

/* A claim may be placed again: its node refused, or the answer was lost. */
static int check_free(const struct scheduler *s, const Scheduler__PlaceRequest *q,
                      struct adit_err *err)
{
    const struct registry_sandbox *known =
        registry_find(&s->registry, adit_view_str(q->sandbox_id));
    if (!known && s->registry.sandbox_cnt >= REGISTRY_SANDBOXES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "there are %d sandboxes already",
                            REGISTRY_SANDBOXES_MAX);
    if (known &&
        (known->record->is_confirmed || strcmp(known->record->sandbox->team_id, q->team_id) != 0 ||
         strcmp(known->record->sandbox->key_id, q->key_id) != 0))
        return adit_err_set(err, ADIT_ERR_EXISTS, "sandbox '%s' exists already", q->sandbox_id);
    return 0;
}

static int choose(struct scheduler *s, const Scheduler__PlaceRequest *q,
                  const Scheduler__Template *t, struct registry_node **out, struct adit_err *err)
{
    struct placement_need need = {
        .template = t,
        .isolation = q->isolation[0] ? q->isolation : t->isolation,
        .excluded = q->excluded_node_ids,
        .excluded_cnt = q->n_excluded_node_ids,
        .warm_node_id = q->warm_node_id,
        .now_ms = scheduler_now_ms(),
        .unreachable_ms = service_unreachable_ms(s),
        .random = adit_rand_u64(),
    };
    return placement_choose(s->registry.nodes, s->registry.node_cnt, &need, &s->counters, out, err);
}

static void claim(struct rpc_call *c, const Scheduler__PlaceRequest *q,
                  const Scheduler__Template *t, struct registry_node *node)
{
    Scheduler__RunningSandbox sandbox;
    Scheduler__Store__SandboxRecord record;
    Scheduler__PlaceResponse answer;
    Google__Protobuf__Timestamp now;
    struct service_change change = {STORE_SANDBOX, q->sandbox_id, &record.base};
    struct service_reservation reserved = {node, &sandbox};

    scheduler__running_sandbox__init(&sandbox);
    scheduler__store__sandbox_record__init(&record);
    scheduler__place_response__init(&answer);
    service_timestamp(&now);
    sandbox.sandbox_id = q->sandbox_id;
    sandbox.team_id = q->team_id;
    sandbox.key_id = q->key_id;
    sandbox.template_id = t->template_id;
    sandbox.resources = t->resources;
    record.sandbox = &sandbox;
    record.node_id = node->info->node_id;
    record.created_at = &now;
    answer.node_id = node->info->node_id;
    answer.incarnation = node->info->incarnation;
    answer.address = node->info->address;
    answer.template_ = (Scheduler__Template *)(uintptr_t)t;
    if (q->warm_node_id[0])
        registry_take_warm(node, t->resources);
    service_commit(c, &change, 1, &answer.base, &reserved);
}

/* The key's creates come too fast: nothing is placed. */
static void answer_slow(struct rpc_call *c)
{
    Scheduler__PlaceResponse answer;
    scheduler__place_response__init(&answer);
    answer.retry_after_s = 1; /* no rate is slower than one a second */
    service_answer(c, &answer.base);
}

void service_place(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__PlaceRequest *q = (const Scheduler__PlaceRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Template *t = NULL;
    struct registry_node *node = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    bool is_slow = false;

    int rc = check_place(q, &err);
    if (rc == 0)
        rc = templates_resolve(&s->templates, adit_view_str(q->template_ref), &t, &err);
    if (rc == 0)
        rc = check_free(s, q, &err);
    if (rc == 0)
        rc = service_check_quota(s, q, registry_find(&s->registry, adit_view_str(q->sandbox_id)),
                                 &is_slow, &err);
    if (rc == 0 && is_slow) {
        answer_slow(c);
        return;
    }
    if (rc == 0)
        rc = choose(s, q, t, &node, &err);
    if (rc) {
        adit_log(ADIT_LOG_DEBUG, "placement_refused", LOG_S("sandbox", q->sandbox_id),
                 LOG_ERR(&err));
        rpc_call_finish(c, &err);
        return;
    }
    claim(c, q, t, node);
}

static int find_claim(struct scheduler *s, const Scheduler__ConfirmSandboxRequest *q,
                      struct registry_sandbox **out, struct adit_err *err)
{
    int rc = check_id("sandbox_id", q->sandbox_id, err);
    if (rc == 0)
        rc = check_name("node_id", q->node_id, err);
    if (rc)
        return rc;
    *out = registry_find(&s->registry, adit_view_str(q->sandbox_id));
    if (!*out)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "sandbox '%s' has no claim", q->sandbox_id);
    if (strcmp((*out)->record->node_id, q->node_id) != 0)
        return adit_err_set(err, ADIT_ERR_CONFLICT, "sandbox '%s' was placed on another node",
                            q->sandbox_id);
    return 0;
}

void service_confirm_sandbox(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__ConfirmSandboxRequest *q = (const Scheduler__ConfirmSandboxRequest *)m;
    Scheduler__ConfirmSandboxResponse answer = SCHEDULER__CONFIRM_SANDBOX_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    struct registry_sandbox *sandbox = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    if (find_claim(s, q, &sandbox, &err)) {
        rpc_call_finish(c, &err);
        return;
    }
    if (sandbox->record->is_confirmed) {
        service_answer(c, &answer.base);
        return;
    }
    Scheduler__Store__SandboxRecord record = *sandbox->record;
    struct service_change change = {STORE_SANDBOX, q->sandbox_id, &record.base};
    record.is_confirmed = true;
    registry_postpone(&s->registry, sandbox, scheduler_now_ms());
    service_commit(c, &change, 1, &answer.base, NULL);
}

void service_release_sandbox(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__ReleaseSandboxRequest *q = (const Scheduler__ReleaseSandboxRequest *)m;
    Scheduler__ReleaseSandboxResponse answer = SCHEDULER__RELEASE_SANDBOX_RESPONSE__INIT;
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_id("sandbox_id", q->sandbox_id, &err);
    if (rc == 0)
        rc = check_text("reason", q->reason, CHECK_TEXT_MAX, &err);
    if (rc) {
        rpc_call_finish(c, &err);
        return;
    }
    adit_log(ADIT_LOG_INFO, "sandbox_released", LOG_S("sandbox", q->sandbox_id),
             LOG_S("reason", q->reason));
    /* Also when it is not on record: its claim may be on the way to the store. */
    struct service_change change = {STORE_SANDBOX, q->sandbox_id, NULL};
    service_commit(c, &change, 1, &answer.base, NULL);
}

void service_locate_sandbox(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__LocateSandboxRequest *q = (const Scheduler__LocateSandboxRequest *)m;
    Scheduler__LocateSandboxResponse answer;
    struct scheduler *s = rpc_call_app(c);
    struct adit_err err = ADIT_ERR_INIT;
    struct registry_sandbox *sandbox = NULL;

    scheduler__locate_sandbox_response__init(&answer);
    int rc = check_id("sandbox_id", q->sandbox_id, &err);
    if (rc == 0)
        sandbox = registry_find(&s->registry, adit_view_str(q->sandbox_id));
    if (rc == 0 && !sandbox)
        rc = adit_err_set(&err, ADIT_ERR_NOT_FOUND, "sandbox '%s' not found", q->sandbox_id);
    if (rc) {
        rpc_call_finish(c, &err);
        return;
    }
    answer.node_id = sandbox->record->node_id;
    answer.address = sandbox->node->info->address;
    answer.team_id = sandbox->record->sandbox->team_id;
    service_answer(c, &answer.base);
}
