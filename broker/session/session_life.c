/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions' sandboxes: their beginnings and ends.
 *
 * Theory of operation
 *
 *   (nothing) ── start, execute ──> CREATING ──> RUNNING ── stop, its end ──> (nothing)
 *
 * What: all who wait for a sandbox get the same one; one that cannot be made is told to all of
 * them. A stop waits for nothing but a sandbox that is being made; executions that run or wait then
 * are given up.
 */
#include "base/clock.h"
#include "broker/creation.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"

/* ---- what is told of a sandbox ---- */

/* ISO 8601 with an offset in figures, which every client's reader knows. */
static void format_time(int64_t wall_ns, char out[ADIT_CLOCK_RFC3339_CAP])
{
    static const char offset[] = "+00:00";
    adit_clock_format_ms(wall_ns, out);
    char *z = strchr(out, 'Z');
    if (z && (size_t)(z - out) + sizeof(offset) <= ADIT_CLOCK_RFC3339_CAP)
        memcpy(z, offset, sizeof(offset));
}

static json_t *make_info(const char *sandbox_id, const char *session_id, const char *type,
                         const char *status, int64_t created_ns, int64_t active_ns)
{
    char created[ADIT_CLOCK_RFC3339_CAP], active[ADIT_CLOCK_RFC3339_CAP];
    format_time(created_ns, created);
    format_time(active_ns, active);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "sandbox_id", sandbox_id, "session_id",
                     session_id, "sandbox_type", type, "status", status, "created_at", created,
                     "last_activity", active);
}

static void reply_running(struct api_request *rq, const struct sandbox *s)
{
    const struct record *r = node_record(s);
    int64_t active_ns = r->session.active_ns; /* as asked for, until it is used */
    if (active_ns < r->started_ns)
        active_ns = r->started_ns;
    api_reply_json(rq, 200,
                   make_info(r->sandbox_id, r->session.id, r->session.type, "running",
                             r->started_ns, active_ns));
}

/* ---- creating ---- */

static void reply_fault(struct api_request *rq, const struct creation_result *r)
{
    if (r->fault == CREATION_KEY_REVOKED)
        api_refuse_key(rq);
    else
        api_reply_error(rq, 500, NULL, "the sandbox cannot be started: %s", r->err->msg);
}

static void fail_all(struct session *s, const struct creation_result *r)
{
    struct session_job *j;
    while ((j = session_job_take(&s->starters)))
        reply_fault(session_job_leave(j), r);
    while ((j = session_job_take_queued(s)))
        reply_fault(session_job_leave(j), r);
    while ((j = session_job_take(&s->stoppers)))
        api_reply_empty(session_job_leave(j), 204);
}

static void on_killed(void *user, const struct adit_err *err)
{
    struct api_request *rq = user;
    if (err)
        api_reply_error(rq, 500, NULL, "%s", err->msg);
    else
        api_reply_empty(rq, 204);
}

/* The first who asked for it waits for the end. */
static void kill_for_stoppers(struct session *s, struct sandbox *sandbox)
{
    struct session_job *first = session_job_take(&s->stoppers), *j;
    if (!first)
        return;
    session_fail_executions(s, "the sandbox was stopped");
    node_kill(sandbox, "its session was stopped", on_killed, session_job_leave(first));
    while ((j = session_job_take(&s->stoppers)))
        api_reply_empty(session_job_leave(j), 204);
}

static void on_created(void *user, const struct creation_result *r)
{
    struct session *s = user;
    struct session_job *j;
    s->is_creating = false;
    if (r->fault) {
        fail_all(s, r);
    } else {
        while ((j = session_job_take(&s->starters)))
            reply_running(session_job_leave(j), r->sandbox);
        kill_for_stoppers(s, r->sandbox);
    }
    session_pump(s);
}

/* Of a sandbox that nobody uses. */
static uint64_t first_life_ms(const struct session *s)
{
    const struct broker *b = s->all->broker;
    uint64_t longest = session_life_ms(b, &s->who);
    return b->conf.session_idle_ms < longest ? b->conf.session_idle_ms : longest;
}

void session_create(struct session *s)
{
    const struct broker_conf *conf = &s->all->broker->conf;
    bool is_custom = strcmp(s->type, SESSION_REQUEST_CUSTOM) == 0;
    struct adit_err err = ADIT_ERR_INIT;
    struct creation_result failed = {.fault = CREATION_NOT_PLACED, .err = &err};
    struct creation_spec spec = {
        .template_ref = is_custom ? conf->session_custom : conf->session_template,
        .sandbox_id = s->sandbox_id,
        .wanted = {.team_id = s->who.team_id,
                   .key_id = s->who.key_id,
                   .timeout_ms = first_life_ms(s),
                   .secure = true,
                   .mask_host = "",
                   .session_id = s->id,
                   .session_type = s->type},
    };
    s->sandbox_id[0] = '\0';
    s->created_ns = adit_clock_wall_ns();
    s->is_creating = true;
    if (creation_start(s->all->broker, &spec, on_created, s, &err) == 0)
        return;
    s->is_creating = false;
    fail_all(s, &failed);
}

/* ---- handlers ---- */

void session_start(struct api_request *rq)
{
    char id[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    bool is_custom = false;
    if (!session_take_id(rq, id))
        return;
    if (session_request_start(edge_api_body(rq->edge), rq->broker->conf.session_custom, &is_custom,
                              &err)) {
        api_reply_error(rq, err.code == ADIT_ERR_BAD_INPUT ? 400 : 500, NULL, "%s", err.msg);
        return;
    }
    struct sandbox *sandbox = session_sandbox(rq->broker, &rq->who, id);
    if (sandbox) {
        session_use(rq->broker, &rq->who, sandbox);
        reply_running(rq, sandbox);
        return;
    }
    struct session_job *j =
        session_job_make(rq, id, is_custom ? SESSION_REQUEST_CUSTOM : SESSION_REQUEST_TYPE);
    if (!j)
        return;
    struct session *s = j->session;
    adit_list_push(&s->starters, &j->node);
    if (!s->is_creating)
        session_create(s);
    session_pump(s);
}

void session_stop(struct api_request *rq)
{
    char id[RECORD_SESSION_CAP];
    if (!session_take_id(rq, id))
        return;
    struct session *s = session_find(rq->broker, &rq->who, id);
    struct sandbox *sandbox = session_sandbox(rq->broker, &rq->who, id);
    if (s && s->is_creating) {
        struct session_job *j = session_job_make(rq, id, s->type);
        if (j)
            adit_list_push(&s->stoppers, &j->node);
        return;
    }
    if (s) {
        session_fail_executions(s, "the sandbox was stopped");
        session_drop_if_idle(s);
    }
    if (sandbox)
        node_kill(sandbox, "its session was stopped", on_killed, rq);
    else
        api_reply_empty(rq, 204);
}

void session_status(struct api_request *rq)
{
    char id[RECORD_SESSION_CAP];
    if (!session_take_id(rq, id))
        return;
    const struct session *s = session_find(rq->broker, &rq->who, id);
    const struct sandbox *sandbox = session_sandbox(rq->broker, &rq->who, id);
    if (sandbox)
        reply_running(rq, sandbox);
    else if (s && s->is_creating)
        api_reply_json(
            rq, 200,
            make_info(s->sandbox_id, s->id, s->type, "starting", s->created_ns, s->created_ns));
    else
        api_reply_text(rq, 200, adit_view_str("null"));
}
