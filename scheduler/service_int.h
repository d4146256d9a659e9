/* SPDX-License-Identifier: Apache-2.0 */
/* What the methods of the service share. */
#ifndef SCHEDULER_SERVICE_INT_H
#define SCHEDULER_SERVICE_INT_H

#include "rpc/rpc_server.h"
#include "scheduler/scheduler.h"
#include "scheduler_store.pb-c.h"

/* One change that is being put together: a table, an id and a message (NULL: the record goes). */
struct service_change {
    enum store_table table;
    const char *id;
    const ProtobufCMessage *message;
};

/*
 * What is held until a write is committed or failed.
 * @node: where room is reserved. Nodes live as long as the scheduler
 * @sandbox: what for
 */
struct service_reservation {
    struct registry_node *node;               /* borrowed */
    const Scheduler__RunningSandbox *sandbox; /* borrowed */
};

/*
 * Write, and answer with @answer when it is committed, or with the error. Everything is copied. The
 * call is over or waits: do nothing with it afterwards. @reserved may be NULL.
 */
void service_commit(struct rpc_call *c, const struct service_change *changes, size_t cnt,
                    const ProtobufCMessage *answer, const struct service_reservation *reserved);
/* Is the first change of a call that still waits one of that record? What is known of it is older
 * then: a change made from that would undo the other. */
bool service_is_changing(const struct scheduler *s, enum store_table table, const char *id);
/* Calls that still wait and whose first change is in that table. */
size_t service_changes_cnt(const struct scheduler *s, enum store_table table);
/* Answer now. */
void service_answer(struct rpc_call *c, const ProtobufCMessage *answer);
void service_fail_no_memory(struct rpc_call *c);

/* May this team and key have one more sandbox now? @known: the claim that is placed again, or NULL.
 * *is_slow: nothing speaks against it but that the key's creates come too fast. Errors: LIMIT, in
 * the contract's words; UNAUTHENTICATED (the key was revoked meanwhile); NO_MEMORY. */
ADIT_MUST_CHECK int service_check_quota(struct scheduler *s, const Scheduler__PlaceRequest *q,
                                        const struct registry_sandbox *known, bool *is_slow,
                                        struct adit_err *err);

/* A node that was not heard of for longer is unreachable. */
uint64_t service_unreachable_ms(const struct scheduler *s);

/* Wall time as a message. */
void service_timestamp(Google__Protobuf__Timestamp *out);

void service_register_node(struct rpc_call *c, const ProtobufCMessage *m);
void service_heartbeat(struct rpc_call *c, const ProtobufCMessage *m);
void service_status(struct rpc_call *c, const ProtobufCMessage *m);
void service_place(struct rpc_call *c, const ProtobufCMessage *m);
void service_confirm_sandbox(struct rpc_call *c, const ProtobufCMessage *m);
void service_release_sandbox(struct rpc_call *c, const ProtobufCMessage *m);
void service_locate_sandbox(struct rpc_call *c, const ProtobufCMessage *m);
void service_put_template(struct rpc_call *c, const ProtobufCMessage *m);
void service_resolve_template(struct rpc_call *c, const ProtobufCMessage *m);
void service_list_templates(struct rpc_call *c, const ProtobufCMessage *m);
void service_authenticate(struct rpc_call *c, const ProtobufCMessage *m);
void service_create_key(struct rpc_call *c, const ProtobufCMessage *m);
void service_list_keys(struct rpc_call *c, const ProtobufCMessage *m);
void service_revoke_key(struct rpc_call *c, const ProtobufCMessage *m);
void service_update_key(struct rpc_call *c, const ProtobufCMessage *m);
void service_update_team(struct rpc_call *c, const ProtobufCMessage *m);
void service_set_node_state(struct rpc_call *c, const ProtobufCMessage *m);

#endif
