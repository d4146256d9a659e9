/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to an execution, as it comes.
 *
 * Theory of operation
 *
 *   BEGIN → MEMBER → NAME → COLON → VALUE → STRING | NESTED | SCALAR → AFTER → MEMBER …
 *                                                                     AFTER → END → newline → BEGIN
 *
 * What: a byte at a time, but for the inside of strings, which is passed on in as long pieces as
 * there are. A newline is never inside a JSON string, so it ends its line in every state: whatever
 * a line was, the next one is read afresh. A string's bytes are not checked to be UTF-8: whoever
 * shows them does that.
 * Trust: the sandbox writes what it likes, and its own session alone hears of it. Limits: nothing
 * is kept but two names; nesting is counted, not followed.
 */
#include "broker/session/session_stream.h"

#define REPLACEMENT "\xef\xbf\xbd"

void session_stream_init(struct session_stream *s, const struct session_stream_ops *ops, void *user)
{
    memset(s, 0, sizeof(*s));
    s->ops = ops;
    s->user = user;
}

/* ---- strings ---- */

/* Names that are too long for any that matters become no name. */
static void add_name(char name[SESSION_STREAM_NAME_CAP], size_t *len, struct adit_view bytes)
{
    if (*len + bytes.len >= SESSION_STREAM_NAME_CAP) {
        *len = SESSION_STREAM_NAME_CAP;
        name[0] = '\0';
        return;
    }
    memcpy(name + *len, bytes.ptr, bytes.len);
    *len += bytes.len;
    name[*len] = '\0';
}

/* Decoded bytes of the string that is being read. */
static void give(struct session_stream *s, struct adit_view bytes)
{
    if (bytes.len == 0)
        return;
    if (s->state == SESSION_STREAM_NAME)
        add_name(s->name, &s->name_len, bytes);
    else if (s->is_type)
        add_name(s->type, &s->type_len, bytes);
    else if (s->type[0] && s->name[0])
        s->ops->on_text(s->user, s->type, s->name, bytes);
}

static void give_str(struct session_stream *s, const char *text)
{
    give(s, adit_view_str(text));
}

/* A surrogate that has no partner. */
static void give_lone(struct session_stream *s)
{
    if (s->high) {
        s->high = 0;
        give_str(s, REPLACEMENT);
    }
}

static void give_char(struct session_stream *s, uint32_t c)
{
    char utf8[4];
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 1; c >>= 6)
        utf8[i] = (char)(0x80 | (c & 0x3f));
    utf8[0] = (char)(lead[len] | c);
    give(s, adit_view_mem(utf8, len));
}

static void give_unit(struct session_stream *s, uint32_t unit)
{
    if (unit >= 0xdc00 && unit < 0xe000 && s->high) {
        uint32_t high = s->high;
        s->high = 0;
        give_char(s, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
        return;
    }
    give_lone(s);
    if (unit >= 0xd800 && unit < 0xdc00)
        s->high = unit;
    else if (unit >= 0xdc00 && unit < 0xe000)
        give_str(s, REPLACEMENT);
    else
        give_char(s, unit);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void take_simple_escape(struct session_stream *s, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = memchr(from, c, sizeof(from) - 1);
    give_lone(s);
    s->escape = 0;
    if (at)
        give(s, adit_view_mem(to + (at - from), 1));
    else
        s->state = SESSION_STREAM_BROKEN;
}

/* The characters behind a backslash: one, or "u" and four digits. */
static void take_escape(struct session_stream *s, char c)
{
    if (s->escape == 1 && c != 'u') {
        take_simple_escape(s, c);
        return;
    }
    int digit = s->escape == 1 ? 0 : hex_value(c);
    if (digit < 0) {
        s->state = SESSION_STREAM_BROKEN;
        return;
    }
    s->unit = s->escape == 1 ? 0 : s->unit << 4 | (uint32_t)digit;
    if (++s->escape < 6)
        return;
    s->escape = 0;
    give_unit(s, s->unit);
}

static void end_string(struct session_stream *s)
{
    give_lone(s);
    if (s->state == SESSION_STREAM_NAME) {
        s->state = SESSION_STREAM_COLON;
        return;
    }
    s->state = SESSION_STREAM_AFTER;
    if (s->is_type)
        s->has_type = true;
    else if (s->type[0] && s->name[0])
        s->ops->on_text_end(s->user, s->type, s->name);
    s->is_type = false;
}

/* Inside a string. Return: how many bytes were taken. */
static size_t take_string(struct session_stream *s, struct adit_view in)
{
    size_t n = 0;
    if (s->escape) {
        take_escape(s, in.ptr[0]);
        return 1;
    }
    while (n < in.len && in.ptr[n] != '"' && in.ptr[n] != '\\' && in.ptr[n] != '\n')
        n++;
    if (n > 0) {
        give_lone(s);
        give(s, adit_view_mem(in.ptr, n));
        return n;
    }
    if (in.ptr[0] == '\\')
        s->escape = 1;
    else
        end_string(s);
    return 1;
}

/* ---- around them ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void end_line(struct session_stream *s)
{
    bool is_empty = s->state == SESSION_STREAM_BEGIN;
    if (!is_empty && s->has_type && s->type[0])
        s->ops->on_line(s->user, s->type, s->state == SESSION_STREAM_END);
    session_stream_init(s, s->ops, s->user);
}

static void begin_value(struct session_stream *s, char c)
{
    bool is_type = !s->has_type && strcmp(s->name, "type") == 0;
    if (!s->has_type && (!is_type || c != '"')) {
        s->state = SESSION_STREAM_BROKEN; /* another kind of line */
    } else if (c == '"') {
        s->is_type = is_type;
        s->state = SESSION_STREAM_STRING;
    } else if (c == '{' || c == '[') {
        s->depth = 1;
        s->state = SESSION_STREAM_NESTED;
    } else {
        s->state = SESSION_STREAM_SCALAR;
    }
}

