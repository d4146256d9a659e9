/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a kernel's file: what it is, and the ELF image that a bzImage has inside. */
#ifndef ROOTFS_BUILDER_KERNEL_IMAGE_H
#define ROOTFS_BUILDER_KERNEL_IMAGE_H

#include "base/view.h"

/* Largest file. */
#define KERNEL_IMAGE_MAX (512u * 1024 * 1024)

enum kernel_image_kind {
    KERNEL_IMAGE_ELF,     /* vmlinux */
    KERNEL_IMAGE_BZIMAGE, /* vmlinuz */
};

/*
 * @payload: of a bzImage: the compressed vmlinux
 * @tool:    the program that decompresses it from its standard input with -dc, and its package
 */
struct kernel_image {
    enum kernel_image_kind kind;
    struct adit_view payload;
    const char *tool, *package;
};

/* Errors: BAD_INPUT, with what is wrong: not a kernel for this machine, cut short, a payload
 * outside of the file, compressed in a way that is not known. */
ADIT_MUST_CHECK int kernel_image_parse(struct adit_view file, struct kernel_image *out,
                                       struct adit_err *err);
/* The program that decompresses what begins like this with -dc, and its package; NULL: none. */
const char *kernel_image_tool(struct adit_view bytes, const char **package);

#endif
