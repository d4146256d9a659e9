/* SPDX-License-Identifier: Apache-2.0 */
/* Work on directory trees for the filesystem service and for uploads. Everything here may block: it
 * runs on the thread pool. */
#ifndef ENVD_FILESYSTEM_TREE_H
#define ENVD_FILESYSTEM_TREE_H

#include "envd/filesystem/entry.h"

/* Names that one listing may look at, and the JSON bytes that it may come to. */
#define TREE_LIST_ENTRIES_MAX 100000
#define TREE_LIST_BYTES_MAX (12u * 1024 * 1024)
#define TREE_DEPTH_MAX 2048

struct tree_owner {
    uint32_t uid, gid;
};

/*
 * Make @path and what is missing above it: each new directory has mode 0755 and belongs to @owner.
 * Symlinks are followed; what exists stays as it is.
 * Errors: IO "path is a file: <p>" when a component is no directory, else as failure_sys.
 */
ADIT_MUST_CHECK int tree_make_dirs(const char *path, struct tree_owner owner, struct adit_err *err);
/* The same for the directory that @path is in. */
ADIT_MUST_CHECK int tree_make_parents(const char *path, struct tree_owner owner,
                                      struct adit_err *err);

/* Remove @path and all below it; missing is fine. Errors: BAD_INPUT ("/", ".", ".."), else as
 * adit_file_remove_tree. */
ADIT_MUST_CHECK int tree_remove(const char *path, struct adit_err *err);

/* Entries in the order of a listing. All zero is the empty list. */
struct tree_list {
    struct entry **entries;
    size_t cnt, cap, json_len;
};

/*
 * List what is below the directory @path, @depth levels deep (0 is 1): names in byte order, a
 * directory followed at once by what is in it; inner symlinks are not followed; what vanishes
 * meanwhile is left out.
 * Errors: NOT_FOUND "path not found: …", BAD_INPUT "path is not a directory: …", PRECONDITION
 * (symlink loop), LIMIT (entries, bytes), else as failure_sys.
 */
ADIT_MUST_CHECK int tree_list(const char *path, uint32_t depth, struct tree_list *out,
                              struct adit_err *err);
void tree_list_fini(struct tree_list *l);

#endif
