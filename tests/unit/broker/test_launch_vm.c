/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines by the launcher, under QEMU's emulation. Needs root, control groups, QEMU, the
 * guest's images (`make guest`) and the tools that make a template's.
 */
#include "broker/launcher/launch_vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/launch_shepherd.h"
#include "broker/launcher/launcher_profile.h"
#include "tests/unit/broker/run_world.h"
#include "tests/unit/suite.h"

#define BROKER_ID 61180
#define GUEST_DIR "build/run/guest"
#define MEMORY_MB 192
#define DISK_MB 64
/* A machine that boots on busy cores. */
#define BOOT_MS 60000

static char base[RUN_WORLD_CAP], templates[64], sandboxes[64], sandbox[LAUNCH_SANDBOX_DIR_CAP];
static char guest_dir[PATH_MAX], device[PATH_MAX], qemu[] = "/usr/bin/qemu-system-x86_64";
static struct launcher_conf conf;
static struct launch_host host;
static struct launch_request request;

/* Also outside of tests, where Check's assertions do not work. */
static void must(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "test_launch_vm: failed: %s\n", what);
    exit(EXIT_FAILURE);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    must(system(command) == 0, command);
}

static void setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)snprintf(sandbox, sizeof(sandbox), "%.48s/s1", sandboxes);
    shell("mkdir -p %s && chown %d:%d %s %s", sandbox, BROKER_ID, BROKER_ID, sandboxes, sandbox);
    conf = (struct launcher_conf){.runtime = "/bin/true",
                                  .envd = "/bin/true",
                                  .qemu = qemu,
                                  .firecracker = "",
                                  .cloud_hypervisor = "",
                                  .vsock_device = device,
                                  .guest_dir = guest_dir,
                                  .templates_dir = templates,
                                  .sandboxes_dir = sandboxes,
                                  .cgroup_parent = run_world_group(base),
                                  .uid = BROKER_ID,
                                  .gid = BROKER_ID};
    request = (struct launch_request){.magic = LAUNCH_MAGIC,
                                      .kind = LAUNCH_CREATE,
                                      .driver = LAUNCH_DRIVER_QEMU,
                                      .id = 1,
                                      .slot = LAUNCH_SLOTS - 1,
                                      .cpu_count = 1,
                                      .pids_max = 64,
                                      .memory_mb = MEMORY_MB,
                                      .disk_mb = DISK_MB,
                                      .sandbox_id = "s1"};
    (void)snprintf(request.sandbox_dir, sizeof(request.sandbox_dir), "%s", sandbox);
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/t", templates);
    ck_assert_msg(launch_host_open(&host, &conf, true, &err) == 0, "%s", err.msg);
    must(launch_sandbox_destroy(&host, &request, NULL) == 0, "remove what a failed test left");
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(launch_sandbox_destroy(&host, &request, NULL), 0);
    shell("[ -z \"$(ls -A %s)\" ]", sandbox);
    shell("! ls -d /sys/fs/cgroup/%s/s1 /sys/fs/cgroup/*/%s/s1 2>/dev/null", conf.cgroup_parent,
          conf.cgroup_parent);
    launch_host_close(&host);
}

struct outcome {
    int code;
    pid_t pid;
    uint64_t pid_start;
    char message[ADIT_ERR_MSG_CAP];
};

/* As a worker does it, in a process of its own; what it leaves behind becomes ours. */
static struct outcome perform(bool is_probe)
{
    struct outcome o = {0};
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t worker = fork();
    if (worker == 0) {
        struct adit_err err = ADIT_ERR_INIT;
        int fd;
        if (launcher_profile_enter(&err))
            _exit(EXIT_FAILURE);
        o.code = is_probe ? launch_vm_probe(&host, &request, &err)
                          : launch_vm_create(&host, &request, &o.pid, &o.pid_start, &fd, &err);
        memcpy(o.message, err.msg, sizeof(o.message));
        _exit(write(ends[1], &o, sizeof(o)) != (ssize_t)sizeof(o));
    }
    (void)close(ends[1]); /* the child's */
    ck_assert_int_eq(read(ends[0], &o, sizeof(o)), (ssize_t)sizeof(o));
    (void)close(ends[0]); /* read to its end */
    ck_assert_int_eq(waitpid(worker, NULL, 0), worker);
    return o;
}

