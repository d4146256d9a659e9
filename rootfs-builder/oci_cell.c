/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cell: one program between the host and somebody's image.
 *
 * Theory of operation
 *
 *   builder ── clone ──> warden: process 1 of the cell ── fork ──> program
 *
 * What:    the warden makes the cell, starts the program, looks every while at what it has written,
 * and does the last steps in the result; all that lives in the cell ends with it, and it ends with
 * the builder. Root:   a read-only tmpfs with the host's programs and configuration read-only, what
 * is bound into it, and nothing else. It has pid, mount, ipc, uts and network namespaces of its
 * own, owned by the host's root, so that nothing in it can change a mount; then it enters a user
 * namespace whose ids own nothing on the host. Binds translate ids: what is root's in the bound
 * tree is the cell's, and what the cell writes there is stored as the image says. So a program that
 * an image leads astray finds nothing that it could harm: the escapes of unpackers (symlinks, hard
 * links, names with "..") end in the cell, and device nodes and trusted.* attributes cannot be
 * made. Limits: the size of a file and of memory by the kernel; bytes, entries and time by the
 * warden, which looks at a rate that costs a fifth of the time at most. Trust:  what comes out
 * (words, output, report) is of the cell: bounded here, checked by callers. Failure: the last words
 * of the program, without control characters.
 */
#include "rootfs-builder/oci_cell.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "confine/confine.h"

#define STAGE_DIR "/tmp"
#define LOOK_MIN_MS 200u
#define LOOK_FDS 64
#define NS_PER_MS 1000000u
#define STATUS_NOT_FOUND 127

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

/* Of the host, read-only, with its own ids: what is root's alone cannot be read. Where a name is a
 * symlink, as /lib is on most systems, so it is in the cell; what is not there is left out. */
static const char *const host_paths[] = {
    "/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc", "/run/systemd/resolve"};
#define HOST_CNT (sizeof(host_paths) / sizeof(host_paths[0]))

/* @trees: detached mounts of the binds, then of host_paths; -1: none */
struct inputs {
    int trees[OCI_CELL_BINDS_MAX + HOST_CNT];
    int userns, null_fd;
};

/* What the warden tells at its end. @has_words: the program itself says why it failed */
struct verdict {
    int code;
    bool has_words;
    char msg[ADIT_ERR_MSG_CAP];
    char report[OCI_CELL_REPORT_MAX];
};

enum { PIPE_WORDS, PIPE_OUTPUT, PIPE_VERDICT, PIPE_CNT };

/* ---- the builder's side: what goes in ---- */

static int clone_tree(const char *path, bool is_writable, int userns, int *out,
                      struct adit_err *err)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                          (is_writable ? 0 : MOUNT_ATTR_RDONLY)};
    /* Of the host also what is mounted below: a resolv.conf is, where the host is a container. */
    unsigned depth = userns < 0 ? AT_RECURSIVE : 0;
    ADIT_CLEANUP_CLOSE int tree =
        (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | depth | (unsigned)O_CLOEXEC);
    if (tree < 0 ||
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | depth, &attr, sizeof(attr)))
        return adit_err_sys(err, errno, "clone the mount of %s", path);
    attr = (struct mount_attr){.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns};
    /* A source on a file system that cannot translate ids is read with the rights of others. */
    if (userns >= 0 && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) &&
        (is_writable || errno != EINVAL))
        return adit_err_sys(err, errno, "translate the ids of %s", path);
    *out = adit_steal_fd(&tree);
    return 0;
}

