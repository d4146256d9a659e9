/* SPDX-License-Identifier: Apache-2.0 */
/* The query of the list endpoints: filters, order, pages. No I/O. */
#ifndef BROKER_API_LIST_QUERY_H
#define BROKER_API_LIST_QUERY_H

#include "broker/node/record.h"

#define LIST_QUERY_LIMIT 100
#define LIST_QUERY_METADATA_MAX 64
#define LIST_QUERY_TEXT_CAP (16u * 1024)
/* base64 of "<time>__<id>__asc" with room to spare. */
#define LIST_QUERY_CURSOR_CAP 256

/*
 * @metadata: pairs that all must match (owned), or NULL
 * @template: as given, lower-cased; empty: any
 * @has_after: a cursor was given; entries up to and including (@after_ns, @after_id) are left out
 * @started_after_us: keep what started at that microsecond or later; INT64_MIN: all
 */
struct list_query {
    json_t *metadata;
    char template_ref[256];
    bool running, ascending, has_after;
    int64_t after_ns;
    char after_id[SANDBOX_ID_CAP];
    int64_t started_after_us;
    size_t limit;
};

/* @is_v2: the v1 list knows metadata only. Errors: BAD_INPUT, NO_MEMORY; then nothing is owned. */
ADIT_MUST_CHECK int list_query_parse(struct adit_view query, bool is_v2, struct list_query *out,
                                     struct adit_err *err);
void list_query_fini(struct list_query *q);
/* Is it wanted, pages apart? The template is the caller's to compare. */
bool list_query_matches(const struct list_query *q, const struct record *r);
/* Order of the answer: below zero when @a comes first. */
int list_query_compare(const struct list_query *q, const struct record *a, const struct record *b);
/* Is it behind the cursor? */
bool list_query_is_after(const struct list_query *q, const struct record *r);
/* The cursor behind @last. Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int list_query_cursor(const struct list_query *q, const struct record *last,
                                      char out[LIST_QUERY_CURSOR_CAP]);

#endif
