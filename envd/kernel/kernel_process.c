/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel's process.
 *
 * Theory of operation
 *
 * What:  three descriptors are read: the channel (frames), and the pipes behind descriptors 1 and 2
 * (what programs and C code of a cell write). The order among them:
 *
 *   - frames come first: what they say of Python's own output was written in that order;
 *   - KERNEL_NEWS_PIPES: the pipes are emptied before the next frame;
 *   - KERNEL_NEWS_WAITS is answered when it is reached: the kernel may have a program write now,
 *     and no KERNEL_NEWS_PIPES of before takes that for earlier output;
 *   - KERNEL_NEWS_DONE: the pipes are emptied before it is handed on, so nothing of a cell is lost
 *     and nothing comes after its end;
 *   - no frame is there: what lay in the pipes before the channel was looked at is read. What came
 *     later may be of a program that was started after a frame.
 *
 * States: running -> (channel closed | SIGCHLD) -> killed and reaped -> all read -> on_end ->
 * closed Ownership: the object frees itself when it is closed, reaped or not, and its handles are
 * closed. Back-pressure: while paused nothing is read; what was read and not handed on waits in
 * @in. Limits: one frame in memory (KERNEL_MESSAGE_MAX); KERNEL_PROCESS_BUDGET pieces a turn, so
 * that one kernel does not hold the loop. Trust:  a cell can write to all three, close them, and
 * give them to others that outlive it. A frame that is none kills the kernel. After the process is
 * reaped nobody is waited for.
 */
#include "envd/kernel/kernel_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "envd/process/env_block.h"
#include "envd/process/process_start.h"
#include "envd/process/spawn.h"
#include "envd/process/stdio_fds.h"

#define ARGC_MAX 8

enum { CHANNEL, PIPE_OUT, PIPE_ERR, SOURCES };
enum kernel_end { END_NONE, END_KILLED, END_REAPED, END_TOLD };

/* @fd: -1 at its end. */
struct kernel_source {
    struct kernel_process *process;
    uv_poll_t poll;
    int fd;
    bool is_reading;
};

/*
 * @in:            of the channel, not handed on yet
 * @reason:        why it was killed, or NULL
 * @must_drain:    the pipes come before the next frame
 * @quotas:        of each pipe, what is still read of it before the next frame: programs that the
 *                 cell left behind may write without end
 * @done_may_pass: the pipes were emptied for the KERNEL_NEWS_DONE at the front
 */
struct kernel_process {
    struct process_child child;
    struct envd *envd; /* borrowed */
    const struct kernel_process_ops *ops;
    void *owner;
    struct kernel_source sources[SOURCES];
    struct input_queue orders;
    struct adit_buf in;
    struct net_task turn;
    enum kernel_end end;
    struct exit_status status;
    const char *reason;
    size_t quotas[SOURCES];
    bool is_paused, is_closed, is_in_turn, must_drain, done_may_pass;
    unsigned open_handles;
};

/* ---- closing ---- */

static void handle_closed(struct kernel_process *p)
{
    if (--p->open_handles > 0)
        return;
    adit_buf_fini(&p->in);
    free(p);
}

static void on_source_closed(uv_handle_t *h)
{
    struct kernel_source *s = h->data;
    handle_closed(s->process);
}

static void on_orders_closed(struct input_queue *q)
{
    handle_closed(ADIT_CONTAINER_OF(q, struct kernel_process, orders));
}

static void close_source(struct kernel_source *s)
{
    if (s->fd < 0)
        return;
    uv_close((uv_handle_t *)&s->poll, on_source_closed);
    (void)close(s->fd); /* reading side: nothing to flush */
    s->fd = -1;
}

static void send_kill(struct kernel_process *p)
{
    if (p->child.pid <= 0 || p->end >= END_REAPED)
        return; /* not started, or the pid may be another's */
    (void)kill(-p->child.pid, SIGKILL);
    (void)kill(p->child.pid, SIGKILL); /* it may have left its group */
}

static void release(struct kernel_process *p)
{
    p->is_closed = true;
    net_task_cancel(&p->turn);
    for (int i = 0; i < SOURCES; i++)
        close_source(&p->sources[i]);
    if (input_queue_close(&p->orders))
        p->open_handles++;
    handle_closed(p);
}

void kernel_process_close(struct kernel_process *p)
{
    send_kill(p);
    process_table_remove_child(&p->child); /* the reaper collects it all the same */
    if (p->is_in_turn)
        p->is_closed = true;
    else
        release(p);
}

void kernel_process_kill(struct kernel_process *p, const char *reason)
{
    if (!p->reason)
        p->reason = reason;
    send_kill(p);
    if (p->end == END_NONE)
        p->end = END_KILLED;
}

/* ---- reading ---- */

