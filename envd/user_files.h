/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's passwd and group files, held in memory and read again when they change. The loop has
 * one instance in struct envd; a thread-pool job that needs names makes its own.
 */
#ifndef ENVD_USER_FILES_H
#define ENVD_USER_FILES_H

#include <time.h>
#include <sys/types.h>

#include "base/user.h"

/* Names remembered by id, so that a listing does not search the files for every entry. */
#define USER_FILES_NAMES 8

/* One file as it was last read. Absent: @ino 0 and no content. */
struct user_file {
    struct adit_buf content;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct user_files_name {
    bool is_known;
    uint32_t id;
    char name[USER_NAME_CAP];
};

/*
 * All zero is a valid, empty object.
 *
 * @etc: directory of the files; NULL: "/etc". Tests set it.
 */
struct user_files {
    const char *etc; /* borrowed */
    struct user_file passwd, group;
    struct user_files_name users[USER_FILES_NAMES], groups[USER_FILES_NAMES];
};

void user_files_fini(struct user_files *f);
/* Look whether the files changed and read them again if so. A file that cannot be read is empty. */
void user_files_refresh(struct user_files *f);
/*
 * Errors: NOT_FOUND, BAD_INPUT. On a root file system without any passwd file there is still root:
 * uid 0, home "/". A number is the user that has it, or one of group 0 with home "/": images name
 * users that they do not describe.
 */
ADIT_MUST_CHECK int user_files_find(const struct user_files *f, struct adit_view name,
                                    struct user_entry *out);
/* Name of an id, or its decimal digits. The text is valid until the next call on @f. */
const char *user_files_user_name(struct user_files *f, uint32_t uid);
const char *user_files_group_name(struct user_files *f, uint32_t gid);

#endif
