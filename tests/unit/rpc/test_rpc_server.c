/* SPDX-License-Identifier: Apache-2.0 */
/* Connect RPC over real HTTP connections: answers byte by byte, and what the handler hears. */
#include "tests/unit/suite.h"
#include "tests/unit/rpc/rpc_fixture.h"

#include "net/gzip.h"

#define JSON "application/json"
#define STREAM_JSON "application/connect+json"
#define NOT_FOUND "{\"code\":\"not_found\",\"message\":\"no such \\\"thing\\\"\"}"
#define DEADLINE "{\"code\":\"deadline_exceeded\",\"message\":\"context deadline exceeded\"}"

/* The bytes of a literal with NUL bytes in it. */
#define BYTES(literal) (literal), sizeof(literal) - 1

START_TEST(rpc_server_answers_unary_calls_in_both_codecs)
{
    fixture_connect();
    fixture_unary("", "{\"cmd\":\"a\"}");
    fixture_expect_str(200, JSON, "{\"cmd\":\"a\"}");
    fixture_post("Unary", "application/json; charset=utf-8", "Connect-Protocol-Version: 1\r\n",
                 adit_view_str("{\"cmd\":\"b\"}"));
    fixture_expect_str(200, JSON, "{\"cmd\":\"b\"}");
    fixture_post("Unary", "application/proto", "", adit_view_str("\x0A\x01z"));
    fixture_expect_str(200, "application/proto", "\x0A\x01z");
    fixture_post("Unary", "application/proto", "", adit_view_str(""));
    fixture_expect_str(200, "application/proto", "");
    fixture_expect_log("open;message a;open;message b;open;message z;open;message ;");
}
END_TEST

START_TEST(rpc_server_answers_unary_errors)
{
    fixture_connect();
    fixture_unary("", "{\"cmd\":\"error\"}");
    fixture_expect_str(404, JSON, NOT_FOUND);
    fixture_post("Unary", "application/proto", "",
                 adit_view_str("\x0A\x05"
                               "error"));
    fixture_expect_str(404, JSON, NOT_FOUND);
    fixture_unary("X-Refuse: 1\r\n", "{\"cmd\":\"a\"}");
    fixture_expect_str(401, JSON,
                       "{\"code\":\"unauthenticated\",\"message\":\"invalid username: 'x'\"}");
    fixture_expect_log("open;message error;open;message error;open;");
}
END_TEST

START_TEST(rpc_server_answers_a_unary_call_that_has_no_answer)
{
    fixture_connect();
    fixture_unary("", "{\"cmd\":\"nothing\"}");
    fixture_expect_str(500, JSON, "{\"code\":\"internal\",\"message\":\"the call has no answer\"}");
}
END_TEST

START_TEST(rpc_server_refuses_unreadable_messages_and_tells_the_handler)
{
    static const struct {
        const char *json, *message;
    } rows[] = {
        {"", "unmarshal message: zero-length payload is not a valid JSON object"},
        {"{", "unmarshal message: unexpected end at byte 1"},
        {"{\"cmd\":1}", "unmarshal message: unexpected token at byte 7"},
    };
    for (size_t i = 0; i < 3; i++) {
        char want[200];
        adit_buf_clear(&fixture.log);
        fixture_connect();
        fixture_unary("", rows[i].json);
        (void)snprintf(want, sizeof(want), "{\"code\":\"invalid_argument\",\"message\":\"%s\"}",
                       rows[i].message); /* fits */
        fixture_expect_str(400, JSON, want);
        fixture_expect_log("open;cancel bad_input;");
        fixture_hang_up();
    }
}
END_TEST

START_TEST(rpc_server_refuses_heads_before_the_handler_hears_of_them)
{
    static const struct {
        const char *header;
        unsigned status;
        const char *code;
    } rows[] = {
        {"Connect-Protocol-Version: 2\r\n", 400, "{\"code\":\"invalid_argument\""},
        {"Connect-Timeout-Ms: soon\r\n", 400, "{\"code\":\"invalid_argument\""},
        {"Content-Encoding: br\r\n", 501, "{\"code\":\"unimplemented\""},
    };
    for (size_t i = 0; i < 3; i++) {
        struct fixture_reply r;
        fixture_connect();
        fixture_unary(rows[i].header, "{}");
        fixture_reply_init(&r);
        fixture_read(&r, SIZE_MAX);
        ck_assert_uint_eq(r.status, rows[i].status);
        ck_assert(adit_view_has_prefix(adit_buf_view(&r.body), rows[i].code));
        fixture_reply_fini(&r);
        fixture_hang_up();
    }
    fixture_expect_log("");
}
END_TEST

