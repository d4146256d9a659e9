/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher process, and its keeper.
 *
 * Theory of operation
 *
 * What:    keeper ── forks ──> launcher ── forks ──> one worker a request.
 *          The keeper does nothing but start a launcher again when it dies: the broker, once
 * without privileges, could not. The launcher reads requests and starts workers; a worker does one
 *          request from top to bottom, answers on the socket itself, and exits. So nothing that can
 *          block or fail is in a process that others wait for, and a plain poll() loop is enough.
 * States:  of a job (one request):
 *
 *            FREE ──> WAITING ──> RUNNING ──exit 0──> FREE
 *                        another      └─died, or too late─> UNDOING ──> FREE, answered with an
 * error job has the sandbox
 *
 *          Requests for one sandbox run one after the other in the order of their arrival.
 * Reaping: the launcher is the subreaper of what workers leave behind, so it learns how a sandbox's
 *          first process ended and can tell (EXPLAIN). Sandboxes started by an earlier launcher are
 *          init's children: how they ended is not known then.
 * Limits:  LAUNCHER_JOBS_MAX requests at hand, WORKERS_PER_CPU of them in work; while all are in
 * use the socket is not read. Trust:   requests are hostile (launch_msg.h). The socket pair is the
 * only way in. Failure: when the broker's end closes, the launcher finishes what it has in hand and
 * exits; a worker that cannot answer undoes its container. A launcher that dies takes its workers
 * with it; what they had begun is removed by the DESTROY that the broker sends for it. A keeper
 * that dies takes the launcher with it, and the broker sees its socket closed. Signals: a
 * terminal's do not reach this session; the socket says when to end.
 */
#include "broker/launcher/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/log.h"
#include "broker/launcher/launch_container.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/launch_shepherd.h"
#include "broker/launcher/launch_vm.h"
#include "broker/launcher/launcher_profile.h"
#include "broker/launcher/runtime_version.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

#define SOCKET_FD 3
/* A launcher that dies again and again: this many times at once, then once a second. */
#define RESTART_BURST 5
/* How often to look for jobs that are late. */
#define TICK_MS 1000
/* Starting a container is computing, so more at once would only make all of them late. */
#define WORKERS_PER_CPU 2

enum job_state { JOB_FREE, JOB_WAITING, JOB_RUNNING, JOB_UNDOING };

/*
 * @worker:  RUNNING, UNDOING: its process
 * @due_ns:  when it is killed
 * @arrival: order among the jobs of one sandbox
 * @error:   UNDOING: what is answered in the end
 */
struct job {
    enum job_state state;
    pid_t worker;
    uint64_t due_ns, arrival;
    struct launch_request request;
    struct adit_err error;
};

struct ended {
    pid_t pid;
    int status;
};

