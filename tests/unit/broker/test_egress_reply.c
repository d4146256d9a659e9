/* SPDX-License-Identifier: Apache-2.0 */
/* What name servers answer, and what of it a guest is told. */
#include "tests/unit/suite.h"

#include "broker/egress/egress_reply.h"
#include "dns_message.h"

#define NAME "www.example.com"

static struct egress_reply reply;
static struct dns_message m;

static void begin(unsigned rcode)
{
    dns_begin(&m, DNS_FLAGS_ANSWER | rcode, NAME, CONTROL_TYPE_A);
}

static const struct egress_resolved *read_as(unsigned type)
{
    egress_reply_read(&reply, dns_view(&m), adit_view_str(NAME), type);
    return &reply.resolved;
}

static const struct egress_resolved *read_it(void)
{
    return read_as(CONTROL_TYPE_A);
}

static void assert_answer(size_t i, const char *name, unsigned type, uint32_t ttl)
{
    const struct egress_answer *a = &reply.resolved.answers[i];
    ck_assert_uint_gt(reply.resolved.answer_cnt, i);
    ck_assert_msg(adit_view_eq_str(a->name, name), "%.*s", ADIT_VIEW_ARG(a->name));
    ck_assert_uint_eq(a->type, type);
    ck_assert_uint_eq(a->ttl, ttl);
}

static void assert_failed(void)
{
    ck_assert_int_eq(reply.resolved.rcode, EGRESS_RCODE_FAILED);
    ck_assert_uint_eq(reply.resolved.answer_cnt, 0);
    ck_assert_uint_eq(reply.resolved.negative_ttl, 0);
}

START_TEST(egress_reply_tells_addresses)
{
    begin(ns_r_noerror);
    dns_address(&m, "WWW.Example.com", 60, "192.0.2.1");
    dns_address(&m, NAME, 30, "192.0.2.2");
    ck_assert_int_eq(read_it()->rcode, EGRESS_RCODE_OK);
    ck_assert_uint_eq(reply.resolved.answer_cnt, 2);
    assert_answer(0, NAME, CONTROL_TYPE_A, 60);
    assert_answer(1, NAME, CONTROL_TYPE_A, 30);
    ck_assert(adit_view_eq(reply.answers[1].data, adit_view_mem("\xc0\0\2\2", 4)));
    ck_assert_uint_eq(reply.resolved.negative_ttl, 0);
}
END_TEST

START_TEST(egress_reply_tells_addresses_of_ipv6)
{
    dns_begin(&m, DNS_FLAGS_ANSWER, NAME, CONTROL_TYPE_AAAA);
    dns_address(&m, NAME, 60, "2001:db8::7");
    dns_address(&m, NAME, 60, "192.0.2.1"); /* was not asked for */
    ck_assert_uint_eq(read_as(CONTROL_TYPE_AAAA)->answer_cnt, 1);
    assert_answer(0, NAME, CONTROL_TYPE_AAAA, 60);
    ck_assert_uint_eq(reply.answers[0].data.len, 16);
}
END_TEST

START_TEST(egress_reply_follows_aliases_in_any_order)
{
    begin(ns_r_noerror);
    dns_address(&m, "c.example", 60, "192.0.2.1");
    dns_alias(&m, "B.example", 20, "C.example");
    dns_alias(&m, NAME, 10, "b.example");
    ck_assert_uint_eq(read_it()->answer_cnt, 3);
    assert_answer(0, NAME, CONTROL_TYPE_CNAME, 10);
    ck_assert(adit_view_eq_str(reply.answers[0].data, "b.example"));
    assert_answer(1, "b.example", CONTROL_TYPE_CNAME, 20);
    assert_answer(2, "c.example", CONTROL_TYPE_A, 60);
}
END_TEST