START_TEST(rpc_server_refuses_wrong_methods_types_and_paths_in_plain_http)
{
    struct fixture_reply r;
    fixture_connect();
    fixture_reply_init(&r);
    fixture_write_str("GET /test.Test/Unary HTTP/1.1\r\nHost: h\r\n\r\n");
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 405);
    ck_assert_str_eq(r.allow, "POST");
    fixture_reply_fini(&r);

    fixture_reply_init(&r);
    fixture_post("Unary", "application/grpc", "", adit_view_str(""));
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 415);
    ck_assert_str_eq(r.accept_post, protocol_accept_post(RPC_UNARY));
    fixture_reply_fini(&r);

    fixture_reply_init(&r);
    fixture_post("Stream", "application/json", "", adit_view_str(""));
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 415);
    ck_assert_str_eq(r.accept_post, protocol_accept_post(RPC_SERVER_STREAM));
    fixture_reply_fini(&r);

    fixture_reply_init(&r);
    fixture_post("Nothing", "application/json", "", adit_view_str(""));
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 404);
    fixture_reply_fini(&r);
    fixture_expect_log("");
}
END_TEST

START_TEST(rpc_server_takes_and_gives_gzip)
{
    struct adit_buf packed, plain;
    struct adit_err err = ADIT_ERR_INIT;
    struct fixture_reply r;
    adit_buf_init(&packed, 1000);
    ck_assert_int_eq(gzip_encode_all(adit_view_str("{\"cmd\":\"big\"}"), &packed, &err), 0);
    fixture_connect();
    fixture_post("Unary", JSON, "Content-Encoding: gzip\r\nAccept-Encoding: gzip, deflate\r\n",
                 adit_buf_view(&packed));
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 200);
    ck_assert_str_eq(r.encoding, "gzip");
    ck_assert_uint_lt(r.body.len, 1000);
    adit_buf_init(&plain, 100000);
    ck_assert_int_eq(gzip_decode_all(adit_buf_view(&r.body), 100000, &plain, &err), 0);
    ck_assert_uint_eq(plain.len, 20000 + strlen("{\"cmd\":\"\"}"));
    fixture_reply_fini(&r);
    adit_buf_fini(&plain);
    adit_buf_fini(&packed);

    fixture_reply_init(&r); /* small answers stay as they are */
    fixture_unary("Accept-Encoding: gzip\r\n", "{\"cmd\":\"a\"}");
    fixture_read(&r, SIZE_MAX);
    ck_assert_str_eq(r.encoding, "");
    fixture_reply_fini(&r);
    fixture_reply_init(&r); /* and so do large ones for a client that says nothing of it */
    fixture_unary("Accept-Encoding:\r\nConnect-Accept-Encoding:\r\n", "{\"cmd\":\"big\"}");
    fixture_read(&r, SIZE_MAX);
    ck_assert_str_eq(r.encoding, "");
    ck_assert_uint_eq(r.body.len, 20000 + strlen("{\"cmd\":\"\"}"));
    fixture_reply_fini(&r);
}
END_TEST

START_TEST(rpc_server_streams_messages_and_ends)
{
    fixture_connect();
    fixture_stream("Connect-Timeout-Ms: 1500.0\r\nAccept-Encoding:\r\nConnect-Accept-Encoding:\r\n"
                   "Connect-Content-Encoding: identity\r\n",
                   "{\"cmd\":\"a\"}");
    fixture_expect(200, STREAM_JSON, BYTES("\0\0\0\0\x0B{\"cmd\":\"a\"}\2\0\0\0\2{}"));
    fixture_stream("", "{\"cmd\":\"nothing\"}");
    fixture_expect(200, STREAM_JSON, BYTES("\2\0\0\0\2{}"));
    fixture_post("Stream", "application/connect+proto", "",
                 adit_view_mem("\0\0\0\0\3\x0A\x01z", 8));
    fixture_expect(200, "application/connect+proto", BYTES("\0\0\0\0\3\x0A\1z\2\0\0\0\2{}"));
    fixture_expect_log("open;message a;open;message nothing;open;message z;");
}
END_TEST

