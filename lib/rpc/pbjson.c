/* SPDX-License-Identifier: Apache-2.0 */
/* What reading and writing proto3 JSON share: names, maps, timestamps. */
/*
 * Theory of operation
 *
 * What     The JSON mapping works from protobuf-c's descriptors alone, without generated JSON code.
 *          pbjson_read.c fills messages, pbjson_write.c prints them.
 * Maps     protobuf-c has no map type: a map field is a repeated message, and its descriptor does
 *          not say that the message is a map entry. protoc makes that message itself, so its shape
 *          tells: its name is the field's name in CamelCase with "Entry" behind it, it is nested in
 *          the message that has the field, and its fields are exactly key = 1 and value = 2. Nobody
 *          who writes a .proto gets such a message by accident.
 * Optional A field that E2B's files call optional is alone in a oneof in ours: a set one is always
 *          written, an unset one never.
 * Names    The lowerCamelCase form is made from the .proto name as protoc makes it: an underscore
 *          goes and the next letter becomes a capital.
 * Time     Timestamps reach from year 1 to 9999, the calendar of base/clock.h from 1677 to 2262.
 *          The calendar repeats every 400 years, so a time is moved by whole periods into 1700 to
 *          2099, converted there, and its year put right.
 */
#include "rpc/pbjson_int.h"

#include <stdio.h>

#include "google/protobuf/timestamp.pb-c.h"

#define NS_PER_S INT64_C(1000000000)
#define S_PER_PERIOD (INT64_C(146097) * 86400)
#define S_OF_1700 INT64_C(-8520336000)
#define S_OF_YEAR_1 INT64_C(-62135596800)
#define S_OF_YEAR_10000 INT64_C(253402300800)

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Is @type named like the entry message of a map field called @field? */
static bool is_entry_name(const char *type, const char *field)
{
    bool capital = true;
    for (; *field; field++) {
        if (*field == '_') {
            capital = true;
            continue;
        }
        if (*type++ != (capital ? to_upper(*field) : *field))
            return false;
        capital = false;
    }
    return strcmp(type, "Entry") == 0;
}

static bool is_nested_in(const ProtobufCMessageDescriptor *inner,
                         const ProtobufCMessageDescriptor *outer)
{
    size_t len = strlen(outer->name);
    return strncmp(inner->name, outer->name, len) == 0 && inner->name[len] == '.' &&
           strcmp(inner->name + len + 1, inner->short_name) == 0;
}

static bool is_entry_field(const ProtobufCFieldDescriptor *f, const char *name, uint32_t id)
{
    return f->id == id && f->label == PROTOBUF_C_LABEL_NONE && !pbjson_is_oneof(f) &&
           strcmp(f->name, name) == 0;
}

bool pbjson_is_map(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = f->descriptor;
    return entry->n_fields == 2 && is_entry_field(&entry->fields[0], "key", 1) &&
           is_entry_field(&entry->fields[1], "value", 2) &&
           is_entry_name(entry->short_name, f->name) && is_nested_in(entry, type);
}

bool pbjson_is_timestamp(const ProtobufCMessageDescriptor *type)
{
    return type == &google__protobuf__timestamp__descriptor;
}

/* The next character of a field's JSON name (lowerCamelCase), '\0' at its end. */
static char next_of_name(const char **name)
{
    bool capital = **name == '_';
    while (**name == '_')
        (*name)++;
    if (!**name)
        return '\0';
    char c = *(*name)++;
    return capital ? to_upper(c) : c;
}

size_t pbjson_json_name(const char *name, char *out)
{
    size_t len = 0;
    for (char c; (c = next_of_name(&name)) != '\0';)
        out[len++] = c;
    return len;
}

bool pbjson_name_matches(const char *name, struct adit_view text)
{
    if (adit_view_eq_str(text, name))
        return true;
    size_t i = 0;
    for (char c; (c = next_of_name(&name)) != '\0'; i++)
        if (i == text.len || text.ptr[i] != c)
            return false;
    return i == text.len;
}

size_t pbjson_size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

int pbjson_time_format(int64_t seconds, int32_t nanos, char out[ADIT_CLOCK_RFC3339_CAP])
{
    if (seconds < S_OF_YEAR_1 || seconds >= S_OF_YEAR_10000 || nanos < 0 || nanos >= NS_PER_S)
        return ADIT_ERR_BAD_INPUT;
    int64_t since = seconds - S_OF_1700;
    int64_t periods = (since >= 0 ? since : since - (S_PER_PERIOD - 1)) / S_PER_PERIOD;
    adit_clock_format_rfc3339((seconds - periods * S_PER_PERIOD) * NS_PER_S + nanos, out);

    int year = (out[0] - '0') * 1000 + (out[1] - '0') * 100 + (out[2] - '0') * 10 + (out[3] - '0');
    year += (int)periods * 400;
    for (int i = 3; i >= 0; i--, year /= 10)
        out[i] = (char)('0' + year % 10);
    return 0;
}

int pbjson_time_parse(struct adit_view text, int64_t *seconds, int32_t *nanos)
{
    char moved[ADIT_CLOCK_RFC3339_CAP];
    int year = 0;
    int64_t ns;

    if (text.len < 4 || text.len >= sizeof(moved))
        return ADIT_ERR_BAD_INPUT;
    memcpy(moved, text.ptr, text.len);
    for (int i = 0; i < 4; i++) {
        if (moved[i] < '0' || moved[i] > '9')
            return ADIT_ERR_BAD_INPUT;
        year = year * 10 + (moved[i] - '0');
    }
    int in_period = year % 400 + (year % 400 < 100 ? 2000 : 1600);
    for (int i = 3, left = in_period; i >= 0; i--, left /= 10)
        moved[i] = (char)('0' + left % 10);
    if (adit_clock_parse_rfc3339(adit_view_mem(moved, text.len), &ns))
        return ADIT_ERR_BAD_INPUT;

    int64_t rest = ns % NS_PER_S < 0 ? ns % NS_PER_S + NS_PER_S : ns % NS_PER_S;
    *nanos = (int32_t)rest;
    *seconds = (ns - rest) / NS_PER_S + (year - in_period) / 400 * S_PER_PERIOD;
    return *seconds < S_OF_YEAR_1 || *seconds >= S_OF_YEAR_10000 ? ADIT_ERR_BAD_INPUT : 0;
}