struct launcher {
    struct launch_host host;
    int signal_fd;
    bool is_closing;
    size_t workers_max;
    uint64_t arrivals;
    struct job jobs[LAUNCHER_JOBS_MAX];
    struct ended ended[LAUNCHER_EXITS_MAX];
    size_t ended_next;
};

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Send one reply, with a descriptor if @fd is not -1. Return: false when the broker is gone. */
static bool send_reply(struct launch_reply *reply, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {reply, sizeof(*reply)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;

    reply->magic = LAUNCH_MAGIC;
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    do
        sent = sendmsg(SOCKET_FD, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof(*reply);
}

static bool answer(uint64_t id, const struct adit_err *err, const char *text)
{
    struct launch_reply reply = {.id = id};
    if (err) {
        reply.code = err->code;
        reply.sys_errno = err->sys_errno;
        text = err->msg;
    }
    (void)snprintf(reply.text, sizeof(reply.text), "%s", text);
    return send_reply(&reply, -1);
}

/* ---- workers -----------------------------------------------------------------------------------
 */

/* Return: the worker's exit status: 0 when the request was answered, or need not be any more. */
static int work(struct launcher *l, const struct launch_request *r)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct launch_reply reply = {.id = r->id};
    pid_t pid = 0;
    int pidfd = -1;

    if (r->kind == LAUNCH_PROBE) {
        int rc = launch_vm_probe(&l->host, r, &err);
        (void)answer(r->id, rc ? &err : NULL, ""); /* a broker that is gone asks no more */
        return 0;
    }
    if (r->kind == LAUNCH_DESTROY) {
        int rc = launch_sandbox_destroy(&l->host, r, &err);
        (void)answer(r->id, rc ? &err : NULL, ""); /* without a broker it is done all the same */
        return 0;
    }
    int rc = r->driver == LAUNCH_DRIVER_CONTAINER
                 ? launch_container_create(&l->host, r, &pid, &reply.pid_start, &pidfd, &err)
                 : launch_vm_create(&l->host, r, &pid, &reply.pid_start, &pidfd, &err);
    if (rc) {
        (void)answer(r->id, &err, ""); /* everything is undone: nobody has to know */
        return 0;
    }
    reply.pid = pid;
    return send_reply(&reply, pidfd) ? 0 : 1;
}

/* What a worker that was killed left. */
static int undo_request(struct launcher *l, const struct launch_request *r)
{
    if (r->kind == LAUNCH_PROBE)
        return launch_cgroup_remove(&l->host.cgroups, r->sandbox_id, NULL);
    return launch_sandbox_destroy(&l->host, r, NULL);
}

/* Start the worker of a job: for its request, or to undo it. */
static bool start_worker(struct launcher *l, struct job *job, bool is_undo)
{
    pid_t launcher = getpid();
    pid_t pid = _Fork();
    if (pid == 0) {
        sigset_t none;
        int status = 0;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);      /* always valid */
        (void)prctl(PR_SET_NAME, "adit-worker", 0, 0, 0); /* always valid */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);  /* always valid */
        if (getppid() != launcher)
            _exit(1);
        if (is_undo)
            status = undo_request(l, &job->request) ? 1 : 0;
        else
            status = work(l, &job->request);
        _exit(status);
    }
    job->worker = pid;
    job->due_ns = adit_clock_mono_ns() + LAUNCHER_JOB_MS * UINT64_C(1000000);
    job->state = is_undo ? JOB_UNDOING : JOB_RUNNING;
    return pid > 0;
}

static bool is_at_work(const struct job *j)
{
    return j->state == JOB_RUNNING || j->state == JOB_UNDOING;
}

static bool is_busy(const struct launcher *l, const char *sandbox_id)
{
    for (const struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++)
        if (is_at_work(j) && strcmp(j->request.sandbox_id, sandbox_id) == 0)
            return true;
    return false;
}

/* The oldest job that may start. An older one of the same sandbox that waits comes first by itself.
 */
static struct job *next_job(struct launcher *l)
{
    struct job *next = NULL;
    for (struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++)
        if (j->state == JOB_WAITING && (!next || j->arrival < next->arrival) &&
            !is_busy(l, j->request.sandbox_id))
            next = j;
    return next;
}

static size_t count_at_work(const struct launcher *l)
{
    size_t cnt = 0;
    for (const struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++)
        cnt += is_at_work(j);
    return cnt;
}

/* Start what may start. A job that cannot is answered. */
static void run_jobs(struct launcher *l)
{
    struct job *job;
    while (count_at_work(l) < l->workers_max && (job = next_job(l)) != NULL) {
        if (start_worker(l, job, false))
            continue;
        struct adit_err err;
        (void)adit_err_sys(&err, errno, "fork a worker");
        (void)answer(job->request.id, &err, ""); /* a broker that is gone asks no more */
        job->state = JOB_FREE;
    }
}

/* A worker ended without having answered: it was killed, is broken, or the broker is gone. */
static void undo(struct launcher *l, struct job *job, int status)
{
    if (job->error.code == 0)
        (void)adit_err_set(&job->error, ADIT_ERR_IO, "launcher's worker ended with status %d",
                           status);
    if (job->state == JOB_RUNNING && job->request.kind != LAUNCH_DESTROY &&
        start_worker(l, job, true))
        return;
    (void)answer(job->request.id, &job->error, ""); /* a broker that is gone asks no more */
    job->state = JOB_FREE;
}

static void on_child(struct launcher *l, pid_t pid, int status)
{
    for (struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++) {
        if (!is_at_work(j) || j->worker != pid)
            continue;
        if (j->state == JOB_RUNNING && status == 0)
            j->state = JOB_FREE;
        else
            undo(l, j, status);
        return;
    }
    l->ended[l->ended_next] = (struct ended){pid, status};
    l->ended_next = (l->ended_next + 1) % LAUNCHER_EXITS_MAX;
}

