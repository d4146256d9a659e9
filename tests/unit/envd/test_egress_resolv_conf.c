/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver file that an image brings, and what becomes of it. */
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "envd/egress/egress_network.h"
#include "envd/egress/egress_resolv_conf.h"

static char dir[64], path[128];

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/resolv-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/resolv.conf", dir);
}

static void teardown(void)
{
    (void)unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void mend(const char *want)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf text;
    ck_assert_msg(egress_resolv_conf_mend(path, true, &err) == ADIT_OK, "%s", err.msg);
    adit_buf_init(&text, 65536);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, &err), ADIT_OK);
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&text), want), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&text)));
    adit_buf_fini(&text);
}

static void put(const char *text)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(adit_file_replace_lazy(AT_FDCWD, path, adit_view_str(text), 0644, &err),
                     ADIT_OK);
}

START_TEST(resolv_conf_knows_what_leads_to_the_stub)
{
    static const char *const usable[] = {"nameserver 8.8.8.8", "nameserver\t10.0.0.1\n",
                                         "search a.b\nnameserver 127.0.0.53 \n",
                                         "nameserver 127.0.0.1\nnameserver 1.1.1.1\n"};
    static const char *const useless[] = {"",
                                          "\n\n",
                                          "# nameserver 8.8.8.8\n",
                                          "nameserver 127.0.0.1\n",
                                          "nameserver 127.0.0.11\n",
                                          "nameserver\n",
                                          "nameserver8.8.8.8\n",
                                          "nameserver ::1\n",
                                          "nameserver 2001:4860:4860::8888\n",
                                          "nameserver dns.example.com\n",
                                          "nameserver 8.8.8\n"};
    for (size_t i = 0; i < sizeof(usable) / sizeof(usable[0]); i++)
        ck_assert_msg(egress_resolv_conf_is_usable(adit_view_str(usable[i]), true), "%s",
                      usable[i]);
    for (size_t i = 0; i < sizeof(useless) / sizeof(useless[0]); i++)
        ck_assert_msg(!egress_resolv_conf_is_usable(adit_view_str(useless[i]), true), "%s",
                      useless[i]);
}
END_TEST

START_TEST(resolv_conf_without_redirection_only_the_stub_itself_serves)
{
    static const char text[] = "nameserver 8.8.8.8\nnameserver " EGRESS_NETWORK_RESOLVER "\n";
    ck_assert(egress_resolv_conf_is_usable(adit_view_str(text), false));
    ck_assert(!egress_resolv_conf_is_usable(adit_view_mem(text, 18), false));
    ck_assert(egress_resolv_conf_is_usable(adit_view_mem(text, 18), true));
}
END_TEST

START_TEST(resolv_conf_that_serves_is_left_alone)
{
    struct stat before, after;
    put("nameserver 9.9.9.9\n");
    ck_assert_int_eq(stat(path, &before), 0);
    mend("nameserver 9.9.9.9\n");
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(resolv_conf_is_made_where_there_is_none)
{
    struct stat st;
    mend("nameserver 127.0.0.53\n");
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0644);
}
END_TEST

START_TEST(resolv_conf_keeps_its_other_lines)
{
    put("search corp.example\nnameserver 127.0.0.1\noptions ndots:2");
    mend("nameserver 127.0.0.53\nsearch corp.example\noptions ndots:2\n");
}
END_TEST

START_TEST(resolv_conf_that_is_a_link_is_replaced)
{
    struct stat st;
    ck_assert_int_eq(symlink("../run/systemd/resolve/stub-resolv.conf", path), 0);
    mend("nameserver 127.0.0.53\n");
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISREG(st.st_mode));
}
END_TEST

START_TEST(resolv_conf_without_end_is_replaced)
{
    static char text[EGRESS_RESOLV_CONF_MAX + 100];
    memset(text, '#', sizeof text - 1);
    put(text);
    mend("nameserver 127.0.0.53\n");
}
END_TEST

START_TEST(resolv_conf_that_cannot_be_written_is_told)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_ne(egress_resolv_conf_mend("/proc/no/such/file", true, &err), ADIT_OK);
    ck_assert_int_ne(err.code, ADIT_OK);
}
END_TEST

SUITE_MAIN_WITH("egress_resolv_conf", .fixtures = {{setup, teardown}},
                TESTS(resolv_conf_knows_what_leads_to_the_stub,
                      resolv_conf_without_redirection_only_the_stub_itself_serves,
                      resolv_conf_that_serves_is_left_alone,
                      resolv_conf_is_made_where_there_is_none, resolv_conf_keeps_its_other_lines,
                      resolv_conf_that_is_a_link_is_replaced, resolv_conf_without_end_is_replaced,
                      resolv_conf_that_cannot_be_written_is_told))
