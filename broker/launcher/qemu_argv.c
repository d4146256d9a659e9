/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments that QEMU is started with.
 *
 * Theory of operation
 *
 * What:    the "microvm" machine: no PCI, no firmware to speak of, and of devices only what a
 *          sandbox uses: a serial line for the console, two disks, vsock, and a balloon by which
 * the guest gives free memory back. Nothing of a default configuration. Memory:  a memfd that can
 * be shared, because the vsock device is another process. Disks:   by descriptors that were opened
 * before, so that QEMU opens no file that matters. What the guest forces to its disk is not forced
 * to the host's: a sandbox's disk does not outlive its processes (as a container's overlay is
 * "volatile"). What it frees becomes a hole. When the host's disk is full, the guest is told so
 * instead of being stopped. Leaving: a guest cannot switch this machine off: it restarts it, and
 * -no-reboot makes that QEMU's end. Filter:  QEMU's own, with all that it may deny; no other
 * process, no other user. Limits:  QEMU_ARGV_MAX arguments of QEMU_ARGV_TEXT_CAP bytes.
 */
#include "broker/launcher/qemu_argv.h"

#include <stdarg.h>
#include <stdio.h>

/* The tests that the kernel makes of its own ciphers at each start cost a sixth of an emulated
 * boot. */
#define KERNEL_WORDS "console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests rdinit=/init"

struct builder {
    struct qemu_argv *out;
    size_t cnt, len;
    bool is_full;
};

static void add(struct builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct builder *b, const char *format, ...)
{
    va_list args;
    size_t room = sizeof(b->out->text) - b->len;
    va_start(args, format);
    int n = vsnprintf(b->out->text + b->len, room, format, args);
    va_end(args);
    b->is_full = b->is_full || n < 0 || (size_t)n >= room || b->cnt == QEMU_ARGV_MAX;
    if (b->is_full)
        return;
    b->out->argv[b->cnt++] = b->out->text + b->len;
    b->len += (size_t)n + 1;
}

static void add_machine(struct builder *b, const struct qemu_argv_spec *s)
{
    unsigned long long memory_mb = s->memory_mb;
    add(b, "-no-user-config");
    add(b, "-nodefaults");
    add(b, "-display");
    add(b, "none");
    add(b, "-no-reboot");
    add(b, "-sandbox");
    add(b, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(b, "-machine");
    add(b, "microvm,memory-backend=memory");
    add(b, "-accel");
    if (s->has_kvm)
        add(b, "kvm");
    else
        add(b, "tcg,tb-size=%u", QEMU_ARGV_TCG_MB);
    add(b, "-cpu");
    add(b, s->has_kvm ? "host" : "max");
    add(b, "-smp");
    add(b, "%u", s->cpu_count);
    add(b, "-m");
    add(b, "%lluM", memory_mb);
    add(b, "-object");
    add(b, "memory-backend-memfd,id=memory,size=%lluM,share=on", memory_mb);
    /* vsock has no form from before virtio 1, and the others need none. */
    add(b, "-global");
    add(b, "virtio-mmio.force-legacy=false");
    add(b, "-device");
    add(b, "virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on");
}

static void add_kernel(struct builder *b, const struct qemu_argv_spec *s)
{
    add(b, "-kernel");
    add(b, "%s", s->kernel);
    add(b, "-initrd");
    add(b, "%s", s->initramfs);
    add(b, "-append");
    /* Processors of an emulated machine show one counter, the host's. The kernel would take several
     * for out of step and count ticks instead, which it loses on a busy host. */
    if (s->tsc_khz)
        add(b, KERNEL_WORDS " tsc=reliable tsc_early_khz=%u -- %s", s->tsc_khz, s->command_line);
    else
        add(b, KERNEL_WORDS " -- %s", s->command_line);
    add(b, "-chardev");
    add(b, "stdio,id=console,signal=off");
    add(b, "-serial");
    add(b, "chardev:console");
}

static void add_disk(struct builder *b, const char *name, int fd, int set, const char *options)
{
    if (fd < 0)
        return;
    add(b, "-add-fd");
    add(b, "fd=%d,set=%d", fd, set);
    add(b, "-blockdev");
    add(b, "driver=file,node-name=%s,filename=/dev/fdset/%d,%s", name, set, options);
    add(b, "-device");
    add(b, "virtio-blk-device,drive=%s,serial=%s,werror=report,rerror=report", name, name);
}

static void add_sockets(struct builder *b, const struct qemu_argv_spec *s)
{
    if (s->vhost_fd >= 0) {
        add(b, "-chardev");
        add(b, "socket,id=vhost,fd=%d", s->vhost_fd);
        add(b, "-device");
        add(b, "vhost-user-vsock-device,chardev=vhost");
    }
    if (s->qmp_fd >= 0) {
        add(b, "-chardev");
        add(b, "socket,id=qmp,fd=%d,server=on,wait=off", s->qmp_fd);
        add(b, "-mon");
        add(b, "chardev=qmp,mode=control");
    }
}

int qemu_argv_make(const struct qemu_argv_spec *spec, struct qemu_argv *out, struct adit_err *err)
{
    struct builder b = {.out = out};
    add(&b, "%s", spec->program);
    add_machine(&b, spec);
    add_kernel(&b, spec);
    add_disk(&b, "root", spec->root_fd, 1, "read-only=on,auto-read-only=off");
    add_disk(&b, "overlay", spec->overlay_fd, 2, "discard=unmap,cache.no-flush=on");
    add_sockets(&b, spec);
    if (b.is_full)
        return adit_err_set(err, ADIT_ERR_LIMIT, "the arguments of QEMU are too long");
    out->argv[b.cnt] = NULL;
    return 0;
}