static int open_inputs(const struct oci_cell *c, struct inputs *in, struct adit_err *err)
{
    struct stat st;
    memset(in->trees, 0xff, sizeof(in->trees));
    in->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    in->userns = -1;
    int rc = in->null_fd < 0 ? adit_err_sys(err, errno, "open /dev/null") : 0;
    if (!rc)
        rc = confine_userns(OCI_CELL_ID_BASE, OCI_CELL_ID_CNT, &in->userns, err);
    for (size_t i = 0; !rc && i < c->bind_cnt; i++)
        rc = clone_tree(c->binds[i].path, c->binds[i].is_writable, in->userns, &in->trees[i], err);
    for (size_t i = 0; !rc && i < HOST_CNT; i++)
        if (lstat(host_paths[i], &st) == 0 && S_ISDIR(st.st_mode))
            rc = clone_tree(host_paths[i], false, -1, &in->trees[OCI_CELL_BINDS_MAX + i], err);
    return rc;
}

static void close_inputs(const struct inputs *in)
{
    for (size_t i = 0; i < OCI_CELL_BINDS_MAX + HOST_CNT; i++)
        if (in->trees[i] >= 0)
            (void)close(in->trees[i]); /* a mount's descriptor */
    if (in->userns >= 0)
        (void)close(in->userns);
    if (in->null_fd >= 0)
        (void)close(in->null_fd);
}

/* ---- the warden: making the cell ---- */

/* @path is absolute; the directories before its last component are made too. */
static int attach(int tree, const char *path, struct adit_err *err)
{
    char part[64];
    struct stat st;
    (void)snprintf(part, sizeof(part), "%s", path + 1); /* ours: all fit */
    for (char *slash = part; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        if (mkdir(part, 0755) && errno != EEXIST)
            return adit_err_sys(err, errno, "make %s", part);
    }
    if (fstat(tree, &st) ||
        (S_ISDIR(st.st_mode) ? mkdir(part, 0755) : mknod(part, S_IFREG | 0444, 0)) ||
        syscall(SYS_move_mount, tree, "", AT_FDCWD, part, MOVE_MOUNT_F_EMPTY_PATH))
        return adit_err_sys(err, errno, "attach %s", path);
    return 0;
}

static int show_host(const struct inputs *in, struct adit_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < HOST_CNT; i++) {
        char target[64];
        int tree = in->trees[OCI_CELL_BINDS_MAX + i];
        ssize_t len = tree < 0 ? readlink(host_paths[i], target, sizeof(target) - 1) : -1;
        if (tree >= 0)
            rc = attach(tree, host_paths[i], err);
        if (len < 0)
            continue;
        target[len] = '\0';
        if (symlink(target, host_paths[i] + 1))
            rc = adit_err_sys(err, errno, "link %s", host_paths[i]);
    }
    return rc;
}

static int make_root(const struct oci_cell *c, const struct inputs *in, struct adit_err *err)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (c->is_online ? 0 : CLONE_NEWNET)) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("cell", STAGE_DIR, "tmpfs", flags, "mode=0755,size=1m") || chdir(STAGE_DIR))
        return adit_err_sys(err, errno, "make a cell");
    int rc = show_host(in, err);
    for (size_t i = 0; !rc && i < c->bind_cnt; i++)
        rc = attach(in->trees[i], c->binds[i].at, err);
    if (rc)
        return rc;
    if (mkdir("proc", 0555) || mount("proc", "proc", "proc", flags | MS_RDONLY, NULL) ||
        syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL))
        return adit_err_sys(err, errno, "enter the cell");
    return 0;
}

/* For owners, modes and file capabilities as the image says; they reach what is bound with
 * translated ids, and nothing else. */
#define KEPT_CAPS                                                                                  \
    (UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER |      \
     UINT64_C(1) << CAP_FSETID | UINT64_C(1) << CAP_SETFCAP | UINT64_C(1) << CAP_SYS_CHROOT)

