/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of a process.
 *
 * Theory of operation
 *
 * What:      wraps an event into the stream's response type, keeps the keepalive timer, and judges
 * whether the reader is too slow.
 * Ownership: see struct subscriber. Every function that may free says so.
 * Limits:    the stream's own queue (NET_STREAM_HIGH) and SUBSCRIBER_LAG_MAX behind it.
 * Failure:   a reader that fails is forgotten; its process and the other readers notice nothing.
 */
#include "envd/process/subscriber.h"

#include <stdlib.h>

#include "envd/envd.h"
#include "envd/process/process.h"

static void on_keepalive_due(struct net_deadline *d)
{
    struct subscriber *s = ADIT_CONTAINER_OF(d, struct subscriber, keepalive);
    Process__ProcessEvent__KeepAlive keepalive;
    process__process_event__keep_alive__init(&keepalive);
    Process__ProcessEvent event;
    process__process_event__init(&event);
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_KEEPALIVE;
    event.keepalive = &keepalive;
    (void)subscriber_send(s, &event, 0); /* a failure has freed it, and that is all to do */
}

struct subscriber *subscriber_new(struct rpc_call *c, bool is_start, const struct http_head *head)
{
    struct subscriber *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    adit_list_init(&s->node);
    s->call = c;
    s->is_start = is_start;
    s->keepalive_ms = envd_keepalive_ms(head);
    net_deadline_init(&s->keepalive, rpc_call_loop(c), on_keepalive_due);
    return s;
}

void subscriber_free(struct subscriber *s)
{
    net_deadline_cancel(&s->keepalive);
    adit_list_remove(&s->node);
    if (s->process)
        process_update_flow(s->process);
    free(s);
}

static int send_event(struct subscriber *s, Process__ProcessEvent *event)
{
    if (s->is_start) {
        Process__StartResponse response;
        process__start_response__init(&response);
        response.event = event;
        return rpc_call_send(s->call, &response.base);
    }
    Process__ConnectResponse response;
    process__connect_response__init(&response);
    response.event = event;
    return rpc_call_send(s->call, &response.base);
}

void subscriber_finish(struct subscriber *s, const struct adit_err *err)
{
    rpc_call_finish(s->call, err);
    subscriber_free(s);
}

bool subscriber_send(struct subscriber *s, Process__ProcessEvent *event, size_t data_len)
{
    if (send_event(s, event) != ADIT_OK) {
        subscriber_free(s);
        return false;
    }
    net_deadline_arm(&s->keepalive, s->keepalive_ms);
    s->lag = rpc_call_is_congested(s->call) ? s->lag + data_len : 0;
    if (s->lag <= SUBSCRIBER_LAG_MAX)
        return true;
    struct adit_err err;
    (void)adit_err_set(&err, ADIT_ERR_LIMIT,
                       "reader too slow: more than %u bytes of output behind the other readers",
                       SUBSCRIBER_LAG_MAX);
    subscriber_finish(s, &err);
    return false;
}

bool subscriber_send_data(struct subscriber *s, Process__ProcessEvent__DataEvent__OutputCase kind,
                          struct adit_view bytes)
{
    Process__ProcessEvent__DataEvent data;
    process__process_event__data_event__init(&data);
    Process__ProcessEvent event;
    process__process_event__init(&event);
    data.output_case = kind;
    data.stdout.data = (uint8_t *)(uintptr_t)bytes.ptr; /* only read; one place for all kinds */
    data.stdout.len = bytes.len;
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_DATA;
    event.data = &data;
    return subscriber_send(s, &event, bytes.len);
}

bool subscriber_send_gap(struct subscriber *s, uint64_t bytes)
{
    Process__ProcessEvent__GapEvent gap;
    process__process_event__gap_event__init(&gap);
    Process__ProcessEvent event;
    process__process_event__init(&event);
    gap.bytes = bytes;
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_GAP;
    event.gap = &gap;
    return subscriber_send(s, &event, 0);
}

bool subscriber_send_start(struct subscriber *s, uint32_t pid)
{
    Process__ProcessEvent__StartEvent start;
    process__process_event__start_event__init(&start);
    Process__ProcessEvent event;
    process__process_event__init(&event);
    start.pid = pid;
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_START;
    event.start = &start;
    return subscriber_send(s, &event, 0);
}
