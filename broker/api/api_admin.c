/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's part of the API: nodes, and all sandboxes of a team.
 *
 * Theory of operation
 *
 * What the scheduler counts is told as it counts it: a node that it does not hear of is
 * "unhealthy". Members of the contract's node that nobody measures are left out. Killing a team's
 * sandboxes is answered when all that ran or were being created on this host are dead, or cannot be
 * for now.
 */
#include <stdlib.h>

#include "broker/api/api.h"

/* The contract's id for the only cluster there is. */
#define CLUSTER_ID "00000000-0000-0000-0000-000000000000"

/* What the scheduler counts in mebibytes; it takes no more than 2^32 of them. */
#define BYTES_PER_MB (1 << 20)

/* ---- nodes ---- */

static const char *state_name(Scheduler__NodeState state)
{
    switch (state) {
    case SCHEDULER__NODE_STATE__NODE_STATE_READY:
        return "ready";
    case SCHEDULER__NODE_STATE__NODE_STATE_DRAINING:
        return "draining";
    default:
        return "unhealthy";
    }
}

/* NULL for a node that tells none. */
static json_t *machine_document(const Scheduler__Machine *m)
{
    return m ? json_pack("{s:s, s:s, s:s, s:s}", "cpuFamily", m->cpu_family, "cpuModel",
                         m->cpu_model, "cpuModelName", m->cpu_model_name, "cpuArchitecture",
                         m->cpu_architecture)
             : NULL;
}

static json_t *node_document(const Scheduler__Node *n)
{
    static const Scheduler__Resources none = SCHEDULER__RESOURCES__INIT;
    const Scheduler__Resources *used = n->allocated ? n->allocated : &none;
    const Scheduler__Resources *cap = n->capacity ? n->capacity : &none;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:o*, s:{s:I, s:I, s:I, s:I, s:[]}}",
        "id", n->node_id, "serviceInstanceID", n->incarnation, "clusterID", CLUSTER_ID, "version",
        n->version, "status", state_name(n->state), "sandboxCount", (int)n->sandbox_cnt,
        "sandboxStartingCount", (int)n->creating_cnt, "sandboxWarmCount", (int)n->warm_cnt,
        "createSuccesses", (json_int_t)n->creates_ok, "createFails", (json_int_t)n->creates_failed,
        "machineInfo", machine_document(n->machine), "metrics", "allocatedCPU",
        (json_int_t)used->cpu_count, "cpuCount", (json_int_t)cap->cpu_count, "allocatedMemoryBytes",
        (json_int_t)used->memory_mb * BYTES_PER_MB, "memoryTotalBytes",
        (json_int_t)cap->memory_mb * BYTES_PER_MB, "disks");
}

