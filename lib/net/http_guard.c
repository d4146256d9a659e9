/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw check of an HTTP/1 head, line by line, before any parser sees it.
 *
 * Theory of operation
 *
 * What:    finds the end of a head and refuses every spelling that two parsers might read in two
 * ways. llhttp 8.1, even in strict mode, takes folded fields, an empty field name, a bare LF behind
 *          the last field and the versions 0.9 and 2.0; nothing of it gets past here.
 * States:  start line, then fields until an empty line; a trailer section has no start line.
 *          @scanned is where the search for LF goes on, @line_start where the open line begins.
 * Limits:  HTTP_HEAD_CAP a head, HTTP_LINE_CAP a line (both with their CRLF), HTTP_HEADERS_MAX
 * fields. They are looked at before the content, so a head that drips in fails like a whole one.
 * Cost:    every byte is searched once for LF (memchr) and checked once when its line is complete;
 *          values are checked eight bytes at a step.
 * Trust:   all bytes are hostile.
 * Failure: BAD_INPUT, LIMIT, UNIMPLEMENTED (version); the guard is of no use afterwards.
 */
#include "net/http_guard.h"

/* Token characters (RFC 9110 5.6.2). */
static const unsigned char token_chars[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static int is_token_char(char c)
{
    return token_chars[(unsigned char)c];
}

/* Four at a step and in line, as names are most of a small head: measured, 100 ns a request. */
static inline __attribute__((always_inline)) size_t token_len(const char *p, size_t len)
{
    size_t n = 0;
    while (n + 4 <= len && (is_token_char(p[n]) & is_token_char(p[n + 1]) &
                            is_token_char(p[n + 2]) & is_token_char(p[n + 3])))
        n += 4;
    while (n < len && is_token_char(p[n]))
        n++;
    return n;
}

bool http_guard_is_token(struct adit_view name)
{
    return name.len > 0 && token_len(name.ptr, name.len) == name.len;
}

static bool is_value_char(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= ' ' && u != 0x7f) || u == '\t';
}

/*
 * Is one of the eight bytes of @x below 0x20 or equal to 0x7f? May say yes wrongly only when a byte
 * is at or above 0x80, or a lower one is a hit; never says no wrongly.
 */
static bool may_hold_control(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t below_space = x - ones * 0x20;
    uint64_t del = (x ^ (ones * 0x7f)) - ones;
    return ((below_space | del) & highs) != 0;
}

static bool is_value_slowly(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_value_char(p[i]))
            return false;
    return true;
}

static uint64_t load(const char *p)
{
    uint64_t eight;
    memcpy(&eight, p, sizeof(eight));
    return eight;
}

bool http_guard_is_value(struct adit_view value)
{
    const size_t step = sizeof(uint64_t);
    if (value.len < step)
        return is_value_slowly(value.ptr, value.len);
    const char *p = value.ptr, *last = value.ptr + value.len - step;
    for (; p < last; p += step)
        if (may_hold_control(load(p)) && !is_value_slowly(p, step))
            return false;
    return !may_hold_control(load(last)) || is_value_slowly(last, step); /* overlaps: no odd rest */
}

void http_guard_init(struct http_guard *g)
{
    *g = (struct http_guard){0};
}

void http_guard_init_fields(struct http_guard *g)
{
    *g = (struct http_guard){.line_cnt = 1};
}

/* "HTTP/1.0" or "HTTP/1.1", exactly. */
static int check_version(struct adit_view v, struct adit_err *err)
{
    if (v.len != 8 || memcmp(v.ptr, "HTTP/", 5) != 0 || v.ptr[5] < '0' || v.ptr[5] > '9' ||
        v.ptr[6] != '.' || v.ptr[7] < '0' || v.ptr[7] > '9')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed HTTP version");
    if (v.ptr[5] != '1' || v.ptr[7] > '1')
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "HTTP version not supported");
    return ADIT_OK;
}

