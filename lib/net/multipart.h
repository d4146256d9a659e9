/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data (RFC 7578) as a stream: bytes in, events out, no I/O.
 *
 * Limits: MULTIPART_PARTS_MAX parts, MULTIPART_PART_HEAD_CAP bytes of header a part, boundary 1-70
 * characters of RFC 2046. Part bodies are not buffered: data events point into the input, except
 * for a few held-back bytes that might begin a boundary.
 */
#ifndef ADIT_NET_MULTIPART_H
#define ADIT_NET_MULTIPART_H

#include "base/buf.h"

#define MULTIPART_PARTS_MAX 128
#define MULTIPART_PART_HEAD_CAP (16u * 1024)
#define MULTIPART_BOUNDARY_CAP 70

enum multipart_event {
    MULTIPART_EV_MORE,
    MULTIPART_EV_PART, /* a part begins: name, filename */
    MULTIPART_EV_DATA,
    MULTIPART_EV_PART_END,
    MULTIPART_EV_END, /* the closing boundary; the epilogue is ignored */
};

/* Valid until the next call. %22, %0D and %0A in quoted names are decoded, "\"" is unquoted. */
struct multipart_part {
    struct adit_view name, filename, content_type;
    bool has_name, has_filename;
};

struct multipart; /* opaque */

/* @content_type: the request's header value. Errors: BAD_INPUT (not multipart/…, no or bad
 * boundary), NO_MEMORY. */
ADIT_MUST_CHECK int multipart_new(struct adit_view content_type, struct multipart **out,
                                  struct adit_err *err);
void multipart_free(struct multipart *m);
/* Errors: BAD_INPUT, LIMIT, NO_MEMORY; final. */
ADIT_MUST_CHECK int multipart_next(struct multipart *m, struct adit_view *in,
                                   struct multipart_part *part, struct adit_view *data,
                                   enum multipart_event *event, struct adit_err *err);
/* The body ended: ADIT_OK after MULTIPART_EV_END, else ADIT_ERR_BAD_INPUT ("unexpected EOF"). */
ADIT_MUST_CHECK int multipart_finish(struct multipart *m, struct adit_err *err);

#endif
