/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing when memory runs out: each scenario again and again, with the first, the
 * second, … allocation failing, until it gets through. It must fail in order, and nothing may be
 * lost.
 *
 * The allocator is replaced here, which a sanitizer's own does not allow: those builds run the
 * scenarios once, whole, and look for leaks in their own way.
 */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include "net/gzip.h"
#include "process.pb-c.h"
#include "rpc/connect.h"
#include "rpc/grpc_web.h"
#include "rpc/message.h"
#include "rpc/pbjson.h"
#include "tests/proto/every_type.h"

static int json_scenario(void)
{
    static const char text[] =
        "{\"aString\":\"a\",\"aString\":\"\\u0062\",\"someBytes\":\"AAAA\",\"aLeaf\":{\"name\":"
        "\"x\","
        "\"tree\":{\"children\":[{},{\"left\":{}},{}]}},\"aTime\":\"2026-11-21T07:08:09Z\","
        "\"pickBytes\":\"AA\",\"int32s\":[1,2,3,4,5],\"strings\":[\"a\",\"b\",\"c\"],"
        "\"byteses\":[\"AA\",\"\"],\"stringMap\":{\"a\":\"b\",\"c\":\"d\",\"a\":\"e\"},"
        "\"int32Map\":{\"1\":{\"name\":\"y\"}},\"x\":[{\"y\":null}]}";
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf b;
    ProtobufCMessage *msg;

    int rc = pbjson_decode(&every__every__descriptor, adit_view_str(text), &msg, &err);
    if (rc)
        return rc;
    adit_buf_init(&b, 1u << 20);
    rc = message_append_envelope(0, RPC_JSON, msg, &b);
    if (!rc)
        rc = message_append_envelope(0, RPC_PROTO, msg, &b);
    if (!rc)
        rc = connect_append_end(&err, &b);
    if (!rc)
        rc = grpc_web_append_end(&err, &b);
    adit_buf_fini(&b);
    protobuf_c_message_free_unpacked(msg, NULL);
    return rc;
}

/* A compressed client stream that arrives in pieces. */
static int stream_scenario(void)
{
    static const struct protocol_request req = {
        .protocol = &connect_stream, .kind = RPC_CLIENT_STREAM, .codec = RPC_JSON, .gzip_in = true};
    struct message_reader r;
    struct adit_buf body;
    struct adit_err err = ADIT_ERR_INIT;
    char head[FRAME_HEAD_LEN];
    ProtobufCMessage *msg = NULL;

    adit_buf_init(&body, 1000);
    int rc = adit_buf_append(&body, head, sizeof(head));
    if (!rc)
        rc = gzip_encode_all(adit_view_str("{\"tag\":\"t\"}"), &body, &err);
    message_reader_init(&r, &req, &process__start_request__descriptor);
    if (!rc)
        frame_write_head(body.data, FRAME_FLAG_COMPRESSED, body.len - FRAME_HEAD_LEN);
    for (size_t at = 0; at < body.len && !rc; at++) {
        struct adit_view in = {body.data + at, 1};
        rc = message_reader_feed(&r, &in, &msg, &err);
        if (!rc && (msg != NULL) != (at == body.len - 1))
            rc = ADIT_ERR_BUG; /* no ck_assert here: it allocates */
        protobuf_c_message_free_unpacked(msg, NULL);
    }
    message_reader_fini(&r);
    adit_buf_fini(&body);
    return rc;
}

static void torture(int (*scenario)(void), long allocations_min)
{
    ck_assert_int_eq(scenario(), 0); /* also makes what is made once */
#if FAILING_MALLOC
    long n = 1;
    for (bool through = false; !through; n++) {
        long before = failing_malloc.live;
        failing_malloc.countdown = n;
        int rc = scenario();
        through = failing_malloc.countdown > 0;
        failing_malloc.countdown = 0;
        ck_assert_msg(failing_malloc.live == before, "%ld blocks lost at %ld",
                      failing_malloc.live - before, n);
        ck_assert_msg(through == (rc == 0), "%d at %ld", rc, n);
        ck_assert_int_lt(n, 10000);
    }
    ck_assert_int_ge(n, allocations_min);
#else
    (void)allocations_min;
    suite_skip("rpc_torture", FAILING_MALLOC_NEEDS);
#endif
}

START_TEST(rpc_torture_of_json_fails_in_order)
{
    torture(json_scenario, 40);
}
END_TEST

START_TEST(rpc_torture_of_a_compressed_stream_fails_in_order)
{
    torture(stream_scenario, 8);
}
END_TEST

SUITE_MAIN("rpc_torture", rpc_torture_of_json_fails_in_order,
           rpc_torture_of_a_compressed_stream_fails_in_order)
