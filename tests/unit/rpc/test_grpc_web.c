/* SPDX-License-Identifier: Apache-2.0 */
/* What is gRPC-Web's own: heads and the trailers that end an answer. */
#include "tests/unit/suite.h"

#include "rpc/frame.h"
#include "rpc/grpc_web.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct adit_err err;

START_TEST(grpc_web_reads_timeouts)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t ms;
    } rows[] = {
        {"5S", 0, 5000},
        {"100m", 0, 100},
        {"2M", 0, 120000},
        {"1H", 0, 3600000},
        {"1u", 0, 1},
        {"1001u", 0, 2},
        {"1n", 0, 1},
        {"2000000n", 0, 2},
        {"99999999n", 0, 100},
        {"00000007S", 0, 7000},
        {"99999999H", 0, UINT64_C(359999996400000)},
        {"0S", 0, 1},
        {"0n", 0, 1},
        {"", 0, 0},
        {"S", ADIT_ERR_BAD_INPUT, 0},
        {"5", ADIT_ERR_BAD_INPUT, 0},
        {"5s", ADIT_ERR_BAD_INPUT, 0},
        {"5 S", ADIT_ERR_BAD_INPUT, 0},
        {"+5S", ADIT_ERR_BAD_INPUT, 0},
        {"-5S", ADIT_ERR_BAD_INPUT, 0},
        {"1.5S", ADIT_ERR_BAD_INPUT, 0},
        {"5SS", ADIT_ERR_BAD_INPUT, 0},
        {"100000000m", ADIT_ERR_BAD_INPUT, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t ms;
        int rc = grpc_web_timeout(adit_view_str(rows[i].text), &ms, &err);
        ck_assert_msg(rc == rows[i].rc, "%s: %d", rows[i].text, rc);
        if (!rc)
            ck_assert_uint_eq(ms, rows[i].ms);
    }
}
END_TEST

static int read_head(const char *name, const char *value, struct protocol_request *req)
{
    static struct http_head head;
    head = (struct http_head){.kind = HTTP_REQUEST, .method = HTTP_POST};
    head.headers[head.header_cnt++] =
        (struct http_header){adit_view_str("Content-Type"), adit_view_str("application/grpc-web")};
    head.headers[head.header_cnt++] =
        (struct http_header){adit_view_str(name), adit_view_str(value)};
    ck_assert_uint_eq(protocol_negotiate(&head, RPC_SERVER_STREAM, req), 0);
    err = (struct adit_err)ADIT_ERR_INIT;
    return req->protocol->read_head(&head, req, &err);
}

START_TEST(grpc_web_reads_encodings_and_timeouts_of_heads)
{
    struct protocol_request req;
    ck_assert_int_eq(read_head("grpc-encoding", "gzip", &req), 0);
    ck_assert(req.gzip_in);
    ck_assert(!req.gzip_out);
    ck_assert_int_eq(read_head("Grpc-Encoding", "identity", &req), 0);
    ck_assert(!req.gzip_in);
    ck_assert_int_eq(read_head("grpc-encoding", "snappy", &req), ADIT_ERR_UNIMPLEMENTED);
    ck_assert_str_eq(err.msg, "unknown compression \"snappy\": supported encodings are gzip");
    ck_assert_int_eq(read_head("grpc-accept-encoding", "gzip", &req), 0);
    ck_assert(!req.gzip_out);
    ck_assert_int_eq(read_head("grpc-timeout", "250m", &req), 0);
    ck_assert_uint_eq(req.timeout_ms, 250);
    ck_assert_int_eq(read_head("grpc-timeout", "soon", &req), ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "protocol error: invalid timeout \"soon\"");
    /* Connect's headers say nothing here. */
    ck_assert_int_eq(read_head("Connect-Timeout-Ms", "soon", &req), 0);
    ck_assert_uint_eq(req.timeout_ms, 0);
}
END_TEST

static void expect_end(const struct adit_err *e, const char *trailers)
{
    struct adit_buf b;
    char head[FRAME_HEAD_LEN];
    adit_buf_init(&b, 4000);
    ck_assert_int_eq(adit_buf_append_str(&b, "before"), 0);
    ck_assert_int_eq(grpc_web_append_end(e, &b), 0);
    adit_buf_consume(&b, strlen("before"));
    frame_write_head(head, 0x80, strlen(trailers));
    ck_assert(
        adit_view_eq(adit_view_mem(adit_buf_view(&b).ptr, FRAME_HEAD_LEN), adit_view_mem(head, 5)));
    adit_buf_consume(&b, FRAME_HEAD_LEN);
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&b), trailers), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&b)));
    adit_buf_fini(&b);
}

START_TEST(grpc_web_writes_ends)
{
    struct adit_err none = ADIT_ERR_INIT;
    expect_end(NULL, "grpc-status: 0\r\n");
    expect_end(&none, "grpc-status: 0\r\n");
    (void)adit_err_set(&err, ADIT_ERR_NOT_FOUND, "no such thing"); /* the text is what counts */
    expect_end(&err, "grpc-status: 5\r\ngrpc-message: no such thing\r\n");
    err.msg[0] = '\0';
    expect_end(&err, "grpc-status: 5\r\ngrpc-message: \r\n");
}
END_TEST

START_TEST(grpc_web_makes_no_line_of_a_message)
{
    (void)adit_err_set(&err, ADIT_ERR_BAD_INPUT, "%s", "100% \xC3\xA9\r\ngrpc-status: 0\x7F~");
    expect_end(&err, "grpc-status: 3\r\n"
                     "grpc-message: 100%25 %C3%A9%0D%0Agrpc-status: 0%7F~\r\n");
}
END_TEST

SUITE_MAIN("grpc_web", grpc_web_reads_timeouts, grpc_web_reads_encodings_and_timeouts_of_heads,
           grpc_web_writes_ends, grpc_web_makes_no_line_of_a_message)
