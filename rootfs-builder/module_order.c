/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading modules.dep.
 *
 * Theory of operation
 *
 * What:    a line is "PATH: PATH PATH …", a module and all that it needs, in the order opposite to
 * that of loading. So nothing has to be followed: the line of a module is read from its end.
 * Trust:   a user may bring modules of his own; paths are checked before they are used.
 */
#include "rootfs-builder/module_order.h"

static struct adit_view base_of(struct adit_view path)
{
    struct adit_view head;
    while (adit_view_split(path, '/', &head, &path))
        ;
    return head;
}

struct adit_view module_order_file(struct adit_view path)
{
    struct adit_view base = base_of(path);
    for (size_t i = 0; i + 3 <= base.len; i++)
        if (memcmp(base.ptr + i, ".ko", 3) == 0 && (i + 3 == base.len || base.ptr[i + 3] == '.'))
            return adit_view_mem(base.ptr, i + 3);
    return adit_view_mem(NULL, 0);
}

static bool is_path(struct adit_view path)
{
    struct adit_view part, rest = path;
    bool has_more = true;
    while (has_more) {
        has_more = adit_view_split(rest, '/', &part, &rest);
        if (part.len == 0 || adit_view_eq_str(part, ".") || adit_view_eq_str(part, "..") ||
            memchr(part.ptr, '\0', part.len))
            return false;
    }
    return module_order_file(path).len > 3;
}

/* To modules "-" and "_" are one character. */
static bool is_module(struct adit_view path, const char *name)
{
    struct adit_view file = module_order_file(path);
    size_t len = strlen(name);
    if (file.len != len + 3)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((file.ptr[i] == '-' ? '_' : file.ptr[i]) != (name[i] == '-' ? '_' : name[i]))
            return false;
    return true;
}

static bool is_built_in(struct adit_view builtin, const char *name)
{
    struct adit_view line;
    bool has_more = true, is_found = false;
    while (has_more && !is_found) {
        has_more = adit_view_split(builtin, '\n', &line, &builtin);
        is_found = is_module(adit_view_trim(line), name);
    }
    return is_found;
}

static int append(struct module_order *o, struct adit_view path, struct adit_err *err)
{
    if (!is_path(path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "'%.*s' in modules.dep is no module",
                            ADIT_VIEW_ARG(path));
    for (size_t i = 0; i < o->cnt; i++)
        if (adit_view_eq(o->paths[i], path))
            return 0;
    if (o->cnt == MODULE_ORDER_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d modules", MODULE_ORDER_MAX);
    o->paths[o->cnt++] = path;
    return 0;
}

/* What a module needs, from the last word to the first. */
static int append_needed(struct module_order *o, struct adit_view words, struct adit_err *err)
{
    int rc = 0;
    while (!rc && (words = adit_view_trim(words)).len > 0) {
        size_t start = words.len;
        while (start > 0 && words.ptr[start - 1] != ' ')
            start--;
        rc = append(o, adit_view_mem(words.ptr + start, words.len - start), err);
        words.len = start;
    }
    return rc;
}

int module_order_add(struct module_order *o, struct adit_view dep, struct adit_view builtin,
                     const char *name, struct adit_err *err)
{
    struct adit_view line, path, needed;
    bool has_more = true;
    while (has_more) {
        has_more = adit_view_split(dep, '\n', &line, &dep);
        if (!adit_view_split(line, ':', &path, &needed) || !is_module(path, name))
            continue;
        int rc = append_needed(o, needed, err);
        return rc ? rc : append(o, path, err);
    }
    if (is_built_in(builtin, name))
        return 0;
    return adit_err_set(err, ADIT_ERR_NOT_FOUND, "the kernel has no module %s", name);
}
