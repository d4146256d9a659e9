/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods about templates and keys.
 *
 * Theory of operation
 *
 * A template that is put takes its aliases away from those that had them, in the same transaction.
 * A key's secret is in the answer to CreateKey and nowhere else.
 * Lists are bounded by TEMPLATES_MAX and KEYS_MAX, and come newest last.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/rand.h"
#include "scheduler/check.h"
#include "scheduler/message.h"
#include "scheduler/service_int.h"

static void fail_no_memory(struct rpc_call *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_NO_MEMORY, "no memory"); /* only told */
    rpc_call_finish(c, &err);
}

/* ---- templates ---- */

static bool has_alias(const Scheduler__Template *t, const char *alias)
{
    for (size_t i = 0; i < t->n_aliases; i++) {
        if (strcmp(t->aliases[i], alias) == 0)
            return true;
    }
    return false;
}

/* A copy of @t without the aliases that @taker has. Return: NULL without memory. */
static Scheduler__Template *without_aliases(const Scheduler__Template *t,
                                            const Scheduler__Template *taker)
{
    Scheduler__Template *copy = message_clone(&t->base);
    size_t kept = 0;
    if (!copy)
        return NULL;
    for (size_t i = 0; i < copy->n_aliases; i++) {
        if (has_alias(taker, copy->aliases[i]))
            free(copy->aliases[i]);
        else
            copy->aliases[kept++] = copy->aliases[i];
    }
    copy->n_aliases = kept;
    return copy;
}

/* Templates that lose an alias to @t, without it. Errors: NO_MEMORY; @out is to be freed in any
 * case. */
static int take_aliases(const struct templates *known, const Scheduler__Template *t,
                        Scheduler__Template *out[TEMPLATES_ALIASES_MAX], size_t *cnt)
{
    for (size_t i = 0; i < t->n_aliases; i++) {
        const Scheduler__Template *owner = templates_by_alias(known, t->aliases[i]);
        bool is_new = owner && strcmp(owner->template_id, t->template_id) != 0;
        for (size_t k = 0; is_new && k < *cnt; k++)
            is_new = strcmp(out[k]->template_id, owner->template_id) != 0;
        if (!is_new)
            continue;
        out[*cnt] = without_aliases(owner, t);
        if (!out[*cnt])
            return ADIT_ERR_NO_MEMORY;
        ++*cnt;
    }
    return 0;
}

static void put_template(struct rpc_call *c, struct scheduler *s, const Scheduler__Template *t)
{
    Scheduler__PutTemplateResponse answer = SCHEDULER__PUT_TEMPLATE_RESPONSE__INIT;
    Scheduler__Template *losers[TEMPLATES_ALIASES_MAX];
    struct service_change changes[TEMPLATES_ALIASES_MAX + 1];
    size_t cnt = 0;

    int rc = take_aliases(&s->templates, t, losers, &cnt);
    for (size_t i = 0; i < cnt; i++)
        changes[i] =
            (struct service_change){STORE_TEMPLATE, losers[i]->template_id, &losers[i]->base};
    changes[cnt] = (struct service_change){STORE_TEMPLATE, t->template_id, &t->base};
    if (rc)
        fail_no_memory(c);
    else
        service_commit(c, changes, cnt + 1, &answer.base, NULL);
    for (size_t i = 0; i < cnt; i++)
        message_free(losers[i]);
}

