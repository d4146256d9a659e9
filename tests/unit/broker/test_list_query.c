/* SPDX-License-Identifier: Apache-2.0 */
/* Filters, order and pages of the list endpoints. */
#include "broker/api/list_query.h"

#include "tests/unit/suite.h"
#include <stdio.h>
#include <stdlib.h>

static int parse(const char *query, struct list_query *q, struct adit_err *err)
{
    return list_query_parse(adit_view_str(query), true, q, err);
}

static void make(struct record *r, const char *id, int64_t started_ns)
{
    ck_assert_int_eq(record_init(r), 0);
    strcpy(r->sandbox_id, id);
    r->started_ns = started_ns;
    r->state = SANDBOX_RUNNING;
}

START_TEST(list_query_decodes_metadata_three_times)
{
    /* {"k": "a&b=c %", "k 2": "ä"} as the newest client sends it */
    struct list_query q;
    struct record r;
    ck_assert_int_eq(
        parse("metadata=k%3Da%252526b%25253Dc%252520%252525%26k%2525202%3D%2525C3%2525A4", &q,
              NULL),
        0);
    ck_assert_uint_eq(json_object_size(q.metadata), 2);
    ck_assert_str_eq(json_string_value(json_object_get(q.metadata, "k")), "a&b=c %");
    ck_assert_str_eq(json_string_value(json_object_get(q.metadata, "k 2")), "\xc3\xa4");
    make(&r, "ia", 1);
    ck_assert(!list_query_matches(&q, &r));
    json_object_set_new(r.metadata, "k", json_string("a&b=c %"));
    json_object_set_new(r.metadata, "other", json_string("x"));
    ck_assert(!list_query_matches(&q, &r));
    json_object_set_new(r.metadata, "k 2", json_string("\xc3\xa4"));
    ck_assert(list_query_matches(&q, &r));
    list_query_fini(&q);
    record_fini(&r);
}
END_TEST

static const struct {
    const char *query, *message;
} refused[] = {
    {"limit=0", "validation error: limit must be between 1 and 100"},
    {"limit=101", "validation error: limit must be between 1 and 100"},
    {"limit=+5", "validation error: limit must be between 1 and 100"},
    {"limit=", "validation error: limit must be between 1 and 100"},
    {"order=up", "validation error: order must be asc or desc"},
    {"state=stopped", "validation error: state must be running or paused"},
    {"startedAfter=yesterday", "validation error: startedAfter must be an RFC 3339 time"},
    {"template=base%3Av1", "Invalid template filter: a tag is not allowed"},
    {"nextToken=!!!", "Invalid next token"},
    {"nextToken=aGVsbG8", "Invalid next token"},
    {"metadata=%25zz", "Invalid metadata query: it cannot be decoded"},
    {"metadata=a%3D%2525zz", "Invalid metadata query: a pair cannot be decoded"},
    {"metadata=a%3D%2525ff", "Invalid metadata query: a pair cannot be decoded"},
    {"limit=%zz", "validation error: a query parameter cannot be decoded"},
};

START_TEST(list_query_refuses)
{
    struct list_query q;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(parse(refused[_i].query, &q, &err) == ADIT_ERR_BAD_INPUT, "%s",
                  refused[_i].query);
    ck_assert_str_eq(err.msg, refused[_i].message);
    ck_assert_ptr_null(q.metadata);
}
END_TEST

