/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine from a template: disks, sockets, group, processes.
 *
 * Theory of operation
 *
 * What:    in <sandbox_dir>, beside what every sandbox has (launch_sandbox.h), the socket of the
 *          monitor and "vm/" with the disk of the sandbox's own, a sparse copy of the template's
 *          empty one; a control group; a shepherd (launch_shepherd.h) with QEMU and vsock-device.
 *          A template without such a disk gives a guest whose writable layer is memory.
 * Inputs:  all that the two use comes by inherited descriptors: disks, the listening sockets, the
 *          connection between them, the console's FIFO. QEMU reads its own files below /usr, and
 *          the guest's kernel and initramfs, from a root of its own.
 * Memory:  the group's limit is the guest's memory and a named allowance: a guest that fills its
 *          memory runs out of it inside, not here.
 * Ready:   a create is answered when QEMU's main loop runs, so what it says against its arguments,
 *          images or /dev/kvm is in the answer: its last words are read back from the console.
 * Probe:   a guest that boots, is told to leave at once and says so: the kernel's line before a
 *          restart is the proof, since a machine that crashes leaves QEMU with status 0 as well.
 * Others:  Firecracker and Cloud Hypervisor open files by name and make their sockets themselves,
 *          so their root has the files under their names and one folder that they may write to;
 *          the links to the sockets are made here. The broker tells them what to run. It must not
 *          be led elsewhere by one that its guest has taken over: none can make a symlink.
 * Trust:   the request is checked for form; directories are opened beneath the configured ones
 *          without following links. Images are hostile: they are copied and handed on, never read.
 * Failure: whatever was made is removed by the same function that removes a sandbox.
 */
#include "broker/launcher/launch_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "broker/launcher/launch_disk.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/launch_shepherd.h"
#include "broker/launcher/qemu_argv.h"
#include "broker/launcher/qemu_ready.h"
#include "broker/launcher/tsc_rate.h"

#define MIB (UINT64_C(1) << 20)
/* With LAUNCH_SHEPHERD_START_MS less than LAUNCHER_JOB_MS. */
#define READY_MS 14000u
/* More processors than that the machine does not have. */
#define CPU_MAX 255u
#define PROBE_MEMORY_MB 256u
/* The kernel's words when a guest restarts in order, and what is read of the console to find them.
 */
#define PROBE_PROOF "reboot: Restarting system"
#define CONSOLE_BYTES 65536
#define WORDS_CAP 200
#define API_LOOK_MS 5
#define MONITOR_MOUNTS_MAX 9

/* The first mounts of the monitor: programs that are not static need them. */
#define LIBRARIES 3u

/* Users of a sandbox, counted from its first id. */
enum { USER_VMM, USER_DEVICE, USER_SHEPHERD };

/* What a virtual machine is made of; each a descriptor or -1. */
struct parts {
    int sandbox, vmm_program, device_program;
    int root_image, overlay_image, overlay;
    int channel, orders, console, console_end, vmm_vhost, device_vhost;
};

static const struct parts no_parts = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

static void close_parts(const struct parts *p)
{
    const int fds[] = {p->sandbox,   p->vmm_program,  p->device_program, p->root_image,
                       p->overlay,   p->channel,      p->orders,         p->console,
                       p->vmm_vhost, p->device_vhost, p->overlay_image,  p->console_end};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]); /* the sandbox's files do not have to reach a disk */
}

/* A monitor that is told over HTTP what to run, and makes its sockets itself. */
static bool has_api(const struct launch_request *r)
{
    return r->driver != LAUNCH_DRIVER_QEMU;
}

/* ---- inputs ------------------------------------------------------------------------------------
 */

static int open_program(const char *path, const char *what, int *out, struct adit_err *err)
{
    *out = path[0] ? open(path, O_PATH | O_CLOEXEC) : -1;
    if (*out < 0)
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "%s is missing: %s", what,
                            path[0] ? path : "it is not in PATH");
    return 0;
}

