/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs of sandboxes.
 *
 * Theory of operation
 *
 * A log outlives its sandbox, so it is not looked for among those that run: the log itself says
 * whose it is, and one of another team is one that is not there. Only a sandbox that runs is never
 * missing: its log may have been removed to make room, or found none. The answer is written on the
 * thread pool.
 */
#include "broker/api/api.h"
#include "broker/api/history_query.h"

static void reply_no_log(struct api_request *rq)
{
    static const struct adit_view v1 = ADIT_VIEW("{\"logs\":[],\"logEntries\":[]}");
    static const struct adit_view v2 = ADIT_VIEW("{\"logs\":[]}");
    bool is_v2 = adit_view_has_prefix(adit_view_str(rq->route->pattern), "/v2/");
    if (api_sandbox_find(rq))
        api_reply_text(rq, 200, is_v2 ? v2 : v1);
    else
        api_reply_no_sandbox(rq);
}

static void on_read(void *user, struct adit_view text, const struct adit_err *err)
{
    struct api_request *rq = user;
    if (!err)
        api_reply_text(rq, 200, text);
    else if (err->code == ADIT_ERR_NOT_FOUND)
        reply_no_log(rq);
    else
        api_reply_err(rq, NULL, err);
}

static void read_log(struct api_request *rq, const struct journal_query *q)
{
    if (journal_read(node_journal(rq->broker->node), rq->sandbox_id, rq->who.team_id, q, on_read,
                     rq))
        api_reply_json(rq, 200, NULL); /* answered as out of memory */
}

static void serve(struct api_request *rq,
                  int (*parse)(struct adit_view query, struct journal_query *out,
                               struct adit_err *err))
{
    struct adit_err err = ADIT_ERR_INIT;
    struct journal_query q;
    if (parse(edge_api_query(rq->edge), &q, &err))
        api_reply_err(rq, NULL, &err);
    else
        read_log(rq, &q);
}

void api_logs_v1(struct api_request *rq)
{
    serve(rq, history_query_parse_logs_v1);
}

void api_logs_v2(struct api_request *rq)
{
    serve(rq, history_query_parse_logs_v2);
}
