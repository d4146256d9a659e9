/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts.
 *
 * Theory of operation
 *
 * States, by what is there:
 *
 *   no process --start--> process --run--> process and running --DONE--> process
 *   process --its end, of whatever reason--> no process, @lost says why
 *   process and running --client gone--> SIGINT --DONE--> process
 *                                           \--KERNEL_CONTEXT_INTERRUPT_MS--> SIGINT ... SIGKILL
 *
 * A SIGINT that comes before the cell has begun is nobody's, hence the second one; a kernel that
 * starts is not interrupted until it is ready.
 * A kernel that ends while a cell runs ends that cell with an error; the next cell gets a fresh
 * kernel, and is told on its stderr that what was defined before is gone. What a kernel says while
 * no cell runs (a thread that prints later) is dropped; during a later cell it is that cell's.
 * Ownership: a context owns its process and executions. A running one without a client stays until
 * the kernel has ended the cell.
 * Limits:    KERNEL_CONTEXT_QUEUE_MAX.
 */
#include "envd/kernel/kernel_context.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/rand.h"

#define GLOBALS_MAX (2 * ENVD_ENV_BYTES_MAX)

static void run_next(struct kernel_context *c);

/* ---- interrupts ---- */

static void interrupt(struct kernel_context *c)
{
    c->interrupts_left--;
    kernel_process_interrupt(c->process);
    net_deadline_arm(&c->deadline, KERNEL_CONTEXT_INTERRUPT_MS);
}

/* The client of the running cell is gone. */
static void interrupt_running(struct kernel_context *c)
{
    if (!c->process)
        return;
    kernel_process_resume(c->process); /* what it says is dropped from now on */
    c->interrupts_left = KERNEL_CONTEXT_INTERRUPTS;
    if (c->is_ready)
        interrupt(c);
}

static void on_due(struct net_deadline *d)
{
    struct kernel_context *c = ADIT_CONTAINER_OF(d, struct kernel_context, deadline);
    if (!c->process)
        return;
    if (!c->is_ready)
        kernel_process_kill(c->process, "it did not start in time");
    else if (c->interrupts_left > 0)
        interrupt(c);
    else
        kernel_process_kill(c->process, "it did not end when it was interrupted");
}

/* ---- what the kernel says ---- */

static void finish_running(struct kernel_context *c)
{
    struct kernel_execution *ex = c->running;
    net_deadline_cancel(&c->deadline);
    c->running = NULL;
    kernel_execution_finish(ex);
}

static void take_ready(struct kernel_context *c)
{
    if (c->is_ready)
        return; /* a cell wrote it */
    c->is_ready = true;
    net_deadline_cancel(&c->deadline);
    if (c->running && !c->running->exchange)
        interrupt(c);
}

static void take_news(struct kernel_context *c, const struct kernel_message *m)
{
    switch (m->kind) {
    case KERNEL_NEWS_READY:
        take_ready(c);
        break;
    case KERNEL_NEWS_RESULT:
        kernel_execution_result(c->running, m->body);
        break;
    case KERNEL_NEWS_ERROR:
        kernel_execution_error(c->running, m->body);
        break;
    default:
        kernel_execution_text(c->running, m->kind, m->body);
    }
}

static void pause_if_congested(struct kernel_context *c)
{
    if (c->running && c->process && kernel_execution_is_congested(c->running))
        kernel_process_pause(c->process);
}

static void on_message(void *owner, const struct kernel_message *m)
{
    struct kernel_context *c = owner;
    if (m->kind == KERNEL_NEWS_DONE && c->running) {
        finish_running(c);
        run_next(c);
        if (!c->running)
            kernel_pool_fill(c->pool, c->language);
    } else if (c->running || m->kind == KERNEL_NEWS_READY) {
        take_news(c, m);
        pause_if_congested(c);
    }
}

static void on_text(void *owner, enum kernel_news kind, struct adit_view bytes)
{
    struct kernel_context *c = owner;
    if (c->running)
        kernel_execution_text(c->running, kind, bytes);
    pause_if_congested(c);
}

