/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of the session API send, checked. No I/O. */
#ifndef BROKER_SESSION_SESSION_REQUEST_H
#define BROKER_SESSION_SESSION_REQUEST_H

#include "base/buf.h"
#include "broker/node/record.h"

/* Room for a path's every byte escaped stays below a line of a request's head. */
#define SESSION_REQUEST_PATH_MAX 4095
#define SESSION_REQUEST_PACKAGES_MAX 64
#define SESSION_REQUEST_PACKAGE_LEN_MAX 200
/* A cell's JSON: code of EDGE_API_BODY_MAX with every byte escaped. */
#define SESSION_REQUEST_CELL_MAX (8u * 1024 * 1024)
#define SESSION_REQUEST_TYPE "code_interpreter"
#define SESSION_REQUEST_CUSTOM "custom"

/* The {sessionID} segment, decoded: 1 to 128 characters of [A-Za-z0-9._:@-], the first one none of
 * ".:@-". Errors: BAD_INPUT. */
ADIT_MUST_CHECK int session_request_id(struct adit_view segment, char out[RECORD_SESSION_CAP],
                                       struct adit_err *err);

/*
 * The body of start. *is_custom: sandbox_type "custom"; a template_id there must be @custom, what
 * is configured. Errors: BAD_INPUT, NO_MEMORY.
 */
ADIT_MUST_CHECK int session_request_start(struct adit_view body, const char *custom,
                                          bool *is_custom, struct adit_err *err);

/* The body of execute or install, as what the code interpreter is to run: {"code": "…"} appended
 * to @cell. Errors: BAD_INPUT, LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int session_request_execute(struct adit_view body, struct adit_buf *cell,
                                            struct adit_err *err);
ADIT_MUST_CHECK int session_request_install(struct adit_view body, struct adit_buf *cell,
                                            struct adit_err *err);

/*
 * The path parameter of a query, decoded; @fallback (NULL: it is required) when it is absent or
 * empty. Absolute, UTF-8, no control characters, no "." or ".." as a part. Errors: BAD_INPUT,
 * NO_MEMORY.
 */
ADIT_MUST_CHECK int session_request_path(struct adit_view query, const char *fallback,
                                         char out[SESSION_REQUEST_PATH_MAX + 1],
                                         struct adit_err *err);

/* The name that an uploaded file gets: the last part of what the client calls it, whose parts may
 * be separated as on its own system. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int session_request_file_name(struct adit_view filename, struct adit_view *name,
                                              struct adit_err *err);

/* Append @path as a parameter's value: everything but [A-Za-z0-9._~/-] escaped. Errors: LIMIT,
 * NO_MEMORY. */
ADIT_MUST_CHECK int session_request_append_escaped(struct adit_buf *b, struct adit_view path);

#endif
