/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field section of an HTTP/2 request as an HTTP/1.1 head, without I/O (RFC 9113 8.2, 8.3).
 *
 * Theory of operation
 *
 * Fields are added in the order in which they come. Out of them an HTTP/1.1 head is written, with
 * the checks of http_write, and read back by http_msg's own parser: so a request over HTTP/2 is
 * held to the very rules of one over HTTP/1 (docs/wire/http.md), and what is passed on to a guest
 * has been parsed from text before. Here are only the rules that HTTP/2 has besides:
 *
 *   pseudo-header fields known, once each, before all others; method, scheme (http or https) and
 *   path there, the path beginning with '/' (or "*" for OPTIONS)
 *   no upper case in names; no space or tab at the ends of values
 *   no field of one connection; te says "trailers" and nothing else
 *   Host and :authority the same text, one of them there; not empty
 *   a body when Content-Length says so
 *   CONNECT only for a WebSocket (RFC 8441): it becomes GET with Upgrade
 *
 * Cookie fields are joined. A body without Content-Length becomes a chunked one.
 *
 * Trust: all input is hostile. Limits: HTTP_HEADERS_MAX fields, HTTP_HEAD_CAP bytes by the count of
 * SETTINGS_MAX_HEADER_LIST_SIZE (32 more for each field), HTTP_LINE_CAP a line. The first error is
 * kept; what comes behind it costs nothing.
 */
#ifndef ADIT_NET_HTTP2_FIELDS_H
#define ADIT_NET_HTTP2_FIELDS_H

#include "net/http_msg.h"

/* The room that a field's two lengths take in the count (RFC 9113 6.5.2). */
#define HTTP2_FIELD_OVERHEAD 32
#define HTTP2_WEBSOCKET_KEY_CAP 25

enum http2_pseudo {
    HTTP2_METHOD,
    HTTP2_SCHEME,
    HTTP2_AUTHORITY,
    HTTP2_PATH,
    HTTP2_PROTOCOL,
    HTTP2_PSEUDO_CNT,
};

/*
 * One field section on its way. Embedded by its owner.
 *
 * @pseudo:  where each pseudo-header field's value is in @text; len is meaningful if is_set
 * @head:    the HTTP/1.1 head, begun with the first field that is not a pseudo-header field
 * @cookie:  Cookie fields, joined
 * @key:     the Sec-WebSocket-Key for the guest, made by the owner; HTTP/2 has none
 */
struct http2_fields {
    struct {
        bool is_set;
        size_t at, len;
    } pseudo[HTTP2_PSEUDO_CNT];
    struct adit_buf text, head, cookie;
    struct http_parser *parser;
    struct adit_view key;
    size_t cnt, size;
    bool is_begun, has_host, has_length;
    unsigned status;
    struct adit_err err;
};

ADIT_MUST_CHECK int http2_fields_init(struct http2_fields *f, struct adit_err *err);
void http2_fields_fini(struct http2_fields *f);
/* Forget the section before. @key: base64 text, borrowed until the head was read. */
void http2_fields_begin(struct http2_fields *f, struct adit_view key);
void http2_fields_add(struct http2_fields *f, struct adit_view name, struct adit_view value);
/*
 * All fields came; @is_end: no body follows. @head is valid until the next http2_fields_begin().
 * Errors: BAD_INPUT, LIMIT, UNIMPLEMENTED, NO_MEMORY; http2_fields_status() names the answer.
 */
ADIT_MUST_CHECK int http2_fields_head(struct http2_fields *f, bool is_end, struct http_head *head,
                                      struct adit_err *err);
/* Does the section ask for a head alone? Also after an error. */
bool http2_fields_is_head(const struct http2_fields *f);
/* 400, 431, 501 or 500, after an error. */
unsigned http2_fields_status(const struct http2_fields *f);

#endif
