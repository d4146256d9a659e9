/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Supervision of the broker's own scheduler.
 *
 * Theory of operation
 *
 * What: a process of its own, because starting a program as another user takes privileges that the
 * broker gives up. The scheduler is started as root and gives them up itself.
 * States: RUNNING ── it ends ──> WAITING ── back-off over ──> RUNNING; when the broker's end of the
 * socket pair closes: ENDING, until the scheduler has ended. The back-off doubles from 100 ms to
 * 5 s and begins anew after a steady run.
 * Socket: made anew for each scheduler, by the broker's user and in the broker's directory, so that
 * a call while none runs is refused at once, and so that nothing planted in that directory is
 * touched with root's rights. The scheduler inherits it as descriptor 4, and as descriptor 3 the
 * read end of a pipe that ends with this process: there are never two on one store for long.
 * Trust: what comes from the socket pair is one letter or the end. Failure: a keeper that dies
 * takes its scheduler with it, and the broker sees the closed socket.
 */
#include "broker/scheduler_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"

#define SOCKET_FD 3
/* In the scheduler. */
#define PARENT_FD 3
#define LISTEN_FD 4
#define NS_PER_MS UINT64_C(1000000)

/* Become the scheduler's user, make its root, hand over its files, and end it. */
#define KEPT_CAPS                                                                                  \
    (UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID | UINT64_C(1) << CAP_SETPCAP |          \
     UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE |   \
     UINT64_C(1) << CAP_FOWNER | UINT64_C(1) << CAP_KILL)

/*
 * @lifeline: a pipe: read end (given to each scheduler) and write end (ours)
 * @pid, @pidfd: of the scheduler that runs; 0, -1: none
 * @due_ns: WAITING: when to start; ENDING: when to kill
 */
struct keeper {
    const struct scheduler_keeper_conf *conf;
    int lifeline[2], pidfd;
    pid_t pid;
    uint64_t backoff_ms, started_ns, due_ns;
    bool is_ending;
};

/* ---- starting ---- */

/* The socket belongs to the broker's user, who alone may connect, from its first moment on. Made in
 * the working directory: that user need not be able to come there from the root. */
static int listen_as_client(const struct keeper *k, int *fd, struct adit_err *err)
{
    mode_t was = umask(0177);
    (void)setfsgid(k->conf->client.gid); /* cannot fail: we have the capabilities */
    (void)setfsuid(k->conf->client.uid);
    int rc = listener_socket("unix:" SCHEDULER_KEEPER_SOCKET, fd, err);
    (void)setfsuid(0);
    (void)setfsgid(0);
    (void)umask(was);
    return rc;
}

/* In the child: descriptors 0 to 4 and nothing else. */
static _Noreturn void exec_scheduler(const struct keeper *k, int listen_fd)
{
    char data_dir[PATH_MAX], program[PATH_MAX], level[16];
    char flags[][14] = {"--listen", "--data-dir", "--parent-fd", "--log-level", "--log-json"};
    char address[] = "fd:4", parent[] = "3";
    char *args[] = {program,  flags[0], address,  flags[1], data_dir,
                    flags[2], parent,   flags[3], level,    k->conf->log_json ? flags[4] : NULL,
                    NULL};
    (void)snprintf(data_dir, sizeof(data_dir), "%s/scheduler", k->conf->state_dir);
    (void)snprintf(program, sizeof(program), "%s", k->conf->program);
    (void)snprintf(level, sizeof(level), "%s", k->conf->log_level);
    /* Above both numbers first, so that neither overwrites the other. */
    int parent_fd = fcntl(k->lifeline[0], F_DUPFD, LISTEN_FD + 1);
    listen_fd = fcntl(listen_fd, F_DUPFD, LISTEN_FD + 1);
    if (parent_fd >= 0 && listen_fd >= 0 && chdir("/") == 0 &&
        dup2(parent_fd, PARENT_FD) == PARENT_FD && dup2(listen_fd, LISTEN_FD) == LISTEN_FD &&
        dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 &&
        syscall(SYS_close_range, LISTEN_FD + 1, ~0U, 0) == 0)
        (void)execv(program, args);
    adit_log(ADIT_LOG_ERROR, "scheduler_not_started", LOG_S("program", program),
             LOG_S("error", strerror(errno)));
    _exit(127);
}

static int spawn(struct keeper *k, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int listen_fd = -1;
    int rc = listen_as_client(k, &listen_fd, err);
    if (rc)
        return rc;
    pid_t pid = _Fork();
    if (pid == 0)
        exec_scheduler(k, listen_fd);
    if (pid < 0)
        return adit_err_sys(err, errno, "fork");
    k->pid = pid;
    k->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (k->pidfd < 0) {
        rc = adit_err_sys(err, errno, "watch the scheduler");
        (void)kill(pid, SIGKILL);    /* our child, not reaped yet */
        (void)waitpid(pid, NULL, 0); /* as above */
        k->pid = 0;
        return rc;
    }
    adit_log(ADIT_LOG_INFO, "scheduler_started", LOG_D("pid", pid));
    return 0;
}

