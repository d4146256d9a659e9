/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer of /execute.
 *
 * Theory of operation
 *
 * What:  the head leaves at once, lines as they come: those of one turn of the loop in one write.
 * Ends:  the context ends it (kernel_execution_finish); a client that goes, or memory that is gone,
 * leave it without an exchange until then, and the context is told, which interrupts the cell.
 * Limits: KERNEL_EXECUTION_GATHER and one frame of the kernel's are in memory.
 */
#include "envd/kernel/kernel_execution.h"

#include <stdlib.h>

#include "envd/kernel/kernel_context.h"

#define ORDER_MAX (2 * KERNEL_MESSAGE_MAX)
/* A frame with every byte escaped is not: results are ASCII already, texts come in pieces. */
#define OUT_MAX (2 * KERNEL_MESSAGE_MAX)

static const char *const stream_names[2] = {"stdout", "stderr"};

static void detach(struct kernel_execution *ex)
{
    ex->exchange = NULL;
    net_deadline_cancel(&ex->keepalive);
}

static void on_drain(struct http_exchange *x)
{
    struct kernel_execution *ex = http_exchange_user(x);
    kernel_context_on_drain(ex->context, ex);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct kernel_execution *ex = http_exchange_user(x);
    (void)err; /* whatever it is, nobody reads the answer */
    detach(ex);
    kernel_context_on_gone(ex->context, ex);
}

static const struct http_exchange_ops execution_ops = {.on_drain = on_drain, .on_abort = on_abort};

static void on_keepalive_due(struct net_deadline *d)
{
    struct kernel_execution *ex = ADIT_CONTAINER_OF(d, struct kernel_execution, keepalive);
    net_deadline_arm(d, KERNEL_EXECUTION_KEEPALIVE_MS);
    if (!kernel_execution_is_congested(ex) && kernel_line_plain(&ex->out, "keepalive") == ADIT_OK)
        kernel_execution_flush(ex); /* else the next one may be sent */
}

static void free_execution(struct kernel_execution *ex)
{
    net_deadline_cancel(&ex->keepalive);
    adit_list_remove(&ex->node);
    adit_buf_fini(&ex->order);
    adit_buf_fini(&ex->out);
    free(ex);
}

int kernel_execution_new(struct http_exchange *x, struct adit_view variables, struct adit_view code,
                         struct kernel_execution **out, struct adit_err *err)
{
    struct kernel_execution *ex = calloc(1, sizeof *ex);
    if (!ex)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_list_init(&ex->node);
    adit_buf_init(&ex->order, ORDER_MAX);
    adit_buf_init(&ex->out, OUT_MAX);
    net_deadline_init(&ex->keepalive, net_stream_loop(http_exchange_stream(x)), on_keepalive_due);
    int rc = ADIT_OK;
    if (variables.len > 0)
        rc = kernel_message_put(&ex->order, KERNEL_ORDER_VARIABLES, variables);
    if (rc == ADIT_OK)
        rc = kernel_message_put(&ex->order, KERNEL_ORDER_RUN, code);
    if (rc == ADIT_OK)
        rc = http_exchange_header_str(x, "Content-Type", "application/x-ndjson");
    if (rc != ADIT_OK) {
        free_execution(ex);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    ex->exchange = x;
    http_exchange_set_ops(x, &execution_ops, ex);
    http_exchange_begin(x, 200, HTTP_FRAMING_CHUNKED, 0);
    net_deadline_arm(&ex->keepalive, KERNEL_EXECUTION_KEEPALIVE_MS);
    *out = ex;
    return ADIT_OK;
}

/* Without memory a line would be missing, so the client must see that the answer is broken. */
static void break_off(struct kernel_execution *ex)
{
    http_exchange_reset(ex->exchange);
    detach(ex);
    kernel_context_on_gone(ex->context, ex);
}

static void added(struct kernel_execution *ex, int code)
{
    if (code != ADIT_OK)
        break_off(ex);
    else if (ex->out.len >= KERNEL_EXECUTION_GATHER)
        kernel_execution_flush(ex);
}

void kernel_execution_flush(struct kernel_execution *ex)
{
    if (!ex->exchange || ex->out.len == 0)
        return;
    int code = http_exchange_write(ex->exchange, adit_buf_view(&ex->out));
    adit_buf_consume(&ex->out, ex->out.len);
    net_deadline_arm(&ex->keepalive, KERNEL_EXECUTION_KEEPALIVE_MS);
    if (code != ADIT_OK && code != ADIT_ERR_CLOSED) /* closed: on_abort comes */
        break_off(ex);
}

void kernel_execution_count(struct kernel_execution *ex, uint64_t count)
{
    if (ex->exchange)
        added(ex, kernel_line_count(&ex->out, count));
}

void kernel_execution_text(struct kernel_execution *ex, enum kernel_news kind,
                           struct adit_view bytes)
{
    int which = kind == KERNEL_NEWS_STDOUT ? 0 : 1;
    if (ex->exchange)
        added(ex, kernel_line_text(&ex->out, stream_names[which], bytes, &ex->tails[which]));
}

void kernel_execution_result(struct kernel_execution *ex, struct adit_view object)
{
    if (ex->exchange)
        added(ex, kernel_line_object(&ex->out, "result", object));
}

void kernel_execution_error(struct kernel_execution *ex, struct adit_view object)
{
    if (ex->exchange && !ex->has_error)
        added(ex, kernel_line_object(&ex->out, "error", object));
    ex->has_error = true;
}

void kernel_execution_fail(struct kernel_execution *ex, const char *name, const char *value,
                           const char *traceback)
{
    if (ex->exchange && !ex->has_error)
        added(ex, kernel_line_error(&ex->out, name, value, traceback));
    ex->has_error = true;
}

bool kernel_execution_is_congested(const struct kernel_execution *ex)
{
    return ex->exchange && http_exchange_is_congested(ex->exchange);
}

static int put_last_lines(struct kernel_execution *ex)
{
    int code = kernel_line_text_end(&ex->out, stream_names[0], &ex->tails[0]);
    if (code == ADIT_OK)
        code = kernel_line_text_end(&ex->out, stream_names[1], &ex->tails[1]);
    return code == ADIT_OK ? kernel_line_plain(&ex->out, "end_of_execution") : code;
}

void kernel_execution_finish(struct kernel_execution *ex)
{
    struct http_exchange *x = ex->exchange;
    if (x && (put_last_lines(ex) != ADIT_OK ||
              http_exchange_write(x, adit_buf_view(&ex->out)) != ADIT_OK))
        http_exchange_reset(x);
    else if (x)
        http_exchange_end(x);
    free_execution(ex);
}
