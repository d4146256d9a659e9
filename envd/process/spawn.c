/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfork-like spawning.
 *
 * Theory of operation
 *
 * What:    clone3(CLONE_VM | CLONE_VFORK) with a stack of the child's own. The kernel copies no
 * page table, so the cost does not depend on how large envd is, and envd's thread sleeps until the
 * child has called exec or ended. Where clone3 is missing (old kernels, some sandboxes) clone(2)
 * does the same, and the child joins its cgroup itself.
 *
 *   parent: block all signals -> clone -> sleeps ....................... -> restore -> look at
 * result child:                        session, tty, fds, limits, identity, cwd, signals, exec
 *
 * Rules of the child: it shares memory with a process that has other threads. It makes system calls
 * and writes to its own stack and to struct child, nothing else: no malloc, no stdio, no locks,
 * none of glibc's set*id wrappers (they signal all threads). All signals stay blocked until their
 * handlers are reset, since a handler of envd must not run in the child. Order:   everything that
 * needs root (cgroup, oom score, groups) comes before the identity changes; chdir comes after it,
 * so that a directory the user may not enter is refused. Failure: before exec the child stores step
 * and errno, and the parent reports them. After a failed exec it speaks to its own stderr like a
 * shell. Limits:  memory is bounded by the request; SPAWN_PATH_CAP for a path tried.
 */
#include "envd/process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_BEST_EFFORT_4 ((2 << 13) | 4)
/* What a child says before exit 126 or 127 is cut here: a terminal takes it without blocking. */
#define COMPLAINT_CAP 512
#define EXIT_NOT_FOUND 127
#define CHANNEL_FD 3
#define EXIT_NOT_RUN 126

/* Signals that envd ignores or handles: children get the default back. */
static const int reset_signals[] = {SIGPIPE, SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, 0};

/* Shared by parent and child. @step and @sys_errno are the child's answer. */
struct child {
    const struct spawn_request *request;
    bool must_join_cgroup;
    const char *volatile step; /* NULL: exec was reached */
    volatile int sys_errno;
};

static bool is_me(const struct user_entry *user)
{
    return geteuid() != 0 && geteuid() == user->uid && getegid() == user->gid;
}

/* ---- the child ---- */

/* The address sanitizer takes a call that does not return for the end of the thread's own stack. */
#define ON_CHILD_STACK __attribute__((no_sanitize("address")))

ON_CHILD_STACK static _Noreturn void child_fail(struct child *c, const char *step)
{
    c->sys_errno = errno;
    c->step = step;
    _exit(EXIT_NOT_RUN);
}

/* Write a word into a file of the kernel's; what cannot be set is left as it is. */
static void child_put(int dir_fd, const char *path, const char *word)
{
    int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, word, strlen(word));
    (void)ignored;
    (void)close(fd); /* nothing depends on it */
}

ON_CHILD_STACK static void child_session(struct child *c)
{
    const struct spawn_request *r = c->request;
    if (syscall(SYS_setsid) < 0)
        child_fail(c, "setsid");
    for (int i = 0; i < 3; i++)
        if (syscall(SYS_dup3, r->fds[i], i, 0) < 0)
            child_fail(c, "dup");
    if (r->channel_fd == CHANNEL_FD && syscall(SYS_fcntl, CHANNEL_FD, F_SETFD, 0) < 0)
        child_fail(c, "keep channel");
    if (r->channel_fd > CHANNEL_FD && syscall(SYS_dup3, r->channel_fd, CHANNEL_FD, 0) < 0)
        child_fail(c, "dup channel");
    if (r->has_tty && syscall(SYS_ioctl, 0, TIOCSCTTY, 0) < 0)
        child_fail(c, "set controlling terminal");
}

static void child_limits(struct child *c)
{
    const struct spawn_request *r = c->request;
    if (c->must_join_cgroup && r->cgroup_fd >= 0)
        child_put(r->cgroup_fd, "cgroup.procs", "0");
    child_put(AT_FDCWD, "/proc/self/oom_score_adj", SPAWN_OOM_SCORE_ADJ);
    (void)syscall(SYS_setpriority, PRIO_PROCESS, 0, 0); /* best effort, as the two above */
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_BEST_EFFORT_4);
    if (r->nofile)
        (void)syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, r->nofile, NULL);
    (void)syscall(SYS_umask, 022);
    /* All of envd's descriptors are close-on-exec; this holds even if one day one is not. */
    (void)syscall(SYS_close_range, r->channel_fd ? CHANNEL_FD + 1u : 3u, ~0u, 0u);
}

