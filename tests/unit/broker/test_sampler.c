/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler beside a host that does not answer; its deadlines are made due by hand. */
#include "tests/unit/suite.h"

#include "broker/node/sampler.h"

static struct world {
    uv_loop_t uv;
    struct net_loop net;
    struct sampler_stats stats;
    struct sampler sampler;
    unsigned questions;
} w;

static bool ask_host(void *owner)
{
    ((struct world *)owner)->questions++;
    return true;
}

static void setup(void)
{
    const struct http_target nobody = {.kind = HTTP_TARGET_CHANNEL, .path = "/nowhere/channel"};

    memset(&w, 0, sizeof(w));
    ck_assert_int_eq(uv_loop_init(&w.uv), 0);
    ck_assert_int_eq(net_loop_init(&w.net, &w.uv, NULL), 0);
    sampler_init(&w.sampler, &w.net, &w.stats, -1, "isandbox");
    w.sampler.host.ask = ask_host;
    w.sampler.host.owner = &w;
    w.sampler.host.cpu_cnt = 1;
    ck_assert_int_eq(sampler_start(&w.sampler, &nobody, "", 1000, NULL), 0);
}

static void teardown(void)
{
    sampler_stop(&w.sampler);
    net_loop_close(&w.net);
    ck_assert_int_eq(uv_run(&w.uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&w.uv), 0);
}

/* What waits is over now. */
static void be_due(void)
{
    net_deadline_cancel(&w.sampler.due);
    w.sampler.due.on_due(&w.sampler.due);
}

START_TEST(sampler_asks_a_host_that_stands_still_once)
{
    for (int i = 0; i < 10; i++) {
        be_due(); /* a sample begins, or the host is given up */
        be_due(); /* the guest is given up */
    }
    ck_assert_uint_eq(w.questions, 1);
    ck_assert_uint_gt(w.stats.failed, 5);
    sampler_on_usage(&w.sampler, NULL); /* at last */
    be_due();
    be_due();
    ck_assert_uint_eq(w.questions, 2);
}
END_TEST

SUITE_MAIN_WITH("sampler", .fixtures = {{setup, teardown}},
                TESTS(sampler_asks_a_host_that_stands_still_once))
