/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c messages as proto3 JSON. */
/*
 * Theory of operation
 *
 * What     Walks the descriptor and appends straight to the buffer; bytes become base64 where they
 *          will be sent from. This is the path of all process output.
 * Limits   The buffer's maximum. Depth is that of the message types, none of which holds itself.
 * Trust    Strings may hold any bytes (file names): what is not UTF-8 is written as U+FFFD.
 * Failure  The buffer holds a part of the message then; its owner forgets it.
 */
#include "rpc/pbjson_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "google/protobuf/timestamp.pb-c.h"

/* Room for any number: sign, 17 digits, point, exponent. */
#define NUMBER_CAP 32

static int write_message(struct adit_buf *b, const ProtobufCMessage *msg);

static int write_text(struct adit_buf *b, const char *text)
{
    int rc = adit_buf_append_char(b, '"');
    if (!rc && text)
        rc = adit_buf_append_json_text(b, adit_view_str(text));
    return rc ? rc : adit_buf_append_char(b, '"');
}

static int write_bytes(struct adit_buf *b, const ProtobufCBinaryData *bytes)
{
    int rc = adit_buf_append_char(b, '"');
    if (!rc)
        rc = adit_base64_append(b, bytes->data, bytes->len);
    return rc ? rc : adit_buf_append_char(b, '"');
}

static int write_enum(struct adit_buf *b, const ProtobufCFieldDescriptor *f, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(f->descriptor, value);
    return v ? write_text(b, v->name) : adit_buf_appendf(b, "%d", value);
}

/* Return: true if @v is no number; then it was written, or *rc says why not. */
static bool write_non_finite(struct adit_buf *b, double v, int *rc)
{
    if (isfinite(v))
        return false;
    *rc = adit_buf_append_str(b, isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return true;
}

/* The fewest digits, of those that may be needed, that read back as the same number. */
static int write_double(struct adit_buf *b, double v)
{
    char text[NUMBER_CAP];
    int rc = 0;
    if (write_non_finite(b, v, &rc))
        return rc;
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, v); /* fits */
        if (strtod(text, NULL) == v)
            break;
    }
    return adit_buf_append_str(b, text);
}

static int write_float(struct adit_buf *b, float v)
{
    char text[NUMBER_CAP];
    int rc = 0;
    if (write_non_finite(b, (double)v, &rc))
        return rc;
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, (double)v); /* fits */
        if (strtof(text, NULL) == v)
            break;
    }
    return adit_buf_append_str(b, text);
}

/* A value must be written where nobody made the message: an entry of a map that came without one.
 */
static int write_empty(struct adit_buf *b, const ProtobufCMessageDescriptor *type)
{
    return adit_buf_append_str(b, pbjson_is_timestamp(type) ? "\"1970-01-01T00:00:00Z\"" : "{}");
}

static int write_value(struct adit_buf *b, const ProtobufCFieldDescriptor *f, const void *slot)
{
    const ProtobufCMessage *msg;

    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return adit_buf_appendf(b, "%d", *(const int32_t *)slot);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return adit_buf_appendf(b, "%u", *(const uint32_t *)slot);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return adit_buf_appendf(b, "\"%lld\"", (long long)*(const int64_t *)slot);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return adit_buf_appendf(b, "\"%llu\"", (unsigned long long)*(const uint64_t *)slot);
    case PROTOBUF_C_TYPE_FLOAT:
        return write_float(b, *(const float *)slot);
    case PROTOBUF_C_TYPE_DOUBLE:
        return write_double(b, *(const double *)slot);
    case PROTOBUF_C_TYPE_BOOL:
        return adit_buf_append_str(b, *(const protobuf_c_boolean *)slot ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(b, f, *(const int *)slot);
    case PROTOBUF_C_TYPE_STRING:
        return write_text(b, *(char *const *)slot);
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(b, slot);
    case PROTOBUF_C_TYPE_MESSAGE:
        msg = *(ProtobufCMessage *const *)slot;
        return msg ? write_message(b, msg) : write_empty(b, f->descriptor);
    }
    return ADIT_ERR_BUG;
}

