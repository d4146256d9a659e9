/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks for which path: the query of /files. */
/*
 * Theory of operation
 *
 * Authorization comes first: nothing about users or files is said to somebody who may not ask.
 *
 * Trust: the query is a client's; url.h bounds and decodes it.
 */
#include "envd/filesystem/files_int.h"

#include "envd/filesystem/files.h"
#include "net/url.h"

int files_user(struct envd *e, struct adit_view name, struct user_entry *out, struct adit_err *err)
{
    struct adit_view asked = name.len ? name : adit_view_str(e->default_user);
    if (asked.len == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "username not provided");
    if (envd_user(e, asked, out, NULL))
        return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED,
                            "error looking up user '%.*s': user: unknown user %.*s",
                            ADIT_VIEW_ARG(asked), ADIT_VIEW_ARG(asked));
    return 0;
}

static int read_query(struct files_request *r, struct adit_view query, struct adit_err *err)
{
    struct adit_buf name;
    bool ignored;

    adit_buf_init(&name, USER_NAME_CAP);
    int rc = url_query_get(query, "path", &r->path, &ignored);
    if (rc == 0)
        rc = url_query_get(query, "username", &name, &ignored);
    rc = rc ? adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid query")
            : files_user(r->envd, adit_buf_view(&name), &r->user, err);
    adit_buf_fini(&name);
    return rc;
}

int files_request_init(struct files_request *r, struct http_exchange *x,
                       const struct http_head *head, const char *operation, struct adit_err *err)
{
    struct url_target target;

    r->envd = http_server_owner(http_exchange_server(x));
    adit_buf_init(&r->path, ENVD_PATH_CAP);
    int rc = url_split_target(head->target, &target, err);
    if (rc)
        return rc;
    rc = files_authorize(r->envd, head, target.query, operation, err);
    return rc ? rc : read_query(r, target.query, err);
}

void files_request_fini(struct files_request *r)
{
    adit_buf_fini(&r->path);
}