static void reap(struct launcher *l)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        ; /* it says only that something ended */
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        on_child(l, pid, status);
}

static void kill_late(struct launcher *l)
{
    uint64_t now = adit_clock_mono_ns();
    for (struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++) {
        if (!is_at_work(j) || now < j->due_ns)
            continue;
        (void)adit_err_set(&j->error, ADIT_ERR_TIMEOUT, "launcher's worker took too long");
        (void)kill(j->worker, SIGKILL); /* our child, not reaped yet */
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void explain(struct launcher *l, const struct launch_request *r)
{
    char text[64] = "ended";
    bool is_oom = launch_cgroup_oom_kills(&l->host.cgroups, r->sandbox_id) > 0;
    reap(l);
    for (size_t i = 0; i < LAUNCHER_EXITS_MAX; i++) {
        const struct ended *e =
            &l->ended[(l->ended_next + i) % LAUNCHER_EXITS_MAX]; /* old to new */
        if (e->pid != r->pid)
            continue;
        if (r->driver == LAUNCH_DRIVER_CONTAINER && WIFEXITED(e->status))
            (void)snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(e->status));
        else
            launch_shepherd_explain(e->status, is_oom, text, sizeof(text));
    }
    (void)answer(r->id, NULL, text); /* a broker that is gone asks no more */
}

static void adopt(const struct launch_request *r)
{
    struct launch_reply reply = {.id = r->id};
    struct adit_err err;
    int pidfd = -1;
    if (launch_sandbox_adopt(r, &pidfd, &err)) {
        (void)answer(r->id, &err, ""); /* a broker that is gone asks no more */
        return;
    }
    (void)send_reply(&reply, pidfd); /* as above */
    (void)close(pidfd);              /* the broker has its own */
}

static void measure(struct launcher *l, const struct launch_request *r)
{
    struct launch_reply reply = {.magic = LAUNCH_MAGIC, .id = r->id};
    struct adit_err err;
    if (launch_cgroup_measure(&l->host.cgroups, r->sandbox_id, &reply.usage, &err))
        (void)answer(r->id, &err, ""); /* a broker that is gone asks no more */
    else
        (void)send_reply(&reply, -1); /* as above */
}

static struct job *free_job(struct launcher *l)
{
    for (struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++)
        if (j->state == JOB_FREE)
            return j;
    return NULL;
}

/* @job is free. */
static void on_request(struct launcher *l, struct job *job, struct adit_view datagram)
{
    struct adit_err err;
    *job = (struct job){.arrival = l->arrivals++};
    if (launch_msg_parse_request(datagram, &job->request, &err)) {
        adit_log(ADIT_LOG_WARN, "launcher_refused", LOG_ERR(&err));
        if (job->request.id)
            (void)answer(job->request.id, &err, ""); /* a broker that is gone asks no more */
    } else if (job->request.kind == LAUNCH_PING) {
        (void)answer(job->request.id, NULL, ""); /* as above */
    } else if (job->request.kind == LAUNCH_EXPLAIN) {
        explain(l, &job->request);
    } else if (job->request.kind == LAUNCH_ADOPT) {
        adopt(&job->request);
    } else if (job->request.kind == LAUNCH_MEASURE) {
        measure(l, &job->request);
    } else {
        job->state = JOB_WAITING;
    }
}

static void read_requests(struct launcher *l)
{
    struct launch_request datagram;
    struct job *job;
    while ((job = free_job(l)) != NULL) {
        /* MSG_TRUNC: the true length, so that a longer one is refused and not cut. */
        ssize_t n = recv(SOCKET_FD, &datagram, sizeof(datagram), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            l->is_closing = true;
            return;
        }
        on_request(l, job, adit_view_mem(&datagram, (size_t)n));
    }
}

static bool has_jobs(const struct launcher *l)
{
    for (const struct job *j = l->jobs; j < l->jobs + LAUNCHER_JOBS_MAX; j++)
        if (j->state != JOB_FREE)
            return true;
    return false;
}

static void loop(struct launcher *l)
{
    while (!l->is_closing || has_jobs(l)) {
        bool can_read = !l->is_closing && free_job(l);
        struct pollfd fds[] = {
            {l->signal_fd, POLLIN, 0},
            {can_read ? SOCKET_FD : -1, POLLIN, 0},
        };
        (void)poll(fds, 2, has_jobs(l) ? TICK_MS : -1); /* interrupted: look again */
        if (fds[0].revents)
            reap(l);
        if (fds[1].revents)
            read_requests(l);
        kill_late(l);
        run_jobs(l);
    }
}

/* ---- processes ---------------------------------------------------------------------------------
 */

static _Noreturn void run_launcher(const struct launch_host *host, pid_t keeper)
{
    struct launcher *l = calloc(1, sizeof(*l));
    struct launch_reply hello = {.id = 0, .pid = getpid()};
    sigset_t child;

    (void)prctl(PR_SET_NAME, "adit-launcher", 0, 0, 0); /* always valid */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);    /* always valid */
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    if (!l || getppid() != keeper || sigprocmask(SIG_BLOCK, &child, NULL) ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        _exit(1);
    l->host = *host;
    l->workers_max = (size_t)sysconf(_SC_NPROCESSORS_ONLN) * WORKERS_PER_CPU;
    l->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signal_fd < 0)
        _exit(1);
    if (!send_reply(&hello, -1))
        _exit(errno == EPIPE ? 0 : 1); /* the broker ended before we began */
    loop(l);
    _exit(0);
}

