/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process that a client started: its output, its input, its end, and who listens to it.
 */
#ifndef ENVD_PROCESS_H
#define ENVD_PROCESS_H

#include <sys/types.h>

#include "envd/process/backlog.h"
#include "envd/process/exit_status.h"
#include "envd/process/input.h"
#include "envd/process/stdio_fds.h"
#include "envd/process/subscriber.h"

/* Largest data event of a pipe and of a terminal. */
#define PROCESS_CHUNK_CAP (32u * 1024)
#define PROCESS_PTY_CHUNK_CAP (16u * 1024)
/* Chunks read from one descriptor in one turn of the loop. */
#define PROCESS_READ_BUDGET 8
/* What is still read of each output of a killed process whose pipes others hold open: a full pipe.
 */
#define PROCESS_DRAIN_MAX (64u * 1024)

struct process_table;

enum process_state {
    PROCESS_RUNNING,
    PROCESS_REAPED, /* the child has ended; its output has not */
    PROCESS_ENDED,  /* the end was told; kept for late Connect calls, or being freed */
};

/* Somebody who waits until the child is collected. Embedded in its owner, which is told once. */
struct process_waiter {
    struct adit_list node;
    void (*on_reaped)(struct process_waiter *w);
};

/* @fd: -1 at end of file. @is_reading: the poll is started. */
struct process_output {
    struct process *process;
    uv_poll_t poll;
    Process__ProcessEvent__DataEvent__OutputCase kind;
    int fd;
    bool has_poll, is_reading;
};

/*
 * Owned by its table, freed when it is off the table and its handles are closed.
 *
 * @serial:     tells processes apart whose pid is the same
 * @config:     as the client sent it, owned; NULL after the end
 * @tag:        owned, or NULL
 * @must_not_wait: the end does not wait for the end of the output (it was killed by request)
 * @backlog:    its last output, for readers that come back
 * @deadline:   armed when the client that started it gave a timeout; it outlives the client
 */
struct process {
    struct adit_list node;
    struct process_table *table; /* borrowed */
    pid_t pid;
    uint64_t serial;
    enum process_state state;
    Process__ProcessConfig *config;
    char *tag;
    bool is_pty, must_not_wait, is_off_table;
    struct process_output outputs[2];
    struct input_queue input;
    struct backlog backlog;
    struct adit_list subscribers, waiters;
    struct exit_status end;
    struct net_deadline deadline, retention;
    unsigned open_handles;
};

/*
 * An object for descriptors that are about to get their child; takes envd's side of @fds, on
 * success only. The caller sets what identifies it, enters it into the table, and calls
 * process_update_flow(). Errors: NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int process_new(struct process_table *t, struct stdio_fds *fds, bool is_pty,
                                struct process **out, struct adit_err *err);
/* Close everything and free: for a process that is off the table. Subscribers must be gone. */
void process_close(struct process *p);
/* Called by the table: waitpid() gave @wait_status. May end the process. */
void process_on_reaped(struct process *p, int wait_status);

/*
 * From now on @s gets every event, and the process owns it. One that comes back is given what was
 * kept first. Of a process that has ended, @s is told the end. May free @s.
 */
void process_subscribe(struct process *p, struct subscriber *s);
/* @s, which is behind, can take more. May free it. */
void process_catch_up(struct process *p, struct subscriber *s);
/* Read the output or stop reading it, as the subscribers can take more or not. */
void process_update_flow(struct process *p);

/* Errors: IO (also: not a terminal). Words as in envd-api.md 7.5 and 7.6. */
ADIT_MUST_CHECK int process_resize(struct process *p, uint32_t cols, uint32_t rows,
                                   struct adit_err *err);
/* See input_queue_write(). @to_pty: which of the two the client meant. */
ADIT_MUST_CHECK int process_write(struct process *p, bool to_pty, struct adit_view bytes,
                                  struct input_write **out, struct adit_err *err);
ADIT_MUST_CHECK int process_close_stdin(struct process *p, struct adit_err *err);
/* Its time is over: kill it. May end @p. */
void process_expire(struct process *p);
/* To the direct child only; SIGKILL and SIGTERM also end the wait for its output. May end @p. */
ADIT_MUST_CHECK int process_signal(struct process *p, int number, struct adit_err *err);

#endif
