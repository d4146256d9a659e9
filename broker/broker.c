/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rooms of the broker meet.
 *
 * Theory of operation
 *
 * The node knows neither edge nor scheduler; here its wishes become calls to them. The scheduler's
 * records follow the node's: when a confirmation or a release did not arrive, the node registers
 * anew with the list of what it runs, and the scheduler brings its records in line.
 */
#include "broker/broker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static int publish(void *owner, const struct edge_route *route, struct adit_err *err)
{
    struct broker *b = owner;
    return edge_publish(b->edge, route, err);
}

static int republish(void *owner, const struct edge_route *route, void (*done)(void *user),
                     void *user, struct adit_err *err)
{
    struct broker *b = owner;
    return edge_republish(b->edge, route, done, user, err);
}

static int withdraw(void *owner, const char *sandbox_id, void (*done)(void *user), void *user,
                    struct adit_err *err)
{
    struct broker *b = owner;
    return edge_withdraw(b->edge, sandbox_id, done, user, err);
}

/* Something the scheduler was told. owned by: the running call */
struct notice {
    struct broker *broker;
    node_done_fn done;
    void *user;
};

static void on_noticed(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct notice n = *(struct notice *)user;
    (void)answer; /* says nothing */
    free(user);
    if (err)
        registration_renew(n.broker->registration);
    if (n.done)
        n.done(n.user, err);
}

static int notify(struct broker *b, enum scheduler_method method, const ProtobufCMessage *request,
                  node_done_fn done, void *user, struct adit_err *err)
{
    struct notice *n = malloc(sizeof(*n));
    if (!n)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    *n = (struct notice){b, done, user};
    int rc = scheduler_client_call(b->scheduler, method, request, on_noticed, n, err);
    if (rc) {
        free(n);
        registration_renew(b->registration);
    }
    return rc;
}

static int confirm(void *owner, const char *sandbox_id, node_done_fn done, void *user,
                   struct adit_err *err)
{
    struct broker *b = owner;
    char id[SANDBOX_ID_CAP];
    Scheduler__ConfirmSandboxRequest request;
    scheduler__confirm_sandbox_request__init(&request);
    memcpy(id, sandbox_id, strlen(sandbox_id) + 1);
    request.sandbox_id = id;
    request.node_id = b->node_id;
    return notify(b, SCHEDULER_CONFIRM_SANDBOX, &request.base, done, user, err);
}

static int release(void *owner, const char *sandbox_id, const char *reason, node_done_fn done,
                   void *user, struct adit_err *err)
{
    struct broker *b = owner;
    char id[SANDBOX_ID_CAP], why[RECORD_REASON_CAP];
    Scheduler__ReleaseSandboxRequest request;
    scheduler__release_sandbox_request__init(&request);
    memcpy(id, sandbox_id, strlen(sandbox_id) + 1);
    (void)snprintf(why, sizeof(why), "%s", reason);
    request.sandbox_id = id;
    request.reason = why;
    return notify(b, SCHEDULER_RELEASE_SANDBOX, &request.base, done, user, err);
}

/* With the authority that the record has. */
static int make_policy(const struct broker *b, const struct record *r, const json_t *network,
                       bool is_offline, struct egress_policy **out, struct adit_err *err)
{
    struct egress_authority *authority = NULL;
    int rc = r->authority ? egress_authority_open(r->authority, &authority, err) : ADIT_OK;
    if (rc == ADIT_OK)
        rc = egress_policy_compile(network, is_offline, &b->reach, out, err);
    if (rc == ADIT_OK)
        egress_policy_set_authority(*out, authority);
    else
        egress_authority_free(authority);
    return rc;
}

static int open_egress(void *owner, const struct record *r, const json_t *network, bool is_offline,
                       struct egress_sandbox **out, struct adit_err *err)
{
    struct broker *b = owner;
    struct egress_policy *policy;
    int rc = make_policy(b, r, network, is_offline, &policy, err);
    return rc ? rc : egress_open(b->egress, r->sandbox_id, &r->instance.target, policy, out, err);
}

static int update_egress(void *owner, struct egress_sandbox *e, const struct record *r,
                         const json_t *network, bool is_offline, struct adit_err *err)
{
    struct egress_policy *policy;
    int rc = make_policy(owner, r, network, is_offline, &policy, err);
    return rc ? rc : egress_update(e, policy, err);
}

static void close_egress(void *owner, struct egress_sandbox *e)
{
    (void)owner;
    egress_close(e);
}

static void warm_changed(void *owner, const struct sandbox *s)
{
    struct broker *b = owner;
    warm_pool_changed(b->warm_pool, s);
}

const struct node_ops broker_node_ops = {.publish = publish,
                                         .republish = republish,
                                         .withdraw = withdraw,
                                         .confirm = confirm,
                                         .release = release,
                                         .open_egress = open_egress,
                                         .update_egress = update_egress,
                                         .close_egress = close_egress,
                                         .warm_changed = warm_changed};

void broker_release_claim(struct broker *b, const char *sandbox_id, const char *reason)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (release(b, sandbox_id, reason, NULL, NULL, &err))
        adit_log(ADIT_LOG_WARN, "claim_not_released", LOG_S("sandbox", sandbox_id), LOG_ERR(&err));
}
