/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of the control API.
 *
 * Theory of operation
 *
 * What: every endpoint of the contract has its row, with who may call it; the rows of features that
 * come later answer 501 by api_not_built(). Dispatch goes through the table only, and a row has no
 * default authorization: ROUTE() without one does not compile. Matching is on the path as it came,
 * segment by segment; nothing is decoded before, so an encoded slash stays inside its segment.
 * Literal rows stand before rows with a parameter in the same place.
 */
#include "broker/api/api_routes.h"

#include <stdio.h>

#include "broker/api/api.h"
#include "broker/session/session.h"

#define ROUTE(method, pattern, auth, handle)                                                       \
    {                                                                                              \
        HTTP_##method, pattern, API_ROUTE_AUTH_##auth, handle, NULL                                \
    }
#define LATER(method, pattern, auth, feature)                                                      \
    {                                                                                              \
        HTTP_##method, pattern, API_ROUTE_AUTH_##auth, api_not_built, feature                      \
    }

static const struct api_route table[] = {
    ROUTE(GET, "/health", NONE, api_health),
    ROUTE(POST, "/sandboxes", KEY, api_create_v1),
    ROUTE(POST, "/v2/sandboxes", KEY, api_create_v2),
    ROUTE(GET, "/sandboxes", KEY, api_list_v1),
    ROUTE(GET, "/v2/sandboxes", KEY, api_list_v2),
    ROUTE(GET, "/sandboxes/metrics", KEY, api_metrics_newest),
    ROUTE(GET, "/sandboxes/{sandboxID}", KEY, api_sandbox_get),
    ROUTE(DELETE, "/sandboxes/{sandboxID}", KEY, api_sandbox_kill),
    ROUTE(POST, "/sandboxes/{sandboxID}/connect", KEY, api_sandbox_connect_v1),
    ROUTE(POST, "/v2/sandboxes/{sandboxID}/connect", KEY, api_sandbox_connect_v2),
    ROUTE(POST, "/sandboxes/{sandboxID}/resume", KEY, api_sandbox_resume),
    ROUTE(POST, "/sandboxes/{sandboxID}/timeout", KEY, api_sandbox_timeout),
    ROUTE(POST, "/sandboxes/{sandboxID}/refreshes", KEY, api_sandbox_refresh),
    ROUTE(GET, "/sandboxes/{sandboxID}/metrics", KEY, api_metrics_range),
    ROUTE(GET, "/sandboxes/{sandboxID}/logs", KEY, api_logs_v1),
    ROUTE(GET, "/v2/sandboxes/{sandboxID}/logs", KEY, api_logs_v2),

    LATER(POST, "/sandboxes/{sandboxID}/pause", KEY, "pausing"),
    ROUTE(PUT, "/sandboxes/{sandboxID}/network", KEY, api_sandbox_network),
    ROUTE(POST, "/sandboxes/{sandboxID}/rotate-tokens", KEY, api_sandbox_rotate),
    LATER(POST, "/sandboxes/{sandboxID}/snapshots", KEY, "snapshots"),
    LATER(GET, "/snapshots", KEY, "snapshots"),
    LATER(POST, "/sandboxes/{sandboxID}/fork", KEY, "forking"),

    LATER(POST, "/templates", KEY, "building templates"),
    LATER(POST, "/v2/templates", KEY, "building templates"),
    LATER(POST, "/v3/templates", KEY, "building templates"),
    ROUTE(GET, "/templates", KEY, api_templates_list),
    ROUTE(GET, "/v2/templates", KEY, api_templates_list),
    LATER(POST, "/templates/tags", KEY, "template tags"),
    LATER(DELETE, "/templates/tags", KEY, "template tags"),
    ROUTE(GET, "/templates/aliases/{alias}", KEY, api_templates_alias),
    ROUTE(GET, "/templates/{templateID}", KEY, api_templates_get),
    LATER(POST, "/templates/{templateID}", KEY, "building templates"),
    LATER(PATCH, "/templates/{templateID}", KEY, "changing templates"),
    LATER(PATCH, "/v2/templates/{templateID}", KEY, "changing templates"),
    LATER(DELETE, "/templates/{templateID}", KEY, "deleting templates and snapshots"),
    LATER(GET, "/templates/{templateID}/tags", KEY, "template tags"),
    LATER(GET, "/templates/{templateID}/files/{hash}", KEY, "building templates"),
    LATER(POST, "/templates/{templateID}/builds/{buildID}", KEY, "building templates"),
    LATER(POST, "/v2/templates/{templateID}/builds/{buildID}", KEY, "building templates"),
    LATER(GET, "/templates/{templateID}/builds/{buildID}/status", KEY, "building templates"),
    LATER(GET, "/templates/{templateID}/builds/{buildID}/logs", KEY, "building templates"),

    LATER(GET, "/teams", BEARER, "teams"),
    LATER(GET, "/teams/{teamID}/metrics", KEY, "team metrics"),
    LATER(GET, "/teams/{teamID}/metrics/max", KEY, "team metrics"),
    ROUTE(GET, "/api-keys", ADMIN, api_keys_list),
    ROUTE(POST, "/api-keys", ADMIN, api_keys_make),
    ROUTE(PATCH, "/api-keys/{id}", ADMIN, api_keys_rename),
    ROUTE(DELETE, "/api-keys/{id}", ADMIN, api_keys_revoke),
    LATER(POST, "/access-tokens", BEARER, "access tokens"),
    LATER(DELETE, "/access-tokens/{id}", BEARER, "access tokens"),

    LATER(GET, "/volumes", KEY, "volumes"),
    LATER(POST, "/volumes", KEY, "volumes"),
    LATER(GET, "/volumes/{id}", KEY, "volumes"),
    LATER(DELETE, "/volumes/{id}", KEY, "volumes"),
    LATER(GET, "/volumecontent/{id}/path", BEARER, "volumes"),
    LATER(PATCH, "/volumecontent/{id}/path", BEARER, "volumes"),
    LATER(DELETE, "/volumecontent/{id}/path", BEARER, "volumes"),
    LATER(GET, "/volumecontent/{id}/dir", BEARER, "volumes"),
    LATER(POST, "/volumecontent/{id}/dir", BEARER, "volumes"),
    LATER(GET, "/volumecontent/{id}/file", BEARER, "volumes"),
    LATER(PUT, "/volumecontent/{id}/file", BEARER, "volumes"),

    LATER(GET, "/secrets", KEY, "secrets"),
    LATER(POST, "/secrets", KEY, "secrets"),
    LATER(GET, "/secrets/{id}", KEY, "secrets"),
    LATER(POST, "/secrets/{id}", KEY, "secrets"),
    LATER(DELETE, "/secrets/{id}", KEY, "secrets"),

    ROUTE(POST, "/api/v1/session/{sessionID}/sandbox/start", SESSION, session_start),
    ROUTE(POST, "/api/v1/session/{sessionID}/sandbox/stop", SESSION, session_stop),
    ROUTE(GET, "/api/v1/session/{sessionID}/sandbox/status", SESSION, session_status),
    ROUTE(POST, "/api/v1/session/{sessionID}/sandbox/execute", SESSION, session_execute),
    ROUTE(POST, "/api/v1/session/{sessionID}/sandbox/install", SESSION, session_install),
    ROUTE(POST, "/api/v1/session/{sessionID}/sandbox/upload", SESSION, session_upload),
    ROUTE(GET, "/api/v1/session/{sessionID}/sandbox/download", SESSION, session_download),
    ROUTE(GET, "/api/v1/session/{sessionID}/sandbox/files", SESSION, session_files),

    ROUTE(GET, "/nodes", ADMIN, api_admin_nodes),
    ROUTE(GET, "/nodes/{id}", ADMIN, api_admin_node),
    ROUTE(POST, "/nodes/{id}", ADMIN, api_admin_set_node),
    ROUTE(GET, "/admin/sandboxes/running-counts", ADMIN, api_admin_running_counts),
    ROUTE(POST, "/admin/teams/{id}/sandboxes/kill", ADMIN, api_admin_kill_team),
    LATER(POST, "/admin/teams/{id}/builds/cancel", ADMIN, "administration"),
    ROUTE(POST, "/admin/teams/{id}/api-keys", ADMIN, api_keys_make),
    ROUTE(DELETE, "/admin/teams/{id}/api-keys/{keyID}", ADMIN, api_keys_revoke_of_team),
};