static bool is_roots_alone(const struct stat *st)
{
    return st->st_uid == 0 && (S_ISLNK(st->st_mode) || !(st->st_mode & (S_IWGRP | S_IWOTH)));
}

/* The guest directory may lie where the broker's user could make one itself: what is in it comes
 * into machines, so it has to be root's, with the link that leads to it. */
static int format_guest_path(const struct launch_host *h, const char *name, char out[PATH_MAX],
                             struct adit_err *err)
{
    const char *dir = h->conf->guest_dir;
    struct stat link, st, file;
    int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    if (len >= PATH_MAX || lstat(dir, &link) || stat(dir, &st) || lstat(out, &file))
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "%s/%s is missing: rootfs-builder makes it (kernel, initramfs)", dir,
                            name);
    if (!is_roots_alone(&link) || !is_roots_alone(&st) || !is_roots_alone(&file) ||
        !S_ISREG(file.st_mode))
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "%s/%s is not a file of root's alone", dir,
                            name);
    return 0;
}

/* An image of the template. Nothing but a plain file: a FIFO would be waited for. */
static int open_image(const struct launch_host *h, const struct launch_request *r, const char *name,
                      int *out, struct adit_err *err)
{
    char path[LAUNCH_TEMPLATE_DIR_CAP + 32];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", r->template_dir, name);
    int rc = launch_host_open_template(h, path, O_RDONLY | O_NONBLOCK, out, err);
    if (rc)
        return rc;
    if (fstat(*out, &st) || !S_ISREG(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "template refused: %s is no file", name);
    return 0;
}

static int lacks_image(const char *what, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_PRECONDITION,
                        "the template has no %s: rootfs-builder image makes it", what);
}

/* Sandboxes are counted with their disks, so another size than the one that was asked for is not
 * taken. None is asked for: there may be one. */
static int open_disk(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                     struct adit_err *err)
{
    struct adit_err why;
    struct stat st;
    int rc = open_image(h, r, LAUNCH_VM_OVERLAY_NAME, &p->overlay_image, &why);
    if (rc == ADIT_ERR_NOT_FOUND)
        return r->disk_mb ? lacks_image("disk for virtual machines", err) : 0;
    if (rc) {
        if (err)
            *err = why;
        return rc;
    }
    if (fstat(p->overlay_image, &st))
        return adit_err_sys(err, errno, "%s", LAUNCH_VM_OVERLAY_NAME);
    if (r->disk_mb && (uint64_t)st.st_size != r->disk_mb * MIB)
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "the template's disk has %llu MiB, not %llu: rootfs-builder image "
                            "makes it anew once it is removed",
                            (unsigned long long)st.st_size / MIB, (unsigned long long)r->disk_mb);
    return 0;
}

static int open_images(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                       struct adit_err *err)
{
    int rc = open_image(h, r, LAUNCH_VM_ROOT_NAME, &p->root_image, err);
    if (rc == ADIT_ERR_NOT_FOUND)
        return lacks_image("image for virtual machines", err);
    return rc ? rc : open_disk(h, r, p, err);
}

static int check_figures(const struct launch_request *r, struct adit_err *err)
{
    if (r->memory_mb < LAUNCH_VM_MEMORY_MB_MIN)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "a virtual machine needs %u MiB of memory",
                            LAUNCH_VM_MEMORY_MB_MIN);
    if (r->cpu_count > CPU_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "a virtual machine has at most %u processors",
                            CPU_MAX);
    if (r->driver == LAUNCH_DRIVER_CONTAINER ||
        (has_api(r) && r->accel != LAUNCH_ACCEL_KVM)) /* they emulate nothing */
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "driver %u is not there", r->driver);
    return 0;
}