/* A map's key is always text, also where the value of that type is not. */
static int write_key(struct adit_buf *b, const ProtobufCFieldDescriptor *f, const void *slot)
{
    bool bare = f->type != PROTOBUF_C_TYPE_STRING && pbjson_size_of(f->type) < sizeof(uint64_t);
    int rc = bare ? adit_buf_append_char(b, '"') : 0;
    if (!rc)
        rc = write_value(b, f, slot);
    return rc || !bare ? rc : adit_buf_append_char(b, '"');
}

static const void *member(const ProtobufCMessage *msg, unsigned offset)
{
    return (const char *)msg + offset;
}

static int write_entry(struct adit_buf *b, const ProtobufCMessage *entry)
{
    const ProtobufCFieldDescriptor *f = entry->descriptor->fields;
    int rc = write_key(b, &f[0], member(entry, f[0].offset));
    if (!rc)
        rc = adit_buf_append_char(b, ':');
    return rc ? rc : write_value(b, &f[1], member(entry, f[1].offset));
}

static int write_items(struct adit_buf *b, const ProtobufCMessage *msg,
                       const ProtobufCFieldDescriptor *f)
{
    bool map = pbjson_is_map(msg->descriptor, f);
    size_t cnt = *(const size_t *)member(msg, f->quantifier_offset), size = pbjson_size_of(f->type);
    const char *item = *(char *const *)member(msg, f->offset);

    int rc = adit_buf_append_char(b, map ? '{' : '[');
    for (size_t i = 0; i < cnt && !rc; i++, item += size) {
        if (i)
            rc = adit_buf_append_char(b, ',');
        if (!rc)
            rc = map ? write_entry(b, *(ProtobufCMessage *const *)(const void *)item)
                     : write_value(b, f, item);
    }
    return rc ? rc : adit_buf_append_char(b, map ? '}' : ']');
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *slot)
{
    uint64_t bits = 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        return *(const float *)slot == 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const double *)slot == 0;
    case PROTOBUF_C_TYPE_STRING:
        return !*(char *const *)slot || !**(char *const *)slot;
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)slot)->len == 0;
    default:
        memcpy(&bits, slot, pbjson_size_of(f->type));
        return bits == 0;
    }
}

static bool is_written(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    if (pbjson_is_oneof(f))
        return *(const uint32_t *)member(msg, f->quantifier_offset) == f->id;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)member(msg, f->quantifier_offset) != 0;
    return !is_default(f, member(msg, f->offset));
}

/* Comma, quoted name, colon. */
static int write_name(struct adit_buf *b, const char *name, bool first)
{
    int rc = adit_buf_reserve(b, strlen(name) + 4);
    if (rc)
        return rc;
    char *p = adit_buf_tail(b), *start = p;
    if (!first)
        *p++ = ',';
    *p++ = '"';
    p += pbjson_json_name(name, p);
    *p++ = '"';
    *p++ = ':';
    adit_buf_added(b, (size_t)(p - start));
    return 0;
}

static int write_timestamp(struct adit_buf *b, const ProtobufCMessage *msg)
{
    const Google__Protobuf__Timestamp *t = (const Google__Protobuf__Timestamp *)msg;
    char text[ADIT_CLOCK_RFC3339_CAP];
    int rc = pbjson_time_format(t->seconds, t->nanos, text);
    return rc ? rc : write_text(b, text);
}

static int write_message(struct adit_buf *b, const ProtobufCMessage *msg)
{
    const ProtobufCMessageDescriptor *type = msg->descriptor;
    bool first = true;

    if (pbjson_is_timestamp(type))
        return write_timestamp(b, msg);
    int rc = adit_buf_append_char(b, '{');
    for (unsigned i = 0; i < type->n_fields && !rc; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (!is_written(msg, f))
            continue;
        rc = write_name(b, f->name, first);
        first = false;
        if (!rc)
            rc = f->label == PROTOBUF_C_LABEL_REPEATED ? write_items(b, msg, f)
                                                       : write_value(b, f, member(msg, f->offset));
    }
    return rc ? rc : adit_buf_append_char(b, '}');
}

int pbjson_encode(const ProtobufCMessage *msg, struct adit_buf *out)
{
    return write_message(out, msg);
}
