/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting a file in place: its new content appears whole under its name, or not at all. Everything
 * here may block: it runs on the thread pool. docs/wire/files.md says what watchers see.
 */
#ifndef ENVD_FILESYSTEM_PLACE_H
#define ENVD_FILESYSTEM_PLACE_H

#include "envd/filesystem/metadata.h"
#include "envd/filesystem/tree.h"

/* Content up to this is held in memory until it is complete, and replaces an existing file in place
 * by one write. */
#define PLACE_SMALL_MAX (1024u * 1024)
/* Symlinks followed to the file that is meant, as the kernel does. */
#define PLACE_LINKS_MAX 40
/* Begin of the names that a replacement has for a moment where the file system offers no better. */
#define PLACE_TEMP_PREFIX ".envd-upload-"
#define PLACE_TEMP_NAME_CAP (sizeof PLACE_TEMP_PREFIX + 16)

/*
 * @metadata: borrowed until the commit
 * @spill:    do not hold content in memory (the caller holds enough already)
 */
struct place_conf {
    struct tree_owner owner;
    const struct metadata *metadata;
    bool fsync, spill;
};

/*
 * One file on its way. Owned by the caller; ends with place_fini().
 *
 * @target:  the name to appear, no symlink
 * @held:    the content while it is small
 * @fd:      else the file that holds it, without a name unless @temp is set; -1: none
 * @size:    bytes taken so far
 */
struct place {
    struct place_conf conf;
    char *target, *temp;
    struct adit_buf held;
    int fd;
    uint64_t size;
    bool metadata_stored;
};

/*
 * Begin with @path: makes its parent directories, and refuses what cannot be replaced. Nothing else
 * is touched before the commit.
 * Errors: BAD_INPUT ("path is a directory: …", not a regular file), IO ("error ensuring
 * directories: …"), NO_MEMORY.
 */
ADIT_MUST_CHECK int place_init(struct place *p, const struct place_conf *conf, const char *path,
                               struct adit_err *err);
/* Errors: NO_SPACE, IO, NO_MEMORY. */
ADIT_MUST_CHECK int place_write(struct place *p, struct adit_view bytes, struct adit_err *err);
/* Bytes of memory that the content holds now. */
size_t place_held(const struct place *p);
/* Let the content appear. On failure the old file, or none, is what it was. Errors: as place_write.
 */
ADIT_MUST_CHECK int place_commit(struct place *p, struct adit_err *err);
/* Let go. What was not committed leaves no trace. */
void place_fini(struct place *p);

/* Remove what a killed envd left in the root directory. At start. */
void place_clean(void);

#endif