static int open_inputs(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                       struct adit_err *err)
{
    int rc = check_figures(r, err);
    if (!rc && r->driver == LAUNCH_DRIVER_FIRECRACKER)
        rc = open_program(h->conf->firecracker, "Firecracker", &p->vmm_program, err);
    else if (!rc && r->driver == LAUNCH_DRIVER_CLOUD_HYPERVISOR)
        rc = open_program(h->conf->cloud_hypervisor, "Cloud Hypervisor", &p->vmm_program, err);
    else if (!rc)
        rc = open_program(h->conf->qemu, "QEMU", &p->vmm_program, err);
    if (!rc && !has_api(r))
        rc = open_program(h->conf->vsock_device, "vsock-device", &p->device_program, err);
    if (!rc)
        rc = launch_host_open_sandbox(h, r->sandbox_dir, &p->sandbox, err);
    return rc ? rc : open_images(h, r, p, err);
}

/* ---- what is made ------------------------------------------------------------------------------
 */

/* The disk, for a monitor that opens it by its name as well, and the folder of its sockets. The
 * sandbox's directory lets nobody but the broker come here. */
static int make_own(const struct launch_request *r, struct parts *p, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int dir = -1;
    ADIT_CLEANUP_CLOSE int run = -1;
    uid_t vmm = launch_sandbox_uid(r) + USER_VMM;
    int rc =
        launch_sandbox_make_dir(p->sandbox, LAUNCH_VM_NAME, has_api(r) ? 0711 : 0700, 0, &dir, err);
    if (!rc && p->overlay_image >= 0)
        rc = launch_disk_copy(p->overlay_image, dir, LAUNCH_VM_OVERLAY_NAME, &p->overlay, err);
    if (rc || !has_api(r))
        return rc;
    if (p->overlay >= 0 && fchown(p->overlay, vmm, vmm))
        return adit_err_sys(err, errno, "give the disk to the monitor");
    if (symlinkat(LAUNCH_VM_RUN_CHANNEL, p->sandbox, LAUNCH_CHANNEL_NAME) ||
        symlinkat(LAUNCH_VM_RUN_API, p->sandbox, LAUNCH_VMM_SOCKET_NAME))
        return adit_err_sys(err, errno, "link the monitor's sockets");
    return launch_sandbox_make_dir(dir, LAUNCH_VM_RUN_NAME, 0755, vmm, &run, err);
}

static int make_group(const struct launch_host *h, const struct launch_request *r,
                      uint64_t memory_mb, uint32_t cpu_count, struct adit_err *err)
{
    uint64_t allowance = LAUNCH_VM_ALLOWANCE_MB;
    if (r->accel == LAUNCH_ACCEL_TCG)
        allowance += LAUNCH_VM_EMULATION_MB;
    struct launch_cgroup_limits limits = {
        .memory_bytes = (memory_mb + allowance) * MIB,
        .cpu_count = cpu_count + LAUNCH_VM_CPU_ALLOWANCE,
        .pids_max = cpu_count + LAUNCH_VM_THREADS_MAX,
    };
    return launch_cgroup_create(&h->cgroups, r->sandbox_id, &limits, err);
}

