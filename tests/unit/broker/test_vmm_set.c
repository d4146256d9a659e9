/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/vmm/vmm_set.h"

#include "tests/unit/suite.h"

static struct vmm container = {.name = "container", .isolation = "container"};
static struct vmm qemu = {.name = "qemu", .isolation = "vm"};
static struct vmm other = {.name = "other", .isolation = "vm", .unusable = "it is not installed"};
static const struct vmm_set set = {
    .items = {&other, &qemu, &container}, .cnt = 3, .fallback = &container};

START_TEST(vmm_set_chooses_by_isolation_what_the_host_can_use)
{
    ck_assert_ptr_eq(vmm_set_choose(&set, ""), &container);
    ck_assert_ptr_eq(vmm_set_choose(&set, "vm"), &qemu);
    ck_assert_ptr_eq(vmm_set_choose(&set, "container"), &container);
    ck_assert_ptr_null(vmm_set_choose(&set, "gvisor"));
}
END_TEST

START_TEST(vmm_set_finds_what_a_record_names_usable_or_not)
{
    ck_assert_ptr_eq(vmm_set_named(&set, "other"), &other);
    ck_assert_ptr_null(vmm_set_named(&set, "vm"));
}
END_TEST

START_TEST(vmm_set_names_each_isolation_once)
{
    const char *words[VMM_SET_MAX];
    ck_assert_uint_eq(vmm_set_isolations(&set, words), 2);
    ck_assert_str_eq(words[0], "vm");
    ck_assert_str_eq(words[1], "container");
}
END_TEST

START_TEST(vmm_set_knows_words_only_as_they_are)
{
    ck_assert(vmm_set_knows(adit_view_str("vm")) && vmm_set_knows(adit_view_str("gvisor")) &&
              vmm_set_knows(adit_view_str("container")));
    ck_assert(!vmm_set_knows(adit_view_str("")) && !vmm_set_knows(adit_view_str("VM")) &&
              !vmm_set_knows(adit_view_str("vm ")) && !vmm_set_knows(adit_view_str("v")));
}
END_TEST

SUITE_MAIN("vmm_set", vmm_set_chooses_by_isolation_what_the_host_can_use,
           vmm_set_finds_what_a_record_names_usable_or_not, vmm_set_names_each_isolation_once,
           vmm_set_knows_words_only_as_they_are)
