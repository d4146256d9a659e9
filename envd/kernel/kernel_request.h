/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON bodies of the code-interpreter API. No I/O. */
#ifndef ENVD_KERNEL_REQUEST_H
#define ENVD_KERNEL_REQUEST_H

#include "base/json.h"

/* Longest body: the cell with its variables. */
#define KERNEL_REQUEST_MAX (4u * 1024 * 1024)

/*
 * Of /execute and of POST /contexts. Views are empty (NULL) where nothing or null was given, and
 * point into @doc. @variables: a JSON object, or NULL.
 */
struct kernel_request {
    json_t *doc;
    struct adit_view code, context_id, language, cwd;
    json_t *variables;
};

/*
 * @with_code: it is of /execute. On failure @detail (static text) names the member and what is
 * wrong with it. kernel_request_fini() in any case. Errors: BAD_INPUT, NO_MEMORY.
 */
struct kernel_request_error {
    const char *member, *type, *message;
};
ADIT_MUST_CHECK int kernel_request_parse(struct adit_view body, bool with_code,
                                         struct kernel_request *out,
                                         struct kernel_request_error *detail);
void kernel_request_fini(struct kernel_request *r);

#endif
