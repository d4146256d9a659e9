/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer that grows up to a maximum given at birth, with consumption at the front.
 *
 * Theory of operation
 *
 * data[off .. off+len) holds the bytes. Appending grows the storage by doubling, never beyond @max;
 * at the maximum an append fails with ADIT_ERR_LIMIT and changes nothing. Consuming moves @off; an
 * emptied buffer gives its storage back when that is larger than ADIT_BUF_KEEP, so idle objects
 * hold no memory. Embedded by its owner; not thread-safe.
 */
#ifndef ADIT_BASE_BUF_H
#define ADIT_BASE_BUF_H

#include <stdarg.h>

#include "base/view.h"

#define ADIT_BUF_KEEP 512

struct adit_buf {
    char *data;
    size_t off, len, cap, max;
};

/* No allocation happens before the first append. */
void adit_buf_init(struct adit_buf *b, size_t max);
void adit_buf_fini(struct adit_buf *b);
/* Forget the content, keep the storage. */
void adit_buf_clear(struct adit_buf *b);

static inline struct adit_view adit_buf_view(const struct adit_buf *b)
{
    struct adit_view v = {b->data ? b->data + b->off : NULL, b->len};
    return v;
}

/* Make room for @extra more bytes; afterwards the tail pointer is writable for that many. */
ADIT_MUST_CHECK int adit_buf_reserve(struct adit_buf *b, size_t extra);
static inline char *adit_buf_tail(struct adit_buf *b)
{
    return b->data + b->off + b->len;
}
/* Say that @n bytes were written at the tail (n <= what was reserved). */
void adit_buf_added(struct adit_buf *b, size_t n);

/* Errors of all appends: ADIT_ERR_LIMIT, ADIT_ERR_NO_MEMORY; nothing is appended then. */
ADIT_MUST_CHECK int adit_buf_append(struct adit_buf *b, const void *p, size_t n);
ADIT_MUST_CHECK int adit_buf_append_view(struct adit_buf *b, struct adit_view v);
ADIT_MUST_CHECK int adit_buf_append_str(struct adit_buf *b, const char *s);
ADIT_MUST_CHECK int adit_buf_append_char(struct adit_buf *b, char c);
ADIT_MUST_CHECK int adit_buf_appendf(struct adit_buf *b, const char *fmt, ...) ADIT_PRINTF(2, 3);
/* Append @v as the inside of a JSON string: quotes, backslash and control characters escaped,
 * invalid UTF-8 replaced by U+FFFD. */
ADIT_MUST_CHECK int adit_buf_append_json_text(struct adit_buf *b, struct adit_view v);

/* Drop @n (<= len) bytes at the front. */
void adit_buf_consume(struct adit_buf *b, size_t n);

/* Give the content away as one NUL-terminated heap string (free() it) and empty the buffer.
 * Return: NULL without memory. */
char *adit_buf_steal_str(struct adit_buf *b);

#endif