START_TEST(list_query_reads_states)
{
    static const struct {
        const char *query;
        bool running;
    } rows[] = {{"", true},
                {"state=", true},
                {"state=running", true},
                {"state=running%2Cpaused", true},
                {"state=paused&state=running", true},
                {"state=paused", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct list_query q;
        ck_assert_int_eq(parse(rows[i].query, &q, NULL), 0);
        ck_assert_msg(q.running == rows[i].running, "%s", rows[i].query);
        list_query_fini(&q);
    }
}
END_TEST

START_TEST(list_query_compares_starts_in_microseconds)
{
    struct list_query q;
    struct record r;
    make(&r, "ia", INT64_C(1795248000123456789));
    static const struct {
        const char *after;
        bool kept;
    } rows[] = {
        {"2026-11-21T08:00:00.123456789Z", true}, {"2026-11-21T08:00:00.123456Z", true},
        {"2026-11-21T08:00:00.123Z", true},       {"2026-11-21T08:00:00.123457Z", false},
        {"2026-11-21T08:00:01.123456Z", false},   {"2026-11-21T09%3A00%3A00.1%2B01%3A00", true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char query[128];
        (void)snprintf(query, sizeof(query), "startedAfter=%s", rows[i].after);
        ck_assert_int_eq(parse(query, &q, NULL), 0);
        ck_assert_msg(list_query_matches(&q, &r) == rows[i].kept, "%s", rows[i].after);
        list_query_fini(&q);
    }
    record_fini(&r);
}
END_TEST

START_TEST(list_query_v1_knows_metadata_only)
{
    struct list_query q;
    ck_assert_int_eq(
        list_query_parse(adit_view_str("limit=0&order=x&metadata=a%3Db"), false, &q, NULL), 0);
    ck_assert_uint_eq(json_object_size(q.metadata), 1);
    ck_assert_uint_eq(q.limit, SIZE_MAX);
    list_query_fini(&q);
}
END_TEST

#define RECORDS 7

static int by_query(const void *a, const void *b, void *q)
{
    const struct record *const *x = a, *const *y = b;
    return list_query_compare(q, *x, *y);
}

/* Walk all pages of three; every record comes once and in order. */
static void walk(const char *order)
{
    struct record records[RECORDS], *sorted[RECORDS];
    char query[LIST_QUERY_CURSOR_CAP + 64], id[16];
    size_t seen = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        (void)snprintf(id, sizeof(id), "i%zu", (i * 3) % RECORDS);
        make(&records[i], id, 1000 * (int64_t)(i / 2)); /* pairs start at once */
        sorted[i] = &records[i];
    }
    (void)snprintf(query, sizeof(query), "order=%s&limit=3", order);
    for (;;) {
        struct list_query q;
        char cursor[LIST_QUERY_CURSOR_CAP];
        size_t got = 0;
        const struct record *last = NULL;
        ck_assert_int_eq(parse(query, &q, NULL), 0);
        qsort_r(sorted, RECORDS, sizeof(sorted[0]), by_query, &q);
        for (size_t i = 0; i < RECORDS && got < q.limit; i++) {
            if (!list_query_is_after(&q, sorted[i]))
                continue;
            ck_assert_ptr_eq(sorted[i], sorted[seen]);
            last = sorted[i];
            got++;
            seen++;
        }
        if (got == 0)
            break;
        ck_assert_int_eq(list_query_cursor(&q, last, cursor), 0);
        (void)snprintf(query, sizeof(query), "order=%s&limit=3&nextToken=%s", order, cursor);
        list_query_fini(&q);
    }
    ck_assert_uint_eq(seen, RECORDS);
    for (size_t i = 0; i < RECORDS; i++)
        record_fini(&records[i]);
}

START_TEST(list_query_pages_give_everything_once)
{
    walk("desc");
    walk("asc");
}
END_TEST

START_TEST(list_query_orders_newest_first_and_ties_by_id)
{
    struct list_query q;
    struct record a, b, c;
    make(&a, "ia", 1000);
    make(&b, "ib", 1000);
    make(&c, "ic", 2000);
    ck_assert_int_eq(parse("", &q, NULL), 0);
    ck_assert(list_query_compare(&q, &c, &a) < 0 && list_query_compare(&q, &a, &b) < 0);
    list_query_fini(&q);
    ck_assert_int_eq(parse("order=asc", &q, NULL), 0);
    ck_assert(list_query_compare(&q, &c, &a) > 0 && list_query_compare(&q, &a, &b) > 0);
    list_query_fini(&q);
    record_fini(&a);
    record_fini(&b);
    record_fini(&c);
}
END_TEST

START_TEST(list_query_cursor_belongs_to_its_order)
{
    struct list_query q;
    struct record r;
    char cursor[LIST_QUERY_CURSOR_CAP], query[LIST_QUERY_CURSOR_CAP + 32];
    struct adit_err err = ADIT_ERR_INIT;
    make(&r, "ia", INT64_C(1795248000123456789));
    ck_assert_int_eq(parse("order=asc", &q, NULL), 0);
    ck_assert_int_eq(list_query_cursor(&q, &r, cursor), 0);
    list_query_fini(&q);
    (void)snprintf(query, sizeof(query), "nextToken=%s", cursor);
    ck_assert_int_eq(parse(query, &q, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "Invalid next token: it belongs to another order");
    (void)snprintf(query, sizeof(query), "nextToken=%s&order=asc", cursor);
    ck_assert_int_eq(parse(query, &q, NULL), 0);
    ck_assert_int_eq(q.after_ns, r.started_ns);
    ck_assert_str_eq(q.after_id, "ia");
    list_query_fini(&q);
    record_fini(&r);
}
END_TEST

START_TEST(list_query_keeps_an_unknown_template_as_one_that_matches_nothing)
{
    struct list_query q;
    ck_assert_int_eq(parse("template=no+such+name", &q, NULL), 0);
    ck_assert_str_eq(q.template_ref, ":");
    list_query_fini(&q);
    ck_assert_int_eq(parse("template=Space%2FName", &q, NULL), 0);
    ck_assert_str_eq(q.template_ref, "space/name");
    list_query_fini(&q);
}
END_TEST

SUITE_MAIN_WITH("list_query",
                TESTS(list_query_decodes_metadata_three_times, list_query_reads_states,
                      list_query_compares_starts_in_microseconds, list_query_v1_knows_metadata_only,
                      list_query_pages_give_everything_once,
                      list_query_orders_newest_first_and_ties_by_id,
                      list_query_cursor_belongs_to_its_order,
                      list_query_keeps_an_unknown_template_as_one_that_matches_nothing),
                LOOPS({list_query_refuses, sizeof(refused) / sizeof(refused[0])}))
