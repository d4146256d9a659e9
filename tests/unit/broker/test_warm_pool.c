/* SPDX-License-Identifier: Apache-2.0 */
/* The warm pool on a node: filled, refilled, emptied with its template, backing off, drained. */
#include "tests/unit/suite.h"

#include <sys/stat.h>

#include "broker/node/sandbox.h"
#include "broker/node/warm_plan.h"
#include "node_fixture.h"

#define ID "abcdefghij0123456789"
#define BUILD_A "8f14e45f-ceea-467f-ab2b-0123456789ab"
#define BUILD_B "8f14e45f-ceea-467f-ab2b-0123456789ac"

static struct world w;
static struct template_dir *templates;
static unsigned scans, drained;

static void write_template(const char *build)
{
    char path[128], text[512];
    (void)snprintf(path, sizeof(path), "%s/templates/base/root", w.dir);
    ck_assert_int_eq(adit_file_mkdirs(path, 0700, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/templates/base/" TEMPLATE_FILE, w.dir);
    (void)snprintf(text, sizeof(text),
                   "{\"template_id\":\"" ID "\",\"build_id\":\"%s\",\"cpu_count\":1,"
                   "\"memory_mb\":128,\"disk_mb\":64,\"aliases\":[\"base\"],"
                   "\"created_at\":\"2026-11-21T07:00:00.000Z\"}",
                   build);
    ck_assert_int_eq(adit_file_replace(AT_FDCWD, path, adit_view_str(text), 0600, NULL), 0);
}

static void on_scanned(void *user, bool changed)
{
    (void)user;
    (void)changed;
    scans++;
    warm_pool_start(w.pool);
}

static void rescan(void *owner)
{
    (void)owner;
    (void)template_dir_scan(templates, on_scanned, NULL); /* one may run */
}

static void open_pool(const char *option)
{
    const struct warm_pool_conf conf = {.loop = &w.net,
                                        .node = w.node,
                                        .templates = templates,
                                        .option = option,
                                        .booting_max = 2,
                                        .rescan = rescan};
    ck_assert_int_eq(warm_pool_new(&conf, &w.pool, NULL), 0);
    rescan(NULL);
}

static void open_all(const char *option)
{
    char dir[96];
    scans = drained = 0;
    open_world(&w);
    write_template(BUILD_A);
    (void)snprintf(dir, sizeof(dir), "%s/templates", w.dir);
    ck_assert_int_eq(template_dir_new(&w.uv, dir, &templates, NULL), 0);
    open_pool(option);
}

static void close_pool(void)
{
    warm_pool_close(w.pool);
    warm_pool_free(w.pool);
    w.pool = NULL;
}

static void on_pool_drained(void *user)
{
    (void)user;
    drained++;
}

static void close_all(void)
{
    if (!drained) {
        warm_pool_drain(w.pool, on_pool_drained, NULL);
        ck_assert_uint_eq(drained, 0);
        run_until(&w, &drained, 1);
    }
    ck_assert_uint_eq(node_warm_sum(w.node).cnt, 0);
    close_pool();
    close_world(&w);
    template_dir_free(templates);
}

static struct warm_pool_figures figures(size_t row)
{
    struct warm_pool_figures f;
    ck_assert(warm_pool_measure(w.pool, row, &f));
    return f;
}

/* Run the loop until so many wait and none is booted. */
static void await_ready(unsigned cnt)
{
    for (int i = 0; i < 10000; i++) {
        const struct warm_pool_figures f = figures(0);
        ck_assert_uint_le(f.booting, 2);
        if (f.ready == cnt && f.booting == 0 && node_warm_sum(w.node).cnt == cnt)
            return;
        (void)uv_run(&w.uv, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    ck_abort_msg("%u never come to wait", cnt);
}

static void turn(unsigned times)
{
    while (times--) {
        (void)uv_run(&w.uv, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static void claim(char id[SANDBOX_ID_CAP])
{
    struct node_create spec = spec_of(id);
    unsigned before = w.created_cnt;
    spec.template_id = ID;
    ck_assert(warm_pool_take(w.pool, "base", "", id));
    ck_assert_int_eq(node_warm_claim(w.node, &spec, on_created, &w, NULL), 0);
    run_until(&w, &w.created_cnt, before + 1);
}

START_TEST(warm_pool_fills_and_refills)
{
    char id[SANDBOX_ID_CAP], first[SANDBOX_ID_CAP];
    open_all("base=2");
    ck_assert(!warm_pool_take(w.pool, "base", "", id)); /* it has not begun */
    await_ready(2);
    ck_assert(!warm_pool_take(w.pool, "other", "", id));
    ck_assert(!warm_pool_take(w.pool, "base", "vm", id));
    ck_assert_uint_eq(figures(0).misses, 0);
    claim(first);
    await_ready(2);
    ck_assert(warm_pool_take(w.pool, ID, "container", id));
    ck_assert_str_ne(id, first);
    warm_pool_give_back(w.pool, id);
    turn(20);
    const struct warm_pool_figures f = figures(0);
    ck_assert_uint_eq(f.ready, 2);
    ck_assert_uint_eq(f.boots, 3);
    ck_assert_uint_eq(f.claims, 1);
    ck_assert_str_eq(f.isolation, "container");
    node_kill(node_find(w.node, "red", first), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    close_all();
}
END_TEST

START_TEST(warm_pool_misses_when_it_is_empty)
{
    char id[SANDBOX_ID_CAP], other[SANDBOX_ID_CAP];
    open_all("base=1");
    await_ready(1);
    ck_assert(warm_pool_take(w.pool, "base", "", id));
    ck_assert(!warm_pool_take(w.pool, "base", "", other));
    ck_assert_uint_eq(figures(0).misses, 1);
    node_warm_end(w.node, id, "test");
    await_ready(1);
    ck_assert_uint_eq(figures(0).failures, 0);
    close_all();
}
END_TEST

START_TEST(warm_pool_is_emptied_with_its_template)
{
    char id[SANDBOX_ID_CAP], old[SANDBOX_ID_CAP];
    open_all("base=1");
    await_ready(1);
    ck_assert(warm_pool_take(w.pool, "base", "", old));
    warm_pool_give_back(w.pool, old);
    write_template(BUILD_B);
    ck_assert(!warm_pool_take(w.pool, "base", "", id)); /* seen at once */
    run_until(&w, &scans, 2);
    await_ready(1);
    ck_assert(warm_pool_take(w.pool, "base", "", id));
    ck_assert_str_ne(id, old);
    ck_assert(!node_has(w.node, old));
    warm_pool_give_back(w.pool, id);
    close_all();
}
END_TEST

START_TEST(warm_pool_sees_a_new_build_by_itself)
{
    open_all("base=1");
    await_ready(1);
    write_template(BUILD_B);
    run_until(&w, &scans, 2); /* WARM_POOL_LOOK_MS */
    await_ready(1);
    ck_assert_uint_eq(figures(0).boots, 2);
    close_all();
}
END_TEST

START_TEST(warm_pool_keeps_what_still_fits)
{
    const struct {
        const char *option;
        unsigned ready, boots;
    } next[] = {{"base=2", 2, 0}, {"base=3", 3, 1}, {"base=1", 1, 0}, {"", 0, 0}};
    open_all("base=2");
    await_ready(2);
    close_pool();
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    open_pool(next[_i].option);
    run_until(&w, &scans, 2);
    turn(2);
    if (next[_i].option[0]) {
        await_ready(next[_i].ready);
        ck_assert_uint_eq(figures(0).boots, next[_i].boots);
    }
    close_all();
}
END_TEST

START_TEST(warm_pool_backs_off)
{
    open_all("base=2");
    w.vmm.is_failing = true;
    run_until(&w, &w.warm_changes, 2);
    turn(100); /* more than one look would be 1000 */
    ck_assert_uint_eq(figures(0).boots, 2);
    ck_assert_uint_eq(figures(0).failures, 2);
    w.vmm.is_failing = false;
    skipped_ns += UINT64_C(1000000) * WARM_PLAN_RETRY_MIN_MS * 2;
    run_until(&w, &w.warm_changes, 3); /* at the next look */
    ck_assert_uint_eq(figures(0).failures, 2);
    ck_assert_int_eq(w.last_warm, SANDBOX_WARM);
    skipped_ns += UINT64_C(1000000) * WARM_PLAN_CALM_MS;
    await_ready(2);
    close_all();
}
END_TEST

START_TEST(warm_pool_replaces_what_dies)
{
    char id[SANDBOX_ID_CAP];
    open_all("base=1");
    await_ready(1);
    ck_assert(warm_pool_take(w.pool, "base", "", id));
    warm_pool_give_back(w.pool, id);
    node_exited(w.node, id, "signal: killed");
    ck_assert(!warm_pool_take(w.pool, "base", "", id));
    run_until(&w, &w.warm_changes, 2);
    ck_assert_uint_eq(figures(0).failures, 1);
    skipped_ns += UINT64_C(1000000) * WARM_PLAN_RETRY_MIN_MS;
    await_ready(1);
    close_all();
}
END_TEST

static const char *const useless[] = {"nothing=2", "base:vm=2", "base=0"};

START_TEST(warm_pool_boots_nothing_that_cannot_be_had)
{
    open_all(useless[_i]);
    run_until(&w, &scans, 1);
    turn(20);
    ck_assert_uint_eq(w.vmm.created, 0);
    ck_assert_uint_eq(figures(0).boots, 0);
    close_all();
}
END_TEST

START_TEST(warm_pool_takes_two_names_of_a_template_for_one)
{
    open_all("base=1," ID "=1");
    await_ready(1);
    turn(20);
    ck_assert_uint_eq(figures(0).boots, 1);
    ck_assert_uint_eq(figures(1).boots, 0);
    close_all();
}
END_TEST

START_TEST(warm_pool_refuses_an_option_that_means_nothing)
{
    const struct warm_pool_conf conf = {.option = "base"};
    struct warm_pool *p = NULL;
    ck_assert_int_eq(warm_pool_new(&conf, &p, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(warm_pool_drains_what_is_booted_too)
{
    open_all("base=2");
    run_until(&w, &w.vmm.created, 1);
    warm_pool_drain(w.pool, on_pool_drained, NULL);
    run_until(&w, &drained, 1);
    close_all();
}
END_TEST

SUITE_MAIN_WITH("warm_pool",
                TESTS(warm_pool_fills_and_refills, warm_pool_misses_when_it_is_empty,
                      warm_pool_is_emptied_with_its_template, warm_pool_sees_a_new_build_by_itself,
                      warm_pool_backs_off, warm_pool_replaces_what_dies,
                      warm_pool_takes_two_names_of_a_template_for_one,
                      warm_pool_refuses_an_option_that_means_nothing,
                      warm_pool_drains_what_is_booted_too),
                LOOPS({warm_pool_keeps_what_still_fits, 4},
                      {warm_pool_boots_nothing_that_cannot_be_had, 3}))
