/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field section of an HTTP/2 request as an HTTP/1.1 head.
 *
 * Theory of operation
 *
 * What: http2_fields.h says the rules. The pseudo-header fields come first, in any order, so their
 * values are kept in @text; with the first other field the request line and Host are written, and
 * from then on each field is a line.
 *
 * Failure: fail() keeps the first error and its status; add does nothing afterwards.
 */
#include "net/http2_fields.h"

#include <string.h>

#include "net/http_write.h"

/* What we write ourselves: Host, framing, the lines of an Upgrade. */
#define HEAD_EXTRA 1024u

static const char *const pseudo_names[HTTP2_PSEUDO_CNT] = {
    [HTTP2_METHOD] = ":method", [HTTP2_SCHEME] = ":scheme",     [HTTP2_AUTHORITY] = ":authority",
    [HTTP2_PATH] = ":path",     [HTTP2_PROTOCOL] = ":protocol",
};

int http2_fields_init(struct http2_fields *f, struct adit_err *err)
{
    *f = (struct http2_fields){.parser = http_parser_new(HTTP_REQUEST)};
    if (!f->parser)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "field section");
    adit_buf_init(&f->text, HTTP_HEAD_CAP);
    adit_buf_init(&f->head, HTTP_HEAD_CAP + HEAD_EXTRA);
    adit_buf_init(&f->cookie, HTTP_HEAD_CAP);
    return ADIT_OK;
}

void http2_fields_fini(struct http2_fields *f)
{
    http_parser_free(f->parser);
    adit_buf_fini(&f->text);
    adit_buf_fini(&f->head);
    adit_buf_fini(&f->cookie);
}

/* Consuming gives large storage back, so that an idle connection holds none. */
static void empty(struct adit_buf *b)
{
    adit_buf_consume(b, b->len);
}

void http2_fields_begin(struct http2_fields *f, struct adit_view key)
{
    memset(f->pseudo, 0, sizeof(f->pseudo));
    empty(&f->text);
    empty(&f->head);
    empty(&f->cookie);
    http_parser_reset(f->parser);
    f->key = key;
    f->cnt = f->size = 0;
    f->is_begun = f->has_host = f->has_length = false;
    f->status = 0;
    f->err = (struct adit_err)ADIT_ERR_INIT;
}

unsigned http2_fields_status(const struct http2_fields *f)
{
    return f->status;
}

static unsigned status_of(int code)
{
    switch (code) {
    case ADIT_ERR_BAD_INPUT:
        return 400;
    case ADIT_ERR_LIMIT:
        return 431;
    case ADIT_ERR_UNIMPLEMENTED:
        return 501;
    default:
        return 500;
    }
}

static int fail(struct http2_fields *f, int code, const char *message)
{
    if (f->status != 0)
        return f->err.code;
    f->status = status_of(code);
    return adit_err_set(&f->err, code, "%s", message);
}

static int bad(struct http2_fields *f, const char *message)
{
    return fail(f, ADIT_ERR_BAD_INPUT, message);
}

/* What a writing function said. */
static int written(struct http2_fields *f, int rc)
{
    switch (rc) {
    case ADIT_OK:
        return ADIT_OK;
    case ADIT_ERR_BAD_INPUT:
        return bad(f, "malformed field");
    case ADIT_ERR_LIMIT:
        return fail(f, rc, "fields too large");
    default:
        return fail(f, rc, "no memory for a head");
    }
}

/* ---- pseudo-header fields ---- */

static struct adit_view pseudo(const struct http2_fields *f, enum http2_pseudo which)
{
    if (!f->pseudo[which].is_set)
        return adit_view_mem(NULL, 0);
    return adit_view_mem(adit_buf_view(&f->text).ptr + f->pseudo[which].at, f->pseudo[which].len);
}

bool http2_fields_is_head(const struct http2_fields *f)
{
    return adit_view_eq_str(pseudo(f, HTTP2_METHOD), "HEAD");
}

