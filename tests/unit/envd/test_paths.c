/* SPDX-License-Identifier: Apache-2.0 */
/* The path rules: the contract's section 2.4 as tables. */
#include "tests/unit/suite.h"
#include <stdlib.h>

#include "envd/envd.h"
#include "envd/paths.h"

static const char *resolve(const char *workdir, const char *path)
{
    static char text[8192];
    struct paths_base base = {"user", "/home/user", workdir};
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf out;
    adit_buf_init(&out, 8192);
    int rc = paths_resolve(&base, adit_view_str(path), &out, &err);
    (void)snprintf(text, sizeof text, "%.*s", ADIT_VIEW_ARG(adit_buf_view(&out)));
    if (rc)
        (void)snprintf(text, sizeof text, "%d %s", rc, err.msg);
    adit_buf_fini(&out);
    return text;
}

START_TEST(paths_follow_the_rules_of_the_contract)
{
    static const char *const rows[][3] = {
        {"", "", "/home/user"},
        {"/work", "", "/work"},
        {"sub", "", "/home/user/sub"},
        {"/work", "a", "/home/user/a"}, /* the home, not the workdir */
        {"", "~", "/home/user"},
        {"", "~/", "/home/user"},
        {"", "~/x//y/../z", "/home/user/x/z"},
        {"", "/a//b/../c/", "/a//b/../c/"}, /* absolute: as it is */
        {"", "a/./b/", "/home/user/a/b"},
        {"", "../../../..", "/"},
        {"", "../other/x", "/home/other/x"},
        {"", ".", "/home/user"},
        {"", "a~", "/home/user/a~"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_str_eq(resolve(rows[i][0], rows[i][1]), rows[i][2]);
}
END_TEST

START_TEST(paths_refuse_another_users_home)
{
    ck_assert_str_eq(resolve("", "~root/x"),
                     "-1 failed to expand path '~root/x' for user 'user': cannot expand "
                     "user-specific home dir");
}
END_TEST

START_TEST(paths_refuse_nul_and_overlong)
{
    struct paths_base base = {"user", "/home/user", ""};
    struct adit_buf out;
    char *text = malloc(ENVD_PATH_CAP);
    memset(text, 'a', ENVD_PATH_CAP);
    adit_buf_init(&out, 4 * ENVD_PATH_CAP);
    ck_assert_int_eq(paths_resolve(&base, adit_view_mem("/a\0b", 4), &out, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(paths_resolve(&base, adit_view_mem(text, ENVD_PATH_CAP), &out, NULL),
                     ADIT_ERR_BAD_INPUT);
    /* short enough alone, too long with the home */
    ck_assert_int_eq(paths_resolve(&base, adit_view_mem(text, ENVD_PATH_CAP - 5), &out, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(out.len, 0);
    adit_buf_fini(&out);
    free(text);
}
END_TEST

START_TEST(paths_split_into_directory_and_name)
{
    static const char *const rows[][3] = {
        {"/a/b", "/a", "b"}, {"/a/b//", "/a", "b"}, {"/a", "/", "a"},  {"/", "/", "/"},
        {"a", ".", "a"},     {"", ".", "."},        {"//a", "/", "a"}, {"a/b", "a", "b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct adit_view path = adit_view_str(rows[i][0]);
        ck_assert_msg(adit_view_eq_str(paths_dir_name(path), rows[i][1]), "dir of %s", rows[i][0]);
        ck_assert_msg(adit_view_eq_str(paths_base_name(path), rows[i][2]), "base of %s",
                      rows[i][0]);
    }
}
END_TEST

START_TEST(paths_clean_keeps_leading_dots_of_relative_paths)
{
    static const char *const rows[][2] = {
        {"../a/../../b", "../../b"},
        {"a/..", "."},
        {"", "."},
        {"/..", "/"},
        {"//", "/"},
        {"/a/b/../../..", "/"},
        {"./a", "a"},
        {"a/../../b/..", ".."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct adit_buf out;
        adit_buf_init(&out, 256);
        ck_assert_int_eq(paths_clean(adit_view_str(rows[i][0]), &out), 0);
        ck_assert_msg(adit_view_eq_str(adit_buf_view(&out), rows[i][1]), "%s gave %.*s", rows[i][0],
                      ADIT_VIEW_ARG(adit_buf_view(&out)));
        adit_buf_fini(&out);
    }
}
END_TEST

SUITE_MAIN("paths", paths_follow_the_rules_of_the_contract, paths_refuse_another_users_home,
           paths_refuse_nul_and_overlong, paths_split_into_directory_and_name,
           paths_clean_keeps_leading_dots_of_relative_paths)
