/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process tries that gave up its privileges: everything in the table must be refused, by an
 * error or by the end of the process. Each attempt is made in a child that entered the profile
 * under test. The same attempts by a process without a profile show that they could succeed.
 */
#ifndef ADIT_TESTS_UNIT_PROBE_H
#define ADIT_TESTS_UNIT_PROBE_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_REFUSED 7
#define PROBE_DONE 8
#define PROBE_NOT_ENTERED 9

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROBE_IS_SANITIZED 1
#endif
#endif
#ifndef PROBE_IS_SANITIZED
#define PROBE_IS_SANITIZED 0
#endif

/*
 * What attempts aim at; made by probe_targets_open().
 * @dir:    of the test; @owned below it may be written, nothing else
 * @tcp:    port of a listener on the loopback that no profile names
 * @secret: of the parent's memory
 */
static struct {
    char dir[64], owned[96], outside[96], abstract[64];
    int listener, abstract_fd;
    uint16_t tcp;
    pid_t parent;
    char secret[16];
} probe_target;

static long probe_open_shadow(void)
{
    return open("/etc/shadow", O_RDONLY | O_CLOEXEC);
}

static long probe_open_outside(void)
{
    return open(probe_target.outside, O_RDWR | O_CLOEXEC);
}

static long probe_make_link(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/link", probe_target.owned);
    return symlink("/etc/shadow", path);
}

static long probe_make_device(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/device", probe_target.owned);
    return mknod(path, S_IFCHR | 0600, makedev(1, 3));
}

static long probe_make_set_user(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/program", probe_target.owned);
    return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 ? -1 : chown(path, 0, 0);
}

static long probe_execve(void)
{
    char *argv[] = {(char[]){"true"}, NULL};
    return execve("/bin/true", argv, argv + 1); /* its status is none of ours: it was done */
}

static long probe_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long probe_vsock(void)
{
    return socket(40, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long probe_packet(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long probe_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long probe_raw(void)
{
    return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
}

static struct sockaddr_in probe_loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static long probe_connect(void)
{
    struct sockaddr_in a = probe_loopback(probe_target.tcp);
    return connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a,
                   sizeof(a));
}

static long probe_bind(void)
{
    struct sockaddr_in a = probe_loopback(0);
    return bind(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a, sizeof(a));
}

static socklen_t probe_abstract_address(struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = strlen(probe_target.abstract);
    memcpy(a->sun_path + 1, probe_target.abstract, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

static long probe_abstract(void)
{
    struct sockaddr_un a;
    socklen_t len = probe_abstract_address(&a);
    return connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a, len);
}

static long probe_ptrace(void)
{
    return ptrace(PTRACE_SEIZE, probe_target.parent, 0, 0);
}

static long probe_read_memory(void)
{
    char bytes[sizeof(probe_target.secret)];
    struct iovec here = {bytes, sizeof(bytes)};
    struct iovec there = {probe_target.secret, sizeof(bytes)};
    return process_vm_readv(probe_target.parent, &here, 1, &there, 1, 0);
}

static long probe_kill(void)
{
    return kill(probe_target.parent, 0);
}

static long probe_tgkill(void)
{
    return syscall(SYS_tgkill, probe_target.parent, probe_target.parent, 0);
}

static long probe_mount(void)
{
    return mount("none", "/", "tmpfs", 0, NULL);
}

static long probe_unshare_user(void)
{
    return unshare(CLONE_NEWUSER);
}

static long probe_unshare(void)
{
    return unshare(CLONE_NEWUTS);
}

static long probe_chroot(void)
{
    return chroot(probe_target.owned);
}

static long probe_become_root(void)
{
    return syscall(SYS_setresuid, 0, 0, 0);
}

static long probe_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long probe_keyctl(void)
{
    return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* of the session */, 1);
}

static long probe_bpf(void)
{
    struct {
        uint32_t type, key_size, value_size, entries, flags;
    } map = {2 /* array */, 4, 4, 1, 0};
    return syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, &map, sizeof(map));
}

static long probe_io_uring(void)
{
    uint32_t params[30] = {0};
    return syscall(SYS_io_uring_setup, 1, params);
}

static long probe_open_by_handle(void)
{
    struct {
        struct file_handle head;
        unsigned char bytes[MAX_HANDLE_SZ];
    } h = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, probe_target.owned, &h.head, &mount_id, 0))
        h.head.handle_bytes = 8;
    int fd = open(probe_target.owned, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return open_by_handle_at(fd, &h.head, O_RDONLY | O_CLOEXEC);
}

