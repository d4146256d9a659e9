/* SPDX-License-Identifier: Apache-2.0 */
/* What the warm pool boots and ends, by counts alone. */
#include "tests/unit/suite.h"

#include "broker/node/warm_plan.h"

#define SECOND UINT64_C(1000000000)

static void make(struct warm_plan *p, unsigned booting, uint64_t now_ns)
{
    warm_plan_make(p, 1, booting, 2, now_ns);
}

static const struct one_case {
    unsigned wanted, ready, taken, booting; /* given */
    unsigned boot, end;                     /* expected, with two places */
} cases[] = {
    {0, 0, 0, 0, 0, 0}, {4, 0, 0, 0, 2, 0}, {4, 0, 0, 1, 1, 0}, {4, 0, 0, 2, 0, 0},
    {4, 3, 0, 0, 1, 0}, {4, 3, 0, 1, 0, 0}, {4, 4, 0, 0, 0, 0}, {4, 4, 4, 0, 0, 0},
    {4, 6, 0, 0, 0, 2}, {4, 6, 5, 0, 0, 1}, {4, 6, 6, 0, 0, 0}, {4, 4, 0, 1, 0, 1},
    {0, 3, 1, 1, 0, 2}, {1, 0, 0, 2, 0, 0},
};

START_TEST(warm_plan_fills_up_and_cuts_back)
{
    const struct one_case *c = &cases[_i];
    struct warm_plan p = {
        .wanted = c->wanted, .ready = c->ready, .taken = c->taken, .booting = c->booting};
    make(&p, c->booting, SECOND);
    ck_assert_uint_eq(p.boot, c->boot);
    ck_assert_uint_eq(p.end, c->end);
}
END_TEST

START_TEST(warm_plan_gives_places_to_who_lacks_most)
{
    struct warm_plan p[3] = {
        {.wanted = 4, .ready = 3}, {.wanted = 100, .ready = 10}, {.wanted = 2, .ready = 0}};
    warm_plan_make(p, 3, 0, 2, SECOND);
    ck_assert_uint_eq(p[0].boot, 0);
    ck_assert_uint_eq(p[1].boot, 1); /* 1 of 2 is more than 10 of 100 */
    ck_assert_uint_eq(p[2].boot, 1);
    warm_plan_make(p, 3, 1, 2, SECOND);
    ck_assert_uint_eq(p[0].boot + p[1].boot + p[2].boot, 1);
    warm_plan_make(p, 3, 2, 2, SECOND);
    ck_assert_uint_eq(p[0].boot + p[1].boot + p[2].boot, 0);
    warm_plan_make(p, 3, 3, 2, SECOND); /* some of a kind that is not wanted any more */
    ck_assert_uint_eq(p[0].boot + p[1].boot + p[2].boot, 0);
}
END_TEST

START_TEST(warm_plan_backs_off_from_failures)
{
    struct warm_plan p = {.wanted = 4};
    uint64_t now = SECOND, wait_s = 1;
    for (int i = 0; i < 10; i++) {
        warm_plan_failed(&p, now);
        make(&p, 0, now + wait_s * SECOND - 1);
        ck_assert_uint_eq(p.boot, 0);
        now += wait_s * SECOND;
        make(&p, 0, now);
        ck_assert_uint_eq(p.boot, 1); /* one, to see */
        wait_s = wait_s * 2 > 60 ? 60 : wait_s * 2;
    }
    p.booting = 1;
    make(&p, 1, now);
    ck_assert_uint_eq(p.boot, 0);
}
END_TEST

START_TEST(warm_plan_takes_what_fails_together_for_one)
{
    struct warm_plan p = {.wanted = 4};
    for (int i = 0; i < 100; i++)
        warm_plan_failed(&p, SECOND);
    ck_assert_uint_eq(p.failures, 1);
    ck_assert_uint_eq(p.retry_ns, 2 * SECOND);
}
END_TEST

START_TEST(warm_plan_forgets_failures_in_time_or_by_use)
{
    struct warm_plan p = {.wanted = 4};
    warm_plan_failed(&p, SECOND);
    make(&p, 0, 2 * SECOND + WARM_PLAN_CALM_MS * UINT64_C(1000000) - 1);
    ck_assert_uint_eq(p.boot, 1);
    make(&p, 0, 2 * SECOND + WARM_PLAN_CALM_MS * UINT64_C(1000000));
    ck_assert_uint_eq(p.failures, 0);
    ck_assert_uint_eq(p.boot, 2);
    warm_plan_failed(&p, SECOND);
    warm_plan_succeeded(&p);
    make(&p, 0, SECOND);
    ck_assert_uint_eq(p.boot, 2);
}
END_TEST

SUITE_MAIN_WITH("warm_plan",
                TESTS(warm_plan_gives_places_to_who_lacks_most, warm_plan_backs_off_from_failures,
                      warm_plan_takes_what_fails_together_for_one,
                      warm_plan_forgets_failures_in_time_or_by_use),
                LOOPS({warm_plan_fills_up_and_cuts_back, sizeof(cases) / sizeof(cases[0])}))
