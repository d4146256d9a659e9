/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name in the first bytes of a connection.
 *
 * Theory of operation
 *
 * What: the kind shows in the first bytes. TLS (RFC 8446 4.1.2, 5.1): records are skipped as they
 * become whole, until they hold the ClientHello; then it is put together once and read. HTTP/1: the
 * head is checked by http_guard as it grows, then parsed by http_msg once.
 * Limits: EGRESS_PEEK_MAX. Each byte is looked at once while it drips in, and once at the end.
 * Trust: all of it is the guest's, who wants to be taken for a client of one host and be another's.
 * So what two readers could read in two ways is broken: two names, Host and target that differ, a
 * message behind the ClientHello in its record, bytes left over.
 * What it cannot see: the name inside of an encrypted ClientHello (the outer one counts), that of a
 * second ClientHello after a retry, and Host headers inside of TLS. A server that serves names of
 * others at an address that is allowed by a domain can be reached so.
 */
#include "broker/egress/egress_peek.h"

#include "broker/egress/egress_reply.h"
#include "net/ip_block.h"
#include "net/url.h"

#define RECORD_HEAD_LEN 5u
#define RECORD_MAX (16u * 1024)
#define RECORD_HANDSHAKE 22
#define HANDSHAKE_HEAD_LEN 4u
#define HANDSHAKE_CLIENT_HELLO 1
#define RANDOM_LEN 32u
#define SESSION_ID_MAX 32u
#define EXTENSION_SERVER_NAME 0
#define NAME_TYPE_HOST 0
/* "GET " and the like: what has no space so far in is no request line. */
#define METHOD_MAX 32u

static const struct adit_view http2_preface = ADIT_VIEW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/* Reads from the front; what is missing breaks it for good. */
struct cursor {
    const unsigned char *at;
    size_t left;
    bool is_broken;
};

static struct cursor take(struct cursor *c, size_t len)
{
    struct cursor part = {c->at, len, false};
    if (c->is_broken || len > c->left) {
        c->is_broken = true;
        c->left = 0;
        return (struct cursor){NULL, 0, true};
    }
    c->at += len;
    c->left -= len;
    return part;
}

/* A big-endian number of @len bytes. */
static size_t take_number(struct cursor *c, size_t len)
{
    struct cursor part = take(c, len);
    size_t n = 0;
    for (size_t i = 0; i < part.left; i++)
        n = n << 8 | part.at[i];
    return n;
}

/* What stands behind its own length of @len_len bytes. */
static struct cursor take_vector(struct cursor *c, size_t len_len)
{
    return take(c, take_number(c, len_len));
}

static bool is_over(const struct cursor *c)
{
    return !c->is_broken && c->left == 0;
}

static enum egress_peek_result finish(struct egress_peek *p, enum egress_peek_result result)
{
    p->result = result;
    return result;
}

static enum egress_peek_result set_name(struct egress_peek *p, struct adit_view name)
{
    struct ip_addr addr;
    if (ip_addr_parse(name, &addr))
        return finish(p, EGRESS_PEEK_NAMELESS);
    if (!egress_reply_is_name(name))
        return finish(p, EGRESS_PEEK_BROKEN);
    adit_view_lower(name, p->name);
    p->name_len = name.len;
    return finish(p, EGRESS_PEEK_NAMED);
}

/* ---- TLS ---- */

/* RFC 6066 3: one name, of the one type that there is. */
static bool read_server_name(struct cursor extension, struct adit_view *name)
{
    struct cursor list = take_vector(&extension, 2);
    size_t type = take_number(&list, 1);
    struct cursor host = take_vector(&list, 2);
    *name = adit_view_mem(host.at, host.left);
    return is_over(&extension) && is_over(&list) && type == NAME_TYPE_HOST && host.left > 0;
}

/* *name.ptr stays NULL where there is none. */
static bool read_extensions(struct cursor all, struct adit_view *name)
{
    while (all.left > 0) {
        size_t type = take_number(&all, 2);
        struct cursor extension = take_vector(&all, 2);
        if (all.is_broken)
            return false;
        if (type == EXTENSION_SERVER_NAME && (name->ptr || !read_server_name(extension, name)))
            return false;
    }
    return true;
}

