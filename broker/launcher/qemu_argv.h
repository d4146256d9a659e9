/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments that QEMU is started with.
 */
#ifndef BROKER_LAUNCHER_QEMU_ARGV_H
#define BROKER_LAUNCHER_QEMU_ARGV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define QEMU_ARGV_MAX 80
#define QEMU_ARGV_TEXT_CAP 8192
/* Code that the emulation has translated; the least that boots a kernel without translating its
 * parts again and again. */
#define QEMU_ARGV_TCG_MB 128u

/*
 * Descriptors are numbers that QEMU inherits; standard output is the console.
 * @kernel, @initramfs: as QEMU sees them
 * @command_line: what follows the kernel's own words
 * @tsc_khz:    with emulation: the rate of the host's time stamp counter, which the guest sees; 0:
 *              the guest's kernel has to find it out
 * @root_fd:    the image of the root, read-only; -1: none
 * @overlay_fd: the disk of the sandbox's own; -1: none
 * @vhost_fd:   a connection to its vsock device; -1: none
 * @qmp_fd:     a listening socket for its orders; -1: none
 */
struct qemu_argv_spec {
    const char *program, *kernel, *initramfs, *command_line;
    bool has_kvm;
    uint32_t cpu_count, tsc_khz;
    uint64_t memory_mb;
    int root_fd, overlay_fd, vhost_fd, qmp_fd;
};

struct qemu_argv {
    char *argv[QEMU_ARGV_MAX + 1]; /* into @text; ends with NULL */
    char text[QEMU_ARGV_TEXT_CAP];
};

/* Errors: LIMIT, they do not fit. */
ADIT_MUST_CHECK int qemu_argv_make(const struct qemu_argv_spec *spec, struct qemu_argv *out,
                                   struct adit_err *err);

#endif
