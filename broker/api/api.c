/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control API's way in and out.
 *
 * Theory of operation
 *
 * What: api_routes_find() → authorize → the row's handler → one answer. An error is always a JSON
 * object with code and message, because the clients' generated parsers fail on anything else.
 * Authorization: the scheduler is asked about a key's hash each time, so that a key that is revoked
 * or limited is so at once. No answer from it is 503, unless it vouched for the key a moment ago
 * (key_cache.c); only a broker that has just started waits a moment for it. Who a key belongs to is
 * part of every look-up after that. A session's requests need the very key that made it
 * (session_access.c tells of the one exception). An admin token speaks for any team; a request that
 * brings one is judged by that alone. Trust: everything of a request is a client's; what goes into
 * a log line is escaped there, and the lines that clients can cause are limited (the counters go
 * on).
 */
#include "broker/api/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/session/session_access.h"
#include "net/url.h"
#include "rpc/status.h"

/* 500 sandboxes, the default of --max-sandboxes, with as much metadata as there may be. */
#define REPLY_CAP (40u * 1024 * 1024)
#define SEGMENT_CAP 256

/* ---- answers ---- */

/* One line a request of somebody we know; of strangers a few, with a count of the rest. */
static void log_access(const struct api_request *rq, unsigned status)
{
    struct broker *b = rq->broker;
    uint64_t now = adit_clock_mono_ns();
    if (!rq->who.team_id[0] && !rq->is_admin && !adit_limit_take(&b->refusal_log, now)) {
        b->counters.unlogged++;
        return;
    }
    adit_log(ADIT_LOG_INFO, "api_request", LOG_S("request_id", edge_api_id(rq->edge)),
             LOG_V("method", edge_api_method_text(rq->edge)),
             LOG_V("path", edge_api_path(rq->edge)), LOG_U("status", status),
             LOG_U("us", (now - rq->began_ns) / 1000), LOG_S("team", rq->who.team_id),
             LOG_S("key", rq->is_admin ? "admin" : rq->who.key_id),
             LOG_U("unlogged", b->counters.unlogged));
}

static void finish(struct api_request *rq, unsigned status, struct adit_view body)
{
    if (status >= 500 && rq->route && rq->route->feature == NULL)
        adit_log(ADIT_LOG_WARN, "api_failed", LOG_S("request_id", edge_api_id(rq->edge)),
                 LOG_S("route", rq->route->pattern), LOG_U("status", status));
    log_access(rq, status);
    edge_api_reply(rq->edge, status, body);
    free(rq);
}

void api_handed_over(struct api_request *rq)
{
    log_access(rq, 0);
    free(rq);
}

void api_reply_empty(struct api_request *rq, unsigned status)
{
    finish(rq, status, (struct adit_view){NULL, 0});
}

void api_reply_text(struct api_request *rq, unsigned status, struct adit_view text)
{
    finish(rq, status, text);
}

static bool is_session(const struct api_request *rq)
{
    return edge_api_is_session(edge_api_path(rq->edge));
}

static void reply_no_memory(struct api_request *rq)
{
    static const struct adit_view text = ADIT_VIEW("{\"code\":503,\"message\":\"out of memory\"}");
    static const struct adit_view session_text = ADIT_VIEW("{\"detail\":\"out of memory\"}");
    if (is_session(rq))
        finish(rq, 500, session_text);
    else
        finish(rq, 503, text);
}

int api_try_reply_json(struct api_request *rq, unsigned status, json_t *take_doc)
{
    struct adit_buf text;
    adit_buf_init(&text, REPLY_CAP);
    int rc = take_doc ? jtext_append(&text, take_doc) : ADIT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = edge_api_reserve(rq->edge, text.len);
    if (rc == 0)
        finish(rq, status, adit_buf_view(&text));
    adit_buf_fini(&text);
    json_decref(take_doc);
    return rc;
}