static enum egress_peek_result read_hello(struct egress_peek *p, struct cursor hello)
{
    struct adit_view name = {NULL, 0};
    (void)take(&hello, 2 + RANDOM_LEN); /* a version that says nothing any more */
    size_t session_id = take_vector(&hello, 1).left;
    size_t suites = take_vector(&hello, 2).left;
    size_t compressions = take_vector(&hello, 1).left;
    if (hello.is_broken || session_id > SESSION_ID_MAX || suites < 2 || suites % 2 != 0 ||
        compressions == 0)
        return finish(p, EGRESS_PEEK_BROKEN);
    if (hello.left == 0)
        return finish(p, EGRESS_PEEK_NAMELESS);
    struct cursor extensions = take_vector(&hello, 2);
    if (!is_over(&hello) || !read_extensions(extensions, &name))
        return finish(p, EGRESS_PEEK_BROKEN);
    return name.ptr ? set_name(p, name) : finish(p, EGRESS_PEEK_NAMELESS);
}

/* All records up to @end are whole: put the message together and read it. */
static enum egress_peek_result read_message(struct egress_peek *p, struct adit_view gathered,
                                            size_t end)
{
    unsigned char message[EGRESS_PEEK_MAX];
    size_t len = 0;
    struct cursor in = {(const unsigned char *)gathered.ptr, end, false};
    while (in.left > 0) {
        (void)take(&in, RECORD_HEAD_LEN - 2);
        struct cursor part = take_vector(&in, 2);
        if (part.left > 0) /* as it was when it was taken */
            memcpy(message + len, part.at, part.left);
        len += part.left;
    }
    struct cursor whole = {message, len, false};
    (void)take(&whole, 1); /* its type: looked at before */
    struct cursor hello = take_vector(&whole, 3);
    return is_over(&whole) ? read_hello(p, hello) : finish(p, EGRESS_PEEK_BROKEN);
}

/* The first bytes of the message lie in the first record, or in several. Return: byte @i of it. */
static unsigned message_byte(struct adit_view gathered, size_t i)
{
    const unsigned char *at = (const unsigned char *)gathered.ptr;
    for (;;) {
        size_t len = (size_t)at[3] << 8 | at[4];
        if (i < len)
            return at[RECORD_HEAD_LEN + i];
        i -= len;
        at += RECORD_HEAD_LEN + len;
    }
}

static size_t message_len(struct adit_view gathered)
{
    return HANDSHAKE_HEAD_LEN + ((size_t)message_byte(gathered, 1) << 16 |
                                 (size_t)message_byte(gathered, 2) << 8 |
                                 message_byte(gathered, 3));
}

/* The record at @record_at is whole. */
static enum egress_peek_result take_record(struct egress_peek *p, struct adit_view gathered,
                                           size_t len)
{
    p->record_at += RECORD_HEAD_LEN + len;
    p->hello_len += len;
    if (message_byte(gathered, 0) != HANDSHAKE_CLIENT_HELLO)
        return finish(p, EGRESS_PEEK_BROKEN);
    if (p->hello_len < HANDSHAKE_HEAD_LEN)
        return EGRESS_PEEK_MORE;
    size_t wanted = message_len(gathered);
    if (wanted > EGRESS_PEEK_MAX)
        return finish(p, EGRESS_PEEK_BROKEN);
    if (p->hello_len < wanted)
        return EGRESS_PEEK_MORE;
    return read_message(p, gathered, p->record_at);
}

static enum egress_peek_result feed_tls(struct egress_peek *p, struct adit_view gathered)
{
    while (p->result == EGRESS_PEEK_MORE && gathered.len - p->record_at >= RECORD_HEAD_LEN) {
        const unsigned char *at = (const unsigned char *)gathered.ptr + p->record_at;
        size_t len = (size_t)at[3] << 8 | at[4];
        if (at[0] != RECORD_HANDSHAKE || at[1] != 3 || len == 0 || len > RECORD_MAX)
            return finish(p, EGRESS_PEEK_BROKEN);
        if (gathered.len - p->record_at - RECORD_HEAD_LEN < len)
            return EGRESS_PEEK_MORE;
        (void)take_record(p, gathered, len); /* it is in @result */
    }
    return p->result;
}

/* ---- HTTP/1 ---- */

static enum egress_peek_result split_name(struct adit_view host, struct adit_view *name)
{
    struct ip_addr addr;
    uint16_t port;
    if (url_split_host(host, name, &port) != ADIT_OK)
        return EGRESS_PEEK_BROKEN;
    return ip_addr_parse(*name, &addr) ? EGRESS_PEEK_NAMELESS : EGRESS_PEEK_NAMED;
}

