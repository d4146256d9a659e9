/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers of the session API share: ids, sandboxes, and their use.
 *
 * Theory of operation
 *
 * What: a session is its sandbox. The sandbox's record names the session and has the key that made
 * it, so sessions survive the broker as sandboxes do, and nothing else remembers them. Idle time
 * and longest life are the sandbox's own end, which each use moves: to an idle time from now, or to
 * the end of its life if that comes first. Trust: the key of the request is part of every look-up.
 */
#include "base/log.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"

bool session_take_id(struct api_request *rq, char id[RECORD_SESSION_CAP])
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view segment = api_routes_param(rq->route, edge_api_path(rq->edge), "{sessionID}");
    if (session_request_id(segment, id, &err) == 0)
        return true;
    api_reply_error(rq, 400, NULL, "%s", err.msg);
    return false;
}

struct sandbox *session_sandbox(const struct api_request *rq, const char *id)
{
    size_t pos = 0;
    struct sandbox *s;
    while ((s = node_next(rq->broker->node, rq->who.team_id, &pos))) {
        const struct record *r = node_record(s);
        if (strcmp(r->session.id, id) == 0 && strcmp(r->key_id, rq->who.key_id) == 0)
            return s;
    }
    return NULL;
}

struct sandbox *session_need_sandbox(struct api_request *rq)
{
    char id[RECORD_SESSION_CAP];
    if (!session_take_id(rq, id))
        return NULL;
    struct sandbox *s = session_sandbox(rq, id);
    if (!s)
        api_reply_error(rq, 404, NULL, "this session has no running sandbox");
    return s;
}

void session_use(const struct api_request *rq, struct sandbox *s, uint64_t busy_ms)
{
    const struct broker_conf *conf = &rq->broker->conf;
    uint64_t longest = api_max_timeout_ms(rq);
    if (conf->session_life_ms < longest)
        longest = conf->session_life_ms;
    uint64_t ms = node_within_life_ms(s, conf->session_idle_ms + busy_ms, longest);
    if (node_use_session(s, ms))
        adit_log(ADIT_LOG_WARN, "session_use_not_recorded",
                 LOG_S("sandbox", node_record(s)->sandbox_id));
}