static int change_ids(const struct inputs *in, struct adit_err *err)
{
    int rc = confine_deny_kernel(err);
    if (rc)
        return rc;
    if (setns(in->userns, CLONE_NEWUSER) || setgroups(0, NULL) || setresgid(0, 0, 0) ||
        setresuid(0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return adit_err_sys(err, errno, "change to ids of nobody");
    return confine_keep_caps(KEPT_CAPS, err);
}

/* The cell ends with the builder. A change of ids takes the request back, so it comes after. */
static int bind_to_builder(int verdict_fd, struct adit_err *err)
{
    struct pollfd reader = {verdict_fd, 0, 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* always valid */
    if (poll(&reader, 1, 0) != 0)
        return adit_err_set(err, ADIT_ERR_CANCELED, "the builder has ended");
    return 0;
}

/* ---- the warden: the program ---- */

/* Return: whether all hold. */
static bool set_limits(const struct oci_cell *c)
{
    const struct {
        __rlimit_resource_t resource;
        rlim_t max;
    } limits[] = {{RLIMIT_CORE, 0},
                  {RLIMIT_FSIZE, c->bytes_max},
                  {RLIMIT_DATA, OCI_CELL_MEMORY_MAX},
                  {RLIMIT_CPU, c->time_max_ms / 250 + 1}}; /* seconds, of four processors */
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit limit = {limits[i].max, limits[i].max};
        if (setrlimit(limits[i].resource, &limit))
            return false;
    }
    return true;
}

static _Noreturn void exec_program(const struct oci_cell *c, const struct inputs *in, int words_fd,
                                   int output_fd)
{
    char *env[OCI_CELL_ENV_MAX + 3] = {(char[]){"PATH=/usr/bin:/bin:/usr/sbin:/sbin"},
                                       (char[]){"HOME=/nonexistent"}};
    for (size_t i = 0; c->env[i] && i < OCI_CELL_ENV_MAX; i++)
        memcpy(&env[2 + i], &c->env[i], sizeof(env[0])); /* execve(2) writes to none of them */
    (void)signal(SIGPIPE, SIG_DFL);                      /* always valid */
    if (!set_limits(c) || dup2(in->null_fd, 0) < 0 || dup2(output_fd, 1) < 0 ||
        dup2(words_fd, 2) < 0 || syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC))
        _exit(126);
    char *const *argv;
    memcpy(&argv, &c->argv, sizeof(argv)); /* as above */
    (void)execvpe(argv[0], argv, env);
    _exit(errno == ENOENT ? STATUS_NOT_FOUND : 126);
}

static struct {
    uint64_t bytes, entries;
} filled;

static int add_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)type;
    (void)ftw;
    filled.bytes += (uint64_t)st->st_blocks * 512;
    filled.entries++;
    return 0;
}

/* How far the watched directory is filled. What vanishes meanwhile is not counted. */
static int look(const struct oci_cell *c, struct adit_err *err)
{
    if (!c->watched)
        return 0;
    filled.bytes = filled.entries = 0;
    (void)nftw(c->watched, add_entry, LOOK_FDS, FTW_PHYS | FTW_MOUNT); /* the next look is whole */
    if (filled.bytes > c->bytes_max)
        return adit_err_set(err, ADIT_ERR_LIMIT, "the image is larger than %llu MiB",
                            (unsigned long long)c->bytes_max >> 20);
    if (filled.entries > c->entries_max)
        return adit_err_set(err, ADIT_ERR_LIMIT, "the image has more than %llu entries",
                            (unsigned long long)c->entries_max);
    return 0;
}

/* Until the program ends. The caller's end kills it where it was too much. */
static int watch(const struct oci_cell *c, int pidfd, struct adit_err *err)
{
    struct pollfd ended = {pidfd, POLLIN, 0};
    uint64_t pause_ms = LOOK_MIN_MS;
    while (poll(&ended, 1, (int)pause_ms) <= 0) {
        uint64_t begin_ns = adit_clock_mono_ns();
        int rc = look(c, err);
        if (rc)
            return rc;
        pause_ms = LOOK_MIN_MS + 4 * ((adit_clock_mono_ns() - begin_ns) / NS_PER_MS);
    }
    return look(c, err);
}

