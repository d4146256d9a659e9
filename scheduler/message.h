/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf messages as heap copies and as bytes. */
#ifndef SCHEDULER_MESSAGE_H
#define SCHEDULER_MESSAGE_H

#include "google/protobuf/timestamp.pb-c.h"

#include "base/view.h"

/* A deep copy. Free with message_free(). Return: NULL without memory. */
void *message_clone(const ProtobufCMessage *m);
void message_free(void *m); /* NULL is fine */
/* The message's bytes, on the heap (never NULL but without memory). */
uint8_t *message_pack(const ProtobufCMessage *m, size_t *out_len);
/* Same bytes; false also without memory. */
bool message_eq(const ProtobufCMessage *a, const ProtobufCMessage *b);
/* Errors: BAD_INPUT (also without memory: the library does not tell them apart). */
ADIT_MUST_CHECK int message_unpack(const ProtobufCMessageDescriptor *type, struct adit_view bytes,
                                   void *out_message, struct adit_err *err);

/* Which comes first: below zero when @a does. No time (NULL) comes before all. */
int message_compare_times(const Google__Protobuf__Timestamp *a,
                          const Google__Protobuf__Timestamp *b);

#endif
