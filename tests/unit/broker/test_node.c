/* SPDX-License-Identifier: Apache-2.0 */
/* The life of sandboxes on a node: creating, running, ending, failing, and what is kept of it. */
#include "tests/unit/suite.h"

#include "broker/node/sandbox.h"
#include "node_fixture.h"

#include "broker/api/create_request.h"

static bool told(const struct world *w, const char *text)
{
    struct adit_view v = adit_buf_view(&w->vmm.told);
    return memmem(v.ptr, v.len, text, strlen(text)) != NULL;
}

START_TEST(node_answers_a_create_when_all_is_in_place)
{
    struct world w;
    struct record r;
    struct adit_buf text;
    char path[200];
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_uint_eq(w.vmm.inits, 1);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.confirmed, 1);
    ck_assert_ptr_nonnull(node_find(w.node, "red", "ia"));
    (void)snprintf(path, sizeof(path), "%s/sandboxes/ia/record.json", w.dir);
    adit_buf_init(&text, RECORD_CAP);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    ck_assert_int_eq(record_decode(adit_buf_view(&text), &r, NULL), 0);
    ck_assert_int_eq(r.state, SANDBOX_RUNNING);
    ck_assert_int_eq(r.end_ns - r.started_ns, INT64_C(60000000000));
    record_fini(&r);
    adit_buf_fini(&text);
    close_world(&w);
}
END_TEST

/* @len characters that JSON writes with six bytes each. */
static json_t *escaped_text(size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 1, len);
    text[len] = '\0';
    json_t *object = json_pack("{s:s}", "k", text);
    free(text);
    return object;
}

START_TEST(node_takes_all_metadata_and_variables_that_the_door_takes)
{
    struct world w;
    json_t *metadata = escaped_text(RECORD_METADATA_CAP - 1);
    json_t *env_vars = escaped_text(CREATE_REQUEST_ENV_CAP - 1);
    struct node_create spec = spec_of("ia");
    spec.metadata = metadata;
    spec.env_vars = env_vars;
    open_world(&w);
    ck_assert_int_eq(node_create(w.node, &spec, on_created, &w, NULL), 0);
    run_until(&w, &w.created_cnt, 1);
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    const struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert(json_equal(node_record(s)->metadata, metadata));
    json_decref(metadata);
    json_decref(env_vars);
    close_world(&w);
}
END_TEST

START_TEST(node_finds_a_sandbox_for_its_team_only)
{
    struct world w;
    size_t pos = 0;
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_ptr_null(node_find(w.node, "blue", "ia"));
    ck_assert_ptr_null(node_find(w.node, "red", "ib"));
    ck_assert_ptr_null(node_next(w.node, "blue", &pos));
    pos = 0;
    ck_assert_ptr_nonnull(node_next(w.node, "red", &pos));
    ck_assert_ptr_null(node_next(w.node, "red", &pos));
    close_world(&w);
}
END_TEST

START_TEST(node_kill_leaves_nothing_and_is_answered_when_it_is_done)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    ck_assert_ptr_null(node_find(w.node, "red", "ia")); /* at once: a second kill finds nothing */
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(w.withdrawn, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert_uint_eq(w.released, 1);
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 0);
    ck_assert_uint_eq(node_admission(w.node)->memory_mb_used, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_kill_ends_a_sandbox_that_is_being_created)
{
    struct world w;
    size_t pos = 0;
    open_world(&w);
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    ck_assert_ptr_null(node_next(w.node, "red", &pos));
    pos = 0;
    ck_assert_ptr_null(node_next_living(w.node, "blue", &pos));
    pos = 0;
    struct sandbox *s = node_next_living(w.node, "red", &pos);
    ck_assert_ptr_nonnull(s);
    node_kill(s, "test", on_ended, &w);
    pos = 0;
    ck_assert_ptr_null(node_next_living(w.node, "red", &pos));
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.failed_cnt, 1); /* who waited for it was told */
    ck_assert_uint_eq(w.created_cnt, 0);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

