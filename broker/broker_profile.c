/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker may do once it serves.
 *
 * Theory of operation
 *
 * What: of the file system it keeps its state directory, the templates (to read), and what the
 * configuration names beside them: each has a line below. TCP connections it makes for its
 * sandboxes (broker/egress/), so to any port, unless the operator has turned that off; then the
 * scheduler's alone. What needs more is asked of the launcher or of the scheduler's keeper. System
 * calls: the list below, measured under the whole test suite; tests/e2e/test_privileges.py compares
 * it with what a run makes, both ways. When a library comes to need another one, the log says
 * "system call refused" with its number, and --seccomp log lets the broker run on.
 */
#include "broker/broker_profile.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* State, templates, our own figures, the scheduler's socket, certificate and key with what they are
 * links to. */
#define MOUNTS_MAX 8

static const char *const calls[] = {
    /* memory and threads */
    "brk", "madvise", "mmap", "mprotect", "mremap", "munmap", "exit", "exit_group", "futex",
    "gettid", "membarrier", "rseq", "sched_getaffinity", "sched_yield", "set_robust_list",
    /* signals, and ourselves */
    "getpid", "getrandom", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sigaltstack", "tgkill",
    /* time */
    "clock_gettime", "clock_nanosleep", "gettimeofday",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "poll", "pipe2",
    /* descriptors */
    "close", "fcntl", "ioctl", "pread64", "pwrite64", "read", "readv", "splice", "write", "writev",
    /* files: records, logs, templates, client.env */
    "access", "fchmod", "fdatasync", "fstat", "fsync", "ftruncate", "getdents64", "lseek", "mkdir",
    "mkdirat", "newfstatat", "openat", "openat2", "renameat", "statfs", "statx", "unlink",
    "unlinkat",
    /* sockets; socket(2) itself by family */
    "accept4", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmsg",
    "sendmsg", "sendto", "setsockopt", "shutdown", "sysinfo", "getrusage", NULL};

/* Channels, the scheduler. Clients come by sockets that are open. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6};

struct places {
    char folders[MOUNTS_MAX][PATH_MAX];
    struct confine_mount mounts[MOUNTS_MAX];
    size_t cnt;
};

static bool is_within(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The folder of a file, so that a file that is replaced there later is seen. */
static void add_folder(struct places *p, const char *state_dir, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = p->folders[p->cnt];
    (void)snprintf(folder, PATH_MAX, "%.*s", slash ? (int)(slash - file) : 0, file);
    if (!is_within(folder, state_dir)) /* else it can be reached already */
        p->mounts[p->cnt++] = (struct confine_mount){.path = folder};
}

/* A certificate is often a link to a file in a folder beside it. */
static void add_linked(struct places *p, const char *state_dir, const char *file)
{
    char target[PATH_MAX];
    if (!file[0])
        return;
    add_folder(p, state_dir, file);
    if (realpath(file, target))
        add_folder(p, state_dir, target);
}

static int by_length(const void *a, const void *b)
{
    size_t left = strlen(((const struct confine_mount *)a)->path);
    size_t right = strlen(((const struct confine_mount *)b)->path);
    return (left > right) - (left < right);
}

static void collect(struct places *p, const struct broker_conf *c)
{
    p->mounts[p->cnt++] = (struct confine_mount){.path = c->state_dir, .is_writable = true};
    p->mounts[p->cnt++] = (struct confine_mount){.path = c->templates_dir};
    p->mounts[p->cnt++] = (struct confine_mount){.path = CONFINE_OWN_PROCESS};
    if (strncmp(c->scheduler, "unix:/", 6) == 0)
        add_folder(p, c->state_dir, c->scheduler + 5);
    add_linked(p, c->state_dir, c->tls_cert);
    add_linked(p, c->state_dir, c->tls_key);
    /* What lies in another one comes after it. */
    qsort(p->mounts, p->cnt, sizeof(p->mounts[0]), by_length);
}

/* Of the one TCP connection that the broker makes for itself; 0 without. */
static uint16_t scheduler_port(const char *address)
{
    uint64_t port = 0;
    const char *colon = strrchr(address, ':');
    if (strncmp(address, "unix:", 5) == 0 || !colon ||
        adit_view_u64(adit_view_str(colon + 1), UINT16_MAX, &port))
        return 0;
    return (uint16_t)port;
}

int broker_profile_enter(const struct confine_user *user, const struct broker_conf *conf,
                         struct adit_err *err)
{
    struct places places = {.cnt = 0};
    collect(&places, conf);
    struct confine_profile profile = {
        .user = *user,
        .mounts = places.mounts,
        .mount_cnt = places.cnt,
        .calls = calls,
        .families = families,
        .family_cnt = sizeof(families) / sizeof(families[0]),
        .connect_port = scheduler_port(conf->scheduler),
        .connects_anywhere = conf->egress,
    };
    int rc = confine_mode_parse(conf->seccomp, &profile.mode, err);
    return rc ? rc : confine_enter(&profile, err);
}
