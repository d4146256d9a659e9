/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List queries.
 *
 * Theory of operation
 *
 * What: query text becomes filters; filters, order and cursor are pure functions on records.
 * The metadata filter is encoded three times by the clients: each key and value, the list of pairs,
 * and the query parameter; it is taken apart in the reverse order, so that "&", "=" and "%"
 * survive. A cursor is the base64url of "<start, RFC 3339>__<id>" and, for the ascending order,
 * "__asc"; it names the last entry given out, so a page is right also when that entry is gone
 * since. Trust: all of it comes from clients; text is bounded by LIST_QUERY_TEXT_CAP, pairs by
 * LIST_QUERY_METADATA_MAX.
 */
#include "broker/api/list_query.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/encode.h"
#include "broker/api/create_request.h"
#include "net/url.h"

#define CURSOR_SUFFIX "__asc"

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

/* ---- metadata ---- */

static int add_pair(json_t *metadata, struct adit_view pair, struct adit_err *err)
{
    struct adit_view key, value;
    struct adit_buf k, v;
    adit_buf_init(&k, LIST_QUERY_TEXT_CAP);
    adit_buf_init(&v, LIST_QUERY_TEXT_CAP);
    (void)adit_view_split(pair, '=', &key, &value); /* without "=": the value is empty */
    int rc = url_decode(key, true, &k);
    if (rc == 0)
        rc = url_decode(value, true, &v);
    if (rc == 0) {
        json_t *text = json_stringn(v.data ? v.data + v.off : "", v.len);
        char *name = adit_buf_steal_str(&k);
        if (!text || !name || json_object_set(metadata, name, text))
            rc = ADIT_ERR_BAD_INPUT;
        free(name);
        json_decref(text);
    }
    adit_buf_fini(&k);
    adit_buf_fini(&v);
    return rc ? bad(err, "Invalid metadata query: a pair cannot be decoded") : 0;
}

static int split_pairs(struct adit_view text, json_t *metadata, struct adit_err *err)
{
    while (text.len > 0) {
        struct adit_view pair;
        (void)adit_view_split(text, '&', &pair, &text); /* the last one has no "&" */
        int rc = pair.len ? add_pair(metadata, pair, err) : 0;
        if (rc)
            return rc;
        if (json_object_size(metadata) > LIST_QUERY_METADATA_MAX)
            return bad(err, "Invalid metadata query: too many pairs");
    }
    return 0;
}

static int parse_metadata(struct adit_view text, struct list_query *q, struct adit_err *err)
{
    struct adit_buf list;
    adit_buf_init(&list, LIST_QUERY_TEXT_CAP);
    q->metadata = json_object();
    int rc = q->metadata ? url_decode(text, true, &list) : ADIT_ERR_NO_MEMORY;
    if (rc)
        rc = bad(err, "Invalid metadata query: it cannot be decoded");
    else
        rc = split_pairs(adit_buf_view(&list), q->metadata, err);
    adit_buf_fini(&list);
    return rc;
}

/* ---- the other parameters ---- */

/* "running,paused"; the parameter may also come several times. Nothing is paused yet. */
static int parse_states(struct adit_view text, bool *running, struct adit_err *err)
{
    while (text.len > 0) {
        struct adit_view word;
        (void)adit_view_split(text, ',', &word, &text); /* the last one has no "," */
        if (adit_view_eq_str(word, "running"))
            *running = true;
        else if (!adit_view_eq_str(word, "paused"))
            return bad(err, "validation error: state must be running or paused");
    }
    return 0;
}

static int parse_order(struct adit_view text, struct list_query *q, struct adit_err *err)
{
    q->ascending = adit_view_eq_str(text, "asc");
    if (!q->ascending && !adit_view_eq_str(text, "desc"))
        return bad(err, "validation error: order must be asc or desc");
    return 0;
}

static int64_t floor_us(int64_t ns)
{
    return ns / 1000 - (ns % 1000 < 0);
}

