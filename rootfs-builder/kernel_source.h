/* SPDX-License-Identifier: Apache-2.0 */
/* Where a guest's kernel comes from: Debian's package, or files of the user's. */
#ifndef ROOTFS_BUILDER_KERNEL_SOURCE_H
#define ROOTFS_BUILDER_KERNEL_SOURCE_H

#include <limits.h>

#include "rootfs-builder/apt_host.h"
#include "rootfs-builder/builder.h"
#include "rootfs-builder/fingerprint.h"

/* @image: bzImage or ELF; @modules: folder of modules.dep, empty: there are none. */
struct kernel_source {
    char image[PATH_MAX], modules[PATH_MAX];
};

/* Digest of everything that a kernel depends on but what the archive holds today. @apt: where it
 * comes from Debian, else NULL. Errors: NOT_FOUND, IO. */
ADIT_MUST_CHECK int kernel_source_fingerprint(const struct builder_conf *conf,
                                              const struct apt_host *apt,
                                              char out[FINGERPRINT_LEN + 1], struct adit_err *err);
/*
 * Find the files; Debian's package is fetched into @cache, checked by apt, and unpacked in @work.
 * Both are absolute paths of folders that are there. Errors: PRECONDITION (a program is missing),
 * NOT_FOUND, IO.
 */
ADIT_MUST_CHECK int kernel_source_open(const struct builder_conf *conf, const struct apt_host *apt,
                                       const char *cache, const char *work,
                                       struct kernel_source *out, struct adit_err *err);

#endif