/* Return: bytes read, 0 if there are none now or never again. */
static size_t read_source(struct kernel_source *s, char *out, size_t cap)
{
    ssize_t n;
    if (s->fd < 0)
        return 0;
    do {
        n = read(s->fd, out, cap);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        return (size_t)n;
    if (n == 0 || errno != EAGAIN)
        close_source(s);
    return 0;
}

static bool is_stopped(const struct kernel_process *p)
{
    return p->is_closed || p->is_paused;
}

/* What lies in the pipes now is due. */
static void measure_pipes(struct kernel_process *p)
{
    for (int i = PIPE_OUT; i <= PIPE_ERR; i++) {
        int len = 0;
        if (p->sources[i].fd >= 0)
            (void)ioctl(p->sources[i].fd, FIONREAD, &len); /* else 0 */
        p->quotas[i] = (size_t)len;
    }
}

static void begin_drain(struct kernel_process *p)
{
    measure_pipes(p);
    p->must_drain = true;
}

/* One piece of a pipe. Return: false if there is none. */
static bool take_text(struct kernel_process *p, int which)
{
    char chunk[KERNEL_PROCESS_CHUNK];
    size_t cap = p->quotas[which] < sizeof chunk ? p->quotas[which] : sizeof chunk;
    size_t len = cap > 0 ? read_source(&p->sources[which], chunk, cap) : 0;
    p->quotas[which] = len > 0 ? p->quotas[which] - len : 0;
    if (len > 0)
        p->ops->on_text(p->owner, which == PIPE_OUT ? KERNEL_NEWS_STDOUT : KERNEL_NEWS_STDERR,
                        adit_view_mem(chunk, len));
    return len > 0;
}

/* Hand on what is due of the pipes. Return: all of it was. */
static bool drain_pipes(struct kernel_process *p, unsigned *budget)
{
    for (int i = PIPE_OUT; i <= PIPE_ERR; i++)
        while (p->quotas[i] > 0) {
            if (is_stopped(p) || *budget == 0)
                return false;
            --*budget;
            (void)take_text(p, i); /* the quota says whether there is more */
        }
    return true;
}

/* Return: whether something came. */
static bool read_channel(struct kernel_process *p, size_t need)
{
    size_t cap = need > KERNEL_PROCESS_CHUNK ? need : KERNEL_PROCESS_CHUNK;
    if (p->sources[CHANNEL].fd < 0)
        return false;
    if (adit_buf_reserve(&p->in, cap) != ADIT_OK) {
        kernel_process_kill(p, "out of memory");
        return false;
    }
    size_t len = read_source(&p->sources[CHANNEL], adit_buf_tail(&p->in), cap);
    adit_buf_added(&p->in, len);
    return len > 0;
}

/* One that leaves so much unread that there is no room for it is no kernel any more. */
static void send_plain(struct kernel_process *p, enum kernel_order kind)
{
    const char order[] = {(char)kind, ' ', '0', '\n'};
    struct adit_err err = ADIT_ERR_INIT;
    int code = kernel_process_send(p, adit_view_mem(order, sizeof order), &err);
    if (code != ADIT_OK && code != ADIT_ERR_CLOSED) /* closed: its end is told soon */
        kernel_process_kill(p, "it did not read its channel");
}

/* Is it one that waits for the pipes? Then they are due. */
static bool is_early(struct kernel_process *p, const struct kernel_message *m)
{
    if (m->kind != KERNEL_NEWS_DONE || p->done_may_pass)
        return false;
    p->done_may_pass = true;
    begin_drain(p);
    return true;
}

static void take_message(struct kernel_process *p, const struct kernel_message *m, size_t len)
{
    if (is_early(p, m))
        return;
    p->done_may_pass = false;
    if (m->kind == KERNEL_NEWS_PIPES)
        begin_drain(p);
    else if (m->kind == KERNEL_NEWS_WAITS)
        send_plain(p, KERNEL_ORDER_PASSED);
    else
        p->ops->on_message(p->owner, m);
    adit_buf_consume(&p->in, len);
}

/* One step. Return: false when there is nothing to do now. */
static bool step(struct kernel_process *p, unsigned *budget)
{
    struct kernel_message m;
    struct adit_err err = ADIT_ERR_INIT;
    size_t len, need;
    if (p->must_drain) {
        p->must_drain = !drain_pipes(p, budget);
        return !p->must_drain;
    }
    if (kernel_message_next(adit_buf_view(&p->in), &m, &len, &need, &err) != ADIT_OK) {
        adit_log(ADIT_LOG_WARN, "kernel_broke_protocol", LOG_ERR(&err));
        kernel_process_kill(p, "something other than the kernel wrote to its channel");
        adit_buf_consume(&p->in, p->in.len);
        close_source(&p->sources[CHANNEL]);
        return true;
    }
    if (len > 0) {
        --*budget;
        take_message(p, &m, len);
        return true;
    }
    measure_pipes(p);
    if (read_channel(p, need))
        return true;
    (void)drain_pipes(p, budget); /* what is left waits for the next turn */
    return false;
}

static void tell_end(struct kernel_process *p)
{
    p->end = END_TOLD;
    p->ops->on_end(p->owner, p->reason ? p->reason : p->status.text);
}

static void watch(struct kernel_process *p);

static void take_turn(struct kernel_process *p)
{
    unsigned budget = KERNEL_PROCESS_BUDGET;
    if (p->is_in_turn || p->is_closed)
        return;
    p->is_in_turn = true;
    bool more = true;
    while (more && budget > 0 && !is_stopped(p))
        more = step(p, &budget);
    if (!p->is_closed)
        p->ops->on_turn(p->owner);
    bool is_cut = budget == 0 && !is_stopped(p);
    if (is_cut)
        net_task_post(&p->turn);
    else if (p->end == END_REAPED && !is_stopped(p))
        tell_end(p);
    p->is_in_turn = false;
    if (p->is_closed || p->end == END_TOLD)
        release(p);
    else
        watch(p);
}

static void on_turn(struct net_task *t)
{
    take_turn(ADIT_CONTAINER_OF(t, struct kernel_process, turn));
}

static void on_readable(uv_poll_t *h, int status, int events)
{
    struct kernel_source *s = h->data;
    (void)status; /* an error shows in the read */
    (void)events;
    take_turn(s->process);
}

/* Have the loop tell of what comes, but not while nobody takes it. */
static void watch(struct kernel_process *p)
{
    if (p->end == END_NONE && p->sources[CHANNEL].fd < 0)
        kernel_process_kill(p, NULL); /* without its channel it is no kernel */
    for (int i = 0; i < SOURCES; i++) {
        struct kernel_source *s = &p->sources[i];
        bool is_wanted = s->fd >= 0 && !p->is_paused;
        if (is_wanted == s->is_reading)
            continue;
        if (is_wanted && uv_poll_start(&s->poll, UV_READABLE, on_readable) != 0)
            kernel_process_kill(p, "out of memory");
        if (!is_wanted && s->fd >= 0)
            (void)uv_poll_stop(&s->poll); /* cannot fail */
        s->is_reading = is_wanted;
    }
}

static void on_ended(struct process_child *c, int wait_status)
{
    struct kernel_process *p = ADIT_CONTAINER_OF(c, struct kernel_process, child);
    exit_status_of(wait_status, &p->status);
    p->end = END_REAPED;
    net_task_post(&p->turn);
}

/* ---- start ---- */

static int open_channel(int ends[2], struct adit_err *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return adit_err_sys(err, errno, "channel of a kernel");
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
        return ADIT_OK;
    int code = adit_err_sys(err, errno, "channel of a kernel");
    (void)close(ends[0]);
    (void)close(ends[1]);
    return code;
}

static int open_source(struct kernel_process *p, int which, int *fd, struct adit_err *err)
{
    struct kernel_source *s = &p->sources[which];
    int failed = uv_poll_init(p->envd->net.uv, &s->poll, *fd);
    if (failed)
        return adit_err_sys(err, -failed, "watch a kernel");
    s->poll.data = s;
    s->fd = adit_steal_fd(fd);
    p->open_handles++;
    return ADIT_OK;
}

/* Orders have a descriptor of their own: the loop watches one for reading and one for writing. */
static int open_orders(struct kernel_process *p, int channel_fd, struct adit_err *err)
{
    int fd = fcntl(channel_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return adit_err_sys(err, errno, "channel of a kernel");
    p->orders.fd = fd;
    return ADIT_OK;
}

static void prepare(struct kernel_process *p, struct envd *e)
{
    p->envd = e;
    p->open_handles = 1; /* the object itself, until release() */
    p->child.on_ended = on_ended;
    adit_list_init(&p->child.node);
    adit_buf_init(&p->in, KERNEL_MESSAGE_MAX + KERNEL_MESSAGE_HEAD_CAP + KERNEL_PROCESS_CHUNK);
    net_task_init(&p->turn, &e->net, on_turn);
    input_queue_init(&p->orders, e->net.uv, -1, on_orders_closed);
    for (int i = 0; i < SOURCES; i++) {
        p->sources[i].process = p;
        p->sources[i].fd = -1;
    }
}

/* The type of execve(2) says that words may be written to; nobody does. */
static void set_words(char **argv, const struct kernel_language *l)
{
    size_t argc = 0;
    memcpy(&argv[argc++], &l->command, sizeof *argv);
    for (const char *const *o = l->options; *o && argc < ARGC_MAX - 1; o++)
        memcpy(&argv[argc++], o, sizeof *argv);
    memcpy(&argv[argc], &l->boot, sizeof *argv);
}

static int spawn(struct kernel_process *p, const struct kernel_language *l, const char *cwd,
                 const struct user_entry *user, struct stdio_fds *fds, int channel_fd,
                 struct adit_err *err)
{
    struct env_block env;
    char *argv[SPAWN_ARGV_SPARE + ARGC_MAX + 1] = {NULL};
    set_words(argv + SPAWN_ARGV_SPARE, l);
    env_block_init(&env);
    int code = process_start_env(p->envd, user, &env, err);
    if (code == ADIT_OK)
        code = process_start_proxies(p->envd, &env, err);
    if (code == ADIT_OK) {
        struct spawn_request r = {
            .cmd = l->command,
            .argv_room = argv,
            .envp = env_block_vars(&env),
            .search_path = env_block_get(&env, "PATH"),
            .cwd = cwd,
            .user = user,
            .fds = {fds->child[0], fds->child[1], fds->child[2]},
            .channel_fd = channel_fd,
            .cgroup_fd = p->envd->processes->cgroups.dir_fds[CGROUP_USER],
            .nofile = &p->envd->processes->nofile,
        };
        code = spawn_start(&r, &p->child.pid, err);
    }
    env_block_fini(&env);
    return code;
}

static int send_source(struct kernel_process *p, const struct kernel_language *l,
                       struct adit_err *err)
{
    struct adit_buf frame;
    adit_buf_init(&frame, KERNEL_LANGUAGE_SOURCES_MAX *
                              (KERNEL_LANGUAGE_SOURCE_MAX + KERNEL_MESSAGE_HEAD_CAP));
    int code = kernel_language_put_source(l, &frame, err);
    if (code == ADIT_OK)
        code = kernel_process_send(p, adit_buf_view(&frame), err);
    adit_buf_fini(&frame);
    return code;
}

/* The rest, when the descriptors are there. @ends[0] is taken over. */
static int start_with(struct kernel_process *p, const struct kernel_language *l, const char *cwd,
                      struct stdio_fds *fds, int ends[2], struct adit_err *err)
{
    struct user_entry user;
    int code = envd_user(p->envd, adit_view_str("root"), &user, err);
    if (code == ADIT_OK)
        code = open_orders(p, ends[0], err);
    if (code == ADIT_OK)
        code = open_source(p, CHANNEL, &ends[0], err);
    if (code == ADIT_OK)
        code = open_source(p, PIPE_OUT, &fds->output[0], err);
    if (code == ADIT_OK)
        code = open_source(p, PIPE_ERR, &fds->output[1], err);
    if (code == ADIT_OK)
        code = spawn(p, l, cwd, &user, fds, ends[1], err);
    if (code != ADIT_OK)
        return code;
    process_table_add_child(p->envd->processes, &p->child);
    return send_source(p, l, err);
}

int kernel_process_start(struct envd *e, const struct kernel_language *l, const char *cwd,
                         struct kernel_process **out, struct adit_err *err)
{
    static const struct user_entry root = {.uid = 0};
    struct stdio_fds fds;
    int ends[2];
    struct kernel_process *p = calloc(1, sizeof *p);
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    prepare(p, e);
    int code = open_channel(ends, err);
    if (code == ADIT_OK) {
        code = stdio_fds_pipes(&root, false, &fds, err);
        if (code == ADIT_OK) {
            code = start_with(p, l, cwd, &fds, ends, err);
            stdio_fds_close(&fds);
        }
        if (ends[0] >= 0)
            (void)close(ends[0]);
        (void)close(ends[1]);
    }
    if (code != ADIT_OK) {
        kernel_process_close(p);
        return code;
    }
    net_task_post(&p->turn); /* begins to watch */
    *out = p;
    return ADIT_OK;
}

/* ---- use ---- */

void kernel_process_set_owner(struct kernel_process *p, const struct kernel_process_ops *ops,
                              void *owner)
{
    p->ops = ops;
    p->owner = owner;
}

int kernel_process_send(struct kernel_process *p, struct adit_view frames, struct adit_err *err)
{
    struct input_write *waiting;
    return input_queue_write(&p->orders, frames, &waiting, err);
}

void kernel_process_pause(struct kernel_process *p)
{
    p->is_paused = true;
}

void kernel_process_resume(struct kernel_process *p)
{
    if (!p->is_paused)
        return;
    p->is_paused = false;
    net_task_post(&p->turn);
}

void kernel_process_interrupt(struct kernel_process *p)
{
    if (p->end != END_NONE)
        return;
    send_plain(p, KERNEL_ORDER_INTERRUPT);
    (void)kill(-p->child.pid, SIGINT); /* it may be gone */
}
