/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request's head to its handler.
 *
 * Theory of operation
 *
 * What:  one table, a row for every route, with the class of authorization it needs. A handler is
 * named nowhere else, so none is reachable without its row. The order is fixed: log, CORS
 * preflight, path, row, authorization, method, handler. Authorization and routing look at the same
 * cleaned path, so that no spelling of a path passes the one and reaches another row.
 *
 *   no row            -> as AUTH_TOKEN, then 404
 *   row, other method -> as AUTH_TOKEN, then 405
 *
 * Trust: method, target and headers are hostile but well-formed (http_guard).
 */
#include "envd/routes.h"

#include "envd/auth.h"
#include "envd/cors.h"
#include "envd/filesystem/files.h"
#include "envd/filesystem/filesystem.h"
#include "envd/process/process_service.h"
#include "envd/rest.h"
#include "envd/state.h"
#include "net/url.h"
#include "rpc/rpc_server.h"

typedef void (*routes_fn)(struct http_exchange *x, const struct http_head *head);

/* Either @handler, or @service for all paths below @path. */
struct route {
    const char *path;
    enum http_method method;
    enum auth_class auth;
    routes_fn handler;
    const struct rpc_service *service;
};

static const struct route table[] = {
    {"/health", HTTP_GET, AUTH_OPEN, state_health, NULL},
    {"/metrics", HTTP_GET, AUTH_TOKEN, state_metrics, NULL},
    {"/envs", HTTP_GET, AUTH_TOKEN, state_envs, NULL},
    {"/init", HTTP_POST, AUTH_OWN, state_init, NULL},
    {"/files", HTTP_GET, AUTH_OWN, files_get, NULL},
    {"/files", HTTP_POST, AUTH_OWN, files_post, NULL},
    {"/files/compose", HTTP_POST, AUTH_TOKEN, files_compose, NULL},
    {"/process.Process/", HTTP_POST, AUTH_TOKEN, NULL, &process_service},
    {"/filesystem.Filesystem/", HTTP_POST, AUTH_TOKEN, NULL, &filesystem_service},
};
#define ROUTE_CNT (sizeof(table) / sizeof(table[0]))

/* What the table says about a request. */
struct match {
    const struct route *route;       /* path and method fit */
    const struct rpc_method *method; /* of the route's service */
    bool has_path;                   /* the path is known, perhaps with another method */
    const char *allow;               /* the methods that it has */
};

static const char *method_name(enum http_method m)
{
    return m == HTTP_GET ? "GET" : "POST";
}

static bool path_fits(const struct route *r, struct adit_view path, struct match *out)
{
    if (r->handler)
        return adit_view_eq_str(path, r->path);
    if (!adit_view_has_prefix(path, r->path))
        return false;
    out->method = rpc_service_find(r->service, path);
    return out->method != NULL;
}

static struct match find(struct adit_view path, enum http_method method)
{
    struct match m = {NULL, NULL, false, NULL};
    for (size_t i = 0; i < ROUTE_CNT && !m.route; i++) {
        if (!path_fits(&table[i], path, &m))
            continue;
        m.allow = m.has_path ? "GET, POST" : method_name(table[i].method);
        m.has_path = true;
        if (table[i].method == method)
            m.route = &table[i];
    }
    return m;
}

/* ---- dispatch ---- */

static void refuse_method(struct http_exchange *x, const char *allow)
{
    if (http_exchange_header_str(x, "Allow", allow) != ADIT_OK)
        http_exchange_reset(x);
    else
        rest_reply_error(x, 405, "method not allowed");
}

/* Headers of an answer that are put before the handler has it. */
static int put_service_headers(struct http_exchange *x, const struct http_head *head,
                               const struct rpc_service *service)
{
    if (service != &filesystem_service || !filesystem_is_legacy(head))
        return ADIT_OK;
    return http_exchange_header_str(x, FILESYSTEM_LEGACY_HEADER, "true");
}

static void serve_rpc(struct http_exchange *x, const struct http_head *head, const struct match *m)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    if (put_service_headers(x, head, m->route->service) != ADIT_OK)
        http_exchange_reset(x);
    else
        rpc_server_handle(x, head, m->route->service, m->method, e);
}

static void dispatch(struct http_exchange *x, const struct http_head *head, struct adit_view path)
{
    struct envd *e = http_server_owner(http_exchange_server(x));
    struct match m = find(path, head->method);
    if (!auth_allows(e, m.route ? m.route->auth : AUTH_TOKEN, head))
        rest_reply_error(x, 401, AUTH_REFUSAL);
    else if (!m.has_path)
        rest_reply_error(x, 404, "no such path");
    else if (!m.route)
        refuse_method(x, m.allow);
    else if (m.method)
        serve_rpc(x, head, &m);
    else
        m.route->handler(x, head);
}

static int clean_path(struct adit_view target_text, struct adit_buf *out)
{
    struct url_target target;
    struct adit_err err;
    int code = url_split_target(target_text, &target, &err);
    return code == ADIT_OK ? url_clean_path(target.path, out) : code;
}

static void answer(struct http_exchange *x, const struct http_head *head, bool is_clean,
                   struct adit_view path)
{
    if (cors_is_preflight(head))
        cors_answer_preflight(x, head);
    else if (cors_put(x, head) != ADIT_OK)
        http_exchange_reset(x);
    else if (!is_clean)
        rest_reply_error(x, 400, "bad request target");
    else
        dispatch(x, head, path);
}

void routes_on_request(struct http_exchange *x, const struct http_head *head)
{
    struct adit_buf path;
    adit_buf_init(&path, HTTP_LINE_CAP);
    bool is_clean = clean_path(head->target, &path) == ADIT_OK;
    request_log_open(x, head, adit_buf_view(&path));
    answer(x, head, is_clean, adit_buf_view(&path));
    adit_buf_fini(&path);
}
