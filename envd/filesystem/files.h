/* SPDX-License-Identifier: Apache-2.0 */
/* GET and POST /files, POST /files/compose. Handlers of the route table; each owns its exchange. */
#ifndef ENVD_FILESYSTEM_FILES_H
#define ENVD_FILESYSTEM_FILES_H

#include "envd/envd.h"

/* Body bytes that one job on the thread pool gets at least, unless the body ends. */
#define FILES_BATCH_LEN (256u * 1024)
/* A request waits for its job with at most one more batch. */
#define FILES_BATCH_CAP (FILES_BATCH_LEN + NET_SCRATCH_CAP)
#define FILES_SIGNATURE_PREFIX "v1_"

/* Download a file. */
void files_get(struct http_exchange *x, const struct http_head *head);
/* Upload files. */
void files_post(struct http_exchange *x, const struct http_head *head);
/* Join files into one. */
void files_compose(struct http_exchange *x, const struct http_head *head);

/*
 * May this request use /files? When a token is set it needs the token in X-Access-Token, or a
 * signature in the query for this path, user and operation ("read", "write").
 * Errors: UNAUTHENTICATED with the contract's message; BAD_INPUT (query).
 */
ADIT_MUST_CHECK int files_authorize(const struct envd *e, const struct http_head *head,
                                    struct adit_view query, const char *operation,
                                    struct adit_err *err);

/* What a signature covers, in decoded form; @expiration empty: it does not expire. */
struct files_signed {
    struct adit_view path, operation, user, token, expiration;
};
/* Append "v1_…". Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int files_sign(const struct files_signed *s, struct adit_buf *out);

#endif
