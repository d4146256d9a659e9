/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of a virtual machine's sandbox.
 *
 * Theory of operation
 *
 * What:    worker ── forks ──> shepherd, PID 1 of new namespaces ── forks ──> vsock device, monitor
 *          It does nothing but wait. When one of the two ends it ends as well, its exit status
 *          tells which one and how, and the kernel kills the other: a sandbox is whole or gone.
 *          The launcher and the broker may die meanwhile: nothing here depends on them.
 * Order:   the group is joined before anything else, under a signal at the worker's death; from
 *          then on whoever removes the group ends everything. Mounts are made with privileges,
 *          which each process gives up before it executes or waits.
 * Apart:   the two have users and roots of their own, so neither can look into the other or signal
 *          it. Pid, network (not even its loopback is up), ipc and uts namespaces are the
 * sandbox's. Roots:   read-only and of what the tables say; /dev is a tmpfs of ours with a null
 * device, random bytes and, with KVM, a node of it that belongs to the monitor's user: no group of
 * the host is needed. Reports: one pipe; who fails before it executes or waits writes its error,
 * and the end of the pipe says that all did. Status:  7 bits of how, 1 of who; see encode().
 */
#include "broker/launcher/launch_shepherd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
/* A virtual machine goes before what the host itself needs when the host's memory runs out. */
#define OOM_SCORE "500"

/* The shepherd's exit status: one bit for who, and below exit statuses up to 95, then signals. */
#define STATUS_DEVICE 0x80
#define STATUS_SIGNAL 0x60
#define STATUS_EXIT_MAX 0x5f
#define SIGNAL_MAX 31
/* vsock-device's own when it was told what no driver says. */
#define STATUS_PROTOCOL 76

/* ---- how it ended ------------------------------------------------------------------------------
 */

static int encode(int status, bool is_device)
{
    int value, who = is_device ? STATUS_DEVICE : 0;
    if (WIFSIGNALED(status)) {
        value = WTERMSIG(status);
        return who | (STATUS_SIGNAL + (value < SIGNAL_MAX ? value : SIGNAL_MAX));
    }
    value = WEXITSTATUS(status);
    return who | (value < STATUS_EXIT_MAX ? value : STATUS_EXIT_MAX);
}

static void say_signal(const char *who, int number, bool is_oom, char *text, size_t cap)
{
    if (number == SIGKILL && is_oom)
        (void)snprintf(text, cap, "out of memory");
    else if (number == SIGKILL)
        (void)snprintf(text, cap, "%ssignal: killed", who);
    else
        (void)snprintf(text, cap, "%ssignal: %d", who, number);
}

void launch_shepherd_explain(int status, bool is_oom, char *text, size_t cap)
{
    int value = WEXITSTATUS(status) & ~STATUS_DEVICE;
    bool is_device = WEXITSTATUS(status) & STATUS_DEVICE;
    const char *who = is_device ? "vsock-device: " : "the VMM: ";
    if (WIFSIGNALED(status))
        say_signal("", WTERMSIG(status), is_oom, text, cap);
    else if (value > STATUS_SIGNAL)
        say_signal(who, value - STATUS_SIGNAL, is_oom, text, cap);
    else if (is_device && value == STATUS_PROTOCOL)
        (void)snprintf(text, cap, "%sthe protocol was broken", who);
    else if (value == 0 && !is_device)
        (void)snprintf(text, cap, "the guest left");
    else
        (void)snprintf(text, cap, "%sexit status %d", who, value);
}

/* ---- processes ---------------------------------------------------------------------------------
 */

/* What a process of the sandbox knows of the others. */
struct shepherd {
    const struct launch_shepherd_flock *flock;
    int report_fd, null_fd;
};

static _Noreturn void fail(const struct shepherd *s, const struct adit_err *err)
{
    _exit(write(s->report_fd, err, sizeof(*err)) == (ssize_t)sizeof(*err) ? 1 : 2);
}

static int limit_process(uint64_t file_max, struct adit_err *err)
{
    static const char score[] = OOM_SCORE;
    const struct rlimit files = {LAUNCH_SHEPHERD_FILES_MAX, LAUNCH_SHEPHERD_FILES_MAX};
    const struct rlimit bytes = {file_max, file_max};
    ADIT_CLEANUP_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, score, sizeof(score) - 1) < 0)
        return adit_err_sys(err, errno, "set the order of killing");
    if (setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_FSIZE, &bytes))
        return adit_err_sys(err, errno, "set limits");
    return 0;
}

