/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access token.
 *
 * Theory of operation
 *
 * What:  a sandbox is open until /init gives it a token; then every request carries it, but for the
 * routes whose class says otherwise (see the table in routes.c).
 * Trust: the header is hostile. It is compared in a time that depends on its length only, and a
 * request with two of them is refused: no choice between them is right.
 */
#include "envd/auth.h"

static bool has_token(const struct envd *e, const struct http_head *head)
{
    struct adit_view want = adit_view_str(e->access_token);
    struct adit_view got = http_head_get(head, AUTH_HEADER);
    return http_head_count(head, AUTH_HEADER) == 1 && adit_view_eq_secret(got, want);
}

bool auth_allows(const struct envd *e, enum auth_class class, const struct http_head *head)
{
    if (class != AUTH_TOKEN || e->access_token[0] == '\0')
        return true;
    return has_token(e, head);
}
