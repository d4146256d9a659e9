/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol without I/O: heads, bodies in any pieces, errors. */
#include "tests/unit/suite.h"

#include <stdio.h>

#include "net/gzip.h"
#include "process.pb-c.h"
#include "rpc/connect.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct http_head head;
static struct connect_request req;
static struct adit_err err;

static void begin_head(enum http_method method)
{
    head = (struct http_head){.kind = HTTP_REQUEST, .method = method};
    err = (struct adit_err)ADIT_ERR_INIT;
}

static void add(const char *name, const char *value)
{
    head.headers[head.header_cnt++] =
        (struct http_header){adit_view_str(name), adit_view_str(value)};
}

static unsigned negotiate(enum rpc_kind kind, const char *type)
{
    begin_head(HTTP_POST);
    if (type)
        add("Content-Type", type);
    return connect_negotiate(&head, kind, &req);
}

/* Read a head that has one header more than the type. */
static int read_head(enum rpc_kind kind, const char *name, const char *value)
{
    ck_assert_uint_eq(
        negotiate(kind, kind == RPC_UNARY ? "application/json" : "application/connect+json"), 0);
    add(name, value);
    return connect_read_head(&head, &req, &err);
}

START_TEST(connect_takes_content_types_in_their_spellings)
{
    static const struct {
        enum rpc_kind kind;
        const char *type;
        unsigned status;
        enum connect_codec codec;
        const char *answer;
    } rows[] = {
        {RPC_UNARY, "application/json", 0, CONNECT_JSON, "application/json"},
        {RPC_UNARY, "application/json; charset=utf-8", 0, CONNECT_JSON, "application/json"},
        {RPC_UNARY, "application/json;charset=UTF-8", 0, CONNECT_JSON, "application/json"},
        {RPC_UNARY, "Application/JSON ; Charset=\"utf-8\"", 0, CONNECT_JSON, "application/json"},
        {RPC_UNARY, "application/proto", 0, CONNECT_PROTO, "application/proto"},
        {RPC_SERVER_STREAM, "application/connect+json", 0, CONNECT_JSON,
         "application/connect+json"},
        {RPC_SERVER_STREAM, "application/connect+json; charset=utf-8", 0, CONNECT_JSON,
         "application/connect+json"},
        {RPC_CLIENT_STREAM, "application/connect+proto", 0, CONNECT_PROTO,
         "application/connect+proto"},
        {RPC_UNARY, NULL, 415, 0, NULL},
        {RPC_UNARY, "", 415, 0, NULL},
        {RPC_UNARY, "text/plain", 415, 0, NULL},
        {RPC_UNARY, "application/jsonx", 415, 0, NULL},
        {RPC_UNARY, "application/json; charset=latin1", 415, 0, NULL},
        {RPC_UNARY, "application/json; a=b", 415, 0, NULL},
        {RPC_UNARY, "application/json;", 415, 0, NULL},
        {RPC_UNARY, "application/connect+json", 415, 0, NULL},
        {RPC_UNARY, "application/grpc", 415, 0, NULL},
        {RPC_SERVER_STREAM, "application/json", 415, 0, NULL},
        {RPC_CLIENT_STREAM, "application/proto", 415, 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_msg(negotiate(rows[i].kind, rows[i].type) == rows[i].status, "row %zu", i);
        if (rows[i].status)
            continue;
        ck_assert_int_eq(req.codec, rows[i].codec);
        ck_assert_str_eq(connect_content_type(&req), rows[i].answer);
    }
}
END_TEST

START_TEST(connect_takes_only_post)
{
    for (enum http_method m = HTTP_GET; m <= HTTP_OTHER; m++) {
        begin_head(m);
        add("Content-Type", "application/json");
        ck_assert_uint_eq(connect_negotiate(&head, RPC_UNARY, &req), m == HTTP_POST ? 0 : 405);
    }
}
END_TEST

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

/* ---- bodies ---- */

static struct adit_buf body;

static void begin_body(enum rpc_kind kind, enum connect_codec codec, bool gzip)
{
    req = (struct connect_request){.kind = kind, .codec = codec, .gzip_in = gzip};
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
    struct connect_reader r;
    struct adit_view all = adit_buf_view(&body);
    ProtobufCMessage *msg;
    int rc = 0;
    connect_reader_init(&r, &req, &process__process_config__descriptor);
    while (all.len && !rc) {
        size_t n = all.len < step ? all.len : step;
        struct adit_view in = {all.ptr, n};
        while (in.len && !rc) {
            rc = connect_reader_feed(&r, &in, &msg, &err);
            if (!rc && msg)
                note(got, msg);
        }
        all.ptr += n;
        all.len -= n;
    }
    if (!rc)
        rc = connect_reader_end(&r, &msg, &err);
    if (!rc && msg)
        note(got, msg);
    connect_reader_fini(&r);
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

START_TEST(connect_reads_unary_bodies)
{
    begin_body(RPC_UNARY, CONNECT_JSON, false);
    put("{\"cmd\":\"a\"}");
    expect_body(0, "a;");
    begin_body(RPC_UNARY, CONNECT_PROTO, false);
    put("\x0A\x01z");
    expect_body(0, "z;");
    begin_body(RPC_UNARY, CONNECT_PROTO, false);
    expect_body(0, ";");
    begin_body(RPC_UNARY, CONNECT_JSON, false);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    ck_assert_str_eq(err.msg, "unmarshal message: zero-length payload is not a valid JSON object");
    begin_body(RPC_UNARY, CONNECT_JSON, false);
    put("{\"cmd\":\"a\"}x");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, CONNECT_PROTO, false);
    put("\x0A\x02z");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    ck_assert_ptr_nonnull(strstr(err.msg, "unmarshal message: "));
}
END_TEST

START_TEST(connect_reads_the_one_message_of_a_server_stream_and_ignores_the_rest)
{
    begin_body(RPC_SERVER_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    expect_body(0, "a;");
    begin_body(RPC_SERVER_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("\xFF\xFF\xFF\xFF\xFF\xFF trailing bytes");
    expect_body(0, "a;");
    begin_body(RPC_SERVER_STREAM, CONNECT_PROTO, false);
    put_frame_str(0, "");
    expect_body(0, ";");
    begin_body(RPC_SERVER_STREAM, CONNECT_JSON, false);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_SERVER_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_SERVER_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    body.len--;
    expect_body(ADIT_ERR_BAD_INPUT, "");
}
END_TEST

START_TEST(connect_reads_client_streams)
{
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    expect_body(0, "");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put_frame_str(0, "{}");
    put_frame_str(0, "{\"cmd\":\"c\"}");
    expect_body(0, "a;;c;");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("\0");
    put_frame_str(0, "{");
    expect_body(ADIT_ERR_BAD_INPUT, "a;");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    put_frame_str(0, "{\"cmd\":\"a\"}");
    put("x");
    expect_body(ADIT_ERR_BAD_INPUT, "a;");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    put_frame_str(FRAME_FLAG_END, "{}");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, false);
    put_frame_str(FRAME_FLAG_COMPRESSED, "{}");
    expect_body(ADIT_ERR_PROTOCOL, "");
}
END_TEST

START_TEST(connect_reads_gzip)
{
    struct adit_buf packed;
    adit_buf_init(&packed, 1000);
    ck_assert_int_eq(gzip_encode_all(adit_view_str("{\"cmd\":\"a\"}"), &packed, &err), 0);
    begin_body(RPC_UNARY, CONNECT_JSON, true);
    ck_assert_int_eq(adit_buf_append_view(&body, adit_buf_view(&packed)), 0);
    expect_body(0, "a;");
    begin_body(RPC_CLIENT_STREAM, CONNECT_JSON, true);
    put_frame(FRAME_FLAG_COMPRESSED, adit_buf_view(&packed));
    put_frame_str(0, "{\"cmd\":\"b\"}");
    expect_body(0, "a;b;");
    begin_body(RPC_UNARY, CONNECT_JSON, true);
    put("{\"cmd\":\"a\"}");
    expect_body(ADIT_ERR_BAD_INPUT, "");
    begin_body(RPC_UNARY, CONNECT_JSON, true);
    ck_assert_int_eq(adit_buf_append(&body, adit_buf_view(&packed).ptr, packed.len - 1), 0);
    expect_body(ADIT_ERR_BAD_INPUT, "");
    adit_buf_fini(&packed);
}
END_TEST

START_TEST(connect_refuses_messages_above_the_maximum)
{
    struct adit_buf packed;
    char *spaces = malloc(RPC_MESSAGE_MAX + 1);
    ck_assert_ptr_nonnull(spaces);
    memset(spaces, ' ', RPC_MESSAGE_MAX + 1);
    memcpy(spaces, "{}", 2);

    begin_body(RPC_UNARY, CONNECT_JSON, false);
    ck_assert_int_eq(adit_buf_append(&body, spaces, RPC_MESSAGE_MAX), 0);
    struct adit_buf got;
    adit_buf_init(&got, 100);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), 0);
    ck_assert_int_eq(adit_buf_append(&body, " ", 1), 0);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), ADIT_ERR_LIMIT);

    /* A small body that grows. */
    adit_buf_init(&packed, RPC_MESSAGE_MAX);
    ck_assert_int_eq(gzip_encode_all(adit_view_mem(spaces, RPC_MESSAGE_MAX + 1), &packed, &err), 0);
    begin_body(RPC_UNARY, CONNECT_JSON, true);
    ck_assert_int_eq(adit_buf_append_view(&body, adit_buf_view(&packed)), 0);
    ck_assert_int_eq(read_pieces(SIZE_MAX, &got), ADIT_ERR_LIMIT);
    adit_buf_fini(&packed);
    adit_buf_fini(&got);
    adit_buf_fini(&body);
    free(spaces);
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