/* What QEMU and its device inherit. */
static int make_sockets(const struct launch_host *h, struct parts *p, struct adit_err *err)
{
    int pair[2];
    int rc = launch_sandbox_listen(h, p->sandbox, LAUNCH_CHANNEL_NAME, &p->channel, err);
    if (!rc)
        rc = launch_sandbox_listen(h, p->sandbox, LAUNCH_VMM_SOCKET_NAME, &p->orders, err);
    if (!rc && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        rc = adit_err_sys(err, errno, "socket pair");
    if (!rc) {
        p->vmm_vhost = pair[0];
        p->device_vhost = pair[1];
    }
    return rc;
}

static int make_parts(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                      struct adit_err *err)
{
    int rc = make_own(r, p, err);
    if (!rc && !has_api(r))
        rc = make_sockets(h, p, err);
    if (!rc)
        rc = launch_sandbox_console(p->sandbox, &p->console, err);
    if (!rc)
        rc = make_group(h, r, r->memory_mb, r->cpu_count, err);
    return rc;
}

/* ---- processes ---------------------------------------------------------------------------------
 */

static struct confine_user user_of(const struct launch_request *r, unsigned number)
{
    uid_t uid = launch_sandbox_uid(r) + number;
    return (struct confine_user){.uid = uid, .gid = uid};
}

static void keep(struct launch_shepherd_child *c, int fd)
{
    if (fd >= 0)
        c->keep[c->keep_cnt++] = fd;
}

/* The largest file that any of the processes has: the guest's memory, or its disk. */
static uint64_t largest_file(const struct parts *p, uint64_t memory_mb)
{
    struct stat st;
    uint64_t disk = p->overlay >= 0 && fstat(p->overlay, &st) == 0 ? (uint64_t)st.st_size : 0;
    return disk > memory_mb * MIB ? disk : memory_mb * MIB;
}

/* Start QEMU with @argv, and the device if @device is given. */
static int start(const struct launch_host *h, const struct launch_request *r, const struct parts *p,
                 const struct qemu_argv_spec *spec, pid_t *pid, struct adit_err *err)
{
    const struct confine_mount mounts[] = {
        {.path = "/usr", .has_programs = true},
        {.path = "/lib", .has_programs = true},
        {.path = "/lib64", .has_programs = true},
        {.path = "/dev", .has_devices = true},
        {.path = spec->kernel},
        {.path = spec->initramfs},
    };
    char vhost[12], listen_fd[12], cid[12];
    char *device_argv[] = {(char[]){"vsock-device"},
                           (char[]){"--vhost-fd"},
                           vhost,
                           (char[]){"--listen-fd"},
                           listen_fd,
                           (char[]){"--guest-cid"},
                           cid,
                           NULL};
    struct qemu_argv qemu;
    struct launch_shepherd_flock flock = {
        .sandbox_id = r->sandbox_id,
        .cgroups = &h->cgroups,
        .user = user_of(r, USER_SHEPHERD),
        .vmm = {.program_fd = p->vmm_program,
                .argv = qemu.argv,
                .user = user_of(r, USER_VMM),
                .mounts = mounts,
                .mount_cnt = sizeof(mounts) / sizeof(mounts[0])},
        .device = {.program_fd = p->device_program,
                   .argv = p->device_vhost >= 0 ? device_argv : NULL,
                   .user = user_of(r, USER_DEVICE),
                   .mounts = mounts,
                   .mount_cnt = CONFINE_IS_SANITIZED ? LIBRARIES : 0},
        .console_fd = p->console,
        .has_kvm = spec->has_kvm,
        .file_max = largest_file(p, spec->memory_mb),
    };
    (void)snprintf(vhost, sizeof(vhost), "%d", p->device_vhost);
    (void)snprintf(listen_fd, sizeof(listen_fd), "%d", p->channel);
    (void)snprintf(cid, sizeof(cid), "%u", LAUNCH_VM_CID_BASE + r->slot);
    keep(&flock.device, p->device_vhost);
    keep(&flock.device, p->channel);
    keep(&flock.vmm, spec->vhost_fd);
    keep(&flock.vmm, spec->qmp_fd);
    keep(&flock.vmm, spec->root_fd);
    keep(&flock.vmm, spec->overlay_fd);
    int rc = qemu_argv_make(spec, &qemu, err);
    return rc ? rc : launch_shepherd_start(&flock, pid, err);
}

/* What was written to the console last, on one line of printable characters. */
static void last_words(int console_fd, char out[WORDS_CAP])
{
    char text[CONSOLE_BYTES];
    ssize_t n, len = 0;
    size_t at = 0;
    while (len < CONSOLE_BYTES &&
           (n = read(console_fd, text + len, (size_t)(CONSOLE_BYTES - len))) > 0)
        len += n;
    for (ssize_t i = len < WORDS_CAP ? 0 : len - WORDS_CAP + 1; i < len; i++)
        if (text[i] >= ' ' && text[i] < 0x7f)
            out[at++] = text[i];
        else if (text[i] == '\n' && i + 1 < len && at > 0)
            out[at++] = ' ';
    out[at] = '\0';
}

/* A machine did not start: @err says how that was seen, and more is known. */
static int explain(const struct launch_host *h, const struct launch_request *r,
                   const struct parts *p, pid_t pid, struct adit_err *err)
{
    char words[WORDS_CAP], how[64];
    struct adit_err seen = *err;
    int status;
    bool is_oom = launch_cgroup_oom_kills(&h->cgroups, r->sandbox_id) > 0;
    bool has_ended = seen.code == ADIT_ERR_CLOSED && waitpid(pid, &status, 0) == pid;
    if (has_ended)
        launch_shepherd_explain(status, is_oom, how, sizeof(how));
    last_words(p->console, words);
    return adit_err_set(err, has_ended ? ADIT_ERR_IO : seen.code, "%s%s%s",
                        has_ended ? how : seen.msg, words[0] ? ": " : "", words);
}

/* QEMU lives as long as its sockets are open in it alone. */
static int wait_ready(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                      pid_t pid, struct adit_err *err)
{
    int *handed_on[] = {&p->channel, &p->orders, &p->vmm_vhost, &p->device_vhost};
    for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
        (void)close(adit_steal_fd(handed_on[i])); /* others have them */
    int rc = qemu_ready_wait(p->sandbox, LAUNCH_VMM_SOCKET_NAME, h->conf->uid, READY_MS, err);
    return rc ? explain(h, r, p, pid, err) : 0;
}

static int run(const struct launch_host *h, const struct launch_request *r, struct parts *p,
               pid_t *pid, struct adit_err *err)
{
    char kernel[PATH_MAX], initramfs[PATH_MAX], words[LAUNCH_ID_CAP + 32];
    (void)snprintf(words, sizeof(words), "--vm --hostname %s", r->sandbox_id);
    int rc = format_guest_path(h, LAUNCH_VM_KERNEL_NAME, kernel, err);
    if (!rc)
        rc = format_guest_path(h, LAUNCH_VM_INITRAMFS_NAME, initramfs, err);
    if (!rc)
        rc = make_parts(h, r, p, err);
    if (rc)
        return rc;
    const struct qemu_argv_spec spec = {
        .program = h->conf->qemu,
        .kernel = kernel,
        .initramfs = initramfs,
        .command_line = words,
        .has_kvm = r->accel == LAUNCH_ACCEL_KVM,
        .tsc_khz = r->accel == LAUNCH_ACCEL_KVM ? 0 : tsc_rate_khz(),
        .cpu_count = r->cpu_count,
        .memory_mb = r->memory_mb,
        .root_fd = p->root_image,
        .overlay_fd = p->overlay,
        .vhost_fd = p->vmm_vhost,
        .qmp_fd = p->orders,
    };
    rc = start(h, r, p, &spec, pid, err);
    return rc ? rc : wait_ready(h, r, p, *pid, err);
}

/* ---- monitors with an API ----------------------------------------------------------------------
 */

/* Until it takes orders, or has ended. Nothing tells when a socket begins to listen. */
static int wait_api(const char *path, pid_t pid, struct adit_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ADIT_CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd gone = {pidfd, POLLIN, 0};
    if (pidfd < 0 || strlen(path) >= sizeof(address.sun_path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is too long for a socket", path);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    for (unsigned waited_ms = 0; waited_ms < READY_MS; waited_ms += API_LOOK_MS) {
        ADIT_CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return 0;
        if (poll(&gone, 1, API_LOOK_MS) != 0)
            return adit_err_set(err, ADIT_ERR_CLOSED, "the monitor ended");
    }
    return adit_err_set(err, ADIT_ERR_TIMEOUT, "no API within %u ms", READY_MS);
}

/* Paths of one sandbox; the monitor sees what it is told of under its own name. */
struct paths {
    char kernel[PATH_MAX], initramfs[PATH_MAX];
    char root[PATH_MAX], overlay[PATH_MAX], run[PATH_MAX], api[PATH_MAX];
};

static int find_paths(const struct launch_host *h, const struct launch_request *r,
                      struct paths *out, struct adit_err *err)
{
    (void)snprintf(out->root, sizeof(out->root), "%s/" LAUNCH_VM_ROOT_NAME, r->template_dir);
    (void)snprintf(out->overlay, sizeof(out->overlay),
                   "%s/" LAUNCH_VM_NAME "/" LAUNCH_VM_OVERLAY_NAME, r->sandbox_dir);
    (void)snprintf(out->run, sizeof(out->run), "%s/" LAUNCH_VM_NAME "/" LAUNCH_VM_RUN_NAME,
                   r->sandbox_dir);
    (void)snprintf(out->api, sizeof(out->api), "%s/" LAUNCH_VM_RUN_API, r->sandbox_dir);
    int rc = format_guest_path(h, LAUNCH_VM_KERNEL_NAME, out->kernel, err);
    return rc ? rc : format_guest_path(h, LAUNCH_VM_INITRAMFS_NAME, out->initramfs, err);
}

static int start_monitor(const struct launch_host *h, const struct launch_request *r,
                         const struct parts *p, const struct paths *paths, pid_t *pid,
                         struct adit_err *err)
{
    char socket_word[PATH_MAX + 8], id[LAUNCH_ID_CAP];
    bool is_firecracker = r->driver == LAUNCH_DRIVER_FIRECRACKER;
    char *firecracker[] = {
        (char[]){"firecracker"}, (char[]){"--api-sock"}, socket_word, (char[]){"--id"}, id, NULL};
    char *cloud_hypervisor[] = {(char[]){"cloud-hypervisor"}, (char[]){"--api-socket"}, socket_word,
                                (char[]){"--seccomp"},        (char[]){"true"},         NULL};
    struct confine_mount mounts[MONITOR_MOUNTS_MAX] = {
        {.path = "/usr", .has_programs = true},
        {.path = "/lib", .has_programs = true},
        {.path = "/lib64", .has_programs = true},
        {.path = "/dev", .has_devices = true},
        {.path = paths->kernel},
        {.path = paths->initramfs},
        {.path = paths->root},
        {.path = paths->run, .is_writable = true},
    };
    struct launch_shepherd_flock flock = {
        .sandbox_id = r->sandbox_id,
        .cgroups = &h->cgroups,
        .user = user_of(r, USER_SHEPHERD),
        .vmm = {.program_fd = p->vmm_program,
                .argv = is_firecracker ? firecracker : cloud_hypervisor,
                .user = user_of(r, USER_VMM),
                .mounts = mounts,
                .mount_cnt = MONITOR_MOUNTS_MAX - 1},
        .console_fd = p->console,
        .has_kvm = true,
        .makes_sockets = true,
        .file_max = largest_file(p, r->memory_mb),
    };
    if (p->overlay >= 0)
        mounts[flock.vmm.mount_cnt++] =
            (struct confine_mount){.path = paths->overlay, .is_writable = true};
    (void)snprintf(socket_word, sizeof(socket_word), "%s%s",
                   is_firecracker ? "" : "path=", paths->api);
    (void)snprintf(id, sizeof(id), "%s", r->sandbox_id);
    return launch_shepherd_start(&flock, pid, err);
}

static int run_monitor(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                       pid_t *pid, struct adit_err *err)
{
    struct paths paths;
    int rc = find_paths(h, r, &paths, err);
    if (!rc)
        rc = make_parts(h, r, p, err);
    if (!rc)
        rc = start_monitor(h, r, p, &paths, pid, err);
    if (rc)
        return rc;
    rc = wait_api(paths.api, *pid, err);
    return rc ? explain(h, r, p, *pid, err) : 0;
}

int launch_vm_create(const struct launch_host *h, const struct launch_request *r, pid_t *pid,
                     uint64_t *pid_start, int *pidfd, struct adit_err *err)
{
    struct parts p = no_parts;
    int rc = open_inputs(h, r, &p, err);
    if (!rc)
        rc = launch_sandbox_check_new(p.sandbox, r->sandbox_id, err);
    if (!rc) {
        rc = (has_api(r) ? run_monitor : run)(h, r, &p, pid, err);
        if (!rc)
            rc = launch_sandbox_hold(*pid, pid_start, pidfd, err);
        if (rc)
            (void)launch_sandbox_remove(h, r->sandbox_id, p.sandbox, NULL); /* the first counts */
    }
    close_parts(&p);
    return rc;
}

/* ---- probing -----------------------------------------------------------------------------------
 */

/* Wait for the guest to leave. */
static int wait_left(pid_t pid, unsigned wait_ms, int *status, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd gone = {pidfd, POLLIN, 0};
    if (pidfd < 0 || poll(&gone, 1, (int)wait_ms) != 1)
        return adit_err_set(err, ADIT_ERR_TIMEOUT, "a guest does not boot within %u ms", wait_ms);
    return waitpid(pid, status, 0) == pid ? 0 : adit_err_sys(err, errno, "wait for a guest");
}

static int probe(const struct launch_host *h, const struct launch_request *r, struct parts *p,
                 struct adit_err *err)
{
    char kernel[PATH_MAX], initramfs[PATH_MAX], words[WORDS_CAP], how[64];
    unsigned wait_ms = r->accel == LAUNCH_ACCEL_KVM ? LAUNCH_PROBE_KVM_MS : LAUNCH_PROBE_TCG_MS;
    struct qemu_argv_spec spec = {
        .program = h->conf->qemu,
        .kernel = kernel,
        .initramfs = initramfs,
        .command_line = "--vm --probe",
        .has_kvm = r->accel == LAUNCH_ACCEL_KVM,
        .tsc_khz = r->accel == LAUNCH_ACCEL_KVM ? 0 : tsc_rate_khz(),
        .cpu_count = 1,
        .memory_mb = PROBE_MEMORY_MB,
        .root_fd = -1,
        .overlay_fd = -1,
        .vhost_fd = -1,
        .qmp_fd = -1,
    };
    pid_t pid;
    int status;
    int rc = format_guest_path(h, LAUNCH_VM_KERNEL_NAME, kernel, err);
    if (!rc)
        rc = format_guest_path(h, LAUNCH_VM_INITRAMFS_NAME, initramfs, err);
    if (!rc)
        rc = start(h, r, p, &spec, &pid, err);
    if (!rc)
        rc = wait_left(pid, wait_ms, &status, err);
    if (rc)
        return rc;
    last_words(p->console_end, words);
    launch_shepherd_explain(status, false, how, sizeof(how));
    return status == 0 && strstr(words, PROBE_PROOF)
               ? 0
               : adit_err_set(err, ADIT_ERR_IO, "%s: %s", how, words);
}

int launch_vm_probe(const struct launch_host *h, const struct launch_request *r,
                    struct adit_err *err)
{
    struct parts p = no_parts;
    int ends[2];
    int rc = open_program(h->conf->qemu, "QEMU", &p.vmm_program, err);
    if (!rc && pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        rc = adit_err_sys(err, errno, "pipe");
    if (!rc) {
        p.console_end = ends[0];
        p.console = ends[1];
        rc = make_group(h, r, PROBE_MEMORY_MB, 1, err);
        if (!rc)
            rc = probe(h, r, &p, err);
        (void)launch_cgroup_remove(&h->cgroups, r->sandbox_id, NULL); /* the first error counts */
    }
    close_parts(&p);
    return rc;
}
