/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the environment of a process.
 *
 * Theory of operation
 *
 * What:      keeps one string a variable in an array that execve(2) takes as it is, and a map from
 * name to place, so that a request with thousands of variables costs linear time.
 * Ownership: the strings and the array are the block's. The map holds indices, one above the real
 * one, so that none of them is a null pointer.
 * Trust:     names and values come from clients; their number is bounded here, their bytes by the
 * request's own limit.
 */
#include "envd/process/env_block.h"

#include <stdlib.h>

#define FIRST_CAP 32

void env_block_init(struct env_block *b)
{
    memset(b, 0, sizeof *b);
    adit_map_init(&b->index);
}

void env_block_fini(struct env_block *b)
{
    for (size_t i = 0; i < b->cnt; i++)
        free(b->vars[i]);
    free(b->vars);
    adit_map_fini(&b->index);
}

static int check_name(struct adit_view name, struct adit_err *err)
{
    if (name.len == 0 || memchr(name.ptr, '=', name.len) || memchr(name.ptr, '\0', name.len))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid environment variable name '%.*s'",
                            ADIT_VIEW_ARG(name));
    return ADIT_OK;
}

static char *join(struct adit_view name, struct adit_view value)
{
    char *s = malloc(name.len + value.len + 2);
    if (!s)
        return NULL;
    memcpy(s, name.ptr, name.len);
    s[name.len] = '=';
    if (value.len > 0)
        memcpy(s + name.len + 1, value.ptr, value.len);
    s[name.len + 1 + value.len] = '\0';
    return s;
}

/* Room for one more and the NULL behind it. */
static int grow(struct env_block *b)
{
    if (b->cnt + 1 < b->cap)
        return ADIT_OK;
    size_t cap = b->cap ? b->cap * 2 : FIRST_CAP;
    char **vars = realloc(b->vars, cap * sizeof *vars);
    if (!vars)
        return ADIT_ERR_NO_MEMORY;
    b->vars = vars;
    b->cap = cap;
    return ADIT_OK;
}

static int append(struct env_block *b, struct adit_view name, char *var)
{
    if (b->cnt == ENV_BLOCK_VARS_MAX)
        return ADIT_ERR_LIMIT;
    int code = grow(b);
    if (code == ADIT_OK)
        code = adit_map_put(&b->index, name, (void *)(uintptr_t)(b->cnt + 1));
    if (code != ADIT_OK)
        return code;
    b->vars[b->cnt++] = var;
    b->vars[b->cnt] = NULL;
    return ADIT_OK;
}

int env_block_set(struct env_block *b, struct adit_view name, struct adit_view value,
                  struct adit_err *err)
{
    int code = check_name(name, err);
    if (code != ADIT_OK)
        return code;
    char *var = join(name, value);
    if (!var)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    size_t place = (uintptr_t)adit_map_get(&b->index, name);
    if (place > 0) {
        free(b->vars[place - 1]);
        b->vars[place - 1] = var;
        return ADIT_OK;
    }
    code = append(b, name, var);
    if (code == ADIT_OK)
        return ADIT_OK;
    free(var);
    return adit_err_set(err, code, "more than %d environment variables", ENV_BLOCK_VARS_MAX);
}

const char *env_block_get(const struct env_block *b, const char *name)
{
    size_t place = (uintptr_t)adit_map_get(&b->index, adit_view_str(name));
    return place > 0 ? b->vars[place - 1] + strlen(name) + 1 : NULL;
}

char **env_block_vars(struct env_block *b)
{
    static char *none[] = {NULL};
    return b->cnt > 0 ? b->vars : none;
}
