/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of rootfs-builder share: the options of a build. */
#ifndef ROOTFS_BUILDER_BUILDER_H
#define ROOTFS_BUILDER_BUILDER_H

#include <stdint.h>

/* Counts up when a template that is built from the same options comes out differently. */
#define BUILDER_FORMAT 2

/* Filled from the options' table in main.c; strings are owned by it. */
struct builder_conf {
    char *alias, *out, *suite, *packages;
    uint64_t cpu_count, memory_mb, disk_mb;
    char *default_user, *default_workdir, *start_cmd, *ready_cmd;
};

#endif
