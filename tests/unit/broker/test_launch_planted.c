/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker's user plants in its own directories does not move the launcher to touch anything
 * elsewhere. Needs root and control groups; nothing is started: the programs do nothing.
 */
#include "broker/launcher/launch_container.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/launch_vm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "broker/launcher/launch_msg.h"
#include "broker/launcher/launcher_profile.h"
#include "confine/confine.h"
#include "tests/unit/broker/run_world.h"
#include "tests/unit/suite.h"

#define BROKER_ID 61180
#define TREE_CAP 8192
/* Names, kinds, owners, modes, sizes and times of all that is outside. */
#define LIST_OUTSIDE "cd %s/outside && find . -printf '%%p %%y %%U %%m %%s %%T@ %%C@\\n' | sort"

static char base[RUN_WORLD_CAP], templates[64], sandboxes[64], sandbox[LAUNCH_SANDBOX_DIR_CAP];
static char guest[64];
static char before[TREE_CAP];
static struct launcher_conf conf;
static struct launch_host host;
static struct launch_request request;

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void list_outside(char out[TREE_CAP])
{
    char command[256];
    (void)snprintf(command, sizeof(command), LIST_OUTSIDE, base);
    FILE *p = popen(command, "re");
    ck_assert_ptr_nonnull(p);
    size_t len = fread(out, 1, TREE_CAP - 1, p);
    out[len] = '\0';
    ck_assert_int_eq(pclose(p), 0);
    ck_assert_uint_gt(len, 0);
}

static void assert_nothing_changed(const char *what)
{
    char now[TREE_CAP];
    list_outside(now);
    ck_assert_msg(strcmp(before, now) == 0, "%s changed\n%sto\n%s", what, before, now);
}

static void setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)snprintf(templates, sizeof(templates), "%s/templates", base);
    (void)snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", base);
    (void)snprintf(sandbox, sizeof(sandbox), "%.48s/s1", sandboxes);
    shell("rm -rf %s/*", base); /* also what a test that failed left */
    (void)snprintf(guest, sizeof(guest), "%s/guest", base);
    shell("chmod 755 %s && mkdir -p %s/t/root %s %s", base, templates, guest, sandbox);
    shell("cd %s && touch vmlinux initramfs && cd %s/t && touch root.erofs && "
          "truncate -s 1M overlay.ext4",
          guest, templates);
    shell("cd %s && mkdir -p outside/container/upper outside/dir && echo kept >outside/file && "
          "echo kept >outside/container/upper/file && echo kept >outside/channel.sock && "
          "mkfifo -m 600 outside/fifo && mkfifo -m 600 outside/console",
          base);
    shell("chown %d:%d %s %s", BROKER_ID, BROKER_ID, sandboxes, sandbox);
    conf = (struct launcher_conf){.runtime = "/bin/true",
                                  .envd = "/bin/true",
                                  .qemu = "/bin/true",
                                  .vsock_device = "/bin/true",
                                  .guest_dir = guest,
                                  .templates_dir = templates,
                                  .sandboxes_dir = sandboxes,
                                  .cgroup_parent = run_world_group(base),
                                  .uid = BROKER_ID,
                                  .gid = BROKER_ID};
    request = (struct launch_request){.magic = LAUNCH_MAGIC,
                                      .kind = LAUNCH_CREATE,
                                      .id = 1,
                                      .cpu_count = 1,
                                      .pids_max = 64,
                                      .memory_mb = 128,
                                      .sandbox_id = "s1"};
    (void)snprintf(request.sandbox_dir, sizeof(request.sandbox_dir), "%s", sandbox);
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s/t", templates);
    ck_assert_msg(launch_host_open(&host, &conf, true, &err) == 0, "%s", err.msg);
    ck_assert_msg(launcher_profile_enter(&err) == 0, "%s", err.msg);
    list_outside(before);
}

static void teardown(void)
{
    launch_host_close(&host);
}

/* As a worker does it, in a process of its own: a create changes mounts and directory. */
static int create(char message[ADIT_ERR_MSG_CAP])
{
    struct adit_err err = ADIT_ERR_INIT;
    int ends[2], code = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t start;
        int fd;
        code = request.driver == LAUNCH_DRIVER_CONTAINER
                   ? launch_container_create(&host, &request, &pid, &start, &fd, &err)
                   : launch_vm_create(&host, &request, &pid, &start, &fd, &err);
        _exit(write(ends[1], &code, sizeof(code)) != sizeof(code) ||
              write(ends[1], err.msg, sizeof(err.msg)) != sizeof(err.msg));
    }
    (void)close(ends[1]); /* the child's */
    ck_assert_int_eq(read(ends[0], &code, sizeof(code)), sizeof(code));
    ck_assert_int_eq(read(ends[0], message, ADIT_ERR_MSG_CAP), ADIT_ERR_MSG_CAP);
    (void)close(ends[0]); /* read to its end */
    return code;
}

