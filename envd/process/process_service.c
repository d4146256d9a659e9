/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.Process: the calls of clients on processes.
 *
 * Theory of operation
 *
 * What:      each handler finds the process, asks it, and answers. Nothing here waits but
 * SendInput, whose answer comes when the process has taken the bytes, and the two streams.
 * Ownership: a stream call owns its subscriber from on_open until process_subscribe(); from then on
 * the process does. on_cancel frees it in either case.
 *
 * Timeouts:  the deadline of Start kills the process, after the client was told (rpc_server does
 * that first, so that "signal: killed" can never overtake "deadline exceeded"). Clients keep the
 * same time and may leave a moment earlier, so the process has the deadline too. That of Connect
 * only ends the stream; a client that just leaves kills nothing.
 *
 * Trust:     the user named in a request is checked before anything else, for every method.
 */
#include "envd/process/process_service.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "envd/process/process_start.h"
#include "envd/process/stream_input.h"

/* How long a SendSignal(SIGKILL) waits for the process to be gone. */
#define SIGNAL_WAIT_MS 1000

static struct process_table *table_of(const struct rpc_call *c)
{
    const struct envd *e = rpc_call_app(c);
    return e->processes;
}

/* Answer a unary call that has nothing to say: @code with @err, or the empty @response. */
static void answer(struct rpc_call *c, int code, const struct adit_err *err,
                   const ProtobufCMessage *response)
{
    if (code == ADIT_OK)
        (void)rpc_call_send(c, response); /* the call is over either way */
    else
        rpc_call_finish(c, err);
}

/* ---- streams ---- */

static void start_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct subscriber *s = rpc_call_user(c);
    struct process *p;
    struct adit_err err;
    process_table_reap(table_of(c));
    int code = process_start(table_of(c), (const void *)m, s->user, &p, &err);
    if (code != ADIT_OK) {
        subscriber_finish(s, &err);
        return;
    }
    if (rpc_call_timeout_ms(c))
        net_deadline_arm(&p->deadline, rpc_call_timeout_ms(c));
    if (subscriber_send_start(s, (uint32_t)p->pid))
        process_subscribe(p, s);
    process_update_flow(p);
}

static void connect_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Process__ConnectRequest *r = (const void *)m;
    struct subscriber *s = rpc_call_user(c);
    struct process *p;
    struct adit_err err;
    if (process_table_find(table_of(c), r->process, true, &p, &err) != ADIT_OK) {
        subscriber_finish(s, &err);
        return;
    }
    if (s->at > p->backlog.end) {
        (void)adit_err_set(&err, ADIT_ERR_BAD_INPUT,
                           "Adit-Output-Offset: %" PRIu64 " is beyond the %" PRIu64
                           " bytes of output so far",
                           s->at, p->backlog.end);
        subscriber_finish(s, &err);
    } else if (subscriber_send_start(s, (uint32_t)p->pid)) {
        process_subscribe(p, s);
    }
}

static void stream_on_drain(struct rpc_call *c)
{
    struct subscriber *s = rpc_call_user(c);
    s->lag = 0;
    if (!s->process)
        return;
    process_update_flow(s->process);
    if (s->is_behind)
        process_catch_up(s->process, s);
}

static void stream_on_cancel(struct rpc_call *c, int code)
{
    struct subscriber *s = rpc_call_user(c);
    struct process *p = s->is_start && code == ADIT_ERR_TIMEOUT ? s->process : NULL;
    subscriber_free(s);
    if (p)
        process_expire(p);
}

/* ---- input ---- */

static void on_input_written(void *owner, const struct adit_err *err)
{
    Process__SendInputResponse response;
    process__send_input_response__init(&response);
    answer(owner, err ? err->code : ADIT_OK, err, &response.base);
}

static int write_input(struct rpc_call *c, const Process__SendInputRequest *r,
                       struct input_write **waiting, struct adit_err *err)
{
    struct process *p;
    int code = process_table_find(table_of(c), r->process, false, &p, err);
    if (code != ADIT_OK)
        return code;
    if (!r->input || r->input->input_case == PROCESS__PROCESS_INPUT__INPUT__NOT_SET)
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "invalid input type");
    bool to_pty = r->input->input_case == PROCESS__PROCESS_INPUT__INPUT_PTY;
    const ProtobufCBinaryData *bytes = &r->input->stdin; /* same place as pty */
    return process_write(p, to_pty, adit_view_mem(bytes->data, bytes->len), waiting, err);
}

static void send_input_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct input_write *waiting = NULL;
    struct adit_err err;
    int code = write_input(c, (const void *)m, &waiting, &err);
    if (waiting) {
        waiting->on_done = on_input_written;
        waiting->owner = c;
        rpc_call_set_user(c, waiting);
        return;
    }
    Process__SendInputResponse response;
    process__send_input_response__init(&response);
    answer(c, code, &err, &response.base);
}

