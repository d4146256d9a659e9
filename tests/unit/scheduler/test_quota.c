/* SPDX-License-Identifier: Apache-2.0 */
/* What teams and keys have: counts, buckets, and whose limit counts. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "scheduler/quota.h"

#define S UINT64_C(1000000000)

static Scheduler__RunningSandbox sandbox(char *team, char *key)
{
    Scheduler__RunningSandbox s;
    scheduler__running_sandbox__init(&s);
    s.team_id = team;
    s.key_id = key;
    return s;
}

START_TEST(quota_counts_by_team_and_key)
{
    struct quota q;
    char red[] = "red", blue[] = "blue", k1[] = "k1", none[] = "";
    Scheduler__RunningSandbox a = sandbox(red, k1), b = sandbox(red, none), c = sandbox(blue, k1);
    quota_init(&q);
    ck_assert_int_eq(quota_add(&q, &a) || quota_add(&q, &b) || quota_add(&q, &c), 0);
    ck_assert_uint_eq(quota_team_cnt(&q, "red"), 2);
    ck_assert_uint_eq(quota_team_cnt(&q, "blue"), 1);
    ck_assert_uint_eq(quota_team_cnt(&q, "none"), 0);
    ck_assert_uint_eq(quota_key_cnt(&q, "k1"), 2);
    quota_sub(&q, &a);
    quota_sub(&q, &b);
    quota_sub(&q, &c);
    ck_assert_uint_eq(q.teams.len + q.keys.len, 0); /* nothing is remembered of what is gone */
    quota_fini(&q);
}
END_TEST

static bool take(struct quota *q, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
    bool is_allowed = false;
    ck_assert_int_eq(quota_take_create(q, "k1", rate, burst, now_ns, &is_allowed), 0);
    return is_allowed;
}

START_TEST(quota_gives_a_burst_and_then_the_rate)
{
    struct quota q;
    quota_init(&q);
    for (int i = 0; i < 3; i++)
        ck_assert(take(&q, 1, 3, S));
    ck_assert(!take(&q, 1, 3, S));
    ck_assert(!take(&q, 1, 3, 2 * S - 10));
    ck_assert(take(&q, 1, 3, 2 * S + 10));
    ck_assert(!take(&q, 1, 3, 2 * S + 20));
    ck_assert(take(&q, 5, 0, 2 * S)); /* another limit: at once, and a second's creates */
    for (int i = 0; i < 4; i++)
        ck_assert(take(&q, 5, 0, 2 * S));
    ck_assert(!take(&q, 5, 0, 2 * S));
    ck_assert(take(&q, 0, 0, 2 * S));
    quota_fini(&q);
}
END_TEST

START_TEST(quota_keeps_a_bucket_as_long_as_its_key)
{
    struct quota q;
    char red[] = "red", k1[] = "k1";
    Scheduler__RunningSandbox a = sandbox(red, k1);
    quota_init(&q);
    ck_assert(take(&q, 1, 1, S));
    ck_assert_int_eq(quota_add(&q, &a), 0);
    quota_sub(&q, &a); /* making and ending does not fill it */
    ck_assert(!take(&q, 1, 1, S));
    quota_forget_key(&q, adit_view_str("k1"));
    quota_forget_key(&q, adit_view_str("k2"));
    ck_assert_uint_eq(q.keys.len, 0);
    quota_fini(&q);
}
END_TEST

START_TEST(quota_takes_the_nearest_limit)
{
    Scheduler__Limits base, own;
    scheduler__limits__init(&base);
    scheduler__limits__init(&own);
    base.sandbox_max = 10;
    base.timeout_max_s = 60;
    own.sandbox_max = 3;
    own.create_rate = 7;
    own.create_burst = 8;
    Scheduler__Limits l = quota_limits(&own, &base);
    ck_assert_uint_eq(l.sandbox_max, 3);
    ck_assert_uint_eq(l.create_rate, 7);
    ck_assert_uint_eq(l.create_burst, 8);
    ck_assert_uint_eq(l.timeout_max_s, 60);
    ck_assert_uint_eq(quota_limits(NULL, &base).sandbox_max, 10);
    ck_assert_uint_eq(quota_limits(NULL, NULL).sandbox_max, 0);
}
END_TEST

SUITE_MAIN("quota", quota_counts_by_team_and_key, quota_gives_a_burst_and_then_the_rate,
           quota_keeps_a_bucket_as_long_as_its_key, quota_takes_the_nearest_limit)
