/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executions of sessions, in order.
 *
 * Theory of operation
 *
 *   waiting ── its turn, and a sandbox is there ──> running ──> answered
 *      └────────────── --session-execute-timeout ─────┴───────> answered (408)
 *      └────────────── its client is gone ────────────┘
 *
 * What: executions of a session run one at a time in the order they came, those of different
 * sessions side by side; one that finds no sandbox begins one. An install is an execution.
 * Limits: SESSION_QUEUE_MAX a session, SESSION_CODE_MAX a team, SESSION_CODE_ALL_MAX together; each
 * is answered in time, its wait included. Failure: a sandbox that ends while it executes is told to
 * that execution, and the next one gets a new sandbox.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"

#define NS_PER_MS UINT64_C(1000000)
/* A Host as long as a line, and the rest of an artifact's URL */
#define URL_CAP (HTTP_LINE_CAP + 2048)

/* Absolute, so that a page of another origin can follow it. */
static int append_url(const struct api_request *rq, const char *session_id, const char *path,
                      struct adit_buf *out)
{
    struct adit_view host = edge_api_header(rq->edge, "Host");
    struct adit_view proto = edge_api_header(rq->edge, "X-Forwarded-Proto");
    bool is_https = edge_api_is_encrypted(rq->edge) || adit_view_eq_str(proto, "https");
    struct adit_buf url;
    adit_buf_init(&url, URL_CAP);
    int rc = adit_buf_appendf(&url, "%s://%.*s/api/v1/session/%s/sandbox/download?path=",
                              is_https ? "https" : "http", ADIT_VIEW_ARG(host), session_id);
    if (rc == 0)
        rc = session_request_append_escaped(&url, adit_view_str(path));
    if (rc == 0)
        rc = adit_buf_append_str(out, out->len ? ",\"" : "\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(out, adit_buf_view(&url));
    if (rc == 0)
        rc = adit_buf_append_char(out, '"');
    adit_buf_fini(&url);
    return rc;
}

static int format_result(const struct session_job *j, const struct session_run_end *end,
                         struct adit_buf *out)
{
    uint64_t took_ms = (adit_clock_mono_ns() - j->began_ns + NS_PER_MS - 1) / NS_PER_MS;
    struct adit_buf urls;
    int rc = 0;
    adit_buf_init(&urls, (size_t)SESSION_RUN_PATHS_MAX * URL_CAP);
    for (size_t i = 0; i < end->path_cnt && rc == 0; i++)
        rc = append_url(j->rq, j->session->id, end->paths[i], &urls);
    if (rc == 0)
        rc = session_result_format(end->result, took_ms ? took_ms : 1, adit_buf_view(&urls), out);
    adit_buf_fini(&urls);
    return rc;
}

static void reply_result(struct session_job *j, const struct session_run_end *end)
{
    struct adit_buf text;
    adit_buf_init(&text, SESSION_RESULT_DOCUMENT_MAX);
    if (end->err)
        api_reply_error(session_job_leave(j), 500, NULL, "the code could not be executed: %s",
                        end->err->msg);
    else if (format_result(j, end, &text))
        api_reply_error(session_job_leave(j), 500, NULL, "out of memory");
    else
        api_reply_text(session_job_leave(j), 200, adit_buf_view(&text));
    adit_buf_fini(&text);
}

/* The session's execution is over, and its sandbox, if it is still there, is idle. */
static void end_running(struct session *s)
{
    struct sandbox *sandbox = session_sandbox(s->all->broker, &s->who, s->id);
    s->running = NULL;
    if (sandbox)
        session_use(s->all->broker, &s->who, sandbox);
}

static void on_run_done(void *user, const struct session_run_end *end)
{
    struct session_job *j = user;
    struct session *s = j->session;
    j->run = NULL;
    end_running(s);
    reply_result(j, end);
    session_pump(s);
}

/* It is given up, wherever it is. */
static void give_up(struct session_job *j, unsigned status, const char *why)
{
    struct session *s = j->session;
    if (s->running == j) {
        end_running(s);
    } else {
        adit_list_remove(&j->node);
        s->queue_len--;
    }
    api_reply_error(session_job_leave(j), status, NULL, "%s", why);
    session_pump(s);
}

void session_job_on_deadline(struct net_deadline *d)
{
    struct session_job *j = ADIT_CONTAINER_OF(d, struct session_job, deadline);
    if (j->session->all->is_stopping)
        give_up(j, 500, "the server is stopping");
    else
        give_up(j, 408, "the code did not end in time");
}

static struct session_job *find_job(const struct session *s, const struct edge_api_request *r)
{
    struct adit_list *it, *tmp;
    if (s->running && s->running->rq->edge == r)
        return s->running;
    ADIT_LIST_EACH(it, tmp, &s->queue)
    {
        struct session_job *j = ADIT_CONTAINER_OF(it, struct session_job, node);
        if (j->rq->edge == r)
            return j;
    }
    return NULL;
}

void session_on_gone(void *broker, const struct edge_api_request *r)
{
    const struct broker *b = broker;
    struct session_job *j = NULL;
    struct adit_view name;
    size_t pos = 0;
    void *s;
    while (!j && adit_map_next(&b->sessions->by_name, &pos, &name, &s))
        j = find_job(s, r);
    if (j)
        give_up(j, 500, "the client is gone"); /* only for the log */
}

static int run(struct session_job *j, struct sandbox *sandbox, struct adit_err *err)
{
    struct broker *b = j->session->all->broker;
    struct session_guest guest;
    session_use(b, &j->session->who, sandbox);
    session_guest_init(&guest, b, sandbox);
    j->began_ns = adit_clock_mono_ns();
    return session_run_start(&b->net, &guest, adit_buf_view(&j->cell), &j->session->all->held,
                             on_run_done, j, &j->run, err);
}

void session_pump(struct session *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    while (!s->is_creating && !s->running && !adit_list_empty(&s->queue)) {
        struct sandbox *sandbox = session_sandbox(s->all->broker, &s->who, s->id);
        if (!sandbox) {
            session_create(s);
            continue;
        }
        s->running = session_job_take_queued(s);
        if (run(s->running, sandbox, &err))
            api_reply_error(session_job_leave(adit_steal(&s->running)), 500, NULL, "%s", err.msg);
    }
    session_drop_if_idle(s);
}

void session_fail_executions(struct session *s, const char *why)
{
    struct session_job *j = adit_steal(&s->running);
    if (j)
        api_reply_error(session_job_leave(j), 500, NULL, "%s", why);
    while ((j = session_job_take_queued(s)))
        api_reply_error(session_job_leave(j), 500, NULL, "%s", why);
}

void session_all_stop(struct session_all *all)
{
    size_t pos = 0;
    struct adit_view name;
    void *value;
    struct adit_list *it, *tmp;
    uint64_t ms = all->broker->conf.drain_ms;
    all->is_stopping = true;
    while (adit_map_next(&all->by_name, &pos, &name, &value)) {
        struct session *s = value;
        if (s->running)
            net_deadline_arm(&s->running->deadline, ms);
        ADIT_LIST_EACH(it, tmp, &s->queue)
        {
            net_deadline_arm(&ADIT_CONTAINER_OF(it, struct session_job, node)->deadline, ms);
        }
    }
}

/* ---- handlers ---- */

typedef int (*cell_fn)(struct adit_view body, struct adit_buf *cell, struct adit_err *err);

static void enqueue(struct session_job *j)
{
    struct session *s = j->session;
    const struct session_all *all = s->all;
    uint64_t ms = all->broker->conf.session_execute_ms;
    if (all->is_stopping && all->broker->conf.drain_ms < ms)
        ms = all->broker->conf.drain_ms;
    net_deadline_arm(&j->deadline, ms);
    adit_list_push(&s->queue, &j->node);
    s->queue_len++;
    session_pump(s);
}

/* Is there room for one more? */
static int check_room(const struct session_job *j, struct adit_err *err)
{
    const struct session *s = j->session;
    if (s->queue_len == SESSION_QUEUE_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d executions wait", SESSION_QUEUE_MAX);
    if (j->cell.len <= SESSION_CODE_SMALL)
        return 0;
    if (session_code_held(s->all, NULL) + j->cell.len > SESSION_CODE_ALL_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too much code waits and runs");
    if (session_code_held(s->all, s->who.team_id) + j->cell.len > SESSION_CODE_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %u bytes of code wait and run",
                            SESSION_CODE_MAX);
    return 0;
}

static void execute(struct api_request *rq, cell_fn make_cell)
{
    char id[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    if (!session_take_id(rq, id))
        return;
    struct session_job *j = session_job_make(rq, id, SESSION_REQUEST_TYPE);
    if (!j)
        return;
    struct session *s = j->session;
    int rc = make_cell(edge_api_body(rq->edge), &j->cell, &err);
    edge_api_drop_body(rq->edge);
    if (rc == 0)
        rc = check_room(j, &err);
    if (rc == 0) {
        enqueue(j);
        return;
    }
    api_reply_error(session_job_leave(j), rc == ADIT_ERR_BAD_INPUT ? 400 : 500, NULL, "%s",
                    err.msg);
    session_drop_if_idle(s);
}

void session_execute(struct api_request *rq)
{
    execute(rq, session_request_execute);
}

void session_install(struct api_request *rq)
{
    execute(rq, session_request_install);
}
