/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating a sandbox.
 *
 * Theory of operation
 *
 *   PLACING ── template unknown, once ──> SYNCING ──> PLACING
 *   PLACING ── claim ──> CREATING ──> 201
 *
 * What: the scheduler chooses and records a claim, unless team or key have what they may have
 * (429); the node admits, makes, wakes and publishes; then the answer goes out, so a client that
 * has its 201 can call the sandbox at once and it is on record. A template that the scheduler does
 * not know may have been put into the directory a moment ago: the directory is read again, once a
 * request and not more often than registration_sync_templates() allows. A request with an
 * Idempotency-Key gets the sandbox id that belongs to team and key, so that its repetition finds
 * the sandbox instead of making another, also after a restart: 201 again while it runs, 409 while
 * it is being made or ended. Failure: a claim that is not used is given back; the node undoes what
 * it began before it reports.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/api/api.h"
#include "broker/api/create_request.h"

#define IDEMPOTENCY_KEY_MAX 255
#define IN_FLIGHT "sandbox_start_in_flight"

/* owned by: itself, from the request until its answer */
struct creation {
    struct api_request *rq;
    struct create_request wanted;
    char sandbox_id[SANDBOX_ID_CAP];
    char template_id[RECORD_NAME_CAP];
    bool is_synced;
};

static void place(struct creation *c);

/* The creation ends; the request is still to be answered. */
static struct api_request *leave(struct creation *c)
{
    struct api_request *rq = c->rq;
    create_request_fini(&c->wanted);
    free(c);
    return rq;
}

static void fail(struct creation *c, const char *error_code, const struct adit_err *err)
{
    api_reply_err(leave(c), error_code, err);
}

/* What went wrong on the host is no answer about the request: a file that is missing there is no
 * 404, one that may not be opened no 403. */
static bool is_hosts_own(int code)
{
    switch (code) {
    case ADIT_ERR_UNAVAILABLE:
    case ADIT_ERR_TIMEOUT:
    case ADIT_ERR_NO_SPACE:
    case ADIT_ERR_NO_MEMORY:
        return false;
    default:
        return true;
    }
}

static void reply_not_found(struct creation *c)
{
    char ref[CREATE_REQUEST_REF_CAP];
    memcpy(ref, c->wanted.template_ref, sizeof(ref));
    api_reply_error(leave(c), 404, NULL, "template '%s' not found", ref);
}

/* Looked at only when a creation failed: the directory is read again later. */
static bool was_deleted(const struct creation *c)
{
    const struct template_dir_entry *t =
        template_dir_find(c->rq->broker->templates, c->template_id);
    return !t || access(t->dir, F_OK);
}

static void on_undone(void *user, const struct adit_err *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)why;                                                           /* the end goes on */
    (void)adit_err_set(&err, ADIT_ERR_NO_MEMORY, "no memory to answer"); /* only told */
    fail(user, "sandbox_create_failed", &err);
}

static void on_created(void *user, struct sandbox *s, const struct adit_err *err)
{
    struct creation *c = user;
    if (err && was_deleted(c)) {
        reply_not_found(c);
        return;
    }
    if (err && is_hosts_own(err->code)) {
        api_reply_error(leave(c), 500, "sandbox_create_failed", "%s", err->msg);
        return;
    }
    if (err) {
        fail(c, err->code == ADIT_ERR_UNAVAILABLE ? NULL : "sandbox_create_failed", err);
        return;
    }
    /* Nobody would know of it. */
    if (api_try_reply_json(c->rq, 201, api_json_sandbox(c->rq->broker, s)))
        node_kill(s, "no memory to answer", on_undone, c);
    else
        (void)leave(c); /* answered */
}

/* The scheduler's words when they are the contract's, else the contract's. */
static void reply_no_template(struct creation *c, const struct adit_err *err)
{
    if (adit_view_has_prefix(adit_view_str(err->msg), "tag '"))
        fail(c, NULL, err);
    else
        reply_not_found(c);
}

static void on_synced(void *user)
{
    place(user);
}

/* Look for new templates, once. */
static bool sync_templates(struct creation *c)
{
    if (c->is_synced)
        return false;
    c->is_synced = true;
    return registration_sync_templates(c->rq->broker->registration, on_synced, c);
}

static int check_claim(const struct creation *c, const Scheduler__PlaceResponse *p,
                       struct adit_err *err)
{
    const Scheduler__Template *t = p->template_;
    if (strcmp(p->node_id, c->rq->broker->node_id) != 0)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "node %s was chosen, this is node %s",
                            p->node_id, c->rq->broker->node_id);
    if (!t || !t->resources)
        return adit_err_set(err, ADIT_ERR_BUG, "the scheduler named no template");
    if (t->start_cmd[0] || t->ready_cmd[0])
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED,
                            "templates with a start command are not available yet");
    return 0;
}

static int create_here(struct creation *c, const Scheduler__Template *t,
                       const struct template_dir_entry *local, struct adit_err *err)
{
    const struct create_request *w = &c->wanted;
    (void)snprintf(c->template_id, sizeof(c->template_id), "%s", t->template_id); /* as on disk */
    struct node_create spec = {
        .sandbox_id = c->sandbox_id,
        .team_id = c->rq->who.team_id,
        .key_id = c->rq->who.key_id,
        .template_id = t->template_id,
        .alias = t->n_aliases ? t->aliases[0] : "",
        .template_dir = local->dir,
        .default_user = t->default_user,
        .default_workdir = t->default_workdir,
        .cpu_count = t->resources->cpu_count,
        .memory_mb = t->resources->memory_mb,
        .disk_mb = t->resources->disk_mb,
        .timeout_ms = w->timeout_ms,
        .secure = w->secure,
        .is_private = w->is_private,
        .internet = w->internet,
        .mask_host = w->mask_host,
        .metadata = w->metadata,
        .network = w->network,
        .env_vars = w->env_vars,
    };
    return node_create(c->rq->broker->node, &spec, on_created, c, err);
}

