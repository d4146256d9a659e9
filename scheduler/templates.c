/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The templates that are known.
 *
 * Theory of operation
 *
 * What: templates by id and by alias. An id wins over an alias of the same text, so nobody can take
 * over a template by naming another one like its id. When a template is put with an alias that
 * another one has, the service writes the other one without it in the same transaction, so that the
 * records say the same in any order.
 * Ownership: messages belong to by_id; by_alias borrows them.
 */
#include "scheduler/templates.h"

#include "scheduler/message.h"
#include "scheduler/template_ref.h"

void templates_init(struct templates *t)
{
    adit_map_init(&t->by_id);
    adit_map_init(&t->by_alias);
}

void templates_fini(struct templates *t)
{
    size_t pos = 0;
    struct adit_view key;
    void *value;
    while (adit_map_next(&t->by_id, &pos, &key, &value))
        message_free(value);
    adit_map_fini(&t->by_id);
    adit_map_fini(&t->by_alias);
}

static void forget_aliases(struct templates *t, const Scheduler__Template *m)
{
    for (size_t i = 0; i < m->n_aliases; i++) {
        struct adit_view alias = adit_view_str(m->aliases[i]);
        if (adit_map_get(&t->by_alias, alias) == m)
            (void)adit_map_del(&t->by_alias, alias); /* it is there */
    }
}

static int add(struct templates *t, Scheduler__Template *m, struct adit_err *err)
{
    int rc = adit_map_put(&t->by_id, adit_view_str(m->template_id), m);
    for (size_t i = 0; rc == 0 && i < m->n_aliases; i++)
        rc = adit_map_put(&t->by_alias, adit_view_str(m->aliases[i]), m);
    return rc ? adit_err_set(err, rc, "no memory") : 0;
}

int templates_put(struct templates *t, Scheduler__Template *take_template, struct adit_err *err)
{
    struct adit_view id = adit_view_str(take_template->template_id);
    Scheduler__Template *old = adit_map_get(&t->by_id, id);
    if (old)
        forget_aliases(t, old);
    int rc = add(t, take_template, err);
    if (rc) {
        forget_aliases(t, take_template);
        (void)adit_map_del(&t->by_id, id); /* may not be there */
        message_free(take_template);
    }
    message_free(old);
    return rc;
}

const Scheduler__Template *templates_by_id(const struct templates *t, const char *template_id)
{
    return adit_map_get(&t->by_id, adit_view_str(template_id));
}

const Scheduler__Template *templates_by_alias(const struct templates *t, const char *alias)
{
    return adit_map_get(&t->by_alias, adit_view_str(alias));
}

int templates_resolve(const struct templates *t, struct adit_view ref,
                      const Scheduler__Template **out, struct adit_err *err)
{
    struct template_ref r;
    int rc = template_ref_parse(ref, &r, err);
    if (rc)
        return rc;
    const Scheduler__Template *m = templates_by_id(t, r.name);
    if (!m)
        m = templates_by_alias(t, r.name);
    if (!m)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "template '%s' not found", r.name);
    if (strcmp(r.tag, TEMPLATE_REF_DEFAULT_TAG) != 0)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "tag '%s' does not exist for template '%s'",
                            r.tag, r.name);
    *out = m;
    return 0;
}

const Scheduler__Template *templates_next(const struct templates *t, size_t *pos)
{
    struct adit_view key;
    void *value;
    return adit_map_next(&t->by_id, pos, &key, &value) ? value : NULL;
}

size_t templates_cnt(const struct templates *t)
{
    return t->by_id.len;
}
