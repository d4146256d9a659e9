/* SPDX-License-Identifier: Apache-2.0 */
/* What a download's headers ask for, and the headers of its answer. */
/*
 * Theory of operation
 *
 * The head is gone when the file has been looked at, so parsing (negotiate_parse) and deciding
 * (negotiate_status) are two steps with a small struct in between.
 *
 * Identity is served whenever the client allows it: it always does unless it says identity;q=0, or
 * *;q=0 without naming identity. Then gzip is served if that is allowed. Ranges and conditions
 * speak of the identity form and force it.
 *
 * Trust: every header is a client's. Numbers are canonical decimals; what is malformed is ignored,
 * as RFC 9110 lets a server do, and the whole file is served.
 */
#include "envd/filesystem/negotiate.h"

#include <time.h>

/* ---- dates ---- */

int negotiate_parse_date(struct adit_view v, int64_t *seconds)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %d %H:%M:%S %Y"};
    char text[64];

    if (v.len == 0 || v.len >= sizeof text || memchr(v.ptr, '\0', v.len))
        return ADIT_ERR_BAD_INPUT;
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && *end == '\0') {
            *seconds = timegm(&tm);
            return 0;
        }
    }
    return ADIT_ERR_BAD_INPUT;
}

void negotiate_format_date(int64_t seconds, char out[NEGOTIATE_DATE_CAP])
{
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || !strftime(out, NEGOTIATE_DATE_CAP, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        out[0] = '\0';
}

/* ---- Accept-Encoding ---- */

/* Is the weight of "gzip;q=0" zero? Weights that are no weights count as 1. */
static bool is_refused(struct adit_view parameters)
{
    struct adit_view parameter, name, value;
    bool more = parameters.len > 0, is_zero = false;

    while (more) {
        more = adit_view_split(parameters, ';', &parameter, &parameters);
        if (!adit_view_split(parameter, '=', &name, &value) ||
            !adit_view_ieq_str(adit_view_trim(name), "q"))
            continue;
        value = adit_view_trim(value);
        is_zero = value.len > 0;
        for (size_t i = 0; i < value.len; i++) {
            if (value.ptr[i] != '0' && value.ptr[i] != '.')
                is_zero = false;
        }
    }
    return is_zero;
}

enum opinion { OPINION_NONE, OPINION_TAKEN, OPINION_REFUSED };

static int choose_coding(struct adit_view accept, enum negotiate_coding *coding,
                         struct adit_err *err)
{
    enum opinion identity = OPINION_NONE, gzip = OPINION_NONE, others = OPINION_NONE;
    struct adit_view item, name, parameters, rest = accept;
    bool more = rest.len > 0;

    while (more) {
        more = adit_view_split(rest, ',', &item, &rest);
        if (!adit_view_split(item, ';', &name, &parameters))
            parameters.len = 0;
        enum opinion opinion = is_refused(parameters) ? OPINION_REFUSED : OPINION_TAKEN;
        name = adit_view_trim(name);
        if (adit_view_ieq_str(name, "identity"))
            identity = opinion;
        else if (adit_view_ieq_str(name, "gzip") || adit_view_ieq_str(name, "x-gzip"))
            gzip = opinion;
        else if (adit_view_eq_str(name, "*"))
            others = opinion;
    }
    *coding = NEGOTIATE_IDENTITY;
    if ((identity ? identity : others) != OPINION_REFUSED)
        return 0;
    *coding = NEGOTIATE_GZIP;
    if ((gzip ? gzip : others) == OPINION_TAKEN)
        return 0;
    return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                        "error parsing Accept-Encoding: no acceptable encoding found, supported: "
                        "identity, gzip");
}

/* ---- ranges and conditions ---- */

static void parse_range(struct adit_view v, struct negotiate *n)
{
    static const char unit[] = "bytes=";
    struct adit_view start = {v.ptr, sizeof unit - 1}, first, last;

    if (v.len < start.len || !adit_view_ieq_str(start, unit))
        return;
    v = adit_view_trim(adit_view_mem(v.ptr + start.len, v.len - start.len));
    if (!adit_view_split(v, '-', &first, &last))
        return;
    n->last = UINT64_MAX;
    if (first.len == 0) {
        if (adit_view_u64(last, UINT64_MAX, &n->last) == 0)
            n->range = NEGOTIATE_SUFFIX;
        return;
    }
    if (adit_view_u64(first, UINT64_MAX, &n->first) ||
        (last.len && adit_view_u64(last, UINT64_MAX, &n->last)) || n->first > n->last)
        return;
    n->range = NEGOTIATE_FROM_TO;
}

static enum negotiate_tags parse_tags(struct adit_view v)
{
    if (!v.ptr)
        return NEGOTIATE_NO_TAGS;
    return adit_view_eq_str(v, "*") ? NEGOTIATE_ANY_TAG : NEGOTIATE_SOME_TAGS;
}

static int64_t parse_date_header(struct adit_view v)
{
    int64_t seconds;
    return v.ptr && negotiate_parse_date(v, &seconds) == 0 ? seconds : NEGOTIATE_NO_DATE;
}

int negotiate_parse(const struct http_head *head, struct negotiate *out, struct adit_err *err)
{
    memset(out, 0, sizeof *out);
    parse_range(http_head_get(head, "Range"), out);
    out->has_if_range = http_head_count(head, "If-Range") > 0;
    out->if_range = parse_date_header(http_head_get(head, "If-Range"));
    out->match = parse_tags(http_head_get(head, "If-Match"));
    out->none_match = parse_tags(http_head_get(head, "If-None-Match"));
    out->modified_since = parse_date_header(http_head_get(head, "If-Modified-Since"));
    out->unmodified_since = parse_date_header(http_head_get(head, "If-Unmodified-Since"));
    if (out->range || out->has_if_range || out->match || out->none_match ||
        out->modified_since != NEGOTIATE_NO_DATE || out->unmodified_since != NEGOTIATE_NO_DATE)
        return 0;
    return choose_coding(http_head_get(head, "Accept-Encoding"), &out->coding, err);
}

