/* SPDX-License-Identifier: Apache-2.0 */
/* Queries for measurements and logs. */
#include "broker/api/history_query.h"

#include "tests/unit/suite.h"

START_TEST(history_query_reads_ranges)
{
    int64_t start, end;
    ck_assert_int_eq(history_query_parse_range(adit_view_str(""), &start, &end, NULL), 0);
    ck_assert_int_eq(start, 0);
    ck_assert_int_gt(end, INT64_C(200000000000000));
    ck_assert_int_eq(history_query_parse_range(adit_view_str("start=5&end=5"), &start, &end, NULL),
                     0);
    ck_assert_int_eq(start, 5000);
    ck_assert_int_eq(end, 5999);
    static const char *const bad[] = {"start=x",    "start=-1",         "start=5&end=4",
                                      "start=1.5",  "start=%zz",        "end=99999999999999999999",
                                      "start=0x10", "end=253402300800", "start=%00"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(history_query_parse_range(adit_view_str(bad[i]), &start, &end, NULL) ==
                          ADIT_ERR_BAD_INPUT,
                      "taken: %s", bad[i]);
}
END_TEST

START_TEST(history_query_reads_log_questions)
{
    struct journal_query q;
    ck_assert_int_eq(history_query_parse_logs_v1(adit_view_str(""), &q, NULL), 0);
    ck_assert_int_eq(q.from_ms, -1);
    ck_assert_uint_eq(q.limit, HISTORY_QUERY_LIMIT_DEFAULT);
    ck_assert(q.is_newest && !q.is_v2);
    ck_assert_int_eq(history_query_parse_logs_v1(adit_view_str("start=17&limit=3"), &q, NULL), 0);
    ck_assert_int_eq(q.from_ms, 17);
    ck_assert_uint_eq(q.limit, 3);
    ck_assert_int_eq(
        history_query_parse_logs_v2(
            adit_view_str("cursor=9&direction=backward&level=warn&search=a%20b&limit="), &q, NULL),
        0);
    ck_assert_int_eq(q.from_ms, 9);
    ck_assert(q.is_backward && q.is_v2 && !q.is_newest);
    ck_assert_int_eq(q.min_level, ADIT_LOG_WARN);
    ck_assert_str_eq(q.search, "a b");
    static const char *const bad[] = {"cursor=x",   "limit=-1",   "direction=up",
                                      "level=loud", "search=%00", "limit=4294967296"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(history_query_parse_logs_v2(adit_view_str(bad[i]), &q, NULL) ==
                          ADIT_ERR_BAD_INPUT,
                      "taken: %s", bad[i]);
}
END_TEST

START_TEST(history_query_wants_short_searches)
{
    struct journal_query q;
    char query[JOURNAL_FILE_SEARCH_CAP + 16] = "search=";
    memset(query + 7, 'a', JOURNAL_FILE_SEARCH_CAP - 1);
    ck_assert_int_eq(history_query_parse_logs_v2(adit_view_str(query), &q, NULL), 0);
    memset(query + 7, 'a', JOURNAL_FILE_SEARCH_CAP);
    ck_assert_int_eq(history_query_parse_logs_v2(adit_view_str(query), &q, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN("history_query", history_query_reads_ranges, history_query_reads_log_questions,
           history_query_wants_short_searches)