/* Both that wait have one deadline; it is made due by hand. */
START_TEST(node_answers_a_kill_that_takes_too_long_during_a_creation)
{
    struct world w;
    size_t pos = 0;
    open_world(&w);
    w.vmm.destroy_fails = 1;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    struct sandbox *s = node_next_living(w.node, "red", &pos);
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.vmm.destroyed, 1);
    net_deadline_cancel(&s->answer);
    s->answer.on_due(&s->answer);
    ck_assert(w.failed_cnt == 1 && w.ended_cnt == 1);
    run_until(&w, &w.released, 1);
    ck_assert(w.failed_cnt == 1 && w.ended_cnt == 1);
    close_world(&w);
}
END_TEST

START_TEST(node_kill_leaves_a_sandbox_alone_until_its_route_is_withdrawn)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    w.withdraw_fails = 1;
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.withdrawn, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 0);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(w.withdrawn, 2);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_kill_works_without_the_scheduler)
{
    struct world w;
    open_world(&w);
    w.is_scheduler_down = true;
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_tries_again_until_a_sandbox_is_destroyed)
{
    struct world w;
    open_world(&w);
    w.vmm.destroy_fails = 1;
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 2);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_makes_no_sandbox_of_an_isolation_that_the_host_does_not_have)
{
    struct world w;
    struct node_create spec;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    spec = spec_of("ia");
    spec.isolation = "vm";
    ck_assert_int_eq(node_create(w.node, &spec, on_created, &w, &err), ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "this host has no isolation 'vm'");
    w.vmm.base.isolation = "vm";
    w.vmm.base.unusable = "as the test wants it";
    ck_assert_int_eq(node_create(w.node, &spec, on_created, &w, NULL), ADIT_ERR_UNAVAILABLE);
    w.vmm.base.unusable = NULL;
    ck_assert_int_eq(node_create(w.node, &spec, on_created, &w, NULL), 0);
    run_until(&w, &w.created_cnt, 1);
    ck_assert_str_eq(node_isolation(node_find(w.node, "red", "ia")), "vm");
    close_world(&w);
}
END_TEST

START_TEST(node_undoes_a_create_whose_driver_fails)
{
    struct world w;
    open_world(&w);
    w.vmm.is_failing = true;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_IO);
    ck_assert_str_eq(w.last.msg, "the fake driver fails");
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(w.published, 0);
    ck_assert_uint_eq(w.released, 1);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_undoes_a_create_whose_envd_refuses)
{
    struct world w;
    open_world(&w);
    w.vmm.init_status = 401;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(w.last.msg, "envd answered /init with status 401");
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_gives_up_on_an_envd_that_is_never_ready)
{
    struct world w;
    open_world(&w);
    w.vmm.init_status = 503; /* tried again until ready_ms, and what its kernel may take */
    w.vmm.base.boot_ms = 300;
    uint64_t begin = uv_hrtime();
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_ge((uv_hrtime() - begin) / 1000000, 2290);
    ck_assert_uint_gt(w.vmm.inits, 5);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_refuses_more_than_fits)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    create_running(&w, "ib");
    create_running(&w, "ic");
    ck_assert_int_eq(create(&w, "id", 60000, &err), ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "this node is full: 1 sandbox asked for, 3 of 3 taken");
    ck_assert_int_eq(create(&w, "ia", 60000, &err), ADIT_ERR_EXISTS); /* full or not */
    ck_assert_int_eq(create(&w, "../x", 60000, &err), ADIT_ERR_BAD_INPUT);
    close_world(&w);
}
END_TEST

START_TEST(node_refuses_an_id_twice)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), ADIT_ERR_EXISTS);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_sandbox_at_its_time)
{
    struct world w;
    open_world(&w);
    uint64_t begun = uv_hrtime();
    ck_assert_int_eq(create(&w, "ia", 300, NULL), 0);
    run_until(&w, &w.released, 1);
    uint64_t ms = (uv_hrtime() - begun) / 1000000;
    ck_assert_uint_ge(ms, 300);
    ck_assert_uint_lt(ms, 2000);
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    close_world(&w);
}
END_TEST

static void on_saved(void *user, const struct adit_err *err)
{
    struct world *w = user;
    ck_assert_ptr_null(err);
    w->saved_cnt++;
}

