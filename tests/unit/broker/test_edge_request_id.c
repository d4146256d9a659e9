/* SPDX-License-Identifier: Apache-2.0 */
/* Request ids of clients and our own; and what the edge counts. */
#include "broker/edge/edge_request_id.h"

#include "tests/unit/suite.h"

#include "broker/edge/edge_stats.h"

static struct edge_request_id_source source;

/* The id of a request with these X-Request-Id headers. */
static const char *take(const char *one, const char *other)
{
    static char id[EDGE_REQUEST_ID_CAP];
    static struct http_head head;
    const char *said[] = {one, other};
    head.header_cnt = 0;
    for (size_t i = 0; i < 2 && said[i]; i++)
        head.headers[head.header_cnt++] =
            (struct http_header){adit_view_str("x-request-ID"), adit_view_str(said[i])};
    edge_request_id_take(&source, &head, id);
    return id;
}

START_TEST(edge_request_id_of_a_client_is_kept_when_it_is_sane)
{
    char longest[EDGE_REQUEST_ID_CAP + 1];
    edge_request_id_source_init(&source);
    ck_assert_str_eq(take("a", NULL), "a");
    ck_assert_str_eq(take("AZaz09._-", NULL), "AZaz09._-");
    memset(longest, 'x', sizeof(longest));
    longest[EDGE_REQUEST_ID_LEN_MAX] = '\0';
    ck_assert_str_eq(take(longest, NULL), longest);
}
END_TEST

START_TEST(edge_request_id_is_our_own_otherwise)
{
    char last[EDGE_REQUEST_ID_CAP] = "", too_long[EDGE_REQUEST_ID_CAP + 1];
    edge_request_id_source_init(&source);
    memset(too_long, 'x', sizeof(too_long));
    too_long[EDGE_REQUEST_ID_LEN_MAX + 1] = '\0';
    const char *const bad[] = {"", " ", "a b", "a\"", "a\x80", "\xc3\xa4", "a=b", "a/b", too_long};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *made = take(bad[i], NULL);
        ck_assert_uint_ge(strlen(made), 18);
        ck_assert_uint_eq(strspn(made, "0123456789abcdef-"), strlen(made));
        ck_assert_str_ne(made, last);
        strcpy(last, made);
    }
    ck_assert_str_ne(take("a", "a"), "a"); /* twice: whose is it? */
    ck_assert_uint_ge(strlen(take(NULL, NULL)), 18);
}
END_TEST

START_TEST(edge_stats_sort_answers_by_class_and_time)
{
    struct edge_stats s = {0}, sum = {.bytes_up = 1};
    const struct edge_stats_requests *r = &sum.requests[EDGE_STATS_ENVD];
    edge_stats_count(&s, EDGE_STATS_ENVD, 200, 0);
    edge_stats_count(&s, EDGE_STATS_ENVD, 101, 1000000);
    edge_stats_count(&s, EDGE_STATS_ENVD, 502, 1000001);
    edge_stats_count(&s, EDGE_STATS_ENVD, 599, UINT64_C(3600000000000));
    edge_stats_count(&s, EDGE_STATS_ENVD, 0, 5);
    edge_stats_count(&s, EDGE_STATS_ENVD, 999, 5); /* a guest's odd number is in no class */
    edge_stats_add(&sum, &s);
    edge_stats_add(&sum, &s);
    ck_assert_uint_eq(r->classes[2], 2);
    ck_assert_uint_eq(r->classes[1], 2);
    ck_assert_uint_eq(r->classes[5], 4);
    ck_assert_uint_eq(r->classes[EDGE_STATS_ABORTED], 4);
    ck_assert_uint_eq(r->buckets[0], 6);
    ck_assert_uint_eq(r->buckets[1], 2);
    ck_assert_uint_eq(r->buckets[EDGE_STATS_BUCKET_CNT - 1], 2);
    ck_assert_uint_eq(sum.bytes_up, 1);
}
END_TEST

SUITE_MAIN("edge_request_id", edge_request_id_of_a_client_is_kept_when_it_is_sane,
           edge_request_id_is_our_own_otherwise, edge_stats_sort_answers_by_class_and_time)