START_TEST(rpc_server_starts_a_stream_at_its_one_message)
{
    struct fixture_reply r;
    char body[100];
    size_t len = fixture_frame(body, "{\"cmd\":\"hold\"}");
    static char one[] = "one", two[] = "two";
    fixture_connect();
    fixture_write_str("POST /test.Test/Stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                      "Content-Type: application/connect+json\r\n\r\n13\r\n");
    fixture_write(body, len);
    while (!fixture.kept)
        fixture_turn();
    /* The request has not ended, and the messages flow one by one. */
    fixture_reply_init(&r);
    ck_assert_int_eq(fixture_send(fixture.kept, one), 0);
    fixture_read(&r, 18);
    fixture_expect_body(&r, BYTES("\0\0\0\0\x0D{\"cmd\":\"one\"}"));
    fixture_write_str("\r\n8\r\ntrailing\r\n0\r\n\r\n");
    ck_assert_int_eq(fixture_send(fixture.kept, two), 0);
    rpc_call_finish(fixture.kept, NULL);
    fixture_read(&r, SIZE_MAX);
    ck_assert(r.is_whole);
    fixture_expect_body(
        &r, BYTES("\0\0\0\0\x0D{\"cmd\":\"one\"}\0\0\0\0\x0D{\"cmd\":\"two\"}\2\0\0\0\2{}"));
    fixture_reply_fini(&r);
    fixture_expect_log("open;message hold;");
}
END_TEST

START_TEST(rpc_server_answers_stream_errors_with_200)
{
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"error\"}");
    fixture_expect_end("{\"error\":" NOT_FOUND "}");
    fixture_stream("X-Refuse: 1\r\n", "{}"); /* over the same connection */
    fixture_expect_end("{\"error\":{\"code\":\"unauthenticated\",\"message\":"
                       "\"invalid username: 'x'\"}}");
    fixture_hang_up();
    fixture_connect();
    fixture_stream("", "{");
    fixture_expect_end("{\"error\":{\"code\":\"invalid_argument\",\"message\":"
                       "\"unmarshal message: unexpected end at byte 1\"}}");
    fixture_hang_up();
    fixture_connect();
    fixture_post("Stream", STREAM_JSON, "", adit_view_str(""));
    fixture_expect_end("{\"error\":{\"code\":\"invalid_argument\",\"message\":"
                       "\"protocol error: request without a message\"}}");
    fixture_expect_log("open;message error;open;open;cancel bad_input;open;cancel bad_input;");
}
END_TEST

START_TEST(rpc_server_tells_the_client_of_a_deadline_before_the_handler)
{
    struct fixture_reply r;
    fixture_connect();
    fixture_unary("Connect-Timeout-Ms: 60\r\n", "{\"cmd\":\"hold\"}");
    fixture_expect_str(504, JSON, DEADLINE);
    fixture_expect_log("open;message hold;cancel timeout;");
    adit_buf_clear(&fixture.log);

    fixture_stream("Connect-Timeout-Ms: 60\r\n", "{\"cmd\":\"hold\"}");
    while (fixture.log.len < strlen("open;message hold;cancel timeout;"))
        (void)uv_run(&fixture.uv, UV_RUN_ONCE); /* how many handles are left does not matter */
    fixture_expect_log("open;message hold;cancel timeout;");
    /* The end was sent before on_cancel ran: it is there without another turn of the loop. */
    char bytes[2000];
    ssize_t n = recv(fixture.conn, bytes, sizeof(bytes), 0);
    ck_assert_int_gt(n, 0);
    fixture_reply_init(&r);
    fixture_take(&r, adit_view_mem(bytes, (size_t)n));
    ck_assert(r.is_whole);
    adit_buf_consume(&r.body, FRAME_HEAD_LEN);
    fixture_expect_body(&r, BYTES("{\"error\":" DEADLINE "}"));
    fixture_reply_fini(&r);
}
END_TEST

START_TEST(rpc_server_runs_the_deadline_while_a_body_is_missing)
{
    fixture_connect();
    fixture_write_str(
        "POST /test.Test/Unary HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\nConnect-Timeout-Ms: 60\r\n\r\n{");
    fixture_expect_str(504, JSON, DEADLINE);
    fixture_expect_log("open;cancel timeout;");
}
END_TEST

START_TEST(rpc_server_tells_the_handler_that_the_client_is_gone)
{
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    fixture_hang_up();
    while (fixture.kept)
        fixture_turn();
    fixture_expect_log("open;message hold;cancel canceled;");
}
END_TEST

START_TEST(rpc_server_breaks_the_connection_of_an_aborted_call)
{
    struct fixture_reply r;
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"abort\"}");
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert(r.is_cut && !r.is_whole);
    fixture_reply_fini(&r);
    fixture_expect_log("open;message abort;");
}
END_TEST

