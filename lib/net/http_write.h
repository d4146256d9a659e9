/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing HTTP/1.1 heads. Names and values are checked: one with CR, LF or NUL, or a name that is
 * no token, is refused with ADIT_ERR_BAD_INPUT and nothing is appended.
 */
#ifndef ADIT_NET_HTTP_WRITE_H
#define ADIT_NET_HTTP_WRITE_H

#include "net/http_msg.h"

/* Room for the longest chunk head: 16 hex digits, CRLF, NUL. */
#define HTTP_CHUNK_HEAD_CAP 24

ADIT_MUST_CHECK int http_write_request_line(struct adit_buf *b, struct adit_view method,
                                            struct adit_view target);
/* "HTTP/1.1 404 Not Found\r\n"; the reason is the standard one, "Unknown" if there is none. */
ADIT_MUST_CHECK int http_write_status_line(struct adit_buf *b, unsigned status);
ADIT_MUST_CHECK int http_write_header(struct adit_buf *b, struct adit_view name,
                                      struct adit_view value);
ADIT_MUST_CHECK int http_write_header_str(struct adit_buf *b, const char *name, const char *value);
ADIT_MUST_CHECK int http_write_header_u64(struct adit_buf *b, const char *name, uint64_t value);
ADIT_MUST_CHECK int http_write_end(struct adit_buf *b);

/* The line before a chunk of @len (> 0) bytes. Return: its length. Behind the bytes goes CRLF, and
 * "0\r\n\r\n" ends the body. */
size_t http_write_chunk_head(char out[HTTP_CHUNK_HEAD_CAP], size_t len);

const char *http_write_reason(unsigned status);

#endif
