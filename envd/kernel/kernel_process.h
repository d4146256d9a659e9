/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of one kernel: its channel, its pipes, its end.
 */
#ifndef ENVD_KERNEL_PROCESS_H
#define ENVD_KERNEL_PROCESS_H

#include "envd/envd.h"
#include "envd/kernel/kernel_language.h"
#include "envd/kernel/kernel_message.h"
#include "envd/process/exit_status.h"
#include "envd/process/input.h"
#include "envd/process/process_table.h"

/* Read at once from the channel or a pipe. */
#define KERNEL_PROCESS_CHUNK (64u * 1024)
/* Pieces handed on in one turn of the loop. */
#define KERNEL_PROCESS_BUDGET 32
/* Where a kernel starts, unless its image lacks it. */
#define KERNEL_PROCESS_CWD "/home/user"

struct kernel_process;

/*
 * @on_message: a frame, checked; never KERNEL_NEWS_PIPES or _WAITS
 * @on_text:    what lay in a pipe; @kind: KERNEL_NEWS_STDOUT or _STDERR
 * @on_turn:    that was all for now
 * @on_end:     the process is gone, and all that it wrote was handed on; the last call
 * Inside each the kernel may be closed or paused.
 */
struct kernel_process_ops {
    void (*on_message)(void *owner, const struct kernel_message *m);
    void (*on_text)(void *owner, enum kernel_news kind, struct adit_view bytes);
    void (*on_turn)(void *owner);
    void (*on_end)(void *owner, const char *how);
};

/*
 * Start a kernel in @cwd; the owner hears of it from the next turn of the loop on.
 * Errors: UNAUTHENTICATED (no root in the image), BAD_INPUT (@cwd), LIMIT, NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int kernel_process_start(struct envd *e, const struct kernel_language *l,
                                         const char *cwd, struct kernel_process **out,
                                         struct adit_err *err);
/* Who hears of it. May change when the kernel changes hands. */
void kernel_process_set_owner(struct kernel_process *p, const struct kernel_process_ops *ops,
                              void *owner);
/* Give it frames. Errors: LIMIT, NO_MEMORY, CLOSED (on_end comes). */
ADIT_MUST_CHECK int kernel_process_send(struct kernel_process *p, struct adit_view frames,
                                        struct adit_err *err);
/* Stop handing on what it says; it waits when the pipes are full. */
void kernel_process_pause(struct kernel_process *p);
void kernel_process_resume(struct kernel_process *p);
/* As Ctrl-C: to the kernel and what it runs. */
void kernel_process_interrupt(struct kernel_process *p);
/* SIGKILL; on_end comes. @reason: static text that it is told; NULL: how the process ended. */
void kernel_process_kill(struct kernel_process *p, const char *reason);
/* SIGKILL, and the owner hears nothing more. */
void kernel_process_close(struct kernel_process *p);

#endif
