/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.json: what a template is, as rootfs-builder wrote it. Format: docs/templates.md.
 */
#ifndef BROKER_VMM_TEMPLATE_H
#define BROKER_VMM_TEMPLATE_H

#include "base/json.h"

#define TEMPLATE_FILE "template.json"
#define TEMPLATE_FILE_CAP (64u * 1024)
#define TEMPLATE_ID_LEN 20
#define TEMPLATE_BUILD_ID_LEN 36
#define TEMPLATE_ALIAS_CAP 129
#define TEMPLATE_ALIASES_MAX 16
#define TEMPLATE_USER_CAP 33
#define TEMPLATE_PATH_CAP 1024
#define TEMPLATE_CMD_CAP 4096
#define TEMPLATE_ISOLATION_CAP 16
#define TEMPLATE_ENV_MAX 1024
#define TEMPLATE_ENV_CAP (20u * 1024)
#define TEMPLATE_CPU_MAX 1024
#define TEMPLATE_MEMORY_MB_MIN 128
#define TEMPLATE_MEMORY_MB_MAX (16 * 1024 * 1024)
#define TEMPLATE_DISK_MB_MAX (1024 * 1024 * 1024)

/* Plain data: two that say the same are equal byte by byte. Optional texts are empty when absent.
 * @env: variables of everything that is started, NAME=value, each with its NUL; an empty one ends
 * them */
struct template_info {
    char template_id[TEMPLATE_ID_LEN + 1];
    char build_id[TEMPLATE_BUILD_ID_LEN + 1];
    char aliases[TEMPLATE_ALIASES_MAX][TEMPLATE_ALIAS_CAP];
    size_t alias_cnt;
    uint32_t cpu_count;
    uint64_t memory_mb, disk_mb;
    int64_t created_ns;
    char default_user[TEMPLATE_USER_CAP];
    char default_workdir[TEMPLATE_PATH_CAP];
    char start_cmd[TEMPLATE_CMD_CAP];
    char ready_cmd[TEMPLATE_CMD_CAP];
    char isolation[TEMPLATE_ISOLATION_CAP]; /* of sandboxes that ask for none */
    char env[TEMPLATE_ENV_CAP];
};

/* Take the text of a template.json; unknown members are ignored. Errors: BAD_INPUT naming the
 * member, NO_MEMORY. */
ADIT_MUST_CHECK int template_parse(struct adit_view text, struct template_info *out,
                                   struct adit_err *err);
/* Read and check <dir>/template.json, and that <dir>/root is a directory. Blocks. Errors: as above,
 * NOT_FOUND, LIMIT, IO. */
ADIT_MUST_CHECK int template_read(const char *dir, struct template_info *out, struct adit_err *err);
/* The variables of a sandbox: the template's, and over them those that were asked for (an object of
 * strings, or NULL). Return: a new object, or NULL without memory. */
json_t *template_env(const struct template_info *info, json_t *asked);

#endif
