/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One container from a template: files, mounts, group, runtime.
 *
 * Theory of operation
 *
 * What:    in <sandbox_dir>, beside what every sandbox has (launch_sandbox.h), "container/" with
 * the overlay's upper and work directory; a running container. Nothing else exists outside. Mounts:
 * all are made in a mount namespace of this process: a small tmpfs with the runtime's bundle and
 * state, the template's root as an id-mapped clone (files of uid n appear as the sandbox's uid n),
 * the overlay over it. The container's own mount namespace is made from it by the runtime, which
 * keeps the overlay and drops the rest. So there is no mount to remove: they are gone with the last
 * process, and the host never sees one. Overlay: "volatile": what is written is not forced to disk.
 * The file system of a sandbox does not outlive its processes, and without it the end of every
 * sandbox would sync the whole disk. nodev: device nodes in an image are inert. Runtime: told to
 * leave control groups alone; its state is in the tmpfs. It gets a null device of our own as
 * descriptor 0 and the console's FIFO as 1 and 2 (it hands their inodes to the container's root,
 * which must not be the host's /dev/null), the listening socket as 3, nothing else. It dies with
 * this process. Trust:   the request is checked for form; directories are opened beneath the
 * configured ones without following symlinks, and everything after that goes by descriptor. The
 * template is a hostile tree: refused if /dev, /proc or /sys is not a directory, because runtimes
 * have followed symlinks there. The sandbox directory belongs to the broker, "container/" to root.
 * Failure: whatever was made is removed by the same function that removes a sandbox.
 */
#include "broker/launcher/launch_container.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/oci_config.h"
#include "confine/confine.h"

/* Where the bundle is staged in the private namespace. It exists everywhere, and nobody but root
 * can put something else in its place. */
#define STAGE_DIR "/tmp"
#define RUNTIME_MS 10000u
#define NOFILE_MAX 65536u
#define MODE_DIR 0755

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

/* What a create works on. @template_tree, @envd_tree: detached mounts. */
struct inputs {
    int sandbox_fd, template_tree, envd_tree;
};

/* ---- the sandbox's directory -------------------------------------------------------------------
 */

/* A missing one is fine: the runtime makes it. */
static int check_template_root(int root_fd, struct adit_err *err)
{
    static const char *const names[] = {"dev", "proc", "sys"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st;
        if (fstatat(root_fd, names[i], &st, AT_SYMLINK_NOFOLLOW)) {
            if (errno == ENOENT)
                continue;
            return adit_err_sys(err, errno, "template's /%s", names[i]);
        }
        if (!S_ISDIR(st.st_mode))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "template refused: /%s is not a directory",
                                names[i]);
    }
    return 0;
}

/* ---- mounts, in a namespace of our own ---------------------------------------------------------
 */

/*
 * A user namespace that maps the sandbox's ids. It belongs to the sandbox's own root on the host:
 * what the kernel counts for each user, inotify instances above all, it counts up to the owners of
 * namespaces too, and root's share is what the host itself needs. As its owner, and for as long as
 * the child shows itself, this process may open it without CAP_SYS_PTRACE.
 */
static int open_userns(uint32_t base, int *out, struct adit_err *err)
{
    (void)syscall(SYS_setresuid, -1, base, -1); /* cannot fail with CAP_SETUID, nor back */
    int rc = confine_raise_caps(err);           /* the change lowered them */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);   /* always valid; ends with the change back */
    if (!rc)
        rc = confine_userns(base, LAUNCH_UID_CNT, out, err);
    (void)syscall(SYS_setresuid, -1, 0, -1);
    return rc;
}

/* Give a user namespace a name in the stage: the runtime may not look into this process. */
static int show_userns(int userns, struct adit_err *err)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", userns);
    if (mount(path, "userns", NULL, MS_BIND, NULL))
        return adit_err_sys(err, errno, "mount the user namespace");
    return 0;
}

/* A detached clone of what @fd is, to be attached in another namespace. Only possible in the mount
 * namespace in which @fd was opened. */
static int clone_mount(int fd, const char *what, int *tree, struct adit_err *err)
{
    *tree =
        (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (unsigned)O_CLOEXEC);
    return *tree < 0 ? adit_err_sys(err, errno, "clone the mount of %s", what) : 0;
}

/* Attach a detached mount at @target. @userns_fd -1: ids as they are. */
static int attach(int tree, const char *target, uint64_t flags, int userns_fd, struct adit_err *err)
{
    struct mount_attr attr = {.attr_set = flags};
    if (userns_fd >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (unsigned)userns_fd;
    }
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
        return adit_err_sys(err, errno, "set up the mount of %s", target);
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH))
        return adit_err_sys(err, errno, "attach %s", target);
    return 0;
}

