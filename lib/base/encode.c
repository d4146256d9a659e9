/* SPDX-License-Identifier: Apache-2.0 */
/* Hexadecimal and base64. */
/*
 * Theory of operation
 *
 * What     Table-driven conversion. One table reads both base64 alphabets: '+' and '-' are 62, '/'
 *          and '_' are 63.
 * Trust    Text to be decoded is hostile: each byte sequence has exactly one accepted text per
 *          alphabet and padding; spare bits that are not zero are refused (RFC 4648, section 3.5).
 */
#include "base/encode.h"

static const char hex_digits[] = "0123456789abcdef";

void adit_hex_encode(const void *p, size_t len, char *out)
{
    const unsigned char *in = p;
    for (size_t i = 0; i < len; i++) {
        *out++ = hex_digits[in[i] >> 4];
        *out++ = hex_digits[in[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int adit_hex_decode(struct adit_view v, void *out, size_t out_len)
{
    unsigned char *to = out;
    if (v.len % 2 || v.len / 2 != out_len)
        return ADIT_ERR_BAD_INPUT;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_value(v.ptr[2 * i]), low = hex_value(v.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return ADIT_ERR_BAD_INPUT;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

int adit_base64_append(struct adit_buf *b, const void *p, size_t len)
{
    static const char digit[64] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (len > SIZE_MAX / 2)
        return ADIT_ERR_LIMIT;
    int rc = adit_buf_reserve(b, adit_base64_len(len));
    if (rc || len == 0)
        return rc;

    const unsigned char *in = p;
    char *out = adit_buf_tail(b);
    size_t left = len;
    for (; left >= 3; left -= 3, in += 3, out += 4) {
        out[0] = digit[in[0] >> 2];
        out[1] = digit[(in[0] << 4 | in[1] >> 4) & 63];
        out[2] = digit[(in[1] << 2 | in[2] >> 6) & 63];
        out[3] = digit[in[2] & 63];
    }
    if (left) {
        unsigned second = left > 1 ? in[1] : 0;
        out[0] = digit[in[0] >> 2];
        out[1] = digit[((unsigned)in[0] << 4 | second >> 4) & 63];
        out[2] = left > 1 ? digit[second << 2 & 63] : '=';
        out[3] = '=';
    }
    adit_buf_added(b, adit_base64_len(len));
    return 0;
}

/* Value of each digit and 1 more, so that 0 says "no digit". */
static const unsigned char value_plus_1[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['-'] = 63,
    ['/'] = 64, ['_'] = 64,
};

/* 0 to 63, or above for what is no digit. */
static unsigned digit_value(unsigned char c)
{
    return value_plus_1[c] - 1U;
}

/* The two or three characters behind the last whole group: one or two bytes. */
static int decode_rest(const unsigned char *in, size_t n, unsigned char *out)
{
    unsigned a = digit_value(in[0]), b = digit_value(in[1]);
    unsigned c = n == 3 ? digit_value(in[2]) : 0;
    if ((a | b | c) > 63)
        return ADIT_ERR_BAD_INPUT;
    if (n == 2 ? b & 15 : c & 3)
        return ADIT_ERR_BAD_INPUT;
    out[0] = (unsigned char)(a << 2 | b >> 4);
    if (n == 3)
        out[1] = (unsigned char)(b << 4 | c >> 2);
    return 0;
}

int adit_base64_decode(struct adit_view v, void *out, size_t *out_len)
{
    size_t len = v.len;
    if (len && len % 4 == 0 && v.ptr[len - 1] == '=')
        len -= v.ptr[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1)
        return ADIT_ERR_BAD_INPUT;

    const unsigned char *in = (const unsigned char *)v.ptr;
    unsigned char *to = out;
    size_t groups = len / 4, rest = len % 4;
    for (size_t i = 0; i < groups; i++, in += 4, to += 3) {
        unsigned a = digit_value(in[0]), b = digit_value(in[1]);
        unsigned c = digit_value(in[2]), d = digit_value(in[3]);
        if ((a | b | c | d) > 63)
            return ADIT_ERR_BAD_INPUT;
        to[0] = (unsigned char)(a << 2 | b >> 4);
        to[1] = (unsigned char)(b << 4 | c >> 2);
        to[2] = (unsigned char)(c << 6 | d);
    }
    if (rest && decode_rest(in, rest, to))
        return ADIT_ERR_BAD_INPUT;
    *out_len = groups * 3 + (rest ? rest - 1 : 0);
    return 0;
}
