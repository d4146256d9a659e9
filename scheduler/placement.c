/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node a new sandbox goes to.
 *
 * Theory of operation
 *
 * What: every node is judged; of those that fit two are drawn and the better one is taken. Two
 * random candidates spread load nearly as well as looking at all, and creates that come together do
 * not all run to the same emptiest node. The node's own admission has the last word; a node that
 * refused is excluded in the next try.
 *
 * The order of the filters is the order of what an operator can do about it: a node that is not
 * heard of is nothing else, one that drains is not called full, and one that could never take the
 * sandbox (isolation, size) is not called full either.
 *
 * What a node has booted for creates to come takes room as its sandboxes do. A sandbox that is one
 * of those goes where it waits, and needs no room beside its own.
 *
 * Failure: the error counts nodes by filter, with the first node of each as example.
 */
#include "scheduler/placement.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const verdict_words[PLACEMENT_VERDICT_CNT] = {
    [PLACEMENT_FITS] = "fit",          [PLACEMENT_UNREACHABLE] = "unreachable",
    [PLACEMENT_DRAINING] = "draining", [PLACEMENT_INCOMPATIBLE] = "incompatible",
    [PLACEMENT_FULL] = "full",
};

struct dimension {
    const char *what, *unit;
    uint64_t need, used, capacity;
};

#define DIMENSION_CNT 4

static void measure(const struct registry_node *n, const Scheduler__Template *t,
                    struct dimension out[DIMENSION_CNT])
{
    static const Scheduler__Resources none = SCHEDULER__RESOURCES__INIT;
    const Scheduler__Resources *cap = n->info->capacity;
    const Scheduler__Resources *need = t->resources;
    const Scheduler__Resources *warm = n->info->warm ? n->info->warm : &none;
    out[0] = (struct dimension){"CPUs", "", need->cpu_count, n->used.cpu_cnt + warm->cpu_count,
                                cap->cpu_count};
    out[1] = (struct dimension){"memory", " MiB", need->memory_mb,
                                n->used.memory_mb + warm->memory_mb, cap->memory_mb};
    out[2] = (struct dimension){"disk", " MiB", need->disk_mb, n->used.disk_mb + warm->disk_mb,
                                cap->disk_mb};
    out[3] = (struct dimension){"sandboxes", "", 1, n->used.sandbox_cnt + n->info->warm_cnt,
                                n->info->sandbox_max};
}

static uint64_t free_of(const struct dimension *d)
{
    if (d->capacity == 0) /* the node does not count it */
        return UINT64_MAX;
    return d->used < d->capacity ? d->capacity - d->used : 0;
}

static bool is_excluded(const struct registry_node *n, const struct placement_need *need)
{
    for (size_t i = 0; i < need->excluded_cnt; i++) {
        if (strcmp(need->excluded[i], n->info->node_id) == 0)
            return true;
    }
    return false;
}

static bool has_word(char *const *words, size_t cnt, const char *word)
{
    for (size_t i = 0; i < cnt; i++) {
        if (strcmp(words[i], word) == 0)
            return true;
    }
    return false;
}

static enum placement_verdict judge_size(const struct registry_node *n,
                                         const struct placement_need *need, char *why)
{
    struct dimension d[DIMENSION_CNT];
    measure(n, need->template, d);
    for (size_t i = 0; i < DIMENSION_CNT; i++) {
        if (d[i].capacity == 0 || d[i].need <= d[i].capacity)
            continue;
        (void)snprintf(why, PLACEMENT_WHY_CAP, "%s: %" PRIu64 "%s needed, has %" PRIu64, d[i].what,
                       d[i].need, d[i].unit, d[i].capacity); /* fits */
        return PLACEMENT_INCOMPATIBLE;
    }
    for (size_t i = 0; i < DIMENSION_CNT; i++) {
        if (d[i].need <= free_of(&d[i]))
            continue;
        (void)snprintf(why, PLACEMENT_WHY_CAP,
                       "%s: %" PRIu64 "%s needed, %" PRIu64 " of %" PRIu64 " free", d[i].what,
                       d[i].need, d[i].unit, free_of(&d[i]), d[i].capacity); /* fits */
        return PLACEMENT_FULL;
    }
    return PLACEMENT_FITS;
}

/* It has its room where it waits, and nothing elsewhere. */
static enum placement_verdict judge_warm(const struct registry_node *n,
                                         const struct placement_need *need, char *why)
{
    if (strcmp(need->warm_node_id, n->info->node_id) == 0)
        return PLACEMENT_FITS;
    (void)snprintf(why, PLACEMENT_WHY_CAP, "the sandbox waits on another node"); /* fits */
    return PLACEMENT_INCOMPATIBLE;
}

