/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines and tasks of a loop. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

static struct {
    struct net_deadline d[4];
    struct net_task t[3];
    int fired[4], order[8], order_cnt;
    uint64_t fired_ms[4];
} T;

static void on_due(struct net_deadline *d)
{
    size_t i = (size_t)(d - T.d);

    T.fired[i]++;
    T.fired_ms[i] = now_ms();
}

static void init_all(void)
{
    memset(&T, 0, sizeof(T));
    for (size_t i = 0; i < 4; i++)
        net_deadline_init(&T.d[i], &F.net, on_due);
}

START_TEST(net_loop_fires_a_deadline_not_early_and_once)
{
    uint64_t begin;

    fixture_init();
    init_all();
    begin = now_ms();
    net_deadline_arm(&T.d[0], 120);
    ck_assert(net_deadline_is_armed(&T.d[0]));
    run_until(T.fired[0]);
    ck_assert_uint_ge(T.fired_ms[0] + 1, begin + 120);
    ck_assert(!net_deadline_is_armed(&T.d[0]));
    settle();
    ck_assert_int_eq(T.fired[0], 1);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_fires_a_deadline_of_zero_at_the_next_tick)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], 0);
    ck_assert_int_eq(T.fired[0], 0);
    run_until(T.fired[0]);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_rearming_moves_a_deadline)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], 50);
    net_deadline_arm(&T.d[1], 100);
    net_deadline_arm(&T.d[0], 250);
    run_until(T.fired[1]);
    ck_assert_int_eq(T.fired[0], 0);
    run_until(T.fired[0]);
    ck_assert_uint_ge(T.fired_ms[0], T.fired_ms[1] + 50);
    ck_assert_uint_eq(F.net.armed_cnt, 0);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_cancelled_deadline_does_not_fire)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], 50);
    net_deadline_arm(&T.d[1], 150);
    net_deadline_cancel(&T.d[0]);
    net_deadline_cancel(&T.d[0]);
    run_until(T.fired[1]);
    ck_assert_int_eq(T.fired[0], 0);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_keeps_deadlines_beyond_one_round_of_the_wheel)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], NET_DEADLINE_SLOTS * NET_DEADLINE_TICK_MS + 100);
    net_deadline_arm(&T.d[1], UINT64_MAX);
    net_deadline_arm(&T.d[2], 150);
    run_until(T.fired[2]);
    ck_assert_int_eq(T.fired[0], 0);
    ck_assert_int_eq(T.fired[1], 0);
    net_deadline_cancel(&T.d[0]);
    net_deadline_cancel(&T.d[1]);
    fixture_fini();
}
END_TEST

static void cancel_next(struct net_deadline *d)
{
    T.fired[d - T.d]++;
    net_deadline_cancel(&T.d[1]);
    net_deadline_arm(&T.d[2], 50);
}

START_TEST(net_loop_callback_may_cancel_what_is_due_and_arm_again)
{
    fixture_init();
    init_all();
    T.d[0].on_due = cancel_next;
    net_deadline_arm(&T.d[0], 50);
    net_deadline_arm(&T.d[1], 50);
    run_until(T.fired[2]);
    ck_assert_int_eq(T.fired[0], 1);
    ck_assert_int_eq(T.fired[1], 0);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_timer_rests_while_nothing_is_armed)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], 50);
    net_deadline_cancel(&T.d[0]);
    ck_assert_int_eq(uv_run(&F.uv, UV_RUN_DEFAULT), 0); /* returns: nothing is active */
    net_deadline_arm(&T.d[0], 50);                      /* and it wakes up again */
    run_until(T.fired[0]);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_close_makes_armed_deadlines_due)
{
    fixture_init();
    init_all();
    net_deadline_arm(&T.d[0], 100000);
    fixture_fini();
    ck_assert_int_eq(T.fired[0], 1);
}
END_TEST

static void on_task(struct net_task *t)
{
    T.order[T.order_cnt++] = (int)(t - T.t);
}

static void on_task_reposts(struct net_task *t)
{
    on_task(t);
    if (T.order_cnt < 4)
        net_task_post(t);
    net_task_cancel(&T.t[1]);
}

START_TEST(net_loop_runs_tasks_once_in_order_at_the_next_turn)
{
    fixture_init();
    init_all();
    for (size_t i = 0; i < 3; i++)
        net_task_init(&T.t[i], &F.net, on_task);
    net_task_post(&T.t[2]);
    net_task_post(&T.t[0]);
    net_task_post(&T.t[2]);
    ck_assert_int_eq(T.order_cnt, 0);
    ck_assert_int_eq(uv_run(&F.uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(T.order_cnt, 2);
    ck_assert_int_eq(T.order[0], 2);
    ck_assert_int_eq(T.order[1], 0);
    fixture_fini();
}
END_TEST

START_TEST(net_loop_task_may_post_itself_and_cancel_others)
{
    fixture_init();
    init_all();
    net_task_init(&T.t[0], &F.net, on_task_reposts);
    net_task_init(&T.t[1], &F.net, on_task);
    net_task_post(&T.t[0]);
    net_task_post(&T.t[1]);
    ck_assert_int_eq(uv_run(&F.uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(T.order_cnt, 4);
    ck_assert_int_eq(T.order[3], 0);
    fixture_fini();
}
END_TEST

SUITE_MAIN("net_loop", net_loop_fires_a_deadline_not_early_and_once,
           net_loop_fires_a_deadline_of_zero_at_the_next_tick, net_loop_rearming_moves_a_deadline,
           net_loop_cancelled_deadline_does_not_fire,
           net_loop_keeps_deadlines_beyond_one_round_of_the_wheel,
           net_loop_callback_may_cancel_what_is_due_and_arm_again,
           net_loop_timer_rests_while_nothing_is_armed, net_loop_close_makes_armed_deadlines_due,
           net_loop_runs_tasks_once_in_order_at_the_next_turn,
           net_loop_task_may_post_itself_and_cancel_others)