static struct outcome must_create(void)
{
    struct outcome o = perform(false);
    ck_assert_msg(o.code == 0, "%s", o.message);
    return o;
}

/* ---- a guest ---- */

/* Read the console until it says @word. */
static void wait_console(const char *word)
{
    static char text[65536];
    size_t len = 0;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/console", sandbox);
    ADIT_CLEANUP_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct pollfd ready = {fd, POLLIN, 0};
    while (!memmem(text, len, word, strlen(word))) {
        ck_assert_msg(poll(&ready, 1, BOOT_MS) == 1, "the guest says no %s but %.*s", word,
                      (int)len, text);
        ssize_t n = read(fd, text + len, sizeof(text) - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
    }
}

static int connect_channel(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {BOOT_MS / 1000, 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/channel.sock", sandbox);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void ask(int fd, const char *line, const char *answer)
{
    char text[1024];
    ck_assert_int_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    ck_assert_msg(strncmp(text, answer, strlen(answer)) == 0, "%s: %s", line, text);
}

START_TEST(launch_vm_boots_a_guest_that_can_be_reached)
{
    (void)must_create();
    wait_console("listening");
    ADIT_CLEANUP_CLOSE int fd = connect_channel();
    ask(fd, "CONNECT 49983\n", "OK ");
    ask(fd, "GET /health HTTP/1.1\r\nHost: guest\r\n\r\n", "HTTP/1.1 204 ");
}
END_TEST

START_TEST(launch_vm_probe_boots_a_guest_that_leaves)
{
    request.kind = LAUNCH_PROBE;
    struct outcome o = perform(true);
    for (int i = 0; i < 3 && o.code == ADIT_ERR_TIMEOUT; i++) /* emulation, on busy cores */
        o = perform(true);
    ck_assert_msg(o.code == 0, "%s", o.message);
}
END_TEST

/* ---- processes ---- */

static char *read_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *read_text(const char *format, ...)
{
    char path[128];
    struct adit_buf text;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    adit_buf_init(&text, 1 << 20);
    ck_assert_msg(adit_file_read(AT_FDCWD, path, &text, NULL) == 0, "read %s", path);
    char *all = adit_buf_steal_str(&text);
    ck_assert_ptr_nonnull(all);
    return all;
}

/* The child of @pid whose name is @name. */
static pid_t find_child(pid_t pid, const char *name)
{
    char *list = read_text("/proc/%d/task/%d/children", pid, pid), *rest = list, *word;
    pid_t found = 0;
    while (!found && (word = strtok_r(rest, " ", &rest)) != NULL) {
        char *comm = read_text("/proc/%s/comm", word);
        if (strncmp(comm, name, strlen(name)) == 0)
            found = atoi(word);
        free(comm);
    }
    free(list);
    ck_assert_msg(found > 0, "no child %s", name);
    return found;
}

static void assert_line(const char *status, const char *key, const char *value)
{
    const char *at = strstr(status, key);
    ck_assert_msg(at && strncmp(at + strlen(key), value, strlen(value)) == 0, "not %s%s:\n%s", key,
                  value, status);
}

static void assert_apart(pid_t pid, const char *space)
{
    char path[64], own[64] = "", its[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, space);
    ck_assert_int_gt(readlink(path, its, sizeof(its) - 1), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/ns/%s", space);
    ck_assert_int_gt(readlink(path, own, sizeof(own) - 1), 0);
    ck_assert_msg(strcmp(own, its) != 0, "%d shares %s", pid, space);
}

static void assert_powerless(pid_t pid, unsigned user)
{
    static const char *const spaces[] = {"pid", "mnt", "net", "ipc", "uts"};
    static const char *const sets[] = {"\nCapInh:\t", "\nCapPrm:\t", "\nCapEff:\t", "\nCapAmb:\t"};
    char ids[80], id[16];
    char *status = read_text("/proc/%d/status", pid);
    (void)snprintf(id, sizeof(id), "%u", launch_sandbox_uid(&request) + user);
    (void)snprintf(ids, sizeof(ids), "%s\t%s\t%s\t%s\n", id, id, id, id);
    assert_line(status, "\nUid:\t", ids);
    assert_line(status, "\nGid:\t", ids);
    assert_line(status, "\nGroups:\t", " \n");
    assert_line(status, "\nNoNewPrivs:\t", "1\n");
    assert_line(status, "\nSeccomp:\t", "2\n");
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        assert_line(status, sets[i], "0000000000000000\n");
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
        assert_apart(pid, spaces[i]);
    free(status);
}

/* Mount points of @pid, of which none but @expected may be there, and none writable. */
static void assert_mounts(pid_t pid, const char *const *expected)
{
    char *all = read_text("/proc/%d/mountinfo", pid), *rest = all, *line;
    while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
        char point[PATH_MAX], options[256];
        bool is_expected = false;
        ck_assert_int_eq(sscanf(line, "%*s %*s %*s %*s %4095s %255s", point, options), 2);
        for (const char *const *e = expected; *e && !is_expected; e++)
            is_expected = strcmp(point, *e) == 0 ||
                          (strcmp(*e, "/usr") == 0 && strncmp(point, "/usr/", 5) == 0);
        ck_assert_msg(is_expected && strncmp(options, "ro,nosuid", 9) == 0, "mount %s", line);
    }
    free(all);
}

/* What its descriptors are: each begins with one of @expected. */
static void assert_files(pid_t pid, const char *const *expected)
{
    char path[64], target[PATH_MAX];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        bool is_expected = false;
        if (d->d_name[0] == '.')
            continue;
        ssize_t n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        for (const char *const *e = expected; *e && !is_expected; e++)
            is_expected = strncmp(target, *e, strlen(*e)) == 0;
        ck_assert_msg(is_expected || n < 0, "descriptor %s of %d is %s", d->d_name, pid, target);
    }
    (void)closedir(dir); /* read only */
}

START_TEST(launch_vm_processes_have_nothing_but_what_they_use)
{
    char kernel[PATH_MAX + 16], initramfs[PATH_MAX + 16], console[128], image[128], disk[128];
    const char *qemu_mounts[] = {"/",    "/usr", "/lib",    "/lib64",
                                 "/dev", kernel, initramfs, CONFINE_IS_SANITIZED ? "/proc" : NULL,
                                 NULL};
    const char *qemu_files[] = {
        "/null", "anon_inode:", "socket:", "/memfd:", console, image, disk, NULL};
    const char *device_files[] = {"/null", "anon_inode:", "socket:", "/memfd:", console, NULL};
    static const char *const nothing[] = {"/", CONFINE_IS_SANITIZED ? "/proc" : NULL, NULL};
    static const char *const null_only[] = {"/null", NULL};
    (void)snprintf(kernel, sizeof(kernel), "%s/%s", guest_dir, LAUNCH_VM_KERNEL_NAME);
    (void)snprintf(initramfs, sizeof(initramfs), "%s/%s", guest_dir, LAUNCH_VM_INITRAMFS_NAME);
    (void)snprintf(console, sizeof(console), "%s/console", sandbox);
    (void)snprintf(image, sizeof(image), "%s/t/root.erofs", templates);
    (void)snprintf(disk, sizeof(disk), "%s/vm/overlay.ext4", sandbox);
    struct outcome o = must_create();
    pid_t vmm = find_child(o.pid, "qemu"), dev = find_child(o.pid, "vsock-device");
    assert_powerless(vmm, 0);
    assert_powerless(dev, 1);
    assert_powerless(o.pid, 2);
    assert_mounts(vmm, qemu_mounts);
    assert_mounts(dev, CONFINE_IS_SANITIZED ? qemu_mounts : nothing);
    assert_mounts(o.pid, nothing);
    assert_files(vmm, qemu_files);
    if (!CONFINE_IS_SANITIZED) /* else it has our standard error */
        assert_files(dev, device_files);
    assert_files(o.pid, null_only);
}
END_TEST

static const struct {
    const char *victim;
    int number;
    const char *words;
} endings[] = {
    {"qemu", SIGKILL, "the VMM: signal: killed"},
    {"qemu", SIGTERM, "the guest left"},
    {"vsock-device", SIGKILL, "vsock-device: signal: killed"},
};

START_TEST(launch_vm_ends_whole_and_tells_how)
{
    char text[64];
    int status;
    struct outcome o = must_create();
    ck_assert_int_eq(kill(find_child(o.pid, endings[_i].victim), endings[_i].number), 0);
    ck_assert_int_eq(waitpid(o.pid, &status, 0), o.pid); /* the kernel ends all of its namespace */
    launch_shepherd_explain(status, false, text, sizeof(text));
    ck_assert_str_eq(text, endings[_i].words);
}
END_TEST

START_TEST(launch_vm_ends_with_its_shepherd)
{
    char text[64];
    int status;
    struct outcome o = must_create();
    ck_assert_int_eq(kill(o.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(o.pid, &status, 0), o.pid);
    launch_shepherd_explain(status, true, text, sizeof(text));
    ck_assert_str_eq(text, "out of memory");
}
END_TEST

/* ---- refusals ---- */

static void assert_refused(int code, const char *words)
{
    struct outcome o = perform(request.kind == LAUNCH_PROBE);
    ck_assert_msg(o.code == code && strstr(o.message, words), "%d: %s", o.code, o.message);
}

START_TEST(launch_vm_says_which_program_is_missing)
{
    conf.qemu = "";
    assert_refused(ADIT_ERR_PRECONDITION, "QEMU is missing: it is not in PATH");
    conf.qemu = "/absent";
    assert_refused(ADIT_ERR_PRECONDITION, "QEMU is missing: /absent");
    request.kind = LAUNCH_PROBE;
    assert_refused(ADIT_ERR_PRECONDITION, "QEMU is missing: /absent");
    request.kind = LAUNCH_CREATE;
    conf.qemu = qemu;
    conf.vsock_device = "/absent";
    assert_refused(ADIT_ERR_PRECONDITION, "vsock-device is missing: /absent");
}
END_TEST

START_TEST(launch_vm_says_which_image_is_missing)
{
    conf.guest_dir = "/absent";
    assert_refused(ADIT_ERR_PRECONDITION, "/absent/vmlinux is missing");
    conf.guest_dir = guest_dir;
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/bare", templates);
    assert_refused(ADIT_ERR_PRECONDITION, "no image for virtual machines");
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/fifo", templates);
    assert_refused(ADIT_ERR_BAD_INPUT, "root.erofs is no file");
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/link", templates);
    assert_refused(ADIT_ERR_IO, "root.erofs");
}
END_TEST

START_TEST(launch_vm_takes_the_disk_that_was_asked_for_and_no_other)
{
    request.disk_mb = DISK_MB + 1;
    assert_refused(ADIT_ERR_PRECONDITION, "disk has 64 MiB, not 65");
    request.disk_mb = DISK_MB;
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/diskless", templates);
    assert_refused(ADIT_ERR_PRECONDITION, "no disk for virtual machines");
    request.disk_mb = 0;
    struct outcome o = must_create();
    shell("[ -z \"$(ls -A %s/vm)\" ]", sandbox);
    ck_assert_int_eq(kill(o.pid, 0), 0);
}
END_TEST

START_TEST(launch_vm_answers_with_the_last_words_of_qemu)
{
    char broken[80];
    (void)snprintf(broken, sizeof(broken), "%s/broken", templates);
    conf.guest_dir = broken;
    assert_refused(ADIT_ERR_IO, "the VMM: exit status 1: ");
    request.kind = LAUNCH_PROBE;
    assert_refused(ADIT_ERR_IO, "the VMM: exit status 1: ");
}
END_TEST

START_TEST(launch_vm_refuses_what_no_machine_has)
{
    request.memory_mb = LAUNCH_VM_MEMORY_MB_MIN - 1;
    assert_refused(ADIT_ERR_BAD_INPUT, "MiB of memory");
    request.memory_mb = MEMORY_MB;
    request.cpu_count = 256;
    assert_refused(ADIT_ERR_BAD_INPUT, "processors");
    request.cpu_count = 1;
    request.driver = LAUNCH_DRIVER_FIRECRACKER; /* which emulates nothing */
    request.accel = LAUNCH_ACCEL_TCG;
    assert_refused(ADIT_ERR_BAD_INPUT, "driver 2 is not there");
    request.accel = LAUNCH_ACCEL_KVM;
    assert_refused(ADIT_ERR_PRECONDITION, "Firecracker is missing");
}
END_TEST

START_TEST(launch_vm_refuses_a_sandbox_that_is_there)
{
    (void)must_create();
    assert_refused(ADIT_ERR_EXISTS, "sandbox s1 exists");
}
END_TEST

static const char *missing(void)
{
    static const char *const tools[] = {"mkfs.erofs", "mkfs.ext4"};
    struct launch_cgroup_host cgroups;
    char command[64];
    if (geteuid() != 0)
        return "root";
    if (launch_cgroup_open(&cgroups, "adit-run", NULL))
        return "the controllers";
    launch_cgroup_close(&cgroups);
    if (access(qemu, X_OK))
        return "qemu-system-x86";
    if (access(GUEST_DIR "/" LAUNCH_VM_INITRAMFS_NAME, R_OK) || !realpath(GUEST_DIR, guest_dir))
        return "the guest's kernel and initramfs: make guest";
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        (void)snprintf(command, sizeof(command), "command -v %s >/dev/null", tools[i]);
        if (system(command))
            return tools[i];
    }
    return access(device, X_OK) ? "vsock-device" : NULL;
}

static void find_device(void)
{
    ssize_t n = readlink("/proc/self/exe", device, sizeof(device) - 64);
    device[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 4; i++)
        *strrchr(device, '/') = '\0';
    strcat(device, "/bin/vsock-device");
}

/* Also templates that lack something, and a kernel that is none. */
static void make_templates(void)
{
    (void)snprintf(templates, sizeof(templates), "%s/templates", base);
    (void)snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", base);
    shell("chmod 755 %s && mkdir -p %s/t %s/bare %s/fifo %s/link %s/broken %s/diskless "
          "%s/root",
          base, templates, templates, templates, templates, templates, templates, base);
    shell("cd %s/t && mkfs.erofs root.erofs %s/root >/dev/null && truncate -s %dM overlay.ext4 && "
          "mkfs.ext4 -q -O ^has_journal overlay.ext4 && cp root.erofs ../diskless",
          templates, base, DISK_MB);
    shell("cd %s && mkfifo fifo/root.erofs && ln -s ../t/root.erofs link/root.erofs && "
          "echo none >broken/vmlinux && echo none >broken/initramfs",
          templates);
}

int main(void)
{
    find_device();
    const char *what = missing();
    if (what) {
        suite_skip("test_launch_vm", what);
        return EXIT_SUCCESS;
    }
    if (!run_world_make(base))
        return EXIT_FAILURE;
    make_templates();
    int status = suite_run(&(struct suite){
        .name = "launch_vm",
        .fixtures = {{setup, teardown}},
        TESTS(launch_vm_boots_a_guest_that_can_be_reached,
              launch_vm_probe_boots_a_guest_that_leaves,
              launch_vm_processes_have_nothing_but_what_they_use, launch_vm_ends_with_its_shepherd,
              launch_vm_says_which_program_is_missing, launch_vm_says_which_image_is_missing,
              launch_vm_takes_the_disk_that_was_asked_for_and_no_other,
              launch_vm_answers_with_the_last_words_of_qemu, launch_vm_refuses_what_no_machine_has,
              launch_vm_refuses_a_sandbox_that_is_there),
        LOOPS({launch_vm_ends_whole_and_tells_how, sizeof(endings) / sizeof(endings[0])})});
    return run_world_remove(base) ? status : EXIT_FAILURE;
}
