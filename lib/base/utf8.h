/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629) as it comes from outside: checked, and made safe inside a JSON string. */
#ifndef ADIT_BASE_UTF8_H
#define ADIT_BASE_UTF8_H

#include "base/view.h"

/* Bytes of the character at the start of @v: 1 to 4; 0 when @v is empty or what begins there is not
 * UTF-8 (stray, overlong, surrogate, above U+10FFFF, cut short). */
size_t adit_utf8_char_len(struct adit_view v);
bool adit_utf8_valid(struct adit_view v);

/* Most bytes that one character becomes inside a JSON string ("\u001b"). */
#define ADIT_UTF8_JSON_CAP 6
/*
 * The first character of @v (not empty) as the inside of a JSON string: quotes, backslash and
 * controls (C0, DEL, C1) escaped, a byte that is not UTF-8 as U+FFFD.
 * @used: bytes of @v that it stands for. Return: bytes written to @out.
 */
size_t adit_utf8_json_char(struct adit_view v, char out[ADIT_UTF8_JSON_CAP], size_t *used);

#endif
