/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of virtual machines, made from a template's root. */
#ifndef ROOTFS_BUILDER_IMAGE_H
#define ROOTFS_BUILDER_IMAGE_H

#include <stdbool.h>

#include "rootfs-builder/builder.h"

/* Names in a template's folder: the root as a read-only file system, and what each sandbox gets a
 * copy of to write to (none where a template's disk is 0: memory then). */
#define IMAGE_ROOT "root.erofs"
#define IMAGE_OVERLAY "overlay.ext4"

/* Whether the folder has what its disk size asks for. */
bool image_is_complete(int dir_fd, uint64_t disk_mb);
/*
 * Make both from <dir>/root; they appear whole. The same tree with the same @uuid makes the same
 * root. Takes seconds. Errors: PRECONDITION (a program is missing), NO_SPACE, IO.
 */
ADIT_MUST_CHECK int image_make(const char *dir, const char *uuid, uint64_t disk_mb,
                               struct adit_err *err);
/* The same for the template in @dir if it has none; its template.json says the rest. @is_made: it
 * had none. Errors also: NOT_FOUND, BAD_INPUT (template.json). */
ADIT_MUST_CHECK int image_complete(const char *dir, bool *is_made, struct adit_err *err);

/* `rootfs-builder image`. */
extern const struct builder_command image_command;

#endif