static int judge(const struct oci_cell *c, int status, struct adit_err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NOT_FOUND)
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "%s is not installed", c->argv[0]);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ)
        return adit_err_set(err, ADIT_ERR_LIMIT, "a file of the image is larger than %llu MiB",
                            (unsigned long long)c->bytes_max >> 20);
    return adit_err_set(err, ADIT_ERR_IO, "%s failed with status %d", c->argv[0],
                        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int run_program(const struct oci_cell *c, const struct inputs *in, int words_fd,
                       int output_fd, struct adit_err *err)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        exec_program(c, in, words_fd, output_fd);
    ADIT_CLEANUP_CLOSE int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return adit_err_sys(err, errno, "start %s", c->argv[0]);
    int rc = watch(c, pidfd, err);
    if (rc)
        return rc;
    (void)waitpid(pid, &status, 0); /* it has ended, and is our child */
    return judge(c, status, err);
}

static _Noreturn void be_warden(const struct oci_cell *c, const struct inputs *in,
                                int ends[PIPE_CNT][2])
{
    static struct verdict v;
    struct adit_err err = ADIT_ERR_INIT;
    int words_fd = ends[PIPE_WORDS][1], verdict_fd = ends[PIPE_VERDICT][1];
    for (size_t i = 0; i < PIPE_CNT; i++)
        (void)close(ends[i][0]); /* the builder's */
    int rc = make_root(c, in, &err);
    if (!rc)
        rc = change_ids(in, &err);
    if (!rc)
        rc = bind_to_builder(verdict_fd, &err);
    if (!rc)
        rc = run_program(c, in, words_fd, c->output ? ends[PIPE_OUTPUT][1] : words_fd, &err);
    v.has_words = rc == ADIT_ERR_IO;
    if (!rc && c->finish)
        rc = c->finish(c->arg, v.report, &err);
    v.code = rc;
    memcpy(v.msg, err.msg, sizeof(v.msg));
    ssize_t n = write(verdict_fd, &v, sizeof(v)); /* less than a pipe holds */
    _exit(n == (ssize_t)sizeof(v) ? 0 : 1);
}

/* ---- the builder's side: what comes out ---- */

/* Of the words, those at the end are kept. */
static void keep_last(struct adit_buf *words)
{
    if (words->len > OCI_CELL_WORDS_CAP)
        adit_buf_consume(words, words->len - OCI_CELL_WORDS_CAP);
}

/* Return: whether the pipe is still open. */
static int read_some(const struct oci_cell *c, int fd, struct adit_buf *out, bool *is_open,
                     struct adit_err *err)
{
    char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof(bytes));
    *is_open = n > 0 || (n < 0 && errno == EINTR);
    if (n <= 0)
        return 0;
    int rc = adit_buf_append(out, bytes, (size_t)n);
    return rc ? adit_err_set(err, rc, "%s said more than %zu bytes", c->argv[0], out->max) : 0;
}

/* Read all pipes to their ends. */
static int collect(const struct oci_cell *c, const int *fds, struct adit_buf **bufs,
                   struct adit_err *err)
{
    struct pollfd polls[PIPE_CNT];
    size_t open_cnt = PIPE_CNT;
    uint64_t end_ns = adit_clock_mono_ns() + c->time_max_ms * NS_PER_MS;
    int rc = 0;
    for (size_t i = 0; i < PIPE_CNT; i++)
        polls[i] = (struct pollfd){fds[i], POLLIN, 0};
    while (!rc && open_cnt) {
        uint64_t now_ns = adit_clock_mono_ns();
        if (now_ns >= end_ns)
            return adit_err_set(err, ADIT_ERR_TIMEOUT, "%s took more than %llu s", c->argv[0],
                                (unsigned long long)c->time_max_ms / 1000);
        uint64_t wait_ms = (end_ns - now_ns) / NS_PER_MS + 1;
        if (poll(polls, PIPE_CNT, wait_ms < 60000 ? (int)wait_ms : 60000) <= 0)
            continue;
        for (size_t i = 0; !rc && i < PIPE_CNT; i++) {
            bool is_open = true;
            if (polls[i].fd >= 0 && polls[i].revents)
                rc = read_some(c, polls[i].fd, bufs[i], &is_open, err);
            if (!is_open) {
                polls[i].fd = -1;
                open_cnt--;
            }
        }
        keep_last(bufs[PIPE_WORDS]);
    }
    return rc;
}