void service_put_template(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__PutTemplateRequest *q = (const Scheduler__PutTemplateRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    Scheduler__PutTemplateResponse answer = SCHEDULER__PUT_TEMPLATE_RESPONSE__INIT;
    const Scheduler__Template *known;
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_template(q->template_, &err);
    if (rc == 0 && !templates_by_id(&s->templates, q->template_->template_id) &&
        templates_cnt(&s->templates) >= TEMPLATES_MAX)
        rc = adit_err_set(&err, ADIT_ERR_LIMIT, "there are %d templates already", TEMPLATES_MAX);
    if (rc) {
        rpc_call_finish(c, &err);
        return;
    }
    known = templates_by_id(&s->templates, q->template_->template_id);
    if (known && message_eq(&known->base, &q->template_->base)) {
        service_answer(c, &answer.base); /* brokers repeat what they have */
        return;
    }
    adit_log(ADIT_LOG_INFO, "template_put", LOG_S("template", q->template_->template_id),
             LOG_S("build", q->template_->build_id));
    put_template(c, s, q->template_);
}

void service_resolve_template(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__ResolveTemplateRequest *q = (const Scheduler__ResolveTemplateRequest *)m;
    Scheduler__ResolveTemplateResponse answer = SCHEDULER__RESOLVE_TEMPLATE_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Template *t = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    if (templates_resolve(&s->templates, adit_view_str(q->template_ref), &t, &err)) {
        rpc_call_finish(c, &err);
        return;
    }
    answer.template_ = (Scheduler__Template *)(uintptr_t)t;
    service_answer(c, &answer.base);
}

/* Seconds, then nanoseconds; without a time first. */
static int compare_times(const Google__Protobuf__Timestamp *a, const Google__Protobuf__Timestamp *b)
{
    int64_t a_s = a ? a->seconds : 0, b_s = b ? b->seconds : 0;
    int32_t a_ns = a ? a->nanos : 0, b_ns = b ? b->nanos : 0;
    if (a_s != b_s)
        return a_s < b_s ? -1 : 1;
    return a_ns == b_ns ? 0 : a_ns < b_ns ? -1 : 1;
}

static int compare_templates(const void *a, const void *b)
{
    return compare_times((*(Scheduler__Template *const *)a)->created_at,
                         (*(Scheduler__Template *const *)b)->created_at);
}

void service_list_templates(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct scheduler *s = rpc_call_app(c);
    Scheduler__ListTemplatesResponse answer = SCHEDULER__LIST_TEMPLATES_RESPONSE__INIT;
    const Scheduler__Template *t;
    size_t pos = 0;

    (void)m; /* has no fields */
    answer.templates = calloc(templates_cnt(&s->templates) + 1, sizeof(*answer.templates));
    if (!answer.templates) {
        fail_no_memory(c);
        return;
    }
    while ((t = templates_next(&s->templates, &pos)))
        answer.templates[answer.n_templates++] = (Scheduler__Template *)(uintptr_t)t;
    qsort(answer.templates, answer.n_templates, sizeof(*answer.templates), compare_templates);
    service_answer(c, &answer.base);
    free(answer.templates);
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
    service_answer(c, &answer.base);
}

static int check_new_key(const struct scheduler *s, const Scheduler__CreateKeyRequest *q,
                         struct adit_err *err)
{
    int rc = check_text("name", q->name, CHECK_KEY_NAME_MAX, err);
    if (rc == 0 && q->team_id[0])
        rc = check_name("team_id", q->team_id, err);
    if (rc == 0 && keys_cnt(&s->keys) >= KEYS_MAX)
        rc = adit_err_set(err, ADIT_ERR_LIMIT, "there are %d keys already", KEYS_MAX);
    return rc;
}

static void create_key(struct rpc_call *c, struct scheduler *s,
                       const Scheduler__CreateKeyRequest *q)
{
    Scheduler__Key key;
    Scheduler__Store__KeyRecord record;
    Scheduler__CreateKeyResponse answer;
    Google__Protobuf__Timestamp now;
    char id[37], secret[KEYS_SECRET_CAP], masked[KEYS_MASKED_CAP];
    uint8_t sha256[ADIT_SHA256_LEN];
    struct service_change change = {STORE_KEY, id, &record.base};

    scheduler__key__init(&key);
    scheduler__store__key_record__init(&record);
    scheduler__create_key_response__init(&answer);
    keys_generate(secret, masked, sha256);
    adit_rand_uuid(id);
    service_timestamp(&now);
    key.key_id = id;
    key.name = q->name;
    key.team_id = q->team_id[0] ? q->team_id : s->default_team;
    key.masked = masked;
    key.created_at = &now;
    record.key = &key;
    record.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    answer.key = &key;
    answer.secret = secret;
    adit_log(ADIT_LOG_INFO, "key_created", LOG_S("key", id), LOG_S("name", q->name),
             LOG_S("team", key.team_id));
    service_commit(c, &change, 1, &answer.base, NULL);
}

void service_create_key(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__CreateKeyRequest *q = (const Scheduler__CreateKeyRequest *)m;
    struct scheduler *s = rpc_call_app(c);
    struct adit_err err = ADIT_ERR_INIT;

    if (check_new_key(s, q, &err))
        rpc_call_finish(c, &err);
    else
        create_key(c, s, q);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_times((*(Scheduler__Key *const *)a)->created_at,
                         (*(Scheduler__Key *const *)b)->created_at);
}

void service_list_keys(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct scheduler *s = rpc_call_app(c);
    Scheduler__ListKeysResponse answer = SCHEDULER__LIST_KEYS_RESPONSE__INIT;
    const Scheduler__Store__KeyRecord *r;
    size_t pos = 0;

    (void)m; /* has no fields */
    answer.keys = calloc(keys_cnt(&s->keys) + 1, sizeof(*answer.keys));
    if (!answer.keys) {
        fail_no_memory(c);
        return;
    }
    while ((r = keys_next(&s->keys, &pos)))
        answer.keys[answer.n_keys++] = r->key;
    qsort(answer.keys, answer.n_keys, sizeof(*answer.keys), compare_keys);
    service_answer(c, &answer.base);
    free(answer.keys);
}

void service_revoke_key(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Scheduler__RevokeKeyRequest *q = (const Scheduler__RevokeKeyRequest *)m;
    Scheduler__RevokeKeyResponse answer = SCHEDULER__REVOKE_KEY_RESPONSE__INIT;
    struct scheduler *s = rpc_call_app(c);
    const Scheduler__Store__KeyRecord *found = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    int rc = check_name("key_id", q->key_id, &err);
    if (rc == 0)
        rc = keys_find(&s->keys, q->key_id, &found, &err);
    if (rc) {
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
