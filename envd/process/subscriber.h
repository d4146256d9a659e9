/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reader of a process: a Start or Connect stream.
 *
 * Events are sent straight into the call, in order, to every subscriber. One that cannot keep up
 * ("congested") has at most SUBSCRIBER_LAG_MAX more bytes queued for it while others read on, and
 * is then ended with resource_exhausted. When no subscriber can take more, the process is not read
 * (process.c).
 */
#ifndef ENVD_SUBSCRIBER_H
#define ENVD_SUBSCRIBER_H

#include "process.pb-c.h"

#include "base/user.h"
#include "net/net_loop.h"
#include "rpc/rpc_server.h"

#define SUBSCRIBER_LAG_MAX (1024u * 1024)

struct process;

/*
 * Owned by its call until process_subscribe(), then by the process.
 *
 * @node:     in process.subscribers, or in no list
 * @process:  borrowed; NULL before there is one
 * @call:     borrowed; never dead while the subscriber lives
 * @is_start: the call began the process: its deadline kills it
 * @lag:      bytes sent since the call became congested
 * @is_behind: it came back and is given what the process kept, from position @at on (backlog.h)
 * @user:     who the request acts as; "" the default user
 */
struct subscriber {
    struct adit_list node;
    struct process *process;
    struct rpc_call *call;
    struct net_deadline keepalive;
    uint64_t keepalive_ms;
    size_t lag;
    uint64_t at;
    bool is_start, is_behind;
    char user[USER_NAME_CAP];
};

/* @head: for the keepalive interval. Return: NULL without memory. */
struct subscriber *subscriber_new(struct rpc_call *c, bool is_start, const struct http_head *head);
/* Also leaves its process. The call is not touched. */
void subscriber_free(struct subscriber *s);
/*
 * Send an event. @data_len: bytes of output in it. False: the call is over and @s freed.
 */
bool subscriber_send(struct subscriber *s, Process__ProcessEvent *event, size_t data_len);
bool subscriber_send_start(struct subscriber *s, uint32_t pid);
/* Output. False as above. */
bool subscriber_send_data(struct subscriber *s, Process__ProcessEvent__DataEvent__OutputCase kind,
                          struct adit_view bytes);
/* @bytes of output are lost. False as above. */
bool subscriber_send_gap(struct subscriber *s, uint64_t bytes);
/* End the stream, well (@err NULL) or not, and free @s. */
void subscriber_finish(struct subscriber *s, const struct adit_err *err);

#endif