/* The last line that a person can read. */
static void last_words(struct adit_buf *words, char *out, size_t cap)
{
    struct adit_view line, rest = adit_buf_view(words), last = {"", 0};
    for (bool more = rest.len > 0; more;) {
        more = adit_view_split(rest, '\n', &line, &rest);
        if (adit_view_trim(line).len)
            last = adit_view_trim(line);
    }
    size_t len = last.len < cap - 1 ? last.len : cap - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = isprint((unsigned char)last.ptr[i]) ? last.ptr[i] : '?';
    out[len] = '\0';
}

static int take_verdict(const struct oci_cell *c, struct adit_buf **bufs, struct adit_err *err)
{
    static struct verdict v;
    char words[ADIT_ERR_MSG_CAP - 64];
    struct adit_view bytes = adit_buf_view(bufs[PIPE_VERDICT]);
    last_words(bufs[PIPE_WORDS], words, sizeof(words));
    if (bytes.len != sizeof(v))
        return adit_err_set(err, ADIT_ERR_IO, "%s: its cell was ended", c->argv[0]);
    memcpy(&v, bytes.ptr, sizeof(v));
    v.msg[sizeof(v.msg) - 1] = '\0';
    if (v.code && v.has_words && words[0])
        return adit_err_set(err, v.code, "%s: %s", c->argv[0], words);
    if (v.code)
        return adit_err_set(err, v.code, "%s", v.msg);
    if (c->report)
        memcpy(c->report, v.report, c->report_len);
    return 0;
}

static int run_in(const struct oci_cell *c, const struct inputs *in, int ends[PIPE_CNT][2],
                  struct adit_err *err)
{
    struct adit_buf words, verdict;
    int fds[PIPE_CNT];
    struct adit_buf *bufs[PIPE_CNT] = {&words, c->output ? c->output : &words, &verdict};
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        be_warden(c, in, ends);
    for (size_t i = 0; i < PIPE_CNT; i++) {
        fds[i] = ends[i][0];
        (void)close(adit_steal_fd(&ends[i][1])); /* the cell has it */
    }
    if (pid < 0)
        return adit_err_sys(err, errno, "make a process");
    adit_buf_init(&words, 2 * OCI_CELL_WORDS_CAP);
    adit_buf_init(&verdict, 2 * sizeof(struct verdict));
    int rc = collect(c, fds, bufs, err);
    (void)kill(pid, SIGKILL);    /* our child, not reaped yet: the number is its own */
    (void)waitpid(pid, NULL, 0); /* and with it the whole cell */
    if (!rc)
        rc = take_verdict(c, bufs, err);
    adit_buf_fini(&words);
    adit_buf_fini(&verdict);
    return rc;
}

int oci_cell_run(const struct oci_cell *c, struct adit_err *err)
{
    struct inputs in;
    int ends[PIPE_CNT][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, rc = 0;
    if (geteuid() != 0)
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "building a template needs root");
    for (size_t i = 0; !rc && i < PIPE_CNT; i++)
        if (pipe2(ends[i], O_CLOEXEC))
            rc = adit_err_sys(err, errno, "pipe");
    if (!rc) {
        rc = open_inputs(c, &in, err);
        if (!rc)
            rc = run_in(c, &in, ends, err);
        close_inputs(&in);
    }
    for (size_t i = 0; i < PIPE_CNT; i++)
        for (size_t j = 0; j < 2; j++)
            if (ends[i][j] >= 0)
                (void)close(ends[i][j]); /* a pipe */
    return rc;
}