/* The template under the sandbox's own layer, at "rootfs". */
static int mount_root(const struct inputs *in, int userns, int container_tree, struct adit_err *err)
{
    int rc = attach(in->template_tree, "lower", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, userns, err);
    if (!rc)
        rc = attach(container_tree, "container", MOUNT_ATTR_NODEV, -1, err);
    if (!rc && mount("overlay", "rootfs", "overlay", MS_NODEV,
                     "volatile,lowerdir=lower,upperdir=container/upper,workdir=container/work"))
        rc = adit_err_sys(err, errno, "mount the root file system");
    return rc;
}

static int write_config(const struct launch_host *h, const struct launch_request *r,
                        struct adit_err *err)
{
    struct rlimit nofile = {NOFILE_MAX, NOFILE_MAX};
    struct adit_buf text;
    (void)getrlimit(RLIMIT_NOFILE, &nofile); /* cannot fail with these arguments */
    struct oci_config c = {
        .envd_source = STAGE_DIR "/envd",
        .seccomp_bpf = h->seccomp_bpf,
        .userns = STAGE_DIR "/userns",
        .id_base = launch_sandbox_uid(r),
        .id_cnt = LAUNCH_UID_CNT,
        .shm_bytes = r->memory_mb * 1024 * 1024 / 2,
        .nofile = nofile.rlim_max < NOFILE_MAX ? nofile.rlim_max : NOFILE_MAX,
    };
    adit_buf_init(&text, OCI_CONFIG_CAP);
    int rc = oci_config_write(&c, &text, err);
    int fd = rc ? -1 : open("config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (!rc && (fd < 0 || write(fd, adit_buf_view(&text).ptr, text.len) != (ssize_t)text.len))
        rc = adit_err_sys(err, errno, "write config.json");
    if (fd >= 0)
        (void)close(fd); /* on tmpfs: the write said all */
    adit_buf_fini(&text);
    return rc;
}

/* Leave the host's mounts alone from here on, and work in a fresh directory that nobody else sees.
 */
static int enter_stage(const struct inputs *in, struct adit_err *err)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return adit_err_sys(err, errno, "make a mount namespace");
    if (mount("stage", STAGE_DIR, "tmpfs", MS_NOSUID, "mode=0711,size=4m") || chdir(STAGE_DIR))
        return adit_err_sys(err, errno, "mount the stage");
    if (mkdir("lower", MODE_DIR) || mkdir("rootfs", MODE_DIR) || mkdir("container", 0700) ||
        mkdir("state", 0700) || mknod("null", S_IFCHR | 0666, makedev(1, 3)) ||
        mknod("envd", S_IFREG | 0600, 0) || mknod("userns", S_IFREG | 0600, 0))
        return adit_err_sys(err, errno, "fill the stage");
    return attach(in->envd_tree, "envd", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, -1, err);
}

/* ---- the runtime -------------------------------------------------------------------------------
 */

/* What a runtime is started with; all above descriptor 3. */
struct runtime_fds {
    int channel, console, log;
};

/* In the child: become the runtime. It inherits the sandbox's group, descriptors 0 to 3 and nothing
 * else: neither blocked or ignored signals nor an open directory. */
static _Noreturn void exec_runtime(const struct launch_host *h, const struct launch_request *r,
                                   pid_t worker, const struct runtime_fds *fds)
{
    struct adit_err err;
    char id[LAUNCH_ID_CAP];
    char runtime[512];
    char *argv[] = {
        runtime,
        (char[]){"--root=" STAGE_DIR "/state"},
        (char[]){"--cgroup-manager=disabled"},
        (char[]){"--log=" STAGE_DIR "/log"},
        (char[]){"run"},
        (char[]){"--detach"},
        (char[]){"--pid-file=" STAGE_DIR "/pid"},
        (char[]){"--preserve-fds=1"},
        (char[]){"--bundle=" STAGE_DIR},
        id,
        NULL,
    };
    char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};
    sigset_t none;
    int null_fd;

    (void)snprintf(id, sizeof(id), "%s", r->sandbox_id);
    (void)snprintf(runtime, sizeof(runtime), "%s", h->conf->runtime);
    (void)sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);                /* refused for the two that cannot be changed */
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* always valid */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* always valid */
    if (getppid() != worker)
        _exit(126); /* it was killed before, and what it made is being removed */
    if (launch_cgroup_join(&h->cgroups, r->sandbox_id, &err)) {
        (void)dprintf(fds->log, "%s\n", err.msg); /* the exit status tells as well */
        _exit(126);
    }
    null_fd = open("null", O_RDWR);
    /* All of them are above 3, so nothing is overwritten before it was copied. A guest can make the
     * agent log without end, so its standard error goes to the console, of which the broker takes
     * what it wants. In a build with sanitizers it is the broker's own: what they find must be
     * seen. */
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(fds->console, 1) < 0 ||
        (!CONFINE_IS_SANITIZED && dup2(fds->console, 2) < 0) ||
        dup2(fds->channel, OCI_CONFIG_CHANNEL_FD) < 0 ||
        syscall(SYS_close_range, OCI_CONFIG_CHANNEL_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC))
        _exit(126);
    (void)syscall(SYS_execveat, h->runtime_fd, "", argv, envp, AT_EMPTY_PATH);
    (void)dprintf(fds->log, "%s\n", strerror(errno)); /* the exit status tells as well */
    _exit(127);
}

