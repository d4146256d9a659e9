/* SPDX-License-Identifier: Apache-2.0 */
/* One call of /execute: the cell, and the stream of lines that answers it. */
#ifndef ENVD_KERNEL_EXECUTION_H
#define ENVD_KERNEL_EXECUTION_H

#include "envd/kernel/kernel_line.h"
#include "envd/kernel/kernel_message.h"
#include "net/http_server.h"

/* A line without news at this interval while the cell is silent. */
#define KERNEL_EXECUTION_KEEPALIVE_MS 5000
/* Lines are gathered up to here, then written. */
#define KERNEL_EXECUTION_GATHER (64u * 1024)

struct kernel_context;

/*
 * Owned by its context, from kernel_context_run() on.
 *
 * @exchange:  NULL when the client is gone
 * @order:     frames for the kernel: variables and the cell
 * @out:       lines that are not written yet
 * @tails:     of stdout and stderr
 */
struct kernel_execution {
    struct adit_list node;
    struct kernel_context *context; /* borrowed */
    struct http_exchange *exchange;
    struct adit_buf order, out;
    struct kernel_line_tail tails[2];
    struct net_deadline keepalive;
    bool has_error;
};

/*
 * Begin the stream that answers @x. @variables: NAME=value and a NUL each.
 * Errors: NO_MEMORY; @x is as before then.
 */
ADIT_MUST_CHECK int kernel_execution_new(struct http_exchange *x, struct adit_view variables,
                                         struct adit_view code, struct kernel_execution **out,
                                         struct adit_err *err);
/* End the stream if there is one, with what is not written yet and the last line; free. */
void kernel_execution_finish(struct kernel_execution *ex);

/* Lines. Without memory the stream is broken off. */
void kernel_execution_count(struct kernel_execution *ex, uint64_t count);
void kernel_execution_text(struct kernel_execution *ex, enum kernel_news kind,
                           struct adit_view bytes);
void kernel_execution_result(struct kernel_execution *ex, struct adit_view object);
/* The first one wins. */
void kernel_execution_error(struct kernel_execution *ex, struct adit_view object);
void kernel_execution_fail(struct kernel_execution *ex, const char *name, const char *value,
                           const char *traceback);
/* Write what was gathered. */
void kernel_execution_flush(struct kernel_execution *ex);
/* Takes the client no more for now? */
bool kernel_execution_is_congested(const struct kernel_execution *ex);

#endif
