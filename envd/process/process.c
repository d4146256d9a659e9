/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one process.
 *
 * Theory of operation
 *
 * What:      reads the output as it comes and hands each chunk to every subscriber as one event;
 * nobody listening, it is read and dropped, so that the program never blocks on a reader who left.
 *
 *   RUNNING --waitpid--> REAPED --end of both outputs, or must_not_wait--> ENDED --table--> freed
 *
 * A grandchild may hold the pipes open after the child is gone, so the end event waits for the end
 * of the output, except after a kill that was asked for: then what is in the pipes is still read,
 * and the end is told.
 *
 * Back-pressure: a process is read while anybody can take more (or nobody listens). So a single
 * slow reader slows its process down, as a pipe would, and nothing is lost; a slow reader beside a
 * quick one does not slow the quick one, falls behind by SUBSCRIBER_LAG_MAX at most, and is then
 * ended. Ownership: the table's; subscribers belong to the process. Handles are embedded, the last
 * close callback frees. Limits:    PROCESS_READ_BUDGET chunks a turn, so that one noisy process
 * leaves the loop to others. Trust:     the output is bytes; nothing in it is looked at.
 */
#include "envd/process/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "envd/process/process_table.h"

/* ---- memory ---- */

static void handle_closed(struct process *p)
{
    if (--p->open_handles > 0 || !p->is_off_table)
        return;
    if (p->config)
        protobuf_c_message_free_unpacked(&p->config->base, NULL);
    backlog_clear(&p->backlog);
    free(p->tag);
    free(p);
}

static void on_input_closed(struct input_queue *q)
{
    handle_closed(ADIT_CONTAINER_OF(q, struct process, input));
}

static void on_output_closed(uv_handle_t *h)
{
    struct process_output *o = h->data;
    handle_closed(o->process);
}

static void close_output(struct process_output *o)
{
    if (o->fd < 0)
        return;
    uv_close((uv_handle_t *)&o->poll, on_output_closed);
    (void)close(o->fd); /* reading side: nothing to flush */
    o->fd = -1;
}

static int open_output(struct process *p, struct process_output *o, int fd, struct adit_err *err)
{
    int failed = uv_poll_init(p->table->envd->net.uv, &o->poll, fd);
    if (failed)
        return adit_err_sys(err, -failed, "watch output");
    o->poll.data = o;
    o->fd = fd;
    p->open_handles++;
    return ADIT_OK;
}

static void init_outputs(struct process *p)
{
    static const Process__ProcessEvent__DataEvent__OutputCase pipes[] = {
        PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDOUT,
        PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_STDERR,
    };
    for (int i = 0; i < 2; i++) {
        p->outputs[i].process = p;
        p->outputs[i].fd = -1;
        p->outputs[i].kind = p->is_pty ? PROCESS__PROCESS_EVENT__DATA_EVENT__OUTPUT_PTY : pipes[i];
    }
}

static void on_deadline(struct net_deadline *d)
{
    process_expire(ADIT_CONTAINER_OF(d, struct process, deadline));
}

int process_new(struct process_table *t, struct stdio_fds *fds, bool is_pty, struct process **out,
                struct adit_err *err)
{
    struct process *p = calloc(1, sizeof *p);
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    p->table = t;
    p->is_pty = is_pty;
    p->open_handles = 1; /* the object itself, until process_close() */
    adit_list_init(&p->node);
    adit_list_init(&p->subscribers);
    adit_list_init(&p->waiters);
    backlog_init(&p->backlog, &t->backlogs);
    net_deadline_init(&p->deadline, &t->envd->net, on_deadline);
    init_outputs(p);
    input_queue_init(&p->input, t->envd->net.uv, -1, on_input_closed);
    for (int i = 0; i < 2 && fds->output[i] >= 0; i++) {
        int code = open_output(p, &p->outputs[i], fds->output[i], err);
        if (code != ADIT_OK) {
            process_close(p);
            return code;
        }
        fds->output[i] = -1;
    }
    p->input.fd = fds->input;
    fds->input = -1;
    *out = p;
    return ADIT_OK;
}

void process_close(struct process *p)
{
    p->is_off_table = true;
    net_deadline_cancel(&p->deadline);
    for (int i = 0; i < 2; i++)
        close_output(&p->outputs[i]);
    if (input_queue_close(&p->input))
        p->open_handles++;
    handle_closed(p);
}

