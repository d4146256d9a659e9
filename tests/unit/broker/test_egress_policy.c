/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox may connect to: a row for each rule, precedence and spelling. */
#include "../suite.h"
#include "broker/egress/egress_policy.h"

#define V(literal) adit_view_str(literal)

static const char *const open_text[] = {"10.9.0.0/16", "fd00:9::/32"};
static const char *const closed_text[] = {"10.9.9.9", "198.100.0.1"};
static struct ip_block open_blocks[2], closed_blocks[2];
static struct egress_operator operator_ = {open_blocks, closed_blocks, 2, 2};

static void setup(void)
{
    for (int i = 0; i < 2; i++) {
        ck_assert(ip_block_parse(V(open_text[i]), &open_blocks[i]));
        ck_assert(ip_block_parse(V(closed_text[i]), &closed_blocks[i]));
    }
}

/* @names: what was looked up, separated by spaces. */
static enum egress_verdict judge(const char *network, bool is_offline, const char *address,
                                 const char *names)
{
    struct egress_policy *p;
    struct adit_err err;
    struct ip_addr addr;
    struct adit_view list[8], rest = V(names);
    size_t cnt = 0;
    json_t *doc = network ? json_loads(network, 0, NULL) : NULL;
    ck_assert_msg(!network || doc, "%s", network);
    ck_assert_msg(ip_addr_parse(V(address), &addr), "%s", address);
    ck_assert_int_eq(egress_policy_compile(doc, is_offline, &operator_, &p, &err), ADIT_OK);
    while (rest.len > 0)
        (void)adit_view_split(rest, ' ', &list[cnt++], &rest);
    enum egress_verdict v = egress_policy_judge(p, &addr, list, cnt);
    egress_policy_free(p);
    json_decref(doc);
    return v;
}

#define ALL_BUT "{\"denyOut\":[\"0.0.0.0/0\"],\"allowOut\":"