START_TEST(node_moves_the_end_and_puts_it_on_record)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    int64_t now = adit_clock_wall_ns();
    ck_assert_int_eq(node_set_timeout(s, 5000, on_saved, &w), 0);
    ck_assert_int_eq(node_set_timeout(s, 7000, on_saved, &w), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_int_ge(node_record(s)->end_ns, now + INT64_C(7000000000));
    ck_assert_int_lt(node_record(s)->end_ns, now + INT64_C(8000000000));
    ck_assert_uint_le(node_remaining_ms(s), 7000);
    ck_assert_int_eq(node_set_timeout(s, 0, on_saved, &w), 0);
    run_until(&w, &w.released, 1);
    close_world(&w);
}
END_TEST

static void on_changed(void *user, const struct adit_err *err)
{
    struct world *w = user;
    w->saved_cnt++;
    w->last.code = err ? err->code : 0;
}

START_TEST(node_takes_a_change_back_that_cannot_be_saved)
{
    struct world w;
    json_t *mine = json_pack("{s:[s]}", "denyOut", "10.0.0.0/8");
    open_world(&w);
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_int_eq(node_set_timeout(s, 40000, on_changed, &w), 0);
    run_until(&w, &w.saved_cnt, 1);
    int64_t end_ns = node_record(s)->end_ns;
    break_disk(&w, true);
    ck_assert_int_eq(node_set_timeout(s, 50000, on_changed, &w), 0);
    ck_assert_int_eq(node_set_network(s, mine, RECORD_INTERNET_DENIED, on_changed, &w, NULL), 0);
    ck_assert_int_eq(node_set_timeout(s, 900, on_changed, &w), 0);
    run_until(&w, &w.saved_cnt, 4);
    ck_assert_int_ne(w.last.code, 0);
    ck_assert_int_eq(node_record(s)->end_ns, end_ns);
    ck_assert_uint_gt(node_remaining_ms(s), 30000);
    ck_assert_ptr_null(node_record(s)->network);
    ck_assert_int_eq(node_record(s)->internet, RECORD_INTERNET_UNSAID);
    break_disk(&w, false);
    skipped_ns += UINT64_C(2) * 1000000000; /* the 900 ms are over and mean nothing */
    ck_assert_int_eq(node_set_network(s, mine, RECORD_INTERNET_DENIED, on_changed, &w, NULL), 0);
    run_until(&w, &w.saved_cnt, 5);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_ptr_eq(node_record(node_find(w.node, "red", "ia"))->network, mine);
    json_decref(mine);
    close_world(&w);
}
END_TEST

START_TEST(node_tells_what_may_get_out_of_a_sandbox)
{
    struct world w;
    json_t *mine = json_pack("{s:[s]}", "denyOut", "10.0.0.0/8");
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_uint_eq(w.egress_opened, 1);
    ck_assert(!w.is_offline);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_int_eq(node_set_timeout(s, 40000, on_changed, &w), 0);
    ck_assert_int_eq(node_set_network(s, mine, RECORD_INTERNET_DENIED, on_changed, &w, NULL), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_uint_eq(w.egress_updated, 1);
    ck_assert(w.is_offline);
    break_disk(&w, true);
    ck_assert_int_eq(node_set_network(s, NULL, RECORD_INTERNET_ALLOWED, on_changed, &w, NULL), 0);
    run_until(&w, &w.saved_cnt, 3);
    ck_assert_uint_eq(w.egress_updated, 1); /* what is not on record is not in force */
    break_disk(&w, false);
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.egress_closed, 1);
    json_decref(mine);
    close_world(&w);
}
END_TEST

