/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Booting a virtual machine.
 *
 * Theory of operation
 *
 * What:     the kernel has unpacked the initramfs and runs /init, which is envd:
 *
 *   /modules/order ──> disks ──> /lower (erofs, read-only) + /disk (ext4) ──> overlay ──> chroot
 *   ──> /proc, /sys, /dev … ──> limits ──> (main: egress needs /modules/order.late) ──> modules
 * shut
 *
 * Disks:    are told apart by their serial number, "root" and "overlay"; a VMM that gives none has
 * the root first and the overlay second. Without an overlay disk what is written stays in memory.
 * Limits:   a group of all programs leaves memory and processes to envd; descriptors are as many as
 * in a container.
 * Images:   may lack any folder: mount points are made in the overlay. Paths are looked up after
 * the chroot, so that links of an image lead nowhere else.
 * Memory:   envd runs from the first root, which is memory and cannot be reclaimed by a busy
 * sandbox; the modules' files are removed when they are loaded.
 * Failure:  without a root there is nothing to serve: main logs it and leaves. A kernel that panics
 * reboots at once, and the VMM ends at a reboot, so that the host sees it.
 */
#include "envd/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"

#define LOWER "/lower"
#define DISK "/disk"
#define MERGED "/merged"
#define DISKS_MAX 8
#define QUIET (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static int modules_fd = -1;

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        adit_log(ADIT_LOG_WARN, "not_set", LOG_S("path", path), LOG_D("errno", errno));
    return n < 0 ? -1 : 0;
}

/* ---- modules ---- */

static void load(const char *name)
{
    ADIT_CLEANUP_CLOSE int fd = openat(modules_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
        adit_log(ADIT_LOG_WARN, "module_not_loaded", LOG_S("name", name), LOG_D("errno", errno));
    (void)unlinkat(modules_fd, name, 0); /* memory that nobody needs; what is left does no harm */
}

static void load_list(const char *list)
{
    struct adit_buf text;
    struct adit_view line;
    char name[256];
    adit_buf_init(&text, VM_LIST_CAP);
    bool has_more = adit_file_read(modules_fd, list, &text, NULL) == ADIT_OK;
    struct adit_view rest = adit_buf_view(&text);
    while (has_more) {
        has_more = adit_view_split(rest, '\n', &line, &rest);
        (void)snprintf(name, sizeof name, "%.*s", ADIT_VIEW_ARG(line));
        if (line.len > 0)
            load(name);
    }
    adit_buf_fini(&text);
}

void vm_finish(void)
{
    uint64_t start_ns = adit_clock_mono_ns();
    load_list("order.late");
    (void)close(modules_fd); /* a folder: nothing to lose */
    (void)put("/proc/sys/kernel/modules_disabled", "1");
    adit_log(ADIT_LOG_INFO, "modules_loaded",
             LOG_D("late_us", (adit_clock_mono_ns() - start_ns) / 1000));
}

/* ---- disks ---- */

/* Whether there is a disk vd<letter>, and whether it says that it is @serial. */
static bool has_serial(char letter, const char *serial, bool *is_there)
{
    char path[] = "/sys/block/vd?/serial";
    struct adit_buf text;
    path[strlen("/sys/block/vd")] = letter;
    adit_buf_init(&text, 256);
    *is_there = adit_file_read(AT_FDCWD, path, &text, NULL) == ADIT_OK;
    struct adit_view rest = adit_buf_view(&text), line;
    (void)adit_view_split(rest, '\n', &line, &rest);
    bool is_it = *is_there && adit_view_eq_str(line, serial);
    adit_buf_fini(&text);
    return is_it;
}

/* Its letter; 0: there is none. */
static char find_disk(const char *serial)
{
    bool is_there;
    for (char letter = 'a'; letter < 'a' + DISKS_MAX; letter++)
        if (has_serial(letter, serial, &is_there))
            return letter;
    return 0;
}

static void find_disks(char *root, char *overlay)
{
    bool is_there;
    *root = find_disk("root");
    *overlay = find_disk("overlay");
    if (*root)
        return;
    (void)has_serial('a', "", &is_there);
    *root = is_there ? 'a' : 0;
    (void)has_serial('b', "", &is_there);
    *overlay = is_there ? 'b' : 0;
}

/* ---- the root ---- */

static int do_mount(const char *source, const char *target, const char *type, unsigned long flags,
                    const char *data, struct adit_err *err)
{
    if ((mkdir(target, 0755) != 0 && errno != EEXIST) ||
        mount(source, target, type, flags, data) != 0)
        return adit_err_sys(err, errno, "mount %s at %s", type, target);
    return ADIT_OK;
}

/* What is written goes to the disk, or to memory where there is none. */
static int mount_upper(char overlay, struct adit_err *err)
{
    char device[] = "/dev/vd?";
    device[strlen(device) - 1] = overlay;
    if (!overlay)
        return do_mount("tmpfs", DISK, "tmpfs", 0, "mode=700", err);
    return do_mount(device, DISK, "ext4", MS_NOATIME, "noinit_itable", err);
}

/* The folder that is shown as "/" is the upper one, so it gets what the image's has. */
static int make_upper(struct adit_err *err)
{
    struct stat st;
    if (stat(LOWER, &st) != 0 || (mkdir(DISK "/upper", 0755) != 0 && errno != EEXIST) ||
        (mkdir(DISK "/work", 0700) != 0 && errno != EEXIST) ||
        chown(DISK "/upper", st.st_uid, st.st_gid) != 0 ||
        chmod(DISK "/upper", st.st_mode & 07777) != 0)
        return adit_err_sys(err, errno, "make the folders of the overlay");
    return ADIT_OK;
}

static int mount_root(struct adit_err *err)
{
    char root, overlay, device[] = "/dev/vd?";
    find_disks(&root, &overlay);
    if (!root)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "there is no disk with a root");
    device[strlen(device) - 1] = root;
    int code = do_mount(device, LOWER, "erofs", MS_RDONLY, "", err);
    if (code == ADIT_OK)
        code = mount_upper(overlay, err);
    if (code == ADIT_OK)
        code = make_upper(err);
    if (code == ADIT_OK)
        code = do_mount("overlay", MERGED, "overlay", 0,
                        "lowerdir=" LOWER ",upperdir=" DISK "/upper,workdir=" DISK "/work", err);
    return code;
}

