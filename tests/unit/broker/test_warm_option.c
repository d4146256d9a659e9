/* SPDX-License-Identifier: Apache-2.0 */
/* The option --warm: what it takes and what it refuses. */
#include "tests/unit/suite.h"

#include <string.h>

#include "broker/node/warm_option.h"

START_TEST(warm_option_takes_rows)
{
    struct warm_option o;
    ck_assert_int_eq(warm_option_parse("", &o, NULL), 0);
    ck_assert_uint_eq(o.cnt, 0);
    ck_assert_int_eq(warm_option_parse("base=4, red/code-1:vm=256,base:container=0", &o, NULL), 0);
    ck_assert_uint_eq(o.cnt, 3);
    ck_assert_str_eq(o.rows[0].ref, "base");
    ck_assert_str_eq(o.rows[0].isolation, "");
    ck_assert_uint_eq(o.rows[0].count, 4);
    ck_assert_str_eq(o.rows[1].ref, "red/code-1");
    ck_assert_str_eq(o.rows[1].isolation, "vm");
    ck_assert_uint_eq(o.rows[1].count, 256);
    ck_assert_str_eq(o.rows[2].isolation, "container");
    ck_assert_uint_eq(o.rows[2].count, 0);
}
END_TEST

static const char *const bad[] = {
    "base",          "=4",      "base=",    "base=257",      "base=-1",
    "base=04",       "base=4;", "base:=4",  "base:v1=4",     ":vm=4",
    "base=4,,red=1", ",",       "base=4 1", "base=1,base=2", "a:vm=1,a:vm=1",
    "base:vm:vm=1",
};

START_TEST(warm_option_refuses)
{
    struct warm_option o;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(warm_option_parse(bad[_i], &o, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(strncmp(err.msg, "warm: \"", 7), 0);
}
END_TEST

START_TEST(warm_option_bounds_rows_and_names)
{
    struct warm_option o;
    char text[2048] = "", name[WARM_OPTION_REF_CAP + 8];
    for (int i = 0; i <= WARM_OPTION_ROWS_MAX; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "t%d=1,", i);
    ck_assert_int_eq(warm_option_parse(text, &o, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(o.cnt, WARM_OPTION_ROWS_MAX);
    memset(name, 'a', WARM_OPTION_REF_CAP - 1);
    strcpy(name + WARM_OPTION_REF_CAP - 1, "=1");
    ck_assert_int_eq(warm_option_parse(name, &o, NULL), 0);
    memset(name, 'a', WARM_OPTION_REF_CAP);
    strcpy(name + WARM_OPTION_REF_CAP, "=1");
    ck_assert_int_eq(warm_option_parse(name, &o, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("warm_option", TESTS(warm_option_takes_rows, warm_option_bounds_rows_and_names),
                LOOPS({warm_option_refuses, sizeof(bad) / sizeof(bad[0])}))
