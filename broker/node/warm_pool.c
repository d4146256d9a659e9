/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The warm pool.
 *
 * Theory of operation
 *
 * What: whenever something has changed (a boot, a claim, an end, the templates), and every
 * WARM_POOL_LOOK_MS, tend() counts what waits and does what warm_plan.c says. Nothing else decides,
 * so a broker that starts, one that was killed and one that has run for a year do the same: what
 * waits and is wanted stays, the rest is ended.
 *
 *   (start) ──> TENDING ──drain──> DRAINING ──none left, or late──> OVER
 *
 * Templates: a kind is a template's build. template.json is looked at before each take and at each
 * look; where it is not what was read, nothing is handed out or booted until the directory was read
 * again. Then what waits of another build is ended.
 * Ownership: sandboxes are the node's. One in the hands of a create is left alone until it comes
 * back or is claimed.
 * Failure: what does not boot, or ends while it waits, is tried again later and later
 * (warm_plan.c), and said once in a row. A pool that is empty costs creates their head start,
 * nothing else.
 */
#include "broker/node/warm_pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/node/warm_plan.h"

enum state { LOADED, TENDING, DRAINING, OVER };

/*
 * One row of the option, with what became of it.
 * @is_refused: why it cannot be had was said
 */
struct row {
    const struct warm_option_row *option; /* borrowed from the pool */
    struct warm_plan plan;
    uint64_t claims, misses, boots, failures;
    bool is_refused;
};

struct warm_pool {
    struct warm_pool_conf conf;
    struct warm_option option;
    struct row rows[WARM_OPTION_ROWS_MAX];
    enum state state;
    struct net_deadline due; /* the next look, or the end of the drain */
    struct net_task tend;
    void (*on_drained)(void *user);
    void *user;
};

/* ---- rows and templates ---- */

static const struct template_dir_entry *template_of(const struct warm_pool *p, const struct row *r)
{
    return template_dir_resolve(p->conf.templates, adit_view_str(r->option->ref));
}

/* What who asks for @isolation gets: that, or the template's, or the host's own. */
static const char *isolation_of(const struct warm_pool *p, const struct template_dir_entry *e,
                                const char *isolation)
{
    if (!isolation[0] && e && e->info.isolation[0])
        isolation = e->info.isolation;
    return isolation[0] ? isolation : node_vmms(p->conf.node)->fallback->isolation;
}

static struct node_warm_kind kind_of(const struct warm_pool *p, const struct row *r,
                                     const struct template_dir_entry *e)
{
    return (struct node_warm_kind){e->info.template_id, e->info.build_id,
                                   isolation_of(p, e, r->option->isolation)};
}

static bool is_row_for(const struct warm_pool *p, const struct row *r,
                       const struct template_dir_entry *e, const char *isolation)
{
    return template_of(p, r) == e &&
           strcmp(isolation_of(p, e, r->option->isolation), isolation) == 0;
}

/* Two references may name one template. */
static bool is_repeated(const struct warm_pool *p, const struct row *r,
                        const struct template_dir_entry *e, const char *isolation)
{
    for (const struct row *other = p->rows; other < r; other++)
        if (is_row_for(p, other, e, isolation))
            return true;
    return false;
}

static const char *why_not(const struct warm_pool *p, const struct row *r,
                           const struct template_dir_entry *e)
{
    const char *isolation = isolation_of(p, e, r->option->isolation);
    if (!e)
        return "there is no such template";
    if (!vmm_set_choose(node_vmms(p->conf.node), isolation))
        return "this host has no such isolation";
    if (e->info.start_cmd[0] || e->info.ready_cmd[0])
        return "templates with a start command are not available yet";
    return is_repeated(p, r, e, isolation) ? "another row names the same template" : NULL;
}

/* Which template a row means, or NULL: it cannot be had. */
static const struct template_dir_entry *resolve(const struct warm_pool *p, struct row *r)
{
    const struct template_dir_entry *e = template_of(p, r);
    const char *why = why_not(p, r, e);
    if (why && !r->is_refused)
        adit_log(ADIT_LOG_WARN, "warm_template_refused", LOG_S("template", r->option->ref),
                 LOG_S("error", why));
    r->is_refused = why != NULL;
    return why ? NULL : e;
}

/* ---- tending ---- */

static void count(const struct warm_pool *p, struct row *r, const struct template_dir_entry *e)
{
    struct node_warm_counts c = {0};
    struct node_warm_kind kind;
    r->plan.wanted = e ? r->option->count : 0;
    if (e) {
        kind = kind_of(p, r, e);
        c = node_warm_count(p->conf.node, &kind);
    }
    r->plan.ready = c.ready;
    r->plan.taken = c.taken;
    r->plan.booting = c.booting;
}

