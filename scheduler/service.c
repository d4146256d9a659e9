/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPC service: its table, and how a method writes and answers.
 *
 * Theory of operation
 *
 * What: a method checks its request, decides on the working copy, and either answers at once or
 * writes. A write is answered when it is committed, never before: what a broker was told stays true
 * over any crash. The copy changes with the commit (store.h), so a method never sees what may yet
 * be undone.
 *
 * Ownership: a pending write (struct pending) lives until the store calls back. Its call may end
 * earlier (the broker went away, its deadline passed): on_cancel takes it out, the write goes on.
 * Limits: check.h for the messages, store.h for what waits for the disk.
 */
#include "scheduler/service.h"
#include "scheduler/service_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "scheduler/check.h"
#include "scheduler/message.h"

/*
 * @in_writes: in scheduler->writes; @table, @id: of the first change
 * @call: NULL when it has ended meanwhile
 * @sandbox: what room is reserved for
 */
struct pending {
    struct adit_list in_writes;
    enum store_table table;
    char id[CHECK_ID_MAX + 1];
    struct rpc_call *call;
    ProtobufCMessage *answer;
    struct registry *registry;  /* borrowed */
    struct registry_node *node; /* borrowed; NULL: nothing is reserved */
    Scheduler__RunningSandbox *sandbox;
};

static void pending_free(struct pending *p)
{
    if (p->node)
        registry_unreserve(p->registry, p->node, p->sandbox);
    adit_list_remove(&p->in_writes);
    message_free(p->sandbox);
    message_free(p->answer);
    free(p);
}

/* A scheduler short of disk or memory is no client's limit: "resource_exhausted" would say that. */
static void fail_unavailable(struct rpc_call *c, const char *what)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE, "%s", what); /* only told */
    rpc_call_finish(c, &err);
}

static void on_written(void *user, const struct adit_err *err)
{
    struct pending *p = user;
    struct rpc_call *call = p->call;
    if (err)
        adit_log(ADIT_LOG_ERROR, "write_failed", LOG_ERR(err));
    if (call && err)
        fail_unavailable(call, err->msg);
    else if (call)
        service_answer(call, p->answer);
    pending_free(p);
}

static void on_cancel(struct rpc_call *c, int code)
{
    struct pending *p = rpc_call_user(c);
    (void)code; /* whatever it was, nobody listens any more */
    if (p)
        p->call = NULL;
}

void service_answer(struct rpc_call *c, const ProtobufCMessage *answer)
{
    if (rpc_call_send(c, answer))
        adit_log(ADIT_LOG_DEBUG, "answer_lost"); /* the call is over */
}

void service_fail_no_memory(struct rpc_call *c)
{
    fail_unavailable(c, "no memory");
}

void service_timestamp(Google__Protobuf__Timestamp *out)
{
    int64_t now = adit_clock_wall_ns();
    google__protobuf__timestamp__init(out);
    out->seconds = now / 1000000000;
    out->nanos = (int32_t)(now % 1000000000);
}

/* ---- writing ---- */

static void free_values(struct store_change *changes, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++)
        free((char *)(uintptr_t)changes[i].value.ptr);
    free(changes);
}

/* Return: NULL without memory. */
static struct store_change *pack_changes(const struct service_change *from, size_t cnt)
{
    struct store_change *changes = calloc(cnt, sizeof(*changes));
    for (size_t i = 0; changes && i < cnt; i++) {
        changes[i].table = from[i].table;
        changes[i].id = adit_view_str(from[i].id);
        if (!from[i].message)
            continue;
        changes[i].value.ptr = (char *)message_pack(from[i].message, &changes[i].value.len);
        if (!changes[i].value.ptr) {
            free_values(changes, cnt);
            return NULL;
        }
    }
    return changes;
}

/* Return: false without memory. */
static bool reserve(struct pending *p, struct scheduler *s, const struct service_reservation *what)
{
    p->registry = &s->registry;
    p->sandbox = message_clone(&what->sandbox->base);
    if (!p->sandbox || registry_reserve(p->registry, what->node, p->sandbox))
        return false;
    p->node = what->node;
    return true;
}

