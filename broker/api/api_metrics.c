/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measurements of sandboxes.
 *
 * Theory of operation
 *
 * What: the samples of one running sandbox in a range of time, and the newest ones of many. A
 * sandbox that is not there, or another team's, is 404 in the first and left out of the second.
 */
#include "base/clock.h"
#include "broker/api/api.h"
#include "broker/api/history_query.h"

#define IDS_TEXT_CAP (HISTORY_QUERY_IDS_MAX * SANDBOX_ID_CAP * 4)
#define NS_PER_MS 1000000

static json_t *sample_document(const struct sample *s)
{
    char at[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_rfc3339(s->at_ms * NS_PER_MS, at);
    return json_pack("{s:s, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "timestamp", at,
                     "timestampUnix", (json_int_t)(s->at_ms / 1000), "cpuCount",
                     (json_int_t)s->cpu_cnt, "cpuUsedPct", (double)s->cpu_centi_pct / 100,
                     "memUsed", (json_int_t)s->mem_used, "memTotal", (json_int_t)s->mem_total,
                     "memCache", (json_int_t)s->mem_cache, "diskUsed", (json_int_t)s->disk_used,
                     "diskTotal", (json_int_t)s->disk_total);
}

static void on_samples(void *user, const struct sample *samples, size_t cnt,
                       const struct adit_err *err)
{
    struct api_request *rq = user;
    if (err) {
        api_reply_err(rq, NULL, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; list && i < cnt; i++)
        if (json_array_append_new(list, sample_document(&samples[i]))) {
            json_decref(list);
            list = NULL;
        }
    api_reply_json(rq, 200, list);
}

void api_metrics_range(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    int64_t start_ms, end_ms;
    const struct sandbox *s = api_sandbox_find(rq);
    if (history_query_parse_range(edge_api_query(rq->edge), &start_ms, &end_ms, &err))
        api_reply_err(rq, NULL, &err);
    else if (!s)
        api_reply_no_sandbox(rq);
    else if (node_read_samples(s, start_ms, end_ms, on_samples, rq))
        api_reply_json(rq, 200, NULL); /* answered as out of memory */
}

/* ---- the newest of many ---- */

static int add_newest(const struct api_request *rq, struct adit_view text, json_t *map,
                      struct adit_err *err)
{
    char id[SANDBOX_ID_CAP];
    int rc = sandbox_id_parse(adit_view_trim(text), id, err);
    if (rc)
        return rc;
    const struct sandbox *s = node_find(rq->broker->node, rq->who.team_id, id);
    const struct sample *newest = s ? node_last_sample(s) : NULL;
    if (!newest)
        return 0;
    return json_object_set_new(map, id, sample_document(newest))
               ? adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory")
               : 0;
}

static int add_all(const struct api_request *rq, struct adit_view ids, json_t *map,
                   struct adit_err *err)
{
    struct adit_view id;
    int rc = 0;
    for (size_t cnt = 0; rc == 0 && ids.len > 0; cnt++) {
        if (cnt == HISTORY_QUERY_IDS_MAX)
            return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                                "Too many sandboxes requested, maximum is %d",
                                HISTORY_QUERY_IDS_MAX);
        (void)adit_view_split(ids, ',', &id, &ids); /* the last one has no "," */
        rc = add_newest(rq, id, map, err);
    }
    return rc;
}

void api_metrics_newest(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf ids;
    json_t *map = json_object();
    adit_buf_init(&ids, IDS_TEXT_CAP);
    int rc = history_query_parse_ids(edge_api_query(rq->edge), &ids, &err);
    if (rc == 0 && map)
        rc = add_all(rq, adit_buf_view(&ids), map, &err);
    adit_buf_fini(&ids);
    if (rc == 0) {
        api_reply_json(rq, 200, json_pack("{s:o}", "sandboxes", map));
        return;
    }
    json_decref(map);
    api_reply_err(rq, NULL, &err);
}