ON_CHILD_STACK static void child_identity(struct child *c)
{
    const struct user_entry *u = c->request->user;
    if (!is_me(u)) {
        if (syscall(SYS_setgroups, u->group_cnt, u->groups) < 0)
            child_fail(c, "set groups");
        if (syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0)
            child_fail(c, "set group");
        if (syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
            child_fail(c, "set user");
    }
    if (syscall(SYS_chdir, c->request->cwd) < 0)
        child_fail(c, "chdir");
}

static void child_signals(void)
{
    for (const int *s = reset_signals; *s != 0; s++)
        (void)signal(*s, SIG_DFL); /* cannot fail for these */
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Returns only if the file cannot be run. */
static void child_exec(const struct spawn_request *r, char *path)
{
    char **argv = r->argv_room + SPAWN_ARGV_SPARE;
    (void)execve(path, argv, r->envp);
    if (errno != ENOEXEC)
        return;
    static char shell[] = "/bin/sh";
    char *script = argv[0];
    r->argv_room[0] = shell;
    argv[0] = path;
    (void)execve(shell, r->argv_room, r->envp);
    argv[0] = script;
    errno = ENOEXEC;
}

/* "dir/cmd" into @out. An empty dir is the current one. Return: false if it does not fit. */
static bool join_path(char *out, const char *dir, size_t dir_len, const char *cmd)
{
    size_t cmd_len = strlen(cmd);
    if (dir_len + cmd_len + 2 > SPAWN_PATH_CAP)
        return false;
    memcpy(out, dir, dir_len);
    if (dir_len > 0)
        out[dir_len++] = '/';
    memcpy(out + dir_len, cmd, cmd_len + 1);
    return true;
}

/* Try each directory of the search path, as execvp(3). Leaves the telling errno. */
static void child_search(const struct spawn_request *r, char *path)
{
    bool was_denied = false;
    const char *dir = r->search_path ? r->search_path : "";
    for (;;) {
        size_t dir_len = strcspn(dir, ":");
        if (join_path(path, dir, dir_len, r->cmd)) {
            child_exec(r, path);
            if (errno == EACCES)
                was_denied = true;
            else if (errno != ENOENT && errno != ENOTDIR)
                return;
        }
        if (dir[dir_len] == '\0')
            break;
        dir += dir_len + 1;
    }
    errno = was_denied ? EACCES : ENOENT;
}

ON_CHILD_STACK static _Noreturn void child_complain(const char *cmd)
{
    bool is_missing = errno == ENOENT || errno == ENOTDIR;
    const char *reason = is_missing ? "not found" : strerrordesc_np(errno);
    const char *words[] = {cmd, ": ", reason ? reason : "cannot be run", "\n"};
    char text[COMPLAINT_CAP];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t part = strnlen(words[i], COMPLAINT_CAP / 2);
        memcpy(text + len, words[i], part > sizeof text - len ? sizeof text - len : part);
        len += part > sizeof text - len ? sizeof text - len : part;
    }
    ssize_t ignored = write(STDERR_FILENO, text, len);
    (void)ignored; /* there is nobody else to tell */
    _exit(is_missing ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

ON_CHILD_STACK static int child_main(void *arg)
{
    struct child *c = arg;
    char path[SPAWN_PATH_CAP];
    child_session(c);
    child_limits(c);
    child_identity(c);
    child_signals();
    if (strchr(c->request->cmd, '/')) {
        size_t len = strnlen(c->request->cmd, sizeof path);
        errno = ENAMETOOLONG;
        if (len < sizeof path) {
            memcpy(path, c->request->cmd, len + 1);
            child_exec(c->request, path);
        }
    } else {
        child_search(c->request, path);
    }
    child_complain(c->request->cmd);
}

/* ---- the parent ---- */

/*
 * clone3(2), which glibc does not offer: the child must not return through a frame that it shares
 * with its parent, so it is sent into child_main from within the assembly.
 */
static long clone3_child(struct clone_args *args, struct child *c)
{
#if defined(__x86_64__)
    long ret;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movq %[arg], %%rdi\n\t"
                     "callq *%[fn]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(ret)
                     : "0"((long)SYS_clone3), "D"(args),
                       "S"(sizeof *args), [fn] "r"(child_main), [arg] "r"(c)
                     : "rcx", "r11", "memory");
    return ret;
#else
    (void)args;
    (void)c;
    return -ENOSYS;
#endif
}

static long clone_child(struct child *c, char *stack)
{
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK,
        .exit_signal = SIGCHLD,
        .stack = (uintptr_t)stack,
        .stack_size = SPAWN_STACK_SIZE,
    };
    if (c->request->cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)c->request->cgroup_fd;
    }
    long pid = clone3_child(&args, c);
    if (pid > 0 || pid == -EAGAIN || pid == -ENOMEM)
        return pid;
    c->must_join_cgroup = true;
    pid = clone(child_main, stack + SPAWN_STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, c);
    return pid < 0 ? -errno : pid;
}

/* The child failed before exec: it has ended, or is about to. */
static int child_error(const struct child *c, pid_t pid, struct adit_err *err)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (strcmp(c->step, "chdir") == 0)
        (void)adit_err_sys(err, c->sys_errno, "chdir '%s'", c->request->cwd);
    else
        (void)adit_err_sys(err, c->sys_errno, "%s", c->step);
    if (err)
        err->code = ADIT_ERR_BAD_INPUT;
    return ADIT_ERR_BAD_INPUT;
}

int spawn_start(const struct spawn_request *r, pid_t *pid, struct adit_err *err)
{
    struct child c = {.request = r};
    char *stack = mmap(NULL, SPAWN_STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return adit_err_sys(err, errno, "stack of the child");
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    long got = clone_child(&c, stack);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)munmap(stack, SPAWN_STACK_SIZE); /* nobody runs on it any more */
    if (got < 0)
        return adit_err_sys(err, (int)-got, "clone");
    if (c.step)
        return child_error(&c, (pid_t)got, err);
    *pid = (pid_t)got;
    return ADIT_OK;
}
