/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter of containers.
 *
 * Theory of operation
 *
 * What:    a list of what is allowed. The default is ENOSYS, so that a program that tries a call
 * which is newer than this list falls back as it would on an older kernel. Calls that are known and
 * refused say EPERM, as they do without privilege. Refused  on purpose although usual elsewhere:
 * io_uring (its history of holes) and sockets of families that reach past the network namespace
 * (AF_VSOCK talks to the machine that the host runs on). Forms:   the JSON of the OCI
 * specification, which the runtime compiles at every start, and the filter compiled once by the
 * launcher (a quarter of crun's processor time saved).
 */
#include "broker/launcher/oci_seccomp.h"

#include "broker/jtext.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/encode.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* The namespaces that clone(2) can make. */
#define CLONE_NEW                                                                                  \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

static const char *const allowed[] = {
    /* files and directories */
    "access", "chdir", "chmod", "chown", "chroot", "close", "close_range", "copy_file_range",
    "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir",
    "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr",
    "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate",
    "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "ioctl", "lchown", "lgetxattr",
    "link", "linkat", "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat",
    "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open", "openat",
    "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read",
    "readahead", "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat",
    "renameat2", "rmdir", "sendfile", "setxattr", "splice", "stat", "statfs", "statx", "symlink",
    "symlinkat", "sync", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlink",
    "unlinkat", "ustat", "utime", "utimensat", "utimes", "vmsplice", "write", "writev",
    /* waiting and events */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "fanotify_mark", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "poll", "ppoll", "pselect6", "select",
    "signalfd", "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
    /* memory */
    "brk", "cachestat", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret",
    "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "mseal", "msync",
    "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "process_mrelease", "remap_file_pages",
    /* processes, threads, signals */
    "alarm", "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork",
    "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list",
    "get_thread_area", "getegid", "geteuid", "getgid", "getgroups", "getitimer", "getpgid",
    "getpgrp", "getpid", "getppid", "getpriority", "getresgid", "getresuid", "getrlimit",
    "getrusage", "getsid", "gettid", "getuid", "ioprio_get", "ioprio_set", "kcmp", "kill",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "pause",
    "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "prctl", "prlimit64",
    "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "restart_syscall", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setattr",
    "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups",
    "setitimer", "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid",
    "setrlimit", "setsid", "setuid", "sigaltstack", "tgkill", "time", "times", "tkill", "uname",
    "vfork", "wait4", "waitid",
    /* time and numbers */
    "adjtimex", "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "getcpu",
    "getrandom", "gettimeofday", "nanosleep", "sysinfo", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_settime",
    /* sockets; socket(2) itself is below */
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    "socketpair",
    /* System V and POSIX messages */
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
    "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat",
    "shmctl", "shmdt", "shmget"};

static const char *const refused[] = {"acct",
                                      "add_key",
                                      "bpf",
                                      "clock_settime",
                                      "create_module",
                                      "delete_module",
                                      "fanotify_init",
                                      "finit_module",
                                      "fsconfig",
                                      "fsmount",
                                      "fsopen",
                                      "fspick",
                                      "get_mempolicy",
                                      "init_module",
                                      "io_uring_enter",
                                      "io_uring_register",
                                      "io_uring_setup",
                                      "ioperm",
                                      "iopl",
                                      "kexec_file_load",
                                      "kexec_load",
                                      "keyctl",
                                      "lookup_dcookie",
                                      "mbind",
                                      "migrate_pages",
                                      "mount",
                                      "mount_setattr",
                                      "move_mount",
                                      "move_pages",
                                      "nfsservctl",
                                      "open_by_handle_at",
                                      "open_tree",
                                      "perf_event_open",
                                      "pivot_root",
                                      "quotactl",
                                      "quotactl_fd",
                                      "reboot",
                                      "request_key",
                                      "set_mempolicy",
                                      "setdomainname",
                                      "sethostname",
                                      "setns",
                                      "settimeofday",
                                      "swapoff",
                                      "swapon",
                                      "syslog",
                                      "umount2",
                                      "unshare",
                                      "userfaultfd",
                                      "vhangup"};

/*
 * Rules about the first argument of a call.
 * @value, @masked: MASKED_EQ: the argument's bits of @value are @masked; else it compares to @value
 * @error:          0: allowed
 */
static const struct condition {
    const char *call;
    enum scmp_compare op;
    const char *op_name;
    unsigned value, masked;
    int error;
} conditions[] = {
    {"socket", SCMP_CMP_EQ, "SCMP_CMP_EQ", AF_UNIX, 0, 0},
    {"socket", SCMP_CMP_EQ, "SCMP_CMP_EQ", AF_INET, 0, 0},
    {"socket", SCMP_CMP_EQ, "SCMP_CMP_EQ", AF_INET6, 0, 0},
    {"socket", SCMP_CMP_EQ, "SCMP_CMP_EQ", AF_NETLINK, 0, 0},
    {"socket", SCMP_CMP_EQ, "SCMP_CMP_EQ", AF_PACKET, 0, 0},
    {"socket", SCMP_CMP_GT, "SCMP_CMP_GT", AF_PACKET, 0, EAFNOSUPPORT},
    {"clone", SCMP_CMP_MASKED_EQ, "SCMP_CMP_MASKED_EQ", CLONE_NEW, 0, 0},
    {"clone", SCMP_CMP_MASKED_EQ, "SCMP_CMP_MASKED_EQ", CLONE_NEWUSER, CLONE_NEWUSER, EPERM},
    /* personality(2): query, plain Linux, other names in uname(2), no address randomisation */
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0xffffffff, 0, 0},
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0x0, 0, 0},
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0x0008, 0, 0},
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0x20000, 0, 0},
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0x20008, 0, 0},
    {"personality", SCMP_CMP_EQ, "SCMP_CMP_EQ", 0x40000, 0, 0},
};