/* Nothing but what it keeps is inherited. All descriptors are above the first three. What
 * sanitizers find in the device must be seen. */
static int hand_over(const struct shepherd *s, const struct launch_shepherd_child *c,
                     struct adit_err *err)
{
    bool is_heard = CONFINE_IS_SANITIZED && c == &s->flock->device;
    if (dup2(s->null_fd, 0) < 0 || dup2(s->flock->console_fd, 1) < 0 ||
        (!is_heard && dup2(s->flock->console_fd, 2) < 0) ||
        syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC))
        return adit_err_sys(err, errno, "hand over descriptors");
    for (size_t i = 0; i < c->keep_cnt; i++)
        if (fcntl(c->keep[i], F_SETFD, 0))
            return adit_err_sys(err, errno, "hand over descriptor %d", c->keep[i]);
    return 0;
}

static _Noreturn void run_child(const struct shepherd *s, const struct launch_shepherd_child *c)
{
    char *envp[] = {NULL};
    struct adit_err err;
    int rc = limit_process(s->flock->file_max, &err);
    if (!rc)
        rc = confine_root(c->mounts, c->mount_cnt, &err);
    if (!rc)
        rc = confine_become(&c->user, &err);
    if (!rc && s->flock->makes_sockets)
        rc = confine_deny_symlinks(&err);
    if (!rc)
        rc = hand_over(s, c, &err);
    if (!rc) {
        (void)syscall(SYS_execveat, c->program_fd, "", c->argv, envp, AT_EMPTY_PATH);
        (void)adit_err_sys(&err, errno, "execute %s", c->argv[0]);
    }
    fail(s, &err);
}

/* The mount namespace is made with it: later, this one's root is another. */
static pid_t fork_child(const struct shepherd *s, const struct launch_shepherd_child *c)
{
    struct adit_err err;
    if (!c->argv)
        return 0;
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        run_child(s, c);
    if (pid < 0) {
        (void)adit_err_sys(&err, errno, "fork");
        fail(s, &err);
    }
    return pid;
}

/* A /dev for the sandbox, in this mount namespace. */
static int make_dev(const struct launch_shepherd_flock *f, int *null_fd, struct adit_err *err)
{
    struct stat kvm = {0};
    if (f->has_kvm && stat("/dev/kvm", &kvm))
        return adit_err_sys(err, errno, "/dev/kvm");
    (void)umask(0);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("dev", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=8") ||
        mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) ||
        mknod("/dev/urandom", S_IFCHR | 0444, makedev(1, 9)))
        return adit_err_sys(err, errno, "make devices");
    if (f->has_kvm && (mknod("/dev/kvm", S_IFCHR | 0600, kvm.st_rdev) ||
                       chown("/dev/kvm", f->vmm.user.uid, f->vmm.user.gid)))
        return adit_err_sys(err, errno, "make /dev/kvm");
    (void)umask(f->makes_sockets ? 0 : 077);
    *null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return *null_fd < 0 ? adit_err_sys(err, errno, "open /dev/null") : 0;
}

/* ---- the shepherd ------------------------------------------------------------------------------
 */

/* The worker waits for this, so it is there to be watched. */
static int join(const struct shepherd *s, int alive_fd, struct adit_err *err)
{
    struct pollfd worker = {alive_fd, POLLIN, 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);    /* always valid */
    (void)prctl(PR_SET_NAME, "adit-shepherd", 0, 0, 0); /* always valid */
    if (poll(&worker, 1, 0) != 0)
        _exit(1); /* it was killed before, and what it made is being removed */
    int rc = launch_cgroup_join(s->flock->cgroups, s->flock->sandbox_id, err);
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* always valid */
    return rc;
}

static void default_signals(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);                /* refused for the two that cannot be changed */
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* always valid */
    (void)setsid();                              /* a fork leads no group yet */
}

static int confine_self(const struct shepherd *s, struct adit_err *err)
{
    static const char *const calls[] = {"close_range", "exit_group", "pidfd_open",   "poll",
                                        "ppoll",       "wait4",      "rt_sigreturn", NULL};
    const struct confine_profile filter = {.mode = CONFINE_ENFORCE, .calls = calls};
    const struct confine_mount none[1] = {{.path = NULL}};
    for (int fd = 0; fd < 3; fd++)
        if (dup2(s->null_fd, fd) < 0)
            return adit_err_sys(err, errno, "close the console");
    int rc = confine_root(none, 0, err);
    if (!rc)
        rc = confine_become(&s->flock->user, err);
    return rc ? rc : confine_filter(&filter, err);
}