/* Only the socket, the standard streams and what launch_host needs stay open. */
static int isolate(int socket_fd, struct adit_err *err)
{
    if (socket_fd != SOCKET_FD && dup3(socket_fd, SOCKET_FD, O_CLOEXEC) < 0)
        return adit_err_sys(err, errno, "dup3");
    if (syscall(SYS_close_range, SOCKET_FD + 1, ~0U, 0))
        return adit_err_sys(err, errno, "close_range");
    /* setsid() fails only for a leader of a process group, which a forked child is not. */
    (void)setsid();
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);   /* refused for the two that cannot be changed */
    (void)signal(SIGPIPE, SIG_IGN); /* always valid */
    (void)signal(SIGHUP, SIG_IGN);  /* the broker's affair */
    return chdir("/") ? adit_err_sys(err, errno, "chdir /") : 0;
}

static _Noreturn void run_keeper(const struct launcher_conf *conf, int socket_fd)
{
    struct launch_host host;
    struct adit_limit restarts;
    struct adit_err err;
    int status;

    (void)prctl(PR_SET_NAME, "adit-keeper", 0, 0, 0); /* always valid */
    if (isolate(socket_fd, &err) || launch_host_open(&host, conf, true, &err) ||
        launcher_profile_enter(&err)) {
        adit_log(ADIT_LOG_ERROR, "launcher_failed", LOG_ERR(&err));
        _exit(1);
    }
    adit_limit_init(&restarts, RESTART_BURST, 1, adit_clock_mono_ns());
    for (;;) {
        pid_t keeper = getpid();
        pid_t pid = _Fork();
        if (pid == 0)
            run_launcher(&host, keeper);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            _exit(1);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            _exit(0);
        adit_log(ADIT_LOG_ERROR, "launcher_died", LOG_D("status", status));
        if (!adit_limit_take(&restarts, adit_clock_mono_ns()))
            _exit(1);
    }
}

int launcher_start(const struct launcher_conf *conf, int *out_fd, pid_t *out_pid,
                   struct adit_err *err)
{
    struct launch_host probe;
    int ends[2];

    if (geteuid() != 0)
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "containers need root for mounts, user ids and control groups");
    int rc = launch_host_open(&probe, conf, false, err);
    if (rc)
        return rc;
    launch_host_close(&probe);
    runtime_version_check(conf->runtime);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return adit_err_sys(err, errno, "socket pair");
    pid_t pid = _Fork();
    if (pid == 0)
        run_keeper(conf, ends[1]);
    (void)close(ends[1]); /* the keeper has it */
    if (pid < 0) {
        rc = adit_err_sys(err, errno, "fork");
        (void)close(ends[0]); /* nothing was sent */
        return rc;
    }
    *out_fd = ends[0];
    *out_pid = pid;
    return 0;
}
