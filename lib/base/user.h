/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and groups from passwd(5) and group(5) files, without NSS (a static glibc has none that
 * works, and the files belong to the guest).
 *
 * Trust: the files are hostile. Lines over USER_LINE_CAP, or with fewer fields than passwd(5) says,
 * are skipped; numbers are canonical decimals up to 4294967294; at most USER_GROUPS_MAX groups.
 */
#ifndef ADIT_BASE_USER_H
#define ADIT_BASE_USER_H

#include <stdint.h>

#include "base/buf.h"

#define USER_LINE_CAP 4096
#define USER_NAME_CAP 256
#define USER_HOME_CAP 1024
#define USER_GROUPS_MAX 256
#define USER_FILE_CAP (1024 * 1024)

struct user_entry {
    char name[USER_NAME_CAP];
    char home[USER_HOME_CAP];
    char shell[USER_HOME_CAP];
    uint32_t uid, gid;
    uint32_t groups[USER_GROUPS_MAX]; /* supplementary, primary excluded */
    size_t group_cnt;
};

/* Parsers without I/O: @passwd and @group are file contents. First match wins.
 * Errors: ADIT_ERR_NOT_FOUND; ADIT_ERR_BAD_INPUT for an empty, overlong or odd name (':' or
 * control). */
ADIT_MUST_CHECK int user_find(struct adit_view passwd, struct adit_view group,
                              struct adit_view name, struct user_entry *out);
/* Name of a uid / gid. Errors: ADIT_ERR_NOT_FOUND. */
ADIT_MUST_CHECK int user_name_of_uid(struct adit_view passwd, uint32_t uid,
                                     char out[USER_NAME_CAP]);
ADIT_MUST_CHECK int user_name_of_gid(struct adit_view group, uint32_t gid, char out[USER_NAME_CAP]);

#endif
