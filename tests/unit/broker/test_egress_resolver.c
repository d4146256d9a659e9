/* SPDX-License-Identifier: Apache-2.0 */
/* Names from a name server on the loop. */
#include "tests/unit/net/failing_loop.h"
#include "tests/unit/net/net_fixture.h"

#include <sched.h>

#include "broker/egress/egress_resolver.h"
#include "dns_server.h"

#define NAME "www.example.com"

static struct egress_resolver *resolver;
static struct egress_query *query;
static struct {
    size_t cnt, answer_cnt;
    enum egress_rcode rcode;
    uint32_t negative_ttl, ttl;
    bool closes; /* the resolver, inside of done */
} told;

static void on_done(void *owner, const struct egress_resolved *r)
{
    DNS_NEEDS(owner == &told);
    told.cnt++;
    told.rcode = r->rcode;
    told.answer_cnt = r->answer_cnt;
    told.negative_ttl = r->negative_ttl;
    told.ttl = r->answer_cnt ? r->answers[r->answer_cnt - 1].ttl : 0;
    if (told.closes)
        egress_resolver_close(resolver);
}

static void answer(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)is_tcp;
    dns_begin(m, DNS_FLAGS_ANSWER, name, type);
    dns_alias(m, name, 20, "a.example");
    dns_address(m, "a.example", 60, type == ns_t_a ? "192.0.2.1" : "2001:db8::1");
}

static void say_nothing(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)m;
    (void)name;
    (void)type;
    (void)is_tcp;
}

static void start(dns_script_fn script)
{
    struct adit_err err = ADIT_ERR_INIT;
    fixture_init();
    dns_server_open(script);
    ck_assert_msg(egress_resolver_new(dns.address, &resolver, &err) == ADIT_OK, "%s", err.msg);
    egress_resolver_start(resolver, &F.net);
    memset(&told, 0, sizeof(told));
}

static int lookup(const char *name, unsigned type)
{
    return egress_resolver_lookup(resolver, name, type, on_done, &told, &query);
}

static void finish(void)
{
    egress_resolver_close(resolver);
    dns_server_close();
    fixture_fini();
}

START_TEST(egress_resolver_tells_addresses)
{
    static const unsigned types[] = {CONTROL_TYPE_A, CONTROL_TYPE_AAAA};
    start(answer);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(lookup(NAME, types[i]), ADIT_OK);
        ck_assert_uint_eq(told.cnt, i);
        run_until(told.cnt == i + 1);
        ck_assert_int_eq(told.rcode, EGRESS_RCODE_OK);
        ck_assert_uint_eq(told.answer_cnt, 2);
        ck_assert_uint_eq(told.ttl, 60);
    }
    finish();
}
END_TEST

static void deny(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)is_tcp;
    dns_begin(m, DNS_FLAGS_ANSWER | ns_r_nxdomain, name, type);
    dns_soa(m, "example.com", 300, 42);
}

START_TEST(egress_resolver_tells_that_a_name_is_missing)
{
    start(deny);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.rcode, EGRESS_RCODE_NO_NAME);
    ck_assert_uint_eq(told.negative_ttl, 42);
    finish();
}
END_TEST

static char last_asked[300];

static void deny_and_note(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)snprintf(last_asked, sizeof(last_asked), "%s", name);
    deny(m, name, type, is_tcp);
}

/* Nothing of the host's own files or search domains is told, nor added to what is asked. */
START_TEST(egress_resolver_asks_for_names_as_they_are)
{
    static const char *const names[] = {"localhost", "intranet", "ip6-allnodes"};
    ck_assert_int_eq(setenv("LOCALDOMAIN", "corp.example", 1), 0);
    start(deny_and_note);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_int_eq(lookup(names[i], CONTROL_TYPE_A), ADIT_OK);
        run_until(told.cnt == i + 1);
        ck_assert_int_eq(told.rcode, EGRESS_RCODE_NO_NAME);
        ck_assert_str_eq(last_asked, names[i]);
        ck_assert_uint_eq(dns.udp_cnt + dns.tcp_cnt, i + 1);
    }
    finish();
}
END_TEST