START_TEST(node_lets_nothing_out_by_rules_that_are_over)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    w.is_egress_short = true;
    ck_assert_int_eq(node_set_network(s, NULL, RECORD_INTERNET_DENIED, on_changed, &w, NULL), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_uint_eq(w.egress_closed, 1);
    w.is_egress_short = false;
    ck_assert_int_eq(node_set_network(s, NULL, RECORD_INTERNET_ALLOWED, on_changed, &w, NULL), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_uint_eq(w.egress_opened, 2);
    ck_assert(!w.is_offline);
    close_world(&w);
}
END_TEST

START_TEST(node_undoes_a_create_whose_egress_finds_no_memory)
{
    struct world w;
    open_world(&w);
    w.is_egress_short = true;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_uint_eq(w.published, 0);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_takes_a_change_back_to_what_was_adopted)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    struct sandbox *s = node_find(w.node, "red", "ia");
    int64_t end_ns = node_record(s)->end_ns;
    break_disk(&w, true);
    ck_assert_int_eq(node_set_timeout(s, 900, on_changed, &w), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_ne(w.last.code, 0);
    ck_assert_int_eq(node_record(s)->end_ns, end_ns);
    break_disk(&w, false);
    close_world(&w);
}
END_TEST

START_TEST(node_knows_how_long_a_life_may_go_on)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    const struct sandbox *s = node_find(w.node, "red", "ia");
    skipped_ns += UINT64_C(40) * 1000000000;
    ck_assert_uint_le(node_within_life_ms(s, 60000, 60000), 20000); /* the longest from its start */
    ck_assert_uint_gt(node_within_life_ms(s, 60000, 60000), 10000);
    ck_assert_uint_eq(node_within_life_ms(s, 500, 60000), 500);
    ck_assert_uint_eq(node_within_life_ms(s, 500, 30000), 0);
    close_world(&w);
}
END_TEST

START_TEST(node_cleans_up_after_a_sandbox_that_ended_by_itself)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    node_exited(w.node, "ia", "signal: \"killed\"\xff");
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    run_until(&w, &w.released, 1);
    (void)uv_run(&w.uv, UV_RUN_NOWAIT);
    ck_assert_uint_eq(w.withdrawn, 1);
    ck_assert(!has_folder(&w, "ia"));
    struct adit_buf text;
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/ended.jsonl", w.dir);
    adit_buf_init(&text, 4096);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    char *line = adit_buf_steal_str(&text);
    ck_assert_ptr_nonnull(strstr(
        line, "\"sandboxID\":\"ia\",\"state\":\"failed\",\"reason\":\"signal: \\\"killed\\\"?\""));
    free(line);
    adit_buf_fini(&text);
    close_world(&w);
}
END_TEST

/* The last words of a kernel come before the end, however late they are read. */
START_TEST(node_tells_a_panic_from_a_reboot)
{
    static const char words[] = "[    3.1] sysrq: Trigger a crash\r\n"
                                "[    3.2] Kernel panic - not syncing: sysrq triggered crash\r\n";
    struct world w;
    char path[200];
    open_world(&w);
    w.vmm.has_console = true;
    w.vmm.base.boot_ms = _i ? 1 : 0; /* a container has no kernel that could panic */
    create_running(&w, "ia");
    (void)snprintf(path, sizeof(path), "%s/sandboxes/ia/" VMM_CONSOLE_NAME, w.dir);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_eq(write(fd, words, sizeof(words) - 1), (ssize_t)sizeof(words) - 1);
    ck_assert_int_eq(close(fd), 0);
    node_exited(w.node, "ia", "the guest rebooted");
    run_until(&w, &w.released, 1);
    ck_assert_str_eq(w.released_reason, _i ? "the guest's kernel panicked: sysrq triggered crash"
                                           : "the guest rebooted");
    close_world(&w);
}
END_TEST

START_TEST(node_gives_a_kernel_its_name_and_entropy)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    ck_assert(!told(&w, "\"entropy\"") && !told(&w, "\"hostname\""));
    w.vmm.base.boot_ms = 1;
    create_running(&w, "ib");
    ck_assert(told(&w, "\"entropy\":\"") && told(&w, "\"hostname\":\"ib\""));
    close_world(&w);
}
END_TEST

/* Run until @cnt samples were taken, or refused or failed. */
static void run_until_asked(struct world *w, uint64_t cnt)
{
    const struct sampler_stats *s = node_sampling(w->node);
    uv_timer_init(&w->uv, &w->guard);
    uv_timer_start(&w->guard, on_guard, 20000, 0);
    while (s->taken + s->refused + s->failed < cnt)
        (void)uv_run(&w->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&w->guard, NULL);
    (void)uv_run(&w->uv, UV_RUN_NOWAIT);
}