static int enter_root(struct adit_err *err)
{
    if (umount("/dev") != 0 || umount("/sys") != 0 || chdir(MERGED) != 0 ||
        mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 || chdir("/") != 0)
        return adit_err_sys(err, errno, "enter the root");
    return ADIT_OK;
}

/* ---- the system ---- */

void vm_mount_system(void)
{
    static const struct {
        const char *type, *target;
        unsigned long flags;
        const char *data;
    } mounts[] = {
        {"proc", "/proc", QUIET, NULL},
        {"sysfs", "/sys", QUIET, NULL},
        {"devtmpfs", "/dev", MS_NOSUID, "mode=755"},
        {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=666,mode=620,gid=5"},
        {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
        {"mqueue", "/dev/mqueue", QUIET, NULL},
        {"cgroup2", "/sys/fs/cgroup", QUIET, NULL},
    };
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"}};
    struct adit_err err;
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++)
        if (do_mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
                     mounts[i].data, &err) != ADIT_OK)
            adit_log(ADIT_LOG_WARN, "not_mounted", LOG_ERR(&err));
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        (void)!symlink(links[i][0], links[i][1]); /* there already, or done without */
}

/* Programs of the sandbox may fill neither memory nor the table of processes: envd has to go on.
 * They are all below this group (see process/cgroup.c). */
static void limit_programs(void)
{
    struct sysinfo info;
    char text[32];
    if (sysinfo(&info) != 0 || put("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids") != 0 ||
        (mkdir("/sys/fs/cgroup/adit", 0755) != 0 && errno != EEXIST))
        return;
    /* Nothing runs yet: what is not free is the kernel's. */
    uint64_t free_bytes = (uint64_t)info.freeram * info.mem_unit;
    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)(free_bytes > 2 * (uint64_t)VM_MEMORY_RESERVE
                                            ? free_bytes - VM_MEMORY_RESERVE
                                            : free_bytes / 2));
    (void)put("/sys/fs/cgroup/adit/memory.max", text);
    FILE *file = fopen("/proc/sys/kernel/threads-max", "re");
    unsigned most;
    if (file && fscanf(file, "%u", &most) == 1 && most > 2 * VM_PROCESS_RESERVE) {
        (void)snprintf(text, sizeof text, "%u", most - VM_PROCESS_RESERVE);
        (void)put("/sys/fs/cgroup/adit/pids.max", text);
    }
    if (file)
        (void)fclose(file); /* opened for reading */
}

