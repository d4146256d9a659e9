/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of an /execute answer: one JSON object each, ASCII only. No I/O. */
#ifndef ENVD_KERNEL_LINE_H
#define ENVD_KERNEL_LINE_H

#include "base/buf.h"

/* Bytes of a character that has not come whole. */
#define KERNEL_LINE_TAIL_CAP 3

/* What one stream still owes; begins all zero. */
struct kernel_line_tail {
    char bytes[KERNEL_LINE_TAIL_CAP];
    size_t len;
};

/* Errors of all: LIMIT, NO_MEMORY; nothing is appended then. */

/*
 * {"type":"stdout","text":"…","timestamp":"…"}. A character cut at the end of @bytes waits in @tail
 * for the next piece; bytes that are no UTF-8 become U+FFFD. Appends nothing if there is no text.
 */
ADIT_MUST_CHECK int kernel_line_text(struct adit_buf *out, const char *type, struct adit_view bytes,
                                     struct kernel_line_tail *tail);
/* The same for what waits in @tail, when nothing more will come. */
ADIT_MUST_CHECK int kernel_line_text_end(struct adit_buf *out, const char *type,
                                         struct kernel_line_tail *tail);
/* {"type":"<type>",<members of object>}; @object is a JSON object in ASCII, checked before. */
ADIT_MUST_CHECK int kernel_line_object(struct adit_buf *out, const char *type,
                                       struct adit_view object);
ADIT_MUST_CHECK int kernel_line_count(struct adit_buf *out, uint64_t count);
ADIT_MUST_CHECK int kernel_line_error(struct adit_buf *out, const char *name, const char *value,
                                      const char *traceback);
/* {"type":"<type>"} */
ADIT_MUST_CHECK int kernel_line_plain(struct adit_buf *out, const char *type);

#endif
