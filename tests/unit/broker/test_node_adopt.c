/* SPDX-License-Identifier: Apache-2.0 */
/* A node that begins with what an earlier broker left: sandboxes taken up again, or ended. */
#include "tests/unit/suite.h"

#include <sys/stat.h>

#include "node_fixture.h"

/* A broker begins anew. */
static void adopt_all(struct world *w)
{
    open_node(w);
    node_adopt(w->node);
}

static void end(struct world *w, struct sandbox *s)
{
    node_kill(s, "test", on_ended, w);
    run_until(w, &w->ended_cnt, 1);
}

START_TEST(node_takes_running_sandboxes_up_again)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    int64_t end_ns = node_record(node_find(w.node, "red", "ia"))->end_ns;
    forget_node(&w);
    w.published = 0;
    adopt_all(&w);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.vmm.adopted, 1);
    ck_assert_uint_eq(w.egress_opened, 2);
    ck_assert_int_eq(node_record(s)->end_ns, end_ns);
    ck_assert_uint_le(node_remaining_ms(s), 60000);
    ck_assert_uint_gt(node_remaining_ms(s), 50000);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 1);
    end(&w, s);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_counts_on_when_the_wall_clock_was_set)
{
    static const int64_t hours[] = {1, -1, 10000};
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    int64_t end_ns = node_record(node_find(w.node, "red", "ia"))->end_ns;
    forget_node(&w);
    set_ns = hours[_i] * INT64_C(3600000000000);
    adopt_all(&w);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_le(node_remaining_ms(s), 60000);
    ck_assert_uint_gt(node_remaining_ms(s), 50000);
    ck_assert_uint_lt(node_age_ms(s), 10000);
    /* what clients are told is by the clock that they see now */
    ck_assert_int_le(node_record(s)->end_ns - end_ns - set_ns, 1000000);
    ck_assert_int_ge(node_record(s)->end_ns - end_ns - set_ns, -1000000);
    set_ns = 0;
    end(&w, s);
    close_world(&w);
}
END_TEST

START_TEST(node_counts_by_the_wall_clock_after_a_boot)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    boot_id = "second boot"; /* of which the old monotonic clock says nothing */
    set_ns = INT64_C(50000000000);
    adopt_all(&w);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_le(node_remaining_ms(s), 10000);
    set_ns = 0;
    end(&w, s);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_what_expired_while_no_broker_ran)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    skipped_ns += UINT64_C(120) * 1000000000;
    adopt_all(&w);
    run_until(&w, &w.released, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_ends_what_died_while_no_broker_ran)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    w.vmm.adopt_code = ADIT_ERR_NOT_FOUND;
    adopt_all(&w);
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    run_until(&w, &w.released, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_serves_on_what_it_cannot_watch)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    w.published = 0;
    w.vmm.adopt_code = ADIT_ERR_LIMIT; /* no descriptor was left */
    adopt_all(&w);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 0);
    end(&w, s);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

static void put_folder(const struct world *w, const char *name, const char *record)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/sandboxes/%s", w->dir, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (!record)
        return;
    strcat(path, "/record.json");
    ck_assert_int_eq(adit_file_replace(AT_FDCWD, path, adit_view_str(record), 0600, NULL), 0);
}

START_TEST(node_removes_half_made_sandboxes_and_leaves_torn_records_alone)
{
    struct world w;
    open_world(&w);
    put_folder(&w, "ihalf", NULL);
    put_folder(&w, "iempty", "");
    put_folder(&w, "itorn", "{\"version\":1,\"sandb");
    put_folder(&w, "Not-an-id", NULL);
    node_adopt(w.node);
    run_until(&w, &w.released, 2);
    ck_assert_uint_eq(w.vmm.destroyed, 2);
    ck_assert(!has_folder(&w, "ihalf"));
    ck_assert(!has_folder(&w, "iempty"));
    ck_assert(has_folder(&w, "itorn"));
    ck_assert(has_folder(&w, "Not-an-id"));
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_create_that_an_earlier_broker_did_not_finish)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    while (w.vmm.created == 0) /* its record says "creating" now */
        (void)uv_run(&w.uv, UV_RUN_ONCE);
    forget_node(&w);
    ck_assert(has_folder(&w, "ia"));
    adopt_all(&w);
    run_until(&w, &w.released, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

/* A newer broker's, say. */
START_TEST(node_leaves_a_sandbox_of_an_unknown_driver_alone)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    w.vmm.base.name = "other";
    adopt_all(&w);
    ck_assert(!node_has(w.node, "ia"));
    ck_assert_uint_eq(w.vmm.adopted, 0);
    ck_assert_uint_eq(w.vmm.destroyed, 0);
    ck_assert(has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

SUITE_MAIN_WITH("node_adopt",
                TESTS(node_takes_running_sandboxes_up_again,
                      node_counts_by_the_wall_clock_after_a_boot,
                      node_ends_what_expired_while_no_broker_ran,
                      node_ends_what_died_while_no_broker_ran, node_serves_on_what_it_cannot_watch,
                      node_removes_half_made_sandboxes_and_leaves_torn_records_alone,
                      node_leaves_a_sandbox_of_an_unknown_driver_alone,
                      node_ends_a_create_that_an_earlier_broker_did_not_finish),
                LOOPS({node_counts_on_when_the_wall_clock_was_set, 3}))