/* The runtime's last words, on one line. */
static int runtime_failed(int log_fd, int status, struct adit_err *err)
{
    char text[ADIT_ERR_MSG_CAP - 64];
    ssize_t len = pread(log_fd, text, sizeof(text) - 1, 0);
    len = len > 0 ? len : 0;
    for (ssize_t i = 0; i < len; i++)
        if (text[i] == '\n')
            text[i] = i + 1 < len ? ' ' : '\0';
    text[len] = '\0';
    if (WIFSIGNALED(status))
        return adit_err_set(err, ADIT_ERR_IO, "runtime killed by signal %d %s", WTERMSIG(status),
                            text);
    return adit_err_set(err, ADIT_ERR_IO, "runtime exit status %d: %s", WEXITSTATUS(status), text);
}

/* Wait for the runtime's own end, which with --detach comes when the container runs. */
static int wait_runtime(pid_t runtime, int log_fd, struct adit_err *err)
{
    int status = 0;
    ADIT_CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, runtime, 0);
    struct pollfd gone = {pidfd, POLLIN, 0};
    bool is_late = pidfd < 0 || poll(&gone, 1, RUNTIME_MS) != 1;
    if (is_late)
        (void)kill(runtime, SIGKILL);   /* our child, not reaped yet: the number is its own */
    (void)waitpid(runtime, &status, 0); /* cannot fail: it is our child */
    if (is_late)
        return adit_err_set(err, ADIT_ERR_TIMEOUT, "runtime took more than %u ms", RUNTIME_MS);
    return status ? runtime_failed(log_fd, status, err) : 0;
}

static int run_runtime(const struct launch_host *h, const struct launch_request *r, int channel_fd,
                       int console_fd, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int log_fd = open("log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return adit_err_sys(err, errno, "open the runtime's log");
    const struct runtime_fds fds = {channel_fd, console_fd, log_fd};
    pid_t worker = getpid();
    pid_t runtime = _Fork();
    if (runtime < 0)
        return adit_err_sys(err, errno, "fork");
    if (runtime == 0)
        exec_runtime(h, r, worker, &fds);
    return wait_runtime(runtime, log_fd, err);
}

/*
 * The agent is the last to go when memory runs out: without it the sandbox is lost. It raises the
 * score of what it starts. Only CAP_SYS_RESOURCE in the first user namespace may lower one, so this
 * can be neither the runtime's nor the agent's own work. A host that does not grant it (a broker
 * that runs in a container itself) keeps the usual order: the largest process goes first.
 */
static void protect_init(pid_t pid)
{
    static const char score[] = "-1000";
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
    ADIT_CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, score, sizeof(score) - 1) < 0 && errno != EACCES)
        adit_log(ADIT_LOG_WARN, "agent_not_protected", LOG_D("pid", pid),
                 LOG_S("error", strerror(errno)));
}

/* Hold the sandbox's first process. */
static int find_init(pid_t *pid, uint64_t *pid_start, int *pidfd, struct adit_err *err)
{
    struct adit_buf text;
    uint64_t number = 0;
    adit_buf_init(&text, 64);
    int rc = adit_file_read(AT_FDCWD, "pid", &text, err);
    if (!rc && adit_view_u64(adit_buf_view(&text), INT32_MAX, &number))
        rc = adit_err_set(err, ADIT_ERR_IO, "runtime wrote no process id");
    adit_buf_fini(&text);
    if (rc)
        return rc;
    *pid = (pid_t)number;
    rc = launch_sandbox_hold(*pid, pid_start, pidfd, err);
    return rc ? adit_err_wrap(err, "the agent") : 0;
}

