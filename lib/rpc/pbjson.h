/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protobuf-c messages to and from proto3 JSON (protobuf.dev/programming-guides/json), driven by
 * descriptors, without I/O.
 *
 * Reading takes lowerCamelCase and original field names, enums as names or numbers, integers as
 * numbers or strings, base64 standard or URL-safe with or without padding, null as unset; unknown
 * fields and unknown names of enum values are skipped. Depth is bounded by PBJSON_DEPTH_MAX, size
 * by the caller. Duplicate members: last wins; two members of one oneof: refused. Invalid UTF-8 and
 * unpaired surrogates: refused. Writing omits default scalars, empty lists and maps; writes set
 * oneof members and set optional fields always; int64 as strings, bytes as padded base64, Timestamp
 * as RFC 3339. Maps are repeated entries with fields key and value in protobuf-c (which has no map
 * type); how they are recognised is said in pbjson.c.
 */
#ifndef ADIT_RPC_PBJSON_H
#define ADIT_RPC_PBJSON_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "rpc/jsontext.h"

#define PBJSON_DEPTH_MAX JSONTEXT_DEPTH_MAX
/* Items of lists and entries of maps in one message, all together. */
#define PBJSON_ITEMS_MAX 65536
/* Longest text of a number, a time or the name of an enum value. */
#define PBJSON_NUMBER_CAP 128

/* Free the message with protobuf_c_message_free_unpacked(msg, NULL).
 * Errors: BAD_INPUT ("unmarshal message: …" style text with the position), LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int pbjson_decode(const ProtobufCMessageDescriptor *type, struct adit_view json,
                                  ProtobufCMessage **out, struct adit_err *err);
/* Append the JSON text. Errors: LIMIT, NO_MEMORY, BAD_INPUT (a Timestamp outside of years 1 to
 * 9999);
 * @out holds a part of the text then. */
ADIT_MUST_CHECK int pbjson_encode(const ProtobufCMessage *msg, struct adit_buf *out);

#endif
