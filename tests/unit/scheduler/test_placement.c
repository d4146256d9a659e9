/* SPDX-License-Identifier: Apache-2.0 */
/* Which node is chosen, which falls to which filter, and how a refusal explains itself. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "scheduler/message.h"
#include "scheduler/placement.h"

#define NOW_MS 100000
#define UNREACHABLE_MS 6000

static char template_id[] = "t1";
static Scheduler__Resources needed;
static Scheduler__Template template;

static struct placement_need need_of(uint32_t cpus, uint64_t memory_mb, uint64_t disk_mb)
{
    struct placement_need need = {&template, "", NULL, 0, "", NOW_MS, UNREACHABLE_MS, 0};
    scheduler__resources__init(&needed);
    scheduler__template__init(&template);
    needed.cpu_count = cpus;
    needed.memory_mb = memory_mb;
    needed.disk_mb = disk_mb;
    template.template_id = template_id;
    template.resources = &needed;
    return need;
}

/* A node with 8 CPUs, 1000 MiB of memory, 5000 MiB of disk and room for 4 sandboxes. */
struct test_node {
    struct registry_node node;
    Scheduler__Node info;
    Scheduler__Resources capacity;
    char id[16], *isolation, *template_id;
};

static char container[] = "container";

static struct registry_node *node_init(struct test_node *n, const char *id)
{
    memset(n, 0, sizeof(*n));
    scheduler__node__init(&n->info);
    scheduler__resources__init(&n->capacity);
    snprintf(n->id, sizeof(n->id), "%s", id);
    n->isolation = container;
    n->template_id = template_id;
    n->capacity.cpu_count = 8;
    n->capacity.memory_mb = 1000;
    n->capacity.disk_mb = 5000;
    n->info.node_id = n->id;
    n->info.state = SCHEDULER__NODE_STATE__NODE_STATE_READY;
    n->info.capacity = &n->capacity;
    n->info.sandbox_max = 4;
    n->info.n_isolations = 1;
    n->info.isolations = &n->isolation;
    n->node.info = &n->info;
    n->node.heard_ms = NOW_MS;
    return &n->node;
}

static const struct verdict_case {
    const char *name;
    uint64_t heard_ms;
    int draining;
    struct registry_amount used;
    uint32_t cpus;
    uint64_t memory_mb, disk_mb;
    const char *isolation;
    enum placement_verdict verdict;
    const char *why;
} cases[] = {
    {"empty", NOW_MS, 0, {0}, 2, 512, 100, "", PLACEMENT_FITS, ""},
    {"exactly", NOW_MS, 0, {6, 488, 4900, 3}, 2, 512, 100, "", PLACEMENT_FITS, ""},
    {"in time", NOW_MS - 6000, 0, {0}, 1, 1, 1, "", PLACEMENT_FITS, ""},
    {"too late", NOW_MS - 6001, 0, {0}, 1, 1, 1, "", PLACEMENT_UNREACHABLE, "not heard of for 6 s"},
    {"silent and draining",
     0,
     1,
     {0},
     1,
     1,
     1,
     "",
     PLACEMENT_UNREACHABLE,
     "not heard of for 100 s"},
    {"draining", NOW_MS, 1, {0}, 1, 1, 1, "", PLACEMENT_DRAINING, ""},
    {"draining and full", NOW_MS, 1, {8, 0, 0, 0}, 1, 1, 1, "", PLACEMENT_DRAINING, ""},
    {"its isolation", NOW_MS, 0, {0}, 1, 1, 1, "container", PLACEMENT_FITS, ""},
    {"other isolation", NOW_MS, 0, {0}, 1, 1, 1, "vm", PLACEMENT_INCOMPATIBLE, "no isolation 'vm'"},
    {"never enough CPUs",
     NOW_MS,
     0,
     {0},
     9,
     1,
     1,
     "",
     PLACEMENT_INCOMPATIBLE,
     "CPUs: 9 needed, has 8"},
    {"never enough memory",
     NOW_MS,
     0,
     {0},
     1,
     1001,
     1,
     "",
     PLACEMENT_INCOMPATIBLE,
     "memory: 1001 MiB needed, has 1000"},
    {"CPUs", NOW_MS, 0, {7, 0, 0, 0}, 2, 1, 1, "", PLACEMENT_FULL, "CPUs: 2 needed, 1 of 8 free"},
    {"memory",
     NOW_MS,
     0,
     {0, 900, 0, 0},
     1,
     101,
     1,
     "",
     PLACEMENT_FULL,
     "memory: 101 MiB needed, 100 of 1000 free"},
    {"disk",
     NOW_MS,
     0,
     {0, 0, 5000, 0},
     1,
     1,
     1,
     "",
     PLACEMENT_FULL,
     "disk: 1 MiB needed, 0 of 5000 free"},
    {"count",
     NOW_MS,
     0,
     {0, 0, 0, 4},
     1,
     1,
     1,
     "",
     PLACEMENT_FULL,
     "sandboxes: 1 needed, 0 of 4 free"},
    {"more used than there is",
     NOW_MS,
     0,
     {99, 0, 0, 0},
     1,
     1,
     1,
     "",
     PLACEMENT_FULL,
     "CPUs: 1 needed, 0 of 8 free"},
};

