/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request targets and Host values.
 *
 * Theory of operation
 *
 * What:    splits, decodes, encodes and cleans text of URLs. The raw views stay as they came, for
 * passing on; what is decoded or cleaned is for deciding only, so that a decision and its use see
 *          one spelling.
 * Cost:    linear; the only memory is the caller's buffer, reserved once.
 * Limits:  URL_QUERY_PARAMS_MAX parameters; HOST_CAP bytes of a host name (a DNS name has 253).
 * Trust:   all text comes from clients. NUL is refused raw and encoded, as every path ends up in a
 * C string; ports have one spelling. Failure: ADIT_ERR_BAD_INPUT, and nothing is appended then.
 */
#include "net/url.h"

#include <ctype.h>

#include "base/encode.h"

#define HOST_CAP 255

static struct adit_view skip(struct adit_view v, size_t n)
{
    return adit_view_mem(v.ptr + n, v.len - n);
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ---- targets ---- */

static bool has_iprefix(struct adit_view v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.len >= n && adit_view_ieq_str(adit_view_mem(v.ptr, n), prefix);
}

/* "host/p?q": what is before the first '/' or '?'. */
static size_t authority_len(struct adit_view v)
{
    size_t n = 0;
    while (n < v.len && v.ptr[n] != '/' && v.ptr[n] != '?')
        n++;
    return n;
}

static bool cut_authority(struct adit_view *target, struct adit_view *authority)
{
    struct adit_view rest;
    if (has_iprefix(*target, "http://"))
        rest = skip(*target, 7);
    else if (has_iprefix(*target, "https://"))
        rest = skip(*target, 8);
    else
        return false;
    *authority = adit_view_mem(rest.ptr, authority_len(rest));
    *target = skip(rest, authority->len);
    return authority->len > 0;
}

int url_split_target(struct adit_view target, struct url_target *out, struct adit_err *err)
{
    static const struct adit_view root = ADIT_VIEW("/");
    *out = (struct url_target){0};
    if (adit_view_eq_str(target, "*")) {
        out->path = target;
        return ADIT_OK;
    }
    bool is_origin = target.len > 0 && target.ptr[0] == '/';
    if (!is_origin && !cut_authority(&target, &out->authority))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "malformed request target");
    adit_view_split(target, '?', &out->path, &out->query);
    if (out->path.len == 0)
        out->path = root;
    return ADIT_OK;
}

/* ---- percent-coding ---- */

/* Decode one character at the front of @v. Return: false for a bad escape or a NUL. */
static bool decode_char(struct adit_view *v, bool plus_is_space, char *out)
{
    size_t used = 1;
    *out = v->ptr[0];
    if (*out == '+' && plus_is_space)
        *out = ' ';
    if (*out == '%') {
        if (v->len < 3 || adit_hex_decode(adit_view_mem(v->ptr + 1, 2), out, 1) != 0)
            return false;
        used = 3;
    }
    *v = skip(*v, used);
    return *out != '\0';
}

/* Decode into the reserved tail of @out. */
static int decode_to_tail(struct adit_view v, bool plus_is_space, struct adit_buf *out, size_t *len)
{
    int rc = adit_buf_reserve(out, v.len);
    if (rc != ADIT_OK)
        return rc;
    char *tail = adit_buf_tail(out);
    for (*len = 0; v.len > 0; ++*len)
        if (!decode_char(&v, plus_is_space, &tail[*len]))
            return ADIT_ERR_BAD_INPUT;
    return ADIT_OK;
}

int url_decode(struct adit_view v, bool plus_is_space, struct adit_buf *out)
{
    size_t len;
    int rc = decode_to_tail(v, plus_is_space, out, &len);
    if (rc == ADIT_OK)
        adit_buf_added(out, len);
    return rc;
}

/* ---- queries ---- */

bool url_query_next(struct adit_view *rest, struct adit_view *key, struct adit_view *value)
{
    struct adit_view pair = {NULL, 0};
    while (pair.len == 0) {
        if (rest->len == 0)
            return false;
        adit_view_split(*rest, '&', &pair, rest);
    }
    adit_view_split(pair, '=', key, value);
    return true;
}

