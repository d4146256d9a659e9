/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a process.
 *
 * Theory of operation
 *
 * What:      a write goes to the pipe or terminal at once; what it does not take is copied, and
 * sent when the loop says that there is room. Writes keep their order.
 *
 *   open --end--> open, is_closing --queue empty--> closed
 *     \-----------------close or error------------> closed
 *
 * Ownership: the queue is embedded in its process. The poll handle is made when it is first needed;
 * most processes never get input.
 * Limits:    INPUT_QUEUE_MAX bytes a process.
 * Failure:   a broken pipe fails every waiting write and closes the way in; later writes get
 * CLOSED.
 */
#include "envd/process/input.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void input_queue_init(struct input_queue *q, uv_loop_t *loop, int take_fd,
                      void (*on_closed)(struct input_queue *q))
{
    memset(q, 0, sizeof *q);
    q->loop = loop;
    q->fd = take_fd;
    q->on_closed = on_closed;
    adit_list_init(&q->writes);
}

static void write_done(struct input_queue *q, struct input_write *w, const struct adit_err *err)
{
    void (*on_done)(void *, const struct adit_err *) = w->on_done;
    void *owner = w->owner;
    q->queued -= w->rest.len;
    adit_list_remove(&w->node);
    adit_buf_fini(&w->rest);
    free(w);
    if (on_done)
        on_done(owner, err);
}

static void close_fd(struct input_queue *q)
{
    if (q->fd < 0)
        return;
    if (q->has_poll)
        (void)uv_poll_stop(&q->poll); /* cannot fail */
    (void)close(q->fd);
    q->fd = -1;
}

static void fail_all(struct input_queue *q, const char *reason)
{
    struct adit_err err;
    struct adit_list *it;
    (void)adit_err_set(&err, ADIT_ERR_IO, "error writing to process: %s", reason);
    close_fd(q);
    while ((it = adit_list_first(&q->writes)))
        write_done(q, ADIT_CONTAINER_OF(it, struct input_write, node), &err);
}

/* Return: bytes taken, or -errno. */
static ssize_t write_some(int fd, struct adit_view bytes)
{
    ssize_t n;
    do {
        n = write(fd, bytes.ptr, bytes.len);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

/* Write until the descriptor takes no more. Return: 0 or -errno. */
static int write_all(int fd, struct adit_view *bytes)
{
    while (bytes->len > 0) {
        ssize_t n = write_some(fd, *bytes);
        if (n <= 0)
            return (int)n;
        bytes->ptr += n;
        bytes->len -= (size_t)n;
    }
    return 0;
}

static void write_queued(struct input_queue *q)
{
    struct adit_list *it;
    while (q->fd >= 0 && (it = adit_list_first(&q->writes))) {
        struct input_write *w = ADIT_CONTAINER_OF(it, struct input_write, node);
        struct adit_view rest = adit_buf_view(&w->rest);
        int failed = write_all(q->fd, &rest);
        if (failed) {
            fail_all(q, strerrordesc_np(-failed));
            return;
        }
        q->queued -= w->rest.len - rest.len;
        adit_buf_consume(&w->rest, w->rest.len - rest.len);
        if (rest.len > 0)
            return;
        write_done(q, w, NULL);
    }
    if (q->fd >= 0)
        (void)uv_poll_stop(&q->poll); /* cannot fail */
    if (q->is_closing)
        close_fd(q);
}

static void on_writable(uv_poll_t *h, int status, int events)
{
    (void)status; /* an error shows in the write */
    (void)events;
    write_queued(h->data);
}

/* Wait for room. Return: false if the loop refuses. */
static bool wait_for_room(struct input_queue *q)
{
    if (!q->has_poll) {
        if (uv_poll_init(q->loop, &q->poll, q->fd) != 0)
            return false;
        q->poll.data = q;
        q->has_poll = true;
    }
    return uv_poll_start(&q->poll, UV_WRITABLE, on_writable) == 0;
}

static int enqueue(struct input_queue *q, struct adit_view bytes, struct input_write **out,
                   struct adit_err *err)
{
    if (bytes.len > INPUT_QUEUE_MAX - q->queued)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %u bytes wait for the process",
                            INPUT_QUEUE_MAX);
    struct input_write *w = calloc(1, sizeof *w);
    if (!w)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_init(&w->rest, INPUT_QUEUE_MAX);
    if (adit_buf_append_view(&w->rest, bytes) != ADIT_OK || !wait_for_room(q)) {
        adit_buf_fini(&w->rest);
        free(w);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    adit_list_push(&q->writes, &w->node);
    q->queued += bytes.len;
    *out = w;
    return ADIT_OK;
}

int input_queue_write(struct input_queue *q, struct adit_view bytes, struct input_write **out,
                      struct adit_err *err)
{
    *out = NULL;
    if (q->fd < 0 || q->is_closing)
        return adit_err_set(err, ADIT_ERR_CLOSED, "not open");
    if (adit_list_empty(&q->writes)) {
        int failed = write_all(q->fd, &bytes);
        if (failed) {
            close_fd(q);
            return adit_err_sys(err, -failed, "write");
        }
    }
    return bytes.len == 0 ? ADIT_OK : enqueue(q, bytes, out, err);
}

void input_queue_end(struct input_queue *q)
{
    q->is_closing = true;
    if (adit_list_empty(&q->writes))
        close_fd(q);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct input_queue *q = h->data;
    q->on_closed(q);
}

bool input_queue_close(struct input_queue *q)
{
    fail_all(q, "it has ended");
    if (!q->has_poll)
        return false;
    q->has_poll = false;
    uv_close((uv_handle_t *)&q->poll, on_poll_closed);
    return true;
}
