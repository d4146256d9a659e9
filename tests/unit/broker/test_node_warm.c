/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes that wait booted: nobody's until they are claimed, handed out once, found again. */
#include "tests/unit/suite.h"

#include "broker/node/sandbox.h"
#include "node_fixture.h"

#define BUILD "8f14e45f-ceea-467f-ab2b-0123456789ab"

static const struct node_warm_kind kind = {"tbase", BUILD, "container"};

static int boot(struct world *w, const char *id, struct adit_err *err)
{
    struct node_create spec = spec_of(id);
    return node_warm_boot(w->node, &spec, &kind, err);
}

static void boot_warm(struct world *w, const char *id)
{
    unsigned before = w->warm_changes;
    ck_assert_int_eq(boot(w, id, NULL), 0);
    run_until(w, &w->warm_changes, before + 1);
    ck_assert_int_eq(w->last_warm, SANDBOX_WARM);
}

static void claim(struct world *w, const char *id)
{
    struct node_create spec = spec_of(id);
    unsigned before = w->created_cnt;
    spec.internet = RECORD_INTERNET_DENIED;
    ck_assert_int_eq(node_warm_claim(w->node, &spec, on_created, w, NULL), 0);
    ck_assert_uint_eq(w->created_cnt, before);
    run_until(w, &w->created_cnt, before + 1);
}

/* A broker begins anew. */
static void adopt_all(struct world *w)
{
    forget_node(w);
    open_node(w);
    node_adopt(w->node);
}