/* ---- JSON --------------------------------------------------------------------------------------
 */

static json_t *condition_json(const struct condition *c)
{
    json_t *rule =
        json_pack("{s:[s], s:s, s:[{s:i, s:I, s:I, s:s}]}", "names", c->call, "action",
                  c->error ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW", "args", "index", 0, "value",
                  (json_int_t)c->value, "valueTwo", (json_int_t)c->masked, "op", c->op_name);
    if (rule && c->error && json_object_set_new(rule, "errnoRet", json_integer(c->error))) {
        json_decref(rule);
        rule = NULL;
    }
    return rule;
}

json_t *oci_seccomp_json(void)
{
    json_t *rules =
        json_pack("[{s:o, s:s}, {s:o, s:s, s:i}]", "names", jtext_strings(allowed, COUNT(allowed)),
                  "action", "SCMP_ACT_ALLOW", "names", jtext_strings(refused, COUNT(refused)),
                  "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM);
    for (size_t i = 0; rules && i < COUNT(conditions); i++) {
        if (json_array_append_new(rules, condition_json(&conditions[i]))) {
            json_decref(rules);
            rules = NULL;
        }
    }
    return json_pack("{s:s, s:i, s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet",
                     ENOSYS, "syscalls", rules);
}

/* ---- compiled ----------------------------------------------------------------------------------
 */

/* Calls that this libseccomp or this machine does not know fall under the default. */
static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *items, size_t cnt)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < cnt; i++) {
        int call = seccomp_syscall_resolve_name(items[i]);
        if (call >= 0)
            rc = seccomp_rule_add(filter, action, call, 0);
    }
    return rc;
}

static int add_conditions(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < COUNT(conditions); i++) {
        const struct condition *c = &conditions[i];
        struct scmp_arg_cmp argument = {0, c->op, c->value, c->masked};
        uint32_t action = c->error ? SCMP_ACT_ERRNO((uint32_t)c->error) : SCMP_ACT_ALLOW;
        rc = seccomp_rule_add_array(filter, action, seccomp_syscall_resolve_name(c->call), 1,
                                    &argument);
    }
    return rc;
}

/* The library writes filters to descriptors only. */
static int export(scmp_filter_ctx filter, struct adit_buf *out, struct adit_err *err)
{
    char bytes[OCI_SECCOMP_BPF_CAP / 2];
    ADIT_CLEANUP_CLOSE int fd = memfd_create("filter", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
    if (rc)
        return adit_err_sys(err, -rc, "export the system call filter");
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    if (len <= 0 || (size_t)len == sizeof(bytes))
        return adit_err_set(err, ADIT_ERR_LIMIT, "the system call filter is too large");
    rc = adit_base64_append(out, bytes, (size_t)len);
    return rc ? adit_err_set(err, rc, "the system call filter does not fit") : 0;
}

int oci_seccomp_bpf(struct adit_buf *out, struct adit_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the system call filter");
    /* A lookup by halves instead of one after the other. */
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (!rc)
        rc = add_names(filter, SCMP_ACT_ALLOW, allowed, COUNT(allowed));
    if (!rc)
        rc = add_names(filter, SCMP_ACT_ERRNO(EPERM), refused, COUNT(refused));
    if (!rc)
        rc = add_conditions(filter);
    rc = rc ? adit_err_sys(err, -rc, "make the system call filter") : export(filter, out, err);
    seccomp_release(filter);
    return rc;
}