START_TEST(placement_judges_by_table)
{
    const struct verdict_case *c = &cases[_i];
    struct test_node n;
    struct placement_need need = need_of(c->cpus, c->memory_mb, c->disk_mb);
    char why[PLACEMENT_WHY_CAP];
    node_init(&n, "n1");
    n.node.heard_ms = c->heard_ms;
    n.node.used = c->used;
    if (c->draining)
        n.info.state = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    need.isolation = c->isolation;
    ck_assert_msg(placement_judge(&n.node, &need, why) == c->verdict, "%s: %s", c->name, why);
    ck_assert_str_eq(why, c->why);
}
END_TEST

START_TEST(placement_does_not_count_what_a_node_does_not_count)
{
    struct test_node n;
    struct placement_need need = need_of(2, 512, 100000);
    char why[PLACEMENT_WHY_CAP];
    node_init(&n, "n1");
    n.capacity.disk_mb = 0;
    n.info.sandbox_max = 0;
    n.node.used = (struct registry_amount){0, 0, 1000000, 1000};
    ck_assert_int_eq(placement_judge(&n.node, &need, why), PLACEMENT_FITS);
}
END_TEST

START_TEST(placement_takes_a_refusal_of_the_node_itself_for_full)
{
    struct test_node n;
    struct placement_need need = need_of(1, 1, 1);
    char other[] = "n2", same[] = "n1", *excluded[] = {other, same};
    char why[PLACEMENT_WHY_CAP];
    node_init(&n, "n1");
    need.excluded = excluded;
    need.excluded_cnt = 1;
    ck_assert_int_eq(placement_judge(&n.node, &need, why), PLACEMENT_FITS);
    need.excluded_cnt = 2;
    ck_assert_int_eq(placement_judge(&n.node, &need, why), PLACEMENT_FULL);
    ck_assert_str_eq(why, "refused this sandbox itself");
}
END_TEST

START_TEST(placement_explains_a_refusal_by_filter)
{
    struct test_node n[5];
    struct registry_node *nodes[5], *chosen = NULL;
    struct placement_need need = need_of(2, 512, 100);
    struct placement_counters counters = {0};
    struct adit_err err = ADIT_ERR_INIT;
    for (int i = 0; i < 5; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n%d", i);
        nodes[i] = node_init(&n[i], id);
    }
    n[0].node.heard_ms = NOW_MS - 12000;
    n[1].info.state = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    n[2].capacity.cpu_count = 1;
    n[3].node.used.memory_mb = n[4].node.used.memory_mb = 900;
    ck_assert_int_eq(placement_choose(nodes, 5, &need, &counters, &chosen, &err),
                     ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg,
                     "no node is available: of 5, 1 unreachable (n0: not heard of for 12 s); "
                     "1 draining (n1); 1 incompatible (n2: CPUs: 2 needed, has 1); "
                     "2 full (n3: memory: 512 MiB needed, 100 of 1000 free)");
    ck_assert_uint_eq(counters.placed, 0);
    for (int v = PLACEMENT_FITS + 1; v < PLACEMENT_VERDICT_CNT; v++)
        ck_assert_uint_eq(counters.refused[v], 1);
}
END_TEST

START_TEST(placement_says_when_there_is_no_node)
{
    struct registry_node *chosen = NULL;
    struct placement_need need = need_of(1, 1, 1);
    struct placement_counters counters = {0};
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(placement_choose(NULL, 0, &need, &counters, &chosen, &err),
                     ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "no node is available: none is registered");
}
END_TEST

START_TEST(placement_cuts_a_long_explanation)
{
    static struct test_node n[4];
    struct registry_node *nodes[4], *chosen = NULL;
    struct placement_need need = need_of(2, 512, 100);
    struct placement_counters counters = {0};
    struct adit_err err = ADIT_ERR_INIT;
    static char ids[4][201];
    for (int i = 0; i < 4; i++) {
        nodes[i] = node_init(&n[i], "x");
        memset(ids[i], 'a' + i, 200);
        n[i].info.node_id = ids[i];
    }
    n[0].node.heard_ms = 0;
    n[1].info.state = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    n[2].capacity.cpu_count = 1;
    n[3].node.used.memory_mb = 900;
    ck_assert_int_eq(placement_choose(nodes, 4, &need, &counters, &chosen, &err),
                     ADIT_ERR_UNAVAILABLE);
    ck_assert_uint_lt(strlen(err.msg), ADIT_ERR_MSG_CAP);
}
END_TEST

