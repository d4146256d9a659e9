/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for a sandbox.
 *
 * Theory of operation
 *
 * What:      a name that no connection could be made to is refused without asking, so that a
 * sandbox without internet access tells nobody anything by what it looks up. The others are asked
 * of the host's resolver, and what they lead to is remembered for the rules about names before the
 * sandbox is told. Ownership: the table owns lookups; one owns its query.
 * Limits:    of the header; what is too much is answered as a server that fails, and programs try
 * again. Time is the resolver's (EGRESS_RESOLVER_QUERY_MS). One whose guest is gone counts until
 * its time is over: a query cannot be taken back, and a guest that comes and goes would have any
 * number. Trust:     ids and names are the guest's; names keep control_is_name().
 */
#include "broker/egress/egress_lookup.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"

struct egress_lookup {
    struct adit_list node;
    struct egress_lookups *table; /* borrowed */
    uint32_t id;
    bool is_lost; /* nobody waits for it */
    char name[CONTROL_NAME_MAX + 1];
    struct egress_query *query;
};

struct egress_lookups {
    struct egress_lookups_conf conf;
    struct adit_list all;
    size_t cnt;
    struct adit_limit rate;
};

static void forget(struct egress_lookup *l)
{
    adit_list_remove(&l->node);
    l->table->cnt--;
    free(l);
}

static bool is_in_use(const struct egress_lookups *t, uint32_t id)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->all)
    {
        const struct egress_lookup *l = ADIT_CONTAINER_OF(it, struct egress_lookup, node);
        if (l->id == id && !l->is_lost)
            return true;
    }
    return false;
}

static void answer(struct egress_lookups *t, uint32_t id, enum egress_rcode rcode)
{
    struct egress_resolved none = {.rcode = rcode};
    egress_control_answer(t->conf.control, id, &none);
}

static void tell(struct egress_lookup *l, const struct egress_resolved *resolved)
{
    struct egress_lookups *t = l->table;
    if (egress_judge_learn(t->conf.judge, adit_view_str(l->name), resolved) == ADIT_OK)
        egress_control_answer(t->conf.control, l->id, resolved);
    else
        answer(t, l->id, EGRESS_RCODE_FAILED);
}

static void on_resolved(void *owner, const struct egress_resolved *resolved)
{
    struct egress_lookup *l = owner;
    if (!l->is_lost)
        tell(l, resolved);
    forget(l);
}

static int ask(struct egress_lookups *t, const Control__Lookup *lookup)
{
    struct egress_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return ADIT_ERR_NO_MEMORY;
    l->table = t;
    l->id = lookup->id;
    (void)snprintf(l->name, sizeof(l->name), "%s", lookup->name); /* it is no longer */
    adit_list_init(&l->node);
    int rc = egress_resolver_lookup(t->conf.resolver, lookup->name, lookup->type, on_resolved, l,
                                    &l->query);
    if (rc != ADIT_OK) {
        free(l);
        return rc;
    }
    adit_list_push(&t->all, &l->node);
    t->cnt++;
    return ADIT_OK;
}

int egress_lookups_begin(struct egress_lookups *t, const Control__Lookup *lookup,
                         struct adit_err *err)
{
    if (is_in_use(t, lookup->id))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the guest uses the id of a lookup twice");
    if (!egress_judge_may_resolve(t->conf.judge, adit_view_str(lookup->name))) {
        egress_count(t->conf.counters, EGRESS_COUNT_LOOKUPS_REFUSED);
        answer(t, lookup->id, EGRESS_RCODE_REFUSED);
        return ADIT_OK;
    }
    bool has_room = t->cnt < EGRESS_LOOKUPS_MAX && adit_limit_take(&t->rate, adit_clock_mono_ns());
    if (has_room && ask(t, lookup) == ADIT_OK) {
        egress_count(t->conf.counters, EGRESS_COUNT_LOOKUPS);
        return ADIT_OK;
    }
    egress_count(t->conf.counters, EGRESS_COUNT_LOOKUPS_BUSY);
    answer(t, lookup->id, EGRESS_RCODE_FAILED);
    return ADIT_OK;
}

void egress_lookups_lost(struct egress_lookups *t)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->all)
    {
        ADIT_CONTAINER_OF(it, struct egress_lookup, node)->is_lost = true;
    }
}

int egress_lookups_new(const struct egress_lookups_conf *conf, struct egress_lookups **out,
                       struct adit_err *err)
{
    struct egress_lookups *t = calloc(1, sizeof *t);
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "table of lookups");
    t->conf = *conf;
    adit_list_init(&t->all);
    adit_limit_init(&t->rate, EGRESS_LOOKUPS_BURST, EGRESS_LOOKUPS_PER_S, adit_clock_mono_ns());
    *out = t;
    return ADIT_OK;
}

void egress_lookups_free(struct egress_lookups *t)
{
    struct adit_list *it;
    if (!t)
        return;
    while ((it = adit_list_first(&t->all))) {
        struct egress_lookup *l = ADIT_CONTAINER_OF(it, struct egress_lookup, node);
        egress_resolver_cancel(l->query);
        forget(l);
    }
    free(t);
}
