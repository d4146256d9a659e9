/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Supervision of the broker's own scheduler.
 *
 * Theory of operation
 *
 * States: RUNNING ── it ends ──> WAITING ── back-off over ──> RUNNING; CLOSING from either.
 * The back-off doubles from 100 ms to 5 s and begins anew after a steady run. The child holds the
 * read end of a pipe whose write end is here: when the broker dies in any way, the scheduler reads
 * the end of file and ends too, so there are never two on one store for long. Failure: nothing else
 * depends on the child being there; calls to it fail as unavailable meanwhile.
 */
#include "broker/scheduler_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define PARENT_FD 3

/*
 * @lifeline:     read end (given to each child) and write end (ours)
 * @open_handles: libuv handles not closed yet; the last one frees
 */
struct scheduler_child {
    uv_loop_t *uv; /* borrowed */
    char *program, *listen, *data_dir, *log_level;
    bool log_json;
    uv_process_t process;
    uv_timer_t timer;
    int lifeline[2];
    uint64_t backoff_ms, started_ms;
    bool is_running, is_closing;
    unsigned open_handles;
};

static void free_child(struct scheduler_child *c)
{
    for (int i = 0; i < 2; i++)
        if (c->lifeline[i] >= 0)
            (void)close(c->lifeline[i]); /* a pipe */
    free(c->program);
    free(c->listen);
    free(c->data_dir);
    free(c->log_level);
    free(c);
}

static void on_closed(uv_handle_t *h)
{
    struct scheduler_child *c = h->data;
    if (--c->open_handles == 0)
        free_child(c);
}

static void restart_later(struct scheduler_child *c);

static void on_child_exit(uv_process_t *process, int64_t status, int term_signal)
{
    struct scheduler_child *c = process->data;
    c->is_running = false;
    uv_close((uv_handle_t *)process, on_closed);
    adit_log(c->is_closing ? ADIT_LOG_INFO : ADIT_LOG_WARN, "scheduler_ended",
             LOG_D("status", status), LOG_D("signal", term_signal));
    if (c->is_closing)
        uv_close((uv_handle_t *)&c->timer, on_closed);
    else
        restart_later(c);
}

static int spawn(struct scheduler_child *c)
{
    char parent_fd[] = "3";
    char flags[][14] = {"--listen", "--data-dir", "--parent-fd", "--log-level", "--log-json"};
    char *args[] = {c->program, flags[0],  c->listen, flags[1],     c->data_dir,
                    flags[2],   parent_fd, flags[3],  c->log_level, c->log_json ? flags[4] : NULL,
                    NULL};
    uv_stdio_container_t stdio[PARENT_FD + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = c->lifeline[0]},
    };
    uv_process_options_t options = {
        .exit_cb = on_child_exit,
        .file = c->program,
        .args = args,
        .stdio_count = PARENT_FD + 1,
        .stdio = stdio,
        .flags = UV_PROCESS_DETACHED, /* a terminal's Ctrl-C is for the broker alone */
    };
    c->process.data = c;
    c->open_handles++;
    int rc = uv_spawn(c->uv, &c->process, &options);
    if (rc) {
        uv_close((uv_handle_t *)&c->process, on_closed);
        return rc;
    }
    c->is_running = true;
    c->started_ms = uv_now(c->uv);
    adit_log(ADIT_LOG_INFO, "scheduler_started", LOG_D("pid", c->process.pid));
    return 0;
}

static void on_restart(uv_timer_t *t)
{
    struct scheduler_child *c = t->data;
    int rc = spawn(c);
    if (rc == 0)
        return;
    adit_log(ADIT_LOG_ERROR, "scheduler_not_started", LOG_S("error", uv_strerror(rc)));
    restart_later(c);
}

static void restart_later(struct scheduler_child *c)
{
    if (uv_now(c->uv) - c->started_ms >= SCHEDULER_CHILD_STEADY_MS)
        c->backoff_ms = SCHEDULER_CHILD_BACKOFF_MIN_MS;
    uv_timer_start(&c->timer, on_restart, c->backoff_ms, 0);
    c->backoff_ms *= 2;
    if (c->backoff_ms > SCHEDULER_CHILD_BACKOFF_MAX_MS)
        c->backoff_ms = SCHEDULER_CHILD_BACKOFF_MAX_MS;
}

int scheduler_child_new(uv_loop_t *uv, const char *program, const char *state_dir,
                        const char *log_level, bool log_json, struct scheduler_child **out,
                        struct adit_err *err)
{
    struct scheduler_child *c = calloc(1, sizeof(*c));
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    c->uv = uv;
    c->backoff_ms = SCHEDULER_CHILD_BACKOFF_MIN_MS;
    c->lifeline[0] = c->lifeline[1] = -1;
    c->program = strdup(program);
    c->log_level = strdup(log_level);
    c->log_json = log_json;
    if (!c->program || !c->log_level ||
        asprintf(&c->listen, SCHEDULER_CHILD_ADDRESS, state_dir) < 0 ||
        asprintf(&c->data_dir, "%s/scheduler", state_dir) < 0 || pipe2(c->lifeline, O_CLOEXEC)) {
        int rc = adit_err_sys(err, errno, "prepare the scheduler");
        free_child(c);
        return rc;
    }
    c->timer.data = c;
    c->open_handles = 1;
    uv_timer_init(uv, &c->timer);
    int rc = spawn(c);
    if (rc) {
        uv_close((uv_handle_t *)&c->timer, on_closed);
        return adit_err_set(err, ADIT_ERR_IO, "start %s: %s", program, uv_strerror(rc));
    }
    *out = c;
    return 0;
}

void scheduler_child_kick(struct scheduler_child *c)
{
    if (!c->is_running)
        return;
    adit_log(ADIT_LOG_WARN, "scheduler_kicked", LOG_D("pid", c->process.pid));
    uv_process_kill(&c->process, SIGKILL);
}

static void on_stop_due(uv_timer_t *t)
{
    struct scheduler_child *c = t->data;
    uv_process_kill(&c->process, SIGKILL);
}

void scheduler_child_close(struct scheduler_child *c)
{
    c->is_closing = true;
    if (!c->is_running) {
        uv_close((uv_handle_t *)&c->timer, on_closed);
        return;
    }
    uv_process_kill(&c->process, SIGTERM);
    uv_timer_start(&c->timer, on_stop_due, SCHEDULER_CHILD_STOP_MS, 0);
}