/* ---- the end ---- */

static void fill_end(struct process *p, Process__ProcessEvent__EndEvent *end)
{
    end->exit_code = p->end.code;
    end->exited = p->end.exited;
    end->status = p->end.text;
    if (p->end.code != 0) {
        end->has_error_case = PROCESS__PROCESS_EVENT__END_EVENT__HAS_ERROR_ERROR;
        end->error = p->end.text;
    }
}

/* Frees @s. */
static void tell_end(struct process *p, struct subscriber *s)
{
    Process__ProcessEvent__EndEvent end;
    process__process_event__end_event__init(&end);
    Process__ProcessEvent event;
    process__process_event__init(&event);
    fill_end(p, &end);
    event.event_case = PROCESS__PROCESS_EVENT__EVENT_END;
    event.end = &end;
    if (subscriber_send(s, &event, 0))
        subscriber_finish(s, NULL);
}

static void end_process(struct process *p)
{
    p->state = PROCESS_ENDED;
    net_deadline_cancel(&p->deadline);
    for (int i = 0; i < 2; i++)
        close_output(&p->outputs[i]);
    if (input_queue_close(&p->input))
        p->open_handles++;
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &p->subscribers)
    {
        struct subscriber *s = ADIT_CONTAINER_OF(it, struct subscriber, node);
        if (!s->is_behind) /* else when it has caught up */
            tell_end(p, s);
    }
    process_table_retain(p);
}

static void end_if_over(struct process *p)
{
    bool is_drained = p->outputs[0].fd < 0 && p->outputs[1].fd < 0;
    if (p->state == PROCESS_REAPED && (is_drained || p->must_not_wait))
        end_process(p);
}

/* ---- output ---- */

static void deliver(struct process_output *o, struct adit_view bytes)
{
    struct adit_list *it, *tmp;
    backlog_put(&o->process->backlog, o->kind, bytes);
    ADIT_LIST_EACH(it, tmp, &o->process->subscribers)
    {
        struct subscriber *s = ADIT_CONTAINER_OF(it, struct subscriber, node);
        if (!s->is_behind)
            (void)subscriber_send_data(s, o->kind, bytes); /* a failure has freed it */
    }
}

/* Read one chunk and hand it on. Return: false if there was none. */
static bool read_chunk(struct process_output *o, size_t *got)
{
    struct process *p = o->process;
    size_t cap = p->is_pty ? PROCESS_PTY_CHUNK_CAP : PROCESS_CHUNK_CAP;
    ssize_t n;
    do {
        n = read(o->fd, p->table->chunk, cap);
    } while (n < 0 && errno == EINTR);
    *got = n > 0 ? (size_t)n : 0;
    if (n > 0)
        deliver(o, adit_view_mem(p->table->chunk, (size_t)n));
    else if (n == 0 || errno != EAGAIN)
        close_output(o); /* EIO is how a terminal says that its last user left */
    return n > 0;
}

static bool is_wanted(struct process *p)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &p->subscribers)
    if (!rpc_call_is_congested(ADIT_CONTAINER_OF(it, struct subscriber, node)->call))
        return true;
    return adit_list_empty(&p->subscribers);
}

static void on_readable(uv_poll_t *h, int status, int events)
{
    struct process_output *o = h->data;
    size_t got;
    (void)status; /* an error shows in the read */
    (void)events;
    for (int i = 0; i < PROCESS_READ_BUDGET && is_wanted(o->process); i++)
        if (!read_chunk(o, &got))
            break;
    process_update_flow(o->process);
    end_if_over(o->process);
}

static void update_output(struct process_output *o, bool is_reading)
{
    if (o->fd < 0 || o->is_reading == is_reading)
        return;
    /* Neither can fail on an open handle. */
    if (is_reading)
        (void)uv_poll_start(&o->poll, UV_READABLE, on_readable);
    else
        (void)uv_poll_stop(&o->poll);
    o->is_reading = is_reading;
}

void process_update_flow(struct process *p)
{
    bool is_reading = is_wanted(p);
    for (int i = 0; i < 2; i++)
        update_output(&p->outputs[i], is_reading);
}

static void drain_output(struct process_output *o)
{
    size_t got = 0;
    for (size_t total = 0; o->fd >= 0 && total < PROCESS_DRAIN_MAX; total += got)
        if (!read_chunk(o, &got))
            return;
}

