/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of Connect and gRPC-Web without I/O. The first byte picks the kind of method, the second
 * how the body is cut; then come header lines up to an empty one, and the body. The same messages
 * and the same error come out of the whole body and of its pieces, and an error that we write is
 * one that we can read.
 */
#include "tests/fuzz/oracle.h"

#include "process.pb-c.h"
#include "rpc/connect.h"
#include "rpc/grpc_web.h"
#include "rpc/message.h"
#include "rpc/pbjson.h"
#include "rpc/status.h"

#define TRANSCRIPT_CAP (64u * 1024 * 1024)

static void read_lines(struct adit_view *in, struct http_head *head)
{
    struct adit_view line, name, value;
    *head = (struct http_head){.kind = HTTP_REQUEST, .method = HTTP_POST};
    while (in->len && head->header_cnt < HTTP_HEADERS_MAX) {
        (void)adit_view_split(*in, '\n', &line, in); /* the last line has no end */
        if (line.len == 0)
            return;
        (void)adit_view_split(line, ':', &name, &value); /* a header without a value is empty */
        head->headers[head->header_cnt++] = (struct http_header){name, adit_view_trim(value)};
    }
}

/* Does the text of an error become an object with the same code? */
static void check_error(const struct adit_err *err)
{
    struct adit_buf b;
    struct adit_err again = ADIT_ERR_INIT;
    adit_buf_init(&b, TRANSCRIPT_CAP);
    ORACLE(connect_append_error(err, &b) == 0);
    ORACLE(connect_parse_error(adit_buf_view(&b), &again) == 0);
    ORACLE(strcmp(rpc_status_connect(again.code), rpc_status_connect(err->code)) == 0);
    adit_buf_fini(&b);
}

/* Are the trailers two lines, with the code and nothing but visible ASCII? */
static void check_trailers(const struct adit_err *err)
{
    struct adit_buf b;
    struct frame_reader r;
    struct adit_err none = ADIT_ERR_INIT;
    struct adit_view in, payload, line;
    uint8_t flags;
    bool complete;
    char want[32];
    adit_buf_init(&b, TRANSCRIPT_CAP);
    frame_reader_init(&r, FRAME_PAYLOAD_MAX);
    ORACLE(grpc_web_append_end(err, &b) == 0);
    in = adit_buf_view(&b);
    ORACLE(frame_read(&r, &in, &complete, &flags, &payload, &none) == 0);
    ORACLE(complete && flags == FRAME_FLAG_TRAILERS && in.len == 0);
    (void)snprintf(want, sizeof want, "grpc-status: %u\r", rpc_status_grpc(err->code)); /* fits */
    ORACLE(adit_view_split(payload, '\n', &line, &payload) && adit_view_eq_str(line, want));
    ORACLE(adit_view_split(payload, '\n', &line, &payload) && payload.len == 0);
    ORACLE(adit_view_has_prefix(line, "grpc-message: ") && line.ptr[--line.len] == '\r');
    for (size_t i = 0; i < line.len; i++)
        ORACLE(line.ptr[i] >= ' ' && line.ptr[i] <= '~');
    frame_reader_fini(&r);
    adit_buf_fini(&b);
}

/* Can an error be written in both protocols? */
static void check_answer(const struct adit_err *err)
{
    check_error(err);
    check_trailers(err);
}

static void note_message(struct adit_buf *seen, ProtobufCMessage *msg)
{
    if (!msg)
        return;
    ORACLE(pbjson_encode(msg, seen) == 0);
    protobuf_c_message_free_unpacked(msg, NULL);
}

static void run(const struct protocol_request *req, struct adit_view body, unsigned cut,
                struct adit_buf *seen)
{
    struct message_reader r;
    struct adit_err err = ADIT_ERR_INIT;
    ProtobufCMessage *msg;
    int rc = 0;

    adit_buf_init(seen, TRANSCRIPT_CAP);
    message_reader_init(&r, req, &process__start_request__descriptor);
    while (body.len && !rc) {
        size_t n = cut ? 1 + (body.len * 7 + cut) % cut : body.len;
        struct adit_view in = {body.ptr, n < body.len ? n : body.len};
        body.ptr += in.len;
        body.len -= in.len;
        while (in.len && !rc) {
            rc = message_reader_feed(&r, &in, &msg, &err);
            note_message(seen, rc ? NULL : msg);
        }
    }
    if (!rc) {
        rc = message_reader_end(&r, &msg, &err);
        note_message(seen, rc ? NULL : msg);
    }
    ORACLE(rc == err.code);
    if (rc)
        check_answer(&err);
    ORACLE(adit_buf_appendf(seen, "end %d %s", rc, err.msg) == 0);
    message_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head head;
    struct protocol_request req;
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf whole, pieces;

    if (size < 2)
        return 0;
    struct adit_view in = adit_view_mem(data + 2, size - 2);
    read_lines(&in, &head);
    unsigned refusal = protocol_negotiate(&head, (enum rpc_kind)(data[0] % 3), &req);
    ORACLE(refusal == 0 || refusal == 415);
    if (refusal)
        return 0;
    if (req.protocol->read_head(&head, &req, &err)) {
        check_answer(&err);
        return 0;
    }
    ORACLE(req.timeout_ms <= UINT64_C(99999999) * 3600000);
    run(&req, in, 0, &whole);
    run(&req, in, 1u + data[1], &pieces);
    ORACLE(adit_view_eq(adit_buf_view(&whole), adit_buf_view(&pieces)));
    adit_buf_fini(&whole);
    adit_buf_fini(&pieces);
    return 0;
}