static void have_none(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)is_tcp;
    dns_begin(m, DNS_FLAGS_ANSWER, name, type);
    dns_soa(m, "example.com", 300, 42);
}

START_TEST(egress_resolver_tells_that_a_name_has_no_such_address)
{
    start(have_none);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_AAAA), ADIT_OK);
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.rcode, EGRESS_RCODE_OK);
    ck_assert_uint_eq(told.answer_cnt, 0);
    ck_assert_uint_eq(told.negative_ttl, 42);
    finish();
}
END_TEST

static void be_long(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    if (is_tcp)
        answer(m, name, type, true);
    else
        dns_begin(m, DNS_FLAGS_ANSWER | DNS_FLAG_TC, name, type);
}

START_TEST(egress_resolver_asks_over_tcp_for_what_was_cut)
{
    start(be_long);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    run_until(told.cnt == 1);
    ck_assert_uint_eq(dns.tcp_cnt, 1);
    ck_assert_uint_eq(told.answer_cnt, 2);
    finish();
}
END_TEST

static void be_broken(struct dns_message *m, const char *name, unsigned type, bool is_tcp)
{
    (void)is_tcp;
    dns_begin(m, DNS_FLAGS_ANSWER | ns_r_servfail, name, type);
}

START_TEST(egress_resolver_tells_that_servers_fail)
{
    start(be_broken);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.rcode, EGRESS_RCODE_FAILED);
    finish();
}
END_TEST

START_TEST(egress_resolver_fails_at_once_where_no_server_is)
{
    uint64_t before;
    start(answer);
    dns_server_close();
    settle();
    before = now_ms();
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    ck_assert_uint_eq(told.cnt, 0); /* not inside the call */
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.rcode, EGRESS_RCODE_FAILED);
    ck_assert_uint_lt(now_ms() - before, EGRESS_RESOLVER_TRY_MS);
    egress_resolver_close(resolver);
    fixture_fini();
}
END_TEST

START_TEST(egress_resolver_waits_no_longer_than_it_says)
{
    uint64_t before;
    start(say_nothing);
    before = now_ms();
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    run_until(told.cnt == 1);
    ck_assert_int_eq(told.rcode, EGRESS_RCODE_FAILED);
    ck_assert_uint_gt(dns.udp_cnt, 1); /* asked again */
    ck_assert_uint_le(now_ms() - before, EGRESS_RESOLVER_QUERY_MS + 1000);
    settle();
    ck_assert_uint_eq(told.cnt, 1);
    finish();
}
END_TEST

START_TEST(egress_resolver_tells_nothing_after_cancel)
{
    start(answer);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    egress_resolver_cancel(query);
    run_until(dns.udp_cnt == 1);
    ck_assert_int_eq(lookup("b.example", CONTROL_TYPE_A), ADIT_OK);
    run_until(told.cnt == 1);
    settle();
    ck_assert_uint_eq(told.cnt, 1);
    finish();
}
END_TEST

START_TEST(egress_resolver_bounds_queries)
{
    start(say_nothing);
    for (size_t i = 0; i < EGRESS_RESOLVER_QUERIES_MAX; i++)
        ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_ERR_LIMIT);
    egress_resolver_cancel(query); /* its servers have it still */
    ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_ERR_LIMIT);
    finish();
    ck_assert_uint_eq(told.cnt, 0);
}
END_TEST

START_TEST(egress_resolver_may_be_closed_by_who_is_told)
{
    start(answer);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(lookup(NAME, CONTROL_TYPE_A), ADIT_OK);
    told.closes = true;
    run_until(told.cnt == 1);
    settle();
    ck_assert_uint_eq(told.cnt, 1);
    dns_server_close();
    fixture_fini();
}
END_TEST

