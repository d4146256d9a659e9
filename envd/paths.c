/* SPDX-License-Identifier: Apache-2.0 */
/* The path rules of every RPC and of /files. */
/*
 * Theory of operation
 *
 * Text in, text out. Cleaning is lexical, as the clients expect: "a/../b" is "b" whatever "a" is.
 * Nothing here confines a path: a client may name every file of its sandbox.
 *
 * Limits: a resolved path is shorter than ENVD_PATH_CAP, as the kernel wants it.
 */
#include "envd/envd.h"
#include "envd/paths.h"

static const struct adit_view dot = ADIT_VIEW("."), slash = ADIT_VIEW("/");

static struct adit_view cut_trailing_slashes(struct adit_view path)
{
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

static size_t last_slash(struct adit_view path)
{
    size_t i = path.len;
    while (i > 0 && path.ptr[i - 1] != '/')
        i--;
    return i; /* just behind it; 0: none */
}

struct adit_view paths_base_name(struct adit_view path)
{
    if (path.len == 0)
        return dot;
    path = cut_trailing_slashes(path);
    if (adit_view_eq(path, slash))
        return slash;
    size_t start = last_slash(path);
    return (struct adit_view){path.ptr + start, path.len - start};
}

struct adit_view paths_dir_name(struct adit_view path)
{
    path = cut_trailing_slashes(path);
    size_t end = last_slash(path);
    if (end == 0)
        return dot;
    return cut_trailing_slashes((struct adit_view){path.ptr, end});
}

/* Take the last component off what was appended behind @start. */
static void drop_component(struct adit_buf *out, size_t start)
{
    while (out->len > start && out->data[out->off + out->len - 1] != '/')
        out->len--;
    if (out->len > start)
        out->len--;
}

/* A relative path keeps the ".." that lead out of it; nothing is above "/". */
static int clean_component(struct adit_view part, bool is_absolute, size_t start, size_t *depth,
                           struct adit_buf *out)
{
    if (part.len == 0 || adit_view_eq(part, dot))
        return 0;
    bool is_up = adit_view_eq_str(part, "..");
    if (is_up && *depth > 0) {
        drop_component(out, start);
        (*depth)--;
        return 0;
    }
    if (is_up && is_absolute)
        return 0;
    if ((is_absolute || out->len > start) && adit_buf_append_char(out, '/'))
        return ADIT_ERR_LIMIT;
    if (!is_up)
        (*depth)++;
    return adit_buf_append_view(out, part);
}

int paths_clean(struct adit_view path, struct adit_buf *out)
{
    size_t start = out->len, depth = 0;
    bool is_absolute = path.len > 0 && path.ptr[0] == '/', more = true;

    while (more) {
        struct adit_view part;
        more = adit_view_split(path, '/', &part, &path);
        int rc = clean_component(part, is_absolute, start, &depth, out);
        if (rc)
            return rc;
    }
    if (out->len > start)
        return 0;
    return adit_buf_append_view(out, is_absolute ? slash : dot);
}

/* home + "/" + @rest, cleaned */
static int join_home(const struct paths_base *base, struct adit_view rest, struct adit_buf *out)
{
    struct adit_buf joined;
    adit_buf_init(&joined, 2 * (size_t)ENVD_PATH_CAP);
    int rc = adit_buf_append_str(&joined, base->home);
    if (!rc)
        rc = adit_buf_append_char(&joined, '/');
    if (!rc)
        rc = adit_buf_append_view(&joined, rest);
    if (!rc)
        rc = paths_clean(adit_buf_view(&joined), out);
    adit_buf_fini(&joined);
    return rc;
}

static int resolve(const struct paths_base *base, struct adit_view path, struct adit_buf *out,
                   struct adit_err *err)
{
    if (path.len == 0)
        path = adit_view_str(base->workdir);
    if (path.len > 0 && path.ptr[0] == '~') {
        if (path.len > 1 && path.ptr[1] != '/')
            return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                                "failed to expand path '%.*s' for user '%s': cannot expand "
                                "user-specific home dir",
                                ADIT_VIEW_ARG(path), base->user);
        path.ptr++;
        path.len--;
        return join_home(base, path, out);
    }
    if (path.len > 0 && path.ptr[0] == '/')
        return adit_buf_append_view(out, path);
    return join_home(base, path, out);
}

int paths_resolve(const struct paths_base *base, struct adit_view path, struct adit_buf *out,
                  struct adit_err *err)
{
    size_t start = out->len;

    if (path.len >= ENVD_PATH_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path of %zu bytes is too long", path.len);
    if (memchr(path.len ? path.ptr : "", '\0', path.len))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path contains a NUL byte");
    int rc = resolve(base, path, out, err);
    if (!rc && out->len - start < ENVD_PATH_CAP)
        return 0;
    out->len = start;
    if (rc == ADIT_ERR_BAD_INPUT)
        return rc;
    if (rc == ADIT_ERR_NO_MEMORY)
        return adit_err_set(err, rc, "out of memory");
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is too long");
}
