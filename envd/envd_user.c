/* SPDX-License-Identifier: Apache-2.0 */
/* The user and the paths of a request, as envd.h declares them for every room of envd. */
/*
 * Theory of operation
 *
 * A request names a user (Basic user of an RPC, query parameter of /files) or leaves it to the
 * default that /init set. Names are looked up in the guest's own files at every request; those are
 * kept in memory while they do not change.
 *
 * Trust: the name comes from a client, the files from the guest. Neither is a credential: the
 * access token is, and it was checked before.
 */
#include "envd/envd.h"

#include <stdio.h>

#include "base/encode.h"
#include "envd/paths.h"

int envd_user(struct envd *e, struct adit_view name, struct user_entry *out, struct adit_err *err)
{
    if (name.len == 0)
        name = adit_view_str(e->default_user);
    if (name.len == 0)
        return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "no user specified");
    user_files_refresh(&e->user_files);
    if (user_files_find(&e->user_files, name, out))
        return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "invalid username: '%.*s'",
                            ADIT_VIEW_ARG(name));
    return 0;
}

int envd_path(struct envd *e, const struct user_entry *user, struct adit_view path,
              struct adit_buf *out, struct adit_err *err)
{
    struct paths_base base = {user->name, user->home, e->default_workdir};
    return paths_resolve(&base, path, out, err);
}

static int refuse_basic(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "invalid Authorization header");
}

/* The scheme's name is case-insensitive, and spaces may stand before the credentials (RFC 9110
 * 11.4). */
static bool cut_scheme(struct adit_view *value)
{
    struct adit_view scheme, rest;
    if (!adit_view_split(*value, ' ', &scheme, &rest) || !adit_view_ieq_str(scheme, "Basic"))
        return false;
    *value = adit_view_trim(rest);
    return true;
}

int envd_basic_user(const struct http_head *head, char out[USER_NAME_CAP], struct adit_err *err)
{
    struct adit_view value = http_head_get(head, "Authorization"), name, password;
    char text[2 * USER_NAME_CAP + 3];
    size_t len;

    out[0] = '\0';
    if (!value.ptr || !cut_scheme(&value))
        return 0; /* another scheme is not about the user */
    if (http_head_count(head, "Authorization") > 1 || value.len / 4 * 3 + 3 > sizeof text ||
        adit_base64_decode(value, text, &len))
        return refuse_basic(err);
    if (!adit_view_split(adit_view_mem(text, len), ':', &name, &password) ||
        name.len >= USER_NAME_CAP || memchr(text, '\0', len))
        return refuse_basic(err);
    memcpy(out, name.ptr, name.len);
    out[name.len] = '\0';
    return 0;
}

uint64_t envd_keepalive_ms(const struct http_head *head)
{
    uint64_t seconds;
    struct adit_view text = http_head_get(head, "Keepalive-Ping-Interval");
    if (adit_view_u64(text, ENVD_KEEPALIVE_MAX_S, &seconds) != ADIT_OK || seconds == 0)
        seconds = ENVD_KEEPALIVE_S;
    return seconds * 1000;
}