START_TEST(egress_reply_passes_over_what_was_not_asked_for)
{
    begin(ns_r_noerror);
    dns_address(&m, "other.example", 60, "192.0.2.9");
    dns_alias(&m, "other.example", 60, NAME);
    dns_record(&m, ns_s_an, NAME, ns_t_txt, 60, "\1x", 2);
    dns_record(&m, ns_s_an, NAME, ns_t_a, 60, "\1\2\3", 3); /* no address */
    dns_address(&m, NAME, 60, "192.0.2.1");
    ck_assert_uint_eq(read_it()->answer_cnt, 1);
    assert_answer(0, NAME, CONTROL_TYPE_A, 60);
}
END_TEST

START_TEST(egress_reply_bounds_ttls)
{
    begin(ns_r_noerror);
    dns_address(&m, NAME, 0x80000001u, "192.0.2.1");
    dns_address(&m, NAME, 0x7fffffffu, "192.0.2.2");
    ck_assert_uint_eq(read_it()->answer_cnt, 2);
    assert_answer(0, NAME, CONTROL_TYPE_A, 0);
    assert_answer(1, NAME, CONTROL_TYPE_A, EGRESS_REPLY_TTL_MAX);
}
END_TEST

/* @soa_ttl 0: no SOA record. */
static const struct negative {
    unsigned rcode;
    uint32_t soa_ttl, minimum, expected;
    bool has_alias;
} negatives[] = {
    {ns_r_nxdomain, 0, 0, EGRESS_REPLY_NEGATIVE_TTL, false},
    {ns_r_nxdomain, 300, 60, 60, false},
    {ns_r_nxdomain, 30, 600, 30, false},
    {ns_r_nxdomain, 86400, 86400, EGRESS_REPLY_NEGATIVE_TTL_MAX, false},
    {ns_r_nxdomain, 300, 60, 60, true},
    {ns_r_noerror, 300, 60, 60, false},
    {ns_r_noerror, 300, 0, 0, true},
    {ns_r_noerror, 0, 0, EGRESS_REPLY_NEGATIVE_TTL, true},
};

START_TEST(egress_reply_says_how_long_there_is_nothing)
{
    const struct negative *n = &negatives[_i];
    begin(n->rcode);
    if (n->has_alias)
        dns_alias(&m, NAME, 10, "b.example");
    if (n->soa_ttl)
        dns_soa(&m, "example.com", n->soa_ttl, n->minimum);
    ck_assert_int_eq((int)read_it()->rcode, (int)n->rcode);
    ck_assert_uint_eq(reply.resolved.answer_cnt, n->has_alias);
    ck_assert_uint_eq(reply.resolved.negative_ttl, n->expected);
}
END_TEST

START_TEST(egress_reply_takes_a_broken_soa_for_none)
{
    begin(ns_r_nxdomain);
    dns_record(&m, ns_s_ns, "example.com", ns_t_soa, 300, "\0\0\0\0\0\1", 6);
    ck_assert_uint_eq(read_it()->negative_ttl, EGRESS_REPLY_NEGATIVE_TTL);
}
END_TEST

START_TEST(egress_reply_believes_no_address_of_a_missing_name)
{
    begin(ns_r_nxdomain);
    dns_address(&m, NAME, 60, "192.0.2.1");
    ck_assert_int_eq(read_it()->rcode, EGRESS_RCODE_NO_NAME);
    ck_assert_uint_eq(reply.resolved.answer_cnt, 0);
}
END_TEST

START_TEST(egress_reply_tells_refusal_and_failure)
{
    begin(ns_r_refused);
    ck_assert_int_eq(read_it()->rcode, EGRESS_RCODE_REFUSED);
    begin(ns_r_servfail);
    (void)read_it();
    assert_failed();
    begin(ns_r_formerr);
    dns_address(&m, NAME, 60, "192.0.2.1");
    (void)read_it();
    assert_failed();
}
END_TEST

START_TEST(egress_reply_gives_up_in_a_circle)
{
    begin(ns_r_noerror);
    dns_alias(&m, NAME, 10, "b.example");
    dns_alias(&m, "b.example", 10, NAME);
    (void)read_it();
    assert_failed();
    begin(ns_r_noerror);
    dns_alias(&m, NAME, 10, NAME);
    (void)read_it();
    assert_failed();
}
END_TEST

