/* SPDX-License-Identifier: Apache-2.0 */
/* What the host said about names: how long it is believed, and how much of it is kept. */
#include "tests/unit/suite.h"

#include <string.h>

#include "envd/egress/egress_dns_cache.h"

static struct egress_dns_cache cache;

static void setup(void)
{
    egress_dns_cache_init(&cache);
}

static void teardown(void)
{
    egress_dns_cache_clear(&cache);
    ck_assert_uint_eq(cache.bytes, 0);
    ck_assert_uint_eq(cache.entries.len, 0);
    adit_map_fini(&cache.entries);
}

/* Two addresses with these times to live. */
static void put(const char *name, uint32_t ttl_a, uint32_t ttl_b, uint64_t now_ms)
{
    static uint8_t address[4] = {1, 2, 3, 4};
    static char text[] = "a.b";
    Control__Answer a, b, *list[] = {&a, &b};
    Control__LookupResult r = CONTROL__LOOKUP_RESULT__INIT;
    control__answer__init(&a);
    a.name = text;
    a.type = 1;
    a.ttl = ttl_a;
    a.data = (ProtobufCBinaryData){4, address};
    b = a;
    b.ttl = ttl_b;
    r.answers = list;
    r.n_answers = 2;
    egress_dns_cache_put(&cache, name, 1, &r, now_ms);
}

static void put_none(const char *name, uint32_t rcode, uint32_t ttl, uint64_t now_ms)
{
    Control__LookupResult r = CONTROL__LOOKUP_RESULT__INIT;
    r.rcode = rcode;
    r.negative_ttl = ttl;
    egress_dns_cache_put(&cache, name, 1, &r, now_ms);
}

/* Return: its age in seconds, -1 when it is not there. */
static int age(const char *name, uint16_t type, uint64_t now_ms)
{
    uint32_t age_s;
    Control__LookupResult *r = egress_dns_cache_get(&cache, name, type, now_ms, &age_s);
    if (!r)
        return -1;
    control__lookup_result__free_unpacked(r, NULL);
    return (int)age_s;
}

START_TEST(cache_believes_as_long_as_the_shortest_record)
{
    put("a.b", 300, 60, 1000);
    ck_assert_int_eq(age("a.b", 1, 1000), 0);
    ck_assert_int_eq(age("a.b", 1, 60999), 59);
    ck_assert_int_eq(age("a.b", 28, 1000), -1);
    ck_assert_int_eq(age("a.c", 1, 1000), -1);
    ck_assert_int_eq(age("a.b", 1, 61000), -1);
    ck_assert_uint_eq(cache.entries.len, 0);
    put("a.b", 0, 300, 1000);
    ck_assert_int_eq(age("a.b", 1, 1000), -1);
    put("a.b", 1u << 31, 1u << 31, 0);
    ck_assert_int_eq(age("a.b", 1, EGRESS_DNS_CACHE_S_MAX * 1000u), -1);
}
END_TEST

START_TEST(cache_keeps_that_there_is_nothing_but_no_failure)
{
    put_none("none", 0, 30, 0);
    put_none("nobody", 3, 3000, 0);
    put_none("failed", 2, 30, 0);
    put_none("refused", 5, 30, 0);
    ck_assert_int_eq(age("none", 1, 29999), 29);
    ck_assert_int_eq(age("none", 1, 30000), -1);
    ck_assert_int_eq(age("nobody", 1, EGRESS_DNS_CACHE_NEGATIVE_S_MAX * 1000u - 1), 59);
    ck_assert_int_eq(age("nobody", 1, EGRESS_DNS_CACHE_NEGATIVE_S_MAX * 1000u), -1);
    ck_assert_int_eq(age("failed", 1, 0), -1);
    ck_assert_int_eq(age("refused", 1, 0), -1);
}
END_TEST

START_TEST(cache_replaces_and_gives_back_what_was_put)
{
    uint32_t age_s;
    put("a.b", 60, 60, 0);
    put("a.b", 120, 120, 30000);
    ck_assert_uint_eq(cache.entries.len, 1);
    Control__LookupResult *r = egress_dns_cache_get(&cache, "a.b", 1, 100000, &age_s);
    ck_assert_ptr_nonnull(r);
    ck_assert(r->n_answers == 2 && r->answers[1]->ttl == 120 && age_s == 70);
    control__lookup_result__free_unpacked(r, NULL);
}
END_TEST

START_TEST(cache_forgets_what_was_not_used_for_longest)
{
    char name[32];
    for (int i = 0; i < EGRESS_DNS_CACHE_ENTRIES_MAX; i++) {
        (void)snprintf(name, sizeof name, "host%d", i);
        put_none(name, 3, 60, 0);
    }
    ck_assert_int_eq(age("host0", 1, 0), 0);
    put_none("one.more", 3, 60, 0);
    ck_assert_uint_eq(cache.entries.len, EGRESS_DNS_CACHE_ENTRIES_MAX);
    ck_assert_int_eq(age("host0", 1, 0), 0);
    ck_assert_int_eq(age("host1", 1, 0), -1);
    ck_assert_int_eq(age("one.more", 1, 0), 0);
}
END_TEST

START_TEST(cache_holds_its_bytes_in_bounds)
{
    static Control__Answer answers[60], *list[60];
    static char text[] = "a.very.long.name.that.takes.much.room.in.each.answer.example.com";
    static uint8_t address[4];
    Control__LookupResult r = CONTROL__LOOKUP_RESULT__INIT;
    char name[32];
    for (int i = 0; i < 60; i++) {
        control__answer__init(&answers[i]);
        answers[i].name = text;
        answers[i].type = 1;
        answers[i].ttl = 60;
        answers[i].data = (ProtobufCBinaryData){4, address};
        list[i] = &answers[i];
    }
    r.answers = list;
    r.n_answers = 60;
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "host%d", i);
        egress_dns_cache_put(&cache, name, 1, &r, 0);
        ck_assert_uint_le(cache.bytes, EGRESS_DNS_CACHE_BYTES_MAX);
        ck_assert_int_eq(age(name, 1, 0), 0);
    }
    ck_assert_int_eq(age("host0", 1, 0), -1);
}
END_TEST

START_TEST(cache_refuses_names_that_are_too_long)
{
    char name[CONTROL_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    put(name, 60, 60, 0);
    ck_assert_int_eq(age(name, 1, 0), -1);
    ck_assert_uint_eq(cache.entries.len, 0);
}
END_TEST

SUITE_MAIN_WITH("egress_dns_cache", .fixtures = {{setup, teardown}},
                TESTS(cache_believes_as_long_as_the_shortest_record,
                      cache_keeps_that_there_is_nothing_but_no_failure,
                      cache_replaces_and_gives_back_what_was_put,
                      cache_forgets_what_was_not_used_for_longest, cache_holds_its_bytes_in_bounds,
                      cache_refuses_names_that_are_too_long))
