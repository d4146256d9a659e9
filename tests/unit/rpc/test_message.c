/* SPDX-License-Identifier: Apache-2.0 */
/* Messages in bodies and envelopes, in any pieces. */
#include "tests/unit/suite.h"

#include "net/gzip.h"
#include "process.pb-c.h"
#include "rpc/connect.h"
#include "rpc/grpc_web.h"
#include "rpc/message.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct protocol_request req;
static struct adit_err err;

static struct adit_buf body;

static void begin_body(enum rpc_kind kind, enum rpc_codec codec, bool gzip)
{
    req =
        (struct protocol_request){.protocol = kind == RPC_UNARY ? &connect_unary : &connect_stream,
                                  .kind = kind,
                                  .codec = codec,
                                  .gzip_in = gzip};
    err = (struct adit_err)ADIT_ERR_INIT;
    adit_buf_fini(&body);
    adit_buf_init(&body, 2u * RPC_MESSAGE_MAX);
}

static void put_frame(uint8_t flags, struct adit_view payload)
{
    char frame[FRAME_HEAD_LEN];
    frame_write_head(frame, flags, payload.len);
    ck_assert_int_eq(adit_buf_append(&body, frame, sizeof(frame)), 0);
    ck_assert_int_eq(adit_buf_append_view(&body, payload), 0);
}

static void put_frame_str(uint8_t flags, const char *payload)
{
    put_frame(flags, adit_view_str(payload));
}

static void note(struct adit_buf *got, ProtobufCMessage *msg)
{
    const Process__ProcessConfig *m = (const Process__ProcessConfig *)msg;
    ck_assert_int_eq(adit_buf_appendf(got, "%s;", m->cmd), 0);
    protobuf_c_message_free_unpacked(msg, NULL);
}

/* Read the body in pieces of @step bytes; @got: the cmd of each message. */
static int read_pieces(size_t step, struct adit_buf *got)
{
    struct message_reader r;
    struct adit_view all = adit_buf_view(&body);
    ProtobufCMessage *msg;
    int rc = 0;
    message_reader_init(&r, &req, &process__process_config__descriptor);
    while (all.len && !rc) {
        size_t n = all.len < step ? all.len : step;
        struct adit_view in = {all.ptr, n};
        while (in.len && !rc) {
            rc = message_reader_feed(&r, &in, &msg, &err);
            if (!rc && msg)
                note(got, msg);
        }
        all.ptr += n;
        all.len -= n;
    }
    if (!rc)
        rc = message_reader_end(&r, &msg, &err);
    if (!rc && msg)
        note(got, msg);
    message_reader_fini(&r);
    return rc;
}

static void expect_body(int code, const char *cmds)
{
    const size_t steps[] = {SIZE_MAX, 1, 3, 7};
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct adit_buf got;
        adit_buf_init(&got, 1000);
        int rc = read_pieces(steps[i], &got);
        ck_assert_msg(rc == code, "%d %s, wanted %d", rc, err.msg, code);
        ck_assert_msg(adit_view_eq_str(adit_buf_view(&got), cmds), "%.*s",
                      ADIT_VIEW_ARG(adit_buf_view(&got)));
        adit_buf_fini(&got);
    }
    adit_buf_fini(&body);
}

static void put(const char *text)
{
    ck_assert_int_eq(adit_buf_append_str(&body, text), 0);
}

START_TEST(message_reads_unary_bodies)
{
    begin_body(RPC_UNARY, RPC_JSON, false);
    put("{\"cmd\":\"a\"}");
    expect_body(0, "a;");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    put("\x0A\x01z");
    expect_body(0, "z;");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    expect_body(0, ";");
    begin_body(RPC_UNARY, RPC_JSON, false);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    ck_assert_str_eq(err.msg, "unmarshal message: zero-length payload is not a valid JSON object");
    begin_body(RPC_UNARY, RPC_JSON, false);
    put("{\"cmd\":\"a\"}x");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    put("\x0A\x02z");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    ck_assert_ptr_nonnull(strstr(err.msg, "unmarshal message: "));
}
END_TEST

START_TEST(message_reads_the_one_message_of_a_server_stream_and_ignores_the_rest)
{
    begin_body(RPC_SERVER_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    expect_body(0, "a;");
    begin_body(RPC_SERVER_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("\xFF\xFF\xFF\xFF\xFF\xFF trailing bytes");
    expect_body(0, "a;");
    begin_body(RPC_SERVER_STREAM, RPC_PROTO, false);
    put_frame_str(0, "");
    expect_body(0, ";");
    begin_body(RPC_SERVER_STREAM, RPC_JSON, false);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_SERVER_STREAM, RPC_JSON, false);
    put_frame_str(0, "");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_SERVER_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    body.len--;
    expect_body(ADIT_ERR_BAD_INPUT, "");
}
END_TEST

START_TEST(message_reads_client_streams)
{
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    expect_body(0, "");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put_frame_str(0, "{}");
    put_frame_str(0, "{\"cmd\":\"c\"}");
    expect_body(0, "a;;c;");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("\0");
    put_frame_str(0, "{");
    expect_body(ADIT_ERR_BAD_INPUT, "a;");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("x");
    expect_body(ADIT_ERR_BAD_INPUT, "a;");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    put_frame_str(FRAME_FLAG_END, "{}");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, false);
    put_frame_str(FRAME_FLAG_COMPRESSED, "{}");
    expect_body(ADIT_ERR_PROTOCOL, "");
}
END_TEST

