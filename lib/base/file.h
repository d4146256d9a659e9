/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files, written so that a crash leaves the old or the new content, never a mixture. */
#ifndef ADIT_BASE_FILE_H
#define ADIT_BASE_FILE_H

#include <sys/types.h>

#include "base/buf.h"

/* Read all of @path (relative to directory @dir_fd, or AT_FDCWD) into @out, up to its max.
 * Works for procfs (st_size is not trusted). Errors: NOT_FOUND, LIMIT, IO, NO_MEMORY. */
ADIT_MUST_CHECK int adit_file_read(int dir_fd, const char *path, struct adit_buf *out,
                                   struct adit_err *err);
/* Write to a temporary name beside it, fsync, rename, fsync the directory. */
ADIT_MUST_CHECK int adit_file_replace(int dir_fd, const char *path, struct adit_view content,
                                      mode_t mode, struct adit_err *err);
/* The same without waiting for the disk: readers see the old or the new content, also after the
 * writer was killed; after a crash of the machine there may be either, or an empty file. */
ADIT_MUST_CHECK int adit_file_replace_lazy(int dir_fd, const char *path, struct adit_view content,
                                           mode_t mode, struct adit_err *err);
/* mkdir -p. Existing directories are fine. */
ADIT_MUST_CHECK int adit_file_mkdirs(const char *path, mode_t mode, struct adit_err *err);
/*
 * Remove the entry @name of the directory @dir_fd and all below it: rm -rf that follows no symlink
 * and crosses no mount point. @name is one path component; the caller opens the directory it is in.
 * Missing is fine. Any depth, with a bounded number of descriptors.
 * Errors: BAD_INPUT for a name that is no component, CONFLICT when others keep filling the tree,
 * else the system call's.
 */
ADIT_MUST_CHECK int adit_file_remove_tree(int dir_fd, const char *name, struct adit_err *err);

#endif
