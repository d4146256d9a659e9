/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/launcher/qemu_argv.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"

static struct qemu_argv made;

static struct qemu_argv_spec whole(void)
{
    return (struct qemu_argv_spec){
        .program = "/usr/bin/qemu",
        .kernel = "/guest/vmlinux",
        .initramfs = "/guest/initramfs",
        .command_line = "--vm --hostname i1",
        .tsc_khz = 2500032,
        .cpu_count = 2,
        .memory_mb = 512,
        .root_fd = 10,
        .overlay_fd = 11,
        .vhost_fd = 12,
        .qmp_fd = 13,
    };
}

static void make(const struct qemu_argv_spec *spec)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(qemu_argv_make(spec, &made, &err) == 0, "%s", err.msg);
}

/* The value that follows the @nth use of @option, or NULL. */
static const char *value_of(const char *option, int nth)
{
    for (char **a = made.argv; *a; a++)
        if (strcmp(*a, option) == 0 && nth-- == 0)
            return a[1];
    return NULL;
}

/* The use of @option whose value begins with @start, or NULL. */
static const char *value_with(const char *option, const char *start)
{
    const char *value;
    for (int i = 0; (value = value_of(option, i)) != NULL; i++)
        if (strncmp(value, start, strlen(start)) == 0)
            return value;
    return NULL;
}

static bool has(const char *option)
{
    for (char **a = made.argv; *a; a++)
        if (strcmp(*a, option) == 0)
            return true;
    return false;
}

START_TEST(qemu_argv_has_nothing_of_a_default_machine)
{
    struct qemu_argv_spec spec = whole();
    make(&spec);
    ck_assert_str_eq(made.argv[0], "/usr/bin/qemu");
    ck_assert(has("-no-user-config") && has("-nodefaults") && has("-no-reboot"));
    ck_assert_str_eq(value_of("-display", 0), "none");
    ck_assert_str_eq(value_of("-sandbox", 0),
                     "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    ck_assert(!has("-netdev") && !has("-nic") && !has("-net") && !has("-virtfs"));
}
END_TEST

START_TEST(qemu_argv_gives_memory_and_processors_as_asked)
{
    struct qemu_argv_spec spec = whole();
    make(&spec);
    ck_assert_str_eq(value_of("-m", 0), "512M");
    ck_assert_str_eq(value_of("-smp", 0), "2");
    ck_assert_str_eq(value_of("-object", 0), "memory-backend-memfd,id=memory,size=512M,share=on");
}
END_TEST

START_TEST(qemu_argv_emulates_with_a_bound_or_uses_kvm)
{
    struct qemu_argv_spec spec = whole();
    make(&spec);
    ck_assert_str_eq(value_of("-accel", 0), "tcg,tb-size=128");
    ck_assert_str_eq(value_of("-cpu", 0), "max");
    spec.has_kvm = true;
    make(&spec);
    ck_assert_str_eq(value_of("-accel", 0), "kvm");
    ck_assert_str_eq(value_of("-cpu", 0), "host");
}
END_TEST

START_TEST(qemu_argv_tells_the_kernel_first_and_the_agent_after_two_dashes)
{
    struct qemu_argv_spec spec = whole();
    make(&spec);
    ck_assert_str_eq(value_of("-kernel", 0), "/guest/vmlinux");
    ck_assert_str_eq(value_of("-initrd", 0), "/guest/initramfs");
    ck_assert_str_eq(
        value_of("-append", 0),
        "console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests rdinit=/init tsc=reliable "
        "tsc_early_khz=2500032 -- "
        "--vm --hostname i1");
    spec.tsc_khz = 0;
    make(&spec);
    ck_assert_str_eq(value_of("-append", 0),
                     "console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests rdinit=/init "
                     "-- --vm --hostname i1");
}
END_TEST

START_TEST(qemu_argv_takes_disks_and_sockets_by_descriptor)
{
    struct qemu_argv_spec spec = whole();
    make(&spec);
    ck_assert_str_eq(value_of("-add-fd", 0), "fd=10,set=1");
    ck_assert_str_eq(value_of("-add-fd", 1), "fd=11,set=2");
    ck_assert_str_eq(value_of("-blockdev", 0), "driver=file,node-name=root,filename=/dev/fdset/1,"
                                               "read-only=on,auto-read-only=off");
    ck_assert_str_eq(value_of("-blockdev", 1), "driver=file,node-name=overlay,filename=/dev/fdset/"
                                               "2,discard=unmap,cache.no-flush=on");
    ck_assert_str_eq(value_with("-device", "virtio-blk-device,drive=root"),
                     "virtio-blk-device,drive=root,serial=root,werror=report,rerror=report");
    ck_assert_str_eq(value_with("-chardev", "socket,id=vhost"), "socket,id=vhost,fd=12");
    ck_assert_ptr_nonnull(value_with("-device", "vhost-user-vsock-device,chardev=vhost"));
    ck_assert_str_eq(value_with("-chardev", "socket,id=qmp"),
                     "socket,id=qmp,fd=13,server=on,wait=off");
}
END_TEST

START_TEST(qemu_argv_leaves_out_what_there_is_not)
{
    struct qemu_argv_spec spec = whole();
    spec.root_fd = spec.overlay_fd = spec.vhost_fd = spec.qmp_fd = -1;
    make(&spec);
    ck_assert(!has("-add-fd") && !has("-blockdev") && !has("-mon"));
    ck_assert_ptr_null(value_with("-device", "virtio-blk"));
    ck_assert_ptr_null(value_with("-device", "vhost"));
    ck_assert_ptr_null(value_with("-chardev", "socket"));
}
END_TEST

START_TEST(qemu_argv_refuses_what_does_not_fit)
{
    static char path[QEMU_ARGV_TEXT_CAP];
    struct qemu_argv_spec spec = whole();
    memset(path, 'a', sizeof(path) - 1);
    spec.kernel = path;
    ck_assert_int_eq(qemu_argv_make(&spec, &made, NULL), ADIT_ERR_LIMIT);
    path[4000] = '\0';
    ck_assert_int_eq(qemu_argv_make(&spec, &made, NULL), 0);
}
END_TEST

SUITE_MAIN("qemu_argv", qemu_argv_has_nothing_of_a_default_machine,
           qemu_argv_gives_memory_and_processors_as_asked,
           qemu_argv_emulates_with_a_bound_or_uses_kvm,
           qemu_argv_tells_the_kernel_first_and_the_agent_after_two_dashes,
           qemu_argv_takes_disks_and_sockets_by_descriptor, qemu_argv_leaves_out_what_there_is_not,
           qemu_argv_refuses_what_does_not_fit)
