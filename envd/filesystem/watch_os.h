/* SPDX-License-Identifier: Apache-2.0 */
/* What watched trees ask of the kernel: struct watch_os on an inotify descriptor. */
#ifndef ENVD_FILESYSTEM_WATCH_OS_H
#define ENVD_FILESYSTEM_WATCH_OS_H

#include "envd/filesystem/watch_tree.h"

/*
 * @fd:       inotify, non-blocking
 * @names:    of owners; @has_names: they were refreshed for this run
 */
struct watch_kernel {
    struct watch_os os;
    int fd;
    struct user_files names;
    bool has_names;
};

/* Errors: LIMIT (instances or descriptors; the text names the sysctl), NO_MEMORY, IO. */
ADIT_MUST_CHECK int watch_os_open(struct watch_kernel *k, struct adit_err *err);
void watch_os_close(struct watch_kernel *k);

/*
 * May @path be watched? May block. Errors, in the words of the contract: NOT_FOUND, BAD_INPUT (no
 * directory; on a network mount, unless they are allowed), IO.
 */
ADIT_MUST_CHECK int watch_os_check(const char *path, bool allows_network, struct adit_err *err);

/* Of statfs(2)'s f_type: a file system whose changes others may make without the kernel seeing them
 * (NFS, CIFS, SMB, FUSE). */
bool watch_os_is_network(unsigned long type);

#endif