static void take_nested(struct session_stream *s, char c)
{
    if (c == '"')
        s->state = SESSION_STREAM_NESTED_STRING;
    else if (c == '{' || c == '[')
        s->depth++;
    else if ((c == '}' || c == ']') && --s->depth == 0)
        s->state = SESSION_STREAM_AFTER;
}

static void take_nested_string(struct session_stream *s, char c)
{
    if (s->escape)
        s->escape = 0;
    else if (c == '\\')
        s->escape = 1;
    else if (c == '"')
        s->state = SESSION_STREAM_NESTED;
}

static void take_member(struct session_stream *s, char c)
{
    s->name[0] = '\0';
    s->name_len = 0;
    if (c == '"')
        s->state = SESSION_STREAM_NAME;
    else
        s->state = c == '}' ? SESSION_STREAM_END : SESSION_STREAM_BROKEN;
}

static void take_after(struct session_stream *s, char c)
{
    if (c == ',')
        s->state = SESSION_STREAM_MEMBER;
    else
        s->state = c == '}' ? SESSION_STREAM_END : SESSION_STREAM_BROKEN;
}

/* One byte outside strings; white space between tokens does not come here. */
static void take_byte(struct session_stream *s, char c)
{
    switch (s->state) {
    case SESSION_STREAM_BEGIN:
        s->state = c == '{' ? SESSION_STREAM_MEMBER : SESSION_STREAM_BROKEN;
        break;
    case SESSION_STREAM_MEMBER:
        take_member(s, c);
        break;
    case SESSION_STREAM_COLON:
        s->state = c == ':' ? SESSION_STREAM_VALUE : SESSION_STREAM_BROKEN;
        break;
    case SESSION_STREAM_VALUE:
        begin_value(s, c);
        break;
    case SESSION_STREAM_NESTED:
        take_nested(s, c);
        break;
    case SESSION_STREAM_SCALAR:
        if (c == ',' || c == '}')
            take_after(s, c);
        break;
    case SESSION_STREAM_AFTER:
        take_after(s, c);
        break;
    case SESSION_STREAM_END:
        s->state = SESSION_STREAM_BROKEN; /* something behind the object */
        break;
    case SESSION_STREAM_NAME:
    case SESSION_STREAM_STRING:
    case SESSION_STREAM_NESTED_STRING:
    case SESSION_STREAM_BROKEN:
        break;
    }
}

/* Return: how many bytes were taken, at least one. */
static size_t step(struct session_stream *s, struct adit_view in)
{
    char c = in.ptr[0];
    if (c == '\n')
        end_line(s);
    else if (s->state == SESSION_STREAM_NAME || s->state == SESSION_STREAM_STRING)
        return take_string(s, in);
    else if (s->state == SESSION_STREAM_NESTED_STRING)
        take_nested_string(s, c);
    else if (!is_space(c))
        take_byte(s, c);
    return 1;
}

void session_stream_feed(struct session_stream *s, struct adit_view bytes)
{
    while (bytes.len > 0) {
        size_t n = step(s, bytes);
        bytes.ptr += n;
        bytes.len -= n;
    }
}
