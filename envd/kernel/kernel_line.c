/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of NDJSON.
 *
 * Theory of operation
 *
 * What: clients decode the pieces that the network gives them one by one, so a line is ASCII: what
 * is not becomes \uXXXX, outside of the first plane as a pair of surrogates. A line is whole or not
 * there: what was appended is taken back when the rest does not fit.
 */
#include "envd/kernel/kernel_line.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/utf8.h"

/* Most that one byte of text becomes. */
#define ESCAPED_CAP 6
#define REPLACEMENT 0xFFFDu

static uint32_t code_point(struct adit_view v, size_t len)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t code = (unsigned char)v.ptr[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | ((unsigned char)v.ptr[i] & 0x3F);
    return code;
}

static size_t put_unit(char *out, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    const char text[] = {'\\',
                         'u',
                         digits[unit >> 12 & 15],
                         digits[unit >> 8 & 15],
                         digits[unit >> 4 & 15],
                         digits[unit & 15]};
    memcpy(out, text, sizeof text);
    return sizeof text;
}

static size_t put_code(char *out, uint32_t code)
{
    if (code < 0x10000)
        return put_unit(out, code);
    size_t len = put_unit(out, 0xD800 + ((code - 0x10000) >> 10));
    return len + put_unit(out + len, 0xDC00 + ((code - 0x10000) & 0x3FF));
}

static bool is_as_it_is(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static size_t put_escaped(char *out, char c)
{
    static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
    const char *known = c ? strchr(from, c) : NULL;
    if (!known)
        return put_unit(out, (unsigned char)c);
    out[0] = '\\';
    out[1] = to[known - from];
    return 2;
}

/* One character of @v to @out. Return: bytes of it; *written to @out. */
static size_t put_char(char *out, struct adit_view v, size_t *written)
{
    size_t len = adit_utf8_char_len(v);
    if (len == 1)
        *written = put_escaped(out, v.ptr[0]);
    else
        *written = put_code(out, len ? code_point(v, len) : REPLACEMENT);
    return len ? len : 1;
}

/* Append @v as the inside of a JSON string. A pair of surrogates comes of four bytes. */
static int append_text(struct adit_buf *out, struct adit_view v)
{
    int code = adit_buf_reserve(out, v.len * ESCAPED_CAP);
    if (code != ADIT_OK)
        return code;
    char *p = adit_buf_tail(out);
    for (size_t i = 0; i < v.len;) {
        if (is_as_it_is((unsigned char)v.ptr[i])) {
            *p++ = v.ptr[i++];
            continue;
        }
        size_t written;
        i += put_char(p, adit_view_mem(v.ptr + i, v.len - i), &written);
        p += written;
    }
    adit_buf_added(out, (size_t)(p - adit_buf_tail(out)));
    return ADIT_OK;
}

/* Bytes at the end of @v that may be the beginning of a character. */
static size_t open_len(struct adit_view v)
{
    for (size_t len = 1; len <= KERNEL_LINE_TAIL_CAP && len <= v.len; len++) {
        unsigned char c = (unsigned char)v.ptr[v.len - len];
        if (c < 0x80)
            return 0;
        if (c >= 0xC0)
            return len < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? len : 0;
    }
    return 0;
}

static int append_line(struct adit_buf *out, const char *type, struct adit_view before,
                       struct adit_view text)
{
    char now[ADIT_CLOCK_RFC3339_CAP];
    size_t start = out->len;
    adit_clock_format_rfc3339(adit_clock_wall_ns(), now);
    int code = adit_buf_appendf(out, "{\"type\":\"%s\",\"text\":\"", type);
    if (code == ADIT_OK)
        code = append_text(out, before);
    if (code == ADIT_OK)
        code = append_text(out, text);
    if (code == ADIT_OK)
        code = adit_buf_appendf(out, "\",\"timestamp\":\"%s\"}\n", now);
    if (code != ADIT_OK)
        out->len = start;
    return code;
}

/* Move bytes of @v behind those of @tail until they are a character, or cannot become one. */
static struct adit_view complete(char room[2 * KERNEL_LINE_TAIL_CAP],
                                 const struct kernel_line_tail *tail, struct adit_view *v)
{
    size_t len = tail->len;
    memcpy(room, tail->bytes, len);
    while (len > 0 && v->len > 0 && open_len(adit_view_mem(room, len)) == len) {
        room[len++] = *v->ptr++;
        v->len--;
    }
    return adit_view_mem(room, len);
}

int kernel_line_text(struct adit_buf *out, const char *type, struct adit_view bytes,
                     struct kernel_line_tail *tail)
{
    char room[2 * KERNEL_LINE_TAIL_CAP];
    struct adit_view first = complete(room, tail, &bytes);
    struct adit_view *last = bytes.len > 0 ? &bytes : &first;
    struct kernel_line_tail rest = {.len = open_len(*last)};
    last->len -= rest.len;
    memcpy(rest.bytes, last->ptr + last->len, rest.len);
    int code = ADIT_OK;
    if (first.len + bytes.len > 0)
        code = append_line(out, type, first, bytes);
    if (code == ADIT_OK)
        *tail = rest;
    return code;
}

int kernel_line_text_end(struct adit_buf *out, const char *type, struct kernel_line_tail *tail)
{
    struct adit_view rest = adit_view_mem(tail->bytes, tail->len);
    int code = ADIT_OK;
    if (rest.len > 0)
        code = append_line(out, type, rest, adit_view_mem(NULL, 0));
    if (code == ADIT_OK)
        tail->len = 0;
    return code;
}

int kernel_line_object(struct adit_buf *out, const char *type, struct adit_view object)
{
    size_t start = out->len;
    bool is_empty = object.len == 2;
    int code = adit_buf_appendf(out, "{\"type\":\"%s\"%s", type, is_empty ? "" : ",");
    if (code == ADIT_OK)
        code = adit_buf_append(out, object.ptr + 1, object.len - 1);
    if (code == ADIT_OK)
        code = adit_buf_append_char(out, '\n');
    if (code != ADIT_OK)
        out->len = start;
    return code;
}

int kernel_line_count(struct adit_buf *out, uint64_t count)
{
    return adit_buf_appendf(out, "{\"type\":\"number_of_executions\",\"execution_count\":%llu}\n",
                            (unsigned long long)count);
}

static int append_member(struct adit_buf *out, const char *name, const char *value)
{
    int code = adit_buf_appendf(out, ",\"%s\":\"", name);
    if (code == ADIT_OK)
        code = append_text(out, adit_view_str(value));
    return code == ADIT_OK ? adit_buf_append_char(out, '"') : code;
}

int kernel_line_error(struct adit_buf *out, const char *name, const char *value,
                      const char *traceback)
{
    size_t start = out->len;
    int code = adit_buf_append_str(out, "{\"type\":\"error\"");
    if (code == ADIT_OK)
        code = append_member(out, "name", name);
    if (code == ADIT_OK)
        code = append_member(out, "value", value);
    if (code == ADIT_OK)
        code = append_member(out, "traceback", traceback);
    if (code == ADIT_OK)
        code = adit_buf_append_str(out, "}\n");
    if (code != ADIT_OK)
        out->len = start;
    return code;
}

int kernel_line_plain(struct adit_buf *out, const char *type)
{
    return adit_buf_appendf(out, "{\"type\":\"%s\"}\n", type);
}
