/* SPDX-License-Identifier: Apache-2.0 */
/* What the filesystem service says about one file: filesystem.EntryInfo, made from lstat(2). */
#ifndef ENVD_FILESYSTEM_ENTRY_H
#define ENVD_FILESYSTEM_ENTRY_H

#include <sys/stat.h>

#include "envd/filesystem/metadata.h"
#include "envd/user_files.h"
#include "filesystem.pb-c.h"

/* Longest permissions text with its NUL: every prefix letter and nine bits. */
#define ENTRY_PERMISSIONS_CAP 20

/*
 * One entry, one block of memory and its metadata. @pb is what goes on the wire and points into the
 * rest. Owned by whoever made it.
 */
struct entry {
    Filesystem__EntryInfo pb;
    Google__Protobuf__Timestamp mtime;
    struct metadata metadata;
    Filesystem__EntryInfo__MetadataEntry *pairs;
    char permissions[ENTRY_PERMISSIONS_CAP];
    char text[];
};

/*
 * Look at @path. May block. @names: borrowed, refreshed by the caller. @sys_errno: of the lstat
 * that failed. Errors: as adit_err_sys of lstat; NO_MEMORY.
 */
ADIT_MUST_CHECK int entry_new(const char *path, struct user_files *names, struct entry **out,
                              struct adit_err *err);
void entry_free(struct entry *e);
/* Leave only name, type and path, for clients that refuse fields they do not know. */
void entry_trim(struct entry *e);
/* Bytes that the entry takes as JSON, never less than it really does. */
size_t entry_json_len(const struct entry *e);

/* Names of files are bytes, those that are sent UTF-8: each byte that is not becomes U+FFFD. Room
 * for such a copy of @v with its NUL / the copy at *@tail, which moves on behind it. */
size_t entry_text_cap(struct adit_view v);
char *entry_put_text(char **tail, struct adit_view v);
/* Bytes that @s takes inside a JSON string, never less than it really does. */
size_t entry_json_text_len(const char *s);

/* "-rw-r--r--", "drwxr-xr-x", "Lrwxrwxrwx", "dtrwxrwxrwx", "Dcrw-rw-rw-". */
void entry_format_permissions(mode_t mode, char out[ENTRY_PERMISSIONS_CAP]);

#endif
