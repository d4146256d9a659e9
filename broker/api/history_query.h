/* SPDX-License-Identifier: Apache-2.0 */
/* Queries for what has happened to a sandbox: its measurements and its log. No I/O. */
#ifndef BROKER_API_HISTORY_QUERY_H
#define BROKER_API_HISTORY_QUERY_H

#include "broker/node/journal_file.h"

/* Sandboxes of one question for newest measurements. */
#define HISTORY_QUERY_IDS_MAX 100
#define HISTORY_QUERY_LIMIT_DEFAULT 1000

/* "start" and "end" in whole seconds of Unix time, both included; either may be missing.
 * Errors: BAD_INPUT. */
ADIT_MUST_CHECK int history_query_parse_range(struct adit_view query, int64_t *start_ms,
                                              int64_t *end_ms, struct adit_err *err);
/* Append the decoded text of "sandbox_ids" to @out. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int history_query_parse_ids(struct adit_view query, struct adit_buf *out,
                                            struct adit_err *err);
/* start, limit: from there on; without start the newest ones. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int history_query_parse_logs_v1(struct adit_view query, struct journal_query *out,
                                                struct adit_err *err);
/* cursor, limit, direction, level, search. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int history_query_parse_logs_v2(struct adit_view query, struct journal_query *out,
                                                struct adit_err *err);

#endif
