/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 message parsing without I/O (RFC 9112): bytes in, events out.
 *
 * Theory of operation
 *
 * A parser pulls events out of the bytes it is given. A head is first checked raw by http_guard,
 * then split by llhttp (built in strict mode), then checked again by the header rules of
 * docs/wire/http.md: exactly one Host in a 1.1 request; Transfer-Encoding only "chunked", once,
 * only in 1.1, never together with Content-Length; Content-Length once and canonical; no fragment,
 * control or non-ASCII byte in the target; Upgrade only without a body; HTTP/1.0 or 1.1 only. A
 * head that arrives in pieces is gathered in the parser (up to HTTP_HEAD_CAP); a whole one is
 * parsed where it lies. Body bytes are never copied: body events point into the input.
 *
 * Events of a message: HEAD, BODY…, END. After a request's END the parser is ready for the next
 * message of the connection. After a HEAD with @upgrade accepted (101 sent or received) the owner
 * stops using the parser and treats what is left of the input as raw bytes. Any error is final:
 * the connection must be closed after the answer.
 *
 * Trust: all input is hostile. Chunk extensions are ignored and counted: more than
 * HTTP_CHUNK_OVERHEAD_CAP bytes of chunk framing beyond 16 a chunk… end the message with
 * ADIT_ERR_LIMIT. Trailers are checked and dropped.
 */
#ifndef ADIT_NET_HTTP_MSG_H
#define ADIT_NET_HTTP_MSG_H

#include "base/buf.h"

#define HTTP_HEAD_CAP (64u * 1024)
#define HTTP_LINE_CAP (16u * 1024)
#define HTTP_HEADERS_MAX 128
/* All Connection values of a head in sum: bounds the work of http_head_is_hop. */
#define HTTP_CONNECTION_CAP 1024
#define HTTP_CHUNK_OVERHEAD_CAP (100u * 1024)

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER, /* any other method llhttp knows; its text is in the head. CONNECT is refused */
};

struct http_header {
    struct adit_view name, value; /* value trimmed */
};

/*
 * One parsed head. Views point into the input or the parser and are valid until the next call on
 * the parser.
 *
 * @method_text, @target: requests. @status: responses.
 * @minor:          0 or 1
 * @content_length: valid if @has_content_length
 * @keep_alive:     the sender's side of persistence, from version and Connection
 * @upgrade:        Connection: upgrade and an Upgrade header are present (requests), or status 101
 * @expect_continue: Expect: 100-continue (any other Expect is refused with ADIT_ERR_BAD_INPUT)
 * @has_named_hops: Connection names more than close, keep-alive and upgrade
 */
struct http_head {
    enum http_kind kind;
    enum http_method method;
    struct adit_view method_text, target;
    unsigned status;
    unsigned minor;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_cnt;
    uint64_t content_length;
    bool has_content_length, chunked, keep_alive, upgrade, expect_continue, has_named_hops;
};

/* The first header of that name, value trimmed; an empty view with NULL ptr when there is none. */
struct adit_view http_head_get(const struct http_head *h, const char *name);
/* Number of headers of that name. */
size_t http_head_count(const struct http_head *h, const char *name);
/* True for the headers that concern one hop only (RFC 9110 7.6.1): Connection and what it names,
 * Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade; also Content-Length,
 * Host and Expect, which are written anew. */
bool http_head_is_hop(const struct http_head *h, struct adit_view name);
/* Does a body follow this head? For a response, @request_method is that of its request. */
bool http_head_has_body(const struct http_head *h, enum http_method request_method);

enum http_event {
    HTTP_EV_MORE, /* all input used, give more */
    HTTP_EV_HEAD,
    HTTP_EV_BODY,
    HTTP_EV_END,
};

struct http_parser; /* opaque; one per connection and direction */

/* Return: NULL without memory. */
struct http_parser *http_parser_new(enum http_kind kind);
void http_parser_free(struct http_parser *p);
/* As new: whatever came before is forgotten. */
void http_parser_reset(struct http_parser *p);
/* Responses: tell the method of the request before its reply arrives (HEAD has no body). */
void http_parser_set_request_method(struct http_parser *p, enum http_method method);
/* True when no byte of a next message has been taken in. */
bool http_parser_is_idle(const struct http_parser *p);

/*
 * Take bytes from the front of @in and yield one event; call again until it is HTTP_EV_MORE, also
 * with an empty @in (END needs no byte). Behind a message that ends the connection (keep_alive
 * false, 101) all input is dropped and never parsed. @head is filled for HTTP_EV_HEAD, @body for
 * HTTP_EV_BODY (never empty). Interim 1xx replies yield HEAD then END.
 * Errors: ADIT_ERR_BAD_INPUT (400), ADIT_ERR_LIMIT (431 for heads, 400 in a body),
 * ADIT_ERR_UNIMPLEMENTED (501: unknown transfer coding; 505 for the version: message says which),
 * ADIT_ERR_NO_MEMORY.
 */
ADIT_MUST_CHECK int http_parser_next(struct http_parser *p, struct adit_view *in,
                                     struct http_head *head, struct adit_view *body,
                                     enum http_event *event, struct adit_err *err);
/* The peer closed: ends a body that is delimited by the close. *event is END or MORE (no message
 * was open). Errors: ADIT_ERR_CLOSED in the middle of a message. */
ADIT_MUST_CHECK int http_parser_eof(struct http_parser *p, enum http_event *event,
                                    struct adit_err *err);

/* The status that answers a parser error: 400, 431, 501, 503, 505 or 500. */
unsigned http_parser_error_status(const struct http_parser *p);

#endif