static int add_pseudo(struct http2_fields *f, struct adit_view name, struct adit_view value)
{
    size_t which = 0;

    while (which < HTTP2_PSEUDO_CNT && !adit_view_eq_str(name, pseudo_names[which]))
        which++;
    if (which == HTTP2_PSEUDO_CNT)
        return bad(f, "unknown pseudo-header field");
    if (f->is_begun)
        return bad(f, "pseudo-header field behind another field");
    if (f->pseudo[which].is_set)
        return bad(f, "pseudo-header field more than once");
    if (value.len == 0)
        return bad(f, "empty pseudo-header field");
    f->pseudo[which].at = f->text.len;
    f->pseudo[which].len = value.len;
    int rc = adit_buf_append_view(&f->text, value);
    f->pseudo[which].is_set = rc == ADIT_OK; /* the answer to a failed head looks at them too */
    return written(f, rc);
}

static bool is_websocket(const struct http2_fields *f)
{
    return f->pseudo[HTTP2_PROTOCOL].is_set;
}

static int check_method(struct http2_fields *f, struct adit_view method)
{
    bool is_connect = adit_view_eq_str(method, "CONNECT");

    if (method.len == 0)
        return bad(f, ":method is missing");
    if (!is_websocket(f))
        return is_connect ? fail(f, ADIT_ERR_UNIMPLEMENTED, "CONNECT is not served") : ADIT_OK;
    if (!is_connect)
        return bad(f, ":protocol without CONNECT");
    if (!adit_view_eq_str(pseudo(f, HTTP2_PROTOCOL), "websocket"))
        return fail(f, ADIT_ERR_UNIMPLEMENTED, ":protocol is not served");
    return ADIT_OK;
}

static int check_path(struct http2_fields *f, struct adit_view method, struct adit_view path)
{
    if (path.len > 0 && path.ptr[0] == '/')
        return ADIT_OK;
    if (adit_view_eq_str(path, "*") && adit_view_eq_str(method, "OPTIONS"))
        return ADIT_OK;
    return bad(f, path.len > 0 ? "malformed :path" : ":path is missing");
}

static int check_pseudos(struct http2_fields *f)
{
    struct adit_view method = pseudo(f, HTTP2_METHOD), scheme = pseudo(f, HTTP2_SCHEME);
    int rc = check_method(f, method);

    if (rc == ADIT_OK && !adit_view_eq_str(scheme, "http") && !adit_view_eq_str(scheme, "https"))
        rc = bad(f, "malformed :scheme");
    if (rc == ADIT_OK)
        rc = check_path(f, method, pseudo(f, HTTP2_PATH));
    return rc;
}

/* The request line and, from :authority, Host. */
static int begin_head(struct http2_fields *f)
{
    static const struct adit_view get = ADIT_VIEW("GET");
    struct adit_view authority = pseudo(f, HTTP2_AUTHORITY);
    int rc = check_pseudos(f);

    f->is_begun = true;
    if (rc != ADIT_OK)
        return rc;
    rc = http_write_request_line(&f->head, is_websocket(f) ? get : pseudo(f, HTTP2_METHOD),
                                 pseudo(f, HTTP2_PATH));
    if (rc == ADIT_OK && authority.len > 0)
        rc = http_write_header(&f->head, (struct adit_view)ADIT_VIEW("host"), authority);
    f->has_host = authority.len > 0;
    return written(f, rc);
}

/* ---- other fields ---- */

/* Fields that speak of one connection have no place here (RFC 9113 8.2.2). */
static bool is_connection_field(struct adit_view name)
{
    return adit_view_eq_str(name, "connection") || adit_view_eq_str(name, "keep-alive") ||
           adit_view_eq_str(name, "proxy-connection") || adit_view_eq_str(name, "upgrade") ||
           adit_view_eq_str(name, "transfer-encoding");
}

static bool has_upper_case(struct adit_view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
            return true;
    return false;
}

static int check_field(struct http2_fields *f, struct adit_view name, struct adit_view value)
{
    if (has_upper_case(name))
        return bad(f, "upper case in a field name");
    if (is_connection_field(name))
        return bad(f, "field of one connection");
    if (adit_view_eq_str(name, "te") && !adit_view_eq_str(value, "trailers"))
        return bad(f, "te is not trailers");
    if (adit_view_trim(value).len != value.len)
        return bad(f, "space around a field value");
    return ADIT_OK;
}

/* RFC 9113 8.2.3: one Cookie line in HTTP/1. */
static int add_cookie(struct http2_fields *f, struct adit_view value)
{
    int rc = f->cookie.len > 0 ? adit_buf_append_str(&f->cookie, "; ") : ADIT_OK;

    return written(f, rc == ADIT_OK ? adit_buf_append_view(&f->cookie, value) : rc);
}