START_TEST(rpc_server_ends_the_call_when_sending_fails)
{
    static char text[] = "a";
    int rc = 0;
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    fixture_hang_up();
    /* No turn of the loop in between: the write finds out, and no on_cancel follows. */
    for (int i = 0; i < 100 && !rc; i++)
        rc = fixture_send(fixture.kept, text);
    ck_assert_int_eq(rc, ADIT_ERR_CLOSED);
    for (int i = 0; i < 10; i++)
        fixture_turn();
    fixture_expect_log("open;message hold;");
}
END_TEST

START_TEST(rpc_server_ends_a_stream_whose_handler_ignores_back_pressure)
{
    char *text = malloc(1000001);
    int rc = 0, sent = 0;
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 1000000);
    text[1000000] = '\0';
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    ck_assert(!rpc_call_is_congested(fixture.kept));
    for (; sent < 100 && !rc; sent++)
        rc = fixture_send(fixture.kept, text);
    ck_assert_int_eq(rc, ADIT_ERR_LIMIT);
    ck_assert_int_lt(sent, 20);
    free(text);
    for (int i = 0; i < 10; i++)
        fixture_turn();
    fixture_expect_log("open;message hold;");
}
END_TEST

START_TEST(rpc_server_tells_when_a_congested_stream_drains)
{
    struct fixture_reply r;
    static char text[200001];
    memset(text, 'x', sizeof(text) - 1);
    fixture_connect();
    fixture_stream("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    size_t sent = 0;
    while (!rpc_call_is_congested(fixture.kept)) {
        ck_assert_int_eq(fixture_send(fixture.kept, text), 0);
        sent += sizeof(text) - 1 + strlen("{\"cmd\":\"\"}") + FRAME_HEAD_LEN;
    }
    fixture_reply_init(&r);
    fixture_read(&r, sent);
    rpc_call_finish(fixture.kept, NULL);
    fixture_read(&r, SIZE_MAX);
    ck_assert(r.is_whole);
    ck_assert_uint_eq(r.body.len, sent + 7);
    fixture_reply_fini(&r);
    fixture_expect_log("open;message hold;drain;");
}
END_TEST

static void collect(const char *const *messages, size_t cnt)
{
    char body[500];
    size_t len = 0;
    for (size_t i = 0; i < cnt; i++)
        len += fixture_frame(body + len, messages[i]);
    fixture_post("Collect", STREAM_JSON, "", adit_view_mem(body, len));
}

static const char *const three[] = {"{\"cmd\":\"a\"}", "{\"cmd\":\"b\"}", "{\"cmd\":\"c\"}"};

START_TEST(rpc_server_gives_client_streams_in_order)
{
    fixture_connect();
    collect(three, 3);
    fixture_expect(200, STREAM_JSON, BYTES("\0\0\0\0\x0E{\"cmd\":\"done\"}\2\0\0\0\2{}"));
    collect(three, 0);
    fixture_expect(200, STREAM_JSON, BYTES("\0\0\0\0\x0E{\"cmd\":\"done\"}\2\0\0\0\2{}"));
    fixture_expect_log("open;message a;message b;message c;half-close;open;half-close;");
}
END_TEST

START_TEST(rpc_server_pauses_client_streams_between_messages)
{
    fixture_connect();
    fixture.pause_after_message = true;
    collect(three, 3);
    for (int i = 0; i < 5; i++)
        fixture_turn();
    fixture_expect_log("open;message a;");
    rpc_call_resume(fixture.kept);
    fixture_expect_log("open;message a;"); /* never inside the call */
    for (int i = 0; i < 5; i++)
        fixture_turn();
    fixture_expect_log("open;message a;message b;");
    rpc_call_resume(fixture.kept);
    rpc_call_pause(fixture.kept);
    for (int i = 0; i < 5; i++)
        fixture_turn();
    fixture_expect_log("open;message a;message b;");
    rpc_call_resume(fixture.kept);
    for (int i = 0; i < 5; i++)
        fixture_turn();
    fixture_expect_log("open;message a;message b;message c;");
    rpc_call_resume(fixture.kept);
    fixture_expect(200, STREAM_JSON, BYTES("\0\0\0\0\x0E{\"cmd\":\"done\"}\2\0\0\0\2{}"));
    fixture_expect_log("open;message a;message b;message c;half-close;");
}
END_TEST

START_TEST(rpc_server_tells_the_handler_of_a_client_stream_that_breaks)
{
    static const char *const broken[] = {"{\"cmd\":\"a\"}", "{", "{\"cmd\":\"c\"}"};
    fixture_connect();
    collect(broken, 3);
    struct fixture_reply r;
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 200);
    ck_assert_uint_eq((unsigned char)adit_buf_view(&r.body).ptr[0], FRAME_FLAG_END);
    fixture_reply_fini(&r);
    fixture_expect_log("open;message a;cancel bad_input;");
    fixture_hang_up();
    adit_buf_clear(&fixture.log);

    fixture_connect();
    fixture_post("Collect", STREAM_JSON, "", adit_view_mem("\0\0\0\0\x0B{\"c", 8));
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq((unsigned char)adit_buf_view(&r.body).ptr[0], FRAME_FLAG_END);
    fixture_reply_fini(&r);
    fixture_expect_log("open;cancel bad_input;");
}
END_TEST

