/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines as a reader of stderr sees them. */
#include "tests/unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define TIME "2026-11-21T07:08:09.123Z"

static int pipe_fds[2], real_stderr;

static int64_t fixed_wall(void)
{
    return INT64_C(1795244889123456789);
}

static void begin(enum adit_log_level level, bool json)
{
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    real_stderr = dup(STDERR_FILENO);
    ck_assert_int_eq(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
    adit_clock_set(NULL, fixed_wall);
    adit_log_init("prog", level, json);
}

/* What was written since the last call. */
static const char *written(void)
{
    static char text[2 * ADIT_LOG_LINE_CAP];
    ssize_t n = read(pipe_fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_line(const char *expected)
{
    const char *got = written();
    if (strcmp(got, expected) != 0)
        (void)dup2(real_stderr, STDERR_FILENO); /* so that the failure is seen */
    ck_assert_str_eq(got, expected);
}

START_TEST(log_writes_fields_in_order)
{
    begin(ADIT_LOG_INFO, false);
    adit_log(ADIT_LOG_INFO, "sandbox_running", LOG_S("sandbox", "i3k"), LOG_U("ms", 12),
             LOG_D("change", -3), LOG_V("cut", adit_view_mem("abcdef", 3)));
    expect_line(TIME " info prog sandbox_running sandbox=i3k ms=12 change=-3 cut=abc\n");
    adit_log(ADIT_LOG_ERROR, "alone");
    expect_line(TIME " error prog alone\n");
    adit_log(ADIT_LOG_WARN, "numbers", LOG_U("max", UINT64_MAX), LOG_D("min", INT64_MIN));
    expect_line(TIME " warn prog numbers max=18446744073709551615 min=-9223372036854775808\n");
}
END_TEST

START_TEST(log_writes_json)
{
    begin(ADIT_LOG_INFO, true);
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_BAD_INPUT, "a \"b\"");
    adit_log(ADIT_LOG_WARN, "failed", LOG_ERR(&err), LOG_U("n", 1), LOG_S("none", NULL));
    expect_line("{\"timestamp\":\"" TIME "\",\"level\":\"warn\",\"logger\":\"prog\","
                "\"message\":\"failed\",\"error\":\"a \\\"b\\\"\",\"n\":1,\"none\":\"\"}\n");
}
END_TEST

START_TEST(log_leaves_out_lower_levels)
{
    begin(ADIT_LOG_WARN, false);
    adit_log(ADIT_LOG_INFO, "quiet");
    expect_line("");
    ck_assert(!adit_log_enabled(ADIT_LOG_INFO));
    ck_assert(adit_log_enabled(ADIT_LOG_ERROR));
}
END_TEST

START_TEST(log_values_cannot_forge_lines_or_fields)
{
    begin(ADIT_LOG_INFO, false);
    adit_log(ADIT_LOG_INFO, "e", LOG_S("v", "x\n" TIME " info prog forged"));
    expect_line(TIME " info prog e v=\"x\\n" TIME " info prog forged\"\n");
    adit_log(ADIT_LOG_INFO, "e", LOG_S("v", "a b=c"), LOG_S("w", "\x1b[2J"), LOG_S("x", "\""),
             LOG_S("y", "\xC2\x9B\xFF"), LOG_S("z", ""), LOG_V("n", adit_view_mem("\0", 1)));
    expect_line(TIME " info prog e v=\"a b=c\" w=\"\\u001b[2J\" x=\"\\\"\" "
                     "y=\"\\u009b\xEF\xBF\xBD\" z=\"\" n=\"\\u0000\"\n");
}
END_TEST

START_TEST(log_cuts_long_values)
{
    static const struct {
        char fill;
        size_t per_byte;
    } rows[] = {{'a', 1}, {'\n', 2}, {'\x01', 6}};
    begin(ADIT_LOG_INFO, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static char value[100000];
        memset(value, rows[i].fill, sizeof value);
        adit_log(ADIT_LOG_INFO, "e", LOG_V("v", adit_view_mem(value, sizeof value)));
        const char *line = written(), *start = strstr(line, "\"v\":\"");
        ck_assert_ptr_nonnull(start);
        size_t len = strlen(start + 5);
        ck_assert_str_eq(line + strlen(line) - 6, "...\"}\n");
        ck_assert_uint_eq(len - 6, ADIT_LOG_VALUE_CAP / rows[i].per_byte * rows[i].per_byte);
    }
}
END_TEST

START_TEST(log_line_that_is_full_stays_one_whole_line)
{
    static char value[ADIT_LOG_VALUE_CAP];
    memset(value, 'a', sizeof value);
    struct adit_view v = adit_view_mem(value, sizeof value);
    for (int json = 0; json < 2; json++) {
        begin(ADIT_LOG_INFO, json);
        adit_log(ADIT_LOG_INFO, "e", LOG_V("v", v), LOG_V("w", v), LOG_V("x", v), LOG_V("y", v),
                 LOG_U("after", 1));
        const char *line = written();
        ck_assert_uint_le(strlen(line), ADIT_LOG_LINE_CAP);
        ck_assert_ptr_nonnull(strstr(line, json ? "\"x\":\"aaa" : " x=aaa"));
        ck_assert_ptr_null(strstr(line, json ? "\"y\"" : " y="));
        ck_assert_ptr_null(strstr(line, "after"));
        ck_assert_ptr_nonnull(strstr(line, json ? "a\",\"cut\":true}\n" : "a cut=1\n"));
    }
}
END_TEST

START_TEST(log_drops_and_counts_when_the_reader_sleeps)
{
    begin(ADIT_LOG_INFO, false);
    char block[4096];
    memset(block, 'x', sizeof block);
    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(pipe_fds[1], block, sizeof block) > 0)
        ;
    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, 0), 0); /* a write would now block for good */
    for (int i = 0; i < 3; i++)
        adit_log(ADIT_LOG_INFO, "lost");
    while (read(pipe_fds[0], block, sizeof block) > 0)
        ;
    adit_log(ADIT_LOG_INFO, "kept", LOG_U("n", 1));
    expect_line(TIME " info prog kept dropped=3 n=1\n");
    adit_log(ADIT_LOG_INFO, "kept");
    expect_line(TIME " info prog kept\n");
}
END_TEST

START_TEST(log_keeps_errno)
{
    begin(ADIT_LOG_INFO, false);
    errno = EBADF;
    adit_log(ADIT_LOG_INFO, "e");
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(close(STDERR_FILENO), 0);
    errno = ENOENT;
    adit_log(ADIT_LOG_INFO, "e");
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(log_level_names_are_exact)
{
    enum adit_log_level level = ADIT_LOG_DEBUG;
    ck_assert_int_eq(adit_log_level_parse("warn", &level), 0);
    ck_assert_int_eq(level, ADIT_LOG_WARN);
    ck_assert_int_eq(adit_log_level_parse("WARN", &level), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(adit_log_level_parse("", &level), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(level, ADIT_LOG_WARN);
}
END_TEST

SUITE_MAIN("log", log_writes_fields_in_order, log_writes_json, log_leaves_out_lower_levels,
           log_values_cannot_forge_lines_or_fields, log_cuts_long_values,
           log_line_that_is_full_stays_one_whole_line, log_drops_and_counts_when_the_reader_sleeps,
           log_keeps_errno, log_level_names_are_exact)
