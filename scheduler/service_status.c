/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods for operators: what there is, and letting a node drain.
 *
 * Theory of operation
 *
 * Status tells nodes as the scheduler counts them, and teams that have sandboxes or limits. A node
 * that an operator lets drain gets no sandboxes until it is made ready again; the mark is on record
 * and outlives the broker's and the scheduler's restarts. What runs there goes on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "scheduler/check.h"
#include "scheduler/service_int.h"

/* ---- draining ---- */

static int check_node_state(const struct scheduler *s, const Scheduler__SetNodeStateRequest *q,
                            struct registry_node **out, struct adit_err *err)
{
    int rc = check_name("node_id", q->node_id, err);
    if (rc)
        return rc;
    if (q->state != SCHEDULER__NODE_STATE__NODE_STATE_READY &&
        q->state != SCHEDULER__NODE_STATE__NODE_STATE_DRAINING)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "state: neither ready nor draining");
    *out = registry_find_node(&s->registry, q->node_id);
    return *out ? 0 : adit_err_set(err, ADIT_ERR_NOT_FOUND, "node '%s' not found", q->node_id);
}

void service_set_node_state(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__SetNodeStateRequest *q = (const Scheduler__SetNodeStateRequest *)m;
    Scheduler__SetNodeStateResponse answer = SCHEDULER__SET_NODE_STATE_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    struct registry_node *node = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    if (check_node_state(s, q, &node, &err)) {
        rpc_call_finish(c, &err);
        return;
    }
    Scheduler__Node info = *node->info;
    struct service_change change = {STORE_NODE, info.node_id, &info.base};
    info.is_drained = q->state == SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    node->is_drained = info.is_drained; /* at once: a registration meanwhile takes it along */
    adit_log(ADIT_LOG_INFO, "node_state_set", LOG_S("node", info.node_id),
             LOG_S("state", info.is_drained ? "draining" : "ready"));
    service_commit(c, &change, 1, &answer.base, NULL);
}

/* ---- status ---- */

/* A node as the scheduler counts it; one that is not heard of has no state. */
static void describe_node(const struct scheduler *s, const struct registry_node *n,
                          Scheduler__Node *out, Scheduler__Resources *allocated)
{
    static const Scheduler__Resources none = SCHEDULER__RESOURCES__INIT;
    const Scheduler__Resources *warm = n->info->warm ? n->info->warm : &none;
    scheduler__resources__init(allocated);
    allocated->cpu_count = (uint32_t)n->used.cpu_cnt + warm->cpu_count;
    allocated->memory_mb = n->used.memory_mb + warm->memory_mb;
    allocated->disk_mb = n->used.disk_mb + warm->disk_mb;
    *out = *n->info;
    out->allocated = allocated;
    out->sandbox_cnt = (uint32_t)n->used.sandbox_cnt;
    out->is_drained = n->is_drained;
    if (n->is_drained)
        out->state = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    if (scheduler_now_ms() - n->heard_ms > service_unreachable_ms(s))
        out->state = SCHEDULER__NODE_STATE__NODE_STATE_UNSPECIFIED;
}

struct team_list {
    Scheduler__Team *items, **refs;
    char (*ids)[CHECK_ID_MAX + 1];
    size_t cnt;
};

static void free_teams(struct team_list *l)
{
    free(l->items);
    free(l->refs);
    free(l->ids);
}

static void add_team(const struct scheduler *s, struct team_list *l, struct adit_view id,
                     size_t sandbox_cnt)
{
    Scheduler__Team *t = &l->items[l->cnt];
    (void)snprintf(l->ids[l->cnt], sizeof(l->ids[0]), "%.*s", ADIT_VIEW_ARG(id)); /* was checked */
    const Scheduler__Store__TeamRecord *r = teams_find(&s->teams, l->ids[l->cnt]);
    scheduler__team__init(t);
    t->team_id = l->ids[l->cnt];
    t->limits = r ? r->limits : NULL;
    t->sandbox_cnt = (uint32_t)sandbox_cnt;
    t->is_default = r && strcmp(t->team_id, s->teams.default_id) == 0;
    l->refs[l->cnt++] = t;
}

/* Those with sandboxes, then those that are only on record. */
static int list_teams(const struct scheduler *s, struct team_list *l)
{
    size_t cap = s->registry.quota.teams.len + teams_cnt(&s->teams) + 1, pos = 0, cnt = 0;
    const Scheduler__Store__TeamRecord *r;
    struct adit_view id;
    *l = (struct team_list){calloc(cap, sizeof(*l->items)), calloc(cap, sizeof(*l->refs)),
                            calloc(cap, sizeof(*l->ids)), 0};
    if (!l->items || !l->refs || !l->ids)
        return ADIT_ERR_NO_MEMORY;
    while (quota_next_team(&s->registry.quota, &pos, &id, &cnt))
        add_team(s, l, id, cnt);
    pos = 0;
    while ((r = teams_next(&s->teams, &pos)))
        if (quota_team_cnt(&s->registry.quota, r->team_id) == 0)
            add_team(s, l, adit_view_str(r->team_id), 0);
    return 0;
}

void service_status(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct scheduler *s = rpc_call_app(c);
    Scheduler__StatusResponse answer = SCHEDULER__STATUS_RESPONSE__INIT;
    Scheduler__Node *nodes[REGISTRY_NODES_MAX];
    struct team_list teams;
    struct description {
        Scheduler__Node node;
        Scheduler__Resources allocated;
    } *all = calloc(s->registry.node_cnt + 1, sizeof(*all));

    (void)m; /* has no fields */
    if (list_teams(s, &teams) || !all) {
        service_fail_no_memory(c);
        free_teams(&teams);
        free(all);
        return;
    }
    for (size_t i = 0; i < s->registry.node_cnt; i++) {
        describe_node(s, s->registry.nodes[i], &all[i].node, &all[i].allocated);
        nodes[i] = &all[i].node;
    }
    answer.n_nodes = s->registry.node_cnt;
    answer.nodes = nodes;
    answer.sandbox_cnt = (uint32_t)s->registry.sandbox_cnt;
    answer.placed_total = s->counters.placed;
    answer.refused_unreachable_total = s->counters.refused[PLACEMENT_UNREACHABLE];
    answer.refused_draining_total = s->counters.refused[PLACEMENT_DRAINING];
    answer.refused_full_total = s->counters.refused[PLACEMENT_FULL];
    answer.refused_incompatible_total = s->counters.refused[PLACEMENT_INCOMPATIBLE];
    answer.n_teams = teams.cnt;
    answer.teams = teams.refs;
    service_answer(c, &answer.base);
    free_teams(&teams);
    free(all);
}
