/* SPDX-License-Identifier: Apache-2.0 */
/* What the reading and the writing half of pbjson share. */
#ifndef ADIT_RPC_PBJSON_INT_H
#define ADIT_RPC_PBJSON_INT_H

#include "rpc/pbjson.h"

#include "base/clock.h"

/* Is @f a map? See pbjson.c. */
bool pbjson_is_map(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *f);
bool pbjson_is_timestamp(const ProtobufCMessageDescriptor *type);
/* The lowerCamelCase form of a field's name; @out has room for strlen(name). Return: its length. */
size_t pbjson_json_name(const char *name, char *out);
/* Is @text either form of @name? */
bool pbjson_name_matches(const char *name, struct adit_view text);

/* Bytes of one value in a message or a list. */
size_t pbjson_size_of(ProtobufCType type);

static inline bool pbjson_is_oneof(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* Years 1 to 9999; seconds since 1970 and 0 to 999,999,999 ns. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int pbjson_time_format(int64_t seconds, int32_t nanos,
                                       char out[ADIT_CLOCK_RFC3339_CAP]);
ADIT_MUST_CHECK int pbjson_time_parse(struct adit_view text, int64_t *seconds, int32_t *nanos);

#endif