static struct pending *pending_new(struct rpc_call *c, const struct service_change *first,
                                   const ProtobufCMessage *answer,
                                   const struct service_reservation *reserved)
{
    struct scheduler *s = rpc_call_app(c);
    struct pending *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    adit_list_push(&s->writes, &p->in_writes);
    p->table = first->table;
    (void)snprintf(p->id, sizeof(p->id), "%s", first->id); /* ids were checked */
    p->call = c;
    p->answer = message_clone(answer);
    if (!p->answer || (reserved && !reserve(p, s, reserved))) {
        pending_free(p);
        return NULL;
    }
    return p;
}

static int write_changes(struct scheduler *s, const struct service_change *changes, size_t cnt,
                         struct pending *p, struct adit_err *err)
{
    struct store_change *packed = pack_changes(changes, cnt);
    if (!packed)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    int rc = store_write(s->store, packed, cnt, on_written, p, err);
    free_values(packed, cnt);
    return rc;
}

void service_commit(struct rpc_call *c, const struct service_change *changes, size_t cnt,
                    const ProtobufCMessage *answer, const struct service_reservation *reserved)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct pending *p = pending_new(c, &changes[0], answer, reserved);
    int rc = p ? write_changes(rpc_call_app(c), changes, cnt, p, &err)
               : adit_err_set(&err, ADIT_ERR_NO_MEMORY, "no memory");
    if (rc == 0) {
        rpc_call_set_user(c, p);
        return;
    }
    if (p)
        pending_free(p);
    if (rc == ADIT_ERR_LIMIT || rc == ADIT_ERR_NO_MEMORY)
        fail_unavailable(c, err.msg);
    else
        rpc_call_finish(c, &err);
}

bool service_is_changing(const struct scheduler *s, enum store_table table, const char *id)
{
    struct adit_list *it;
    for (it = s->writes.next; it != &s->writes; it = it->next) {
        const struct pending *p = ADIT_CONTAINER_OF(it, struct pending, in_writes);
        if (p->table == table && strcmp(p->id, id) == 0)
            return true;
    }
    return false;
}

size_t service_changes_cnt(const struct scheduler *s, enum store_table table)
{
    struct adit_list *it;
    size_t cnt = 0;
    for (it = s->writes.next; it != &s->writes; it = it->next)
        cnt += ADIT_CONTAINER_OF(it, const struct pending, in_writes)->table == table;
    return cnt;
}

/* ---- the table ---- */

#define METHOD(name, request_name, handler)                                                        \
    {                                                                                              \
        "/scheduler.Scheduler/" name, RPC_UNARY, &scheduler__##request_name##_request__descriptor, \
            &scheduler__##request_name##_response__descriptor, handler, NULL, NULL, on_cancel      \
    }

static const struct rpc_method methods[] = {
    METHOD("RegisterNode", register_node, service_register_node),
    METHOD("Heartbeat", heartbeat, service_heartbeat),
    METHOD("Place", place, service_place),
    METHOD("ConfirmSandbox", confirm_sandbox, service_confirm_sandbox),
    METHOD("ReleaseSandbox", release_sandbox, service_release_sandbox),
    METHOD("LocateSandbox", locate_sandbox, service_locate_sandbox),
    METHOD("PutTemplate", put_template, service_put_template),
    METHOD("ResolveTemplate", resolve_template, service_resolve_template),
    METHOD("ListTemplates", list_templates, service_list_templates),
    METHOD("Authenticate", authenticate, service_authenticate),
    METHOD("CreateKey", create_key, service_create_key),
    METHOD("ListKeys", list_keys, service_list_keys),
    METHOD("RevokeKey", revoke_key, service_revoke_key),
    METHOD("UpdateKey", update_key, service_update_key),
    METHOD("UpdateTeam", update_team, service_update_team),
    METHOD("SetNodeState", set_node_state, service_set_node_state),
    METHOD("Status", status, service_status),
};

static const struct rpc_service service = {
    .methods = methods,
    .method_cnt = sizeof(methods) / sizeof(methods[0]),
};

void service_on_request(struct http_exchange *x, const struct http_head *head)
{
    static const struct adit_view unknown =
        ADIT_VIEW("{\"code\":\"unimplemented\",\"message\":\"no such method\"}");
    const struct rpc_method *m = rpc_service_find(&service, head->target);
    if (m)
        rpc_server_handle(x, head, &service, m, http_server_owner(http_exchange_server(x)));
    else if (http_exchange_header_str(x, "Content-Type", "application/json"))
        http_exchange_reset(x);
    else
        http_exchange_reply(x, 404, unknown);
}