/* Every pair of random halves: two different candidates, and the emptier one wins. */
START_TEST(placement_takes_the_better_of_two)
{
    struct test_node n[3];
    struct registry_node *nodes[3], *chosen = NULL;
    struct placement_need need = need_of(1, 100, 1);
    struct placement_counters counters = {0};
    unsigned won[3] = {0};
    for (int i = 0; i < 3; i++)
        nodes[i] = node_init(&n[i], (const char *[]){"a", "b", "c"}[i]);
    n[0].node.used.memory_mb = 800;
    n[1].node.used.memory_mb = 400;
    for (uint64_t a = 0; a < 3; a++) {
        for (uint64_t b = 0; b < 2; b++) {
            need.random = b << 32 | a;
            ck_assert_int_eq(placement_choose(nodes, 3, &need, &counters, &chosen, NULL), 0);
            for (int i = 0; i < 3; i++)
                won[i] += chosen == nodes[i];
        }
    }
    ck_assert_uint_eq(won[0], 0); /* the fullest is never the better one */
    ck_assert_uint_eq(won[1], 2); /* only against the fullest */
    ck_assert_uint_eq(won[2], 4);
    ck_assert_uint_eq(counters.placed, 6);
}
END_TEST

START_TEST(placement_prefers_a_node_that_has_the_template)
{
    struct test_node n[2];
    struct registry_node *nodes[2] = {node_init(&n[0], "a"), node_init(&n[1], "b")};
    struct registry_node *chosen = NULL;
    struct placement_need need = need_of(1, 1, 1);
    struct placement_counters counters = {0};
    n[1].node.used.memory_mb = 900;
    n[1].info.n_template_ids = 1;
    n[1].info.template_ids = &n[1].template_id;
    for (need.random = 0; need.random < 2; need.random++) {
        ck_assert_int_eq(placement_choose(nodes, 2, &need, &counters, &chosen, NULL), 0);
        ck_assert_ptr_eq(chosen, nodes[1]);
    }
}
END_TEST

START_TEST(placement_counts_what_waits_warm)
{
    struct test_node n;
    struct registry_node *node = node_init(&n, "a");
    struct placement_need need = need_of(4, 100, 100);
    Scheduler__Resources warm;
    char why[PLACEMENT_WHY_CAP];
    scheduler__resources__init(&warm);
    warm.cpu_count = 5;
    warm.memory_mb = 200;
    n.info.warm = &warm;
    n.info.warm_cnt = 1;
    ck_assert_int_eq(placement_judge(node, &need, why), PLACEMENT_FULL);
    ck_assert_str_eq(why, "CPUs: 4 needed, 3 of 8 free");
    registry_take_warm(node, &needed);
    ck_assert_uint_eq(warm.cpu_count, 1);
    ck_assert_uint_eq(warm.memory_mb, 100);
    ck_assert_uint_eq(n.info.warm_cnt, 0);
    ck_assert_int_eq(placement_judge(node, &need, why), PLACEMENT_FITS);
    registry_take_warm(node, &needed); /* none is left */
    ck_assert_uint_eq(warm.cpu_count, 1);
}
END_TEST

START_TEST(placement_leaves_what_waits_warm_where_it_is)
{
    struct test_node n[2];
    struct registry_node *nodes[2] = {node_init(&n[0], "a"), node_init(&n[1], "b")};
    struct registry_node *chosen = NULL;
    struct placement_need need = need_of(2, 512, 100);
    struct placement_counters counters = {0};
    struct adit_err err = ADIT_ERR_INIT;
    n[1].node.used.sandbox_cnt = 4; /* full, but it has its room there */
    need.warm_node_id = "b";
    ck_assert_int_eq(placement_choose(nodes, 2, &need, &counters, &chosen, &err), 0);
    ck_assert_ptr_eq(chosen, nodes[1]);
    n[1].info.state = SCHEDULER__NODE_STATE__NODE_STATE_DRAINING;
    ck_assert_int_eq(placement_choose(nodes, 2, &need, &counters, &chosen, &err),
                     ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "no node is available: of 2, 1 draining (b); 1 incompatible (a: the "
                              "sandbox waits on another node)");
}
END_TEST

SUITE_MAIN_WITH("placement",
                TESTS(placement_does_not_count_what_a_node_does_not_count,
                      placement_takes_a_refusal_of_the_node_itself_for_full,
                      placement_explains_a_refusal_by_filter, placement_says_when_there_is_no_node,
                      placement_cuts_a_long_explanation, placement_takes_the_better_of_two,
                      placement_prefers_a_node_that_has_the_template,
                      placement_counts_what_waits_warm,
                      placement_leaves_what_waits_warm_where_it_is),
                LOOPS({placement_judges_by_table, sizeof(cases) / sizeof(cases[0])}))