/* Compare without storing the decoded key. */
static int key_matches(struct adit_view key, const char *name, bool *matches)
{
    char c;
    *matches = true;
    for (; key.len > 0; name += *matches) {
        if (!decode_char(&key, true, &c))
            return ADIT_ERR_BAD_INPUT;
        *matches = *matches && c == *name;
    }
    *matches = *matches && *name == '\0';
    return ADIT_OK;
}

int url_query_get(struct adit_view query, const char *name, struct adit_buf *out, bool *found)
{
    struct adit_view key, value, first = {NULL, 0};
    size_t cnt = 0;
    *found = false;
    while (url_query_next(&query, &key, &value)) {
        bool matches;
        if (++cnt > URL_QUERY_PARAMS_MAX || key_matches(key, name, &matches) != ADIT_OK)
            return ADIT_ERR_BAD_INPUT;
        if (matches && !*found) {
            *found = true;
            first = value;
        }
    }
    return *found ? url_decode(first, true, out) : ADIT_OK;
}

/* ---- paths ---- */

/* Append "/<segment>", or go back one for "..". */
static size_t add_segment(char *path, size_t len, struct adit_view segment)
{
    if (segment.len == 0 || adit_view_eq_str(segment, "."))
        return len;
    if (adit_view_eq_str(segment, "..")) {
        while (len > 0 && path[--len] != '/')
            continue;
        return len;
    }
    path[len] = '/';
    memmove(path + len + 1, segment.ptr, segment.len);
    return len + 1 + segment.len;
}

/* In place: the clean path never catches up with what is still to be read. */
static size_t clean(char *path, size_t len)
{
    struct adit_view rest = {path + 1, len - 1}, segment;
    size_t clean_len = 0;
    bool more;
    do {
        more = adit_view_split(rest, '/', &segment, &rest);
        clean_len = add_segment(path, clean_len, segment);
    } while (more);
    return clean_len > 0 ? clean_len : 1; /* the first byte is the root's '/' in any case */
}

int url_clean_path(struct adit_view path, struct adit_buf *out)
{
    size_t len;
    int rc = decode_to_tail(path, false, out, &len);
    if (rc != ADIT_OK)
        return rc;
    char *tail = adit_buf_tail(out);
    if (len == 0 || tail[0] != '/')
        return ADIT_ERR_BAD_INPUT;
    adit_buf_added(out, clean(tail, len));
    return ADIT_OK;
}

/* ---- Host ---- */

static bool is_host_name(struct adit_view name)
{
    if (name.len == 0 || name.len > HOST_CAP)
        return false;
    char before = '.';
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!is_alnum(c) && c != '-' && c != '_' && (c != '.' || before == '.'))
            return false;
        before = c;
    }
    return true;
}

/* The characters of an IPv6 address; whether it is one is the business of whoever dials it. */
static bool is_ipv6_text(struct adit_view name)
{
    if (name.len < 2 || name.len > 45)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isxdigit((unsigned char)name.ptr[i]) && name.ptr[i] != ':' && name.ptr[i] != '.')
            return false;
    return true;
}

static int parse_port(struct adit_view text, uint16_t *port)
{
    uint64_t n;
    if (adit_view_u64(text, UINT16_MAX, &n) != ADIT_OK || n == 0)
        return ADIT_ERR_BAD_INPUT;
    *port = (uint16_t)n;
    return ADIT_OK;
}

static int split_bracketed(struct adit_view host, struct adit_view *name, uint16_t *port)
{
    struct adit_view rest;
    if (!adit_view_split(skip(host, 1), ']', name, &rest) || !is_ipv6_text(*name))
        return ADIT_ERR_BAD_INPUT;
    if (rest.len == 0)
        return ADIT_OK;
    return rest.ptr[0] == ':' ? parse_port(skip(rest, 1), port) : ADIT_ERR_BAD_INPUT;
}

int url_split_host(struct adit_view host, struct adit_view *name, uint16_t *port)
{
    struct adit_view digits;
    *port = 0;
    if (host.len > 0 && host.ptr[0] == '[')
        return split_bracketed(host, name, port);
    bool has_port = adit_view_split(host, ':', name, &digits);
    if (!is_host_name(*name))
        return ADIT_ERR_BAD_INPUT;
    if (name->ptr[name->len - 1] == '.')
        name->len--;
    return has_port ? parse_port(digits, port) : ADIT_OK;
}
