/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf messages as heap copies and as bytes.
 *
 * Theory of operation
 *
 * What: a deep copy is made by packing and unpacking, so that nobody copies messages field by field
 * and a field that is added later is never forgotten.
 */
#include "scheduler/message.h"

#include <stdlib.h>

uint8_t *message_pack(const ProtobufCMessage *m, size_t *out_len)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(len + 1); /* also for an empty message */
    if (bytes)
        *out_len = protobuf_c_message_pack(m, bytes);
    return bytes;
}

bool message_eq(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    size_t a_len = 0, b_len = 0;
    uint8_t *a_bytes = message_pack(a, &a_len);
    uint8_t *b_bytes = message_pack(b, &b_len);
    bool is_eq = a_bytes && b_bytes && a_len == b_len && memcmp(a_bytes, b_bytes, a_len) == 0;
    free(a_bytes);
    free(b_bytes);
    return is_eq;
}

int message_unpack(const ProtobufCMessageDescriptor *type, struct adit_view bytes,
                   void *out_message, struct adit_err *err)
{
    ProtobufCMessage *m =
        protobuf_c_message_unpack(type, NULL, bytes.len, (const uint8_t *)bytes.ptr);
    if (!m)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "not a %s", type->name);
    *(ProtobufCMessage **)out_message = m;
    return 0;
}

void *message_clone(const ProtobufCMessage *m)
{
    size_t len = 0;
    uint8_t *bytes = message_pack(m, &len);
    void *copy = bytes ? protobuf_c_message_unpack(m->descriptor, NULL, len, bytes) : NULL;
    free(bytes);
    return copy;
}

void message_free(void *m)
{
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}

int message_compare_times(const Google__Protobuf__Timestamp *a,
                          const Google__Protobuf__Timestamp *b)
{
    int64_t a_s = a ? a->seconds : 0, b_s = b ? b->seconds : 0;
    int32_t a_ns = a ? a->nanos : 0, b_ns = b ? b->nanos : 0;
    if (a_s != b_s)
        return a_s < b_s ? -1 : 1;
    return a_ns == b_ns ? 0 : a_ns < b_ns ? -1 : 1;
}
