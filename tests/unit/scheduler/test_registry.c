/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, sandboxes, the sums per node, and the times of claims. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "scheduler/message.h"
#include "scheduler/registry.h"

#define TTL_MS 30000

static Scheduler__Node *node(const char *id, const char *incarnation, uint32_t sandbox_cnt)
{
    Scheduler__Node n;
    Scheduler__Resources capacity;
    char node_id[32], inc[32];
    scheduler__node__init(&n);
    scheduler__resources__init(&capacity);
    snprintf(node_id, sizeof(node_id), "%s", id);
    snprintf(inc, sizeof(inc), "%s", incarnation);
    n.node_id = node_id;
    n.incarnation = inc;
    n.capacity = &capacity;
    n.sandbox_cnt = sandbox_cnt;
    return message_clone(&n.base);
}

static int put(struct registry *r, const char *id, const char *node_id, bool is_confirmed,
               uint64_t now_ms)
{
    Scheduler__Store__SandboxRecord record;
    Scheduler__RunningSandbox sandbox;
    Scheduler__Resources resources;
    char sandbox_id[32], on[32];
    scheduler__store__sandbox_record__init(&record);
    scheduler__running_sandbox__init(&sandbox);
    scheduler__resources__init(&resources);
    snprintf(sandbox_id, sizeof(sandbox_id), "%s", id);
    snprintf(on, sizeof(on), "%s", node_id);
    resources.cpu_count = 2;
    resources.memory_mb = 512;
    resources.disk_mb = 100;
    sandbox.sandbox_id = sandbox_id;
    sandbox.resources = &resources;
    record.sandbox = &sandbox;
    record.node_id = on;
    record.is_confirmed = is_confirmed;
    return registry_put_sandbox(r, message_clone(&record.base), now_ms, NULL);
}

static void start(struct registry *r)
{
    registry_init(r, TTL_MS);
    ck_assert_int_eq(registry_put_node(r, node("n1", "a", 0), 0, NULL), 0);
    ck_assert_int_eq(registry_put_node(r, node("n2", "b", 0), 0, NULL), 0);
}

static void used_is(const struct registry *r, const char *node_id, uint64_t sandbox_cnt)
{
    const struct registry_amount *u = &registry_find_node(r, node_id)->used;
    ck_assert_uint_eq(u->sandbox_cnt, sandbox_cnt);
    ck_assert_uint_eq(u->cpu_cnt, 2 * sandbox_cnt);
    ck_assert_uint_eq(u->memory_mb, 512 * sandbox_cnt);
    ck_assert_uint_eq(u->disk_mb, 100 * sandbox_cnt);
}

START_TEST(registry_sums_what_is_on_a_node)
{
    struct registry r;
    start(&r);
    ck_assert_int_eq(put(&r, "s1", "n1", false, 0), 0);
    ck_assert_int_eq(put(&r, "s2", "n1", true, 0), 0);
    used_is(&r, "n1", 2);
    ck_assert_int_eq(put(&r, "s1", "n2", true, 0), 0); /* it moves */
    used_is(&r, "n1", 1);
    used_is(&r, "n2", 1);
    registry_drop_sandbox(&r, adit_view_str("s1"));
    registry_drop_sandbox(&r, adit_view_str("s1"));
    used_is(&r, "n2", 0);
    ck_assert_uint_eq(r.sandbox_cnt, 1);
    ck_assert_ptr_null(registry_find(&r, adit_view_str("s1")));
    registry_fini(&r);
}
END_TEST

START_TEST(registry_counts_reservations_like_records)
{
    struct registry r;
    Scheduler__Resources need;
    Scheduler__RunningSandbox s;
    char team[] = "red", key[] = "k1";
    start(&r);
    scheduler__resources__init(&need);
    scheduler__running_sandbox__init(&s);
    s.resources = &need;
    s.team_id = team;
    s.key_id = key;
    need.cpu_count = 2;
    need.memory_mb = 512;
    need.disk_mb = 100;
    ck_assert_int_eq(registry_reserve(&r, registry_find_node(&r, "n1"), &s), 0);
    used_is(&r, "n1", 1);
    ck_assert_uint_eq(quota_team_cnt(&r.quota, "red"), 1);
    ck_assert_uint_eq(quota_key_cnt(&r.quota, "k1"), 1);
    registry_unreserve(&r, registry_find_node(&r, "n1"), &s);
    used_is(&r, "n1", 0);
    ck_assert_uint_eq(quota_team_cnt(&r.quota, "red"), 0);
    ck_assert_uint_eq(r.quota.keys.len + r.quota.teams.len, 0);
    registry_fini(&r);
}
END_TEST

