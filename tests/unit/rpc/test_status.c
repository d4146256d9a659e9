/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes to HTTP, Connect and exit statuses and back. */
#include "tests/unit/suite.h"

#include "rpc/status.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(status_answers_connect_codes_with_their_http_and_grpc_status)
{
    static const struct {
        int code;
        const char *word;
        unsigned http, grpc;
    } rows[] = {
        {ADIT_ERR_CANCELED, "canceled", 499, 1},
        {ADIT_ERR_UNKNOWN, "unknown", 500, 2},
        {ADIT_ERR_BAD_INPUT, "invalid_argument", 400, 3},
        {ADIT_ERR_TIMEOUT, "deadline_exceeded", 504, 4},
        {ADIT_ERR_NOT_FOUND, "not_found", 404, 5},
        {ADIT_ERR_EXISTS, "already_exists", 409, 6},
        {ADIT_ERR_UNIMPLEMENTED, "unimplemented", 501, 12},
        {ADIT_ERR_UNAUTHENTICATED, "unauthenticated", 401, 16},
        {ADIT_ERR_DENIED, "permission_denied", 403, 7},
        {ADIT_ERR_LIMIT, "resource_exhausted", 429, 8},
        {ADIT_ERR_PRECONDITION, "failed_precondition", 400, 9},
        {ADIT_ERR_CONFLICT, "aborted", 409, 10},
        {ADIT_ERR_IO, "internal", 500, 13},
        {ADIT_ERR_UNAVAILABLE, "unavailable", 503, 14},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_str_eq(rpc_status_connect(rows[i].code), rows[i].word);
        ck_assert_uint_eq(rpc_status_connect_http(rows[i].code), rows[i].http);
        ck_assert_uint_eq(rpc_status_grpc(rows[i].code), rows[i].grpc);
        ck_assert_int_eq(rpc_status_from_connect(adit_view_str(rows[i].word)), rows[i].code);
    }
}
END_TEST

START_TEST(status_knows_every_code)
{
    for (int code = ADIT_ERR_UNKNOWN; code < 0; code++) {
        const char *word = rpc_status_connect(code);
        ck_assert_uint_ge(rpc_status_http(code), 400);
        ck_assert_uint_le(rpc_status_http(code), 599);
        ck_assert_int_ne(rpc_status_exit(code), 0);
        if (code != ADIT_ERR_UNKNOWN)
            ck_assert_str_ne(word, "unknown");
        /* A code that a peer reads is written the same again. */
        ck_assert_str_eq(rpc_status_connect(rpc_status_from_connect(adit_view_str(word))), word);
    }
    ck_assert_uint_eq(rpc_status_http(-1000), 500);
    ck_assert_str_eq(rpc_status_connect(-1000), "internal");
    ck_assert_uint_eq(rpc_status_grpc(-1000), 13);
    ck_assert_uint_eq(rpc_status_grpc(0), 0);
}
END_TEST

START_TEST(status_reads_what_only_others_write)
{
    ck_assert_int_eq(rpc_status_from_connect(adit_view_str("out_of_range")), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(rpc_status_from_connect(adit_view_str("data_loss")), ADIT_ERR_IO);
    ck_assert_int_eq(rpc_status_from_connect(adit_view_str("")), ADIT_ERR_UNKNOWN);
    ck_assert_int_eq(rpc_status_from_connect(adit_view_str("Not_Found")), ADIT_ERR_UNKNOWN);
}
END_TEST

START_TEST(status_reads_http_statuses_without_a_code)
{
    static const struct {
        unsigned http;
        int code;
    } rows[] = {
        {400, ADIT_ERR_BAD_INPUT},     {401, ADIT_ERR_UNAUTHENTICATED}, {403, ADIT_ERR_DENIED},
        {404, ADIT_ERR_NOT_FOUND},     {409, ADIT_ERR_CONFLICT},        {413, ADIT_ERR_LIMIT},
        {429, ADIT_ERR_LIMIT},         {499, ADIT_ERR_CANCELED},        {500, ADIT_ERR_IO},
        {501, ADIT_ERR_UNIMPLEMENTED}, {505, ADIT_ERR_UNIMPLEMENTED},   {502, ADIT_ERR_UNAVAILABLE},
        {503, ADIT_ERR_UNAVAILABLE},   {504, ADIT_ERR_TIMEOUT},         {507, ADIT_ERR_NO_SPACE},
        {204, ADIT_ERR_UNKNOWN},       {418, ADIT_ERR_UNKNOWN},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert_int_eq(rpc_status_from_http(rows[i].http), rows[i].code);
}
END_TEST

START_TEST(status_exits_with_0_only_for_success)
{
    ck_assert_int_eq(rpc_status_exit(0), 0);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_BAD_INPUT), 2);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_UNAVAILABLE), 69);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_NO_SPACE), 73);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_TIMEOUT), 75);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_DENIED), 77);
    ck_assert_int_eq(rpc_status_exit(ADIT_ERR_NOT_FOUND), 1);
}
END_TEST

SUITE_MAIN("status", status_answers_connect_codes_with_their_http_and_grpc_status,
           status_knows_every_code, status_reads_what_only_others_write,
           status_reads_http_statuses_without_a_code, status_exits_with_0_only_for_success)