/* ---- the two requests --------------------------------------------------------------------------
 */

static int open_inputs(const struct launch_host *h, const struct launch_request *r,
                       struct inputs *in, struct adit_err *err)
{
    char root[LAUNCH_TEMPLATE_DIR_CAP + 8];
    ADIT_CLEANUP_CLOSE int template = -1;
    ADIT_CLEANUP_CLOSE int agent = -1;
    (void)snprintf(root, sizeof(root), "%s/root", r->template_dir);
    int rc = launch_host_open_sandbox(h, r->sandbox_dir, &in->sandbox_fd, err);
    if (!rc)
        rc = launch_host_open_template(h, root, O_RDONLY | O_DIRECTORY, &template, err);
    if (!rc)
        rc = check_template_root(template, err);
    if (!rc)
        rc = clone_mount(template, "the template", &in->template_tree, err);
    /* By its path each time: an upgrade replaces the file, and a deleted one cannot be attached. */
    if (!rc) {
        agent = open(h->conf->envd, O_PATH | O_CLOEXEC);
        if (agent < 0)
            rc = adit_err_sys(err, errno, "open %s", h->conf->envd);
    }
    return rc ? rc : clone_mount(agent, "the agent", &in->envd_tree, err);
}

static void close_inputs(struct inputs *in)
{
    int fds[] = {in->sandbox_fd, in->template_tree, in->envd_tree};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* opened for reading only */
}

/* The sandbox's own layer, as a detached mount. */
static int make_container_dir(const struct launch_request *r, int sandbox_fd, int *tree,
                              struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int container = -1;
    ADIT_CLEANUP_CLOSE int upper = -1;
    ADIT_CLEANUP_CLOSE int work = -1;
    int rc = launch_sandbox_make_dir(sandbox_fd, LAUNCH_CONTAINER_NAME, 0700, 0, &container, err);
    if (!rc)
        rc = launch_sandbox_make_dir(container, "upper", MODE_DIR, launch_sandbox_uid(r), &upper,
                                     err);
    if (!rc)
        rc = launch_sandbox_make_dir(container, "work", 0700, 0, &work, err);
    return rc ? rc : clone_mount(container, LAUNCH_CONTAINER_NAME, tree, err);
}

static int start(const struct launch_host *h, const struct launch_request *r,
                 const struct inputs *in, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int tree = -1;
    ADIT_CLEANUP_CLOSE int channel = -1;
    ADIT_CLEANUP_CLOSE int console = -1;
    ADIT_CLEANUP_CLOSE int userns = -1;
    struct launch_cgroup_limits limits = {
        .memory_bytes = r->memory_mb * 1024 * 1024,
        .cpu_count = r->cpu_count,
        .pids_max = r->pids_max,
    };
    int rc = make_container_dir(r, in->sandbox_fd, &tree, err);
    if (!rc)
        rc = launch_sandbox_listen(h, in->sandbox_fd, LAUNCH_CHANNEL_NAME, &channel, err);
    if (!rc)
        rc = launch_sandbox_console(in->sandbox_fd, &console, err);
    if (!rc)
        rc = launch_cgroup_create(&h->cgroups, r->sandbox_id, &limits, err);
    if (!rc)
        rc = enter_stage(in, err);
    if (!rc)
        rc = open_userns(launch_sandbox_uid(r), &userns, err);
    if (!rc)
        rc = show_userns(userns, err);
    if (!rc)
        rc = mount_root(in, userns, tree, err);
    if (!rc)
        rc = write_config(h, r, err);
    return rc ? rc : run_runtime(h, r, channel, console, err);
}

int launch_container_create(const struct launch_host *h, const struct launch_request *r, pid_t *pid,
                            uint64_t *pid_start, int *pidfd, struct adit_err *err)
{
    struct inputs in = {-1, -1, -1};
    int rc = open_inputs(h, r, &in, err);
    if (!rc)
        rc = launch_sandbox_check_new(in.sandbox_fd, r->sandbox_id, err);
    if (!rc) {
        rc = start(h, r, &in, err);
        if (!rc)
            rc = find_init(pid, pid_start, pidfd, err);
        if (!rc)
            protect_init(*pid);
        if (rc)
            (void)launch_sandbox_remove(h, r->sandbox_id, in.sandbox_fd,
                                        NULL); /* the first error counts */
    }
    close_inputs(&in);
    return rc;
}
