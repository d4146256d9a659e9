/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys over the API: list, make, rename, revoke.
 *
 * Theory of operation
 *
 * For the operator only: a team's own key does not make keys. The team is X-Team-ID's, or the
 * path's under /admin. Keys live at the scheduler; each handler is one call to it. A key that is
 * revoked, or another team's, is one that is not there. The secret is in the answer that made it
 * and nowhere else.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "broker/api/api.h"

#define MASK_PREFIX "e2b_"
#define MASK_HEAD 2
#define MASK_TAIL 4
#define MASK_VALUE_LEN 40
#define KEY_ID_LEN 36

/* "e2b_12…cdef" as the contract's object. */
static json_t *mask_document(const char *masked)
{
    size_t len = strlen(masked), prefix = strlen(MASK_PREFIX);
    if (len < prefix + MASK_HEAD + MASK_TAIL)
        return json_object();
    return json_pack("{s:s, s:i, s:s%, s:s}", "prefix", MASK_PREFIX, "valueLength", MASK_VALUE_LEN,
                     "maskedValuePrefix", masked + prefix, (size_t)MASK_HEAD, "maskedValueSuffix",
                     masked + len - MASK_TAIL);
}

static json_t *key_document(const Scheduler__Key *k, const char *secret)
{
    char at[ADIT_CLOCK_RFC3339_CAP] = "";
    if (k->created_at)
        adit_clock_format_rfc3339(
            k->created_at->seconds * INT64_C(1000000000) + k->created_at->nanos, at);
    return json_pack("{s:s, s:s, s:o, s:s, s:s*}", "id", k->key_id, "name", k->name, "mask",
                     mask_document(k->masked), "createdAt", at, "key", secret);
}

/* The team is in the path under /admin. Return: false when it was answered. */
static bool take_team(struct api_request *rq)
{
    if (strstr(rq->route->pattern, "/admin/") == rq->route->pattern)
        return api_take_team(rq, "{id}");
    if (rq->who.team_id[0])
        return true;
    api_reply_error(rq, 400, NULL, "X-Team-ID is required");
    return false;
}

/* A whole id. Return: false when it was answered. */
static bool take_key_id(struct api_request *rq, const char *name, char out[KEY_ID_LEN + 1])
{
    struct adit_view id = api_routes_param(rq->route, edge_api_path(rq->edge), name);
    if (id.len != KEY_ID_LEN) {
        api_reply_error(rq, 404, NULL, "API key not found");
        return false;
    }
    memcpy(out, id.ptr, KEY_ID_LEN);
    out[KEY_ID_LEN] = '\0';
    return true;
}

static void reply_failed(struct api_request *rq, const struct adit_err *err)
{
    if (err->code == ADIT_ERR_NOT_FOUND || err->code == ADIT_ERR_BAD_INPUT)
        api_reply_error(rq, err->code == ADIT_ERR_NOT_FOUND ? 404 : 400, NULL, "%s",
                        err->code == ADIT_ERR_NOT_FOUND ? "API key not found" : err->msg);
    else
        api_reply_err(rq, NULL, err);
}

/* ---- list ---- */

static void on_listed(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct api_request *rq = user;
    const Scheduler__ListKeysResponse *a = (const Scheduler__ListKeysResponse *)answer;
    json_t *list = json_array();
    if (err) {
        json_decref(list);
        reply_failed(rq, err);
        return;
    }
    for (size_t i = 0; list && i < a->n_keys; i++) {
        if (!a->keys[i]->revoked && json_array_append_new(list, key_document(a->keys[i], NULL))) {
            json_decref(list);
            list = NULL;
        }
    }
    api_reply_json(rq, 200, list);
}

void api_keys_list(struct api_request *rq)
{
    Scheduler__ListKeysRequest request;
    if (!take_team(rq))
        return;
    scheduler__list_keys_request__init(&request);
    request.team_id = rq->who.team_id;
    api_ask(rq, SCHEDULER_LIST_KEYS, &request.base, on_listed);
}

/* ---- make and rename ---- */

/* {"name"}. Return: the document that holds *name, or NULL when it was answered. */
static json_t *take_name(struct api_request *rq, const char **name)
{
    struct adit_err err = ADIT_ERR_INIT;
    json_t *doc = NULL;
    int rc = jtext_parse(edge_api_body(rq->edge), &doc, &err);
    *name = NULL;
    if (rc == 0)
        rc = jtext_string(doc, "name", name, &err);
    if (rc == 0 && (!*name || !(*name)[0]))
        rc = adit_err_set(&err, ADIT_ERR_BAD_INPUT, "validation error: name is required");
    if (rc == 0)
        return doc;
    json_decref(doc);
    api_reply_err(rq, NULL, &err);
    return NULL;
}

static void on_made(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    const Scheduler__CreateKeyResponse *a = (const Scheduler__CreateKeyResponse *)answer;
    if (err)
        reply_failed(user, err);
    else
        api_reply_json(user, 201, a->key ? key_document(a->key, a->secret) : NULL);
}

void api_keys_make(struct api_request *rq)
{
    Scheduler__CreateKeyRequest request;
    const char *name;
    json_t *doc = take_team(rq) ? take_name(rq, &name) : NULL;
    if (!doc)
        return;
    scheduler__create_key_request__init(&request);
    request.name = adit_view_dup(adit_view_str(name));
    request.team_id = rq->who.team_id;
    if (request.name)
        api_ask(rq, SCHEDULER_CREATE_KEY, &request.base, on_made);
    else
        api_reply_json(rq, 503, NULL);
    free(request.name);
    json_decref(doc);
}

static void on_renamed(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    (void)answer; /* says what was asked for */
    if (err)
        reply_failed(user, err);
    else
        api_reply_empty(user, 200);
}

void api_keys_rename(struct api_request *rq)
{
    Scheduler__UpdateKeyRequest request;
    char id[KEY_ID_LEN + 1];
    const char *name;
    json_t *doc = take_team(rq) && take_key_id(rq, "{id}", id) ? take_name(rq, &name) : NULL;
    if (!doc)
        return;
    scheduler__update_key_request__init(&request);
    request.key_id = id;
    request.team_id = rq->who.team_id;
    request.name = adit_view_dup(adit_view_str(name));
    if (request.name)
        api_ask(rq, SCHEDULER_UPDATE_KEY, &request.base, on_renamed);
    else
        api_reply_json(rq, 503, NULL);
    free(request.name);
    json_decref(doc);
}

/* ---- revoke ---- */

static void on_revoked(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    (void)answer; /* says what was asked for */
    if (err)
        reply_failed(user, err);
    else
        api_reply_empty(user, 204);
}

static void revoke_named(struct api_request *rq, const char *param)
{
    Scheduler__RevokeKeyRequest request;
    char id[KEY_ID_LEN + 1];
    if (!take_team(rq) || !take_key_id(rq, param, id))
        return;
    scheduler__revoke_key_request__init(&request);
    request.key_id = id;
    request.team_id = rq->who.team_id;
    api_ask(rq, SCHEDULER_REVOKE_KEY, &request.base, on_revoked);
}

void api_keys_revoke(struct api_request *rq)
{
    revoke_named(rq, "{id}");
}

void api_keys_revoke_of_team(struct api_request *rq)
{
    revoke_named(rq, "{keyID}");
}
