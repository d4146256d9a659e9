/* SPDX-License-Identifier: Apache-2.0 */
/* A context: cells run in it one after the other and keep their variables. */
#ifndef ENVD_KERNEL_CONTEXT_H
#define ENVD_KERNEL_CONTEXT_H

#include "envd/kernel/kernel_execution.h"
#include "envd/kernel/kernel_pool.h"

#define KERNEL_CONTEXT_ID_CAP 37
#define KERNEL_CONTEXT_LOST_CAP 128
/* Cells that wait in one context, the running one not counted. */
#define KERNEL_CONTEXT_QUEUE_MAX 128
/* From the start of a kernel to its first word. */
#define KERNEL_CONTEXT_START_MS 30000
/* Interrupts of a cell, and the time each has. SIGKILL follows the last. */
#define KERNEL_CONTEXT_INTERRUPTS 2
#define KERNEL_CONTEXT_INTERRUPT_MS 1500

/*
 * Owned by the service.
 *
 * @cwd:       as the client gave it, owned
 * @process:   NULL: the next cell starts one
 * @running:   owned; may have lost its client
 * @queue:     executions, owned
 * @lost:      why the kernel before this one ended, until a cell was told; else empty
 * @deadline:  of the start, or of an interrupt
 * @interrupts_left: for the running cell, whose client is gone
 * @is_ready:  the kernel has said its first word
 * @has_globals: the kernel has the sandbox's variables
 * @is_default:  cells without a context, in its language, are its
 */
struct kernel_context {
    struct adit_list node;
    struct envd *envd;        /* borrowed */
    struct kernel_pool *pool; /* borrowed */
    char id[KERNEL_CONTEXT_ID_CAP];
    const struct kernel_language *language;
    char *cwd;
    struct kernel_process *process;
    struct kernel_execution *running;
    struct adit_list queue;
    size_t queue_len;
    uint64_t count;
    char lost[KERNEL_CONTEXT_LOST_CAP];
    struct net_deadline deadline;
    unsigned interrupts_left;
    bool is_ready, has_globals, is_default;
};

/* Nothing runs yet. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int kernel_context_new(struct kernel_pool *pool, const struct kernel_language *l,
                                       const char *cwd, struct kernel_context **out,
                                       struct adit_err *err);
/* Cells that run or wait are told that it was removed. */
void kernel_context_free(struct kernel_context *c);
/* Have a kernel, if there is none. Errors: as kernel_process_start(). */
ADIT_MUST_CHECK int kernel_context_start(struct kernel_context *c, struct adit_err *err);
/* A fresh kernel; the running cell is told. Errors: as kernel_process_start(). */
ADIT_MUST_CHECK int kernel_context_restart(struct kernel_context *c, struct adit_err *err);
/* Run @take_ex when those before it are over. */
void kernel_context_run(struct kernel_context *c, struct kernel_execution *take_ex);

/* Of its executions: the client can take more; is gone. */
void kernel_context_on_drain(struct kernel_context *c, const struct kernel_execution *ex);
void kernel_context_on_gone(struct kernel_context *c, struct kernel_execution *ex);

#endif
