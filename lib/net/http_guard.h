/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw check of an HTTP/1 head before any parser sees it; see docs/wire/http.md.
 *
 * Every line ends CRLF; no other CR; no NUL; no line begins with space or tab; a field name is one
 * or more token characters followed at once by ':'; the version is exactly HTTP/1.0 or HTTP/1.1;
 * the start line has exactly the single spaces it needs; head, line and header counts are bounded.
 * Incremental: it remembers how far it came, so a head that drips in byte by byte costs linear
 * work.
 */
#ifndef ADIT_NET_HTTP_GUARD_H
#define ADIT_NET_HTTP_GUARD_H

#include "net/http_msg.h"

struct http_guard {
    size_t scanned, line_start;
    unsigned line_cnt;
};

void http_guard_init(struct http_guard *g);
/* For fields without a start line: trailers, the head of a multipart part. */
void http_guard_init_fields(struct http_guard *g);

/*
 * Look at the head gathered so far (@bytes grows from call to call, its beginning unchanged).
 * *head_len becomes the length of the whole head with its empty line, or 0 when more is needed.
 * Errors: ADIT_ERR_BAD_INPUT, ADIT_ERR_LIMIT, ADIT_ERR_UNIMPLEMENTED (version).
 */
ADIT_MUST_CHECK int http_guard_feed(struct http_guard *g, enum http_kind kind,
                                    struct adit_view bytes, size_t *head_len, struct adit_err *err);

/* Is @name a token (RFC 9110 5.6.2), and has @value no control character but tab? For heads that we
 * write. */
bool http_guard_is_token(struct adit_view name);
bool http_guard_is_value(struct adit_view value);

#endif