/* RFC 9110 13.2.2. Return: 0 to go on. */
static unsigned check_conditions(const struct negotiate *n, int64_t mtime)
{
    if (n->match == NEGOTIATE_SOME_TAGS)
        return 412;
    if (!n->match && n->unmodified_since != NEGOTIATE_NO_DATE && mtime > n->unmodified_since)
        return 412;
    if (n->none_match == NEGOTIATE_ANY_TAG)
        return 304;
    if (!n->none_match && n->modified_since != NEGOTIATE_NO_DATE && mtime <= n->modified_since)
        return 304;
    return 0;
}

unsigned negotiate_status(const struct negotiate *n, uint64_t size, int64_t mtime, uint64_t *first,
                          uint64_t *len)
{
    unsigned status = check_conditions(n, mtime);

    *first = 0;
    *len = size;
    if (status)
        return status;
    /* An empty file has no range that could be served, and clients that ask for one want it all. */
    if (n->range == NEGOTIATE_WHOLE || size == 0 || (n->has_if_range && n->if_range != mtime))
        return 200;
    if (n->range == NEGOTIATE_SUFFIX) {
        *len = n->last < size ? n->last : size;
        *first = size - *len;
        return *len ? 206 : 416;
    }
    if (n->first >= size)
        return 416;
    *first = n->first;
    *len = (n->last < size - 1 ? n->last : size - 1) - n->first + 1;
    return 206;
}

/* ---- headers of the answer ---- */

static struct adit_view extension(struct adit_view path)
{
    for (size_t i = path.len; i > 0 && path.ptr[i - 1] != '/'; i--) {
        if (path.ptr[i - 1] == '.')
            return adit_view_mem(path.ptr + i, path.len - i);
    }
    return adit_view_mem(NULL, 0);
}

const char *negotiate_type_by_name(struct adit_view path)
{
    static const char *const types[][2] = {
        {"avif", "image/avif"},
        {"bmp", "image/bmp"},
        {"css", "text/css; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"gif", "image/gif"},
        {"gz", "application/gzip"},
        {"htm", "text/html; charset=utf-8"},
        {"html", "text/html; charset=utf-8"},
        {"ico", "image/x-icon"},
        {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},
        {"js", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"md", "text/markdown; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"parquet", "application/vnd.apache.parquet"},
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"py", "text/x-python; charset=utf-8"},
        {"sh", "application/x-sh"},
        {"svg", "image/svg+xml"},
        {"tar", "application/x-tar"},
        {"txt", "text/plain; charset=utf-8"},
        {"wasm", "application/wasm"},
        {"wav", "audio/wav"},
        {"webm", "video/webm"},
        {"webp", "image/webp"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"xml", "text/xml; charset=utf-8"},
        {"yaml", "application/yaml"},
        {"yml", "application/yaml"},
        {"zip", "application/zip"},
    };
    struct adit_view ext = extension(path);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (adit_view_ieq_str(ext, types[i][0]))
            return types[i][1];
    }
    return NULL;
}

const char *negotiate_type_by_content(struct adit_view start)
{
    for (size_t i = 0; i < start.len && i < NEGOTIATE_SNIFF_LEN; i++) {
        unsigned char c = (unsigned char)start.ptr[i];
        bool is_text_control = (c >= 0x09 && c <= 0x0D && c != 0x0B) || c == 0x1B;
        if (c < 0x20 && !is_text_control)
            return "application/octet-stream";
    }
    return "text/plain; charset=utf-8";
}

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 8187: percent-encoded UTF-8. */
static int append_encoded(struct adit_view name, struct adit_buf *out)
{
    int rc = adit_buf_append_str(out, "inline; filename*=utf-8''");
    for (size_t i = 0; !rc && i < name.len; i++) {
        char c = name.ptr[i];
        bool is_plain = is_token_char(c) && !strchr("*'%", c);
        rc = is_plain ? adit_buf_append_char(out, c)
                      : adit_buf_appendf(out, "%%%02X", (unsigned)(unsigned char)c);
    }
    return rc;
}

static int append_quoted(struct adit_view name, struct adit_buf *out)
{
    int rc = adit_buf_append_str(out, "inline; filename=\"");
    for (size_t i = 0; !rc && i < name.len; i++) {
        if (name.ptr[i] == '"' || name.ptr[i] == '\\')
            rc = adit_buf_append_char(out, '\\');
        if (!rc)
            rc = adit_buf_append_char(out, name.ptr[i]);
    }
    return rc ? rc : adit_buf_append_char(out, '"');
}

int negotiate_disposition(struct adit_view name, struct adit_buf *out)
{
    bool is_token = name.len > 0, is_ascii = true;
    for (size_t i = 0; i < name.len; i++) {
        is_token = is_token && is_token_char(name.ptr[i]);
        is_ascii = is_ascii && name.ptr[i] >= 0x20 && name.ptr[i] < 0x7F;
    }
    if (!is_ascii)
        return append_encoded(name, out);
    if (!is_token)
        return append_quoted(name, out);
    int rc = adit_buf_append_str(out, "inline; filename=");
    return rc ? rc : adit_buf_append_view(out, name);
}
