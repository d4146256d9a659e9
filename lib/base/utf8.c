/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as it comes from outside. */
/*
 * Theory of operation
 *
 * What     One decoder for whoever must know whether bytes are text: JSON in both directions, logs.
 * Trust    The bytes are hostile. Each byte that belongs to no character is replaced alone and the
 *          next one is looked at afresh, so damage never swallows a quote or a line end behind it.
 * Limits   One character becomes at most ADIT_UTF8_JSON_CAP bytes.
 */
#include "base/utf8.h"

static bool is_tail(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* The lead byte and the second byte together exclude overlong forms, surrogates and what lies
 * above U+10FFFF (RFC 3629, section 4). */
static bool is_second_ok(unsigned char lead, unsigned char second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second <= 0x9F;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second <= 0x8F;
    default:
        return true;
    }
}

size_t adit_utf8_char_len(struct adit_view v)
{
    if (v.len == 0)
        return 0;
    unsigned char lead = (unsigned char)v.ptr[0];
    if (lead < 0x80)
        return 1;
    size_t n = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (n == 0 || v.len < n || !is_second_ok(lead, (unsigned char)v.ptr[1]))
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (!is_tail(v.ptr[i]))
            return 0;
    }
    return n;
}

bool adit_utf8_valid(struct adit_view v)
{
    while (v.len) {
        size_t n = adit_utf8_char_len(v);
        if (n == 0)
            return false;
        v.ptr += n;
        v.len -= n;
    }
    return true;
}

static size_t escape(unsigned code, char *out)
{
    static const char digits[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

    out[0] = '\\';
    const char *known = code ? strchr(from, (int)code) : NULL;
    if (known) {
        out[1] = to[known - from];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = digits[code >> 4];
    out[5] = digits[code & 15];
    return 6;
}

size_t adit_utf8_json_char(struct adit_view v, char out[ADIT_UTF8_JSON_CAP], size_t *used)
{
    size_t n = adit_utf8_char_len(v);
    unsigned char c = (unsigned char)v.ptr[0];

    *used = n ? n : 1;
    if (n == 0) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    if (n == 1 && (c < 0x20 || c == '"' || c == '\\' || c == 0x7F))
        return escape(c, out);
    if (c == 0xC2 && (unsigned char)v.ptr[1] < 0xA0) /* U+0080 to U+009F: C1 controls */
        return escape((unsigned char)v.ptr[1], out);
    memcpy(out, v.ptr, n);
    return n;
}
