/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of a process to be: NAME=value strings, the last setting of a name wins. No I/O.
 */
#ifndef ENVD_ENV_BLOCK_H
#define ENVD_ENV_BLOCK_H

#include "base/map.h"

/* More than any shell takes; the kernel has its own limit on the bytes (E2BIG). */
#define ENV_BLOCK_VARS_MAX 4096

struct env_block {
    struct adit_map index; /* name → &vars[i] */
    char **vars;           /* "NAME=value", heap; NULL behind the last */
    size_t cnt, cap;
};

void env_block_init(struct env_block *b);
void env_block_fini(struct env_block *b);
/* Errors: BAD_INPUT (name empty, or '=' or NUL in it), LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int env_block_set(struct env_block *b, struct adit_view name,
                                  struct adit_view value, struct adit_err *err);
/* The value of a name, or NULL. Valid until the name is set again. */
const char *env_block_get(const struct env_block *b, const char *name);
/* For execve(2); valid until the block changes. */
char **env_block_vars(struct env_block *b);

#endif
