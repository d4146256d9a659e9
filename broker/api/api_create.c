/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating a sandbox.
 *
 * Theory of operation
 *
 * What: the answer goes out when the sandbox runs, so a client that has its 201 can call it at once
 * and it is on record. A request with an Idempotency-Key gets the sandbox id that belongs to team
 * and key, so that its repetition finds the sandbox instead of making another, also after a
 * restart: 201 again while it runs, 409 while it is being made or ended. Failure: a sandbox that
 * cannot be told of is ended before the refusal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/api/api.h"
#include "broker/api/create_request.h"
#include "broker/creation.h"

#define IDEMPOTENCY_KEY_MAX 255
#define IN_FLIGHT "sandbox_start_in_flight"

_Static_assert(CREATE_REQUEST_REF_CAP <= CREATION_REF_CAP, "a reference fits");

/* owned by: itself, from the request until its answer */
struct create {
    struct api_request *rq;
    struct create_request wanted;
    char sandbox_id[SANDBOX_ID_CAP];
};

/* The creation ends; the request is still to be answered. */
static struct api_request *leave(struct create *c)
{
    struct api_request *rq = c->rq;
    create_request_fini(&c->wanted);
    free(c);
    return rq;
}

static void fail(struct create *c, const char *error_code, const struct adit_err *err)
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

static void on_undone(void *user, const struct adit_err *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)why;                                                           /* the end goes on */
    (void)adit_err_set(&err, ADIT_ERR_NO_MEMORY, "no memory to answer"); /* only told */
    fail(user, "sandbox_create_failed", &err);
}

/* Answer when the sandbox of this idempotency key is there already. */
static bool repeat(struct create *c)
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
static void reply_too_fast(struct api_request *rq, const struct creation_result *r)
{
    char seconds[16];
    (void)snprintf(seconds, sizeof(seconds), "%u", r->retry_after_s);
    (void)edge_api_set_header(rq->edge, "Retry-After", adit_view_str(seconds)); /* a courtesy */
    api_reply_error(rq, 429, NULL, "%s", r->err->msg);
}

static void reply_not_made(struct create *c, const struct adit_err *err)
{
    if (is_hosts_own(err->code))
        api_reply_error(leave(c), 500, "sandbox_create_failed", "%s", err->msg);
    else
        fail(c, err->code == ADIT_ERR_UNAVAILABLE ? NULL : "sandbox_create_failed", err);
}

static void reply_fault(struct create *c, const struct creation_result *r)
{
    switch (r->fault) {
    case CREATION_NO_FAULT:
        break; /* not here */
    case CREATION_TOO_FAST:
        reply_too_fast(leave(c), r);
        break;
    case CREATION_NO_CAPACITY:
        fail(c, "sandbox_capacity_unavailable", r->err);
        break;
    case CREATION_EXISTS:
        if (!repeat(c))
            fail(c, IN_FLIGHT, r->err);
        break;
    case CREATION_KEY_REVOKED: /* since it was checked */
        api_refuse_key(leave(c));
        break;
    case CREATION_NOT_MADE:
        reply_not_made(c, r->err);
        break;
    case CREATION_NO_TEMPLATE:
    case CREATION_NOT_PLACED:
        fail(c, NULL, r->err);
        break;
    }
}

static void on_done(void *user, const struct creation_result *r)
{
    struct create *c = user;
    if (r->fault)
        reply_fault(c, r);
    /* Nobody would know of it. */
    else if (api_try_reply_json(c->rq, 201, api_json_sandbox(c->rq->broker, r->sandbox)))
        node_kill(r->sandbox, "no memory to answer", on_undone, c);
    else
        (void)leave(c); /* answered */
}

static void start(struct create *c)
{
    const struct create_request *w = &c->wanted;
    struct adit_err err = ADIT_ERR_INIT;
    struct creation_spec spec = {
        .template_ref = w->template_ref,
        .sandbox_id = c->sandbox_id,
        .wanted = {.isolation = w->isolation,
                   .team_id = c->rq->who.team_id,
                   .key_id = c->rq->who.key_id,
                   .timeout_ms = w->timeout_ms,
                   .secure = w->secure,
                   .is_private = w->is_private,
                   .internet = w->internet,
                   .mask_host = w->mask_host,
                   .metadata = w->metadata,
                   .network = w->network,
                   .env_vars = w->env_vars},
    };
    if (creation_start(c->rq->broker, &spec, on_done, c, &err))
        fail(c, NULL, &err);
}

/* The sandbox id of a request with an Idempotency-Key. */
static int use_key(struct create *c, struct adit_view key, struct adit_err *err)
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

/* An unmodified client can set a header, but no member of the body. */
static int use_isolation(struct create *c, struct adit_err *err)
{
    char wanted[TEMPLATE_ISOLATION_CAP];
    struct adit_view word = edge_api_header(c->rq->edge, "Adit-Isolation");
    int rc = word.ptr ? create_request_isolation(word, wanted, err) : 0;
    if (rc || !word.ptr)
        return rc;
    if (c->wanted.isolation[0] && strcmp(c->wanted.isolation, wanted) != 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "validation error: isolation and the header Adit-Isolation differ");
    memcpy(c->wanted.isolation, wanted, sizeof(wanted));
    return 0;
}

static void create(struct api_request *rq, bool is_v2)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct create *c = calloc(1, sizeof(*c));
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
    if ((key.ptr && use_key(c, key, &err)) || use_isolation(c, &err))
        fail(c, NULL, &err);
    else if (!repeat(c))
        start(c);
}

void api_create_v1(struct api_request *rq)
{
    create(rq, false);
}

void api_create_v2(struct api_request *rq)
{
    create(rq, true);
}
