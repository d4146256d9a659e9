/* SPDX-License-Identifier: Apache-2.0 */
/* Figures in Prometheus' text format. */
#include "base/prom.h"

#include "tests/unit/suite.h"

static struct adit_buf out;

static void setup(void)
{
    adit_buf_init(&out, 65536);
}

static void teardown(void)
{
    adit_buf_fini(&out);
}

static void is_text(const char *text)
{
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&out), text), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&out)));
}

START_TEST(prom_writes_families_and_samples)
{
    struct prom p;
    prom_init(&p, &out);
    prom_counter(&p, "a_total", "Things.", UINT64_MAX);
    prom_family(&p, "b_bytes", "gauge", "More.");
    prom_u64(&p, (const struct prom_label[]){{"x", "1"}, {"y", "2"}, {NULL, NULL}}, 3);
    prom_real(&p, NULL, 0.25);
    ck_assert_int_eq(p.rc, 0);
    is_text("# HELP a_total Things.\n# TYPE a_total counter\na_total 18446744073709551615\n"
            "# HELP b_bytes More.\n# TYPE b_bytes gauge\nb_bytes{x=\"1\",y=\"2\"} 3\n"
            "b_bytes 0.25\n");
}
END_TEST

START_TEST(prom_escapes_values_of_labels)
{
    struct prom p;
    prom_init(&p, &out);
    prom_family(&p, "a", "gauge", "A.");
    prom_u64(&p, (const struct prom_label[]){{"x", "q\"b\\n\nz"}, {NULL, NULL}}, 1);
    is_text("# HELP a A.\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\nz\"} 1\n");
}
END_TEST

START_TEST(prom_sums_the_buckets_of_a_histogram)
{
    static const double bounds[] = {0.5, 2};
    static const uint64_t buckets[] = {3, 0, 4};
    struct prom p;
    prom_init(&p, &out);
    prom_family(&p, "h_seconds", "histogram", "H.");
    prom_histogram(&p, (const struct prom_label[]){{"k", "v"}, {NULL, NULL}}, bounds, buckets, 2,
                   9.5);
    is_text("# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
            "h_seconds_bucket{k=\"v\",le=\"0.5\"} 3\nh_seconds_bucket{k=\"v\",le=\"2\"} 3\n"
            "h_seconds_bucket{k=\"v\",le=\"+Inf\"} 7\nh_seconds_sum{k=\"v\"} 9.5\n"
            "h_seconds_count{k=\"v\"} 7\n");
}
END_TEST

START_TEST(prom_tells_of_the_process)
{
    struct prom p;
    prom_init(&p, &out);
    prom_process(&p, "x_build_info", "1.2.3");
    ck_assert_int_eq(p.rc, 0);
    char *text = adit_buf_steal_str(&out);
    ck_assert_ptr_nonnull(strstr(text, "x_build_info{version=\"1.2.3\"} 1\n"));
    ck_assert_ptr_null(strstr(text, "process_open_fds 0\n"));
    ck_assert_ptr_null(strstr(text, "process_resident_memory_bytes 0\n"));
    free(text);
}
END_TEST

START_TEST(prom_keeps_the_first_error)
{
    struct prom p;
    adit_buf_fini(&out);
    adit_buf_init(&out, 40);
    prom_init(&p, &out);
    prom_counter(&p, "a_total", "A help text that does not fit.", 1);
    ck_assert_int_eq(p.rc, ADIT_ERR_LIMIT);
    prom_counter(&p, "b", "B.", 1);
    ck_assert_int_eq(p.rc, ADIT_ERR_LIMIT);
}
END_TEST

SUITE_MAIN_WITH("prom", .fixtures = {{setup, teardown}},
                TESTS(prom_writes_families_and_samples, prom_escapes_values_of_labels,
                      prom_sums_the_buckets_of_a_histogram, prom_tells_of_the_process,
                      prom_keeps_the_first_error))