/* The bytes that were accepted still reach the process. */
static void send_input_on_cancel(struct rpc_call *c, int code)
{
    struct input_write *waiting = rpc_call_user(c);
    (void)code;
    if (waiting)
        waiting->on_done = NULL;
}

static void close_stdin_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Process__CloseStdinRequest *r = (const void *)m;
    Process__CloseStdinResponse response;
    process__close_stdin_response__init(&response);
    struct process *p;
    struct adit_err err;
    int code = process_table_find(table_of(c), r->process, false, &p, &err);
    if (code == ADIT_OK)
        code = process_close_stdin(p, &err);
    answer(c, code, &err, &response.base);
}

/* ---- questions and orders ---- */

/*
 * A SendSignal(SIGKILL) that is answered when the process is gone, so that whoever looks next does
 * not find a zombie; or after SIGNAL_WAIT_MS, if the kernel takes its time. Owned by its call.
 */
struct signal_wait {
    struct process_waiter waiter;
    struct net_deadline deadline;
    struct rpc_call *call;
};

static void signal_wait_free(struct signal_wait *w)
{
    net_deadline_cancel(&w->deadline);
    adit_list_remove(&w->waiter.node);
    free(w);
}

static void signal_wait_over(struct signal_wait *w)
{
    Process__SendSignalResponse response;
    process__send_signal_response__init(&response);
    struct rpc_call *c = w->call;
    signal_wait_free(w);
    answer(c, ADIT_OK, NULL, &response.base);
}

static void on_signal_wait_reaped(struct process_waiter *waiter)
{
    signal_wait_over(ADIT_CONTAINER_OF(waiter, struct signal_wait, waiter));
}

static void on_signal_wait_due(struct net_deadline *d)
{
    signal_wait_over(ADIT_CONTAINER_OF(d, struct signal_wait, deadline));
}

/* Return: false without memory; then nobody waits. */
static bool wait_for_death(struct rpc_call *c, struct process *p)
{
    struct signal_wait *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    w->call = c;
    w->waiter.on_reaped = on_signal_wait_reaped;
    adit_list_push(&p->waiters, &w->waiter.node);
    net_deadline_init(&w->deadline, rpc_call_loop(c), on_signal_wait_due);
    net_deadline_arm(&w->deadline, SIGNAL_WAIT_MS);
    rpc_call_set_user(c, w);
    return true;
}

static void send_signal_on_cancel(struct rpc_call *c, int code)
{
    struct signal_wait *w = rpc_call_user(c);
    (void)code;
    if (w)
        signal_wait_free(w);
}

static int send_signal(struct rpc_call *c, const Process__SendSignalRequest *r,
                       struct process **out, struct adit_err *err)
{
    int code = process_table_find(table_of(c), r->process, false, out, err);
    if (code != ADIT_OK)
        return code;
    if (r->signal != PROCESS__SIGNAL__SIGNAL_SIGKILL &&
        r->signal != PROCESS__SIGNAL__SIGNAL_SIGTERM)
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "invalid signal: %d", (int)r->signal);
    return process_signal(*out, (int)r->signal, err); /* the enum's numbers are those of Linux */
}

static void send_signal_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Process__SendSignalRequest *r = (const void *)m;
    Process__SendSignalResponse response;
    struct process *p;
    struct adit_err err;
    process__send_signal_response__init(&response);
    int code = send_signal(c, r, &p, &err);
    bool is_dying = code == ADIT_OK && p->state == PROCESS_RUNNING &&
                    r->signal == PROCESS__SIGNAL__SIGNAL_SIGKILL;
    if (is_dying && wait_for_death(c, p))
        return;
    answer(c, code, &err, &response.base);
}

static int update(struct rpc_call *c, const Process__UpdateRequest *r, struct adit_err *err)
{
    struct process *p;
    int code = process_table_find(table_of(c), r->process, false, &p, err);
    bool has_pty = r->has_pty_case == PROCESS__UPDATE_REQUEST__HAS_PTY_PTY && r->pty;
    if (code != ADIT_OK || !has_pty)
        return code;
    const Process__PTY__Size *size = r->pty->size;
    return process_resize(p, size ? size->cols : 0, size ? size->rows : 0, err);
}

static void update_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    Process__UpdateResponse response;
    process__update_response__init(&response);
    struct adit_err err;
    int code = update(c, (const void *)m, &err);
    answer(c, code, &err, &response.base);
}

static void describe(const struct process *p, Process__ProcessInfo *info)
{
    process__process_info__init(info);
    info->config = p->config;
    info->pid = (uint32_t)p->pid;
    if (p->tag) {
        info->has_tag_case = PROCESS__PROCESS_INFO__HAS_TAG_TAG;
        info->tag = p->tag;
    }
}