static int parse_started_after(struct adit_view text, struct list_query *q, struct adit_err *err)
{
    int64_t ns;
    if (adit_clock_parse_rfc3339(text, &ns))
        return bad(err, "validation error: startedAfter must be an RFC 3339 time");
    q->started_after_us = floor_us(ns);
    return 0;
}

static int parse_template(struct adit_view text, struct list_query *q, struct adit_err *err)
{
    if (text.len && memchr(text.ptr, ':', text.len))
        return bad(err, "Invalid template filter: a tag is not allowed");
    /* What cannot be a template's name is an unknown template: the list is empty, not an error. */
    if (create_request_ref(text, q->template_ref, NULL))
        memcpy(q->template_ref, ":", 2);
    return 0;
}

static int parse_limit(struct adit_view text, struct list_query *q, struct adit_err *err)
{
    uint64_t n;
    if (adit_view_u64(text, LIST_QUERY_LIMIT, &n) || n == 0)
        return bad(err, "validation error: limit must be between 1 and 100");
    q->limit = n;
    return 0;
}

/* ---- cursors ---- */

/* The last "__" of @v. */
static bool split_last(struct adit_view v, struct adit_view *head, struct adit_view *tail)
{
    for (size_t i = v.len; i >= 2; i--) {
        if (v.ptr[i - 1] == '_' && v.ptr[i - 2] == '_') {
            *head = adit_view_mem(v.ptr, i - 2);
            *tail = adit_view_mem(v.ptr + i, v.len - i);
            return true;
        }
    }
    return false;
}

static int parse_cursor_text(struct adit_view text, struct list_query *q, bool *ascending)
{
    struct adit_view time, id;
    *ascending = text.len > strlen(CURSOR_SUFFIX) &&
                 adit_view_eq_str(adit_view_mem(text.ptr + text.len - strlen(CURSOR_SUFFIX),
                                                strlen(CURSOR_SUFFIX)),
                                  CURSOR_SUFFIX);
    if (*ascending)
        text.len -= strlen(CURSOR_SUFFIX);
    if (!split_last(text, &time, &id) || !sandbox_id_is_valid(id) ||
        adit_clock_parse_rfc3339(time, &q->after_ns))
        return ADIT_ERR_BAD_INPUT;
    memcpy(q->after_id, id.ptr, id.len);
    q->after_id[id.len] = '\0';
    q->has_after = true;
    return 0;
}

static int parse_cursor(struct adit_view token, struct list_query *q, bool *ascending,
                        struct adit_err *err)
{
    char text[LIST_QUERY_CURSOR_CAP];
    size_t len;
    if (token.len == 0)
        return 0;
    if (token.len / 4 * 3 + 3 > sizeof(text) || adit_base64_decode(token, text, &len) ||
        parse_cursor_text(adit_view_mem(text, len), q, ascending))
        return bad(err, "Invalid next token");
    return 0;
}

int list_query_cursor(const struct list_query *q, const struct record *last,
                      char out[LIST_QUERY_CURSOR_CAP])
{
    char time[ADIT_CLOCK_RFC3339_CAP], text[LIST_QUERY_CURSOR_CAP];
    struct adit_buf b;
    adit_clock_format_rfc3339(last->started_ns, time);
    int n = snprintf(text, sizeof(text), "%s__%s%s", time, last->sandbox_id,
                     q->ascending ? CURSOR_SUFFIX : "");
    adit_buf_init(&b, LIST_QUERY_CURSOR_CAP - 1);
    int rc = adit_base64_append(&b, text, (size_t)n);
    if (rc == 0) {
        size_t len = 0;
        for (; len < b.len && b.data[b.off + len] != '='; len++) {
            char c = b.data[b.off + len];
            out[len] = c;
            if (c == '+')
                out[len] = '-';
            else if (c == '/')
                out[len] = '_';
        }
        out[len] = '\0';
    }
    adit_buf_fini(&b);
    return rc;
}

