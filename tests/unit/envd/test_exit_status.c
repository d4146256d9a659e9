/* SPDX-License-Identifier: Apache-2.0 */
#include "envd/process/exit_status.h"

#include <stdio.h>

#include "tests/unit/suite.h"

static void check(int wait_status, int code, bool exited, const char *text)
{
    struct exit_status s;
    exit_status_of(wait_status, &s);
    ck_assert_int_eq(s.code, code);
    ck_assert_int_eq(s.exited, exited);
    ck_assert_str_eq(s.text, text);
}

START_TEST(exit_status_tells_every_exit_code)
{
    for (int code = 0; code < 256; code++) {
        char text[EXIT_STATUS_TEXT_CAP];
        (void)snprintf(text, sizeof text, "exit status %d", code);
        check(code << 8, code, true, text);
    }
}
END_TEST

START_TEST(exit_status_names_signals_as_clients_compare_them)
{
    static const struct {
        int number;
        const char *text;
    } rows[] = {
        {1, "signal: hangup"},
        {2, "signal: interrupt"},
        {3, "signal: quit"},
        {4, "signal: illegal instruction"},
        {5, "signal: trace/breakpoint trap"},
        {6, "signal: aborted"},
        {7, "signal: bus error"},
        {8, "signal: floating point exception"},
        {9, "signal: killed"},
        {10, "signal: user defined signal 1"},
        {11, "signal: segmentation fault"},
        {12, "signal: user defined signal 2"},
        {13, "signal: broken pipe"},
        {14, "signal: alarm clock"},
        {15, "signal: terminated"},
        {16, "signal: signal 16"},
        {31, "signal: signal 31"},
        {64, "signal: signal 64"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check(rows[i].number, -1, false, rows[i].text);
}
END_TEST

START_TEST(exit_status_tells_a_core_dump)
{
    check(6 | 0x80, -1, false, "signal: aborted (core dumped)");
    check(33 | 0x80, -1, false, "signal: signal 33 (core dumped)");
}
END_TEST

SUITE_MAIN("exit_status", exit_status_tells_every_exit_code,
           exit_status_names_signals_as_clients_compare_them, exit_status_tells_a_core_dump)
