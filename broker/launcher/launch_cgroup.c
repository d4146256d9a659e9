/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of sandboxes, in both layouts of the kernel.
 *
 * Theory of operation
 *
 * What:    a sandbox's group holds all its processes from the first one on: the runtime is started
 *          in it. So "what runs in this sandbox" needs no record: it is what the group lists, and
 *          removing a sandbox is killing that list, whatever state its creation had reached. Groups
 *          are made here and not by the runtime, because runtimes refuse hybrid hosts.
 * Layouts: v2 has one directory per sandbox and cgroup.kill. v1 has one in each of three
 * hierarchies, and in that of cpuacct where it is not cpu's; processes are listed from pids, in
 * which every sandbox is, and killed one by one. Joining: v2 moves a
 * process through cgroup.procs. In v1 the calling thread moves itself through "tasks": moving a
 * single thread that is the caller spares the kernel its global lock, which takes many milliseconds
 * to get (measured: under 0.1 ms against 10 to 30). Swap:    none: a sandbox's memory limit is what
 * it may use in sum. Failure: a controller that is missing is an error at start; a limit is never
 * left out.
 */
#include "broker/launcher/launch_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "broker/launcher/launch_msg.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CPU_PERIOD_US 100000u
/* A line for every process there may be. */
#define PROCS_CAP (8u * LAUNCH_PIDS_MAX)
#define PATH_CAP 192
/* How often to look again for what the kernel does not announce: a dead process leaving its group.
 */
#define RETRY_MS 2

enum { MEMORY, CPU, PIDS, CONTROLLERS_CNT, CPUACCT = CONTROLLERS_CNT };
static const char *const controllers[CONTROLLERS_CNT] = {"memory", "cpu", "pids"};

static int open_v2(struct launch_cgroup_host *h, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int root = open(CGROUP_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return adit_err_sys(err, errno, "open %s", CGROUP_ROOT);
    struct adit_buf words;
    adit_buf_init(&words, 4096);
    int rc = adit_file_read(root, "cgroup.controllers", &words, err);
    struct adit_view known = adit_buf_view(&words);
    for (int i = 0; !rc && i < CONTROLLERS_CNT; i++)
        if (!known.len || !memmem(known.ptr, known.len, controllers[i], strlen(controllers[i])))
            rc = adit_err_set(err, ADIT_ERR_PRECONDITION, "cgroup controller %s is missing",
                              controllers[i]);
    adit_buf_fini(&words);
    if (rc)
        return rc;
    h->is_v2 = true;
    h->fd[h->hierarchy_cnt++] = adit_steal_fd(&root);
    return 0;
}

/* Time may be accounted for in a hierarchy of its own; a host that has none does without. */
static void open_cpuacct(struct launch_cgroup_host *h)
{
    struct stat cpu, own;
    struct statfs fs;
    ADIT_CLEANUP_CLOSE int fd = open(CGROUP_ROOT "/cpuacct", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != CGROUP_SUPER_MAGIC || fstat(fd, &own) ||
        fstat(h->fd[CPU], &cpu) || own.st_dev == cpu.st_dev)
        return;
    h->fd[h->hierarchy_cnt++] = adit_steal_fd(&fd);
}

static int open_v1(struct launch_cgroup_host *h, struct adit_err *err)
{
    char path[PATH_CAP];
    for (int i = 0; i < CONTROLLERS_CNT; i++) {
        struct statfs fs;
        (void)snprintf(path, sizeof(path), CGROUP_ROOT "/%s", controllers[i]);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return adit_err_set(err, ADIT_ERR_PRECONDITION, "cgroup controller %s is missing",
                                controllers[i]);
        h->fd[h->hierarchy_cnt++] = fd;
        if (fstatfs(fd, &fs) || fs.f_type != CGROUP_SUPER_MAGIC)
            return adit_err_set(err, ADIT_ERR_PRECONDITION, "%s is not a cgroup hierarchy", path);
    }
    open_cpuacct(h);
    return 0;
}

int launch_cgroup_open(struct launch_cgroup_host *h, const char *parent, struct adit_err *err)
{
    struct statfs fs;
    memset(h, 0, sizeof(*h));
    if (!parent[0] || strchr(parent, '/') || parent[0] == '.' ||
        strlen(parent) >= sizeof(h->parent))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "cgroup parent is not one plain name");
    (void)snprintf(h->parent, sizeof(h->parent), "%s", parent);
    if (statfs(CGROUP_ROOT, &fs))
        return adit_err_sys(err, errno, "%s", CGROUP_ROOT);
    int rc = fs.f_type == CGROUP2_SUPER_MAGIC ? open_v2(h, err) : open_v1(h, err);
    if (rc)
        launch_cgroup_close(h);
    return rc;
}