static const char *const method_names[] = {
    [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
    [HTTP_PUT] = "PUT",         [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
    [HTTP_OPTIONS] = "OPTIONS",
};

/* Take the next segment of "/a/b"; false at the end. */
static bool next_segment(struct adit_view *rest, struct adit_view *segment)
{
    if (rest->len == 0 || rest->ptr[0] != '/')
        return false;
    struct adit_view v = {rest->ptr + 1, rest->len - 1};
    const char *slash = v.len ? memchr(v.ptr, '/', v.len) : NULL;
    segment->ptr = v.ptr;
    segment->len = slash ? (size_t)(slash - v.ptr) : v.len;
    rest->ptr = v.ptr + segment->len;
    rest->len = v.len - segment->len;
    return true;
}

static bool matches(const char *pattern, struct adit_view path, struct adit_view *sandbox)
{
    struct adit_view rest = adit_view_str(pattern), want, got;
    *sandbox = (struct adit_view){NULL, 0};
    while (next_segment(&rest, &want)) {
        if (!next_segment(&path, &got))
            return false;
        if (want.ptr[0] != '{') {
            if (!adit_view_eq(want, got))
                return false;
        } else if (got.len == 0) {
            return false;
        } else if (adit_view_eq_str(want, "{sandboxID}")) {
            *sandbox = got;
        }
    }
    return path.len == 0;
}

struct adit_view api_routes_param(const struct api_route *route, struct adit_view path,
                                  const char *name)
{
    struct adit_view rest = adit_view_str(route->pattern), want, got;
    while (next_segment(&rest, &want) && next_segment(&path, &got))
        if (adit_view_eq_str(want, name))
            return got;
    return (struct adit_view){NULL, 0};
}

static void note_allowed(enum http_method method, char allow[API_ROUTES_ALLOW_CAP])
{
    size_t len = strlen(allow);
    (void)snprintf(allow + len, API_ROUTES_ALLOW_CAP - len, "%s%s", len ? ", " : "",
                   method_names[method]);
}

enum api_routes_result api_routes_find(enum http_method method, struct adit_view path,
                                       const struct api_route **route, struct adit_view *sandbox,
                                       char allow[API_ROUTES_ALLOW_CAP])
{
    const char *literal = NULL; /* the pattern that matched; another one is less literal */
    allow[0] = '\0';
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct adit_view id;
        if (!matches(table[i].pattern, path, &id))
            continue;
        if (table[i].method == method) {
            *route = &table[i];
            *sandbox = id;
            return API_ROUTES_FOUND;
        }
        if (!literal || strcmp(literal, table[i].pattern) == 0) {
            literal = table[i].pattern;
            note_allowed(table[i].method, allow);
        }
    }
    return literal ? API_ROUTES_WRONG_METHOD : API_ROUTES_UNKNOWN;
}
