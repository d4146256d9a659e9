/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a head means: look-up, hop-by-hop fields, and the rules of docs/wire/http.md.
 *
 * Theory of operation
 *
 * What:    works on a head that http_guard let pass and llhttp split. http_head_check() goes over
 * the fields once, refuses every head whose body or target could be read in two ways, and sets the
 * members that say how the message is framed. Cost:    linear. HTTP_CONNECTION_CAP bounds what
 * http_head_is_hop() has to look through for a name. Trust:   names and values are a peer's, with
 * no control characters in them. Failure: BAD_INPUT, LIMIT (Connection), UNIMPLEMENTED (a transfer
 * coding).
 */
#include "net/http_head_int.h"

#include <strings.h>

/* Most names differ in length or first letter; @len is not 0. */
static inline bool name_is(struct adit_view name, const char *s, size_t len)
{
    return name.len == len && (name.ptr[0] | 0x20) == (s[0] | 0x20) &&
           strncasecmp(name.ptr, s, len) == 0;
}
#define NAME_IS(name, literal) name_is(name, literal, sizeof(literal) - 1)

struct adit_view http_head_get(const struct http_head *h, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < h->header_cnt; i++)
        if (name_is(h->headers[i].name, name, len))
            return h->headers[i].value;
    return adit_view_mem(NULL, 0);
}

size_t http_head_count(const struct http_head *h, const char *name)
{
    size_t len = strlen(name), cnt = 0;
    for (size_t i = 0; i < h->header_cnt; i++)
        cnt += name_is(h->headers[i].name, name, len);
    return cnt;
}

/* The next item of a comma list, trimmed. Return: false when it was the last. */
static bool next_item(struct adit_view *list, struct adit_view *item)
{
    bool more = adit_view_split(*list, ',', item, list);
    *item = adit_view_trim(*item);
    return more;
}

static bool is_named_by(struct adit_view connection, struct adit_view name)
{
    struct adit_view item;
    bool more;
    do {
        more = next_item(&connection, &item);
        if (name_is(item, name.ptr, name.len))
            return true;
    } while (more);
    return false;
}

static bool is_named_hop(const struct http_head *h, struct adit_view name)
{
    for (size_t i = 0; i < h->header_cnt; i++)
        if (NAME_IS(h->headers[i].name, "connection") && is_named_by(h->headers[i].value, name))
            return true;
    return false;
}

static bool is_fixed_hop(struct adit_view name)
{
    switch (name.len) {
    case 2:
        return NAME_IS(name, "te");
    case 4:
        return NAME_IS(name, "host");
    case 6:
        return NAME_IS(name, "expect");
    case 7:
        return NAME_IS(name, "upgrade") || NAME_IS(name, "trailer");
    case 10:
        return NAME_IS(name, "connection") || NAME_IS(name, "keep-alive");
    case 14:
        return NAME_IS(name, "content-length");
    case 16:
        return NAME_IS(name, "proxy-connection");
    case 17:
        return NAME_IS(name, "transfer-encoding");
    default:
        return false;
    }
}

bool http_head_is_hop(const struct http_head *h, struct adit_view name)
{
    return name.len > 0 && (is_fixed_hop(name) || (h->has_named_hops && is_named_hop(h, name)));
}