static const struct row {
    const char *network;
    bool is_offline;
    const char *address, *names;
    enum egress_verdict expected;
} rows[] = {
    /* nothing said */
    {NULL, false, "8.8.8.8", "", EGRESS_ALLOW},
    {NULL, false, "2606:4700::1111", "", EGRESS_ALLOW},
    {NULL, true, "8.8.8.8", "", EGRESS_DENY},
    {NULL, true, "2606:4700::1111", "dns.example", EGRESS_DENY},
    /* not of the public internet */
    {NULL, false, "127.0.0.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "0.0.0.0", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "10.1.2.3", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "10.9.1.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "172.31.0.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "172.32.0.1", "", EGRESS_ALLOW},
    {NULL, false, "192.168.1.1", "intranet.example", EGRESS_DENY_SPECIAL},
    {NULL, false, "169.254.169.254", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "100.64.0.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "224.0.0.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "255.255.255.255", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "::", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "fe80::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "fd00::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "ff02::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "2001:db8::1", "", EGRESS_DENY_SPECIAL},
    /* IPv4 in the clothes of IPv6 */
    {NULL, false, "::ffff:127.0.0.1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "::ffff:8.8.8.8", "", EGRESS_ALLOW},
    {NULL, false, "64:ff9b::a00:1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "64:ff9b::808:808", "", EGRESS_ALLOW},
    {NULL, false, "2002:7f00:1::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "::127.0.0.1", "", EGRESS_DENY_SPECIAL},
    {"{\"denyOut\":[\"8.8.8.0/24\"]}", false, "::ffff:8.8.8.8", "", EGRESS_DENY},
    {"{\"denyOut\":[\"8.8.8.0/24\"]}", false, "64:ff9b::808:808", "", EGRESS_DENY},
    {"{\"denyOut\":[\"8.8.8.0/24\"]}", false, "2002:808:808::1", "", EGRESS_DENY},
    {"{\"denyOut\":[\"8.8.8.0/24\"]}", false, "64:ff9b::808:101", "", EGRESS_ALLOW},
    {NULL, false, "64:ff9b::c664:1", "", EGRESS_DENY_SPECIAL}, /* 198.100.0.1 is the host */
    {NULL, false, "2002:c664:1::1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "64:ff9b:1::a00:1", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "2001:0:4136:e378:8000:63bf:f5ff:fffe", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "0.0.0.0", "", EGRESS_DENY_SPECIAL},
    {NULL, false, "::ffff:0:8.8.8.8", "", EGRESS_DENY_SPECIAL},
    /* the host itself, whatever anybody says */
    {NULL, false, "198.100.0.1", "", EGRESS_DENY_SPECIAL},
    {"{\"allowOut\":[\"198.100.0.1\"]}", false, "198.100.0.1", "", EGRESS_DENY_SPECIAL},
    {"{\"allowOut\":[\"10.9.9.9\"]}", false, "10.9.9.9", "", EGRESS_DENY_SPECIAL},
    /* opened by the operator, and asked for */
    {"{\"allowOut\":[\"10.9.1.0/24\"]}", false, "10.9.1.1", "", EGRESS_ALLOW},
    {"{\"allowOut\":[\"10.9.1.0/24\"]}", true, "10.9.1.1", "", EGRESS_ALLOW},
    {"{\"allowOut\":[\"10.8.1.0/24\"]}", false, "10.8.1.1", "", EGRESS_DENY_SPECIAL},
    {"{\"allowOut\":[\"0.0.0.0/0\"]}", false, "10.9.1.1", "", EGRESS_DENY_SPECIAL},
    {"{\"allowOut\":[\"*\"]}", false, "10.9.1.1", "a.example", EGRESS_DENY_SPECIAL},
    {"{\"allowOut\":[\"fd00:9::/48\"]}", false, "fd00:9::1", "", EGRESS_ALLOW},
    {"{\"allowOut\":[\"127.0.0.1\"]}", false, "127.0.0.1", "", EGRESS_DENY_SPECIAL},
    /* blocks */
    {"{\"denyOut\":[\"8.8.8.8\"]}", false, "8.8.8.8", "", EGRESS_DENY},
    {"{\"denyOut\":[\"8.8.8.8\"]}", false, "8.8.4.4", "", EGRESS_ALLOW},
    {"{\"denyOut\":[\"8.8.8.8/8\"]}", false, "8.200.0.1", "", EGRESS_DENY},
    {"{\"denyOut\":[\"0.0.0.0/0\"]}", false, "2606:4700::1111", "", EGRESS_DENY},
    {"{\"denyOut\":[\"::/0\"]}", false, "8.8.8.8", "", EGRESS_DENY},
    {"{\"denyOut\":[\"2606:4700::/32\"]}", false, "2606:4700::1111", "", EGRESS_DENY},
    {ALL_BUT "[\"8.8.8.8\"]}", false, "8.8.8.8", "", EGRESS_ALLOW},
    {ALL_BUT "[\"8.8.8.8\"]}", false, "8.8.4.4", "", EGRESS_DENY},
    {"{\"denyOut\":[\"8.8.8.8\"],\"allowOut\":[\"8.8.0.0/16\"]}", false, "8.8.8.8", "",
     EGRESS_ALLOW},
    {"{\"allowOut\":[\"8.8.8.8\"]}", true, "8.8.8.8", "", EGRESS_ALLOW},
    {"{\"allowOut\":[\"8.8.8.8\"]}", true, "1.1.1.1", "", EGRESS_DENY},
    {"{\"allowOut\":[\"0.0.0.0/0\"]}", true, "1.1.1.1", "", EGRESS_ALLOW},
    /* names */
    {ALL_BUT "[\"pypi.example\"]}", false, "8.8.8.8", "pypi.example", EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"pypi.example\"]}", false, "8.8.8.8", "", EGRESS_DENY},
    {ALL_BUT "[\"pypi.example\"]}", false, "8.8.8.8", "evil.example", EGRESS_DENY},
    {ALL_BUT "[\"pypi.example\"]}", false, "8.8.8.8", "evil.example pypi.example",
     EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"pypi.example\"]}", false, "10.0.0.1", "pypi.example", EGRESS_DENY_SPECIAL},
    {ALL_BUT "[\"pypi.example\"]}", false, "10.9.0.1", "pypi.example", EGRESS_DENY_SPECIAL},
    {ALL_BUT "[\"PyPI.Example.\"]}", false, "8.8.8.8", "pypi.example", EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"*.example\"]}", false, "8.8.8.8", "a.example", EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"*.example\"]}", false, "8.8.8.8", "b.a.example", EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"*.example\"]}", false, "8.8.8.8", "example", EGRESS_DENY},
    {ALL_BUT "[\"*.example\"]}", false, "8.8.8.8", "anexample", EGRESS_DENY},
    {ALL_BUT "[\"*.example\"]}", false, "8.8.8.8", ".example", EGRESS_DENY},
    {ALL_BUT "[\"*\"]}", false, "8.8.8.8", "a.example", EGRESS_ALLOW_NAMED},
    {ALL_BUT "[\"*\"]}", false, "8.8.8.8", "", EGRESS_DENY},
    {"{\"allowOut\":[\"pypi.example\"]}", true, "8.8.8.8", "pypi.example", EGRESS_ALLOW_NAMED},
};

START_TEST(egress_policy_judges_each_row)
{
    const struct row *r = &rows[_i];
    ck_assert_msg(judge(r->network, r->is_offline, r->address, r->names) == r->expected,
                  "%s%s %s \"%s\": %d", r->network ? r->network : "no rules",
                  r->is_offline ? ", offline" : "", r->address, r->names,
                  (int)judge(r->network, r->is_offline, r->address, r->names));
}
END_TEST

START_TEST(egress_policy_says_what_may_be_looked_up)
{
    static const struct {
        const char *network;
        bool is_offline, is_known, is_other;
    } cases[] = {
        {NULL, false, true, true},
        {NULL, true, false, false},
        {"{\"denyOut\":[\"0.0.0.0/0\"]}", false, false, false},
        {ALL_BUT "[\"known.example\"]}", false, true, false},
        {ALL_BUT "[\"8.8.8.8\"]}", false, true, true},
        {"{\"denyOut\":[\"8.8.8.8\"]}", false, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct egress_policy *p;
        struct adit_err err;
        json_t *doc = cases[i].network ? json_loads(cases[i].network, 0, NULL) : NULL;
        ck_assert_int_eq(egress_policy_compile(doc, cases[i].is_offline, &operator_, &p, &err),
                         ADIT_OK);
        ck_assert_int_eq(egress_policy_may_resolve(p, V("Known.example.")), cases[i].is_known);
        ck_assert_int_eq(egress_policy_may_resolve(p, V("other.example")), cases[i].is_other);
        egress_policy_free(p);
        json_decref(doc);
    }
}
END_TEST

START_TEST(egress_policy_refuses_what_nobody_validated)
{
    static const char *const wrong[] = {
        "{\"allowOut\":[1]}",
        "{\"allowOut\":[\"*a.example\"]}",
        "{\"allowOut\":[\"\"]}",
        "{\"denyOut\":[\"a.example\"]}",
        "{\"denyOut\":[\"1.2.3.4/33\"]}",
        "{\"denyOut\":[\"0x7f.1\"]}",
        "{\"denyOut\":[null]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct egress_policy *p;
        struct adit_err err;
        json_t *doc = json_loads(wrong[i], 0, NULL);
        ck_assert_msg(egress_policy_compile(doc, false, &operator_, &p, &err) == ADIT_ERR_BAD_INPUT,
                      "%s", wrong[i]);
        json_decref(doc);
    }
}
END_TEST

SUITE_MAIN_WITH("egress_policy", .fixtures = {{setup, NULL}},
                TESTS(egress_policy_says_what_may_be_looked_up,
                      egress_policy_refuses_what_nobody_validated),
                LOOPS({egress_policy_judges_each_row, sizeof rows / sizeof rows[0]}))