START_TEST(node_samples_a_sandbox_and_believes_the_host_first)
{
    struct world w;
    open_world(&w);
    w.vmm.is_host_silent = _i == 1;
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_null(node_last_sample(s));
    run_until_asked(&w, 1);
    const struct sample *newest = node_last_sample(s);
    ck_assert_ptr_nonnull(newest);
    ck_assert_uint_eq(w.vmm.measured, 1);
    ck_assert_uint_eq(newest->cpu_centi_pct, 2550); /* the host did not tell */
    ck_assert_uint_eq(newest->disk_used, 7);
    ck_assert_uint_eq(newest->cpu_cnt, _i ? 8 : 1);
    ck_assert_uint_eq(newest->mem_total, _i ? 1000 : 100);
    ck_assert_uint_eq(newest->mem_used, _i ? 900 : 40);
    ck_assert_uint_eq(newest->mem_cache, _i ? 800 : 50);
    close_world(&w);
}
END_TEST

START_TEST(node_lives_with_a_guest_that_claims_nonsense)
{
    static char endless[SAMPLE_TEXT_CAP + 2];
    struct world w;
    open_world(&w);
    memset(endless, ' ', sizeof(endless) - 1);
    w.vmm.metrics = _i ? endless : "{\"cpu_count\":-1}";
    create_running(&w, "ia");
    run_until_asked(&w, 1);
    ck_assert_uint_eq(node_sampling(w.node)->refused, 1);
    ck_assert_uint_eq(node_sampling(w.node)->calls, 0);
    ck_assert_ptr_null(node_last_sample(node_find(w.node, "red", "ia")));
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_a_log_that_outlives_its_sandbox)
{
    struct world w;
    char path[128];
    struct adit_buf text;
    open_world(&w);
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "for a \"reason\"", on_ended, &w);
    run_until(&w, &w.released, 1);
    forget_node(&w);
    open_node(&w);
    (void)snprintf(path, sizeof(path), "%s/logs/ia.log", w.dir);
    adit_buf_init(&text, 65536);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    char *log = adit_buf_steal_str(&text);
    ck_assert_ptr_nonnull(strstr(log, "\"message\":\"sandbox runs\""));
    ck_assert_ptr_nonnull(strstr(log, "\"reason\":\"for a \\\"reason\\\"\"}"));
    free(log);
    close_world(&w);
}
END_TEST

SUITE_MAIN_WITH(
    "node",
    TESTS(node_answers_a_create_when_all_is_in_place,
          node_takes_all_metadata_and_variables_that_the_door_takes,
          node_finds_a_sandbox_for_its_team_only,
          node_kill_leaves_nothing_and_is_answered_when_it_is_done,
          node_kill_ends_a_sandbox_that_is_being_created,
          node_answers_a_kill_that_takes_too_long_during_a_creation,
          node_kill_leaves_a_sandbox_alone_until_its_route_is_withdrawn,
          node_kill_works_without_the_scheduler, node_tries_again_until_a_sandbox_is_destroyed,
          node_makes_no_sandbox_of_an_isolation_that_the_host_does_not_have,
          node_undoes_a_create_whose_driver_fails, node_undoes_a_create_whose_envd_refuses,
          node_gives_up_on_an_envd_that_is_never_ready, node_refuses_more_than_fits,
          node_refuses_an_id_twice, node_ends_a_sandbox_at_its_time,
          node_moves_the_end_and_puts_it_on_record, node_takes_a_change_back_that_cannot_be_saved,
          node_takes_a_change_back_to_what_was_adopted, node_tells_what_may_get_out_of_a_sandbox,
          node_lets_nothing_out_by_rules_that_are_over,
          node_undoes_a_create_whose_egress_finds_no_memory, node_knows_how_long_a_life_may_go_on,
          node_cleans_up_after_a_sandbox_that_ended_by_itself,
          node_gives_a_kernel_its_name_and_entropy, node_keeps_a_log_that_outlives_its_sandbox),
    LOOPS({node_tells_a_panic_from_a_reboot, 2},
          {node_samples_a_sandbox_and_believes_the_host_first, 2},
          {node_lives_with_a_guest_that_claims_nonsense, 2}))
