/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way into a process: bytes for its stdin or terminal, in order, written as the process takes
 * them.
 */
#ifndef ENVD_INPUT_H
#define ENVD_INPUT_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"

/* Bytes waiting for one process; above it a write is refused with resource_exhausted. */
#define INPUT_QUEUE_MAX (8u * 1024 * 1024)

/*
 * One write that the process has not taken yet. Owned by its queue.
 *
 * @on_done: called once, with NULL or the error (IO); never inside input_write(). NULL: nobody
 * waits.
 */
struct input_write {
    struct adit_list node;
    struct adit_buf rest;
    void (*on_done)(void *owner, const struct adit_err *err);
    void *owner;
};

/*
 * @fd:        -1 when closed
 * @is_closing: close once the queue is written
 * @closed:    called when the poll handle is gone after input_queue_close()
 */
struct input_queue {
    uv_loop_t *loop;
    uv_poll_t poll;
    struct adit_list writes;
    size_t queued;
    int fd;
    bool has_poll, is_closing;
    void (*on_closed)(struct input_queue *q);
};

/* @take_fd: non-blocking, or -1: there is no way in. */
void input_queue_init(struct input_queue *q, uv_loop_t *loop, int take_fd,
                      void (*on_closed)(struct input_queue *q));
/*
 * *out is NULL when all was taken at once; otherwise the caller sets its on_done and owner.
 * Errors: CLOSED, LIMIT, IO, NO_MEMORY.
 */
ADIT_MUST_CHECK int input_queue_write(struct input_queue *q, struct adit_view bytes,
                                      struct input_write **out, struct adit_err *err);
/* End of file behind what is queued. Idempotent. */
void input_queue_end(struct input_queue *q);
/* Give up: waiting writes fail, the descriptor closes. on_closed comes later if a handle was open;
 * Return: false if none was, and on_closed never comes. */
bool input_queue_close(struct input_queue *q);

#endif
