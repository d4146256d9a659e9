/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scheduler may do once it serves.
 *
 * Theory of operation
 *
 * What: started as root (by a broker's keeper, or by hand), it opens its socket, makes its records'
 * directory its user's and becomes that user, with nothing of the file system but that directory.
 * Started as somebody else (a unit with a user of its own) it stays that. Trust: the directory may
 * lie in one that belongs to the broker's user, so its last component is not followed as a link.
 */
#include "scheduler/scheduler_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "confine/confine.h"
#include "net/listener.h"
#include "scheduler/scheduler.h"

static const char *const calls[] = {
    /* memory and threads */
    "brk", "madvise", "mmap", "mprotect", "mremap", "munmap", "exit", "exit_group", "futex",
    "get_robust_list", "gettid", "membarrier", "rseq", "sched_getaffinity", "sched_yield",
    "set_robust_list",
    /* signals, and ourselves */
    "getpid", "getrandom", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sigaltstack", "tgkill",
    /* time */
    "clock_gettime", "clock_nanosleep", "gettimeofday",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "poll", "pipe2",
    /* descriptors */
    "close", "dup", "fcntl", "ioctl", "pread64", "pwrite64", "read", "readv", "write", "writev",
    /* files: the store */
    "access", "fallocate", "fdatasync", "fstat", "fsync", "ftruncate", "geteuid", "getcwd",
    "getdents64", "lseek", "lstat", "mkdir", "mkdirat", "newfstatat", "openat", "readlink", "stat",
    "statx", "umask", "unlink", "fchmod", "fchown", "flock",
    /* sockets */
    "accept4", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmsg", "sendmsg",
    "sendto", "setsockopt", "shutdown", "getrusage", NULL};

static int open_data_dir(struct scheduler_conf *c, int *fd, struct adit_err *err)
{
    int rc = adit_file_mkdirs(c->data_dir, 0700, err);
    if (rc)
        return rc;
    *fd = open(c->data_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char *absolute = *fd < 0 ? NULL : realpath(c->data_dir, NULL);
    if (!absolute)
        return adit_err_sys(err, errno, "data-dir: %s", c->data_dir);
    free(c->data_dir);
    c->data_dir = absolute;
    return 0;
}

static int give_data_dir(struct scheduler_conf *c, const struct confine_user *user,
                         struct adit_err *err)
{
    static const char *const skip[] = {NULL};
    ADIT_CLEANUP_CLOSE int fd = -1;
    int rc = open_data_dir(c, &fd, err);
    if (rc == 0)
        rc = confine_give_tree(fd, skip, user, err);
    if (rc == 0 && (fchown(fd, user->uid, user->gid) || fchmod(fd, 0700)))
        rc = adit_err_sys(err, errno, "give %s to user %u", c->data_dir, user->uid);
    return rc;
}

/* The folder is the operator's; a socket that was handed to us has its owner. */
static int give_socket(const struct scheduler_conf *c, const char *path, struct adit_err *err)
{
    struct confine_user client;
    int rc = confine_user_find(c->client, CONFINE_BROKER_ACCOUNT, CONFINE_BROKER_UID, &client, err);
    if (rc == 0 && lchown(path, client.uid, client.gid))
        rc = adit_err_sys(err, errno, "give %s to user %u", path, client.uid);
    return rc;
}

static int open_sockets(struct scheduler_conf *c, struct adit_err *err)
{
    ADIT_CLEANUP_FREE char *address = strdup(c->listen);
    if (!address)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    int rc = scheduler_check_listen(c->listen, err);
    if (rc == 0)
        rc = listener_open_early(&c->listen, err);
    if (rc == 0 && strncmp(address, "unix:", 5) == 0)
        rc = give_socket(c, address + 5, err);
    if (rc == 0 && c->metrics_listen[0])
        rc = listener_open_early(&c->metrics_listen, err);
    return rc;
}

int scheduler_profile_enter(struct scheduler_conf *conf, struct adit_err *err)
{
    struct confine_user user;
    if (geteuid() != 0)
        return confine_hide_memory(err);
    int rc =
        confine_user_find(conf->user, CONFINE_SCHEDULER_ACCOUNT, CONFINE_SCHEDULER_UID, &user, err);
    if (rc == 0)
        rc = give_data_dir(conf, &user, err);
    if (rc == 0)
        rc = open_sockets(conf, err);
    if (rc)
        return rc;
    const struct confine_mount mounts[] = {{.path = conf->data_dir, .is_writable = true},
                                           {.path = CONFINE_OWN_PROCESS}};
    struct confine_profile profile = {
        .user = user, .mounts = mounts, .mount_cnt = 2, .calls = calls};
    rc = confine_mode_parse(conf->seccomp, &profile.mode, err);
    return rc ? rc : confine_enter(&profile, err);
}
