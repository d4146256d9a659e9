/* SPDX-License-Identifier: Apache-2.0 */
/* passwd(5) and group(5), friendly and hostile. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "base/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
                             "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
                             "user:x:1000:1001:A User,,,:/home/user:/bin/zsh\n"
                             "user:x:0:0:second:/:/bin/sh\n"
                             "bare:x:7:7:::\n"
                             "last:x:4294967294:4294967294::/l:/bin/sh";
static const char groups[] = "root:x:0:\n"
                             "sudo:x:27:user,daemon\n"
                             "user:x:1001:user\n"
                             "prefix:x:50:users,xuser,user2\n"
                             "docker:x:998:other,user\n"
                             "again:x:27:user\n";

static int find(const char *passwd_text, const char *name, struct user_entry *out)
{
    return user_find(adit_view_str(passwd_text), adit_view_str(groups), adit_view_str(name), out);
}

START_TEST(user_finds_first_match_with_its_groups)
{
    struct user_entry u;
    ck_assert_int_eq(find(passwd, "user", &u), 0);
    ck_assert_str_eq(u.name, "user");
    ck_assert_str_eq(u.home, "/home/user");
    ck_assert_str_eq(u.shell, "/bin/zsh");
    ck_assert_uint_eq(u.uid, 1000);
    ck_assert_uint_eq(u.gid, 1001);
    ck_assert_uint_eq(u.group_cnt, 2);
    ck_assert_uint_eq(u.groups[0], 27);
    ck_assert_uint_eq(u.groups[1], 998);
}
END_TEST

START_TEST(user_reads_last_line_without_its_end)
{
    struct user_entry u;
    ck_assert_int_eq(find(passwd, "last", &u), 0);
    ck_assert_uint_eq(u.uid, 4294967294U);
    ck_assert_uint_eq(u.group_cnt, 0);
}
END_TEST

START_TEST(user_fills_in_empty_home_and_shell)
{
    struct user_entry u;
    ck_assert_int_eq(find(passwd, "bare", &u), 0);
    ck_assert_str_eq(u.home, "/");
    ck_assert_str_eq(u.shell, "/bin/sh");
}
END_TEST

START_TEST(user_reports_unknown_names)
{
    struct user_entry u;
    ck_assert_int_eq(find(passwd, "nobody", &u), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(find(passwd, "use", &u), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(find(passwd, "1000", &u), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(find("", "user", &u), ADIT_ERR_NOT_FOUND);
}
END_TEST

START_TEST(user_refuses_names_that_no_line_can_have)
{
    char long_name[USER_NAME_CAP + 1];
    memset(long_name, 'a', USER_NAME_CAP);
    long_name[USER_NAME_CAP] = '\0';
    const char *const bad[] = {"",     "root:x", ":",  "a\nb", "a\tb",
                               "\x7f", "+",      "-x", "#",    long_name};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct user_entry u;
        ck_assert_msg(find(passwd, bad[i], &u) == ADIT_ERR_BAD_INPUT, "row %zu", i);
    }
    struct user_entry u;
    ck_assert_int_eq(
        user_find(adit_view_str(passwd), adit_view_str(groups), adit_view_mem("root\0", 5), &u),
        ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(user_skips_malformed_lines)
{
    static const char *const bad[] = {
        "u:x:0x0:0::/:/bin/sh",
        "u:x:00:0::/:/bin/sh",
        "u:x: 0:0::/:/bin/sh",
        "u:x:0 :0::/:/bin/sh",
        "u:x:-1:0::/:/bin/sh",
        "u:x:+1:0::/:/bin/sh",
        "u:x:4294967295:0::/:/bin/sh",
        "u:x:1:4294967295::/:/bin/sh",
        "u:x:4294967296:0::/:/bin/sh",
        "u:x::0::/:/bin/sh",
        "u:x:0:::/:/bin/sh",
        "u:x:0:0::/",
        "u:x:0:0",
        "u",
        " u:x:0:0::/:/bin/sh",
        "u :x:0:0::/:/bin/sh",
        "#u:x:0:0::/:/bin/sh",
        "+u:x:0:0::/:/bin/sh",
        "u:x:0:0::/a\x01:/bin/sh",
        "u:x:0:0::/:/bin/sh\r",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[200];
        struct user_entry u;
        ck_assert_msg(find(bad[i], "u", &u) == ADIT_ERR_NOT_FOUND, "%s", bad[i]);
        (void)snprintf(text, sizeof text, "%s\nu:x:5:6:::/bin/good\n", bad[i]);
        ck_assert_int_eq(find(text, "u", &u), 0);
        ck_assert_uint_eq(u.uid, 5);
    }
}
END_TEST

START_TEST(user_skips_overlong_lines_and_fields)
{
    static char text[3 * USER_LINE_CAP];
    static const struct {
        const char *before;
        int len;
    } rows[] = {{"u:x:1:1:", USER_LINE_CAP}, {"u:x:1:1::", USER_HOME_CAP}, {"u:x:1:1::/:", 1024}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct user_entry u;
        int len = sprintf(text, "%s", rows[i].before);
        memset(text + len, 'a', (size_t)rows[i].len);
        (void)sprintf(text + len + rows[i].len, ":/h:/s\nu:x:2:2::/h:/s\n");
        ck_assert_int_eq(find(text, "u", &u), 0);
        ck_assert_uint_eq(u.uid, 2);
    }
}
END_TEST

START_TEST(user_groups_stop_at_their_maximum)
{
    static char text[40 * 2 * USER_GROUPS_MAX];
    size_t len = 0;
    for (int i = 0; i < 2 * USER_GROUPS_MAX; i++)
        len += (size_t)sprintf(text + len, "g%d:x:%d:root\n", i, 100 + i);
    struct user_entry u;
    ck_assert_int_eq(
        user_find(adit_view_str(passwd), adit_view_mem(text, len), adit_view_str("root"), &u), 0);
    ck_assert_uint_eq(u.group_cnt, USER_GROUPS_MAX);
    ck_assert_uint_eq(u.groups[USER_GROUPS_MAX - 1], 100 + USER_GROUPS_MAX - 1);
}
END_TEST

START_TEST(user_names_ids)
{
    char name[USER_NAME_CAP];
    ck_assert_int_eq(user_name_of_uid(adit_view_str(passwd), 0, name), 0);
    ck_assert_str_eq(name, "root");
    ck_assert_int_eq(user_name_of_uid(adit_view_str(passwd), 1000, name), 0);
    ck_assert_str_eq(name, "user");
    ck_assert_int_eq(user_name_of_uid(adit_view_str(passwd), 4242, name), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(user_name_of_gid(adit_view_str(groups), 27, name), 0);
    ck_assert_str_eq(name, "sudo");
    ck_assert_int_eq(user_name_of_gid(adit_view_str(groups), 28, name), ADIT_ERR_NOT_FOUND);
}
END_TEST

SUITE_MAIN("user", user_finds_first_match_with_its_groups, user_reads_last_line_without_its_end,
           user_fills_in_empty_home_and_shell, user_reports_unknown_names,
           user_refuses_names_that_no_line_can_have, user_skips_malformed_lines,
           user_skips_overlong_lines_and_fields, user_groups_stop_at_their_maximum, user_names_ids)
