/* SPDX-License-Identifier: Apache-2.0 */
/* What is Connect's own: heads, errors, ends. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "request_fixture.h"

#include "rpc/connect.h"
#include "rpc/frame.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct adit_err err;

/* Read a head that has one header more than the type. */
static int read_head(enum rpc_kind kind, const char *name, const char *value)
{
    err = (struct adit_err)ADIT_ERR_INIT;
    ck_assert_uint_eq(
        negotiate(kind, kind == RPC_UNARY ? "application/json" : "application/connect+json"), 0);
    add(name, value);
    return req.protocol->read_head(&head, &req, &err);
}

START_TEST(connect_reads_timeouts)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t ms;
    } rows[] = {
        {"60000", 0, 60000},
        {"1500.0", 0, 1500},
        {"1500.25", 0, 1501},
        {"0.5", 0, 1},
        {"0", 0, 0},
        {"0.0", 0, 0},
        {"", 0, 0},
        {"0100", 0, 100},
        {"9999999999", 0, UINT64_C(9999999999)},
        {"10000000000", ADIT_ERR_BAD_INPUT, 0},
        {"-1", ADIT_ERR_BAD_INPUT, 0},
        {"+1", ADIT_ERR_BAD_INPUT, 0},
        {"1.", ADIT_ERR_BAD_INPUT, 0},
        {".5", ADIT_ERR_BAD_INPUT, 0},
        {"1.5.5", ADIT_ERR_BAD_INPUT, 0},
        {"1e3", ADIT_ERR_BAD_INPUT, 0},
        {"1 0", ADIT_ERR_BAD_INPUT, 0},
        {"inf", ADIT_ERR_BAD_INPUT, 0},
        {"0x10", ADIT_ERR_BAD_INPUT, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int rc = read_head(RPC_SERVER_STREAM, "Connect-Timeout-Ms", rows[i].text);
        ck_assert_msg(rc == rows[i].rc, "%s: %d", rows[i].text, rc);
        if (!rc)
            ck_assert_uint_eq(req.timeout_ms, rows[i].ms);
    }
}
END_TEST

START_TEST(connect_takes_only_version_1)
{
    ck_assert_int_eq(read_head(RPC_UNARY, "Connect-Protocol-Version", "1"), 0);
    ck_assert_int_eq(read_head(RPC_UNARY, "Connect-Protocol-Version", ""), 0);
    ck_assert_int_eq(read_head(RPC_UNARY, "Connect-Protocol-Version", "2"), ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "Connect-Protocol-Version must be \"1\": got \"2\"");
}
END_TEST