START_TEST(egress_resolver_refuses_odd_questions)
{
    start(answer);
    ck_assert_int_eq(lookup("a\\.example.com", CONTROL_TYPE_A), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(lookup("", CONTROL_TYPE_A), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(lookup("a..b", CONTROL_TYPE_A), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(lookup("a b", CONTROL_TYPE_A), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(lookup(NAME, ns_t_txt), ADIT_ERR_BAD_INPUT);
    finish();
}
END_TEST

START_TEST(egress_resolver_takes_lists_of_servers)
{
    static const struct {
        const char *servers;
        int code;
    } lists[] = {{NULL, ADIT_OK},
                 {"", ADIT_OK},
                 {"192.0.2.1,[2001:db8::1]:5353,2001:db8::2", ADIT_OK},
                 {"dns.example", ADIT_ERR_BAD_INPUT},
                 {"192.0.2.256", ADIT_ERR_BAD_INPUT}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct egress_resolver *r = NULL;
        ck_assert_msg(egress_resolver_new(lists[i].servers, &r, NULL) == lists[i].code, "%s",
                      lists[i].servers);
        if (lists[i].code == ADIT_OK)
            egress_resolver_close(r); /* never started */
    }
}
END_TEST

/* In a network of its own. */
START_TEST(egress_resolver_sees_whether_the_host_has_ipv6)
{
    if (unshare(CLONE_NEWNET) != 0) {
        suite_skip("egress_resolver_sees_whether_the_host_has_ipv6",
                   "root, for a network namespace");
        return;
    }
    ck_assert_int_eq(system("ip link set lo up"), 0);
    ck_assert(!egress_resolver_host_has_ipv6());
    ck_assert_int_eq(system("ip link add v0 type veth peer name v1 && ip link set v0 up && "
                            "ip link set v1 up && ip -6 route add default dev v0"),
                     0);
    ck_assert(!egress_resolver_host_has_ipv6()); /* a way, and no address */
    ck_assert_int_eq(system("ip -6 addr add 2001:db8::2/64 dev v0 nodad"), 0);
    ck_assert(egress_resolver_host_has_ipv6());
}
END_TEST

/* One look-up, an allocation of which fails. Return: whether it went through whole. */
static bool survive(long n)
{
    struct adit_err err = ADIT_ERR_INIT;
    memset(&told, 0, sizeof(told));
    failing_malloc.countdown = n;
    failing_malloc.is_off = false;
    int rc = egress_resolver_new(dns.address, &resolver, &err);
    failing_malloc.is_off = true;
    if (rc != ADIT_OK)
        return false;
    egress_resolver_start(resolver, &F.net);
    failing_malloc.is_off = false;
    rc = lookup(NAME, CONTROL_TYPE_A);
    failing_malloc.is_off = true;
    if (rc == ADIT_OK)
        run_until(told.cnt == 1);
    bool is_spent = failing_malloc.countdown == 0;
    failing_malloc.countdown = 0;
    egress_resolver_close(resolver);
    settle();
    ck_assert(is_spent || told.rcode == EGRESS_RCODE_OK);
    return !is_spent;
}

START_TEST(egress_resolver_survives_every_failed_allocation)
{
    spare_libuv();
    failing_malloc.is_off = true;
    fixture_init();
    dns_server_open(answer);
    for (long n = 1; !survive(n); n++)
        ck_assert_int_lt(n, 500);
    dns_server_close();
    fixture_fini();
}
END_TEST

SUITE_MAIN("egress_resolver", egress_resolver_tells_addresses,
           egress_resolver_tells_that_a_name_is_missing, egress_resolver_asks_for_names_as_they_are,
           egress_resolver_tells_that_a_name_has_no_such_address,
           egress_resolver_asks_over_tcp_for_what_was_cut, egress_resolver_tells_that_servers_fail,
           egress_resolver_fails_at_once_where_no_server_is,
           egress_resolver_waits_no_longer_than_it_says, egress_resolver_tells_nothing_after_cancel,
           egress_resolver_bounds_queries, egress_resolver_may_be_closed_by_who_is_told,
           egress_resolver_refuses_odd_questions, egress_resolver_takes_lists_of_servers,
           egress_resolver_sees_whether_the_host_has_ipv6,
           egress_resolver_survives_every_failed_allocation)
