/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a cpio archive as the kernel unpacks it for its first root ("newc"). */
#ifndef ROOTFS_BUILDER_CPIO_H
#define ROOTFS_BUILDER_CPIO_H

#include <sys/types.h>

#include "base/buf.h"

/* Longest name, and the largest file (the format's own limit is 4 GiB). */
#define CPIO_NAME_MAX 255
#define CPIO_FILE_MAX (1u << 30)

/*
 * An archive being written into @out, which is the caller's. Everything in it belongs to root and
 * has no time, so that the same entries in the same order are the same bytes.
 */
struct cpio {
    struct adit_buf *out;
    uint32_t inode;
};

void cpio_init(struct cpio *c, struct adit_buf *out);
/*
 * Append an entry. @name: relative, no "." or ".." in it; what it lies in comes before it. @mode
 * has the kind, S_IFREG or S_IFDIR, and the permissions. @content: of a file.
 * Errors: BAD_INPUT for a name or mode that is none, LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int cpio_add(struct cpio *c, const char *name, mode_t mode,
                             struct adit_view content, struct adit_err *err);
/* The device @major:@minor, of kind S_IFCHR. Errors as above. */
ADIT_MUST_CHECK int cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned major,
                                    unsigned minor, struct adit_err *err);
/* The entry that ends an archive. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int cpio_end(struct cpio *c, struct adit_err *err);

#endif