void vm_raise_limits(struct rlimit *nofile)
{
    const struct rlimit processes = {RLIM_INFINITY, RLIM_INFINITY};
    *nofile = (struct rlimit){VM_NOFILE, VM_NOFILE};
    if (setrlimit(RLIMIT_NOFILE, nofile) != 0 || setrlimit(RLIMIT_NPROC, &processes) != 0)
        adit_log(ADIT_LOG_WARN, "limits_not_raised", LOG_D("errno", errno));
}

int vm_set_hostname(const char *name, struct adit_err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    size_t len = strlen(name);
    if (len == 0 || len >= VM_HOSTNAME_CAP || strspn(name, allowed) != len)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid hostname");
    if (sethostname(name, len) != 0)
        adit_log(ADIT_LOG_DEBUG, "hostname_not_set", LOG_D("errno", errno));
    return ADIT_OK;
}

int vm_add_entropy(const char *base64, struct adit_err *err)
{
    union {
        struct rand_pool_info info;
        char room[sizeof(struct rand_pool_info) + VM_ENTROPY_CAP];
    } pool;
    size_t len;
    struct adit_view text = adit_view_str(base64);
    if (text.len >= VM_ENTROPY_CAP || adit_base64_decode(text, pool.info.buf, &len) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "entropy must be base64 of 512 bytes at most");
    pool.info.buf_size = (int)len;
    pool.info.entropy_count = (int)len * 8;
    ADIT_CLEANUP_CLOSE int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) != 0 || ioctl(fd, RNDRESEEDCRNG) != 0)
        adit_log(ADIT_LOG_DEBUG, "entropy_not_added", LOG_D("errno", errno));
    explicit_bzero(&pool, sizeof pool);
    return ADIT_OK;
}

static void set_up_kernel(void)
{
    (void)put("/proc/sys/kernel/panic", "-1");
    (void)put("/proc/sys/kernel/panic_on_oops", "1");
    (void)reboot(RB_DISABLE_CAD); /* the VMM's keys stop envd in order instead */
    limit_programs();
}

int vm_boot(const char *hostname, struct adit_err *err)
{
    uint64_t kernel_ns = adit_clock_mono_ns();
    int code = do_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL, err);
    if (code == ADIT_OK)
        code = do_mount("sysfs", "/sys", "sysfs", 0, NULL, err);
    if (code != ADIT_OK)
        return code;
    modules_fd = open("/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    load_list("order");
    if (access("/sys/bus/pci/devices/0000:00:00.0", F_OK) == 0)
        load_list("order.pci");
    uint64_t modules_ns = adit_clock_mono_ns();
    code = mount_root(err);
    if (code == ADIT_OK)
        code = enter_root(err);
    if (code != ADIT_OK)
        return code;
    vm_mount_system();
    set_up_kernel();
    code = vm_set_hostname(hostname, err);
    if (code != ADIT_OK)
        return code;
    uint64_t end_ns = adit_clock_mono_ns();
    adit_log(ADIT_LOG_INFO, "booted", LOG_D("kernel_us", kernel_ns / 1000),
             LOG_D("modules_us", (modules_ns - kernel_ns) / 1000),
             LOG_D("root_us", (end_ns - modules_ns) / 1000));
    return ADIT_OK;
}

/* The serial line sends on its own; the last words are to be out before it stops. Bounded, since
 * nobody may listen. */
static void drain_console(void)
{
    const struct timespec pause = {0, 10 * 1000 * 1000};
    int left = 0;
    for (int i = 0; i < VM_DRAIN_MS / 10; i++) {
        if (ioctl(STDERR_FILENO, TIOCOUTQ, &left) != 0 || left == 0)
            return;
        (void)nanosleep(&pause, NULL); /* the line says nothing when it is done */
    }
}

void vm_leave(void)
{
    drain_console();
    sync();
    (void)reboot(RB_AUTOBOOT); /* as the first process of a machine it does not return */
    _exit(EXIT_FAILURE);
}
