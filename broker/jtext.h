/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text that comes from outside, as jansson documents: bounded parsing and typed members. */
#ifndef BROKER_JTEXT_H
#define BROKER_JTEXT_H

#include <jansson.h>

#include "base/buf.h"

#define JTEXT_DEPTH_MAX 64
#define JTEXT_CAP (1024u * 1024)

/*
 * Parse one object. Text of white space only is the empty object. Refused: depth above
 * JTEXT_DEPTH_MAX, more than JTEXT_CAP bytes, a member twice, NUL in strings, invalid UTF-8,
 * anything behind the object, a document that is no object. *out: a new reference. Errors:
 * BAD_INPUT ("Error when parsing request: …"), NO_MEMORY.
 */
ADIT_MUST_CHECK int jtext_parse(struct adit_view text, json_t **out, struct adit_err *err);
/* Append the compact text of @doc. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int jtext_append(struct adit_buf *b, const json_t *doc);

/*
 * Members of @obj. An absent member and null are the same: *out keeps what it holds.
 * Errors: BAD_INPUT "validation error: …" naming @key.
 */
ADIT_MUST_CHECK int jtext_string(const json_t *obj, const char *key, const char **out,
                                 struct adit_err *err);
ADIT_MUST_CHECK int jtext_bool(const json_t *obj, const char *key, bool *out, struct adit_err *err);
/* @has may be NULL. */
ADIT_MUST_CHECK int jtext_int(const json_t *obj, const char *key, int64_t min, int64_t max,
                              int64_t *out, bool *has, struct adit_err *err);
/* Borrowed references; @type is JSON_OBJECT or JSON_ARRAY. */
ADIT_MUST_CHECK int jtext_child(const json_t *obj, const char *key, json_type type, json_t **out,
                                struct adit_err *err);
/* An object of strings with at most @entries_max members and @bytes_max bytes of text (borrowed).
 */
ADIT_MUST_CHECK int jtext_string_map(const json_t *obj, const char *key, size_t entries_max,
                                     size_t bytes_max, json_t **out, struct adit_err *err);

/* Return: a new array of strings, or NULL without memory. */
json_t *jtext_strings(const char *const *items, size_t cnt);

#endif
