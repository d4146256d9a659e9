/* SPDX-License-Identifier: Apache-2.0 */
#include "envd/process/env_block.h"

#include <stdio.h>

#include "tests/unit/suite.h"

static int set(struct env_block *b, const char *name, const char *value)
{
    return env_block_set(b, adit_view_str(name), adit_view_str(value), NULL);
}

START_TEST(env_block_is_empty_at_first)
{
    struct env_block b;
    env_block_init(&b);
    ck_assert_ptr_null(env_block_vars(&b)[0]);
    ck_assert_ptr_null(env_block_get(&b, "PATH"));
    env_block_fini(&b);
}
END_TEST

START_TEST(env_block_keeps_the_last_value_and_the_first_place)
{
    struct env_block b;
    env_block_init(&b);
    ck_assert_int_eq(set(&b, "A", "1"), ADIT_OK);
    ck_assert_int_eq(set(&b, "B", ""), ADIT_OK);
    ck_assert_int_eq(set(&b, "A", "x=y"), ADIT_OK);
    char **vars = env_block_vars(&b);
    ck_assert_str_eq(vars[0], "A=x=y");
    ck_assert_str_eq(vars[1], "B=");
    ck_assert_ptr_null(vars[2]);
    ck_assert_str_eq(env_block_get(&b, "A"), "x=y");
    env_block_fini(&b);
}
END_TEST

START_TEST(env_block_refuses_bad_names)
{
    struct env_block b;
    env_block_init(&b);
    ck_assert_int_eq(set(&b, "", "x"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(set(&b, "A=B", "x"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(env_block_set(&b, adit_view_mem("A\0B", 3), adit_view_str("x"), NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_null(env_block_vars(&b)[0]);
    env_block_fini(&b);
}
END_TEST

START_TEST(env_block_refuses_more_than_its_maximum)
{
    struct env_block b;
    char name[16];
    env_block_init(&b);
    for (int i = 0; i < ENV_BLOCK_VARS_MAX; i++) {
        (void)snprintf(name, sizeof name, "V%d", i);
        ck_assert_int_eq(set(&b, name, "x"), ADIT_OK);
    }
    ck_assert_int_eq(set(&b, "ONE_MORE", "x"), ADIT_ERR_LIMIT);
    ck_assert_int_eq(set(&b, "V7", "changed"), ADIT_OK);
    ck_assert_str_eq(env_block_vars(&b)[7], "V7=changed");
    ck_assert_ptr_null(env_block_vars(&b)[ENV_BLOCK_VARS_MAX]);
    env_block_fini(&b);
}
END_TEST

SUITE_MAIN("env_block", env_block_is_empty_at_first,
           env_block_keeps_the_last_value_and_the_first_place, env_block_refuses_bad_names,
           env_block_refuses_more_than_its_maximum)
