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
 * @node: where room is reserved; NULL: none. Nodes live as long as the scheduler
 */
struct service_reservation {
    struct registry_node *node; /* borrowed */
    Scheduler__Resources amount;
};

/*
 * Write, and answer with @answer when it is committed, or with the error. Everything is copied. The
 * call is over or waits: do nothing with it afterwards. @reserved may be NULL.
 */
void service_commit(struct rpc_call *c, const struct service_change *changes, size_t cnt,
                    const ProtobufCMessage *answer, const struct service_reservation *reserved);
/* Answer now. */
void service_answer(struct rpc_call *c, const ProtobufCMessage *answer);

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

#endif
