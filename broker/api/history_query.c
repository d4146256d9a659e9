/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries for measurements and logs.
 *
 * Theory of operation
 *
 * What: each parameter is decoded once and has one form; an empty one is the same as none, since
 * clients' generators write those. What has another form is refused with its name.
 * Limits: a parameter has TEXT_CAP bytes; times end with the year 9999. A limit above the largest
 * is cut to it, because clients page by the last time they saw.
 */
#include "broker/api/history_query.h"

#include <stdlib.h>

#include "net/url.h"

#define TEXT_CAP (8u * 1024)
#define SECONDS_MAX UINT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define MS_MAX (SECONDS_MAX * 1000)

/* Append the value of @name; *has: it is there and not empty. */
static int take_text(struct adit_view query, const char *name, struct adit_buf *out, bool *has,
                     struct adit_err *err)
{
    int rc = url_query_get(query, name, out, has);
    *has = *has && out->len > 0;
    rc = rc == ADIT_ERR_LIMIT ? ADIT_ERR_BAD_INPUT : rc; /* too long: as bad as any other */
    return rc ? adit_err_set(err, rc, "validation error: query parameter %s", name) : 0;
}

static int take_number(struct adit_view query, const char *name, uint64_t max, uint64_t *out,
                       bool *has, struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, TEXT_CAP);
    int rc = take_text(query, name, &text, has, err);
    if (rc == 0 && *has && adit_view_u64(adit_buf_view(&text), max, out))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "validation error: query parameter %s is no number in its range", name);
    adit_buf_fini(&text);
    return rc;
}

int history_query_parse_range(struct adit_view query, int64_t *start_ms, int64_t *end_ms,
                              struct adit_err *err)
{
    uint64_t start = 0, end = SECONDS_MAX;
    bool has;
    int rc = take_number(query, "start", SECONDS_MAX, &start, &has, err);
    if (rc == 0)
        rc = take_number(query, "end", SECONDS_MAX, &end, &has, err);
    if (rc == 0 && end < start)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "validation error: end is before start");
    *start_ms = (int64_t)start * 1000;
    *end_ms = (int64_t)end * 1000 + 999;
    return rc;
}

int history_query_parse_ids(struct adit_view query, struct adit_buf *out, struct adit_err *err)
{
    bool has;
    int rc = take_text(query, "sandbox_ids", out, &has, err);
    if (rc == 0 && !has)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "validation error: query parameter sandbox_ids is required");
    return rc;
}

/* @name: of the parameter with the time. */
static int take_common(struct adit_view query, const char *name, struct journal_query *out,
                       struct adit_err *err)
{
    uint64_t from = 0;
    bool has;
    *out = (struct journal_query){.from_ms = -1, .limit = HISTORY_QUERY_LIMIT_DEFAULT};
    int rc = take_number(query, name, MS_MAX, &from, &has, err);
    if (rc == 0 && has)
        out->from_ms = (int64_t)from;
    return rc ? rc : take_number(query, "limit", INT32_MAX, &out->limit, &has, err);
}

int history_query_parse_logs_v1(struct adit_view query, struct journal_query *out,
                                struct adit_err *err)
{
    int rc = take_common(query, "start", out, err);
    out->is_newest = true;
    return rc;
}

static int take_direction(struct adit_view query, struct journal_query *out, struct adit_err *err)
{
    struct adit_buf text;
    bool has;
    adit_buf_init(&text, TEXT_CAP);
    int rc = take_text(query, "direction", &text, &has, err);
    struct adit_view v = adit_buf_view(&text);
    out->is_backward = rc == 0 && has && adit_view_eq_str(v, "backward");
    if (rc == 0 && has && !out->is_backward && !adit_view_eq_str(v, "forward"))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "validation error: direction is forward or backward");
    adit_buf_fini(&text);
    return rc;
}

static int take_level(struct adit_view query, struct journal_query *out, struct adit_err *err)
{
    struct adit_buf text;
    bool has;
    adit_buf_init(&text, TEXT_CAP);
    int rc = take_text(query, "level", &text, &has, err);
    char *name = rc == 0 && has ? adit_view_dup(adit_buf_view(&text)) : NULL;
    if (rc == 0 && has && (!name || adit_log_level_parse(name, &out->min_level)))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "validation error: level is debug, info, warn or error");
    free(name);
    adit_buf_fini(&text);
    return rc;
}

static int take_search(struct adit_view query, struct journal_query *out, struct adit_err *err)
{
    struct adit_buf text;
    bool has;
    adit_buf_init(&text, TEXT_CAP);
    int rc = take_text(query, "search", &text, &has, err);
    if (rc == 0 && text.len >= sizeof(out->search))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "validation error: search is too long");
    if (rc == 0 && has) {
        memcpy(out->search, adit_buf_view(&text).ptr, text.len);
        out->search[text.len] = '\0';
    }
    adit_buf_fini(&text);
    return rc;
}

int history_query_parse_logs_v2(struct adit_view query, struct journal_query *out,
                                struct adit_err *err)
{
    int rc = take_common(query, "cursor", out, err);
    out->is_v2 = true;
    if (rc == 0)
        rc = take_direction(query, out, err);
    if (rc == 0)
        rc = take_level(query, out, err);
    return rc ? rc : take_search(query, out, err);
}