START_TEST(rpc_server_ends_a_paused_stream_whose_client_leaves)
{
    fixture_connect();
    fixture.pause_after_message = true;
    collect(three, 3);
    for (int i = 0; i < 5; i++)
        fixture_turn();
    fixture_hang_up();
    for (int i = 0; i < 100 && fixture.kept; i++) {
        rpc_call_resume(fixture.kept);
        fixture_turn();
    }
    ck_assert_ptr_null(fixture.kept);
    fixture_expect_log("open;message a;message b;message c;half-close;");
}
END_TEST

START_TEST(rpc_server_refuses_a_unary_body_above_the_maximum)
{
    char *big = malloc(RPC_MESSAGE_MAX + 1);
    struct fixture_reply r;
    ck_assert_ptr_nonnull(big);
    memset(big, ' ', RPC_MESSAGE_MAX + 1);
    memcpy(big, "{}", 2);
    fixture_connect();
    fixture_post("Unary", JSON, "", adit_view_mem(big, RPC_MESSAGE_MAX));
    fixture_expect_str(200, JSON, "{}");
    adit_buf_clear(&fixture.log);
    fixture_post("Unary", JSON, "", adit_view_mem(big, RPC_MESSAGE_MAX + 1));
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 429);
    fixture_expect_log("open;cancel limit;");
    fixture_reply_fini(&r);
    free(big);
}
END_TEST

START_TEST(rpc_server_answers_an_answer_that_is_too_large_with_an_error)
{
    struct fixture_reply r;
    char *text = malloc(RPC_ANSWER_MAX + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', RPC_ANSWER_MAX);
    text[RPC_ANSWER_MAX] = '\0';
    fixture_connect();
    fixture_unary("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    ck_assert_int_eq(fixture_send(fixture.kept, text), ADIT_ERR_LIMIT);
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 429);
    fixture_reply_fini(&r);

    fixture.kept = NULL;
    fixture_unary("", "{\"cmd\":\"hold\"}");
    while (!fixture.kept)
        fixture_turn();
    text[RPC_ANSWER_MAX - strlen("{\"cmd\":\"\"}")] = '\0';
    ck_assert_int_eq(fixture_send(fixture.kept, text), 0);
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_uint_eq(r.status, 200);
    ck_assert_uint_eq(r.body.len, RPC_ANSWER_MAX);
    fixture_reply_fini(&r);
    free(text);
}
END_TEST

SUITE_MAIN_WITH(
    "rpc_server", .fixtures = {{fixture_setup, fixture_teardown}},
    TESTS(rpc_server_answers_unary_calls_in_both_codecs, rpc_server_answers_unary_errors,
          rpc_server_answers_a_unary_call_that_has_no_answer,
          rpc_server_refuses_unreadable_messages_and_tells_the_handler,
          rpc_server_refuses_heads_before_the_handler_hears_of_them,
          rpc_server_refuses_wrong_methods_types_and_paths_in_plain_http,
          rpc_server_takes_and_gives_gzip, rpc_server_streams_messages_and_ends,
          rpc_server_starts_a_stream_at_its_one_message, rpc_server_answers_stream_errors_with_200,
          rpc_server_tells_the_client_of_a_deadline_before_the_handler,
          rpc_server_runs_the_deadline_while_a_body_is_missing,
          rpc_server_tells_the_handler_that_the_client_is_gone,
          rpc_server_breaks_the_connection_of_an_aborted_call,
          rpc_server_ends_the_call_when_sending_fails,
          rpc_server_ends_a_stream_whose_handler_ignores_back_pressure,
          rpc_server_tells_when_a_congested_stream_drains, rpc_server_gives_client_streams_in_order,
          rpc_server_pauses_client_streams_between_messages,
          rpc_server_tells_the_handler_of_a_client_stream_that_breaks,
          rpc_server_ends_a_paused_stream_whose_client_leaves,
          rpc_server_refuses_a_unary_body_above_the_maximum,
          rpc_server_answers_an_answer_that_is_too_large_with_an_error))