START_TEST(connect_reads_encodings)
{
    static const struct {
        enum rpc_kind kind;
        const char *name, *value;
        int rc;
        bool in, out;
    } rows[] = {
        {RPC_UNARY, "Content-Encoding", "gzip", 0, true, false},
        {RPC_UNARY, "Content-Encoding", "identity", 0, false, false},
        {RPC_UNARY, "Content-Encoding", "", 0, false, false},
        {RPC_UNARY, "Content-Encoding", "br", ADIT_ERR_UNIMPLEMENTED, false, false},
        {RPC_SERVER_STREAM, "Connect-Content-Encoding", "gzip", 0, true, false},
        {RPC_SERVER_STREAM, "Connect-Content-Encoding", "identity", 0, false, false},
        {RPC_SERVER_STREAM, "Connect-Content-Encoding", "zstd", ADIT_ERR_UNIMPLEMENTED, false,
         false},
        {RPC_UNARY, "Accept-Encoding", "", 0, false, false},
        {RPC_UNARY, "Accept-Encoding", "gzip, deflate, br", 0, false, true},
        {RPC_UNARY, "Accept-Encoding", "br;q=1.0, GZIP ; q=0.5", 0, false, true},
        {RPC_UNARY, "Accept-Encoding", "gzip;q=0.001", 0, false, true},
        {RPC_UNARY, "Accept-Encoding", "gzip;q=0", 0, false, false},
        {RPC_UNARY, "Accept-Encoding", "gzip;q=0.000, br", 0, false, false},
        {RPC_UNARY, "Accept-Encoding", "xgzip,,deflate", 0, false, false},
        {RPC_UNARY, "Accept-Encoding", "identity", 0, false, false},
        /* Streams are never compressed. */
        {RPC_SERVER_STREAM, "Connect-Accept-Encoding", "gzip", 0, false, false},
        {RPC_SERVER_STREAM, "Connect-Accept-Encoding", "", 0, false, false},
        {RPC_SERVER_STREAM, "Accept-Encoding", "gzip", 0, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int rc = read_head(rows[i].kind, rows[i].name, rows[i].value);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %d", i, rc);
        if (rc)
            continue;
        ck_assert_msg(req.gzip_in == rows[i].in, "row %zu", i);
        ck_assert_msg(req.gzip_out == rows[i].out, "row %zu", i);
    }
}
END_TEST

START_TEST(connect_quotes_only_the_beginning_of_a_header)
{
    char value[400];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    ck_assert_int_eq(read_head(RPC_UNARY, "Content-Encoding", value), ADIT_ERR_UNIMPLEMENTED);
    ck_assert_uint_lt(strlen(err.msg), 120);
}
END_TEST

/* ---- answers ---- */

static struct adit_buf body;

static void expect_written(int rc, const char *bytes, size_t len)
{
    ck_assert_int_eq(rc, 0);
    ck_assert_msg(adit_view_eq(adit_buf_view(&body), adit_view_mem(bytes, len)), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&body)));
    adit_buf_fini(&body);
    adit_buf_init(&body, 1000);
}

START_TEST(connect_writes_errors_and_ends)
{
    adit_buf_init(&body, 1000);
    expect_written(connect_append_end(NULL, &body), "\2\0\0\0\2{}", 7);

    struct adit_err none = ADIT_ERR_INIT;
    expect_written(connect_append_end(&none, &body), "\2\0\0\0\2{}", 7);
    (void)adit_err_set(&err, ADIT_ERR_NOT_FOUND, "no \"x\"\xFF"); /* the text is what counts */
    static const char object[] =
        "{\"code\":\"not_found\",\"message\":\"no \\\"x\\\"\xEF\xBF\xBD\"}";
    expect_written(connect_append_error(&err, &body), object, sizeof(object) - 1);
    ck_assert_int_eq(connect_append_end(&err, &body), 0);
    ck_assert_uint_eq((unsigned char)adit_buf_view(&body).ptr[0], FRAME_FLAG_END);
    adit_buf_consume(&body, FRAME_HEAD_LEN);
    char text[200];
    int len = snprintf(text, sizeof(text), "{\"error\":%s}", object);
    expect_written(0, text, (size_t)len);
    err.msg[0] = '\0';
    expect_written(connect_append_error(&err, &body), "{\"code\":\"not_found\"}", 20);
    adit_buf_fini(&body);
}
END_TEST

START_TEST(connect_reads_errors_of_others)
{
    ck_assert_int_eq(
        connect_parse_error(adit_view_str("{\"code\":\"unavailable\",\"message\":\"m\","
                                          "\"details\":[{\"type\":\"x\"}]}"),
                            &err),
        0);
    ck_assert_int_eq(err.code, ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "m");
    ck_assert_int_ne(connect_parse_error(adit_view_str("{\"code\":404}"), &err), 0);
    ck_assert_int_ne(connect_parse_error(adit_view_str("{}"), &err), 0);
    ck_assert_int_ne(connect_parse_error(adit_view_str("<html>"), &err), 0);
    ck_assert_int_ne(connect_parse_error(adit_view_str(""), &err), 0);
}
END_TEST

SUITE_MAIN("connect", connect_reads_timeouts, connect_takes_only_version_1, connect_reads_encodings,
           connect_quotes_only_the_beginning_of_a_header, connect_writes_errors_and_ends,
           connect_reads_errors_of_others)
