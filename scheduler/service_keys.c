/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods about keys, teams and what they may have.
 *
 * Theory of operation
 *
 * A key's secret is in the answer to CreateKey and nowhere else. Lists are bounded by KEYS_MAX and
 * come newest last. Where there are KEYS_MAX keys, a new one takes the place of the oldest revoked;
 * each change on its way to the disk counts as one more key, so that creates that come together
 * stay under the maximum too, and none takes a place that another one takes.
 *
 * Limits: a key's own, else its team's, else the configured ones. A maximum of sandboxes that a key
 * has of its own counts what that key made; the team's counts all of the team, whoever made it.
 * Both are judged here, where every create of every broker passes, on counts that hold what is
 * still on its way to the disk.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "scheduler/check.h"
#include "scheduler/message.h"
#include "scheduler/service_int.h"

/* ---- limits ---- */

static Scheduler__Limits team_limits(const struct scheduler *s, const char *team_id)
{
    const Scheduler__Store__TeamRecord *r = teams_find(&s->teams, team_id);
    Scheduler__Limits configured = SCHEDULER__LIMITS__INIT;
    configured.sandbox_max = (uint32_t)s->conf->team_sandboxes;
    configured.create_rate = (uint32_t)s->conf->create_rate;
    configured.create_burst = (uint32_t)s->conf->create_burst;
    return quota_limits(r ? r->limits : NULL, &configured);
}

/* Longest life that a key's sandboxes may have, in seconds; 0: nothing is said about it. */
static uint32_t timeout_max(const struct scheduler *s, const Scheduler__Key *key)
{
    Scheduler__Limits of_team = team_limits(s, key->team_id);
    return quota_limits(key->limits, &of_team).timeout_max_s;
}

static int check_cnt(size_t cnt, uint32_t max, struct adit_err *err)
{
    if (max == 0 || cnt < max)
        return 0;
    return adit_err_set(err, ADIT_ERR_LIMIT,
                        "you have reached the maximum number of concurrent E2B sandboxes (%u). "
                        "End one, or ask the operator of this server for more.",
                        max);
}

static int find_key(const struct scheduler *s, const Scheduler__PlaceRequest *q,
                    const Scheduler__Key **out, struct adit_err *err)
{
    const Scheduler__Store__KeyRecord *r = keys_get(&s->keys, q->key_id);
    *out = r ? r->key : NULL;
    if (r && !r->key->revoked && strcmp(r->key->team_id, q->team_id) == 0)
        return 0;
    return adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "no such key");
}

int service_check_quota(struct scheduler *s, const Scheduler__PlaceRequest *q,
                        const struct registry_sandbox *known, bool *is_slow, struct adit_err *err)
{
    const struct quota *quota = &s->registry.quota;
    Scheduler__Limits l = team_limits(s, q->team_id);
    const Scheduler__Key *key = NULL;
    size_t itself = known ? 1 : 0; /* counted, by team and key: see check_free() */
    bool is_allowed = true;

    *is_slow = false;
    int rc = check_cnt(quota_team_cnt(quota, q->team_id) - itself, l.sandbox_max, err);
    if (rc || !q->key_id[0])
        return rc;
    rc = find_key(s, q, &key, err);
    if (rc == 0 && key->limits)
        rc = check_cnt(quota_key_cnt(quota, q->key_id) - itself, key->limits->sandbox_max, err);
    if (rc)
        return rc;
    l = quota_limits(key->limits, &l);
    if (known) /* its create was counted */
        return 0;
    rc = quota_take_create(&s->registry.quota, q->key_id, l.create_rate, l.create_burst,
                           adit_clock_mono_ns(), &is_allowed);
    *is_slow = !is_allowed;
    return rc ? adit_err_set(err, rc, "no memory") : 0;
}

/* ---- keys ---- */

void service_authenticate(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__AuthenticateRequest *q = (const Scheduler__AuthenticateRequest *)m;
    Scheduler__AuthenticateResponse answer;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Store__KeyRecord *r = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    scheduler__authenticate_response__init(&answer);
    int rc =
        q->key_sha256.len == ADIT_SHA256_LEN
            ? keys_authenticate(&s->keys, q->key_sha256.data, &r, &err)
            : adit_err_set(&err, ADIT_ERR_BAD_INPUT, "key_sha256: not %d bytes", ADIT_SHA256_LEN);
    if (rc) {
        rpc_call_finish(c, &err);
        return;
    }
    answer.key_id = r->key->key_id;
    answer.team_id = r->key->team_id;
    answer.timeout_max_s = timeout_max(s, r->key);
    service_answer(c, &answer.base);
}

