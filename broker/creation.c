/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a sandbox: a place, then the node's creation.
 *
 * Theory of operation
 *
 *   PLACING ── template unknown, once ──> SYNCING ──> PLACING
 *   PLACING ── claim ──> CREATING ──> done
 *      ^───── once ─────────┘ one that waited booted was of no use
 *
 * What: the scheduler chooses and records a claim, unless team or key have what they may have; the
 * node admits, makes, wakes and publishes. A template that the scheduler does not know may have
 * been put into the directory a moment ago: the directory is read again, once a creation and not
 * more often than registration_sync_templates() allows.
 * Who fixed no id gets a sandbox that waits booted, if the pool has one: it is taken in hand first,
 * so that the scheduler places its id, and claimed instead of created. What the scheduler refused
 * waits again. What it may have on record, and is not used, is ended, and the creation begins anew
 * without the pool: no other creation gets an id that was placed once.
 * Ownership: a creation owns itself until its
 * callback. Failure: a claim that is not used is given back; the node undoes what it began before
 * it reports.
 */
#include "broker/creation.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

/*
 * @template_id: of the claim, once there is one
 * @is_id_free:  the id may be any
 * @has_warm:    spec.sandbox_id is that of one in hand / @is_cold: the pool is not asked any more
 */
struct creation {
    struct broker *broker; /* borrowed */
    struct creation_spec spec;
    char template_id[RECORD_NAME_CAP];
    bool is_synced, is_id_free, has_warm, is_cold;
    creation_fn on_done;
    void *user;
};

static int place(struct creation *c, struct adit_err *err);

/* ---- the ends ---- */

static void finish(struct creation *c, const struct creation_result *result)
{
    creation_fn on_done = c->on_done;
    void *user = c->user;
    free(c);
    on_done(user, result);
}

static void fail(struct creation *c, enum creation_fault fault, const struct adit_err *err)
{
    struct creation_result result = {.fault = fault, .err = err};
    finish(c, &result);
}

static void fail_not_found(struct creation *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_NOT_FOUND, "template '%s' not found",
                       c->spec.template_ref); /* only told */
    fail(c, CREATION_NO_TEMPLATE, &err);
}

static void fail_too_fast(struct creation *c, uint32_t retry_after_s)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct creation_result result = {
        .fault = CREATION_TOO_FAST, .retry_after_s = retry_after_s, .err = &err};
    (void)adit_err_set(&err, ADIT_ERR_LIMIT,
                       "you are creating sandboxes faster than this API key allows"); /* as above */
    finish(c, &result);
}

/* ---- the pool ---- */

/* Each time it is placed. */
static void choose_id(struct creation *c)
{
    if (!c->is_id_free)
        return;
    c->has_warm = !c->is_cold && warm_pool_take(c->broker->warm_pool, c->spec.template_ref,
                                                c->spec.wanted.isolation, c->spec.sandbox_id);
    if (!c->has_warm)
        sandbox_id_make(c->spec.sandbox_id);
}

/* The scheduler has answered, and not with a claim. */
static void put_warm_back(struct creation *c, const struct adit_err *err)
{
    struct broker *b = c->broker;
    bool is_certain = !err || err->code == ADIT_ERR_NOT_FOUND || err->code == ADIT_ERR_LIMIT ||
                      err->code == ADIT_ERR_UNAUTHENTICATED ||
                      adit_view_has_prefix(adit_view_str(err->msg), "no node is available");
    if (c->has_warm && is_certain)
        warm_pool_give_back(b->warm_pool, c->spec.sandbox_id);
    else if (c->has_warm)
        node_warm_end(b->node, c->spec.sandbox_id, "its place is uncertain");
    c->has_warm = false;
}

/* Without the pool. */
static void begin_anew(struct creation *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    c->has_warm = false;
    c->is_cold = true;
    if (place(c, &err))
        fail(c, CREATION_NOT_PLACED, &err);
}