void api_reply_json(struct api_request *rq, unsigned status, json_t *take_doc)
{
    if (api_try_reply_json(rq, status, take_doc))
        reply_no_memory(rq);
}

void api_reply_error(struct api_request *rq, unsigned status, const char *error_code,
                     const char *fmt, ...)
{
    char message[ADIT_ERR_MSG_CAP + 64];
    struct adit_buf text;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, args); /* cut when longer */
    va_end(args);
    adit_buf_init(&text, 8192);
    if (is_session(rq) && status > 500)
        status = 500; /* the session API knows no other */
    int rc = is_session(rq) ? adit_buf_append_str(&text, "{\"detail\":\"")
                            : adit_buf_appendf(&text, "{\"code\":%u,\"message\":\"", status);
    if (rc == 0)
        rc = adit_buf_append_json_text(&text, adit_view_str(message));
    if (rc == 0 && error_code)
        rc = adit_buf_appendf(&text, "\",\"error_code\":\"%s", error_code);
    if (rc == 0)
        rc = adit_buf_append_str(&text, "\"}");
    if (rc)
        reply_no_memory(rq);
    else
        finish(rq, status, adit_buf_view(&text));
    adit_buf_fini(&text);
}

void api_reply_err(struct api_request *rq, const char *error_code, const struct adit_err *err)
{
    api_reply_error(rq, rpc_status_http(err->code), error_code, "%s", err->msg);
}

void api_reply_no_sandbox(struct api_request *rq)
{
    char id[SANDBOX_ID_CAP];
    memcpy(id, rq->sandbox_id, sizeof(id));
    api_reply_error(rq, 404, NULL, "Sandbox \"%s\" doesn't exist or you don't have access to it",
                    id);
}

struct sandbox *api_sandbox_find(const struct api_request *rq)
{
    return node_find(rq->broker->node, rq->who.team_id, rq->sandbox_id);
}

uint64_t api_max_timeout_ms(const struct api_request *rq)
{
    uint64_t own = (uint64_t)rq->who.timeout_max_s * 1000, all = rq->broker->conf.max_timeout_ms;
    return own && own < all ? own : all;
}

/* ---- refusals that are counted ---- */

static void log_refusal(struct api_request *rq, const char *event, uint64_t count)
{
    if (adit_limit_take(&rq->broker->refusal_log, adit_clock_mono_ns()))
        adit_log(ADIT_LOG_WARN, event, LOG_S("request_id", edge_api_id(rq->edge)),
                 LOG_V("method", edge_api_method_text(rq->edge)),
                 LOG_V("path", edge_api_path(rq->edge)), LOG_U("count", count));
}

void api_not_built(struct api_request *rq)
{
    log_refusal(rq, "api_feature_not_available", ++rq->broker->counters.unavailable_feature);
    api_reply_error(rq, 501, NULL, "%s: this feature is not available yet", rq->route->feature);
}

void api_health(struct api_request *rq)
{
    api_reply_empty(rq, 204);
}

static void refuse_unknown(struct api_request *rq)
{
    log_refusal(rq, "api_unknown_path", ++rq->broker->counters.unknown_path);
    api_reply_error(rq, 404, NULL, "unknown endpoint");
}

static void refuse_method(struct api_request *rq, const char *allow)
{
    log_refusal(rq, "api_unknown_method", ++rq->broker->counters.unknown_method);
    (void)edge_api_set_header(rq->edge, "Allow", adit_view_str(allow)); /* a courtesy */
    api_reply_error(rq, 405, NULL, "method not allowed");
}

void api_refuse_key(struct api_request *rq)
{
    rq->broker->counters.unauthenticated++;
    api_reply_error(rq, 401, NULL,
                    "Invalid API key, please visit https://e2b.dev/docs/api-key for more "
                    "information.");
}

static void refuse_absent(struct api_request *rq)
{
    rq->broker->counters.unauthenticated++;
    api_reply_error(rq, 401, NULL, "authorization header is missing");
}

/* ---- authorization ---- */