static void list_on_message(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct process_table *t = table_of(c);
    (void)m; /* it is empty */
    process_table_reap(t);
    Process__ListResponse response;
    process__list_response__init(&response);
    Process__ProcessInfo *infos = calloc(t->live_cnt + 1, sizeof *infos);
    response.processes = calloc(t->live_cnt + 1, sizeof *response.processes);
    struct adit_err err;
    int code = ADIT_OK;
    if (!infos || !response.processes) {
        code = adit_err_set(&err, ADIT_ERR_NO_MEMORY, "out of memory");
    } else {
        struct adit_list *it, *tmp;
        ADIT_LIST_EACH(it, tmp, &t->live)
        {
            size_t i = response.n_processes++;
            describe(ADIT_CONTAINER_OF(it, struct process, node), &infos[i]);
            response.processes[i] = &infos[i];
        }
    }
    answer(c, code, &err, &response.base);
    free(infos);
    free(response.processes);
}

/* ---- the service ---- */

static const struct rpc_method methods[] = {
    {
        .path = "/process.Process/List",
        .kind = RPC_UNARY,
        .request = &process__list_request__descriptor,
        .response = &process__list_response__descriptor,
        .on_message = list_on_message,
    },
    {
        .path = "/process.Process/Connect",
        .kind = RPC_SERVER_STREAM,
        .request = &process__connect_request__descriptor,
        .response = &process__connect_response__descriptor,
        .on_message = connect_on_message,
        .on_drain = stream_on_drain,
        .on_cancel = stream_on_cancel,
    },
    {
        .path = "/process.Process/Start",
        .kind = RPC_SERVER_STREAM,
        .request = &process__start_request__descriptor,
        .response = &process__start_response__descriptor,
        .on_message = start_on_message,
        .on_drain = stream_on_drain,
        .on_cancel = stream_on_cancel,
    },
    {
        .path = "/process.Process/Update",
        .kind = RPC_UNARY,
        .request = &process__update_request__descriptor,
        .response = &process__update_response__descriptor,
        .on_message = update_on_message,
    },
    {
        .path = "/process.Process/StreamInput",
        .kind = RPC_CLIENT_STREAM,
        .request = &process__stream_input_request__descriptor,
        .response = &process__stream_input_response__descriptor,
        .on_message = stream_input_on_message,
        .on_half_close = stream_input_on_half_close,
        .on_cancel = stream_input_on_cancel,
    },
    {
        .path = "/process.Process/SendInput",
        .kind = RPC_UNARY,
        .request = &process__send_input_request__descriptor,
        .response = &process__send_input_response__descriptor,
        .on_message = send_input_on_message,
        .on_cancel = send_input_on_cancel,
    },
    {
        .path = "/process.Process/SendSignal",
        .kind = RPC_UNARY,
        .request = &process__send_signal_request__descriptor,
        .response = &process__send_signal_response__descriptor,
        .on_message = send_signal_on_message,
        .on_cancel = send_signal_on_cancel,
    },
    {
        .path = "/process.Process/CloseStdin",
        .kind = RPC_UNARY,
        .request = &process__close_stdin_request__descriptor,
        .response = &process__close_stdin_response__descriptor,
        .on_message = close_stdin_on_message,
    },
};

/* A reader that comes back says how many bytes of output it has. */
static int read_offset(const struct http_head *head, struct subscriber *s, struct adit_err *err)
{
    struct adit_view text = http_head_get(head, "Adit-Output-Offset");
    if (!text.ptr)
        return ADIT_OK;
    if (s->is_start)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Adit-Output-Offset is for Connect only");
    if (adit_view_u64(text, INT64_MAX, &s->at) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "Adit-Output-Offset is not a number of bytes: %.*s",
                            (int)(text.len < 40 ? text.len : 40), text.ptr);
    s->is_behind = true;
    return ADIT_OK;
}

static int open_stream(struct rpc_call *c, const struct http_head *head, const char *user,
                       struct adit_err *err)
{
    bool is_start = rpc_call_method(c)->on_message == start_on_message;
    struct subscriber *s = subscriber_new(c, is_start, head);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    int code = read_offset(head, s, err);
    if (code != ADIT_OK) {
        subscriber_free(s);
        return code;
    }
    (void)snprintf(s->user, sizeof s->user, "%s", user);
    rpc_call_set_user(c, s);
    return ADIT_OK;
}

static int on_open(struct rpc_call *c, const struct http_head *head, struct adit_err *err)
{
    char name[USER_NAME_CAP];
    struct user_entry user;
    int code = envd_basic_user(head, name, err);
    if (code == ADIT_OK && name[0] != '\0')
        code = envd_user(rpc_call_app(c), adit_view_str(name), &user, err);
    if (code != ADIT_OK)
        return code;
    switch (rpc_call_method(c)->kind) {
    case RPC_SERVER_STREAM:
        return open_stream(c, head, name, err);
    case RPC_CLIENT_STREAM:
        return stream_input_open(c, err);
    case RPC_UNARY:
    default:
        return ADIT_OK;
    }
}

const struct rpc_service process_service = {
    .methods = methods,
    .method_cnt = sizeof(methods) / sizeof(methods[0]),
    .on_open = on_open,
};