/* Visible ASCII without '#': what a client may send of a URI (RFC 9112 3.2). */
static size_t target_len(const char *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] > ' ' && p[n] < 0x7f && p[n] != '#')
        n++;
    return n;
}

static int check_request_line(struct adit_view line, struct adit_err *err)
{
    size_t method = token_len(line.ptr, line.len);
    if (method == 0 || method == line.len || line.ptr[method] != ' ')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed method");
    struct adit_view rest = {line.ptr + method + 1, line.len - method - 1};
    size_t target = target_len(rest.ptr, rest.len);
    if (target == 0 || target == rest.len || rest.ptr[target] != ' ')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed request target");
    struct adit_view version = {rest.ptr + target + 1, rest.len - target - 1};
    return check_version(version, err);
}

/* The reason may be missing together with its space, as many servers have it. */
static int check_status_line(struct adit_view line, struct adit_err *err)
{
    struct adit_view version = {line.ptr, line.len < 8 ? line.len : 8};
    int rc = check_version(version, err);
    if (rc != ADIT_OK)
        return rc;
    const char *p = line.ptr;
    bool ok = line.len >= 12 && p[8] == ' ' && p[9] >= '1' && p[9] <= '9' && p[10] >= '0' &&
              p[10] <= '9' && p[11] >= '0' && p[11] <= '9' && (line.len == 12 || p[12] == ' ');
    if (!ok || !http_guard_is_value(line))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed status line");
    return ADIT_OK;
}

/* No token character is a space or a tab, so this refuses folded fields, too. */
static int check_field(struct adit_view line, struct adit_err *err)
{
    size_t name = token_len(line.ptr, line.len);
    if (name == 0 || name == line.len || line.ptr[name] != ':')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed header name");
    struct adit_view value = {line.ptr + name + 1, line.len - name - 1};
    if (!http_guard_is_value(value))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "control character in a header value");
    return ADIT_OK;
}

static int check_limits(const struct http_guard *g, size_t end, bool open, struct adit_err *err)
{
    size_t room = open ? 1 : 0; /* an open line has at least one more byte to come */
    if (end - g->line_start + room > HTTP_LINE_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "header line longer than %u bytes", HTTP_LINE_CAP);
    if (end + room > HTTP_HEAD_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "head longer than %u bytes", HTTP_HEAD_CAP);
    return ADIT_OK;
}

/* @line is without its LF. Sets *last for the empty line. */
static int check_line(struct http_guard *g, enum http_kind kind, struct adit_view line, bool *last,
                      struct adit_err *err)
{
    *last = false;
    if (line.len == 0 || line.ptr[line.len - 1] != '\r')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "line without CRLF");
    line.len--;
    if (g->line_cnt++ == 0)
        return kind == HTTP_REQUEST ? check_request_line(line, err) : check_status_line(line, err);
    if (line.len == 0) {
        *last = true;
        return ADIT_OK;
    }
    if (g->line_cnt > HTTP_HEADERS_MAX + 1)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d headers", HTTP_HEADERS_MAX);
    return check_field(line, err);
}

int http_guard_feed(struct http_guard *g, enum http_kind kind, struct adit_view bytes,
                    size_t *head_len, struct adit_err *err)
{
    *head_len = 0;
    while (g->scanned < bytes.len) {
        const char *from = bytes.ptr + g->scanned;
        const char *lf = memchr(from, '\n', bytes.len - g->scanned);
        size_t end = lf ? (size_t)(lf - bytes.ptr) + 1 : bytes.len;
        int rc = check_limits(g, end, !lf, err);
        if (rc != ADIT_OK)
            return rc;
        g->scanned = end;
        if (!lf)
            return ADIT_OK;
        bool last;
        struct adit_view line = {bytes.ptr + g->line_start, end - 1 - g->line_start};
        rc = check_line(g, kind, line, &last, err);
        if (rc != ADIT_OK)
            return rc;
        g->line_start = end;
        if (last) {
            *head_len = end;
            return ADIT_OK;
        }
    }
    return ADIT_OK;
}
