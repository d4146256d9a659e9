/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console of a guest.
 *
 * Theory of operation
 *
 * States: reading ── rate used up ──> resting ── CONSOLE_PAUSE_MS ──> reading; ended when no writer
 * is left. While it rests nothing is read, so a guest that talks without end costs its own time and
 * a full pipe, not ours; envd does not wait for the pipe, it drops its line.
 * What: bytes become lines; a line is given on when its end has come, or when it is longer than
 * CONSOLE_LINE_CAP, cut. What stands without an end at the close is given on as well.
 * Trust: every byte is the guest's, and is passed on as it is: journal_entry.c cleans it.
 * Ownership: heap memory, freed when libuv has closed the handle.
 */
#include "broker/node/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * @is_cut: the line in @line is over-long and was given on; its rest is skipped
 */
struct console {
    uv_poll_t poll;
    int fd;
    struct net_deadline rest;
    struct adit_limit steps, lines;
    struct adit_buf line;
    bool is_cut;
    uint64_t dropped;
    const struct console_ops *ops;
    void *owner;
};

static void on_readable(uv_poll_t *handle, int status, int events);

static void give(struct console *c, struct adit_view line)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0)
        return;
    if (!adit_limit_take(&c->lines, adit_clock_mono_ns())) {
        c->dropped++;
        return;
    }
    if (c->dropped)
        c->ops->on_dropped(c->owner, c->dropped);
    c->dropped = 0;
    c->ops->on_line(c->owner, line);
}

/* Bytes up to the end of a line, or as many as there are. */
static void gather(struct console *c, struct adit_view bytes)
{
    size_t room = CONSOLE_LINE_CAP - c->line.len;
    struct adit_view fits = adit_view_mem(bytes.ptr, bytes.len < room ? bytes.len : room);
    if (c->is_cut)
        return;
    if (adit_buf_append_view(&c->line, fits) == 0 && fits.len == bytes.len)
        return;
    give(c, adit_buf_view(&c->line)); /* too long, or no memory: its head */
    adit_buf_clear(&c->line);
    c->is_cut = true;
}

static void end_line(struct console *c)
{
    if (!c->is_cut)
        give(c, adit_buf_view(&c->line));
    adit_buf_clear(&c->line);
    c->is_cut = false;
}

static void feed(struct console *c, struct adit_view bytes)
{
    struct adit_view line;
    while (adit_view_split(bytes, '\n', &line, &bytes)) {
        gather(c, line);
        end_line(c);
    }
    if (line.len > 0)
        gather(c, line);
}

/* Return: false when there is nothing more for now. */
static bool read_step(struct console *c)
{
    char bytes[CONSOLE_STEP];
    ssize_t n = read(c->fd, bytes, sizeof(bytes));
    if (n > 0)
        feed(c, adit_view_mem(bytes, (size_t)n));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        (void)uv_poll_stop(&c->poll); /* always 0; nobody writes any more */
    return n == (ssize_t)sizeof(bytes);
}

static void begin(struct console *c)
{
    (void)uv_poll_start(&c->poll, UV_READABLE, on_readable); /* fails only for a closing handle */
}

static void on_rested(struct net_deadline *d)
{
    begin(ADIT_CONTAINER_OF(d, struct console, rest));
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct console *c = handle->data;
    (void)events;
    if (status < 0 || adit_limit_take(&c->steps, adit_clock_mono_ns())) {
        (void)read_step(c); /* one a turn: other guests wait too */
        return;
    }
    (void)uv_poll_stop(&c->poll); /* always 0 */
    net_deadline_arm(&c->rest, CONSOLE_PAUSE_MS);
}

int console_open(struct net_loop *loop, const char *path, const struct console_ops *ops,
                 void *owner, struct console **out, struct adit_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", path);
    struct console *c = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) ? calloc(1, sizeof(*c)) : NULL;
    if (!c || uv_poll_init(loop->uv, &c->poll, fd)) {
        (void)close(fd); /* nothing to lose */
        free(c);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s cannot be read as a console", path);
    }
    c->fd = fd;
    c->poll.data = c;
    c->ops = ops;
    c->owner = owner;
    uint64_t now = adit_clock_mono_ns();
    adit_limit_init(&c->steps, CONSOLE_STEPS_BURST, CONSOLE_STEPS_PER_S, now);
    adit_limit_init(&c->lines, CONSOLE_LINES_BURST, CONSOLE_LINES_PER_S, now);
    adit_buf_init(&c->line, CONSOLE_LINE_CAP);
    net_deadline_init(&c->rest, loop, on_rested);
    begin(c);
    *out = c;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct console *c = handle->data;
    (void)close(c->fd); /* nothing to lose */
    free(c);
}

void console_drain(struct console *c)
{
    for (int i = 0; i < CONSOLE_STEPS_BURST && read_step(c); i++)
        ;
    if (c->line.len > 0)
        end_line(c);
}

void console_close(struct console *c)
{
    if (!c)
        return;
    console_drain(c);
    if (c->dropped)
        c->ops->on_dropped(c->owner, c->dropped);
    net_deadline_cancel(&c->rest);
    adit_buf_fini(&c->line);
    uv_close((uv_handle_t *)&c->poll, on_closed);
}