enum placement_verdict placement_judge(const struct registry_node *n,
                                       const struct placement_need *need,
                                       char why[PLACEMENT_WHY_CAP])
{
    uint64_t silent_ms = need->now_ms - n->heard_ms;
    why[0] = '\0';
    if (silent_ms > need->unreachable_ms) {
        (void)snprintf(why, PLACEMENT_WHY_CAP, "not heard of for %" PRIu64 " s",
                       silent_ms / 1000); /* fits */
        return PLACEMENT_UNREACHABLE;
    }
    if (n->is_drained || n->info->state != SCHEDULER__NODE_STATE__NODE_STATE_READY)
        return PLACEMENT_DRAINING;
    if (need->isolation[0] &&
        !has_word(n->info->isolations, n->info->n_isolations, need->isolation)) {
        (void)snprintf(why, PLACEMENT_WHY_CAP, "no isolation '%.32s'", need->isolation); /* fits */
        return PLACEMENT_INCOMPATIBLE;
    }
    if (need->warm_node_id[0])
        return judge_warm(n, need, why);
    enum placement_verdict verdict = judge_size(n, need, why);
    if (verdict == PLACEMENT_FITS && is_excluded(n, need)) {
        (void)snprintf(why, PLACEMENT_WHY_CAP, "refused this sandbox itself"); /* fits */
        return PLACEMENT_FULL;
    }
    return verdict;
}

/* Thousandths of the scarcest resource that are used once the sandbox is there. */
static uint64_t fill_of(const struct registry_node *n, const Scheduler__Template *t)
{
    struct dimension d[DIMENSION_CNT];
    uint64_t worst = 0;
    measure(n, t, d);
    for (size_t i = 0; i < DIMENSION_CNT; i++) {
        uint64_t fill = d[i].capacity ? (d[i].used + d[i].need) * 1000 / d[i].capacity : 0;
        if (fill > worst)
            worst = fill;
    }
    return worst;
}

static struct registry_node *better_of(struct registry_node *a, struct registry_node *b,
                                       const Scheduler__Template *t)
{
    bool a_has = has_word(a->info->template_ids, a->info->n_template_ids, t->template_id);
    bool b_has = has_word(b->info->template_ids, b->info->n_template_ids, t->template_id);
    if (a_has != b_has)
        return a_has ? a : b;
    return fill_of(a, t) <= fill_of(b, t) ? a : b;
}

/* What the filters left over. @example, @why: the first node that fell to each. */
struct tally {
    struct registry_node *fitting[REGISTRY_NODES_MAX];
    size_t cnt[PLACEMENT_VERDICT_CNT];
    const char *example[PLACEMENT_VERDICT_CNT];
    char why[PLACEMENT_VERDICT_CNT][PLACEMENT_WHY_CAP];
};

static void judge_all(struct registry_node *const *nodes, size_t node_cnt,
                      const struct placement_need *need, struct tally *t)
{
    for (size_t i = 0; i < node_cnt && i < REGISTRY_NODES_MAX; i++) {
        char why[PLACEMENT_WHY_CAP];
        enum placement_verdict v = placement_judge(nodes[i], need, why);
        if (v == PLACEMENT_FITS)
            t->fitting[t->cnt[v]] = nodes[i];
        if (t->cnt[v]++ == 0) {
            t->example[v] = nodes[i]->info->node_id;
            memcpy(t->why[v], why, sizeof(why));
        }
    }
}

static int refuse(const struct tally *t, size_t node_cnt, struct placement_counters *counters,
                  struct adit_err *err)
{
    char text[ADIT_ERR_MSG_CAP] = "";
    size_t len = 0;
    for (int v = PLACEMENT_FITS + 1; v < PLACEMENT_VERDICT_CNT; v++) {
        if (!t->cnt[v])
            continue;
        counters->refused[v]++;
        int n = snprintf(text + len, sizeof(text) - len, "%s%zu %s (%s%s%s)", len ? "; " : "",
                         t->cnt[v], verdict_words[v], t->example[v], t->why[v][0] ? ": " : "",
                         t->why[v]);
        if (n > 0)
            len += (size_t)n;
        if (len >= sizeof(text))
            len = sizeof(text) - 1; /* cut: the rest no longer fits */
    }
    if (!node_cnt)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "no node is available: none is registered");
    return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "no node is available: of %zu, %s", node_cnt,
                        text);
}

int placement_choose(struct registry_node *const *nodes, size_t node_cnt,
                     const struct placement_need *need, struct placement_counters *counters,
                     struct registry_node **out, struct adit_err *err)
{
    struct tally t;
    memset(&t, 0, sizeof(t));
    judge_all(nodes, node_cnt, need, &t);
    size_t cnt = t.cnt[PLACEMENT_FITS];
    if (!cnt)
        return refuse(&t, node_cnt, counters, err);
    size_t a = (size_t)(need->random & UINT32_MAX) % cnt;
    size_t b = cnt == 1 ? a : (a + 1 + (size_t)(need->random >> 32) % (cnt - 1)) % cnt;
    *out = better_of(t.fitting[a], t.fitting[b], need->template);
    counters->placed++;
    return 0;
}