static void tell_waiters(struct process *p)
{
    struct adit_list *it;
    while ((it = adit_list_first(&p->waiters))) {
        struct process_waiter *w = ADIT_CONTAINER_OF(it, struct process_waiter, node);
        adit_list_remove(it);
        w->on_reaped(w);
    }
}

void process_on_reaped(struct process *p, int wait_status)
{
    p->state = PROCESS_REAPED;
    exit_status_of(wait_status, &p->end);
    tell_waiters(p);
    if (p->must_not_wait)
        for (int i = 0; i < 2; i++)
            drain_output(&p->outputs[i]);
    end_if_over(p);
}

/* ---- what clients ask for ---- */

void process_subscribe(struct process *p, struct subscriber *s)
{
    s->process = p;
    adit_list_push(&p->subscribers, &s->node);
    process_update_flow(p);
    if (s->is_behind)
        process_catch_up(p, s);
    else if (p->state == PROCESS_ENDED)
        tell_end(p, s);
}

/* One event for a reader that is behind. Return: false if it is freed. */
static bool send_kept(struct process *p, struct subscriber *s)
{
    unsigned kind;
    struct adit_view bytes;
    uint64_t lost = s->at < p->backlog.begin ? p->backlog.begin - s->at : 0;
    if (lost) {
        s->at += lost;
        return subscriber_send_gap(s, lost);
    }
    backlog_get(&p->backlog, s->at, &kind, &bytes);
    s->at += bytes.len;
    return subscriber_send_data(s, (Process__ProcessEvent__DataEvent__OutputCase)kind, bytes);
}

void process_catch_up(struct process *p, struct subscriber *s)
{
    while (s->at < p->backlog.end) {
        if (rpc_call_is_congested(s->call))
            return; /* until stream_on_drain */
        if (!send_kept(p, s))
            return;
    }
    s->is_behind = false;
    if (p->state == PROCESS_ENDED)
        tell_end(p, s);
}

int process_resize(struct process *p, uint32_t cols, uint32_t rows, struct adit_err *err)
{
    if (!p->is_pty)
        return adit_err_set(err, ADIT_ERR_IO, "error resizing tty: tty not assigned to process");
    if (p->outputs[0].fd < 0)
        return ADIT_OK;
    int code = stdio_fds_resize(p->outputs[0].fd, cols, rows, err);
    return code == ADIT_OK ? code : adit_err_wrap(err, "error resizing tty");
}

int process_write(struct process *p, bool to_pty, struct adit_view bytes, struct input_write **out,
                  struct adit_err *err)
{
    if (!to_pty && p->is_pty)
        return adit_err_set(err, ADIT_ERR_IO,
                            "error writing to stdin: tty assigned to process — input should be "
                            "written to the pty, not the stdin");
    if (to_pty && !p->is_pty)
        return adit_err_set(err, ADIT_ERR_IO,
                            "error writing to tty: tty not assigned to process — input should be "
                            "written to the stdin, not the tty");
    int code = input_queue_write(&p->input, bytes, out, err);
    if (code == ADIT_OK || code == ADIT_ERR_LIMIT || code == ADIT_ERR_NO_MEMORY)
        return code;
    return adit_err_set(err, ADIT_ERR_IO,
                        to_pty ? "error writing to tty: terminal closed"
                               : "error writing to stdin: stdin not enabled or closed");
}

int process_close_stdin(struct process *p, struct adit_err *err)
{
    if (p->is_pty)
        return adit_err_set(err, ADIT_ERR_UNKNOWN,
                            "error closing stdin: cannot close stdin for PTY process — send "
                            "Ctrl+D (0x04) instead");
    input_queue_end(&p->input);
    return ADIT_OK;
}

int process_signal(struct process *p, int number, struct adit_err *err)
{
    /* Not reaped yet, so the pid is still this process's. */
    if (p->state == PROCESS_RUNNING && kill(p->pid, number) != 0)
        return adit_err_sys(err, errno, "error sending signal");
    p->must_not_wait = true;
    end_if_over(p);
    return ADIT_OK;
}

void process_expire(struct process *p)
{
    struct adit_err err;
    net_deadline_cancel(&p->deadline);
    if (process_signal(p, SIGKILL, &err) != ADIT_OK)
        adit_log(ADIT_LOG_WARN, "kill_failed", LOG_D("pid", p->pid), LOG_ERR(&err));
}
