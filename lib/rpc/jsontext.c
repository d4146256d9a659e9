/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of JSON text. */
/*
 * Theory of operation
 *
 * What     A cursor that moves forward only. Strings are checked whole (UTF-8, escapes, surrogates)
 *          while their end is looked for, so what is taken later from a checked string cannot fail.
 * Cost     Each byte is looked at once; plain ASCII inside strings eight bytes at a time. No
 * memory. Limits   JSONTEXT_DEPTH_MAX bounds the recursion over values that nobody wants. Trust The
 * text is hostile. Error texts hold a position, never a piece of it. Failure  BAD_INPUT for text
 * that is no JSON, LIMIT for depth.
 */
#include "rpc/jsontext.h"

#include "base/utf8.h"

void jsontext_init(struct jsontext *t, struct adit_view text, struct adit_err *err)
{
    t->start = t->p = text.ptr;
    t->end = text.ptr ? text.ptr + text.len : NULL;
    t->err = err;
}

int jsontext_fail(const struct jsontext *t, int code, const char *what)
{
    return adit_err_set(t->err, code, "unmarshal message: %s at byte %zu", what,
                        (size_t)(t->p - t->start));
}

static int unexpected(const struct jsontext *t)
{
    return jsontext_fail(t, ADIT_ERR_BAD_INPUT,
                         t->p == t->end ? "unexpected end" : "unexpected token");
}

char jsontext_peek(struct jsontext *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\r' || *t->p == '\t'))
        t->p++;
    return t->p < t->end ? *t->p : '\0';
}

int jsontext_expect(struct jsontext *t, char c)
{
    if (jsontext_peek(t) != c)
        return unexpected(t);
    t->p++;
    return 0;
}

int jsontext_next(struct jsontext *t, char close, bool first, bool *more)
{
    *more = jsontext_peek(t) != close;
    if (!*more) {
        t->p++;
        return 0;
    }
    return first ? 0 : jsontext_expect(t, ',');
}

/* Pass bytes that mean themselves in a string. Of eight bytes at once: none below 0x20, none above
 * 0x7F, no quote, no backslash (a zero byte of the difference borrows into its top bit). */
static const char *pass_plain(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
        if ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & tops)
            break;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
           *p != '\\')
        p++;
    return p;
}

static bool read_hex4(const char *p, const char *end, unsigned *out)
{
    if (end - p < 4)
        return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static bool is_high(unsigned unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low(unsigned unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* The character of an escape that begins at @p ("\u…" with its pair). Return: bytes it takes, or 0.
 */
static size_t read_escape(const char *p, const char *end, unsigned *code)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned low;

    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        const char *known = p[1] ? strchr(from, p[1]) : NULL;
        *code = known ? (unsigned char)to[known - from] : 0;
        return known ? 2 : 0;
    }
    if (!read_hex4(p + 2, end, code) || is_low(*code))
        return 0;
    if (!is_high(*code))
        return 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u' || !read_hex4(p + 8, end, &low) || !is_low(low))
        return 0;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return 12;
}

int jsontext_string(struct jsontext *t, struct jsontext_string *out)
{
    int rc = jsontext_expect(t, '"');
    if (rc)
        return rc;
    const char *first = t->p;
    out->escaped = false;
    for (;;) {
        unsigned code;
        size_t n = 0;
        t->p = pass_plain(t->p, t->end);
        if (t->p == t->end)
            return unexpected(t);
        if (*t->p == '"')
            break;
        if (*t->p == '\\') {
            out->escaped = true;
            n = read_escape(t->p, t->end, &code);
        } else if ((unsigned char)*t->p >= 0x80) {
            n = adit_utf8_char_len(adit_view_mem(t->p, (size_t)(t->end - t->p)));
        }
        if (n == 0)
            return jsontext_fail(t, ADIT_ERR_BAD_INPUT, "invalid character in a string");
        t->p += n;
    }
    out->raw = adit_view_mem(first, (size_t)(t->p - first));
    t->p++;
    return 0;
}

static size_t put_utf8(unsigned code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(lead[n] | code);
    return n;
}

size_t jsontext_unescape(struct jsontext_string s, char *out)
{
    const char *p = s.raw.ptr, *end = p + s.raw.len;
    size_t len = 0;
    while (p < end) {
        unsigned code = 0;
        if (*p != '\\') {
            out[len++] = *p++;
            continue;
        }
        p += read_escape(p, end, &code);
        len += put_utf8(code, out + len);
    }
    return len;
}

/* Pass digits. Return: false if there is none. */
static bool pass_digits(struct jsontext *t)
{
    const char *first = t->p;
    while (t->p < t->end && *t->p >= '0' && *t->p <= '9')
        t->p++;
    return t->p > first;
}

static bool pass_byte(struct jsontext *t, char a, char b)
{
    if (t->p == t->end || (*t->p != a && *t->p != b))
        return false;
    t->p++;
    return true;
}

int jsontext_number(struct jsontext *t, struct adit_view *out)
{
    jsontext_peek(t);
    const char *first = t->p;
    (void)pass_byte(t, '-', '-'); /* optional, like the signs, points and exponents below */
    if (!pass_byte(t, '0', '0') && !pass_digits(t))
        return unexpected(t);
    if (pass_byte(t, '.', '.') && !pass_digits(t))
        return unexpected(t);
    if (pass_byte(t, 'e', 'E')) {
        (void)pass_byte(t, '-', '+');
        if (!pass_digits(t))
            return unexpected(t);
    }
    *out = adit_view_mem(first, (size_t)(t->p - first));
    return 0;
}

int jsontext_word(struct jsontext *t, const char *word)
{
    size_t len = strlen(word);
    jsontext_peek(t);
    if ((size_t)(t->end - t->p) < len || memcmp(t->p, word, len) != 0)
        return unexpected(t);
    t->p += len;
    return 0;
}

static int skip_items(struct jsontext *t, char close, unsigned depth)
{
    struct jsontext_string name;
    bool more;

    t->p++;
    for (bool first = true;; first = false) {
        int rc = jsontext_next(t, close, first, &more);
        if (rc || !more)
            return rc;
        if (close == '}') {
            rc = jsontext_string(t, &name);
            if (!rc)
                rc = jsontext_expect(t, ':');
        }
        if (!rc)
            rc = jsontext_skip(t, depth + 1);
        if (rc)
            return rc;
    }
}

int jsontext_skip(struct jsontext *t, unsigned depth)
{
    struct jsontext_string text;
    struct adit_view number;
    char c = jsontext_peek(t);

    switch (c) {
    case '{':
    case '[':
        if (depth > JSONTEXT_DEPTH_MAX)
            return jsontext_fail(t, ADIT_ERR_LIMIT, "nested too deeply");
        return skip_items(t, c == '{' ? '}' : ']', depth);
    case '"':
        return jsontext_string(t, &text);
    case 't':
        return jsontext_word(t, "true");
    case 'f':
        return jsontext_word(t, "false");
    case 'n':
        return jsontext_word(t, "null");
    default:
        return jsontext_number(t, &number);
    }
}