static void serve_as_team(struct api_request *rq)
{
    if (rq->route->auth == API_ROUTE_AUTH_ADMIN)
        api_reply_error(rq, 403, NULL, "an API key does not allow this");
    else if (rq->has_bad_id)
        api_reply_error(rq, 400, NULL, "Invalid sandbox ID");
    else
        rq->route->handle(rq);
}

/* The scheduler does not answer: whom it vouched for a moment ago may go on. */
static void serve_unanswered(struct api_request *rq, const struct adit_err *err)
{
    if (key_cache_get(&rq->broker->keys, rq->key_hash, adit_clock_mono_ns(), &rq->who))
        serve_as_team(rq);
    else
        api_reply_error(rq, 503, NULL, "the API key cannot be checked now: %s", err->msg);
}

/* Return: false when a name does not fit. */
static bool take_identity(struct key_identity *who, const Scheduler__AuthenticateResponse *a)
{
    size_t key_len = strlen(a->key_id), team_len = strlen(a->team_id);
    if (key_len >= sizeof(who->key_id) || team_len >= sizeof(who->team_id) || team_len == 0)
        return false;
    memcpy(who->key_id, a->key_id, key_len + 1);
    memcpy(who->team_id, a->team_id, team_len + 1);
    who->timeout_max_s = a->timeout_max_s;
    return true;
}

static void on_authenticated(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct api_request *rq = user;
    struct key_cache *keys = &rq->broker->keys;
    if (err && err->code == ADIT_ERR_NOT_FOUND) {
        key_cache_drop(keys, rq->key_hash);
        api_refuse_key(rq);
    } else if (err) {
        serve_unanswered(rq, err);
    } else if (take_identity(&rq->who, (const Scheduler__AuthenticateResponse *)answer)) {
        key_cache_put(keys, rq->key_hash, adit_clock_mono_ns(), &rq->who);
        serve_as_team(rq);
    } else {
        api_reply_error(rq, 500, NULL, "the scheduler named no team");
    }
}

static void ask_scheduler(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    Scheduler__AuthenticateRequest request = SCHEDULER__AUTHENTICATE_REQUEST__INIT;
    request.key_sha256.data = rq->key_hash;
    request.key_sha256.len = sizeof(rq->key_hash);
    if (scheduler_client_call(rq->broker->scheduler, SCHEDULER_AUTHENTICATE, &request.base,
                              on_authenticated, rq, &err))
        serve_unanswered(rq, &err);
}

static void on_started(void *user)
{
    ask_scheduler(user);
}

static void authorize_key(struct api_request *rq)
{
    struct adit_view key = edge_api_header(rq->edge, "X-API-Key");
    if (!key.ptr)
        refuse_absent(rq);
    else if (key_cache_hash(key, rq->key_hash))
        api_refuse_key(rq);
    else if (!registration_wait_start(rq->broker->registration, on_started, rq))
        ask_scheduler(rq);
}

/* ---- the operator ---- */

static bool is_team_id(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("._-", c)))
            return false;
    }
    return v.len > 0 && v.len < KEY_CACHE_TEAM_CAP;
}

static bool take_team(struct api_request *rq, struct adit_view id, const char *what)
{
    if (!is_team_id(id)) {
        api_reply_error(rq, 400, NULL, "%s is no team's id", what);
        return false;
    }
    memcpy(rq->who.team_id, id.ptr, id.len);
    rq->who.team_id[id.len] = '\0';
    return true;
}

bool api_take_team(struct api_request *rq, const char *name)
{
    return take_team(rq, api_routes_param(rq->route, edge_api_path(rq->edge), name), "this");
}

/* A team's route asks for a team; one sandbox belongs to one anyway. */
static void serve_team_route(struct api_request *rq)
{
    const char *owner = node_owner(rq->broker->node, rq->sandbox_id);
    if (rq->has_bad_id)
        api_reply_error(rq, 400, NULL, "Invalid sandbox ID");
    else if (!rq->who.team_id[0] && !rq->sandbox_id[0])
        api_reply_error(rq, 400, NULL, "X-Team-ID is required");
    else if (rq->who.team_id[0] || !owner || take_team(rq, adit_view_str(owner), "the owner's"))
        rq->route->handle(rq);
}

