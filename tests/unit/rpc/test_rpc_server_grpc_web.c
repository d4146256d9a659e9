/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of rpc_fixture.h called in gRPC-Web: answers byte by byte. */
#include "tests/unit/suite.h"
#include "tests/unit/rpc/rpc_fixture.h"

#include "net/gzip.h"

#define PROTO "application/grpc-web+proto"
/* The bytes of a literal with NUL bytes in it. */
#define BYTES(literal) (literal), sizeof(literal) - 1
/* In protobuf: cmd "z"; the same in an envelope. */
#define Z "\x0A\x01z"
#define Z_ENVELOPE "\0\0\0\0\x03" Z
#define OK_END "\x80\0\0\0\x10grpc-status: 0\r\n"

static void post(const char *method, const char *type, const char *headers, const char *message)
{
    char body[300];
    size_t len = fixture_frame(body, message);
    fixture_post(method, type, headers, adit_view_mem(body, len));
}

/* Read an answer that is nothing but its end. */
static void expect_end(const char *trailers)
{
    char frame[500];
    size_t len = fixture_frame(frame, trailers);
    frame[0] = (char)FRAME_FLAG_TRAILERS;
    fixture_expect(200, PROTO, frame, len);
}

START_TEST(rpc_server_answers_unary_calls_in_grpc_web)
{
    fixture_connect();
    post("Unary", PROTO, "X-Grpc-Web: 1\r\n", Z);
    fixture_expect(200, PROTO, BYTES(Z_ENVELOPE OK_END));
    post("Unary", "application/grpc-web", "", Z);
    fixture_expect(200, "application/grpc-web", BYTES(Z_ENVELOPE OK_END));
    post("Unary", "application/grpc-web+json", "", "{\"cmd\":\"z\"}");
    fixture_expect(200, "application/grpc-web+json", BYTES("\0\0\0\0\x0B{\"cmd\":\"z\"}" OK_END));
    fixture_expect_log("open;message z;open;message z;open;message z;");
}
END_TEST

START_TEST(rpc_server_streams_in_grpc_web)
{
    fixture_connect();
    post("Stream", PROTO, "", Z);
    fixture_expect(200, PROTO, BYTES(Z_ENVELOPE OK_END));
    fixture_post("Collect", PROTO, "", adit_view_mem(BYTES(Z_ENVELOPE Z_ENVELOPE)));
    fixture_expect(200, PROTO,
                   BYTES("\0\0\0\0\x06\x0A\x04"
                         "done" OK_END));
    fixture_expect_log("open;message z;open;message z;message z;half-close;");
}
END_TEST

START_TEST(rpc_server_answers_errors_of_grpc_web_with_200_and_trailers_alone)
{
    static const char *const methods[] = {"Unary", "Stream"};
    for (size_t i = 0; i < 2; i++) {
        fixture_connect();
        post(methods[i], PROTO, "",
             "\x0A\x05"
             "error");
        expect_end("grpc-status: 5\r\ngrpc-message: no such \"thing\"\r\n");
        post(methods[i], PROTO, "X-Refuse: 1\r\n", "");
        expect_end("grpc-status: 16\r\ngrpc-message: invalid username: 'x'\r\n");
        fixture_hang_up();
        fixture_connect();
        post(methods[i], PROTO, "grpc-encoding: br\r\n", "");
        expect_end("grpc-status: 12\r\ngrpc-message: unknown compression \"br\": "
                   "supported encodings are gzip\r\n");
        fixture_hang_up();
        fixture_connect();
        post(methods[i], PROTO, "grpc-timeout: 5\r\n", "");
        expect_end("grpc-status: 3\r\ngrpc-message: protocol error: invalid timeout \"5\"\r\n");
        fixture_hang_up();
        fixture_connect();
        fixture_post(methods[i], PROTO, "", adit_view_str(""));
        expect_end("grpc-status: 3\r\ngrpc-message: protocol error: request without a message\r\n");
        fixture_hang_up();
    }
}
END_TEST

START_TEST(rpc_server_answers_a_unary_call_of_grpc_web_that_has_no_answer)
{
    fixture_connect();
    post("Unary", PROTO, "", "\x0A\x07nothing");
    expect_end("grpc-status: 13\r\ngrpc-message: the call has no answer\r\n");
}
END_TEST

START_TEST(rpc_server_tells_of_a_deadline_of_grpc_web)
{
    fixture_connect();
    post("Stream", PROTO, "grpc-timeout: 60m\r\n", "\x0A\x04hold");
    expect_end("grpc-status: 4\r\ngrpc-message: context deadline exceeded\r\n");
    post("Unary", PROTO, "grpc-timeout: 60000u\r\n", "\x0A\x04hold");
    expect_end("grpc-status: 4\r\ngrpc-message: context deadline exceeded\r\n");
    fixture_expect_log("open;message hold;cancel timeout;open;message hold;cancel timeout;");
}
END_TEST

START_TEST(rpc_server_reads_compressed_envelopes_and_says_so)
{
    struct adit_buf body;
    struct adit_err err = ADIT_ERR_INIT;
    struct fixture_reply r;
    adit_buf_init(&body, 1000);
    ck_assert_int_eq(frame_begin(&body), 0);
    ck_assert_int_eq(gzip_encode_all(adit_view_str(Z), &body, &err), 0);
    frame_finish(&body, 0, FRAME_FLAG_COMPRESSED);
    fixture_connect();
    fixture_post("Unary", PROTO, "grpc-encoding: gzip\r\ngrpc-accept-encoding: gzip\r\n",
                 adit_buf_view(&body));
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert_str_eq(r.grpc_accept, "gzip");
    fixture_expect_body(&r, BYTES(Z_ENVELOPE OK_END));
    fixture_reply_fini(&r);
    fixture_post("Unary", PROTO, "", adit_buf_view(&body));
    expect_end("grpc-status: 13\r\ngrpc-message: "
               "protocol error: compressed envelope without a message encoding\r\n");
    adit_buf_fini(&body);
}
END_TEST

START_TEST(rpc_server_breaks_the_connection_of_an_aborted_call_of_grpc_web)
{
    struct fixture_reply r;
    fixture_connect();
    post("Stream", PROTO, "",
         "\x0A\x05"
         "abort");
    fixture_reply_init(&r);
    fixture_read(&r, SIZE_MAX);
    ck_assert(r.is_cut && !r.is_whole);
    fixture_reply_fini(&r);
    fixture_expect_log("open;message abort;");
}
END_TEST

SUITE_MAIN_WITH("rpc_server_grpc_web", .fixtures = {{fixture_setup, fixture_teardown}},
                TESTS(rpc_server_answers_unary_calls_in_grpc_web, rpc_server_streams_in_grpc_web,
                      rpc_server_answers_errors_of_grpc_web_with_200_and_trailers_alone,
                      rpc_server_answers_a_unary_call_of_grpc_web_that_has_no_answer,
                      rpc_server_tells_of_a_deadline_of_grpc_web,
                      rpc_server_reads_compressed_envelopes_and_says_so,
                      rpc_server_breaks_the_connection_of_an_aborted_call_of_grpc_web))
