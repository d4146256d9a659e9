/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of /files share. */
#ifndef ENVD_FILESYSTEM_FILES_INT_H
#define ENVD_FILESYSTEM_FILES_INT_H

#include "envd/envd.h"

/* Who asks for which path. */
struct files_request {
    struct envd *envd; /* borrowed */
    struct user_entry user;
    struct adit_buf path; /* of the query, decoded, not resolved; empty when absent */
};

/*
 * Read and authorize the target of @head: user, path. @operation as for files_authorize.
 * Errors: with the code of the answer's status.
 */
ADIT_MUST_CHECK int files_request_init(struct files_request *r, struct http_exchange *x,
                                       const struct http_head *head, const char *operation,
                                       struct adit_err *err);
void files_request_fini(struct files_request *r);
/* The user @name ("": the default one) in the words of the REST endpoints. */
ADIT_MUST_CHECK int files_user(struct envd *e, struct adit_view name, struct user_entry *out,
                               struct adit_err *err);

#endif
