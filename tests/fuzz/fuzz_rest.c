/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control API's parsers: bodies, queries of lists, logs and measurements, cursors, ids, keys,
 * routes.
 *
 * The first byte chooses the parser. Oracles: no crash and no leak; a refusal leaves nothing behind
 * and has a message; what is taken is within the limits of its header; a cursor that is taken is
 * written back to the same position; a document written out is the same document; a route that is
 * found has a class, and only /health has none.
 */
#include "broker/api/api.h"
#include "broker/api/create_request.h"
#include "broker/api/history_query.h"
#include "broker/api/list_query.h"
#include "broker/api/network_config.h"
#include "broker/client_env.h"
#include "oracle.h"

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static void try_create(struct adit_view body, bool is_v2)
{
    struct create_request r;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = create_request_parse(body, is_v2, DAY_MS, &r, &err);
    if (rc) {
        ORACLE(err.code == rc && err.msg[0] && !r.metadata && !r.env_vars && !r.network);
        return;
    }
    ORACLE(r.timeout_ms > 0 && r.timeout_ms <= DAY_MS && r.template_ref[0]);
    ORACLE(r.secure || (!is_v2 && !r.is_private));
    ORACLE(json_object_size(r.metadata) <= RECORD_METADATA_MAX);
    ORACLE(json_object_size(r.env_vars) <= CREATE_REQUEST_ENV_MAX);
    create_request_fini(&r);
}

static void try_network(struct adit_view body)
{
    struct adit_err err = ADIT_ERR_INIT;
    enum record_internet internet;
    json_t *doc = NULL, *again = NULL;
    struct adit_buf text;
    int rc = network_config_update(body, NULL, false, &doc, &internet, &err);
    if (rc) {
        ORACLE(err.code == rc && err.msg[0] && !doc);
        return;
    }
    adit_buf_init(&text, NETWORK_CONFIG_CAP);
    ORACLE(jtext_append(&text, doc) == 0);
    ORACLE(network_config_update(adit_buf_view(&text), doc, false, &again, &internet, &err) == 0);
    ORACLE(json_equal(doc, again)); /* what is kept is taken again, and stays the same */
    adit_buf_fini(&text);
    json_decref(doc);
    json_decref(again);
}

/* What the bodies of the operator's routes are. */
static void try_document(struct adit_view body)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf text;
    json_t *doc = NULL, *again = NULL;
    const char *name = NULL;
    if (jtext_parse(body, &doc, &err)) {
        ORACLE(err.msg[0] && !doc);
        return;
    }
    ORACLE(json_is_object(doc));
    if (jtext_string(doc, "name", &name, &err) == 0)
        ORACLE(!name || strcmp(name, json_string_value(json_object_get(doc, "name"))) == 0);
    adit_buf_init(&text, 8 * body.len + 1024);
    ORACLE(jtext_append(&text, doc) == 0);
    ORACLE(jtext_parse(adit_buf_view(&text), &again, NULL) == 0 && json_equal(doc, again));
    adit_buf_fini(&text);
    json_decref(doc);
    json_decref(again);
}

static void try_history(struct adit_view query)
{
    struct journal_query q;
    struct adit_err err = ADIT_ERR_INIT;
    int64_t start, end;
    struct adit_buf ids;
    if (history_query_parse_range(query, &start, &end, &err) == 0)
        ORACLE(start >= 0 && start <= end);
    else
        ORACLE(err.msg[0]);
    if (history_query_parse_logs_v1(query, &q, NULL) == 0)
        ORACLE(q.from_ms >= -1 && q.limit <= INT32_MAX && q.is_newest && !q.search[0]);
    if (history_query_parse_logs_v2(query, &q, NULL) == 0)
        ORACLE(q.from_ms >= -1 && strlen(q.search) < sizeof(q.search));
    adit_buf_init(&ids, 1u << 16);
    if (history_query_parse_ids(query, &ids, NULL) == 0)
        ORACLE(ids.len > 0);
    adit_buf_fini(&ids);
}

