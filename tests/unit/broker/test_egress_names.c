/* SPDX-License-Identifier: Apache-2.0 */
/* Names that led to addresses. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include "broker/egress/egress_names.h"

static struct egress_names *names;
static struct adit_view found[EGRESS_NAMES_OF_ADDRESS_MAX];

static void setup(void)
{
    names = egress_names_new();
    ck_assert_ptr_nonnull(names);
}

static void teardown(void)
{
    egress_names_free(names);
}

static struct ip_addr address(uint32_t n)
{
    struct ip_addr a;
    unsigned char bytes[4] = {9, (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                              (unsigned char)n};
    ck_assert(ip_addr_from_bytes(adit_view_mem(bytes, sizeof(bytes)), &a));
    return a;
}

static int learn(const char *name, uint32_t n, uint32_t ttl, uint64_t now_ms)
{
    struct ip_addr a = address(n);
    struct egress_answer answers[] = {
        {adit_view_str(name), CONTROL_TYPE_CNAME, 1, ADIT_VIEW("alias.example")},
        {ADIT_VIEW("alias.example"), CONTROL_TYPE_A, ttl, adit_view_mem(a.bytes + 12, 4)}};
    struct egress_resolved r = {EGRESS_RCODE_OK, 0, answers, 2};
    return egress_names_learn(names, adit_view_str(name), &r, now_ms);
}

static size_t ask(uint32_t n, uint64_t now_ms)
{
    struct ip_addr a = address(n);
    return egress_names_of(names, &a, now_ms, found);
}

START_TEST(egress_names_knows_what_was_looked_up_newest_first)
{
    ck_assert_int_eq(learn("A.Example", 1, 60, 0), ADIT_OK);
    ck_assert_int_eq(learn("b.example", 1, 60, 1), ADIT_OK);
    ck_assert_int_eq(learn("c.example", 2, 60, 1), ADIT_OK);
    ck_assert_uint_eq(ask(1, 2), 2);
    ck_assert(adit_view_eq_str(found[0], "b.example"));
    ck_assert(adit_view_eq_str(found[1], "a.example")); /* and no alias */
    ck_assert_uint_eq(ask(3, 2), 0);
}
END_TEST

START_TEST(egress_names_says_whether_a_name_led_to_an_address)
{
    struct ip_addr one, two;
    ck_assert(ip_addr_parse(adit_view_str("9.0.0.1"), &one));
    ck_assert(ip_addr_parse(adit_view_str("9.0.0.2"), &two));
    ck_assert_int_eq(learn("a.example", 1, 60, 0), ADIT_OK);
    ck_assert(egress_names_has(names, adit_view_str("A.example"), &one, 1));
    ck_assert(!egress_names_has(names, adit_view_str("A.example"), &two, 1));
    ck_assert(!egress_names_has(names, adit_view_str("b.example"), &one, 1));
    ck_assert(!egress_names_has(names, adit_view_str(""), &one, 1));
    ck_assert(
        !egress_names_has(names, adit_view_str("a.example"), &one, 60000 + EGRESS_NAMES_GRACE_MS));
}
END_TEST

START_TEST(egress_names_takes_either_spelling_of_an_address)
{
    struct ip_addr mapped;
    ck_assert_int_eq(learn("a.example", 1, 60, 0), ADIT_OK);
    ck_assert(ip_addr_parse(adit_view_str("::ffff:9.0.0.1"), &mapped));
    ck_assert_uint_eq(egress_names_of(names, &mapped, 0, found), 1);
}
END_TEST

START_TEST(egress_names_forgets_after_ttl_and_grace)
{
    uint64_t over = 60000 + EGRESS_NAMES_GRACE_MS;
    ck_assert_int_eq(learn("a.example", 1, 60, 0), ADIT_OK);
    ck_assert_uint_eq(ask(1, over - 1), 1);
    ck_assert_uint_eq(ask(1, over), 0);
    ck_assert_uint_eq(egress_names_cnt(names), 0);
}
END_TEST

START_TEST(egress_names_learns_again_and_never_shortens)
{
    ck_assert_int_eq(learn("a.example", 1, 600, 0), ADIT_OK);
    ck_assert_int_eq(learn("b.example", 1, 60, 0), ADIT_OK);
    ck_assert_int_eq(learn("A.example", 1, 1, 1), ADIT_OK);
    ck_assert_uint_eq(egress_names_cnt(names), 2);
    ck_assert_uint_eq(ask(1, 2), 2);
    ck_assert(adit_view_eq_str(found[0], "a.example"));
    ck_assert_uint_eq(ask(1, 600000 + EGRESS_NAMES_GRACE_MS - 1), 1);
}
END_TEST

START_TEST(egress_names_keeps_the_newest_of_all)
{
    char name[32];
    for (uint32_t i = 0; i < EGRESS_NAMES_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        ck_assert_int_eq(learn(name, i, 60, i), ADIT_OK);
    }
    ck_assert_uint_eq(egress_names_cnt(names), EGRESS_NAMES_MAX);
    ck_assert_uint_eq(ask(9, 5000), 0);
    ck_assert_uint_eq(ask(10, 5000), 1);
    ck_assert_uint_eq(ask(EGRESS_NAMES_MAX + 9, 5000), 1);
}
END_TEST

START_TEST(egress_names_keeps_the_newest_of_an_address)
{
    char name[32];
    for (uint32_t i = 0; i < EGRESS_NAMES_OF_ADDRESS_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        ck_assert_int_eq(learn(name, 7, 60, i), ADIT_OK);
    }
    ck_assert_uint_eq(ask(7, 100), EGRESS_NAMES_OF_ADDRESS_MAX);
    ck_assert(adit_view_eq_str(found[0], "n73.example"));
    ck_assert(adit_view_eq_str(found[EGRESS_NAMES_OF_ADDRESS_MAX - 1], "n10.example"));
}
END_TEST

START_TEST(egress_names_says_when_memory_is_gone)
{
    int rc = ADIT_ERR_NO_MEMORY;
    ck_assert_int_eq(learn("known.example", 1, 60, 0), ADIT_OK);
    for (long n = 1; rc != ADIT_OK; n++) {
        failing_malloc.countdown = n;
        rc = learn("new.example", 2, 60, 0);
        ck_assert_uint_eq(ask(2, 0), rc == ADIT_OK);
        ck_assert_uint_eq(egress_names_cnt(names), rc == ADIT_OK ? 2 : 1);
        ck_assert_int_lt(n, 20);
    }
    failing_malloc.countdown = 0;
}
END_TEST

SUITE_MAIN_WITH("egress_names", .fixtures = {{setup, teardown}},
                TESTS(egress_names_knows_what_was_looked_up_newest_first,
                      egress_names_says_whether_a_name_led_to_an_address,
                      egress_names_takes_either_spelling_of_an_address,
                      egress_names_forgets_after_ttl_and_grace,
                      egress_names_learns_again_and_never_shortens,
                      egress_names_keeps_the_newest_of_all,
                      egress_names_keeps_the_newest_of_an_address,
                      egress_names_says_when_memory_is_gone))
