/* SPDX-License-Identifier: Apache-2.0 */
/* Users of requests: files of the guest, Basic header. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include "base/encode.h"
#include "envd/envd.h"

static struct envd e;

static void put(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

static void setup_envd(void)
{
    memset(&e, 0, sizeof e);
    e.user_files.etc = scratch_dir;
    (void)snprintf(e.default_user, sizeof e.default_user, "root");
}

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

START_TEST(user_is_found_in_the_guests_files_and_defaults)
{
    struct user_entry u;
    put("passwd", "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1001::/home/user:/bin/bash\n");
    put("group", "root:x:0:\nsudo:x:27:user\n");
    ck_assert_int_eq(envd_user(&e, str("user"), &u, NULL), 0);
    ck_assert_uint_eq(u.uid, 1000);
    ck_assert_uint_eq(u.gid, 1001);
    ck_assert_uint_eq(u.group_cnt, 1);
    ck_assert_int_eq(envd_user(&e, str(""), &u, NULL), 0);
    ck_assert_str_eq(u.name, "root");
    user_files_fini(&e.user_files);
}
END_TEST

START_TEST(user_change_of_the_files_is_seen)
{
    struct user_entry u;
    put("passwd", "a:x:1:1::/:/bin/sh\n");
    ck_assert_int_eq(envd_user(&e, str("a"), &u, NULL), 0);
    ck_assert_str_eq(user_files_user_name(&e.user_files, 1), "a");
    put("passwd", "bb:x:1:1::/:/bin/sh\n");
    ck_assert_int_eq(envd_user(&e, str("bb"), &u, NULL), 0);
    ck_assert_str_eq(user_files_user_name(&e.user_files, 1), "bb");
    ck_assert_int_eq(envd_user(&e, str("a"), &u, NULL), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(user_files_user_name(&e.user_files, 77), "77");
    user_files_fini(&e.user_files);
}
END_TEST

START_TEST(user_unknown_is_refused_by_name)
{
    struct user_entry u;
    struct adit_err err = ADIT_ERR_INIT;
    put("passwd", "root:x:0:0::/root:/bin/sh\n");
    ck_assert_int_eq(envd_user(&e, str("nobody"), &u, &err), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(err.msg, "invalid username: 'nobody'");
    e.default_user[0] = '\0';
    ck_assert_int_eq(envd_user(&e, str(""), &u, &err), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(err.msg, "no user specified");
    user_files_fini(&e.user_files);
}
END_TEST

START_TEST(user_root_exists_on_an_empty_root_file_system)
{
    struct user_entry u;
    ck_assert_int_eq(envd_user(&e, str("root"), &u, NULL), 0);
    ck_assert_uint_eq(u.uid, 0);
    ck_assert_str_eq(u.home, "/");
    ck_assert_int_eq(envd_user(&e, str("user"), &u, NULL), ADIT_ERR_UNAUTHENTICATED);
    ck_assert_str_eq(user_files_group_name(&e.user_files, 0), "0");
}
END_TEST

START_TEST(user_number_is_who_has_it_or_nobody_else)
{
    static const char *const bad[] = {"00", "0x7", "+7", "-7", "7:7", "4294967295", "99999999999"};
    struct user_entry u;
    put("passwd", "root:x:0:0:root:/root:/bin/bash\nuser:x:7:8::/home/user:/bin/bash\n"
                  "user:x:9:9::/:/bin/sh\n");
    put("group", "root:x:0:\nsudo:x:27:user\n");
    ck_assert_int_eq(envd_user(&e, str("7"), &u, NULL), 0);
    ck_assert_str_eq(u.name, "user");
    ck_assert_uint_eq(u.gid, 8);
    ck_assert_uint_eq(u.group_cnt, 1);
    ck_assert_int_eq(envd_user(&e, str("65532"), &u, NULL), 0);
    ck_assert_str_eq(u.name, "65532");
    ck_assert_str_eq(u.home, "/");
    ck_assert_uint_eq(u.uid, 65532);
    ck_assert_uint_eq(u.gid, 0);
    ck_assert_uint_eq(u.group_cnt, 0);
    ck_assert_int_eq(envd_user(&e, str("9"), &u, NULL), 0); /* its name is somebody else's */
    ck_assert_uint_eq(u.uid, 9);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(envd_user(&e, str(bad[i]), &u, NULL), ADIT_ERR_UNAUTHENTICATED);
    user_files_fini(&e.user_files);
}
END_TEST

