/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving a running sandbox other tokens.
 *
 * Theory of operation
 *
 *   record: generation + 1, rotating ──> envd: POST /init ──> edge: new route ──> record: done
 *
 * What: tokens are derived from a generation in the record. It is raised and marked on disk first;
 * then envd takes the new token, shown the old one; then every relay loop takes the new route,
 * which breaks all streams that were opened under the old tokens; then the mark goes. The answer
 * comes last: from then on the old tokens are good for nothing anywhere.
 *
 * Failure: killed at any point, the next broker finds the mark and tells envd again. That is the
 * same whether envd had heard it or not, because it takes the new token from whoever shows the old
 * one or the new one. Until the mark is gone, what clients are told are the old tokens. An envd
 * that refuses (an older one, which cannot change its token) keeps its old token, and so do we; one
 * that does not answer leaves the mark, and the next rotation completes this one. A node that stops
 * goes no step further, and the next broker completes it too.
 *
 * Ownership: a rotation belongs to its sandbox, which outlives every callback: what is saved or
 * published after the end was asked for is served before that end goes on.
 */
#include "broker/node/rotation.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "broker/node/sandbox.h"

static void finish(struct sandbox *s, const struct adit_err *err)
{
    struct rotation *r = &s->rotation;
    node_done_fn on_done = adit_steal(&r->on_done);
    r->is_running = false;
    if (err)
        adit_log(ADIT_LOG_WARN, "tokens_not_rotated", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(err));
    else
        adit_log(ADIT_LOG_INFO, "tokens_rotated", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_U("generation", s->record.token_generation));
    if (on_done)
        on_done(r->user, err);
}

/* Return: true when the sandbox is ending or its node stops, and that was said. */
static bool has_ended(struct sandbox *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (!s->is_ending && !s->node->is_stopping)
        return false;
    (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE,
                       s->is_ending ? "the sandbox is being ended" : "this node is stopping");
    finish(s, &err);
    return true;
}

static void take_back(struct sandbox *s)
{
    s->record.token_generation--;
    s->record.is_rotating = false;
}

static void on_confirmed(void *user, const struct adit_err *err)
{
    struct sandbox *s = user;
    if (err) /* done all the same: the next broker tells envd once more */
        adit_log(ADIT_LOG_WARN, "rotation_not_confirmed", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(err));
    finish(s, NULL);
}

static void on_published(void *user)
{
    struct sandbox *s = user;
    struct adit_err err = ADIT_ERR_INIT;
    if (has_ended(s))
        return;
    int rc = sandbox_save(s, false, on_confirmed, s);
    if (!rc)
        return;
    (void)adit_err_set(&err, rc, "%s", adit_err_name(rc)); /* only told */
    on_confirmed(s, &err);
}

/* envd kept the old token. */
static void refused(struct sandbox *s, const struct adit_err *err)
{
    take_back(s);
    if (sandbox_save(s, false, NULL, NULL))
        adit_log(ADIT_LOG_WARN, "rotation_still_on_record",
                 LOG_S("sandbox", s->record.sandbox_id)); /* the next broker finds it out */
    finish(s, err);
}

static void on_told(void *user, const struct adit_err *why)
{
    struct sandbox *s = user;
    struct adit_err err = ADIT_ERR_INIT;
    s->rotation.guest = NULL;
    if (why && why->code == ADIT_ERR_UNAVAILABLE) {
        refused(s, why);
        return;
    }
    if (why) {
        finish(s, why);
        return;
    }
    s->record.is_rotating = false;
    if (sandbox_republish(s, on_published, &err)) {
        s->record.is_rotating = true; /* the relay loops know the old tokens only */
        finish(s, &err);
        return;
    }
    sandbox_use_tokens(s);
}

static void tell(struct sandbox *s)
{
    char before[TOKENS_CAP], after[TOKENS_CAP];
    const struct tokens *t = s->node->conf.tokens;
    struct adit_err err = ADIT_ERR_INIT;
    tokens_envd(t, s->record.sandbox_id, s->record.token_generation - 1, before);
    tokens_envd(t, s->record.sandbox_id, s->record.token_generation, after);
    struct guest_conf conf = {
        .loop = s->node->conf.loop,
        .target = s->record.instance.target,
        .sandbox_id = s->record.sandbox_id,
        .template_id = s->record.template_id,
        .token = after,
        .token_before = before,
        .default_user = "",
        .default_workdir = "",
        .deadline_ms = s->node->conf.ready_ms,
    };
    if (guest_start(&conf, on_told, s, &s->rotation.guest, &err))
        finish(s, &err);
}

static void on_marked(void *user, const struct adit_err *err)
{
    struct sandbox *s = user;
    if (has_ended(s))
        return;
    if (err) {
        if (s->rotation.is_new) /* else envd may have the new token already */
            take_back(s);
        finish(s, err);
        return;
    }
    tell(s);
}

int rotation_start(struct sandbox *s, node_done_fn on_done, void *user, struct adit_err *err)
{
    struct rotation *r = &s->rotation;
    bool is_new = !s->record.is_rotating;
    if (r->is_running || s->trust.is_running)
        return adit_err_set(err, ADIT_ERR_CONFLICT,
                            "the sandbox is being given other rules or tokens: try again");
    s->record.token_generation += is_new;
    s->record.is_rotating = true;
    int rc = sandbox_save(s, false, on_marked, s);
    if (rc) {
        if (is_new)
            take_back(s);
        return adit_err_set(err, rc, "the new tokens cannot be recorded");
    }
    *r = (struct rotation){.is_running = true, .is_new = is_new, .on_done = on_done, .user = user};
    return 0;
}

void rotation_cancel(struct sandbox *s)
{
    struct rotation *r = &s->rotation;
    if (!r->guest)
        return; /* the callback that is under way sees the end */
    guest_cancel(adit_steal(&r->guest));
    (void)has_ended(s); /* says so */
}