/* ---- whole queries ---- */

struct cursor_seen {
    bool given, ascending;
};

static int take_param(struct list_query *q, struct adit_view key, struct adit_view value,
                      bool is_v2, struct cursor_seen *cursor, bool *has_state, struct adit_err *err)
{
    if (adit_view_eq_str(key, "metadata") && !q->metadata)
        return parse_metadata(value, q, err);
    if (!is_v2)
        return 0;
    if (adit_view_eq_str(key, "state")) {
        *has_state |= value.len > 0;
        return parse_states(value, &q->running, err);
    }
    if (adit_view_eq_str(key, "order"))
        return parse_order(value, q, err);
    if (adit_view_eq_str(key, "startedAfter"))
        return parse_started_after(value, q, err);
    if (adit_view_eq_str(key, "template"))
        return value.len ? parse_template(value, q, err) : 0;
    if (adit_view_eq_str(key, "limit"))
        return parse_limit(value, q, err);
    if (adit_view_eq_str(key, "nextToken")) {
        cursor->given = value.len > 0;
        return parse_cursor(value, q, &cursor->ascending, err);
    }
    return 0;
}

static int take_params(struct adit_view query, bool is_v2, struct list_query *q,
                       struct adit_err *err)
{
    struct cursor_seen cursor = {false, false};
    struct adit_view key, value;
    bool has_state = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && url_query_next(&query, &key, &value); i++) {
        struct adit_buf text;
        if (i >= URL_QUERY_PARAMS_MAX)
            return bad(err, "validation error: too many query parameters");
        adit_buf_init(&text, LIST_QUERY_TEXT_CAP);
        rc = url_decode(value, true, &text);
        if (rc)
            rc = bad(err, "validation error: a query parameter cannot be decoded");
        else
            rc = take_param(q, key, adit_buf_view(&text), is_v2, &cursor, &has_state, err);
        adit_buf_fini(&text);
    }
    if (rc)
        return rc;
    if (!has_state)
        q->running = true;
    if (cursor.given && cursor.ascending != q->ascending)
        return bad(err, "Invalid next token: it belongs to another order");
    return 0;
}

int list_query_parse(struct adit_view query, bool is_v2, struct list_query *out,
                     struct adit_err *err)
{
    *out = (struct list_query){.started_after_us = INT64_MIN, .limit = LIST_QUERY_LIMIT};
    if (!is_v2)
        out->limit = SIZE_MAX;
    int rc = take_params(query, is_v2, out, err);
    if (rc)
        list_query_fini(out);
    return rc;
}

void list_query_fini(struct list_query *q)
{
    json_decref(adit_steal(&q->metadata));
}

/* ---- on records ---- */

bool list_query_matches(const struct list_query *q, const struct record *r)
{
    const char *name;
    json_t *value;
    if (!q->running || floor_us(r->started_ns) < q->started_after_us)
        return false;
    json_object_foreach(q->metadata, name, value)
    {
        if (!json_equal(json_object_get(r->metadata, name), value))
            return false;
    }
    return true;
}

static int compare_keys(int64_t a_ns, const char *a_id, int64_t b_ns, const char *b_id)
{
    if (a_ns != b_ns)
        return a_ns > b_ns ? -1 : 1;
    return strcmp(a_id, b_id);
}

int list_query_compare(const struct list_query *q, const struct record *a, const struct record *b)
{
    int order = compare_keys(a->started_ns, a->sandbox_id, b->started_ns, b->sandbox_id);
    return q->ascending ? -order : order;
}

bool list_query_is_after(const struct list_query *q, const struct record *r)
{
    if (!q->has_after)
        return true;
    int order = compare_keys(q->after_ns, q->after_id, r->started_ns, r->sandbox_id);
    return (q->ascending ? -order : order) < 0;
}