static void start_later(struct keeper *k)
{
    uint64_t now = adit_clock_mono_ns();
    if (now - k->started_ns >= SCHEDULER_KEEPER_STEADY_MS * NS_PER_MS)
        k->backoff_ms = SCHEDULER_KEEPER_BACKOFF_MIN_MS;
    k->due_ns = now + k->backoff_ms * NS_PER_MS;
    k->backoff_ms *= 2;
    if (k->backoff_ms > SCHEDULER_KEEPER_BACKOFF_MAX_MS)
        k->backoff_ms = SCHEDULER_KEEPER_BACKOFF_MAX_MS;
}

static void start(struct keeper *k)
{
    struct adit_err err = ADIT_ERR_INIT;
    k->started_ns = adit_clock_mono_ns();
    if (spawn(k, &err) == 0)
        return;
    adit_log(ADIT_LOG_ERROR, "scheduler_not_started", LOG_ERR(&err));
    start_later(k);
}

/* ---- what happens ---- */

static void on_ended(struct keeper *k)
{
    int status = 0;
    (void)waitpid(k->pid, &status, 0); /* cannot fail: our child */
    (void)close(k->pidfd);             /* nothing to lose */
    adit_log(k->is_ending ? ADIT_LOG_INFO : ADIT_LOG_WARN, "scheduler_ended",
             LOG_D("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
             LOG_D("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    k->pid = 0;
    k->pidfd = -1;
    start_later(k);
}

static void on_socket(struct keeper *k)
{
    char letter = 0;
    ssize_t n = recv(SOCKET_FD, &letter, 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 1 && letter == SCHEDULER_KEEPER_KICK && k->pid) {
        adit_log(ADIT_LOG_WARN, "scheduler_kicked", LOG_D("pid", k->pid));
        (void)kill(k->pid, SIGKILL); /* our child, not reaped yet */
    }
    if (n == 1)
        return;
    k->is_ending = true;
    k->due_ns = adit_clock_mono_ns() + SCHEDULER_KEEPER_STOP_MS * NS_PER_MS;
    if (k->pid)
        (void)kill(k->pid, SIGTERM); /* as above */
}

static int wait_ms(const struct keeper *k)
{
    uint64_t now = adit_clock_mono_ns();
    if (k->pid && !k->is_ending)
        return -1;
    return now < k->due_ns ? (int)((k->due_ns - now) / NS_PER_MS) + 1 : 0;
}

static void on_due(struct keeper *k)
{
    if (!k->is_ending) {
        start(k);
        return;
    }
    (void)kill(k->pid, SIGKILL); /* our child, not reaped yet */
    k->due_ns += SCHEDULER_KEEPER_STOP_MS * NS_PER_MS;
}

static void loop(struct keeper *k)
{
    start(k);
    while (k->pid || !k->is_ending) {
        struct pollfd fds[] = {
            {k->is_ending ? -1 : SOCKET_FD, POLLIN, 0},
            {k->pidfd, POLLIN, 0},
        };
        int n = poll(fds, 2, wait_ms(k));
        if (n > 0 && fds[1].revents)
            on_ended(k);
        if (n > 0 && fds[0].revents)
            on_socket(k);
        if (n == 0)
            on_due(k);
    }
}

/* ---- the process ---- */

/* The standard streams and the socket stay open. */
static int isolate(const struct scheduler_keeper_conf *conf, int socket_fd, struct adit_err *err)
{
    if (socket_fd != SOCKET_FD && dup3(socket_fd, SOCKET_FD, O_CLOEXEC) < 0)
        return adit_err_sys(err, errno, "dup3");
    if (syscall(SYS_close_range, SOCKET_FD + 1, ~0U, 0))
        return adit_err_sys(err, errno, "close_range");
    (void)setsid(); /* a terminal's Ctrl-C is for the broker alone */
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);   /* refused for the two that cannot be changed */
    (void)signal(SIGPIPE, SIG_IGN); /* always valid */
    if (chdir(conf->state_dir))
        return adit_err_sys(err, errno, "enter %s", conf->state_dir);
    return confine_keep_caps(KEPT_CAPS, err);
}

static _Noreturn void run(const struct scheduler_keeper_conf *conf, int socket_fd)
{
    struct keeper k = {.conf = conf, .pidfd = -1, .backoff_ms = SCHEDULER_KEEPER_BACKOFF_MIN_MS};
    struct adit_err err;
    (void)prctl(PR_SET_NAME, "adit-supervisor", 0, 0, 0); /* always valid */
    if (isolate(conf, socket_fd, &err) || pipe2(k.lifeline, O_CLOEXEC)) {
        adit_log(ADIT_LOG_ERROR, "scheduler_not_started", LOG_D("errno", errno));
        _exit(1);
    }
    loop(&k);
    _exit(0);
}

int scheduler_keeper_start(const struct scheduler_keeper_conf *conf, int *out_fd,
                           struct adit_err *err)
{
    int ends[2], rc = 0;
    if (access(conf->program, X_OK))
        return adit_err_sys(err, errno, "the scheduler %s", conf->program);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
        return adit_err_sys(err, errno, "socket pair");
    pid_t pid = _Fork();
    if (pid == 0)
        run(conf, ends[1]);
    if (pid < 0)
        rc = adit_err_sys(err, errno, "fork");
    (void)close(ends[1]); /* the keeper has it */
    if (rc)
        (void)close(ends[0]); /* nothing was sent */
    else
        *out_fd = ends[0];
    return rc;
}