/* What takes the place of names in a sandbox's directory, and what the refusal says. */
static const struct {
    uint32_t driver;
    const char *name, *how, *target, *refusal;
} planted[] = {
    {LAUNCH_DRIVER_CONTAINER, "container", "ln -s", "", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "container", "ln -s", "dir", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "container", "ln -s", "container", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "container", "ln -s", "absent", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "container", "ln -s", "file", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "channel.sock", "ln -s", "channel.sock", "channel.sock"},
    {LAUNCH_DRIVER_CONTAINER, "channel.sock", "ln -s", "absent", "channel.sock"},
    {LAUNCH_DRIVER_CONTAINER, "channel.sock", "ln", "file", "channel.sock"},
    {LAUNCH_DRIVER_CONTAINER, "console", "ln -s", "console", "console"},
    {LAUNCH_DRIVER_CONTAINER, "console", "ln -s", "file", "console"},
    {LAUNCH_DRIVER_CONTAINER, "console", "ln -s", "absent", "console"},
    {LAUNCH_DRIVER_CONTAINER, "console", "ln", "fifo", "console"},
    {LAUNCH_DRIVER_QEMU, "vm", "ln -s", "", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "vm", "ln -s", "dir", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "vm", "ln -s", "container", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "vm", "ln -s", "absent", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "vm", "ln -s", "file", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "container", "ln -s", "dir", "sandbox s1 exists"},
    {LAUNCH_DRIVER_CONTAINER, "vm", "ln -s", "dir", "sandbox s1 exists"},
    {LAUNCH_DRIVER_QEMU, "channel.sock", "ln -s", "channel.sock", "channel.sock"},
    {LAUNCH_DRIVER_QEMU, "channel.sock", "ln -s", "absent", "channel.sock"},
    {LAUNCH_DRIVER_QEMU, "channel.sock", "ln", "file", "channel.sock"},
    {LAUNCH_DRIVER_QEMU, "console", "ln -s", "console", "console"},
    {LAUNCH_DRIVER_QEMU, "console", "ln -s", "file", "console"},
    {LAUNCH_DRIVER_QEMU, "console", "ln -s", "absent", "console"},
    {LAUNCH_DRIVER_QEMU, "console", "ln", "fifo", "console"},
    {LAUNCH_DRIVER_QEMU, "vmm.sock", "ln -s", "channel.sock", "vmm.sock"},
    {LAUNCH_DRIVER_QEMU, "vmm.sock", "ln -s", "absent", "vmm.sock"},
    {LAUNCH_DRIVER_QEMU, "vmm.sock", "ln", "file", "vmm.sock"},
};

START_TEST(launch_planted_names_in_a_sandbox_are_refused_and_removed_alone)
{
    char message[ADIT_ERR_MSG_CAP], command[256];
    (void)snprintf(command, sizeof(command), "%s %s/outside/%s %s", planted[_i].how, base,
                   planted[_i].target, planted[_i].name);
    request.driver = planted[_i].driver;
    shell("cd %s && %s", sandbox, command);
    list_outside(before); /* a second name changed the time of a file */
    ck_assert_msg(create(message) != 0 && strstr(message, planted[_i].refusal), "%s: %s", command,
                  message);
    ck_assert_int_eq(launch_sandbox_destroy(&host, &request, NULL), 0);
    shell("[ -z \"$(ls -A %s)\" ]", sandbox);
    if (strcmp(planted[_i].how, "ln") != 0) /* else its removal changed that time again */
        assert_nothing_changed(command);
    shell(
        "[ \"$(cat %s/outside/file)\" = kept ] && [ $(stat -c %%a%%U %s/outside/fifo) = 600root ]",
        base, base);
}
END_TEST

/* Else the test above could not fail. */
START_TEST(launch_planted_nothing_reaches_the_runtime)
{
    char message[ADIT_ERR_MSG_CAP];
    ck_assert_int_eq(create(message), ADIT_ERR_NOT_FOUND);
    ck_assert_msg(strstr(message, "pid"), "%s", message);
    shell("[ -z \"$(ls -A %s)\" ]", sandbox);
    assert_nothing_changed("a create");
}
END_TEST

/* The same. */
START_TEST(launch_planted_nothing_reaches_a_virtual_machine)
{
    char message[ADIT_ERR_MSG_CAP];
    request.driver = LAUNCH_DRIVER_QEMU;
    ck_assert_int_ne(create(message), 0);
    /* Its root has no libraries, but where a sanitizer needs them; and of the two that end at once
     * either may be seen first. */
    ck_assert_msg(strstr(message, "the guest left") || strstr(message, "execute vsock-device") ||
                      strstr(message, "vsock-device: exit status 0"),
                  "%s", message);
    shell("[ -z \"$(ls -A %s)\" ]", sandbox);
    assert_nothing_changed("a create");
}
END_TEST