static void failed(struct row *r, const char *why)
{
    if (r->plan.failures == 0)
        adit_log(ADIT_LOG_WARN, "warm_sandbox_failed", LOG_S("template", r->option->ref),
                 LOG_S("error", why));
    r->failures++;
    warm_plan_failed(&r->plan, adit_clock_mono_ns());
}

static void boot(struct warm_pool *p, struct row *r, const struct template_dir_entry *e)
{
    char id[SANDBOX_ID_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    const struct node_warm_kind kind = kind_of(p, r, e);
    struct node_create spec = {.sandbox_id = id,
                               .template_id = e->info.template_id,
                               .alias = e->info.alias_cnt ? e->info.aliases[0] : "",
                               .template_dir = e->dir,
                               .cpu_count = e->info.cpu_count,
                               .memory_mb = e->info.memory_mb,
                               .disk_mb = e->info.disk_mb};
    sandbox_id_make(id);
    r->boots++;
    if (node_warm_boot(p->conf.node, &spec, &kind, &err))
        failed(r, err.msg);
}

/* End @cnt of those that wait and nobody has in hand; the newest are as good as any. */
static void end_some(struct warm_pool *p, const struct node_warm_kind *kind, unsigned cnt)
{
    const struct sandbox *s;
    size_t pos = 0;
    while (cnt && (s = node_warm_next(p->conf.node, &pos))) {
        if (!node_warm_is_ready(s) || !node_warm_is_kind(s, kind))
            continue;
        node_warm_end(p->conf.node, node_record(s)->sandbox_id, "the pool has enough");
        cnt--;
    }
}

static void act(struct warm_pool *p, struct row *r, const struct template_dir_entry *e)
{
    const struct node_warm_kind kind = kind_of(p, r, e);
    for (unsigned i = 0; i < r->plan.boot; i++)
        boot(p, r, e);
    end_some(p, &kind, r->plan.end);
}

/* @entries: of the rows; not looked at while the pool is drained. */
static bool is_wanted(const struct warm_pool *p, const struct sandbox *s,
                      const struct template_dir_entry *const *entries)
{
    for (size_t i = 0; i < p->option.cnt && p->state == TENDING; i++) {
        if (!entries[i])
            continue;
        const struct node_warm_kind kind = kind_of(p, &p->rows[i], entries[i]);
        if (node_warm_is_kind(s, &kind))
            return true;
    }
    return false;
}

/* Another build, a template that is gone, a broker that was started without it. */
static void end_unwanted(struct warm_pool *p, const struct template_dir_entry *const *entries)
{
    const struct sandbox *s;
    size_t pos = 0;
    while ((s = node_warm_next(p->conf.node, &pos)))
        if (!is_wanted(p, s, entries))
            node_warm_end(p->conf.node, node_record(s)->sandbox_id,
                          p->state == TENDING ? "its template changed" : "the broker stops");
}

static void tend_rows(struct warm_pool *p)
{
    const struct template_dir_entry *entries[WARM_OPTION_ROWS_MAX] = {NULL};
    struct warm_plan plans[WARM_OPTION_ROWS_MAX];
    bool is_outdated = false;
    for (size_t i = 0; i < p->option.cnt; i++) {
        entries[i] = resolve(p, &p->rows[i]);
        is_outdated |= entries[i] && !template_dir_is_current(entries[i]);
        count(p, &p->rows[i], entries[i]);
        plans[i] = p->rows[i].plan;
    }
    end_unwanted(p, entries);
    if (is_outdated) {
        p->conf.rescan(p->conf.owner); /* then this comes again */
        return;
    }
    warm_plan_make(plans, p->option.cnt, (unsigned)node_warm_sum(p->conf.node).booting,
                   p->conf.booting_max, adit_clock_mono_ns());
    for (size_t i = 0; i < p->option.cnt; i++) {
        p->rows[i].plan = plans[i];
        if (entries[i])
            act(p, &p->rows[i], entries[i]);
    }
}

void warm_pool_close(struct warm_pool *p)
{
    p->state = OVER;
    net_deadline_cancel(&p->due);
    net_task_cancel(&p->tend);
}

static void finish_drain(struct warm_pool *p)
{
    uint64_t left = node_warm_sum(p->conf.node).cnt;
    warm_pool_close(p);
    if (left)
        adit_log(ADIT_LOG_WARN, "warm_sandboxes_left", LOG_U("count", left));
    p->on_drained(p->user);
}

static void on_tend(struct net_task *t)
{
    struct warm_pool *p = ADIT_CONTAINER_OF(t, struct warm_pool, tend);
    if (p->state == TENDING) {
        net_deadline_arm(&p->due, WARM_POOL_LOOK_MS);
        tend_rows(p);
    } else if (p->state == DRAINING) {
        end_unwanted(p, NULL);
        if (node_warm_sum(p->conf.node).cnt == 0)
            finish_drain(p);
    }
}

static void on_due(struct net_deadline *d)
{
    struct warm_pool *p = ADIT_CONTAINER_OF(d, struct warm_pool, due);
    if (p->state == DRAINING)
        finish_drain(p);
    else
        net_task_post(&p->tend);
}

void warm_pool_changed(struct warm_pool *p, const struct sandbox *s)
{
    const struct record *r = node_record(s);
    for (size_t i = 0; i < p->option.cnt; i++) {
        struct row *row = &p->rows[i];
        const struct template_dir_entry *e = template_of(p, row);
        const struct node_warm_kind kind = {e ? e->info.template_id : "", NULL,
                                            isolation_of(p, e, row->option->isolation)};
        if (!node_warm_is_kind(s, &kind))
            continue;
        if (r->state == SANDBOX_RUNNING) {
            row->claims++;
            warm_plan_succeeded(&row->plan);
        } else if (r->state == SANDBOX_FAILED && !r->team_id[0]) {
            failed(row, r->reason);
        }
        break;
    }
    if (p->state != OVER)
        net_task_post(&p->tend);
}

/* ---- handing out ---- */

/* The row of a template, as a create names it. */
static struct row *find_row(struct warm_pool *p, const struct template_dir_entry *e,
                            const char *isolation)
{
    for (size_t i = 0; i < p->option.cnt; i++)
        if (is_row_for(p, &p->rows[i], e, isolation_of(p, e, isolation)))
            return &p->rows[i];
    return NULL;
}

bool warm_pool_take(struct warm_pool *p, const char *template_ref, const char *isolation,
                    char out[SANDBOX_ID_CAP])
{
    const struct template_dir_entry *e =
        template_dir_resolve(p->conf.templates, adit_view_str(template_ref));
    struct row *r = e && p->state == TENDING ? find_row(p, e, isolation) : NULL;
    const char *id = NULL;
    if (!r)
        return false;
    const struct node_warm_kind kind = kind_of(p, r, e);
    if (template_dir_is_current(e))
        id = node_warm_take(p->conf.node, &kind);
    else
        net_task_post(&p->tend);
    r->misses += id == NULL;
    if (id)
        (void)snprintf(out, SANDBOX_ID_CAP, "%s", id); /* an id */
    return id != NULL;
}

void warm_pool_give_back(struct warm_pool *p, const char *sandbox_id)
{
    node_warm_give_back(p->conf.node, sandbox_id);
    net_task_post(&p->tend);
}

/* ---- the rest ---- */

bool warm_pool_measure(const struct warm_pool *p, size_t i, struct warm_pool_figures *out)
{
    if (i >= p->option.cnt)
        return false;
    struct row now = p->rows[i];
    const struct template_dir_entry *e = template_of(p, &now);
    count(p, &now, e);
    *out = (struct warm_pool_figures){.ref = now.option->ref,
                                      .isolation = isolation_of(p, e, now.option->isolation),
                                      .wanted = now.option->count,
                                      .ready = now.plan.ready,
                                      .booting = now.plan.booting,
                                      .claims = now.claims,
                                      .misses = now.misses,
                                      .boots = now.boots,
                                      .failures = now.failures};
    return true;
}

int warm_pool_new(const struct warm_pool_conf *conf, struct warm_pool **out, struct adit_err *err)
{
    struct warm_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the warm pool");
    int rc = warm_option_parse(conf->option, &p->option, err);
    if (rc) {
        free(p);
        return rc;
    }
    p->conf = *conf;
    for (size_t i = 0; i < p->option.cnt; i++)
        p->rows[i].option = &p->option.rows[i];
    net_deadline_init(&p->due, conf->loop, on_due);
    net_task_init(&p->tend, conf->loop, on_tend);
    *out = p;
    return 0;
}

void warm_pool_start(struct warm_pool *p)
{
    if (p->state == LOADED)
        p->state = TENDING;
    if (p->state == TENDING)
        net_task_post(&p->tend);
}

void warm_pool_drain(struct warm_pool *p, void (*on_done)(void *user), void *user)
{
    p->on_drained = on_done;
    p->user = user;
    p->state = DRAINING;
    net_deadline_arm(&p->due, WARM_POOL_DRAIN_MS);
    net_task_post(&p->tend);
}

void warm_pool_free(struct warm_pool *p)
{
    free(p);
}
