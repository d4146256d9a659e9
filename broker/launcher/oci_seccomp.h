/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls a container may make. The table that oci_config.c writes into config.json.
 *
 * Default: ENOSYS, so that a program that tries a call which is newer than this list falls back as
 * it would on an older kernel. Calls that are known and refused say EPERM, as they do without
 * privilege. Refused on purpose although usual elsewhere: io_uring (its history of holes) and
 * sockets of families that reach past the network namespace (AF_VSOCK talks to the machine that the
 * host runs on).
 */
#ifndef BROKER_LAUNCHER_OCI_SECCOMP_H
#define BROKER_LAUNCHER_OCI_SECCOMP_H

static const char *const oci_seccomp_allowed[] = {
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

static const char *const oci_seccomp_refused[] = {"acct",
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

/* Address families that stay within the sandbox: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET.
 */
static const unsigned oci_seccomp_families[] = {1, 2, 10, 16, 17};

/* What personality(2) may ask for: query, plain Linux, and the three variants that only change what
 * uname(2) says or switch address randomisation off. */
static const unsigned oci_seccomp_personalities[] = {0x0,     0x0008,     0x20000,
                                                     0x20008, 0xffffffff, 0x0040000};

/* clone(2) may not make namespaces: the CLONE_NEW* bits. */
#define OCI_SECCOMP_CLONE_NEW 0x7e020000u

#endif