static long probe_perf(void)
{
    uint64_t attr[16] = {(uint64_t)sizeof(attr) << 32 | 1 /* a software counter */};
    return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static long probe_module(void)
{
    return syscall(SYS_init_module, "", 0, "");
}

/*
 * @by_filter: refused by the filter or by Landlock alone, which a build with sanitizers has not
 * @landlock:  the version that it takes, where only that refuses it
 * @works:     a root without profile can do it everywhere
 */
static const struct probe {
    const char *name;
    long (*attempt)(void);
    bool by_filter;
    int landlock;
    bool works;
} probes[] = {
    {"open /etc/shadow", probe_open_shadow, false, 0, true},
    {"open a file beside its own directories", probe_open_outside, false, 0, true},
    {"make a symlink in its own directory", probe_make_link, true, 0, true},
    {"make a device", probe_make_device, false, 0, true},
    {"give a file to root", probe_make_set_user, false, 0, true},
    {"execve", probe_execve, false, 0, true},
    {"fork", probe_fork, true, 0, true},
    {"AF_VSOCK", probe_vsock, true, 0, false},
    {"AF_PACKET", probe_packet, false, 0, false},
    {"AF_NETLINK", probe_netlink, true, 0, true},
    {"raw sockets", probe_raw, false, 0, false},
    {"connect to a port that is not listed", probe_connect, true, 4, true},
    {"bind a port", probe_bind, true, 0, true},
    {"connect to an abstract socket outside", probe_abstract, true, 6, true},
    {"ptrace its parent", probe_ptrace, false, 0, false},
    {"read its parent's memory", probe_read_memory, false, 0, false},
    {"kill its parent", probe_kill, false, 0, true},
    {"tgkill its parent", probe_tgkill, false, 0, true},
    {"mount", probe_mount, false, 0, false},
    {"unshare a user namespace", probe_unshare_user, true, 0, false},
    {"unshare", probe_unshare, false, 0, true},
    {"chroot", probe_chroot, false, 0, true},
    {"become root", probe_become_root, false, 0, true},
    {"become dumpable", probe_dumpable, true, 0, true},
    {"keyctl", probe_keyctl, true, 0, false},
    {"bpf", probe_bpf, true, 0, false},
    {"io_uring_setup", probe_io_uring, true, 0, false},
    {"open_by_handle_at", probe_open_by_handle, false, 0, false},
    {"perf_event_open", probe_perf, true, 0, false},
    {"init_module", probe_module, false, 0, false},
};
#define PROBE_CNT (sizeof(probes) / sizeof(probes[0]))

static inline void probe_targets_open(void)
{
    struct sockaddr_in a = probe_loopback(0);
    struct sockaddr_un u;
    socklen_t len = sizeof(a);
    (void)snprintf(probe_target.dir, sizeof(probe_target.dir), "/tmp/adit-probe-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(probe_target.dir));
    ck_assert_int_eq(chmod(probe_target.dir, 0755), 0);
    (void)snprintf(probe_target.owned, sizeof(probe_target.owned), "%s/owned", probe_target.dir);
    (void)snprintf(probe_target.outside, sizeof(probe_target.outside), "%s/outside",
                   probe_target.dir);
    (void)snprintf(probe_target.abstract, sizeof(probe_target.abstract), "adit-probe-%d", getpid());
    ck_assert_int_eq(mkdir(probe_target.owned, 0700), 0);
    int file = open(probe_target.outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(fchmod(file, 0666), 0);
    (void)close(file); /* nothing was written */
    probe_target.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(probe_target.listener, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(probe_target.listener, 8), 0);
    ck_assert_int_eq(getsockname(probe_target.listener, (struct sockaddr *)&a, &len), 0);
    probe_target.tcp = ntohs(a.sin_port);
    probe_target.abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    len = probe_abstract_address(&u);
    ck_assert_int_eq(bind(probe_target.abstract_fd, (struct sockaddr *)&u, len), 0);
    ck_assert_int_eq(listen(probe_target.abstract_fd, 8), 0);
    probe_target.parent = getpid();
}

static inline void probe_targets_close(void)
{
    char command[128];
    (void)close(probe_target.listener);    /* of this test alone */
    (void)close(probe_target.abstract_fd); /* as above */
    (void)snprintf(command, sizeof(command), "rm -rf %s", probe_target.dir);
    ck_assert_int_eq(system(command), 0);
}

/* Return: the wait status of a child that entered and tried. @enter: 0 when it is done. */
static inline int probe_run(int (*enter)(void), long (*attempt)(void))
{
    int status = 0;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* What the filter refuses it says on standard error; dup2() it refuses itself. */
        int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null_fd < 0 || dup2(null_fd, STDERR_FILENO) < 0 || enter())
            _exit(PROBE_NOT_ENTERED);
        _exit(attempt() == -1 ? PROBE_REFUSED : PROBE_DONE);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static inline bool probe_is_refused(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) == PROBE_REFUSED : WTERMSIG(status) == SIGSYS;
}

/* Why @p says nothing here; NULL when it does. */
static inline const char *probe_lacks(const struct probe *p)
{
    if (PROBE_IS_SANITIZED && p->by_filter)
        return "a build without sanitizers: they take filter and Landlock away";
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) <
        p->landlock)
        return "a later version of Landlock";
    return NULL;
}

#endif
