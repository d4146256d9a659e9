/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients attach to files: request headers X-Metadata-<Key>, kept as extended attributes
 * user.e2b.<key>, shown in EntryInfo and in upload answers.
 */
#ifndef ENVD_FILESYSTEM_METADATA_H
#define ENVD_FILESYSTEM_METADATA_H

#include "net/http_msg.h"

#define METADATA_HEADER "x-metadata-"
#define METADATA_XATTR "user.e2b."
#define METADATA_KEY_MAX 246
#define METADATA_TOTAL_MAX 4096 /* prefix, key and value, summed over the set */
#define METADATA_CNT_MAX HTTP_HEADERS_MAX

/* One pair; both texts end with NUL inside the set's storage. */
struct metadata_pair {
    const char *key, *value;
};

/* A set of pairs. All zero is the empty set. */
struct metadata {
    struct metadata_pair *pairs;
    size_t cnt;
    char *text; /* storage of the texts */
};

void metadata_fini(struct metadata *m);

/* The set that a request gives; the first header of a key counts.
 * Errors: BAD_INPUT "invalid metadata: …", NO_MEMORY. */
ADIT_MUST_CHECK int metadata_from_head(const struct http_head *head, struct metadata *out,
                                       struct adit_err *err);
/* The set of the file at @path, symlinks followed. Values that are not UTF-8 are skipped; a file
 * that has none, or that cannot be read, gives the empty set. May block. */
void metadata_read(const char *path, struct metadata *out);
/*
 * Make @m the whole set of the open file @fd; an equal set touches nothing. A file system without
 * extended attributes is no error: *stored tells. May block. Errors: NO_SPACE, IO.
 */
ADIT_MUST_CHECK int metadata_replace(int fd, const struct metadata *m, bool *stored,
                                     struct adit_err *err);

#endif