static void on_nodes(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct api_request *rq = user;
    const Scheduler__StatusResponse *a = (const Scheduler__StatusResponse *)answer;
    json_t *list = json_array();
    if (err) {
        json_decref(list);
        api_reply_err(rq, NULL, err);
        return;
    }
    for (size_t i = 0; list && i < a->n_nodes; i++) {
        if (json_array_append_new(list, node_document(a->nodes[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    api_reply_json(rq, 200, list);
}

static void ask_status(struct api_request *rq, rpc_client_fn on_answer)
{
    Scheduler__StatusRequest request = SCHEDULER__STATUS_REQUEST__INIT;
    api_ask(rq, SCHEDULER_STATUS, &request.base, on_answer);
}

void api_admin_nodes(struct api_request *rq)
{
    ask_status(rq, on_nodes);
}

static void reply_no_node(struct api_request *rq)
{
    api_reply_error(rq, 404, NULL, "Node not found");
}

static void on_node(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct api_request *rq = user;
    const Scheduler__StatusResponse *a = (const Scheduler__StatusResponse *)answer;
    struct adit_view id = api_routes_param(rq->route, edge_api_path(rq->edge), "{id}");
    if (err) {
        api_reply_err(rq, NULL, err);
        return;
    }
    for (size_t i = 0; i < a->n_nodes; i++) {
        if (adit_view_eq_str(id, a->nodes[i]->node_id)) {
            api_reply_json(rq, 200, node_document(a->nodes[i]));
            return;
        }
    }
    reply_no_node(rq);
}

void api_admin_node(struct api_request *rq)
{
    ask_status(rq, on_node);
}

static void on_node_set(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    (void)answer; /* says nothing */
    if (err && (err->code == ADIT_ERR_NOT_FOUND || err->code == ADIT_ERR_BAD_INPUT))
        reply_no_node(user); /* an id that none can have is one that none has */
    else if (err)
        api_reply_err(user, NULL, err);
    else
        api_reply_empty(user, 204);
}

/* {"status": "ready" | "draining"} */
static int take_state(struct adit_view body, Scheduler__NodeState *out, struct adit_err *err)
{
    const char *status = NULL;
    json_t *doc = NULL;
    int rc = jtext_parse(body, &doc, err);
    if (rc == 0)
        rc = jtext_string(doc, "status", &status, err);
    if (rc == 0 && status && strcmp(status, "ready") == 0)
        *out = SCHEDULER__NODE_STATE__NODE_STATE_READY;
    else if (rc == 0 && status && strcmp(status, "draining") == 0)
        *out = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    else if (rc == 0)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "validation error: status must be ready or draining");
    json_decref(doc);
    return rc;
}

void api_admin_set_node(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    Scheduler__SetNodeStateRequest request;
    scheduler__set_node_state_request__init(&request);
    if (take_state(edge_api_body(rq->edge), &request.state, &err)) {
        api_reply_err(rq, NULL, &err);
        return;
    }
    char *id = adit_view_dup(api_routes_param(rq->route, edge_api_path(rq->edge), "{id}"));
    request.node_id = id;
    if (id)
        api_ask(rq, SCHEDULER_SET_NODE_STATE, &request.base, on_node_set);
    else
        api_reply_json(rq, 503, NULL);
    free(id);
}

/* ---- teams ---- */

static void on_counts(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct api_request *rq = user;
    const Scheduler__StatusResponse *a = (const Scheduler__StatusResponse *)answer;
    json_t *doc = json_object();
    bool is_whole = doc != NULL;
    if (err) {
        json_decref(doc);
        api_reply_err(rq, NULL, err);
        return;
    }
    for (size_t i = 0; is_whole && i < a->n_teams; i++)
        if (a->teams[i]->sandbox_cnt)
            is_whole = json_object_set_new(doc, a->teams[i]->team_id,
                                           json_integer(a->teams[i]->sandbox_cnt)) == 0;
    if (!is_whole) {
        json_decref(doc);
        doc = NULL;
    }
    api_reply_json(rq, 200, doc);
}

void api_admin_running_counts(struct api_request *rq)
{
    ask_status(rq, on_counts);
}

/* owned by: itself, until the last sandbox is dead */
struct team_kill {
    struct api_request *rq;
    size_t left;
    int killed, failed;
};

static void on_one_killed(void *user, const struct adit_err *err)
{
    struct team_kill *m = user;
    if (err)
        m->failed++;
    else
        m->killed++;
    if (--m->left)
        return;
    api_reply_json(m->rq, 200,
                   json_pack("{s:i, s:i}", "killedCount", m->killed, "failedCount", m->failed));
    free(m);
}

void api_admin_kill_team(struct api_request *rq)
{
    struct node *node = rq->broker->node;
    struct sandbox *s;
    size_t pos = 0;
    struct team_kill *m = NULL;
    if (!api_take_team(rq, "{id}"))
        return;
    m = calloc(1, sizeof(*m));
    if (!m) {
        api_reply_json(rq, 503, NULL);
        return;
    }
    m->rq = rq;
    m->left = 1; /* ours, so that it is not answered before all were told */
    while ((s = node_next_living(node, rq->who.team_id, &pos))) {
        m->left++;
        node_kill(s, "killed by the operator", on_one_killed, m);
    }
    m->killed--; /* on_one_killed() counts our own part */
    on_one_killed(m, NULL);
}
