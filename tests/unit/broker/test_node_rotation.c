/* SPDX-License-Identifier: Apache-2.0 */
/* Rotating a sandbox's tokens: in order, and what is left of a rotation that was broken off. */
#include "tests/unit/suite.h"

#include "node_fixture.h"

static void on_rotated(void *user, const struct adit_err *err)
{
    struct world *w = user;
    w->saved_cnt++;
    w->last.code = err ? err->code : 0;
}

static int rotate(struct world *w, struct adit_err *err)
{
    return node_rotate_tokens(node_find(w->node, "red", "ia"), on_rotated, w, err);
}

static void token(const struct world *w, uint32_t generation, char out[TOKENS_CAP])
{
    tokens_envd(&w->tokens, "ia", generation, out);
}

static uint32_t generation(const struct world *w)
{
    return record_generation(node_record(node_find(w->node, "red", "ia")));
}

START_TEST(node_rotates_tokens_in_order)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char first[TOKENS_CAP], second[TOKENS_CAP];
    open_world(&w);
    create_running(&w, "ia");
    token(&w, 0, first);
    token(&w, 1, second);
    ck_assert_str_eq(w.route.envd_token, first);
    ck_assert_str_eq(w.vmm.shown, "");
    ck_assert_int_eq(rotate(&w, &err), 0);
    ck_assert_int_eq(rotate(&w, &err), ADIT_ERR_CONFLICT);
    ck_assert_uint_eq(generation(&w), 0); /* until all know the new one */
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(generation(&w), 1);
    ck_assert_uint_eq(w.republished, 1);
    ck_assert_str_eq(w.vmm.shown, first);
    ck_assert_str_eq(w.route.envd_token, second);
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_the_tokens_of_an_envd_that_refuses_others)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 401;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    ck_assert(generation(&w) == 0 && w.republished == 0);
    ck_assert(!node_record(node_find(w.node, "red", "ia"))->is_rotating);
    close_world(&w);
}
END_TEST

START_TEST(node_completes_a_rotation_that_was_broken_off)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char first[TOKENS_CAP], second[TOKENS_CAP];
    open_world(&w);
    create_running(&w, "ia");
    token(&w, 0, first);
    token(&w, 1, second);
    w.vmm.init_status = 503; /* it does not say whether it took the token */
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_eq(generation(&w), 0);
    forget_node(&w);
    w.vmm.init_status = 204;
    open_node(&w);
    node_adopt(w.node);
    ck_assert_str_eq(w.route.envd_token, first);
    run_until(&w, &w.republished, 1);
    ck_assert_str_eq(w.vmm.shown, first);
    ck_assert_str_eq(w.route.envd_token, second);
    ck_assert_uint_eq(generation(&w), 1);
    close_world(&w);
}
END_TEST

/* Rotate once more and see that it comes to its end. */
static void rotate_well(struct world *w)
{
    struct adit_err err = ADIT_ERR_INIT;
    unsigned before = w->saved_cnt;
    char second[TOKENS_CAP];
    token(w, 1, second);
    ck_assert_int_eq(rotate(w, &err), 0);
    run_until(w, &w->saved_cnt, before + 1);
    ck_assert_int_eq(w->last.code, 0);
    ck_assert_uint_eq(generation(w), 1);
    ck_assert_str_eq(w->route.envd_token, second);
}

START_TEST(node_tells_the_old_tokens_while_the_edge_knows_no_others)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.is_edge_short = true;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_NO_MEMORY);
    ck_assert_uint_eq(generation(&w), 0);
    w.is_edge_short = false;
    rotate_well(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_remembers_a_broken_off_rotation_when_the_disk_fails)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503; /* it may have taken the token */
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    break_disk(&w, true);
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_int_ne(w.last.code, 0);
    ck_assert(node_record(node_find(w.node, "red", "ia"))->is_rotating);
    break_disk(&w, false);
    w.vmm.init_status = 204;
    rotate_well(&w);
    close_world(&w);
}
END_TEST

/* Stopped before envd was told; the mark is on record. */
START_TEST(node_goes_no_step_further_with_a_rotation_when_it_stops)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char second[TOKENS_CAP];
    open_world(&w);
    create_running(&w, "ia");
    token(&w, 1, second);
    unsigned inits = w.vmm.inits;
    ck_assert_int_eq(rotate(&w, &err), 0);
    forget_node(&w);
    ck_assert_uint_eq(w.vmm.inits, inits);
    ck_assert_uint_eq(w.republished, 0);
    ck_assert_uint_eq(w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    open_node(&w);
    node_adopt(w.node);
    run_until(&w, &w.republished, 1);
    ck_assert_uint_eq(generation(&w), 1);
    ck_assert_str_eq(w.route.envd_token, second);
    close_world(&w);
}
END_TEST

/* Stopped while envd was told. */
START_TEST(node_stops_in_the_middle_of_a_rotation)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503;
    unsigned inits = w.vmm.inits;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.vmm.inits, inits + 1);
    forget_node(&w);
    ck_assert_uint_eq(w.saved_cnt, 1); /* who waited was told */
    w.vmm.init_status = 204;
    open_node(&w);
    node_adopt(w.node);
    run_until(&w, &w.republished, 1);
    ck_assert_uint_eq(generation(&w), 1);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_sandbox_in_the_middle_of_a_rotation)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503;
    unsigned inits = w.vmm.inits;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.vmm.inits, inits + 1);
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.saved_cnt, 1); /* who waited for the tokens was told */
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

SUITE_MAIN("node_rotation", node_rotates_tokens_in_order,
           node_keeps_the_tokens_of_an_envd_that_refuses_others,
           node_completes_a_rotation_that_was_broken_off,
           node_tells_the_old_tokens_while_the_edge_knows_no_others,
           node_remembers_a_broken_off_rotation_when_the_disk_fails,
           node_goes_no_step_further_with_a_rotation_when_it_stops,
           node_stops_in_the_middle_of_a_rotation, node_ends_a_sandbox_in_the_middle_of_a_rotation)