/* Images of a template that lead elsewhere are not opened. */
START_TEST(launch_planted_links_for_images_are_not_followed)
{
    static const char *const names[] = {"root.erofs", "overlay.ext4"};
    char message[ADIT_ERR_MSG_CAP];
    request.driver = LAUNCH_DRIVER_QEMU;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        shell("cd %s/t && mv %s kept && ln -s %s/outside/file %s", templates, names[i], base,
              names[i]);
        ck_assert_int_ne(create(message), 0);
        ck_assert_msg(strstr(message, names[i]), "%s", message);
        shell("cd %s/t && mv kept %s", templates, names[i]);
    }
    assert_nothing_changed("links for images");
}
END_TEST

/* The broker could make a guest directory where there is none yet. */
START_TEST(launch_planted_kernel_is_not_booted)
{
    static const char *const plants[] = {
        "chown $U guest",
        "chown $U guest/vmlinux",
        "chmod g+w guest",
        "chmod o+w guest/initramfs",
        "rm guest/vmlinux && ln -s ../outside/file guest/vmlinux",
        "mv guest real && ln -s real guest && chown -h $U guest",
    };
    char message[ADIT_ERR_MSG_CAP];
    request.driver = LAUNCH_DRIVER_QEMU;
    for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++) {
        shell("cd %s && rm -rf guest real && mkdir guest && touch guest/vmlinux guest/initramfs",
              base);
        shell("cd %s && U=%d && %s", base, BROKER_ID, plants[i]);
        ck_assert_int_ne(create(message), 0);
        ck_assert_msg(strstr(message, "is not a file of root's alone"), "%s: %s", plants[i],
                      message);
    }
    assert_nothing_changed("a planted kernel");
}
END_TEST

START_TEST(launch_planted_link_for_a_sandbox_is_not_followed)
{
    char message[ADIT_ERR_MSG_CAP];
    shell("rmdir %s && ln -s %s/outside %s", sandbox, base, sandbox);
    ck_assert_int_ne(create(message), 0);
    ck_assert_msg(strstr(message, sandbox), "%s", message);
    ck_assert_int_ne(launch_sandbox_destroy(&host, &request, NULL), 0);
    assert_nothing_changed("a link in the place of the sandbox");
}
END_TEST

/* The launcher holds the directory that it was started with, whatever has its name later. */
START_TEST(launch_planted_link_for_all_sandboxes_is_not_followed)
{
    char message[ADIT_ERR_MSG_CAP];
    shell("mkdir %s/outside/s1 && mv %s %s.old && ln -s %s/outside %s", base, sandboxes, sandboxes,
          base, sandboxes);
    list_outside(before);
    ck_assert_int_eq(create(message), ADIT_ERR_NOT_FOUND);
    ck_assert_msg(strstr(message, "pid"), "%s", message);
    ck_assert_int_eq(launch_sandbox_destroy(&host, &request, NULL), 0);
    assert_nothing_changed("a link in the place of all sandboxes");
}
END_TEST

/* What a sandbox's root made in its own layer goes with it, and nothing that it points to. */
START_TEST(launch_planted_links_in_a_layer_are_removed_alone)
{
    shell("cd %s && mkdir -p container/upper/a container/work && "
          "ln -s %s/outside container/upper/dir && ln -s %s/outside/file container/upper/a/file && "
          "ln -s / container/work/root && chown -hR %u container/upper",
          sandbox, base, base, LAUNCH_UID_BASE);
    ck_assert_int_eq(launch_sandbox_destroy(&host, &request, NULL), 0);
    shell("[ -z \"$(ls -A %s)\" ]", sandbox);
    assert_nothing_changed("links in a layer");
}
END_TEST

static const char *missing(void)
{
    struct launch_cgroup_host cgroups;
    if (geteuid() != 0)
        return "root";
    if (launch_cgroup_open(&cgroups, "adit-run", NULL))
        return "the controllers";
    launch_cgroup_close(&cgroups);
    return NULL;
}

int main(void)
{
    const char *what = missing();
    if (what) {
        suite_skip("test_launch_planted", what);
        return EXIT_SUCCESS;
    }
    if (!run_world_make(base))
        return EXIT_FAILURE;
    int status = suite_run(&(struct suite){
        .name = "launch_planted",
        .fixtures = {{setup, teardown}},
        TESTS(launch_planted_nothing_reaches_the_runtime,
              launch_planted_nothing_reaches_a_virtual_machine,
              launch_planted_links_for_images_are_not_followed, launch_planted_kernel_is_not_booted,
              launch_planted_link_for_a_sandbox_is_not_followed,
              launch_planted_link_for_all_sandboxes_is_not_followed,
              launch_planted_links_in_a_layer_are_removed_alone),
        LOOPS({launch_planted_names_in_a_sandbox_are_refused_and_removed_alone,
               sizeof(planted) / sizeof(planted[0])})});
    return run_world_remove(base) ? status : EXIT_FAILURE;
}