static void use_claim(struct creation *c, const Scheduler__PlaceResponse *p)
{
    struct broker *b = c->rq->broker;
    struct adit_err err = ADIT_ERR_INIT;
    const char *error_code = NULL;
    const struct template_dir_entry *local = NULL;
    int rc = check_claim(c, p, &err);
    if (rc == 0)
        local = template_dir_find(b->templates, p->template_->template_id);
    if (rc == 0 && !local) { /* the scheduler knows it still, but its folder is gone */
        broker_release_claim(b, c->sandbox_id, "its template was deleted");
        reply_not_found(c);
        return;
    }
    if (rc == 0) {
        rc = create_here(c, p->template_, local, &err);
        error_code = "sandbox_capacity_unavailable";
    }
    if (rc == 0)
        return;
    broker_release_claim(b, c->sandbox_id, err.msg);
    if (err.code != ADIT_ERR_UNAVAILABLE)
        error_code = NULL;
    fail(c, error_code, &err);
}

/* Answer when the sandbox of this idempotency key is there already. */
static bool repeat(struct creation *c)
{
    struct node *node = c->rq->broker->node;
    struct sandbox *s = node_find(node, c->rq->who.team_id, c->sandbox_id);
    if (!s && !node_has(node, c->sandbox_id))
        return false;
    struct api_request *rq = leave(c);
    if (s)
        api_reply_json(rq, 201, api_json_sandbox(rq->broker, s));
    else
        api_reply_error(rq, 409, IN_FLIGHT,
                        "the sandbox of this Idempotency-Key is being made or ended");
    return true;
}

/* Clients wait for a whole number of seconds and try again. */
static void reply_too_fast(struct api_request *rq, uint32_t retry_after_s)
{
    char seconds[16];
    (void)snprintf(seconds, sizeof(seconds), "%u", retry_after_s);
    (void)edge_api_set_header(rq->edge, "Retry-After", adit_view_str(seconds)); /* a courtesy */
    api_reply_error(rq, 429, NULL, "you are creating sandboxes faster than this API key allows");
}

static void on_placed(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct creation *c = user;
    if (repeat(c)) /* a request with the same key was faster: sandbox and claim are its own */
        return;
    const Scheduler__PlaceResponse *placed = (const Scheduler__PlaceResponse *)answer;
    if (!err && placed->retry_after_s)
        reply_too_fast(leave(c), placed->retry_after_s);
    else if (!err)
        use_claim(c, placed);
    else if (err->code == ADIT_ERR_NOT_FOUND && sync_templates(c))
        return;
    else if (err->code == ADIT_ERR_NOT_FOUND)
        reply_no_template(c, err);
    else if (adit_view_has_prefix(adit_view_str(err->msg), "no node is available"))
        fail(c, "sandbox_capacity_unavailable", err);
    else if (err->code == ADIT_ERR_UNAUTHENTICATED)
        api_refuse_key(leave(c)); /* revoked since it was checked */
    else
        fail(c, err->code == ADIT_ERR_EXISTS ? IN_FLIGHT : NULL, err);
}

static void place(struct creation *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    Scheduler__PlaceRequest request;
    scheduler__place_request__init(&request);
    request.sandbox_id = c->sandbox_id;
    request.team_id = c->rq->who.team_id;
    request.key_id = c->rq->who.key_id;
    request.template_ref = c->wanted.template_ref;
    if (scheduler_client_call(c->rq->broker->scheduler, SCHEDULER_PLACE, &request.base, on_placed,
                              c, &err))
        fail(c, NULL, &err);
}

/* The sandbox id of a request with an Idempotency-Key. */
static int use_key(struct creation *c, struct adit_view key, struct adit_err *err)
{
    for (size_t i = 0; i < key.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", key.ptr[i]))
            key.len = 0;
    if (key.len == 0 || key.len > IDEMPOTENCY_KEY_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "Idempotency-Key: 1 to %d lower-case letters, digits and hyphens",
                            IDEMPOTENCY_KEY_MAX);
    tokens_sandbox_id(&c->rq->broker->tokens, c->rq->who.team_id, key, c->sandbox_id);
    return 0;
}

static void create(struct api_request *rq, bool is_v2)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct creation *c = calloc(1, sizeof(*c));
    if (!c) {
        api_reply_json(rq, 503, NULL);
        return;
    }
    c->rq = rq;
    if (create_request_parse(edge_api_body(rq->edge), is_v2, api_max_timeout_ms(rq), &c->wanted,
                             &err)) {
        fail(c, NULL, &err);
        return;
    }
    struct adit_view key = edge_api_header(rq->edge, "Idempotency-Key");
    sandbox_id_make(c->sandbox_id);
    if (key.ptr && use_key(c, key, &err))
        fail(c, NULL, &err);
    else if (!repeat(c))
        place(c);
}

void api_create_v1(struct api_request *rq)
{
    create(rq, false);
}

void api_create_v2(struct api_request *rq)
{
    create(rq, true);
}
