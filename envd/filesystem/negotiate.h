/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a download's headers ask for, and the headers of its answer (RFC 9110): ranges, conditions,
 * content coding, type, file name. No I/O.
 */
#ifndef ENVD_FILESYSTEM_NEGOTIATE_H
#define ENVD_FILESYSTEM_NEGOTIATE_H

#include "net/http_msg.h"

#define NEGOTIATE_DATE_CAP 32
#define NEGOTIATE_SNIFF_LEN 512

enum negotiate_coding { NEGOTIATE_IDENTITY, NEGOTIATE_GZIP };
enum negotiate_range_kind { NEGOTIATE_WHOLE, NEGOTIATE_FROM_TO, NEGOTIATE_SUFFIX };
/* We give no entity tags, so only "*" can match. */
enum negotiate_tags { NEGOTIATE_NO_TAGS, NEGOTIATE_ANY_TAG, NEGOTIATE_SOME_TAGS };

#define NEGOTIATE_NO_DATE INT64_MIN

/*
 * @first, @last: of FROM_TO, inclusive, last UINT64_MAX for an open end; SUFFIX: @last bytes
 * @*_since, @if_range: seconds since 1970, or NEGOTIATE_NO_DATE
 */
struct negotiate {
    enum negotiate_coding coding;
    enum negotiate_range_kind range;
    uint64_t first, last;
    enum negotiate_tags match, none_match;
    int64_t modified_since, unmodified_since, if_range;
    bool has_if_range;
};

/* Errors: BAD_INPUT: no acceptable coding (406). Malformed conditions and ranges are ignored;
 * several ranges are answered with the whole. */
ADIT_MUST_CHECK int negotiate_parse(const struct http_head *head, struct negotiate *out,
                                    struct adit_err *err);
/*
 * The status for a file of @size bytes, changed at @mtime: 200, 206, 304, 412 or 416.
 * *first and *len: the bytes to send with 200 and 206.
 */
unsigned negotiate_status(const struct negotiate *n, uint64_t size, int64_t mtime, uint64_t *first,
                          uint64_t *len);

/* Errors: BAD_INPUT. All three forms of RFC 9110 5.6.7. */
ADIT_MUST_CHECK int negotiate_parse_date(struct adit_view v, int64_t *seconds);
void negotiate_format_date(int64_t seconds, char out[NEGOTIATE_DATE_CAP]);

/* By the extension of @path; NULL when that says nothing. */
const char *negotiate_type_by_name(struct adit_view path);
/* By the first bytes of the content. */
const char *negotiate_type_by_content(struct adit_view start);
/* "inline; filename=…" for the base name @name, in the form that its bytes need. */
ADIT_MUST_CHECK int negotiate_disposition(struct adit_view name, struct adit_buf *out);

#endif