START_TEST(user_fifo_in_place_of_passwd_does_not_block)
{
    struct user_entry u;
    ck_assert_int_eq(mkfifo(scratch("passwd"), 0600), 0);
    ck_assert_int_eq(envd_user(&e, str("user"), &u, NULL), ADIT_ERR_UNAUTHENTICATED);
}
END_TEST

/* The name in an Authorization header, or the error code. */
static const char *basic(const char *value)
{
    static char text[USER_NAME_CAP];
    static struct http_head head;
    head.header_cnt = value ? 1 : 0;
    head.headers[0].name = str("authorization");
    head.headers[0].value = str(value);
    int rc = envd_basic_user(&head, text, NULL);
    if (rc)
        (void)snprintf(text, sizeof text, "%d", rc);
    return text;
}

START_TEST(user_basic_header_table)
{
    static const char *const rows[][2] = {
        {NULL, ""},
        {"Basic dXNlcjo=", "user"},      /* user: */
        {"basic  dXNlcjpwYXNz", "user"}, /* user:pass, scheme in lower case, two spaces */
        {"Basic dXNlcjo", "user"},       /* without padding */
        {"Basic OnA=", ""},              /* :p */
        {"Bearer dXNlcjo=", ""},         /* not about the user */
        {"Basic", ""},                   /* no credentials at all */
        {"Basic dXNlcg==", "-2"},        /* user, no colon */
        {"Basic !!!", "-2"},
        {"Basic dXMAZXI6", "-2"}, /* NUL */
        {"Basic dXNlcjo= x", "-2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(strcmp(basic(rows[i][0]), rows[i][1]) == 0, "%s gave %s", rows[i][0],
                      basic(rows[i][0]));
}
END_TEST

START_TEST(user_basic_header_of_any_length_is_bounded)
{
    struct adit_buf b;
    char name[2 * USER_NAME_CAP + 64];
    memset(name, 'n', sizeof name);
    for (size_t len = USER_NAME_CAP - 3; len < sizeof name; len++) {
        adit_buf_init(&b, 4096);
        name[len - 1] = ':';
        ck_assert_int_eq(adit_buf_append_str(&b, "Basic "), 0);
        ck_assert_int_eq(adit_base64_append(&b, name, len), 0);
        char *value = adit_buf_steal_str(&b);
        const char *got = basic(value);
        ck_assert(len - 1 < USER_NAME_CAP ? strlen(got) == len - 1 : strcmp(got, "-2") == 0);
        name[len - 1] = 'n';
        free(value);
    }
}
END_TEST

START_TEST(user_basic_header_twice_is_refused)
{
    static struct http_head head;
    char text[USER_NAME_CAP];
    head.header_cnt = 2;
    for (int i = 0; i < 2; i++) {
        head.headers[i].name = str("authorization");
        head.headers[i].value = str("Basic dXNlcjo=");
    }
    ck_assert_int_eq(envd_basic_user(&head, text, NULL), ADIT_ERR_UNAUTHENTICATED);
}
END_TEST

SUITE_MAIN_WITH("envd_user", .fixtures = {{scratch_setup, scratch_teardown}, {setup_envd, NULL}},
                TESTS(user_is_found_in_the_guests_files_and_defaults,
                      user_change_of_the_files_is_seen, user_unknown_is_refused_by_name,
                      user_root_exists_on_an_empty_root_file_system,
                      user_number_is_who_has_it_or_nobody_else,
                      user_fifo_in_place_of_passwd_does_not_block, user_basic_header_table,
                      user_basic_header_twice_is_refused,
                      user_basic_header_of_any_length_is_bounded))