static void on_turn(void *owner)
{
    struct kernel_context *c = owner;
    if (c->running)
        kernel_execution_flush(c->running);
    pause_if_congested(c);
}

static void on_end(void *owner, const char *how)
{
    struct kernel_context *c = owner;
    char text[2 * KERNEL_CONTEXT_LOST_CAP];
    bool is_killed = strcmp(how, "signal: killed") == 0;
    c->process = NULL;
    (void)snprintf(c->lost, sizeof c->lost, "%s%s", how,
                   is_killed ? ", perhaps for want of memory" : "");
    adit_log(ADIT_LOG_INFO, "kernel_ended", LOG_S("context", c->id), LOG_S("how", how));
    if (c->running) {
        (void)snprintf(
            text, sizeof text,
            "The kernel ended (%s). What the cells defined is gone; the next cell gets a "
            "new kernel.\n",
            c->lost);
        kernel_execution_fail(c->running, "ContextRestarting", "Context was restarted", text);
        finish_running(c);
    }
    net_deadline_cancel(&c->deadline);
    run_next(c);
}

static const struct kernel_process_ops process_ops = {on_message, on_text, on_turn, on_end};

/* ---- life ---- */

int kernel_context_new(struct kernel_pool *pool, const struct kernel_language *l, const char *cwd,
                       struct kernel_context **out, struct adit_err *err)
{
    struct kernel_context *c = calloc(1, sizeof *c);
    if (!c || !(c->cwd = strdup(cwd))) {
        free(c);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    c->envd = pool->envd;
    c->pool = pool;
    c->language = l;
    adit_rand_uuid(c->id);
    adit_list_init(&c->node);
    adit_list_init(&c->queue);
    net_deadline_init(&c->deadline, &c->envd->net, on_due);
    *out = c;
    return ADIT_OK;
}

static void tell_removed(struct kernel_execution *ex)
{
    static const char text[] =
        "Connection to the execution was closed before the execution was finished";
    kernel_execution_fail(ex, "UnexpectedEndOfExecution", text, "");
}

static void drop_process(struct kernel_context *c)
{
    if (c->process)
        kernel_process_close(c->process);
    c->process = NULL;
    if (c->running) {
        tell_removed(c->running);
        finish_running(c);
    }
    net_deadline_cancel(&c->deadline);
}

void kernel_context_free(struct kernel_context *c)
{
    struct adit_list *it;
    drop_process(c);
    while ((it = adit_list_first(&c->queue))) {
        adit_list_remove(it);
        c->running = ADIT_CONTAINER_OF(it, struct kernel_execution, node);
        tell_removed(c->running);
        finish_running(c);
    }
    adit_list_remove(&c->node);
    free(c->cwd);
    free(c);
}

/* A kernel that waited is told where it belongs. */
static int send_directory(struct kernel_context *c, struct adit_err *err)
{
    struct adit_buf frame;
    adit_buf_init(&frame, ENVD_PATH_CAP + KERNEL_MESSAGE_HEAD_CAP);
    int code = kernel_message_put(&frame, KERNEL_ORDER_DIRECTORY, adit_view_str(c->cwd));
    if (code == ADIT_OK)
        code = kernel_process_send(c->process, adit_buf_view(&frame), err);
    adit_buf_fini(&frame);
    return code;
}

int kernel_context_start(struct kernel_context *c, struct adit_err *err)
{
    bool is_ready = false;
    int code = ADIT_OK;
    if (c->process)
        return ADIT_OK;
    c->process = kernel_pool_take(c->pool, c->language, &is_ready);
    if (c->process && send_directory(c, err) != ADIT_OK)
        kernel_process_close(adit_steal(&c->process)); /* it has just ended */
    is_ready = is_ready && c->process;
    if (!c->process)
        code = kernel_process_start(c->envd, c->language, c->cwd, &c->process, err);
    if (code != ADIT_OK)
        return code;
    kernel_process_set_owner(c->process, &process_ops, c);
    if (!is_ready)
        net_deadline_arm(&c->deadline, KERNEL_CONTEXT_START_MS);
    c->is_ready = is_ready;
    c->has_globals = false;
    c->count = 0;
    return ADIT_OK;
}

int kernel_context_restart(struct kernel_context *c, struct adit_err *err)
{
    drop_process(c);
    c->lost[0] = '\0'; /* whoever asked knows */
    int code = kernel_context_start(c, err);
    run_next(c);
    return code;
}

/* ---- running ---- */

static int put_globals(const struct envd *e, struct adit_buf *frames)
{
    struct adit_buf pairs;
    struct adit_view name;
    void *value;
    int code = ADIT_OK;
    adit_buf_init(&pairs, GLOBALS_MAX);
    for (size_t pos = 0; code == ADIT_OK && adit_map_next(&e->env, &pos, &name, &value);) {
        const struct envd_env_var *var = value;
        code = adit_buf_appendf(&pairs, "%.*s=%s", ADIT_VIEW_ARG(name), var->value);
        if (code == ADIT_OK)
            code = adit_buf_append_char(&pairs, '\0');
    }
    if (code == ADIT_OK)
        code = kernel_message_put(frames, KERNEL_ORDER_GLOBALS, adit_buf_view(&pairs));
    adit_buf_fini(&pairs);
    return code;
}

static int send_order(struct kernel_context *c, struct kernel_execution *ex, struct adit_err *err)
{
    struct adit_buf frames;
    int code = ADIT_OK;
    adit_buf_init(&frames, GLOBALS_MAX + KERNEL_MESSAGE_HEAD_CAP);
    if (!c->has_globals && put_globals(c->envd, &frames) != ADIT_OK)
        code = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    if (code == ADIT_OK && frames.len > 0)
        code = kernel_process_send(c->process, adit_buf_view(&frames), err);
    if (code == ADIT_OK)
        code = kernel_process_send(c->process, adit_buf_view(&ex->order), err);
    adit_buf_fini(&frames);
    adit_buf_fini(&ex->order); /* the kernel has it, or never will */
    c->has_globals = c->has_globals || code == ADIT_OK;
    return code;
}

static void tell_lost(struct kernel_context *c)
{
    char text[2 * KERNEL_CONTEXT_LOST_CAP];
    if (!c->lost[0])
        return;
    (void)snprintf(text, sizeof text,
                   "The kernel was started anew (%s): what earlier cells defined is gone.\n",
                   c->lost);
    kernel_execution_text(c->running, KERNEL_NEWS_STDERR, adit_view_str(text));
    c->lost[0] = '\0';
}

static void begin(struct kernel_context *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    int code = kernel_context_start(c, &err);
    if (code == ADIT_OK) {
        kernel_execution_count(c->running, ++c->count);
        tell_lost(c);
        kernel_execution_flush(c->running);
        code = send_order(c, c->running, &err);
    }
    if (code == ADIT_OK || code == ADIT_ERR_CLOSED)
        return; /* closed: the end of the process is told soon */
    kernel_execution_fail(c->running, "WebSocketError", "Failed to send execution request",
                          err.msg);
    finish_running(c);
    if (c->process)
        kernel_process_kill(c->process, "a cell could not be sent whole");
}

static void run_next(struct kernel_context *c)
{
    struct adit_list *it;
    while (!c->running && (it = adit_list_first(&c->queue))) {
        adit_list_remove(it);
        c->queue_len--;
        c->running = ADIT_CONTAINER_OF(it, struct kernel_execution, node);
        begin(c);
    }
}

void kernel_context_run(struct kernel_context *c, struct kernel_execution *take_ex)
{
    take_ex->context = c;
    adit_list_push(&c->queue, &take_ex->node);
    c->queue_len++;
    run_next(c);
}

void kernel_context_on_drain(struct kernel_context *c, const struct kernel_execution *ex)
{
    if (c->running == ex && c->process)
        kernel_process_resume(c->process);
}

void kernel_context_on_gone(struct kernel_context *c, struct kernel_execution *ex)
{
    if (c->running == ex) {
        interrupt_running(c);
        return;
    }
    c->queue_len--;
    kernel_execution_finish(ex);
}