START_TEST(connect_writes_messages_errors_and_ends)
{
    Process__ProcessEvent__StartEvent m;
    process__process_event__start_event__init(&m);
    m.pid = 7;
    adit_buf_init(&body, 1000);
    expect_written(connect_append_message(CONNECT_JSON, &m.base, &body), "{\"pid\":7}", 9);
    expect_written(connect_append_message(CONNECT_PROTO, &m.base, &body), "\x08\x07", 2);
    expect_written(connect_append_envelope(CONNECT_JSON, &m.base, &body), "\0\0\0\0\x09{\"pid\":7}",
                   14);
    expect_written(connect_append_envelope(CONNECT_PROTO, &m.base, &body), "\0\0\0\0\x02\x08\x07",
                   7);
    m.pid = 0;
    expect_written(connect_append_envelope(CONNECT_PROTO, &m.base, &body), "\0\0\0\0\0", 5);
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

SUITE_MAIN("connect", connect_takes_content_types_in_their_spellings, connect_takes_only_post,
           connect_reads_timeouts, connect_takes_only_version_1, connect_reads_encodings,
           connect_quotes_only_the_beginning_of_a_header, connect_reads_unary_bodies,
           connect_reads_the_one_message_of_a_server_stream_and_ignores_the_rest,
           connect_reads_client_streams, connect_reads_gzip,
           connect_refuses_messages_above_the_maximum, connect_writes_messages_errors_and_ends,
           connect_reads_errors_of_others)