static void drop_warm(struct creation *c, const struct adit_err *why)
{
    adit_log(ADIT_LOG_WARN, "warm_sandbox_not_used", LOG_S("sandbox", c->spec.sandbox_id),
             LOG_ERR(why));
    broker_release_claim(c->broker, c->spec.sandbox_id, why->msg);
    node_warm_end(c->broker->node, c->spec.sandbox_id, "it could not be claimed");
    begin_anew(c);
}

/* ---- on the node ---- */

/* Looked at only when a creation failed: the directory is read again later. */
static bool was_deleted(const struct creation *c)
{
    const struct template_dir_entry *t = template_dir_find(c->broker->templates, c->template_id);
    return !t || access(t->dir, F_OK);
}

static void on_created(void *user, struct sandbox *s, const struct adit_err *err)
{
    struct creation *c = user;
    struct creation_result result = {.sandbox = s};
    if (!err)
        finish(c, &result);
    else if (c->has_warm) /* its end has released the claim */
        begin_anew(c);
    else if (was_deleted(c))
        fail_not_found(c);
    else
        fail(c, CREATION_NOT_MADE, err);
}

static int create_here(struct creation *c, const Scheduler__Template *t,
                       const struct template_dir_entry *local, struct adit_err *err)
{
    struct node_create spec = c->spec.wanted;
    spec.sandbox_id = c->spec.sandbox_id;
    (void)snprintf(c->template_id, sizeof(c->template_id), "%s", t->template_id); /* as on disk */
    if (!spec.isolation[0])
        spec.isolation = t->isolation;
    spec.template_id = t->template_id;
    spec.alias = t->n_aliases ? t->aliases[0] : "";
    spec.template_dir = local->dir;
    spec.default_user = t->default_user;
    spec.default_workdir = t->default_workdir;
    spec.cpu_count = t->resources->cpu_count;
    spec.memory_mb = t->resources->memory_mb;
    spec.disk_mb = t->resources->disk_mb;
    spec.env_vars = template_env(&local->info, c->spec.wanted.env_vars);
    if (!spec.env_vars)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    int rc =
        (c->has_warm ? node_warm_claim : node_create)(c->broker->node, &spec, on_created, c, err);
    json_decref(spec.env_vars);
    return rc;
}

/* ---- by the scheduler ---- */

static int check_claim(const struct creation *c, const Scheduler__PlaceResponse *p,
                       struct adit_err *err)
{
    const Scheduler__Template *t = p->template_;
    if (strcmp(p->node_id, c->broker->node_id) != 0)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "node %s was chosen, this is node %s",
                            p->node_id, c->broker->node_id);
    if (!t || !t->resources)
        return adit_err_set(err, ADIT_ERR_BUG, "the scheduler named no template");
    if (t->start_cmd[0] || t->ready_cmd[0])
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED,
                            "templates with a start command are not available yet");
    return 0;
}

static void use_claim(struct creation *c, const Scheduler__PlaceResponse *p)
{
    struct broker *b = c->broker;
    struct adit_err err = ADIT_ERR_INIT;
    enum creation_fault fault = CREATION_NOT_PLACED;
    const struct template_dir_entry *local = NULL;
    int rc = check_claim(c, p, &err);
    if (rc == 0)
        local = template_dir_find(b->templates, p->template_->template_id);
    if (rc == 0 && local)
        rc = create_here(c, p->template_, local, &err);
    if (rc && c->has_warm) {
        drop_warm(c, &err);
        return;
    }
    if (rc == 0 && !local) { /* the scheduler knows it still, but its folder is gone */
        broker_release_claim(b, c->spec.sandbox_id, "its template was deleted");
        fail_not_found(c);
        return;
    }
    if (rc == 0)
        return;
    if (local && rc == ADIT_ERR_UNAVAILABLE)
        fault = CREATION_NO_CAPACITY;
    broker_release_claim(b, c->spec.sandbox_id, err.msg);
    fail(c, fault, &err);
}

static void on_synced(void *user)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (place(user, &err))
        fail(user, CREATION_NOT_PLACED, &err);
}

