/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the scheduler (proto/scheduler.proto). */
#ifndef BROKER_SCHEDULER_CLIENT_H
#define BROKER_SCHEDULER_CLIENT_H

#include "rpc/rpc_client.h"
#include "scheduler.pb-c.h"

/* Nobody waits longer for one answer. */
#define SCHEDULER_CLIENT_TIMEOUT_MS 2000
#define SCHEDULER_CLIENT_CONNECTIONS_MAX 256

enum scheduler_method {
    SCHEDULER_REGISTER_NODE,
    SCHEDULER_HEARTBEAT,
    SCHEDULER_PLACE,
    SCHEDULER_CONFIRM_SANDBOX,
    SCHEDULER_RELEASE_SANDBOX,
    SCHEDULER_PUT_TEMPLATE,
    SCHEDULER_AUTHENTICATE,
    SCHEDULER_CREATE_KEY,
    SCHEDULER_LIST_KEYS,
    SCHEDULER_REVOKE_KEY,
    SCHEDULER_UPDATE_KEY,
    SCHEDULER_UPDATE_TEAM,
    SCHEDULER_SET_NODE_STATE,
    SCHEDULER_STATUS,
};

struct scheduler_client;

/* @address: "unix:/path" or "ip:port". Errors: BAD_INPUT, NO_MEMORY. */
ADIT_MUST_CHECK int scheduler_client_new(struct net_loop *l, const char *address,
                                         struct scheduler_client **out, struct adit_err *err);
/* Running calls fail first. */
void scheduler_client_close(struct scheduler_client *c);
/*
 * One call; @on_done gets the method's response message. Never calls back before it returns; an
 * error returned here means that no callback comes. A scheduler that does not answer is
 * UNAVAILABLE.
 */
ADIT_MUST_CHECK int scheduler_client_call(struct scheduler_client *c, enum scheduler_method method,
                                          const ProtobufCMessage *request, rpc_client_fn on_done,
                                          void *user, struct adit_err *err);

#endif
