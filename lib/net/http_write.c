/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing HTTP/1.1 heads.
 *
 * Theory of operation
 *
 * What:    appends start lines and fields to a buffer of the caller. One reservation a line, then
 * plain copies: this runs for every relayed field of every request. Trust:   names and values often
 * come from a peer's head. Everything is checked again by the rules that http_guard reads with, so
 * no text can end a line early and become a field or a message of its own (response splitting,
 * request smuggling). Failure: a line is appended whole or not at all. ADIT_ERR_BAD_INPUT for
 * forbidden bytes, else what adit_buf_reserve says.
 */
#include "net/http_write.h"

#include "net/http_guard.h"

#include <stdio.h>

static char *put(char *at, const char *p, size_t n)
{
    if (n > 0)
        memcpy(at, p, n);
    return at + n;
}

static char *put_view(char *at, struct adit_view v)
{
    return put(at, v.ptr, v.len);
}

/* A target may hold any visible ASCII character; http_guard keeps the fragment out when reading. */
static bool is_target(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.ptr[i] <= ' ' || v.ptr[i] >= 0x7f)
            return false;
    return v.len > 0;
}

int http_write_request_line(struct adit_buf *b, struct adit_view method, struct adit_view target)
{
    static const struct adit_view end = ADIT_VIEW(" HTTP/1.1\r\n");
    size_t len = method.len + 1 + target.len + end.len;
    if (!http_guard_is_token(method) || !is_target(target))
        return ADIT_ERR_BAD_INPUT;
    int rc = adit_buf_reserve(b, len);
    if (rc != 0)
        return rc;
    char *at = put_view(adit_buf_tail(b), method);
    *at++ = ' ';
    at = put_view(at, target);
    put_view(at, end);
    adit_buf_added(b, len);
    return ADIT_OK;
}

int http_write_status_line(struct adit_buf *b, unsigned status)
{
    if (status < 100 || status > 999)
        return ADIT_ERR_BAD_INPUT;
    struct adit_view reason = adit_view_str(http_write_reason(status));
    static const struct adit_view start = ADIT_VIEW("HTTP/1.1 ");
    size_t len = start.len + 4 + reason.len + 2;
    int rc = adit_buf_reserve(b, len);
    if (rc != 0)
        return rc;
    char *at = put_view(adit_buf_tail(b), start);
    *at++ = (char)('0' + status / 100);
    *at++ = (char)('0' + status / 10 % 10);
    *at++ = (char)('0' + status % 10);
    *at++ = ' ';
    at = put_view(at, reason);
    put(at, "\r\n", 2);
    adit_buf_added(b, len);
    return ADIT_OK;
}

int http_write_header(struct adit_buf *b, struct adit_view name, struct adit_view value)
{
    size_t len = name.len + 2 + value.len + 2;
    if (!http_guard_is_token(name) || !http_guard_is_value(value))
        return ADIT_ERR_BAD_INPUT;
    int rc = adit_buf_reserve(b, len);
    if (rc != 0)
        return rc;
    char *at = put_view(adit_buf_tail(b), name);
    at = put(at, ": ", 2);
    at = put_view(at, value);
    put(at, "\r\n", 2);
    adit_buf_added(b, len);
    return ADIT_OK;
}

int http_write_header_str(struct adit_buf *b, const char *name, const char *value)
{
    return http_write_header(b, adit_view_str(name), adit_view_str(value));
}

int http_write_header_u64(struct adit_buf *b, const char *name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return http_write_header(b, adit_view_str(name),
                             adit_view_mem(digits + at, sizeof(digits) - at));
}

int http_write_end(struct adit_buf *b)
{
    return adit_buf_append(b, "\r\n", 2);
}

size_t http_write_chunk_head(char out[HTTP_CHUNK_HEAD_CAP], size_t len)
{
    return (size_t)snprintf(out, HTTP_CHUNK_HEAD_CAP, "%zx\r\n", len);
}

/* The registered codes (IANA HTTP Status Code Registry), and 499, which nginx made customary. */
static const char *const reasons[][32] = {
    [1] = {"Continue", "Switching Protocols", "Processing", "Early Hints"},
    [2] = {"OK", "Created", "Accepted", "Non-Authoritative Information", "No Content",
           "Reset Content", "Partial Content", "Multi-Status",
           "Already Reported", [26] = "IM Used"},
    [3] = {"Multiple Choices", "Moved Permanently", "Found", "See Other", "Not Modified",
           "Use Proxy", [7] = "Temporary Redirect", "Permanent Redirect"},
    [4] = {"Bad Request",
           "Unauthorized",
           "Payment Required",
           "Forbidden",
           "Not Found",
           "Method Not Allowed",
           "Not Acceptable",
           "Proxy Authentication Required",
           "Request Timeout",
           "Conflict",
           "Gone",
           "Length Required",
           "Precondition Failed",
           "Content Too Large",
           "URI Too Long",
           "Unsupported Media Type",
           "Range Not Satisfiable",
           "Expectation Failed",
           [21] = "Misdirected Request",
           "Unprocessable Content",
           "Locked",
           "Failed Dependency",
           "Too Early",
           "Upgrade Required",
           [28] = "Precondition Required",
           "Too Many Requests",
           [31] = "Request Header Fields Too Large"},
    [5] = {"Internal Server Error", "Not Implemented", "Bad Gateway", "Service Unavailable",
           "Gateway Timeout", "HTTP Version Not Supported", "Variant Also Negotiates",
           "Insufficient Storage", "Loop Detected", [10] = "Not Extended",
           "Network Authentication Required"},
};

const char *http_write_reason(unsigned status)
{
    if (status == 451)
        return "Unavailable For Legal Reasons";
    if (status == 499)
        return "Client Closed Request";
    if (status < 100 || status > 599 || status % 100 >= 32 || !reasons[status / 100][status % 100])
        return "Unknown";
    return reasons[status / 100][status % 100];
}
