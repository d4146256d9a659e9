/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods about templates.
 *
 * Theory of operation
 *
 * A template that is put takes its aliases away from those that had them, in the same transaction.
 * One is written at a time: what a second one must take away is known when the first is on record.
 * A broker that comes meanwhile is told so, as one whose scheduler is busy, and puts again. Lists
 * are bounded by TEMPLATES_MAX, and come newest last.
 */
#include <stdlib.h>

#include "base/log.h"
#include "scheduler/check.h"
#include "scheduler/message.h"
#include "scheduler/service_int.h"

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
        service_fail_no_memory(c);
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
    if (service_changes_cnt(s, STORE_TEMPLATE)) {
        (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE,
                           "another template is being put: try again"); /* only told */
        rpc_call_finish(c, &err);
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

static int compare_templates(const void *a, const void *b)
{
    return message_compare_times((*(Scheduler__Template *const *)a)->created_at,
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
        service_fail_no_memory(c);
        return;
    }
    while ((t = templates_next(&s->templates, &pos)))
        answer.templates[answer.n_templates++] = (Scheduler__Template *)(uintptr_t)t;
    qsort(answer.templates, answer.n_templates, sizeof(*answer.templates), compare_templates);
    service_answer(c, &answer.base);
    free(answer.templates);
}
