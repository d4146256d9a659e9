/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes that are booted before anybody asks for them.
 *
 * Theory of operation
 *
 * What: sandbox.c has the way of such a sandbox through its phases; here they are begun, counted,
 * and handed out. How many there should be is the pool's business (warm_pool.c).
 *
 *   booting ──> waiting ──take──> in hand ──claim──> as any other
 *                  ^─────give back────'
 *
 * Handing out: taking is a mark, so that creates that come together get different ones. It is in
 * the claim's file, too, before the guest is told anything (while the scheduler is asked for the
 * place), so a broker that is killed leaves either one that no create had in hand, which may wait
 * on, or one that is ended. The next text in that file is the record of the running sandbox.
 * Failure: a claim that cannot be made ends the sandbox; it may have been told a part.
 */
#include "broker/node/node_warm.h"

#include <stdio.h>

#include "broker/node/sandbox.h"

/* ---- counting ---- */

static bool is_waiting(const struct sandbox *s)
{
    return s->phase == SANDBOX_PHASE_WARM && !s->is_ending;
}

bool node_warm_is_kind(const struct sandbox *s, const struct node_warm_kind *kind)
{
    const struct record *r = &s->record;
    return strcmp(r->template_id, kind->template_id) == 0 &&
           strcmp(s->vmm->isolation, kind->isolation) == 0 &&
           (!kind->build_id || strcmp(r->warm_build_id, kind->build_id) == 0);
}

/* The next that is nobody's, in whatever phase. */
static struct sandbox *next_unclaimed(const struct node *n, size_t *pos)
{
    struct adit_view id;
    void *s;
    while (adit_map_next(&n->sandboxes, pos, &id, &s))
        if (sandbox_is_unclaimed(s))
            return s;
    return NULL;
}

bool node_warm_is_ready(const struct sandbox *s)
{
    return is_waiting(s) && !s->is_taken;
}

struct sandbox *node_warm_next(const struct node *n, size_t *pos)
{
    struct sandbox *s;
    while ((s = next_unclaimed(n, pos)))
        if (!s->is_ending && !s->is_taken)
            return s;
    return NULL;
}

struct node_warm_counts node_warm_count(const struct node *n, const struct node_warm_kind *kind)
{
    struct node_warm_counts counts = {0};
    const struct sandbox *s;
    size_t pos = 0;
    while ((s = next_unclaimed(n, &pos))) {
        if (!node_warm_is_kind(s, kind) || s->is_ending)
            continue;
        counts.ready += is_waiting(s);
        counts.taken += is_waiting(s) && s->is_taken;
        counts.booting += s->phase < SANDBOX_PHASE_WARM;
    }
    return counts;
}

struct node_warm_sum node_warm_sum(const struct node *n)
{
    struct node_warm_sum sum = {0};
    const struct sandbox *s;
    size_t pos = 0;
    while ((s = next_unclaimed(n, &pos))) {
        sum.cnt++;
        sum.booting += s->phase < SANDBOX_PHASE_WARM && !s->is_ending;
        sum.cpu_cnt += s->record.cpu_count;
        sum.memory_mb += s->record.memory_mb;
        sum.disk_mb += s->record.disk_mb;
    }
    return sum;
}

void node_warm_changed(struct sandbox *s)
{
    const struct node_conf *conf = &s->node->conf;
    if (s->is_pooled && conf->ops->warm_changed)
        conf->ops->warm_changed(conf->owner, s);
}

/* ---- booting ---- */

/* As its record is to be until it has an owner. */
static int describe_nobodys(struct sandbox *s, const struct node_create *spec,
                            const struct node_warm_kind *kind, struct adit_err *err)
{
    const struct node_create nobodys = {.team_id = "",
                                        .key_id = "",
                                        .mask_host = "",
                                        .default_user = "",
                                        .default_workdir = "",
                                        .template_id = spec->template_id,
                                        .alias = spec->alias,
                                        .template_dir = spec->template_dir,
                                        .cpu_count = spec->cpu_count,
                                        .memory_mb = spec->memory_mb,
                                        .disk_mb = spec->disk_mb};
    int rc = node_describe_sandbox(s, &nobodys, err);
    (void)snprintf(s->record.warm_build_id, sizeof(s->record.warm_build_id), "%s",
                   kind->build_id); /* a UUID */
    return rc;
}

int node_warm_boot(struct node *n, const struct node_create *spec,
                   const struct node_warm_kind *kind, struct adit_err *err)
{
    if (n->is_stopping)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "this node is stopping");
    struct vmm *vmm = vmm_set_choose(n->conf.vmms, kind->isolation);
    if (!vmm)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "this host has no isolation '%s'",
                            kind->isolation);
    struct sandbox *s = sandbox_new(n, spec->sandbox_id);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    s->vmm = vmm;
    s->is_pooled = true;
    int rc = describe_nobodys(s, spec, kind, err);
    if (rc == 0)
        rc = node_admit_sandbox(s, err);
    if (rc)
        sandbox_free(s);
    return rc;
}

/* ---- handing out ---- */

static struct sandbox *find_taken(const struct node *n, const char *sandbox_id)
{
    struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    return s && s->is_taken && is_waiting(s) ? s : NULL;
}

const char *node_warm_take(struct node *n, const struct node_warm_kind *kind)
{
    struct sandbox *s;
    size_t pos = 0;
    while (!n->is_stopping && (s = node_warm_next(n, &pos))) {
        if (node_warm_is_ready(s) && node_warm_is_kind(s, kind) && sandbox_mark_taken(s, true) == 0)
            return s->record.sandbox_id;
    }
    return NULL;
}

void node_warm_give_back(struct node *n, const char *sandbox_id)
{
    struct sandbox *s = find_taken(n, sandbox_id);
    if (s && sandbox_mark_taken(s, false))
        sandbox_end(s, SANDBOX_KILLED, "it could not be put back");
}

void node_warm_end(struct node *n, const char *sandbox_id, const char *reason)
{
    struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    if (s && sandbox_is_unclaimed(s))
        sandbox_end(s, SANDBOX_KILLED, reason);
}

static bool is_asked_for(const struct sandbox *s, const struct node_create *spec)
{
    const struct record *r = &s->record;
    const struct vmm *vmm = vmm_set_choose(s->node->conf.vmms, spec->isolation);
    return vmm && strcmp(vmm->isolation, s->vmm->isolation) == 0 &&
           strcmp(r->template_id, spec->template_id) == 0 && r->cpu_count == spec->cpu_count &&
           r->memory_mb == spec->memory_mb && r->disk_mb == spec->disk_mb;
}

int node_warm_claim(struct node *n, const struct node_create *spec, node_created_fn on_done,
                    void *user, struct adit_err *err)
{
    struct sandbox *s = find_taken(n, spec->sandbox_id);
    int rc = 0;
    if (!s || !is_asked_for(s, spec))
        rc = adit_err_set(err, ADIT_ERR_UNAVAILABLE, "the sandbox that waited cannot be used");
    if (rc == 0)
        rc = node_describe_sandbox(s, spec, err);
    if (rc) {
        if (s)
            sandbox_end(s, SANDBOX_KILLED, "it could not be claimed");
        return rc;
    }
    s->created = on_done;
    s->created_user = user;
    sandbox_begin_claim(s);
    return 0;
}