void launch_cgroup_close(struct launch_cgroup_host *h)
{
    while (h->hierarchy_cnt > 0)
        (void)close(h->fd[--h->hierarchy_cnt]); /* directories: nothing to lose */
}

static void format_path(char out[PATH_CAP], const struct launch_cgroup_host *h, const char *id,
                        const char *file)
{
    (void)snprintf(out, PATH_CAP, "%s/%s%s%s", h->parent, id, file[0] ? "/" : "", file);
}

/* A result for which something that is missing is fine. @from: the error that came with it. */
static int unless_missing(int rc, const struct adit_err *from, struct adit_err *err)
{
    if (rc == 0 || rc == ADIT_ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = *from;
    return rc;
}

static int write_text(int dir_fd, const char *path, const char *text, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "cgroup %s", path);
    if (write(fd, text, strlen(text)) < 0)
        return adit_err_sys(err, errno, "cgroup %s: write %s", path, text);
    return 0;
}

static int write_file(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                      const char *file, const char *text, struct adit_err *err)
{
    char path[PATH_CAP];
    format_path(path, h, id, file);
    return write_text(h->fd[hierarchy], path, text, err);
}

static int write_number(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                        const char *file, uint64_t number, struct adit_err *err)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return write_file(h, hierarchy, id, file, text, err);
}

/* Hand the controllers down to the parent's children. A parent that is gone again is made anew. */
static int delegate(const struct launch_cgroup_host *h, struct adit_err *err)
{
    static const char all[] = "+memory +cpu +pids";
    struct adit_err why;
    char path[PATH_CAP];
    (void)snprintf(path, sizeof(path), "%s/cgroup.subtree_control", h->parent);
    int rc = write_text(h->fd[0], "cgroup.subtree_control", all, &why);
    if (!rc)
        rc = write_text(h->fd[0], path, all, &why);
    return unless_missing(rc, &why, err);
}

/* The parent may vanish between the two calls, when the last sandbox in it is removed. */
static int make_dirs(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                     struct adit_err *err)
{
    char path[PATH_CAP];
    int fd = h->fd[hierarchy];
    format_path(path, h, id, "");
    for (int attempt = 0;; attempt++) {
        bool is_new = mkdirat(fd, h->parent, 0755) == 0;
        if (!is_new && errno != EEXIST)
            return adit_err_sys(err, errno, "make cgroup %s", h->parent);
        if (is_new && h->is_v2) {
            int rc = delegate(h, err);
            if (rc)
                return rc;
        }
        if (mkdirat(fd, path, 0755) == 0)
            return 0;
        if (errno != ENOENT || attempt == 16)
            return adit_err_sys(err, errno, "make cgroup %s", path);
    }
}

static int limit_v2(const struct launch_cgroup_host *h, const char *id,
                    const struct launch_cgroup_limits *l, struct adit_err *err)
{
    struct adit_err why;
    char quota[48];
    (void)snprintf(quota, sizeof(quota), "%llu %u",
                   (unsigned long long)l->cpu_count * CPU_PERIOD_US, CPU_PERIOD_US);
    int rc = write_number(h, 0, id, "memory.max", l->memory_bytes, err);
    if (!rc) /* a kernel without swap accounting has no such file */
        rc = unless_missing(write_number(h, 0, id, "memory.swap.max", 0, &why), &why, err);
    if (!rc)
        rc = write_file(h, 0, id, "cpu.max", quota, err);
    return rc ? rc : write_number(h, 0, id, "pids.max", l->pids_max, err);
}

static int limit_v1(const struct launch_cgroup_host *h, const char *id,
                    const struct launch_cgroup_limits *l, struct adit_err *err)
{
    struct adit_err why;
    int rc = write_number(h, MEMORY, id, "memory.limit_in_bytes", l->memory_bytes, err);
    if (!rc) /* as far as v1 can, where it cannot limit swap; the next line does where it can */
        rc = write_number(h, MEMORY, id, "memory.swappiness", 0, err);
    if (!rc)
        rc = unless_missing(
            write_number(h, MEMORY, id, "memory.memsw.limit_in_bytes", l->memory_bytes, &why), &why,
            err);
    if (!rc)
        rc = write_number(h, CPU, id, "cpu.cfs_period_us", CPU_PERIOD_US, err);
    if (!rc)
        rc = write_number(h, CPU, id, "cpu.cfs_quota_us", (uint64_t)l->cpu_count * CPU_PERIOD_US,
                          err);
    return rc ? rc : write_number(h, PIDS, id, "pids.max", l->pids_max, err);
}