/* Look for new templates, once. */
static bool sync_templates(struct creation *c)
{
    if (c->is_synced)
        return false;
    c->is_synced = true;
    return registration_sync_templates(c->broker->registration, on_synced, c);
}

static void on_refused(struct creation *c, const struct adit_err *err)
{
    struct adit_view words = adit_view_str(err->msg);
    if (err->code == ADIT_ERR_NOT_FOUND && sync_templates(c))
        return;
    if (err->code == ADIT_ERR_NOT_FOUND && adit_view_has_prefix(words, "tag '"))
        fail(c, CREATION_NO_TEMPLATE, err); /* the contract's words already */
    else if (err->code == ADIT_ERR_NOT_FOUND)
        fail_not_found(c);
    else if (adit_view_has_prefix(words, "no node is available"))
        fail(c, CREATION_NO_CAPACITY, err);
    else if (err->code == ADIT_ERR_UNAUTHENTICATED)
        fail(c, CREATION_KEY_REVOKED, err);
    else
        fail(c, err->code == ADIT_ERR_EXISTS ? CREATION_EXISTS : CREATION_NOT_PLACED, err);
}

static void on_placed(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct creation *c = user;
    const Scheduler__PlaceResponse *placed = (const Scheduler__PlaceResponse *)answer;
    struct adit_err taken = ADIT_ERR_INIT;
    bool is_there = !c->has_warm && node_has(c->broker->node, c->spec.sandbox_id);
    if (err || placed->retry_after_s)
        put_warm_back(c, err);
    if (is_there) {
        /* one with the same id was faster: sandbox and claim are its own */
        (void)adit_err_set(&taken, ADIT_ERR_EXISTS, "sandbox %s exists already",
                           c->spec.sandbox_id); /* only told */
        fail(c, CREATION_EXISTS, &taken);
    } else if (err) {
        on_refused(c, err);
    } else if (placed->retry_after_s) {
        fail_too_fast(c, placed->retry_after_s);
    } else {
        use_claim(c, placed);
    }
}

/* A message's strings are not const, but only read. */
static int place(struct creation *c, struct adit_err *err)
{
    char id[SANDBOX_ID_CAP], team[RECORD_TEAM_CAP], key[RECORD_TEAM_CAP], ref[CREATION_REF_CAP];
    char isolation[TEMPLATE_ISOLATION_CAP];
    Scheduler__PlaceRequest request;
    choose_id(c);
    scheduler__place_request__init(&request);
    (void)snprintf(id, sizeof(id), "%s", c->spec.sandbox_id); /* ids fit */
    (void)snprintf(team, sizeof(team), "%s", c->spec.wanted.team_id);
    (void)snprintf(key, sizeof(key), "%s", c->spec.wanted.key_id);
    (void)snprintf(ref, sizeof(ref), "%s", c->spec.template_ref);
    (void)snprintf(isolation, sizeof(isolation), "%s", c->spec.wanted.isolation);
    request.sandbox_id = id;
    request.team_id = team;
    request.key_id = key;
    request.template_ref = ref;
    request.isolation = isolation;
    if (c->has_warm)
        request.warm_node_id = c->broker->node_id;
    int rc = scheduler_client_call(c->broker->scheduler, SCHEDULER_PLACE, &request.base, on_placed,
                                   c, err);
    if (rc)
        put_warm_back(c, NULL); /* nothing was sent */
    return rc;
}

int creation_start(struct broker *b, const struct creation_spec *spec, creation_fn on_done,
                   void *user, struct adit_err *err)
{
    struct creation *c = calloc(1, sizeof(*c));
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    c->broker = b;
    c->spec = *spec;
    if (!spec->wanted.isolation)
        c->spec.wanted.isolation = "";
    c->is_id_free = !spec->sandbox_id[0];
    c->on_done = on_done;
    c->user = user;
    int rc = place(c, err);
    if (rc)
        free(c);
    return rc;
}
