/* SPDX-License-Identifier: Apache-2.0 */
/* The console of a guest: lines in any pieces, floods, and its end. */
#include "broker/node/console.h"

#include "tests/unit/suite.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    uv_loop_t uv;
    struct net_loop net;
    char dir[64], path[96];
    int writer;
    struct console *console;
    size_t lines, bytes, longest;
    uint64_t dropped;
    char last[CONSOLE_LINE_CAP + 1];
};

static void on_line(void *owner, struct adit_view line)
{
    struct world *w = owner;
    ck_assert_uint_gt(line.len, 0);
    ck_assert_uint_le(line.len, CONSOLE_LINE_CAP);
    w->lines++;
    w->bytes += line.len;
    w->longest = line.len > w->longest ? line.len : w->longest;
    memcpy(w->last, line.ptr, line.len);
    w->last[line.len] = '\0';
}

static void on_dropped(void *owner, uint64_t cnt)
{
    struct world *w = owner;
    w->dropped += cnt;
}

static const struct console_ops ops = {on_line, on_dropped};

static void open_world(struct world *w)
{
    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/adit-console-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/console", w->dir);
    ck_assert_int_eq(mkfifo(w->path, 0600), 0);
    w->writer = open(w->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_eq(uv_loop_init(&w->uv), 0);
    ck_assert_int_eq(net_loop_init(&w->net, &w->uv, NULL), 0);
    ck_assert_int_eq(console_open(&w->net, w->path, &ops, w, &w->console, NULL), 0);
}

static void close_world(struct world *w)
{
    console_close(w->console);
    net_loop_close(&w->net);
    ck_assert_int_eq(uv_run(&w->uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&w->uv), 0);
    close(w->writer);
    (void)unlink(w->path);
    ck_assert_int_eq(rmdir(w->dir), 0);
}

static void say(struct world *w, const char *text)
{
    ck_assert_int_eq(write(w->writer, text, strlen(text)), (ssize_t)strlen(text));
    for (int i = 0; i < 10; i++)
        (void)uv_run(&w->uv, UV_RUN_NOWAIT);
}

START_TEST(console_gives_lines_on_however_they_come)
{
    struct world w;
    open_world(&w);
    say(&w, "one\ntw");
    ck_assert_uint_eq(w.lines, 1);
    ck_assert_str_eq(w.last, "one");
    say(&w, "o\r\n\n\n");
    ck_assert_uint_eq(w.lines, 2);
    ck_assert_str_eq(w.last, "two");
    say(&w, "last words");
    console_close(w.console);
    w.console = NULL;
    ck_assert_uint_eq(w.lines, 3);
    ck_assert_str_eq(w.last, "last words");
    close_world(&w);
}
END_TEST

START_TEST(console_cuts_a_line_without_end)
{
    struct world w;
    char text[4001];
    open_world(&w);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 20; i++)
        say(&w, text);
    say(&w, "\nnext\n");
    ck_assert_uint_eq(w.lines, 2);
    ck_assert_uint_eq(w.longest, CONSOLE_LINE_CAP);
    ck_assert_str_eq(w.last, "next");
    close_world(&w);
}
END_TEST

START_TEST(console_drops_lines_of_a_flood_and_counts_them)
{
    struct world w;
    char text[4001];
    open_world(&w);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? '\n' : 'x';
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 3; i++)
        say(&w, text); /* 6,000 lines */
    console_close(w.console);
    w.console = NULL;
    ck_assert_uint_eq(w.lines + w.dropped, 6000);
    ck_assert_uint_ge(w.lines, CONSOLE_LINES_BURST);
    ck_assert_uint_lt(w.lines, 2 * CONSOLE_LINES_BURST);
    close_world(&w);
}
END_TEST

START_TEST(console_rests_when_it_heard_too_much)
{
    struct world w;
    char text[CONSOLE_STEP];
    size_t taken = 0;
    open_world(&w);
    memset(text, 'x', sizeof(text));
    /* It takes what its rate allows; then the pipe is full, and the writer is told so at once. */
    for (int i = 0; i < 1000; i++) {
        ssize_t n = write(w.writer, text, sizeof(text));
        taken += n > 0 ? (size_t)n : 0;
        (void)uv_run(&w.uv, UV_RUN_NOWAIT);
    }
    ck_assert_uint_lt(taken, 500 * sizeof(text));
    ck_assert_int_eq(write(w.writer, text, sizeof(text)), -1);
    close_world(&w);
}
END_TEST

START_TEST(console_is_no_other_kind_of_file)
{
    struct world w;
    struct console *c;
    char path[96];
    open_world(&w);
    (void)snprintf(path, sizeof(path), "%s/missing", w.dir);
    ck_assert_int_eq(console_open(&w.net, path, &ops, &w, &c, NULL), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(console_open(&w.net, w.dir, &ops, &w, &c, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(symlink(w.path, path), 0);
    ck_assert_int_lt(console_open(&w.net, path, &ops, &w, &c, NULL), 0);
    (void)unlink(path);
    close_world(&w);
}
END_TEST

SUITE_MAIN("console", console_gives_lines_on_however_they_come, console_cuts_a_line_without_end,
           console_drops_lines_of_a_flood_and_counts_them, console_rests_when_it_heard_too_much,
           console_is_no_other_kind_of_file)