static int add_host(struct http2_fields *f, struct adit_view value)
{
    struct adit_view authority = pseudo(f, HTTP2_AUTHORITY);

    if (authority.len > 0)
        return adit_view_eq(value, authority) ? ADIT_OK : bad(f, ":authority and Host differ");
    if (f->has_host || value.len == 0)
        return bad(f, f->has_host ? "Host more than once" : "empty Host");
    f->has_host = true;
    return written(f, http_write_header(&f->head, (struct adit_view)ADIT_VIEW("host"), value));
}

static int add_field(struct http2_fields *f, struct adit_view name, struct adit_view value)
{
    int rc = f->is_begun ? ADIT_OK : begin_head(f);

    if (rc == ADIT_OK)
        rc = check_field(f, name, value);
    if (rc != ADIT_OK)
        return rc;
    if (adit_view_eq_str(name, "host"))
        return add_host(f, value);
    if (adit_view_eq_str(name, "cookie"))
        return add_cookie(f, value);
    if (is_websocket(f) && adit_view_eq_str(name, "sec-websocket-key"))
        return ADIT_OK; /* ours counts */
    if (adit_view_eq_str(name, "content-length"))
        f->has_length = true;
    return written(f, http_write_header(&f->head, name, value));
}

void http2_fields_add(struct http2_fields *f, struct adit_view name, struct adit_view value)
{
    if (f->status != 0)
        return;
    f->size += name.len + value.len + HTTP2_FIELD_OVERHEAD;
    if (++f->cnt > HTTP_HEADERS_MAX || f->size > HTTP_HEAD_CAP)
        (void)fail(f, ADIT_ERR_LIMIT, "too many or too large fields"); /* kept */
    else if (name.len > 0 && name.ptr[0] == ':')
        (void)add_pseudo(f, name, value); /* kept */
    else
        (void)add_field(f, name, value); /* kept */
}

/* ---- the whole head ---- */

static int write_upgrade(struct http2_fields *f)
{
    int rc = http_write_header_str(&f->head, "connection", "Upgrade");

    if (rc == ADIT_OK)
        rc = http_write_header_str(&f->head, "upgrade", "websocket");
    if (rc == ADIT_OK)
        rc = http_write_header(&f->head, (struct adit_view)ADIT_VIEW("sec-websocket-key"), f->key);
    return rc;
}

static int end_head(struct http2_fields *f, bool is_end)
{
    int rc = f->is_begun ? f->err.code : begin_head(f);

    if (rc != ADIT_OK)
        return rc;
    if (!f->has_host)
        return bad(f, ":authority is missing");
    if (f->cookie.len > 0)
        rc = http_write_header(&f->head, (struct adit_view)ADIT_VIEW("cookie"),
                               adit_buf_view(&f->cookie));
    if (rc == ADIT_OK && is_websocket(f))
        rc = write_upgrade(f);
    else if (rc == ADIT_OK && !is_end && !f->has_length)
        rc = http_write_header_str(&f->head, "transfer-encoding", "chunked");
    if (rc == ADIT_OK)
        rc = http_write_end(&f->head);
    return written(f, rc);
}

static int parse_head(struct http2_fields *f, struct http_head *head)
{
    struct adit_view text = adit_buf_view(&f->head), body;
    enum http_event event;
    int rc = http_parser_next(f->parser, &text, head, &body, &event, &f->err);

    if (rc == ADIT_OK && event != HTTP_EV_HEAD)
        rc = adit_err_set(&f->err, ADIT_ERR_BUG, "a head that does not end");
    if (rc != ADIT_OK)
        f->status = rc == ADIT_ERR_BUG ? 500 : http_parser_error_status(f->parser);
    return rc;
}

int http2_fields_head(struct http2_fields *f, bool is_end, struct http_head *head,
                      struct adit_err *err)
{
    int rc = f->status != 0 ? f->err.code : end_head(f, is_end);

    if (rc == ADIT_OK)
        rc = parse_head(f, head);
    if (rc == ADIT_OK && is_end && head->content_length > 0)
        rc = bad(f, "Content-Length without a body");
    if (rc == ADIT_OK && is_end && head->upgrade)
        rc = bad(f, "CONNECT without a body");
    return rc == ADIT_OK ? rc : adit_err_set(err, rc, "%s", f->err.msg);
}