START_TEST(egress_reply_follows_so_many_aliases)
{
    for (int more = 0; more <= 1; more++) {
        char from[32] = NAME, to[32];
        begin(ns_r_noerror);
        for (int i = 0; i < EGRESS_REPLY_ALIASES_MAX + more; i++) {
            (void)snprintf(to, sizeof(to), "a%d.example", i);
            dns_alias(&m, from, 10, to);
            memcpy(from, to, sizeof(from));
        }
        dns_address(&m, from, 60, "192.0.2.1");
        (void)read_it();
        if (more)
            assert_failed();
        else
            assert_answer(EGRESS_REPLY_ALIASES_MAX, from, CONTROL_TYPE_A, 60);
    }
}
END_TEST

START_TEST(egress_reply_leaves_out_what_is_too_much)
{
    begin(ns_r_noerror);
    for (int i = 0; i < 300; i++)
        dns_address(&m, NAME, 60, "192.0.2.1");
    ck_assert_uint_eq(read_it()->answer_cnt, EGRESS_REPLY_ANSWERS_MAX);
}
END_TEST

START_TEST(egress_reply_refuses_names_of_other_characters)
{
    static const char *const names[] = {"a b.example",       "a\\b.example", "a\001.example",
                                        "a\xc3\xbc.example", "a/b.example",  "a@b.example"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        begin(ns_r_noerror);
        dns_alias(&m, NAME, 10, names[i]);
        (void)read_it();
        assert_failed();
        ck_assert(!egress_reply_is_name(adit_view_str(names[i])));
    }
    ck_assert(egress_reply_is_name(adit_view_str("_sip._tcp.A-1.example")));
}
END_TEST

START_TEST(egress_reply_refuses_an_answer_to_something_else)
{
    begin(ns_r_noerror);
    m.bytes[2] &= 0x7f; /* a question */
    (void)read_it();
    assert_failed();
    begin(ns_r_noerror);
    (void)read_as(CONTROL_TYPE_AAAA);
    assert_failed();
    dns_begin(&m, DNS_FLAGS_ANSWER, "www.example.org", CONTROL_TYPE_A);
    dns_address(&m, NAME, 60, "192.0.2.1");
    (void)read_it();
    assert_failed();
    dns_begin(&m, DNS_FLAGS_ANSWER | DNS_FLAG_TC, NAME, CONTROL_TYPE_A);
    dns_address(&m, NAME, 60, "192.0.2.1");
    (void)read_it();
    assert_failed();
}
END_TEST

START_TEST(egress_reply_refuses_a_message_that_is_cut)
{
    begin(ns_r_noerror);
    dns_alias(&m, NAME, 10, "b.example");
    dns_address(&m, "b.example", 60, "192.0.2.1");
    size_t whole = m.len;
    for (m.len = 0; m.len < whole; m.len++) {
        (void)read_it();
        assert_failed();
    }
    ck_assert_uint_eq(read_it()->answer_cnt, 2);
}
END_TEST

SUITE_MAIN_WITH(
    "egress_reply",
    TESTS(egress_reply_tells_addresses, egress_reply_tells_addresses_of_ipv6,
          egress_reply_follows_aliases_in_any_order,
          egress_reply_passes_over_what_was_not_asked_for, egress_reply_bounds_ttls,
          egress_reply_takes_a_broken_soa_for_none,
          egress_reply_believes_no_address_of_a_missing_name,
          egress_reply_tells_refusal_and_failure, egress_reply_gives_up_in_a_circle,
          egress_reply_follows_so_many_aliases, egress_reply_leaves_out_what_is_too_much,
          egress_reply_refuses_names_of_other_characters,
          egress_reply_refuses_an_answer_to_something_else,
          egress_reply_refuses_a_message_that_is_cut),
    LOOPS({egress_reply_says_how_long_there_is_nothing, sizeof(negatives) / sizeof(negatives[0])}))
