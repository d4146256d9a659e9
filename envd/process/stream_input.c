/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of input for one process.
 *
 * Theory of operation
 *
 * What:      the first message names the process, each later one carries bytes for it.
 *
 *   OPEN --start--> READY --data, not all taken--> WAITING --taken--> READY
 *                     \------------half close, nothing waiting------------> answered
 *
 * While bytes wait the call is paused, so a process that does not read holds its client back.
 * Ownership: the object belongs to the call until it ends. A write that outlives the call goes on
 * without anybody waiting for it.
 * Failure:   a process that ended in between is "not found", as for SendInput.
 */
#include "envd/process/stream_input.h"

#include <stdlib.h>

#include "envd/process/process_table.h"

/*
 * @pid, @serial: the process; looked up for each message, since it may end at any time
 * @waiting: borrowed; the write that is not finished
 */
struct stream_input {
    struct rpc_call *call;
    uint32_t pid;
    uint64_t serial;
    struct input_write *waiting;
    bool is_started, is_half_closed;
};

int stream_input_open(struct rpc_call *c, struct adit_err *err)
{
    struct stream_input *s = calloc(1, sizeof *s);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    s->call = c;
    rpc_call_set_user(c, s);
    return ADIT_OK;
}

/* Answer, with @err or well, and free @s. */
static void finish(struct stream_input *s, const struct adit_err *err)
{
    struct rpc_call *c = s->call;
    free(s);
    if (err) {
        rpc_call_finish(c, err);
        return;
    }
    Process__StreamInputResponse response;
    process__stream_input_response__init(&response);
    (void)rpc_call_send(c, &response.base); /* the call is over either way */
}

static int find(struct stream_input *s, struct process **out, struct adit_err *err)
{
    const struct envd *e = rpc_call_app(s->call);
    Process__ProcessSelector selector;
    process__process_selector__init(&selector);
    selector.selector_case = PROCESS__PROCESS_SELECTOR__SELECTOR_PID;
    selector.pid = s->pid;
    int code = process_table_find(e->processes, &selector, false, out, err);
    if (code == ADIT_OK && (*out)->serial != s->serial)
        code = adit_err_set(err, ADIT_ERR_NOT_FOUND, "process with pid %u not found", s->pid);
    return code;
}

static int start(struct stream_input *s, const Process__StreamInputRequest__StartEvent *m,
                 struct adit_err *err)
{
    const struct envd *e = rpc_call_app(s->call);
    struct process *p;
    if (s->is_started)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "second start event in the stream");
    int code = process_table_find(e->processes, m->process, false, &p, err);
    if (code != ADIT_OK)
        return code;
    s->pid = (uint32_t)p->pid;
    s->serial = p->serial;
    s->is_started = true;
    return ADIT_OK;
}

static void on_written(void *owner, const struct adit_err *err)
{
    struct stream_input *s = owner;
    s->waiting = NULL;
    if (err || s->is_half_closed)
        finish(s, err);
    else
        rpc_call_resume(s->call);
}

static int data(struct stream_input *s, const Process__ProcessInput *m, struct adit_err *err)
{
    struct process *p;
    if (!s->is_started)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the first message is not a start event");
    if (!m || m->input_case == PROCESS__PROCESS_INPUT__INPUT__NOT_SET)
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "invalid input type");
    int code = find(s, &p, err);
    if (code != ADIT_OK)
        return code;
    bool to_pty = m->input_case == PROCESS__PROCESS_INPUT__INPUT_PTY;
    struct adit_view bytes = adit_view_mem(m->stdin.data, m->stdin.len); /* same place as pty */
    code = process_write(p, to_pty, bytes, &s->waiting, err);
    if (code != ADIT_OK || !s->waiting)
        return code;
    s->waiting->on_done = on_written;
    s->waiting->owner = s;
    rpc_call_pause(s->call);
    return ADIT_OK;
}

void stream_input_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Process__StreamInputRequest *r = (const void *)m;
    struct stream_input *s = rpc_call_user(c);
    struct adit_err err;
    int code = ADIT_OK;
    switch (r->event_case) {
    case PROCESS__STREAM_INPUT_REQUEST__EVENT_START:
        code = start(s, r->start, &err);
        break;
    case PROCESS__STREAM_INPUT_REQUEST__EVENT_DATA:
        code = data(s, r->data->input, &err);
        break;
    case PROCESS__STREAM_INPUT_REQUEST__EVENT_KEEPALIVE:
        break;
    default:
        code = adit_err_set(&err, ADIT_ERR_UNIMPLEMENTED, "invalid event type");
    }
    if (code != ADIT_OK)
        finish(s, &err);
}

void stream_input_on_half_close(struct rpc_call *c)
{
    struct stream_input *s = rpc_call_user(c);
    s->is_half_closed = true;
    if (!s->waiting)
        finish(s, NULL);
}

void stream_input_on_cancel(struct rpc_call *c, int code)
{
    struct stream_input *s = rpc_call_user(c);
    (void)code;
    if (s->waiting)
        s->waiting->on_done = NULL;
    free(s);
}