START_TEST(registry_refuses_records_that_are_not_whole)
{
    struct registry r;
    Scheduler__Store__SandboxRecord record;
    Scheduler__Node bare;
    start(&r);
    scheduler__store__sandbox_record__init(&record);
    scheduler__node__init(&bare);
    ck_assert_int_eq(put(&r, "s1", "unknown", true, 0), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(registry_put_sandbox(&r, message_clone(&record.base), 0, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(registry_put_node(&r, message_clone(&bare.base), 0, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(r.sandbox_cnt, 0);
    registry_fini(&r);
}
END_TEST

static int hear(struct registry *r, const char *id, const char *incarnation, uint32_t cnt,
                uint64_t now_ms)
{
    Scheduler__Node *n = node(id, incarnation, cnt);
    int rc = registry_hear(r, n, now_ms, NULL);
    message_free(n);
    return rc;
}

START_TEST(registry_hears_only_the_incarnation_that_is_registered)
{
    struct registry r;
    start(&r);
    ck_assert_int_eq(hear(&r, "n1", "a", 0, 5), 0);
    ck_assert_uint_eq(registry_find_node(&r, "n1")->heard_ms, 5);
    ck_assert_int_eq(hear(&r, "n1", "other", 0, 9), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(hear(&r, "n3", "a", 0, 9), ADIT_ERR_NOT_FOUND);
    ck_assert_uint_eq(registry_find_node(&r, "n1")->heard_ms, 5);
    ck_assert_int_eq(registry_put_node(&r, node("n1", "other", 0), 9, NULL), 0);
    ck_assert_int_eq(hear(&r, "n1", "other", 0, 10), 0);
    ck_assert_int_eq(hear(&r, "n1", "a", 0, 11), ADIT_ERR_NOT_FOUND);
    ck_assert_uint_eq(r.node_cnt, 2);
    registry_fini(&r);
}
END_TEST

START_TEST(registry_asks_for_the_list_when_counts_stay_different)
{
    struct registry r;
    start(&r);
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i < REGISTRY_MISMATCHES_MAX; i++)
            ck_assert_int_eq(hear(&r, "n1", "a", 1, 0), 0);
        if (round == 0)
            ck_assert_int_eq(hear(&r, "n1", "a", 0, 0), 0); /* well again in time */
    }
    ck_assert_int_eq(hear(&r, "n1", "a", 1, 0), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(hear(&r, "n1", "a", 1, 0), 0);
    registry_fini(&r);
}
END_TEST

START_TEST(registry_yields_claims_in_the_order_they_are_due)
{
    struct registry r;
    struct registry_sandbox *s;
    start(&r);
    ck_assert_int_eq(put(&r, "s1", "n1", false, 1000), 0);
    ck_assert_int_eq(put(&r, "s2", "n1", true, 1000), 0);
    ck_assert_int_eq(put(&r, "s3", "n1", false, 2000), 0);
    ck_assert_ptr_null(registry_due_claim(&r, 1000 + TTL_MS - 1));
    s = registry_due_claim(&r, 1000 + TTL_MS);
    ck_assert_str_eq(s->record->sandbox->sandbox_id, "s1");
    registry_postpone(&r, s, 1000 + TTL_MS);
    ck_assert_ptr_null(registry_due_claim(&r, 1000 + TTL_MS));
    s = registry_due_claim(&r, 2000 + TTL_MS);
    ck_assert_str_eq(s->record->sandbox->sandbox_id, "s3");
    ck_assert_int_eq(put(&r, "s3", "n1", true, 3000), 0); /* confirmed: never due */
    s = registry_due_claim(&r, UINT64_MAX);
    ck_assert_str_eq(s->record->sandbox->sandbox_id, "s1");
    registry_drop_sandbox(&r, adit_view_str("s1"));
    ck_assert_ptr_null(registry_due_claim(&r, UINT64_MAX));
    registry_fini(&r);
}
END_TEST

SUITE_MAIN("registry", registry_sums_what_is_on_a_node, registry_counts_reservations_like_records,
           registry_refuses_records_that_are_not_whole,
           registry_hears_only_the_incarnation_that_is_registered,
           registry_asks_for_the_list_when_counts_stay_different,
           registry_yields_claims_in_the_order_they_are_due)