START_TEST(message_reads_gzip)
{
    struct adit_buf packed;
    adit_buf_init(&packed, 1000);
    ck_assert_int_eq(gzip_encode_all(adit_view_str("{\"cmd\":\"a\"}"), &packed, &err), 0);
    begin_body(RPC_UNARY, RPC_JSON, true);
    ck_assert_int_eq(adit_buf_append_view(&body, adit_buf_view(&packed)), 0);
    expect_body(0, "a;");
    begin_body(RPC_CLIENT_STREAM, RPC_JSON, true);
    put_frame(FRAME_FLAG_COMPRESSED, adit_buf_view(&packed));
    put_frame_str(0, "{\"cmd\":\"b\"}");
    expect_body(0, "a;b;");
    begin_body(RPC_UNARY, RPC_JSON, true);
    put("{\"cmd\":\"a\"}");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, RPC_JSON, true);
    ck_assert_int_eq(adit_buf_append(&body, adit_buf_view(&packed).ptr, packed.len - 1), 0);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    adit_buf_fini(&packed);
}
END_TEST

START_TEST(message_refuses_messages_above_the_maximum)
{
    struct adit_buf packed;
    char *spaces = malloc(RPC_MESSAGE_MAX + 1);
    ck_assert_ptr_nonnull(spaces);
    memset(spaces, ' ', RPC_MESSAGE_MAX + 1);
    memcpy(spaces, "{}", 2);

    begin_body(RPC_UNARY, RPC_JSON, false);
    ck_assert_int_eq(adit_buf_append(&body, spaces, RPC_MESSAGE_MAX), 0);
    struct adit_buf got;
    adit_buf_init(&got, 100);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), 0);
    ck_assert_int_eq(adit_buf_append(&body, " ", 1), 0);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), ADIT_ERR_LIMIT);

    /* A small body that grows. */
    adit_buf_init(&packed, RPC_MESSAGE_MAX);
    ck_assert_int_eq(gzip_encode_all(adit_view_mem(spaces, RPC_MESSAGE_MAX + 1), &packed, &err), 0);
    begin_body(RPC_UNARY, RPC_JSON, true);
    ck_assert_int_eq(adit_buf_append_view(&body, adit_buf_view(&packed)), 0);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), ADIT_ERR_LIMIT);
    adit_buf_fini(&packed);
    adit_buf_fini(&got);
    adit_buf_fini(&body);
    free(spaces);
}
END_TEST

START_TEST(message_reads_the_one_envelope_of_a_unary_call)
{
    begin_body(RPC_UNARY, RPC_PROTO, false);
    req.protocol = &grpc_web;
    put_frame_str(0, "\x0A\x01z");
    expect_body(0, "z;");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    req.protocol = &grpc_web;
    put_frame_str(0, "\x0A\x01z");
    put("trailing bytes");
    expect_body(0, "z;");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    req.protocol = &grpc_web;
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    req.protocol = &grpc_web;
    put_frame_str(FRAME_FLAG_TRAILERS, "grpc-status: 0\r\n");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, RPC_PROTO, false);
    req.protocol = &grpc_web;
    put_frame_str(FRAME_FLAG_COMPRESSED, "\x0A\x01z");
    expect_body(ADIT_ERR_PROTOCOL, "");
}
END_TEST

/* ---- answers ---- */

static void expect_written(int rc, const char *bytes, size_t len)
{
    ck_assert_int_eq(rc, 0);
    ck_assert_msg(adit_view_eq(adit_buf_view(&body), adit_view_mem(bytes, len)), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&body)));
    adit_buf_fini(&body);
    adit_buf_init(&body, 1000);
}

START_TEST(message_writes_bodies_and_envelopes)
{
    Process__ProcessEvent__StartEvent m;
    process__process_event__start_event__init(&m);
    m.pid = 7;
    adit_buf_init(&body, 1000);
    expect_written(message_append(RPC_JSON, &m.base, &body), "{\"pid\":7}", 9);
    expect_written(message_append(RPC_PROTO, &m.base, &body), "\x08\x07", 2);
    expect_written(message_append_envelope(0, RPC_JSON, &m.base, &body), "\0\0\0\0\x09{\"pid\":7}",
                   14);
    expect_written(message_append_envelope(0, RPC_PROTO, &m.base, &body), "\0\0\0\0\x02\x08\x07",
                   7);
    m.pid = 0;
    expect_written(message_append_envelope(0, RPC_PROTO, &m.base, &body), "\0\0\0\0\0", 5);
    adit_buf_fini(&body);
}
END_TEST

SUITE_MAIN("message", message_reads_unary_bodies,
           message_reads_the_one_message_of_a_server_stream_and_ignores_the_rest,
           message_reads_client_streams, message_reads_gzip,
           message_refuses_messages_above_the_maximum,
           message_reads_the_one_envelope_of_a_unary_call, message_writes_bodies_and_envelopes)
