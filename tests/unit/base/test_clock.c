/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and RFC 3339. */
#include "tests/unit/suite.h"

#include <time.h>

#include "base/clock.h"

#define NS 1000000000

START_TEST(clock_formats_as_few_digits_as_say_all)
{
    static const struct {
        int64_t ns;
        const char *text, *ms_text;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000Z"},
        {1000, "1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000Z"},
        {120000000, "1970-01-01T00:00:00.120Z", "1970-01-01T00:00:00.120Z"},
        {-1, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999Z"},
        {INT64_C(951782400) * NS, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"},
        {INT64_C(1795244889) * NS + 123000000, "2026-11-21T07:08:09.123Z",
         "2026-11-21T07:08:09.123Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145224192Z", "1677-09-21T00:12:43.145Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[ADIT_CLOCK_RFC3339_CAP];
        int64_t back;
        adit_clock_format_rfc3339(rows[i].ns, out);
        ck_assert_str_eq(out, rows[i].text);
        ck_assert_int_eq(adit_clock_parse_rfc3339(adit_view_str(out), &back), 0);
        ck_assert_int_eq(back, rows[i].ns);
        adit_clock_format_ms(rows[i].ns, out);
        ck_assert_str_eq(out, rows[i].ms_text);
    }
}
END_TEST

START_TEST(clock_agrees_with_the_c_library_on_every_day)
{
    for (int64_t day = -106000; day < 106000; day++) {
        char out[ADIT_CLOCK_RFC3339_CAP], expected[40];
        time_t t = (time_t)(day * 86400 + 12345);
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
        ck_assert_uint_gt(strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%SZ", &tm), 0);
        adit_clock_format_rfc3339((int64_t)t * NS, out);
        ck_assert_str_eq(out, expected);
        int64_t back;
        ck_assert_int_eq(adit_clock_parse_rfc3339(adit_view_str(out), &back), 0);
        ck_assert_int_eq(back, (int64_t)t * NS);
    }
}
END_TEST

START_TEST(clock_reads_offsets_and_fractions)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T19:30:00-04:30", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T00:00:00.5Z", NS / 2},
        {"1970-01-01T00:00:01.000000001+00:00", NS + 1},
        {"1969-12-31T23:59:59.25Z", -NS / 4 * 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ns = 1;
        ck_assert_int_eq(adit_clock_parse_rfc3339(adit_view_str(rows[i].text), &ns), 0);
        ck_assert_int_eq(ns, rows[i].ns);
    }
}
END_TEST

START_TEST(clock_refuses_other_spellings_and_impossible_dates)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T07:08:09",
        "2026-11-21 07:08:09Z",
        "2026-11-21t07:08:09Z",
        "2026-11-21T07:08:09z",
        "2026-11-21T07:08:09.Z",
        "2026-11-21T07:08:09.1234567890Z",
        "2026-11-21T07:08:09,5Z",
        "2026-11-21T07:08:60Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T07:60:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "26-01-01T00:00:00Z",
        "2026-1-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00ZZ",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z ",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43.145224191Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ns = 42;
        ck_assert_msg(adit_clock_parse_rfc3339(adit_view_str(bad[i]), &ns) == ADIT_ERR_BAD_INPUT,
                      "%s", bad[i]);
        ck_assert_int_eq(ns, 42);
    }
}
END_TEST

static uint64_t fake_mono(void)
{
    return 5;
}

static int64_t fake_wall(void)
{
    return -5;
}

START_TEST(clock_sources_can_be_replaced_and_restored)
{
    adit_clock_set(fake_mono, fake_wall);
    ck_assert_uint_eq(adit_clock_mono_ns(), 5);
    ck_assert_int_eq(adit_clock_wall_ns(), -5);
    adit_clock_set(NULL, NULL);
    uint64_t before = adit_clock_mono_ns();
    ck_assert_uint_gt(before, 5);
    ck_assert_uint_ge(adit_clock_mono_ns(), before);
    ck_assert_int_gt(adit_clock_wall_ns(), INT64_C(1600000000) * NS);
}
END_TEST

SUITE_MAIN("clock", clock_formats_as_few_digits_as_say_all,
           clock_agrees_with_the_c_library_on_every_day, clock_reads_offsets_and_fractions,
           clock_refuses_other_spellings_and_impossible_dates,
           clock_sources_can_be_replaced_and_restored)