int launch_cgroup_create(const struct launch_cgroup_host *h, const char *id,
                         const struct launch_cgroup_limits *limits, struct adit_err *err)
{
    for (int i = 0; i < h->hierarchy_cnt; i++) {
        int rc = make_dirs(h, i, id, err);
        if (rc)
            return rc;
    }
    return h->is_v2 ? limit_v2(h, id, limits, err) : limit_v1(h, id, limits, err);
}

int launch_cgroup_join(const struct launch_cgroup_host *h, const char *id, struct adit_err *err)
{
    for (int i = 0; i < h->hierarchy_cnt; i++) {
        int rc = write_file(h, i, id, h->is_v2 ? "cgroup.procs" : "tasks", "0", err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Read one file of a group. Return: 0 or an error code; NOT_FOUND when the group is gone. */
static int read_file(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                     const char *file, struct adit_buf *out, struct adit_err *err)
{
    char path[PATH_CAP];
    format_path(path, h, id, file);
    return adit_file_read(h->fd[hierarchy], path, out, err);
}

/* Does the process with this number belong to the group? A line of its groups ends in "/<id>". */
bool launch_cgroup_has(uint64_t pid, const char *id)
{
    char path[32], end[PATH_CAP];
    struct adit_buf groups;

    (void)snprintf(path, sizeof(path), "/proc/%llu/cgroup", (unsigned long long)pid);
    int len = snprintf(end, sizeof(end), "/%s\n", id);
    adit_buf_init(&groups, 4096);
    bool is = !adit_file_read(AT_FDCWD, path, &groups, NULL) &&
              memmem(adit_buf_view(&groups).ptr, groups.len, end, (size_t)len);
    adit_buf_fini(&groups);
    return is;
}

/*
 * Kill one listed process. The number could have passed to a stranger since it was listed, so the
 * descriptor is opened first: if the number is a member's then, either the descriptor is that
 * member's or its process has ended already. Return: the descriptor, or -1 if there is none.
 */
static int kill_member(uint64_t pid, const char *id)
{
    ADIT_CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (pidfd < 0 || !launch_cgroup_has(pid, id))
        return -1;
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); /* fails only if it is gone */
    return adit_steal_fd(&pidfd);
}

/* Kill everything that the group lists and wait for the end of one of them. */
static int kill_listed(const struct launch_cgroup_host *h, const char *id, uint64_t deadline_ns,
                       bool *is_empty, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int first = -1;
    struct adit_view line, rest;
    struct adit_buf list;
    uint64_t pid;

    adit_buf_init(&list, PROCS_CAP);
    int rc = read_file(h, h->is_v2 ? 0 : PIDS, id, "cgroup.procs", &list, err);
    rest = adit_buf_view(&list);
    *is_empty = !rc && rest.len == 0;
    while (!rc && adit_view_split(rest, '\n', &line, &rest)) {
        if (adit_view_u64(line, INT32_MAX, &pid)) {
            rc = adit_err_set(err, ADIT_ERR_IO, "cgroup.procs of %s is malformed", id);
            break;
        }
        int pidfd = kill_member(pid, id);
        if (first < 0)
            first = pidfd;
        else if (pidfd >= 0)
            (void)close(pidfd); /* it was killed: nothing to lose */
    }
    adit_buf_fini(&list);
    if (rc || *is_empty)
        return rc;
    struct pollfd gone = {first, POLLIN, 0};
    uint64_t now = adit_clock_mono_ns();
    int wait_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000) + 1 : 0;
    /* None: all that were listed have ended, and leave the list in a moment. */
    if (poll(&gone, 1, first < 0 ? RETRY_MS : wait_ms) == 0 && first >= 0)
        return adit_err_set(err, ADIT_ERR_TIMEOUT, "a process of %s does not end", id);
    return 0;
}

/* No process may be born while the others are killed, or a fork bomb would win. It is not enough to
 * kill the init of the sandbox's pid namespace: which one that is the group does not say, and
 * numbers wrap. */
static int begin_kill(const struct launch_cgroup_host *h, const char *id, struct adit_err *err)
{
    return h->is_v2 ? write_file(h, 0, id, "cgroup.kill", "1", err)
                    : write_number(h, PIDS, id, "pids.max", 0, err);
}

static int kill_all(const struct launch_cgroup_host *h, const char *id, uint64_t deadline_ns,
                    struct adit_err *err)
{
    struct adit_err why;
    bool is_empty = false;
    int rc = begin_kill(h, id, &why);
    while (!rc && !is_empty) {
        rc = kill_listed(h, id, deadline_ns, &is_empty, &why);
        if (!rc && !is_empty && adit_clock_mono_ns() > deadline_ns)
            rc = adit_err_set(&why, ADIT_ERR_TIMEOUT, "processes of %s do not end", id);
    }
    return unless_missing(rc, &why, err);
}

/* A process that has just died may hold its group for a moment longer, and nothing tells when not.
 */
static int remove_dir(int fd, const char *path, uint64_t deadline_ns, struct adit_err *err)
{
    while (unlinkat(fd, path, AT_REMOVEDIR)) {
        if (errno == ENOENT)
            return 0;
        if (errno != EBUSY || adit_clock_mono_ns() > deadline_ns)
            return adit_err_sys(err, errno, "remove cgroup %s", path);
        (void)poll(NULL, 0, RETRY_MS); /* the retry is the point */
    }
    return 0;
}

int launch_cgroup_remove(const struct launch_cgroup_host *h, const char *id, struct adit_err *err)
{
    char path[PATH_CAP];
    uint64_t deadline_ns = adit_clock_mono_ns() + LAUNCH_CGROUP_KILL_MS * UINT64_C(1000000);
    int rc = kill_all(h, id, deadline_ns, err);

    format_path(path, h, id, "");
    for (int i = 0; !rc && i < h->hierarchy_cnt; i++) {
        rc = remove_dir(h->fd[i], path, deadline_ns, err);
        (void)unlinkat(h->fd[i], h->parent, AT_REMOVEDIR); /* works for the last sandbox only */
    }
    return rc;
}

/* The number behind @key at the start of a line, or 0. */
static uint64_t number_of(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                          const char *file, const char *key)
{
    struct adit_buf text;
    struct adit_view line, rest, name, value;
    uint64_t number = 0;
    adit_buf_init(&text, 16384);
    int rc = read_file(h, hierarchy, id, file, &text, NULL);
    rest = adit_buf_view(&text);
    for (bool more = rc == 0; more;) {
        more = adit_view_split(rest, '\n', &line, &rest);
        if (adit_view_split(line, ' ', &name, &value) && adit_view_eq_str(name, key))
            (void)adit_view_u64(value, UINT64_MAX, &number); /* malformed: stays 0 */
    }
    adit_buf_fini(&text);
    return number;
}

/* A file of one number; "max" and none are 0. */
static int read_number(const struct launch_cgroup_host *h, int hierarchy, const char *id,
                       const char *file, uint64_t *out, struct adit_err *err)
{
    struct adit_buf text;
    *out = 0;
    adit_buf_init(&text, 256);
    int rc = read_file(h, hierarchy, id, file, &text, err);
    struct adit_view line = {NULL, 0}, rest;
    if (rc == 0)
        (void)adit_view_split(adit_buf_view(&text), '\n', &line, &rest); /* one line */
    if (adit_view_u64(line, UINT64_MAX, out))
        *out = 0;
    adit_buf_fini(&text);
    return rc;
}

int launch_cgroup_measure(const struct launch_cgroup_host *h, const char *id,
                          struct launch_usage *out, struct adit_err *err)
{
    int account = h->hierarchy_cnt > CPUACCT ? CPUACCT : CPU; /* of v1 */
    int rc = read_number(h, 0, id, h->is_v2 ? "memory.current" : "memory.usage_in_bytes",
                         &out->memory, err);
    if (rc)
        return rc;
    out->cache = number_of(h, 0, id, "memory.stat", h->is_v2 ? "file" : "total_cache");
    (void)read_number(h, 0, id, h->is_v2 ? "memory.max" : "memory.limit_in_bytes", &out->memory_max,
                      NULL); /* 0: none is known */
    if (h->is_v2)
        out->cpu_ns = number_of(h, 0, id, "cpu.stat", "usage_usec") * 1000;
    else /* 0: no account, or a sandbox that was made before there was one */
        (void)read_number(h, account, id, "cpuacct.usage", &out->cpu_ns, NULL);
    return 0;
}

uint64_t launch_cgroup_oom_kills(const struct launch_cgroup_host *h, const char *id)
{
    return number_of(h, 0, id, h->is_v2 ? "memory.events" : "memory.oom_control", "oom_kill");
}
