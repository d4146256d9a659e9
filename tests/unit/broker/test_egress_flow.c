/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth of a sandbox. */
#include "tests/unit/suite.h"
#include "tests/unit/net/net_fixture.h"

#include "broker/egress/egress_flow.h"

#define RATE (4u << 20)

static struct egress_counters counters;
static struct egress_traffic traffic;
static struct egress_flow flow;
static struct egress_flow_wait waits[2];
static unsigned gone[2], order[2], order_cnt;

static void go(struct egress_flow_wait *w)
{
    unsigned which = (unsigned)(w - waits);
    gone[which]++;
    order[order_cnt++ % 2] = which;
}

static void setup(void)
{
    memset(&counters, 0, sizeof counters);
    memset(&traffic, 0, sizeof traffic);
    memset(gone, 0, sizeof gone);
    order_cnt = 0;
    fixture_init();
    for (unsigned i = 0; i < 2; i++)
        egress_flow_wait_init(&waits[i], go);
}

static void teardown(void)
{
    egress_flow_fini(&flow);
    fixture_fini();
}

START_TEST(egress_flow_counts_both_directions)
{
    egress_flow_init(&flow, &F.net, 0, &counters, &traffic);
    for (int i = 0; i < 1000; i++)
        ck_assert(egress_flow_count(&flow, EGRESS_IN, 1 << 20)); /* as many as there are */
    ck_assert(egress_flow_count(&flow, EGRESS_OUT, 7));
    ck_assert_uint_eq(traffic.bytes[EGRESS_IN], UINT64_C(1000) << 20);
    ck_assert_uint_eq(traffic.bytes[EGRESS_OUT], 7);
    ck_assert_uint_eq(egress_counted(&counters, EGRESS_COUNT_BYTES_IN), UINT64_C(1000) << 20);
    ck_assert_uint_eq(egress_counted(&counters, EGRESS_COUNT_BYTES_OUT), 7);
}
END_TEST

START_TEST(egress_flow_lets_on_when_what_was_too_much_has_passed)
{
    egress_flow_init(&flow, &F.net, RATE, &counters, &traffic);
    uint64_t begin = now_ms();
    ck_assert(!egress_flow_count(&flow, EGRESS_OUT, RATE / 2)); /* a quarter was saved up */
    egress_flow_wait(&flow, &waits[0]);
    egress_flow_wait(&flow, &waits[1]);
    egress_flow_wait(&flow, &waits[0]); /* it waits already */
    run_until(gone[0] && gone[1]);
    ck_assert_uint_ge(now_ms() - begin, 240);
    ck_assert_uint_eq(gone[0] + gone[1], 2);
    ck_assert_uint_eq(order[0], 0);
}
END_TEST

START_TEST(egress_flow_forgets_who_waits_no_more)
{
    egress_flow_init(&flow, &F.net, RATE, &counters, &traffic);
    ck_assert(!egress_flow_count(&flow, EGRESS_OUT, RATE / 2));
    egress_flow_wait(&flow, &waits[0]);
    egress_flow_wait(&flow, &waits[1]);
    egress_flow_wait_cancel(&waits[0]);
    run_until(gone[1]);
    ck_assert_uint_eq(gone[0], 0);
}
END_TEST

SUITE_MAIN_WITH("egress_flow", .fixtures = {{setup, teardown}},
                TESTS(egress_flow_counts_both_directions,
                      egress_flow_lets_on_when_what_was_too_much_has_passed,
                      egress_flow_forgets_who_waits_no_more))