static bool is_same(struct adit_view a, struct adit_view b)
{
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

enum egress_peek_result egress_peek_host(const struct http_head *h, struct adit_view *name)
{
    struct url_target target;
    struct adit_view host = http_head_get(h, "host"), other;
    *name = adit_view_mem(NULL, 0);
    if (url_split_target(h->target, &target, NULL) != ADIT_OK)
        return EGRESS_PEEK_BROKEN;
    if (!host.ptr && target.authority.len == 0)
        return EGRESS_PEEK_NAMELESS;
    if (!host.ptr)
        return split_name(target.authority, name);
    enum egress_peek_result result = split_name(host, name);
    if (target.authority.len > 0 && result != EGRESS_PEEK_BROKEN &&
        (split_name(target.authority, &other) != result || !is_same(*name, other)))
        return EGRESS_PEEK_BROKEN;
    return result;
}

static enum egress_peek_result read_head(struct egress_peek *p, struct adit_view bytes)
{
    struct http_head head;
    struct adit_view body, name;
    enum http_event event;
    enum egress_peek_result result = EGRESS_PEEK_BROKEN;
    struct http_parser *parser = http_parser_new(HTTP_REQUEST);
    if (parser && http_parser_next(parser, &bytes, &head, &body, &event, NULL) == ADIT_OK &&
        event == HTTP_EV_HEAD)
        result = egress_peek_host(&head, &name);
    result = result == EGRESS_PEEK_NAMED ? set_name(p, name) : finish(p, result);
    http_parser_free(parser);
    return result;
}

static bool begins_as_request(struct adit_view gathered)
{
    const char *space = memchr(gathered.ptr, ' ', gathered.len);
    struct adit_view method = {gathered.ptr, space ? (size_t)(space - gathered.ptr) : gathered.len};
    return method.len <= METHOD_MAX && http_guard_is_token(method);
}

static enum egress_peek_result feed_http(struct egress_peek *p, struct adit_view gathered)
{
    size_t head_len;
    int rc = http_guard_feed(&p->guard, HTTP_REQUEST, gathered, &head_len, NULL);
    if (rc != ADIT_OK && p->guard.line_start == 0) {
        p->kind = EGRESS_PEEK_OTHER; /* not even its first line is one */
        return finish(p, EGRESS_PEEK_NAMELESS);
    }
    if (rc != ADIT_OK)
        return finish(p, EGRESS_PEEK_BROKEN);
    return head_len ? read_head(p, adit_view_mem(gathered.ptr, head_len)) : EGRESS_PEEK_MORE;
}

/* ---- the kind ---- */

static bool may_be_http2(struct adit_view gathered)
{
    size_t len = gathered.len < http2_preface.len ? gathered.len : http2_preface.len;
    return memcmp(gathered.ptr, http2_preface.ptr, len) == 0;
}

static enum egress_peek_kind kind_of(struct adit_view gathered)
{
    if ((unsigned char)gathered.ptr[0] == RECORD_HANDSHAKE)
        return EGRESS_PEEK_TLS;
    if (may_be_http2(gathered))
        return gathered.len < http2_preface.len ? EGRESS_PEEK_UNKNOWN : EGRESS_PEEK_HTTP2;
    if (!begins_as_request(gathered))
        return EGRESS_PEEK_OTHER;
    return memchr(gathered.ptr, ' ', gathered.len) ? EGRESS_PEEK_HTTP : EGRESS_PEEK_UNKNOWN;
}

void egress_peek_init(struct egress_peek *p)
{
    memset(p, 0, sizeof(*p));
    http_guard_init(&p->guard);
}

enum egress_peek_result egress_peek_feed(struct egress_peek *p, struct adit_view gathered)
{
    bool is_full = gathered.len >= EGRESS_PEEK_MAX;
    gathered.len = is_full ? EGRESS_PEEK_MAX : gathered.len;
    if (p->result != EGRESS_PEEK_MORE || gathered.len == 0)
        return p->result;
    if (p->kind == EGRESS_PEEK_UNKNOWN)
        p->kind = kind_of(gathered);
    if (p->kind == EGRESS_PEEK_TLS)
        (void)feed_tls(p, gathered); /* it is in @result */
    else if (p->kind == EGRESS_PEEK_HTTP)
        (void)feed_http(p, gathered); /* as above */
    else if (p->kind != EGRESS_PEEK_UNKNOWN)
        return finish(p, EGRESS_PEEK_NAMELESS);
    if (p->result == EGRESS_PEEK_MORE && is_full)
        return finish(p, EGRESS_PEEK_BROKEN);
    return p->result;
}