/* Its end closes what the device lives by, and may be seen later than the device's. */
static bool ends_soon(pid_t pid, int *status)
{
    struct pollfd gone = {(int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0};
    return gone.fd >= 0 && poll(&gone, 1, LAUNCH_SHEPHERD_GRACE_MS) == 1 &&
           waitpid(pid, status, WNOHANG) == pid;
}

static _Noreturn void watch(pid_t vmm, pid_t device)
{
    int status;
    for (;;) {
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno != EINTR)
            _exit(STATUS_EXIT_MAX);
        if (pid == vmm)
            _exit(encode(status, false));
        if (pid > 0 && pid == device) {
            int of_vmm;
            if (status == 0 && ends_soon(vmm, &of_vmm))
                _exit(encode(of_vmm, false));
            _exit(encode(status, true));
        }
    }
}

static _Noreturn void run_shepherd(const struct launch_shepherd_flock *f, int report_fd,
                                   int alive_fd)
{
    struct shepherd s = {f, report_fd, -1};
    struct adit_err err = ADIT_ERR_INIT;
    int rc = join(&s, alive_fd, &err);
    if (!rc && write(report_fd, &err, sizeof(err)) != (ssize_t)sizeof(err))
        _exit(1); /* nobody is there any more */
    default_signals();
    if (!rc)
        rc = make_dev(f, &s.null_fd, &err);
    if (rc)
        fail(&s, &err);
    pid_t device = fork_child(&s, &f->device);
    pid_t vmm = fork_child(&s, &f->vmm);
    if (confine_self(&s, &err))
        fail(&s, &err);
    (void)syscall(SYS_close_range, 3, ~0U, 0); /* also the pipe: its end is the report */
    watch(vmm, device);
}

/* ---- the worker's side -------------------------------------------------------------------------
 */

/* Return: 0 for the end of the pipe, 1 for a message that is no error. */
static int read_report(int fd, uint64_t deadline_ns, struct adit_err *err)
{
    struct adit_err report;
    struct pollfd ready = {fd, POLLIN, 0};
    uint64_t now = adit_clock_mono_ns();
    int wait_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000) + 1 : 0;
    if (poll(&ready, 1, wait_ms) != 1)
        return adit_err_set(err, ADIT_ERR_TIMEOUT, "the virtual machine takes too long to start");
    ssize_t n = read(fd, &report, sizeof(report));
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(report))
        return adit_err_set(err, ADIT_ERR_BUG, "malformed report of the shepherd");
    if (report.code == 0)
        return 1;
    if (err)
        *err = report;
    return report.code;
}

static int wait_started(int fd, struct adit_err *err)
{
    uint64_t deadline_ns = adit_clock_mono_ns() + LAUNCH_SHEPHERD_START_MS * UINT64_C(1000000);
    bool has_joined = false;
    for (;;) {
        int rc = read_report(fd, deadline_ns, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return has_joined ? 0 : adit_err_set(err, ADIT_ERR_IO, "the shepherd ended");
        has_joined = true;
    }
}

int launch_shepherd_start(const struct launch_shepherd_flock *f, pid_t *pid, struct adit_err *err)
{
    int report[2], alive[2];
    if (pipe2(report, O_CLOEXEC))
        return adit_err_sys(err, errno, "pipe");
    ADIT_CLEANUP_CLOSE int report_fd = report[0];
    ADIT_CLEANUP_CLOSE int report_end = report[1];
    if (pipe2(alive, O_CLOEXEC))
        return adit_err_sys(err, errno, "pipe");
    ADIT_CLEANUP_CLOSE int alive_fd = alive[0];
    ADIT_CLEANUP_CLOSE int alive_end = alive[1];
    pid_t child = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return adit_err_sys(err, errno, "make namespaces");
    if (child == 0) {
        (void)close(adit_steal_fd(&alive_end)); /* or it would see itself */
        run_shepherd(f, report_end, alive_fd);
    }
    (void)close(adit_steal_fd(&report_end)); /* the child's */
    *pid = child;
    return wait_started(report_fd, err);
}
