/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to the scheduler.
 *
 * Theory of operation
 *
 * One row per method says its path and what it answers with; calls share one pool of connections.
 * The caller sees two kinds of failure only: the scheduler's own words, or UNAVAILABLE when there
 * was no answer (nobody there, connection lost, SCHEDULER_CLIENT_TIMEOUT_MS passed). What is asked
 * is never repeated here.
 */
#include "broker/scheduler_client.h"

#include <stdio.h>
#include <stdlib.h>

struct scheduler_client {
    struct http_pool *pool;
};

static const struct row {
    const char *path;
    const ProtobufCMessageDescriptor *response;
} rows[] = {
    [SCHEDULER_REGISTER_NODE] = {"/scheduler.Scheduler/RegisterNode",
                                 &scheduler__register_node_response__descriptor},
    [SCHEDULER_HEARTBEAT] = {"/scheduler.Scheduler/Heartbeat",
                             &scheduler__heartbeat_response__descriptor},
    [SCHEDULER_PLACE] = {"/scheduler.Scheduler/Place", &scheduler__place_response__descriptor},
    [SCHEDULER_CONFIRM_SANDBOX] = {"/scheduler.Scheduler/ConfirmSandbox",
                                   &scheduler__confirm_sandbox_response__descriptor},
    [SCHEDULER_RELEASE_SANDBOX] = {"/scheduler.Scheduler/ReleaseSandbox",
                                   &scheduler__release_sandbox_response__descriptor},
    [SCHEDULER_PUT_TEMPLATE] = {"/scheduler.Scheduler/PutTemplate",
                                &scheduler__put_template_response__descriptor},
    [SCHEDULER_AUTHENTICATE] = {"/scheduler.Scheduler/Authenticate",
                                &scheduler__authenticate_response__descriptor},
    [SCHEDULER_CREATE_KEY] = {"/scheduler.Scheduler/CreateKey",
                              &scheduler__create_key_response__descriptor},
    [SCHEDULER_LIST_KEYS] = {"/scheduler.Scheduler/ListKeys",
                             &scheduler__list_keys_response__descriptor},
    [SCHEDULER_REVOKE_KEY] = {"/scheduler.Scheduler/RevokeKey",
                              &scheduler__revoke_key_response__descriptor},
    [SCHEDULER_UPDATE_KEY] = {"/scheduler.Scheduler/UpdateKey",
                              &scheduler__update_key_response__descriptor},
    [SCHEDULER_UPDATE_TEAM] = {"/scheduler.Scheduler/UpdateTeam",
                               &scheduler__update_team_response__descriptor},
    [SCHEDULER_SET_NODE_STATE] = {"/scheduler.Scheduler/SetNodeState",
                                  &scheduler__set_node_state_response__descriptor},
    [SCHEDULER_STATUS] = {"/scheduler.Scheduler/Status", &scheduler__status_response__descriptor},
};

static int parse_address(const char *address, struct http_target *out, struct adit_err *err)
{
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    out->kind = is_unix ? HTTP_TARGET_UNIX : HTTP_TARGET_TCP;
    int n = snprintf(out->path, sizeof(out->path), "%s", is_unix ? address + 5 : address);
    if (n <= 0 || (size_t)n >= sizeof(out->path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "the scheduler's address is empty or too long");
    return 0;
}

int scheduler_client_new(struct net_loop *l, const char *address, struct scheduler_client **out,
                         struct adit_err *err)
{
    struct http_pool_conf conf = {
        .dial_ms = 2000,
        .idle_ms = 60000,
        .idle_max = 16,
        .connections_max = SCHEDULER_CLIENT_CONNECTIONS_MAX,
    };
    int rc = parse_address(address, &conf.target, err);
    if (rc)
        return rc;
    struct scheduler_client *c = calloc(1, sizeof(*c));
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    rc = http_pool_new(l, &conf, &c->pool, err);
    if (rc) {
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void scheduler_client_close(struct scheduler_client *c)
{
    http_pool_close(c->pool);
    free(c);
}

/* One running call. owned by: itself, freed when it is answered */
struct call {
    rpc_client_fn on_done;
    void *user;
};

/* The connection's failure, not the scheduler's word; that one comes without an errno. */
static bool is_no_answer(const struct adit_err *err)
{
    return err->code == ADIT_ERR_TIMEOUT || err->code == ADIT_ERR_CLOSED ||
           err->code == ADIT_ERR_PROTOCOL || err->code == ADIT_ERR_IO ||
           (err->code == ADIT_ERR_UNAVAILABLE && err->sys_errno);
}

static void on_answer(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct call call = *(struct call *)user;
    struct adit_err none = ADIT_ERR_INIT;
    free(user);
    if (err && is_no_answer(err)) {
        (void)adit_err_set(&none, ADIT_ERR_UNAVAILABLE, "the scheduler does not answer: %s",
                           err->msg);
        err = &none;
    }
    call.on_done(call.user, answer, err);
}

int scheduler_client_call(struct scheduler_client *c, enum scheduler_method method,
                          const ProtobufCMessage *request, rpc_client_fn on_done, void *user,
                          struct adit_err *err)
{
    struct call *call = malloc(sizeof(*call));
    if (!call)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    *call = (struct call){on_done, user};
    int rc = rpc_client_start(c->pool, rows[method].path, request, rows[method].response,
                              SCHEDULER_CLIENT_TIMEOUT_MS, on_answer, call, NULL, err);
    if (rc)
        free(call);
    return rc;
}