static void try_times(struct adit_view body)
{
    uint64_t ms = 0;
    if (create_request_parse_connect(body, 0, DAY_MS, &ms, NULL) == 0)
        ORACLE(ms > 0 && ms <= DAY_MS);
    if (create_request_parse_timeout(body, DAY_MS, &ms, NULL) == 0)
        ORACLE(ms <= DAY_MS);
    if (create_request_parse_refresh(body, &ms, NULL) == 0)
        ORACLE(ms >= CREATE_REQUEST_REFRESH_S * 1000 && ms <= 3600 * 1000);
}

static void try_cursor(const struct list_query *q)
{
    struct record last;
    struct list_query again;
    char cursor[LIST_QUERY_CURSOR_CAP], query[LIST_QUERY_CURSOR_CAP + 32];
    if (record_init(&last))
        return;
    last.started_ns = q->after_ns;
    memcpy(last.sandbox_id, q->after_id, sizeof(last.sandbox_id));
    ORACLE(list_query_cursor(q, &last, cursor) == 0);
    (void)snprintf(query, sizeof(query), "order=%s&nextToken=%s", q->ascending ? "asc" : "desc",
                   cursor);
    ORACLE(list_query_parse(adit_view_str(query), true, &again, NULL) == 0);
    ORACLE(again.after_ns == q->after_ns && strcmp(again.after_id, q->after_id) == 0);
    ORACLE(!list_query_is_after(&again, &last));
    list_query_fini(&again);
    record_fini(&last);
}

static void try_query(struct adit_view query, bool is_v2)
{
    struct list_query q;
    struct adit_err err = ADIT_ERR_INIT;
    if (list_query_parse(query, is_v2, &q, &err)) {
        ORACLE(err.msg[0] && !q.metadata);
        return;
    }
    ORACLE(q.limit > 0 && (!is_v2 || q.limit <= LIST_QUERY_LIMIT));
    ORACLE(json_object_size(q.metadata) <= LIST_QUERY_METADATA_MAX);
    if (q.has_after)
        try_cursor(&q);
    list_query_fini(&q);
}

static void try_names(struct adit_view text)
{
    char id[SANDBOX_ID_CAP], ref[CREATE_REQUEST_REF_CAP], key[CLIENT_ENV_KEY_CAP];
    uint8_t hash[ADIT_SHA256_LEN];
    if (sandbox_id_parse(text, id, NULL) == 0)
        ORACLE(sandbox_id_is_valid(adit_view_str(id)));
    if (create_request_ref(text, ref, NULL) == 0) {
        char again[CREATE_REQUEST_REF_CAP];
        ORACLE(create_request_ref(adit_view_str(ref), again, NULL) == 0 && strcmp(ref, again) == 0);
    }
    if (key_cache_hash(text, hash) == 0)
        ORACLE(adit_view_has_prefix(text, "e2b_"));
    if (client_env_find_key(text, key) == 0)
        ORACLE(key[0] != '\0' && memmem(text.ptr, text.len, key, strlen(key)) != NULL);
}

static void try_route(struct adit_view path)
{
    const struct api_route *route = NULL;
    struct adit_view sandbox;
    char allow[API_ROUTES_ALLOW_CAP];
    for (int m = HTTP_GET; m <= HTTP_OTHER; m++) {
        enum api_routes_result found =
            api_routes_find((enum http_method)m, path, &route, &sandbox, allow);
        if (found == API_ROUTES_FOUND)
            ORACLE(route->auth != API_ROUTE_AUTH_NONE || adit_view_eq_str(path, "/health"));
        if (found == API_ROUTES_WRONG_METHOD)
            ORACLE(allow[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct adit_view rest = adit_view_mem(data + 1, len - 1);
    switch (data[0] % 8) {
    case 0:
    case 1:
        try_create(rest, data[0] % 8 == 1);
        break;
    case 2:
        try_times(rest);
        try_document(rest);
        break;
    case 3:
    case 4:
        try_query(rest, data[0] % 8 == 3);
        try_history(rest);
        break;
    case 5:
        try_names(rest);
        break;
    case 7:
        try_network(rest);
        break;
    default:
        try_route(rest);
    }
    return 0;
}