static void end_all(struct world *w)
{
    node_end_all(w->node, "test");
    for (int i = 0; i < 1000 && node_admission(w->node)->sandbox_cnt; i++) {
        (void)uv_run(&w->uv, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    ck_assert_uint_eq(node_admission(w->node)->sandbox_cnt, 0);
}

static unsigned count_ready(const struct world *w)
{
    return node_warm_count(w->node, &kind).ready;
}

static bool has_text(const struct adit_buf *b, const char *text)
{
    struct adit_view v = adit_buf_view(b);
    return v.len && memmem(v.ptr, v.len, text, strlen(text));
}

START_TEST(node_keeps_what_waits_from_everybody)
{
    struct world w;
    size_t pos = 0;
    open_world(&w);
    boot_warm(&w, "ia");
    ck_assert_uint_eq(w.vmm.inits, 1);
    ck_assert(has_text(&w.vmm.told, "\"sandboxID\":\"ia\""));
    ck_assert(!has_text(&w.vmm.told, "accessToken") && !has_text(&w.vmm.told, "envVars"));
    ck_assert_uint_eq(w.published + w.confirmed + w.egress_opened, 0);
    ck_assert(node_has(w.node, "ia"));
    ck_assert_ptr_null(node_find(w.node, "", "ia"));
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    ck_assert_ptr_null(node_owner(w.node, "ia"));
    ck_assert_ptr_null(node_next_any(w.node, &pos));
    const struct node_stats stats = node_stats(w.node);
    ck_assert_uint_eq(stats.running + stats.creating + stats.creates_ok, 0);
    const struct node_warm_sum sum = node_warm_sum(w.node);
    ck_assert_uint_eq(sum.cnt, 1);
    ck_assert_uint_eq(sum.memory_mb, 128);
    ck_assert_uint_eq(node_admission(w.node)->memory_mb_used, 128);
    end_all(&w);
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(w.released, 0); /* nobody was told of it */
    ck_assert_uint_eq(node_stats(w.node).ends_killed, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_claim_makes_it_as_a_create_would)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    skipped_ns += UINT64_C(3600000000000); /* it waits for an hour */
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    claim(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(w.vmm.inits, 2);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.confirmed, 1);
    ck_assert_uint_eq(w.egress_opened, 1);
    ck_assert(w.is_offline);
    ck_assert_uint_eq(w.vmm.created, 1);
    ck_assert_str_eq(w.vmm.shown, ""); /* it had no token before */
    ck_assert(has_text(&w.vmm.told, w.route.envd_token));
    ck_assert_uint_gt(strlen(w.route.envd_token), 0);
    ck_assert_uint_lt(node_age_ms(s), 60000);
    ck_assert_uint_gt(node_remaining_ms(s), 50000);
    ck_assert_int_eq(w.last_warm, SANDBOX_RUNNING);
    ck_assert_uint_eq(node_warm_sum(w.node).cnt, 0);
    ck_assert_uint_eq(node_stats(w.node).creates_ok, 1);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 1);
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.released, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_hands_each_out_once)
{
    struct world w;
    const struct node_warm_kind other_build = {"tbase", "another", "container"};
    const struct node_warm_kind other_isolation = {"tbase", BUILD, "vm"};
    const struct node_warm_kind any_build = {"tbase", NULL, "container"};
    open_world(&w);
    boot_warm(&w, "ia");
    boot_warm(&w, "ib");
    ck_assert_uint_eq(node_warm_count(w.node, &any_build).ready, 2);
    ck_assert_ptr_null(node_warm_take(w.node, &other_build));
    ck_assert_ptr_null(node_warm_take(w.node, &other_isolation));
    const char *first = node_warm_take(w.node, &kind);
    const char *second = node_warm_take(w.node, &kind);
    ck_assert_str_ne(first, second);
    ck_assert_ptr_null(node_warm_take(w.node, &kind));
    ck_assert_uint_eq(node_warm_count(w.node, &kind).taken, 2);
    node_warm_give_back(w.node, first);
    ck_assert_uint_eq(node_warm_count(w.node, &kind).taken, 1);
    ck_assert_ptr_eq(node_warm_take(w.node, &kind), first);
    ck_assert_ptr_null(node_warm_take(w.node, &kind));
    end_all(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_takes_what_waits_up_again)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    adopt_all(&w);
    ck_assert_uint_eq(count_ready(&w), 1);
    ck_assert_uint_eq(w.vmm.adopted, 1);
    ck_assert_uint_eq(w.published, 0);
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    claim(&w, "ia");
    adopt_all(&w); /* by the claim's file */
    ck_assert_ptr_nonnull(node_find(w.node, "red", "ia"));
    ck_assert_uint_eq(count_ready(&w), 0);
    ck_assert_int_eq(node_set_timeout(node_find(w.node, "red", "ia"), 70000, on_ended, &w), 0);
    run_until(&w, &w.ended_cnt, 1);
    adopt_all(&w); /* by the record */
    ck_assert_uint_gt(node_remaining_ms(node_find(w.node, "red", "ia")), 60000);
    end_all(&w);
    close_world(&w);
}
END_TEST

/* The broker is killed while a create has it in hand: before the claim, or in it. */
START_TEST(node_never_hands_out_what_was_in_hand)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    if (_i) {
        struct node_create spec = spec_of("ia");
        ck_assert_int_eq(node_warm_claim(w.node, &spec, on_created, &w, NULL), 0);
    }
    adopt_all(&w);
    ck_assert_uint_eq(w.created_cnt, 0);
    ck_assert_uint_eq(count_ready(&w), 0);
    ck_assert_ptr_null(node_warm_take(w.node, &kind));
    end_all(&w);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_hands_out_again_what_was_put_back)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    node_warm_give_back(w.node, node_warm_take(w.node, &kind));
    adopt_all(&w);
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    end_all(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_what_is_claimed_for_something_else)
{
    struct world w;
    struct node_create spec = spec_of("ia");
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    boot_warm(&w, "ia");
    ck_assert_int_eq(node_warm_claim(w.node, &spec, on_created, &w, &err),
                     ADIT_ERR_UNAVAILABLE); /* not taken */
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    spec.memory_mb++;
    ck_assert_int_eq(node_warm_claim(w.node, &spec, on_created, &w, NULL), ADIT_ERR_UNAVAILABLE);
    run_until(&w, &w.vmm.destroyed, 1);
    ck_assert_uint_eq(count_ready(&w), 0);
    end_all(&w);
    ck_assert_uint_eq(w.created_cnt + w.failed_cnt, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_claim_fails_with_its_guest)
{
    struct world w;
    struct node_create spec = spec_of("ia");
    open_world(&w);
    boot_warm(&w, "ia");
    ck_assert_str_eq(node_warm_take(w.node, &kind), "ia");
    w.vmm.init_status = 400;
    ck_assert_int_eq(node_warm_claim(w.node, &spec, on_created, &w, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_uint_eq(w.released, 1); /* the scheduler had placed it */
    ck_assert_uint_eq(w.published, 0);
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(node_stats(w.node).creates_failed, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_says_what_did_not_come_up_or_died)
{
    struct world w;
    open_world(&w);
    w.vmm.is_failing = true;
    ck_assert_int_eq(boot(&w, "ia", NULL), 0);
    run_until(&w, &w.warm_changes, 1);
    ck_assert_int_eq(w.last_warm, SANDBOX_FAILED);
    w.vmm.is_failing = false;
    boot_warm(&w, "ib");
    node_exited(w.node, "ib", "signal: killed");
    ck_assert_ptr_null(node_warm_take(w.node, &kind));
    run_until(&w, &w.warm_changes, 3);
    ck_assert_int_eq(w.last_warm, SANDBOX_FAILED);
    const struct node_stats stats = node_stats(w.node);
    ck_assert_uint_eq(stats.creates_failed + stats.ends_failed, 0);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_boots_no_more_than_fit)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    boot_warm(&w, "ib");
    boot_warm(&w, "ic");
    ck_assert_int_eq(boot(&w, "id", NULL), ADIT_ERR_UNAVAILABLE);
    ck_assert_int_eq(boot(&w, "ia", NULL), ADIT_ERR_EXISTS);
    end_all(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_no_log_of_the_time_before)
{
    struct world w;
    open_world(&w);
    boot_warm(&w, "ia");
    const struct sandbox *s = adit_map_get(&w.node->sandboxes, adit_view_str("ia"));
    ck_assert_ptr_null(s->log);
    (void)node_warm_take(w.node, &kind);
    claim(&w, "ia");
    ck_assert_ptr_nonnull(s->log);
    end_all(&w);
    close_world(&w);
}
END_TEST

SUITE_MAIN_WITH("node_warm",
                TESTS(node_keeps_what_waits_from_everybody, node_claim_makes_it_as_a_create_would,
                      node_hands_each_out_once, node_takes_what_waits_up_again,
                      node_hands_out_again_what_was_put_back,
                      node_ends_what_is_claimed_for_something_else, node_claim_fails_with_its_guest,
                      node_says_what_did_not_come_up_or_died, node_boots_no_more_than_fit,
                      node_keeps_no_log_of_the_time_before),
                LOOPS({node_never_hands_out_what_was_in_hand, 2}))