static void authorize_admin(struct api_request *rq, struct adit_view token)
{
    struct adit_view team = edge_api_header(rq->edge, "X-Team-ID");
    rq->is_admin = admin_token_matches(&rq->broker->admin, token);
    if (!rq->is_admin) {
        rq->broker->counters.unauthenticated++;
        api_reply_error(rq, 401, NULL, "Invalid admin token");
    } else if (team.ptr && !take_team(rq, team, "X-Team-ID")) {
        return;
    } else if (rq->route->auth == API_ROUTE_AUTH_ADMIN) {
        rq->route->handle(rq);
    } else {
        serve_team_route(rq);
    }
}

/* A session belongs to the key that it was made with, and the operator has none. */
static void authorize_session(struct api_request *rq)
{
    if (edge_api_header(rq->edge, "X-Admin-Token").ptr)
        refuse_absent(rq);
    else if (edge_api_header(rq->edge, "X-API-Key").ptr || !session_access_is_open(rq))
        authorize_key(rq);
    else if (take_team(rq, adit_view_str(SESSION_ACCESS_TEAM), "this"))
        rq->route->handle(rq);
}

static void authorize(struct api_request *rq)
{
    struct adit_view admin = edge_api_header(rq->edge, "X-Admin-Token");
    if (rq->route->auth == API_ROUTE_AUTH_NONE)
        rq->route->handle(rq);
    else if (rq->route->auth == API_ROUTE_AUTH_SESSION)
        authorize_session(rq);
    else if (admin.ptr)
        authorize_admin(rq, admin);
    else if (rq->route->auth != API_ROUTE_AUTH_BEARER)
        authorize_key(rq);
    else if (edge_api_header(rq->edge, "Authorization").ptr)
        api_reply_error(rq, 401, NULL, "Invalid access token: this server gives out none");
    else
        refuse_absent(rq);
}

void api_ask(struct api_request *rq, enum scheduler_method method, const ProtobufCMessage *request,
             rpc_client_fn on_answer)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (scheduler_client_call(rq->broker->scheduler, method, request, on_answer, rq, &err))
        api_reply_err(rq, NULL, &err);
}

/* ---- dispatch ---- */

/* The {sandboxID} segment: decoded, then an id and nothing else. */
static void take_sandbox_id(struct api_request *rq, struct adit_view segment)
{
    struct adit_buf text;
    adit_buf_init(&text, SEGMENT_CAP);
    rq->has_bad_id = url_decode(segment, false, &text) ||
                     sandbox_id_parse(adit_buf_view(&text), rq->sandbox_id, NULL);
    adit_buf_fini(&text);
}

void api_handle(void *broker, struct edge_api_request *r)
{
    char allow[API_ROUTES_ALLOW_CAP];
    struct adit_view sandbox = {NULL, 0};
    struct api_request *rq = calloc(1, sizeof(*rq));
    if (!rq) {
        edge_api_reply(r, 503,
                       (struct adit_view)ADIT_VIEW("{\"code\":503,\"message\":\"out of memory\"}"));
        return;
    }
    rq->broker = broker;
    rq->edge = r;
    rq->began_ns = adit_clock_mono_ns();
    enum api_routes_result found =
        api_routes_find(edge_api_method(r), edge_api_path(r), &rq->route, &sandbox, allow);
    if (found == API_ROUTES_FOUND && sandbox.ptr)
        take_sandbox_id(rq, sandbox);
    if (found == API_ROUTES_UNKNOWN)
        refuse_unknown(rq);
    else if (found == API_ROUTES_WRONG_METHOD)
        refuse_method(rq, allow);
    else
        authorize(rq);
}
