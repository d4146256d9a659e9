/* SPDX-License-Identifier: Apache-2.0 */
/* The route table: what is found, what is a wrong method, what is unknown; every row has its class.
 */
#include "broker/api/api_routes.h"

#include "tests/unit/suite.h"
#include <stdlib.h>

#include "broker/api/api.h"

struct row {
    enum http_method method;
    const char *path;
    enum api_routes_result result;
    const char *pattern, *sandbox, *allow;
    enum api_route_auth auth;
};

#define FOUND(method, path, auth, pattern, sandbox)                                                \
    {                                                                                              \
        HTTP_##method, path, API_ROUTES_FOUND, pattern, sandbox, NULL, API_ROUTE_AUTH_##auth       \
    }
#define UNKNOWN(path)                                                                              \
    {                                                                                              \
        HTTP_GET, path, API_ROUTES_UNKNOWN, NULL, NULL, NULL, API_ROUTE_AUTH_KEY                   \
    }
#define WRONG(method, path, allow)                                                                 \
    {                                                                                              \
        HTTP_##method, path, API_ROUTES_WRONG_METHOD, NULL, NULL, allow, API_ROUTE_AUTH_KEY        \
    }

static const struct row rows[] = {
    FOUND(GET, "/health", NONE, "/health", NULL),
    FOUND(POST, "/sandboxes", KEY, "/sandboxes", NULL),
    FOUND(GET, "/v2/sandboxes", KEY, "/v2/sandboxes", NULL),
    FOUND(GET, "/sandboxes/iabc", KEY, "/sandboxes/{sandboxID}", "iabc"),
    FOUND(DELETE, "/sandboxes/iabc-6532622b", KEY, "/sandboxes/{sandboxID}", "iabc-6532622b"),
    FOUND(GET, "/sandboxes/metrics", KEY, "/sandboxes/metrics", NULL),
    FOUND(DELETE, "/sandboxes/metrics", KEY, "/sandboxes/{sandboxID}", "metrics"),
    FOUND(POST, "/v2/sandboxes/iabc/connect", KEY, "/v2/sandboxes/{sandboxID}/connect", "iabc"),
    FOUND(GET, "/templates/aliases/a%2Fb", KEY, "/templates/aliases/{alias}", NULL),
    FOUND(DELETE, "/templates/ns%2Fname%3Atag", KEY, "/templates/{templateID}", NULL),
    FOUND(DELETE, "/templates/tags", KEY, "/templates/tags", NULL),
    FOUND(GET, "/teams", BEARER, "/teams", NULL),
    FOUND(GET, "/nodes", ADMIN, "/nodes", NULL),
    FOUND(POST, "/admin/teams/x/sandboxes/kill", ADMIN, "/admin/teams/{id}/sandboxes/kill", NULL),
    UNKNOWN("/"),
    UNKNOWN(""),
    UNKNOWN("*"),
    UNKNOWN("/sandboxes/"),
    UNKNOWN("//sandboxes"),
    UNKNOWN("/Sandboxes"),
    UNKNOWN("/sandbox%65s"),
    UNKNOWN("/sandboxes/iabc/"),
    UNKNOWN("/sandboxes//connect"),
    UNKNOWN("/sandboxes/iabc/connect/more"),
    UNKNOWN("/sandboxes/iabc/dance"),
    UNKNOWN("/v3/sandboxes"),
    WRONG(PUT, "/sandboxes", "POST, GET"),
    WRONG(GET, "/sandboxes/iabc/connect", "POST"),
    WRONG(PATCH, "/sandboxes/iabc", "GET, DELETE"),
    WRONG(OTHER, "/health", "GET"),
};

START_TEST(api_routes_finds)
{
    const struct row *r = &rows[_i];
    const struct api_route *route = NULL;
    struct adit_view sandbox = {NULL, 0};
    char allow[API_ROUTES_ALLOW_CAP];
    ck_assert_msg(api_routes_find(r->method, adit_view_str(r->path), &route, &sandbox, allow) ==
                      r->result,
                  "%s", r->path);
    if (r->allow)
        ck_assert_str_eq(allow, r->allow);
    if (r->result != API_ROUTES_FOUND)
        return;
    ck_assert_str_eq(route->pattern, r->pattern);
    ck_assert_int_eq(route->auth, r->auth);
    ck_assert(r->sandbox ? adit_view_eq_str(sandbox, r->sandbox) : sandbox.ptr == NULL);
    ck_assert((route->handle == api_not_built) == (route->feature != NULL));
}
END_TEST

START_TEST(api_routes_let_nobody_past_but_to_health)
{
    static const char *const paths[] = {"/sandboxes", "/v2/sandboxes", "/sandboxes/i", "/nodes",
                                        "/teams",     "/volumes",      "/secrets",     "/api-keys"};
    const struct api_route *route;
    struct adit_view sandbox;
    char allow[API_ROUTES_ALLOW_CAP];
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        for (int m = HTTP_GET; m <= HTTP_OTHER; m++)
            if (api_routes_find((enum http_method)m, adit_view_str(paths[i]), &route, &sandbox,
                                allow) == API_ROUTES_FOUND)
                ck_assert_int_ne(route->auth, API_ROUTE_AUTH_NONE);
}
END_TEST

START_TEST(api_routes_name_the_segments_of_a_path)
{
    const struct api_route *route = NULL;
    struct adit_view sandbox, path = ADIT_VIEW("/admin/teams/a%2Fb/api-keys/k1");
    char allow[API_ROUTES_ALLOW_CAP];
    ck_assert_int_eq(api_routes_find(HTTP_DELETE, path, &route, &sandbox, allow), API_ROUTES_FOUND);
    ck_assert(adit_view_eq_str(api_routes_param(route, path, "{id}"), "a%2Fb"));
    ck_assert(adit_view_eq_str(api_routes_param(route, path, "{keyID}"), "k1"));
    ck_assert_ptr_null(api_routes_param(route, path, "{other}").ptr);
}
END_TEST

SUITE_MAIN_WITH("api_routes",
                TESTS(api_routes_let_nobody_past_but_to_health,
                      api_routes_name_the_segments_of_a_path),
                LOOPS({api_routes_finds, sizeof(rows) / sizeof(rows[0])}))
