/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of JSON text (RFC 8259), read once from front to back, without I/O or memory.
 *
 * Strict: no BOM, comment, trailing comma, leading zero or bare control character; strings are
 * UTF-8 and their surrogates come in pairs.
 */
#ifndef ADIT_RPC_JSONTEXT_H
#define ADIT_RPC_JSONTEXT_H

#include "base/view.h"

/* Objects and lists inside one another. */
#define JSONTEXT_DEPTH_MAX 64

/* @start: of the whole text, @p: the next byte, @end: behind the last, @err: may be NULL. */
struct jsontext {
    const char *start, *p, *end;
    struct adit_err *err;
};

/* What is between the quotes, checked. @escaped: it has a backslash. */
struct jsontext_string {
    struct adit_view raw;
    bool escaped;
};

void jsontext_init(struct jsontext *t, struct adit_view text, struct adit_err *err);
/* Set the error ("unmarshal message: <what> at byte <n>") and return @code. */
int jsontext_fail(const struct jsontext *t, int code, const char *what);
/* Pass white space. Return: the next byte, '\0' at the end. */
char jsontext_peek(struct jsontext *t);
/* Take the byte @c, white space before it. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int jsontext_expect(struct jsontext *t, char c);
/*
 * Between the items of an object or list that closes with @close: takes the comma before the next
 * item (none if @first), or the closing byte: then *more is false.
 */
ADIT_MUST_CHECK int jsontext_next(struct jsontext *t, char close, bool first, bool *more);
ADIT_MUST_CHECK int jsontext_string(struct jsontext *t, struct jsontext_string *out);
/* Write the text of @s; @out has room for s.raw.len bytes. Return: its length. */
size_t jsontext_unescape(struct jsontext_string s, char *out);
/* *out: the number as it is written. */
ADIT_MUST_CHECK int jsontext_number(struct jsontext *t, struct adit_view *out);
/* Take "true", "false" or "null". Errors: BAD_INPUT when @word is not what stands there. */
ADIT_MUST_CHECK int jsontext_word(struct jsontext *t, const char *word);
/* Pass one value of any kind. @depth: that of the value itself. Errors: BAD_INPUT, LIMIT (depth).
 */
ADIT_MUST_CHECK int jsontext_skip(struct jsontext *t, unsigned depth);

#endif