bool http_head_has_body(const struct http_head *h, enum http_method request_method)
{
    if (h->kind == HTTP_RESPONSE) {
        if (request_method == HTTP_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
            return false;
        if (!h->chunked && !h->has_content_length)
            return true; /* the close ends it */
    }
    return h->chunked || h->content_length > 0;
}

/* ---- header rules: docs/wire/http.md ---- */

/* What the rules need to know beyond the head itself. */
struct facts {
    unsigned host_cnt, coding_cnt;
    size_t connection_len;
    bool has_upgrade, connection_upgrade, connection_close, connection_keep_alive;
};

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

static int take_length(struct http_head *h, struct adit_view value, struct adit_err *err)
{
    if (h->has_content_length)
        return bad(err, "Content-Length more than once");
    if (adit_view_u64(value, INT64_MAX, &h->content_length) != ADIT_OK)
        return bad(err, "malformed Content-Length");
    h->has_content_length = true;
    return ADIT_OK;
}

static int take_coding(struct http_head *h, struct facts *f, struct adit_view value,
                       struct adit_err *err)
{
    if (f->coding_cnt++ > 0)
        return bad(err, "Transfer-Encoding more than once");
    if (h->minor == 0)
        return bad(err, "Transfer-Encoding in HTTP/1.0");
    if (!NAME_IS(value, "chunked"))
        return adit_err_set(err, ADIT_ERR_UNIMPLEMENTED, "transfer coding not supported");
    h->chunked = true;
    return ADIT_OK;
}

static void take_connection_item(struct http_head *h, struct facts *f, struct adit_view item)
{
    if (NAME_IS(item, "keep-alive"))
        f->connection_keep_alive = true;
    else if (NAME_IS(item, "close"))
        f->connection_close = true;
    else if (NAME_IS(item, "upgrade"))
        f->connection_upgrade = true;
    else
        h->has_named_hops = true;
}

static int take_connection(struct http_head *h, struct facts *f, struct adit_view value,
                           struct adit_err *err)
{
    struct adit_view item;
    bool more;
    f->connection_len += value.len;
    if (f->connection_len > HTTP_CONNECTION_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "Connection longer than %d bytes",
                            HTTP_CONNECTION_CAP);
    do {
        more = next_item(&value, &item);
        take_connection_item(h, f, item);
    } while (more);
    return ADIT_OK;
}

/* RFC 9110 10.1.1: a 1.0 client's Expect is ignored. */
static int take_expect(struct http_head *h, struct adit_view value, struct adit_err *err)
{
    if (h->kind == HTTP_RESPONSE || h->minor == 0)
        return ADIT_OK;
    if (!NAME_IS(value, "100-continue"))
        return bad(err, "unknown expectation");
    h->expect_continue = true;
    return ADIT_OK;
}

static const struct adit_view h2c = ADIT_VIEW("h2c");

/* The length decides first: most fields of a request are none of these. */
static int take_header(struct http_head *h, struct facts *f, const struct http_header *x,
                       struct adit_err *err)
{
    switch (x->name.len) {
    case 4:
        f->host_cnt += NAME_IS(x->name, "host");
        return ADIT_OK;
    case 6:
        return NAME_IS(x->name, "expect") ? take_expect(h, x->value, err) : ADIT_OK;
    case 7:
        /* RFC 9113 3.1: an upgrade to h2c is no longer one, and nobody behind us is to make it. */
        f->has_upgrade |= NAME_IS(x->name, "upgrade") && !is_named_by(x->value, h2c);
        return ADIT_OK;
    case 10:
        return NAME_IS(x->name, "connection") ? take_connection(h, f, x->value, err) : ADIT_OK;
    case 14:
        return NAME_IS(x->name, "content-length") ? take_length(h, x->value, err) : ADIT_OK;
    case 17:
        return NAME_IS(x->name, "transfer-encoding") ? take_coding(h, f, x->value, err) : ADIT_OK;
    default:
        return ADIT_OK;
    }
}

static int check_request(struct http_head *h, const struct facts *f, struct adit_err *err)
{
    if (f->host_cnt > 1)
        return bad(err, "Host more than once");
    if (f->host_cnt == 0 && h->minor == 1)
        return bad(err, "Host is missing");
    h->upgrade = h->minor == 1 && f->has_upgrade && f->connection_upgrade;
    if (h->upgrade && http_head_has_body(h, HTTP_OTHER))
        return bad(err, "Upgrade with a body");
    return ADIT_OK;
}

int http_head_check(struct http_head *h, struct adit_err *err)
{
    struct facts f = {0};
    for (size_t i = 0; i < h->header_cnt; i++) {
        int rc = take_header(h, &f, &h->headers[i], err);
        if (rc != ADIT_OK)
            return rc;
    }
    if (h->chunked && h->has_content_length)
        return bad(err, "Content-Length with Transfer-Encoding");
    h->keep_alive = !f.connection_close && (h->minor == 1 || f.connection_keep_alive);
    if (h->kind == HTTP_REQUEST)
        return check_request(h, &f, err);
    h->upgrade = h->status == 101;
    return ADIT_OK;
}
