/* SPDX-License-Identifier: Apache-2.0 */
/* The token bucket, with time passed in. */
#include "tests/unit/suite.h"

#include "base/limit.h"

#define SECOND UINT64_C(1000000000)

static unsigned take_all(struct adit_limit *l, uint64_t now_ns)
{
    unsigned n = 0;
    while (n < 1000000 && adit_limit_take(l, now_ns))
        n++;
    return n;
}

START_TEST(limit_allows_a_burst_and_then_refuses)
{
    struct adit_limit l;
    adit_limit_init(&l, 5, 1, 100);
    ck_assert_uint_eq(take_all(&l, 100), 5);
    ck_assert(!adit_limit_take(&l, 100 + SECOND - 1));
    ck_assert(adit_limit_take(&l, 100 + SECOND));
    ck_assert(!adit_limit_take(&l, 100 + SECOND));
}
END_TEST

START_TEST(limit_refills_no_more_than_the_burst)
{
    struct adit_limit l;
    adit_limit_init(&l, 5, 1000, 0);
    ck_assert_uint_eq(take_all(&l, 0), 5);
    ck_assert_uint_eq(take_all(&l, 1000000 * SECOND), 5);
    ck_assert_uint_eq(take_all(&l, UINT64_MAX), 5);
}
END_TEST

START_TEST(limit_gives_the_rate_however_often_it_is_asked)
{
    static const uint64_t steps[] = {7, 333, 10001, 999983, 7777777, 250000000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct adit_limit l;
        unsigned taken = 0;
        uint64_t end = steps[i] < 1000 ? SECOND / 100 : 10 * SECOND;
        adit_limit_init(&l, 300, 300, 0);
        (void)take_all(&l, 0);
        for (uint64_t now = 0; now <= end; now += steps[i])
            taken += take_all(&l, now);
        unsigned expected = (unsigned)(end / steps[i] * steps[i] * 300 / SECOND);
        ck_assert_uint_le(taken, expected);
        ck_assert_uint_ge(taken + 1, expected);
    }
}
END_TEST

START_TEST(limit_without_rate_is_used_up_once)
{
    struct adit_limit l;
    adit_limit_init(&l, 2, 0, 0);
    ck_assert_uint_eq(take_all(&l, 0), 2);
    ck_assert_uint_eq(take_all(&l, UINT64_MAX), 0);
    adit_limit_init(&l, 0, 1000, 0);
    ck_assert_uint_eq(take_all(&l, SECOND), 0);
}
END_TEST

START_TEST(limit_survives_a_clock_that_goes_back)
{
    struct adit_limit l;
    adit_limit_init(&l, 1, 1, 10 * SECOND);
    ck_assert(adit_limit_take(&l, 10 * SECOND));
    ck_assert(!adit_limit_take(&l, 0));
    ck_assert(!adit_limit_take(&l, 10 * SECOND));
    ck_assert(adit_limit_take(&l, 11 * SECOND));
}
END_TEST

START_TEST(limit_takes_huge_figures_as_its_maximum)
{
    struct adit_limit l;
    adit_limit_init(&l, UINT64_MAX, UINT64_MAX, 0);
    ck_assert_uint_eq(l.burst, ADIT_LIMIT_MAX);
    for (uint64_t now = 0; now < 1000; now += 10)
        ck_assert(adit_limit_take(&l, now));
    ck_assert(adit_limit_take(&l, UINT64_MAX));
    ck_assert_uint_lt(l.tokens_milli, ADIT_LIMIT_MAX * 1000);
}
END_TEST

SUITE_MAIN("limit", limit_allows_a_burst_and_then_refuses, limit_refills_no_more_than_the_burst,
           limit_gives_the_rate_however_often_it_is_asked, limit_without_rate_is_used_up_once,
           limit_survives_a_clock_that_goes_back, limit_takes_huge_figures_as_its_maximum)
