/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON codec. The first byte picks the message and whether the rest is JSON or binary. Whatever
 * was read can be written, reads back, and is written the same again, also after a way through the
 * binary form.
 */
#include "tests/fuzz/oracle.h"

#include "filesystem.pb-c.h"
#include "process.pb-c.h"
#include "rpc/pbjson.h"
#include "tests/proto/every_type.h"

#define TEXT_CAP (64u * 1024 * 1024)

static const ProtobufCMessageDescriptor *const types[] = {
    &every__every__descriptor,
    &process__start_request__descriptor,
    &process__start_response__descriptor,
    &filesystem__list_dir_response__descriptor,
    &process__send_input_request__descriptor,
    &filesystem__get_watcher_events_response__descriptor,
};

static void write_json(const ProtobufCMessage *msg, struct adit_buf *out)
{
    adit_buf_init(out, TEXT_CAP);
    ORACLE(pbjson_encode(msg, out) == 0);
}

static ProtobufCMessage *through_binary(const ProtobufCMessage *msg)
{
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *bytes = malloc(len + 1);
    ORACLE(bytes && protobuf_c_message_pack(msg, bytes) == len);
    ProtobufCMessage *again = protobuf_c_message_unpack(msg->descriptor, NULL, len, bytes);
    ORACLE(again);
    free(bytes);
    return again;
}

/* @msg was read from JSON. */
static void check_stable(const ProtobufCMessage *msg)
{
    struct adit_buf first, second, third;
    ProtobufCMessage *again, *packed;
    struct adit_err err = ADIT_ERR_INIT;

    write_json(msg, &first);
    ORACLE(pbjson_decode(msg->descriptor, adit_buf_view(&first), &again, &err) == 0);
    write_json(again, &second);
    ORACLE(adit_view_eq(adit_buf_view(&first), adit_buf_view(&second)));
    packed = through_binary(msg);
    write_json(packed, &third);
    ORACLE(adit_view_eq(adit_buf_view(&first), adit_buf_view(&third)));
    adit_buf_fini(&first);
    adit_buf_fini(&second);
    adit_buf_fini(&third);
    protobuf_c_message_free_unpacked(again, NULL);
    protobuf_c_message_free_unpacked(packed, NULL);
}

static void read_json(const ProtobufCMessageDescriptor *type, struct adit_view json)
{
    struct adit_err err = ADIT_ERR_INIT;
    ProtobufCMessage *msg;
    int rc = pbjson_decode(type, json, &msg, &err);

    ORACLE(rc == err.code);
    ORACLE(rc == 0 || rc == ADIT_ERR_BAD_INPUT || rc == ADIT_ERR_LIMIT);
    ORACLE(rc == 0 || strncmp(err.msg, "unmarshal message: ", 19) == 0);
    if (rc)
        return;
    check_stable(msg);
    protobuf_c_message_free_unpacked(msg, NULL);
}

/* Binary messages may hold what JSON cannot: times out of range, keys twice, text that is not
 * UTF-8, any depth. What is written is JSON all the same. */
static void read_binary(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size)
{
    struct adit_buf json;
    ProtobufCMessage *msg = protobuf_c_message_unpack(type, NULL, size, data), *again;
    struct adit_err err = ADIT_ERR_INIT;

    if (!msg)
        return;
    adit_buf_init(&json, TEXT_CAP);
    int rc = pbjson_encode(msg, &json);
    ORACLE(rc == 0 || rc == ADIT_ERR_BAD_INPUT);
    protobuf_c_message_free_unpacked(msg, NULL);
    if (!rc) {
        rc = pbjson_decode(type, adit_buf_view(&json), &again, &err);
        ORACLE(rc == 0 || rc == ADIT_ERR_LIMIT);
    }
    adit_buf_fini(&json);
    if (rc)
        return;
    check_stable(again);
    protobuf_c_message_free_unpacked(again, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type =
        types[(data[0] & 15) % (sizeof(types) / sizeof(*types))];
    if (data[0] & 16)
        read_binary(type, data + 1, size - 1);
    else
        read_json(type, adit_view_mem(data + 1, size - 1));
    return 0;
}
