/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of control API routes. A handler that has no row cannot be reached. */
#ifndef BROKER_API_API_ROUTES_H
#define BROKER_API_API_ROUTES_H

#include "net/http_msg.h"

struct api_request;

enum api_route_auth {
    API_ROUTE_AUTH_NONE,
    API_ROUTE_AUTH_KEY,     /* X-API-Key of a team; or X-Admin-Token, with X-Team-ID */
    API_ROUTE_AUTH_BEARER,  /* Authorization: Bearer; no such tokens are given out yet */
    API_ROUTE_AUTH_ADMIN,   /* X-Admin-Token; a team's key is not enough */
    API_ROUTE_AUTH_SESSION, /* X-API-Key, the caller's own; on a developer's machine perhaps none */
};

/*
 * @pattern: path; a segment in braces stands for any one segment, "{sandboxID}" for a sandbox id
 * @feature: what api_not_built() names, else NULL
 */
struct api_route {
    enum http_method method;
    const char *pattern;
    enum api_route_auth auth;
    void (*handle)(struct api_request *rq);
    const char *feature;
};

enum api_routes_result { API_ROUTES_FOUND, API_ROUTES_WRONG_METHOD, API_ROUTES_UNKNOWN };

#define API_ROUTES_ALLOW_CAP 64

/*
 * Find the row for a path as it came (still encoded). @sandbox: the encoded {sandboxID} segment, or
 * NULL ptr.
 * @allow: for API_ROUTES_WRONG_METHOD the methods there are, as in an Allow header.
 */
enum api_routes_result api_routes_find(enum http_method method, struct adit_view path,
                                       const struct api_route **route, struct adit_view *sandbox,
                                       char allow[API_ROUTES_ALLOW_CAP]);
/* The segment of @path, still encoded, that stands for "{name}" in the row's pattern. NULL ptr when
 * there is none. */
struct adit_view api_routes_param(const struct api_route *route, struct adit_view path,
                                  const char *name);

#endif
