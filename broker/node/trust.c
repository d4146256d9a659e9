/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An authority for a sandbox whose requests get headers.
 *
 * Theory of operation
 *
 *   make ──> guest: POST /init with its certificate ──> record: authority and options
 *
 * What:      the authority is part of the record, so it is as private as that, is saved together
 * with the rules that need it, and is gone with the sandbox. A sandbox that is created with such
 * rules has it from the beginning (trust_prepare()); trust_start() is for one that runs already.
 * The guest trusts it before the rules are in force: no program is shown a certificate that it
 * cannot verify. Failure:   a guest that cannot be told keeps its old rules, and the caller hears
 * why. One that was told by a broker that was killed before it saved trusts one authority more,
 * whose key nobody has. Ownership: belongs to its sandbox, which outlives the callback.
 */
#include "broker/node/trust.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "broker/egress/egress_authority.h"
#include "broker/egress/egress_rules.h"
#include "broker/node/sandbox.h"

static int make(char **out, struct adit_err *err)
{
    char *pem = malloc(EGRESS_AUTHORITY_CAP);
    int rc = pem ? egress_authority_make(pem, err)
                 : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for an authority");
    if (rc == ADIT_OK)
        *out = pem;
    else
        free(pem);
    return rc;
}

bool trust_is_missing(const struct record *r, const json_t *network)
{
    return !r->authority && egress_rules_are_in(network);
}

int trust_prepare(struct record *r, const json_t *network, struct adit_err *err)
{
    return trust_is_missing(r, network) ? make(&r->authority, err) : ADIT_OK;
}

/* The one way out. @on_done is called last. */
static void finish(struct sandbox *s, const struct adit_err *err)
{
    struct trust t = s->trust;
    s->trust = (struct trust){0};
    json_decref(t.network);
    free(t.authority);
    t.on_done(t.user, err);
}

static void on_told(void *user, const struct adit_err *why)
{
    struct sandbox *s = user;
    struct trust *t = &s->trust;
    struct adit_err err = ADIT_ERR_INIT;
    t->guest = NULL;
    if (why) {
        adit_log(ADIT_LOG_WARN, "authority_not_trusted", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(why));
        finish(s, why);
        return;
    }
    s->record.authority = adit_steal(&t->authority);
    int rc = node_set_network(s, t->network, t->internet, t->on_done, t->user, &err);
    if (rc) {
        finish(s, &err);
        return;
    }
    json_decref(t->network);
    *t = (struct trust){0};
}

static int tell(struct sandbox *s, struct adit_err *err)
{
    char token[TOKENS_CAP];
    sandbox_envd_token(s, token);
    struct guest_conf conf = {
        .loop = s->node->conf.loop,
        .target = s->record.instance.target,
        .sandbox_id = s->record.sandbox_id,
        .template_id = s->record.template_id,
        .token = token,
        .ca_bundle = egress_authority_certificate(s->trust.authority),
        .default_user = "",
        .default_workdir = "",
        .deadline_ms = s->node->conf.ready_ms,
    };
    return guest_start(&conf, on_told, s, &s->trust.guest, err);
}

int trust_start(struct sandbox *s, json_t *network, enum record_internet internet,
                node_done_fn on_done, void *user, struct adit_err *err)
{
    struct trust *t = &s->trust;
    if (t->is_running || s->rotation.is_running)
        return adit_err_set(err, ADIT_ERR_CONFLICT,
                            "the sandbox is being given other rules or tokens: try again");
    *t = (struct trust){.is_running = true,
                        .network = json_incref(network),
                        .internet = internet,
                        .on_done = on_done,
                        .user = user};
    int rc = make(&t->authority, err);
    if (rc == ADIT_OK)
        rc = tell(s, err);
    if (rc == ADIT_OK)
        return rc;
    json_decref(t->network);
    free(t->authority);
    *t = (struct trust){0};
    return rc;
}

void trust_cancel(struct sandbox *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (!s->trust.is_running)
        return;
    if (s->trust.guest)
        guest_cancel(adit_steal(&s->trust.guest));
    (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE,
                       s->is_ending ? "the sandbox is being ended" : "this node is stopping");
    finish(s, &err);
}