/* The revoked key that was made first and that nothing under way is about, or NULL. */
static const Scheduler__Store__KeyRecord *oldest_revoked(const struct scheduler *s)
{
    const Scheduler__Store__KeyRecord *oldest = NULL, *r;
    size_t pos = 0;
    while ((r = keys_next(&s->keys, &pos)))
        if (r->key->revoked &&
            (!oldest || message_compare_times(r->key->created_at, oldest->key->created_at) < 0) &&
            !service_is_changing(s, STORE_KEY, r->key->key_id))
            oldest = r;
    return oldest;
}

/* *replaced: the revoked key whose place the new one takes, or NULL. */
static int check_new_key(const struct scheduler *s, const Scheduler__CreateKeyRequest *q,
                         const Scheduler__Store__KeyRecord **replaced, struct adit_err *err)
{
    int rc = check_text("name", q->name, CHECK_KEY_NAME_MAX, err);
    *replaced = NULL;
    if (rc == 0 && q->team_id[0])
        rc = check_name("team_id", q->team_id, err);
    if (rc == 0 && keys_cnt(&s->keys) + service_changes_cnt(s, STORE_KEY) >= KEYS_MAX) {
        *replaced = oldest_revoked(s);
        if (!*replaced)
            rc = adit_err_set(err, ADIT_ERR_LIMIT, "there are %d keys already", KEYS_MAX);
    }
    return rc;
}

static void create_key(struct rpc_call *c, struct scheduler *s,
                       const Scheduler__CreateKeyRequest *q,
                       const Scheduler__Store__KeyRecord *replaced)
{
    Scheduler__Key key;
    Scheduler__Store__KeyRecord record;
    Scheduler__CreateKeyResponse answer;
    Google__Protobuf__Timestamp now;
    char id[37], secret[KEYS_SECRET_CAP], masked[KEYS_MASKED_CAP];
    char *default_team = adit_view_dup(adit_view_str(s->teams.default_id));
    uint8_t sha256[ADIT_SHA256_LEN];
    struct service_change changes[2];
    size_t cnt = 0;

    scheduler__key__init(&key);
    scheduler__store__key_record__init(&record);
    scheduler__create_key_response__init(&answer);
    keys_generate(secret, masked, sha256);
    adit_rand_uuid(id);
    service_timestamp(&now);
    key.key_id = id;
    key.name = q->name;
    key.team_id = q->team_id[0] ? q->team_id : default_team;
    key.masked = masked;
    key.created_at = &now;
    key.limits = q->limits;
    record.key = &key;
    record.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    answer.key = &key;
    answer.secret = secret;
    if (replaced) /* first, for service_is_changing(): nobody knows the new one yet */
        changes[cnt++] = (struct service_change){STORE_KEY, replaced->key->key_id, NULL};
    changes[cnt++] = (struct service_change){STORE_KEY, id, &record.base};
    if (key.team_id) {
        adit_log(ADIT_LOG_INFO, "key_created", LOG_S("key", id), LOG_S("name", q->name),
                 LOG_S("team", key.team_id));
        service_commit(c, changes, cnt, &answer.base, NULL);
    } else {
        service_fail_no_memory(c);
    }
    free(default_team);
}

