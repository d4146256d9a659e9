/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/module_order.h"

#include "tests/unit/suite.h"

static const char dep[] = "kernel/a.ko:\n"
                          "kernel/b-b.ko.xz: kernel/a.ko\n"
                          "kernel/c.ko: kernel/b-b.ko.xz kernel/a.ko\n"
                          "kernel/d.ko: kernel/c.ko kernel/b-b.ko.xz kernel/a.ko\n"
                          "kernel/up.ko: ../../etc/x.ko\n"
                          "kernel/not.ko: kernel/readme\n"
                          "/kernel/root.ko:\n"
                          "no colon\n";
static const char builtin[] = "kernel/fs/ext4/ext4.ko\nkernel/net/unix-x.ko\n";

static struct module_order o;
static struct adit_err err;

static int add(const char *name)
{
    return module_order_add(&o, adit_view_str(dep), adit_view_str(builtin), name, &err);
}

static const char *order(void)
{
    static char text[1024];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < o.cnt; i++) {
        struct adit_view file = module_order_file(o.paths[i]);
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*s ", ADIT_VIEW_ARG(file));
    }
    return text;
}

static void setup(void)
{
    o.cnt = 0;
}

static void teardown(void)
{
}

START_TEST(module_order_has_each_after_those_it_needs)
{
    ck_assert_int_eq(add("d"), 0);
    ck_assert_str_eq(order(), "a.ko b-b.ko c.ko d.ko ");
}
END_TEST

START_TEST(module_order_has_each_once)
{
    ck_assert_int_eq(add("c"), 0);
    ck_assert_int_eq(add("a"), 0);
    ck_assert_int_eq(add("d"), 0);
    ck_assert_int_eq(add("d"), 0);
    ck_assert_str_eq(order(), "a.ko b-b.ko c.ko d.ko ");
}
END_TEST

START_TEST(module_order_takes_both_spellings_of_a_name)
{
    ck_assert_int_eq(add("b_b"), 0);
    ck_assert_str_eq(order(), "a.ko b-b.ko ");
    ck_assert_int_eq(add("unix_x"), 0);
}
END_TEST

START_TEST(module_order_leaves_out_what_is_built_in)
{
    ck_assert_int_eq(add("ext4"), 0);
    ck_assert_uint_eq(o.cnt, 0);
}
END_TEST

START_TEST(module_order_refuses_what_is_not_there_or_leads_elsewhere)
{
    ck_assert_int_eq(add("missing"), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(add(""), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(add("up"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(add("not"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(add("root"), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(module_order_is_bounded)
{
    static char text[64 * (MODULE_ORDER_MAX + 2)];
    size_t len = 0;
    char name[16];
    for (int i = 0; i <= MODULE_ORDER_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "k/m%d.ko:\n", i);
    for (int i = 0; i <= MODULE_ORDER_MAX; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        ck_assert_int_eq(module_order_add(&o, adit_view_str(text), adit_view_str(""), name, &err),
                         i < MODULE_ORDER_MAX ? 0 : ADIT_ERR_LIMIT);
    }
}
END_TEST

SUITE_MAIN_WITH("module_order", .fixtures = {{setup, teardown}},
                TESTS(module_order_has_each_after_those_it_needs, module_order_has_each_once,
                      module_order_takes_both_spellings_of_a_name,
                      module_order_leaves_out_what_is_built_in,
                      module_order_refuses_what_is_not_there_or_leads_elsewhere,
                      module_order_is_bounded))