void service_create_key(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__CreateKeyRequest *q = (const Scheduler__CreateKeyRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Store__KeyRecord *replaced;
    struct adit_err err = ADIT_ERR_INIT;

    if (check_new_key(s, q, &replaced, &err))
        rpc_call_finish(c, &err);
    else
        create_key(c, s, q, replaced);
}

static int compare_keys(const void *a, const void *b)
{
    return message_compare_times((*(Scheduler__Key *const *)a)->created_at,
                                 (*(Scheduler__Key *const *)b)->created_at);
}

void service_list_keys(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__ListKeysRequest *q = (const Scheduler__ListKeysRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    Scheduler__ListKeysResponse answer = SCHEDULER__LIST_KEYS_RESPONSE__INIT;
    const Scheduler__Store__KeyRecord *r;
    size_t pos = 0;

    answer.keys = calloc(keys_cnt(&s->keys) + 1, sizeof(*answer.keys));
    if (!answer.keys) {
        service_fail_no_memory(c);
        return;
    }
    while ((r = keys_next(&s->keys, &pos)))
        if (!q->team_id[0] || strcmp(r->key->team_id, q->team_id) == 0)
            answer.keys[answer.n_keys++] = r->key;
    qsort(answer.keys, answer.n_keys, sizeof(*answer.keys), compare_keys);
    service_answer(c, &answer.base);
    free(answer.keys);
}

static int find_named(const struct scheduler *s, const char *key_id, const char *team_id,
                      const Scheduler__Store__KeyRecord **out, struct adit_err *err)
{
    int rc = check_name("key_id", key_id, err);
    if (rc == 0 && team_id[0])
        rc = check_name("team_id", team_id, err);
    if (rc == 0)
        rc = keys_find(&s->keys, key_id, team_id, out, err);
    if (rc == 0 && team_id[0] && (*out)->key->revoked) /* to its team it is gone */
        rc = adit_err_set(err, ADIT_ERR_NOT_FOUND, "no such key");
    if (rc == 0 && service_is_changing(s, STORE_KEY, (*out)->key->key_id))
        rc = adit_err_set(err, ADIT_ERR_CONFLICT, "this key is being changed: try again");
    return rc;
}

void service_revoke_key(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__RevokeKeyRequest *q = (const Scheduler__RevokeKeyRequest *)m;
    Scheduler__RevokeKeyResponse answer = SCHEDULER__REVOKE_KEY_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Store__KeyRecord *found = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    if (find_named(s, q->key_id, q->team_id, &found, &err)) {
        rpc_call_finish(c, &err);
        return;
    }
    Scheduler__Key key = *found->key;
    Scheduler__Store__KeyRecord record = *found;
    struct service_change change = {STORE_KEY, key.key_id, &record.base};
    key.revoked = true;
    record.key = &key;
    answer.key = &key;
    adit_log(ADIT_LOG_INFO, "key_revoked", LOG_S("key", key.key_id));
    service_commit(c, &change, 1, &answer.base, NULL);
}

void service_update_key(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__UpdateKeyRequest *q = (const Scheduler__UpdateKeyRequest *)m;
    Scheduler__UpdateKeyResponse answer = SCHEDULER__UPDATE_KEY_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Store__KeyRecord *found = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_text("name", q->name, CHECK_KEY_NAME_MAX, &err);
    if (rc == 0)
        rc = find_named(s, q->key_id, q->team_id, &found, &err);
    if (rc) {
        rpc_call_finish(c, &err);
        return;
    }
    Scheduler__Key key = *found->key;
    Scheduler__Store__KeyRecord record = *found;
    struct service_change change = {STORE_KEY, key.key_id, &record.base};
    if (q->name[0])
        key.name = q->name;
    if (q->limits)
        key.limits = q->limits;
    record.key = &key;
    answer.key = &key;
    adit_log(ADIT_LOG_INFO, "key_updated", LOG_S("key", key.key_id));
    service_commit(c, &change, 1, &answer.base, NULL);
}

/* ---- teams ---- */

static int check_team(const struct scheduler *s, const char *team_id, struct adit_err *err)
{
    int rc = team_id[0] ? check_name("team_id", team_id, err) : 0;
    if (rc == 0 && team_id[0] && !teams_find(&s->teams, team_id) &&
        teams_cnt(&s->teams) + service_changes_cnt(s, STORE_TEAM) >= TEAMS_MAX)
        rc = adit_err_set(err, ADIT_ERR_LIMIT, "there are %d teams already", TEAMS_MAX);
    return rc;
}

void service_update_team(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__UpdateTeamRequest *q = (const Scheduler__UpdateTeamRequest *)m;
    Scheduler__UpdateTeamResponse answer = SCHEDULER__UPDATE_TEAM_RESPONSE__INIT;
    Scheduler__Team team;
    Scheduler__Store__TeamRecord record;
    struct scheduler *s = rpc_call_app(c);
    struct adit_err err = ADIT_ERR_INIT;

    scheduler__team__init(&team);
    scheduler__store__team_record__init(&record);
    if (check_team(s, q->team_id, &err)) {
        rpc_call_finish(c, &err);
        return;
    }
    const Scheduler__Store__TeamRecord *known =
        teams_find(&s->teams, q->team_id[0] ? q->team_id : s->teams.default_id);
    if (known)
        record = *known;
    else
        record.team_id = q->team_id;
    record.limits = q->limits;
    team.team_id = record.team_id;
    team.limits = record.limits;
    team.sandbox_cnt = (uint32_t)quota_team_cnt(&s->registry.quota, record.team_id);
    team.is_default = strcmp(record.team_id, s->teams.default_id) == 0;
    answer.team = &team;
    struct service_change change = {STORE_TEAM, record.team_id, &record.base};
    adit_log(ADIT_LOG_INFO, "team_updated", LOG_S("team", record.team_id));
    service_commit(c, &change, 1, &answer.base, NULL);
}
