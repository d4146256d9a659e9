/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: their sandboxes' beginnings and ends, and their executions in order.
 *
 * Theory of operation
 *
 *   (nothing) ── start, execute ──> CREATING ──> READY <──> EXECUTING      ── stop ──> (nothing)
 *
 * What: a struct session is there only while it has requests that wait: for its sandbox to be made,
 * or for the execution before theirs. All who wait for a sandbox get the same one. Executions of a
 * session run one at a time in the order they came, those of different sessions side by side. A
 * stop waits for nothing but a sandbox that is being made; executions that run or wait then are
 * given up.
 * Ownership: the table owns sessions, sessions own their jobs, a job owns its request. Limits:
 * SESSION_QUEUE_MAX jobs a session; a job is answered within --session-execute-timeout, its wait
 * included. Failure: a sandbox that cannot be made is told to all who wait for it; one that ends
 * while it executes is told to that execution, and the next one gets a new sandbox.
 */
#include "broker/session/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/creation.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"
#include "broker/session/session_run.h"

#define NS_PER_MS UINT64_C(1000000)
/* team, key and session id with something between them */
#define NAME_CAP (2 * KEY_CACHE_TEAM_CAP + RECORD_SESSION_CAP)
/* A Host as long as a line, and the rest of an artifact's URL */
#define URL_CAP (HTTP_LINE_CAP + 2048)

/* owned by: the broker. @held: what results of executions hold */
struct sessions {
    struct broker *broker;
    struct adit_map by_name;
    size_t held;
    bool is_stopping;
};

/*
 * A request that waits. owned by: one of its session's lists, or session.running
 *
 * @cell, @run, @deadline, @began_ns: of executions
 */
struct job {
    struct adit_list node;
    struct session *session;
    struct api_request *rq;
    struct adit_buf cell;
    struct session_run *run;
    struct net_deadline deadline;
    uint64_t began_ns;
};

/*
 * @sandbox_id, @type, @created_ns: while it is created
 * @starters, @stoppers: who waits for the creation
 * @queue:   executions that wait; @running: the one that runs
 */
struct session {
    struct sessions *all;
    char name[NAME_CAP], id[RECORD_SESSION_CAP];
    struct key_identity who;
    bool is_creating;
    char sandbox_id[SANDBOX_ID_CAP], type[RECORD_SESSION_TYPE_CAP];
    int64_t created_ns;
    struct adit_list starters, stoppers, queue;
    size_t queue_len;
    struct job *running;
};

static void pump(struct session *s);

int session_all_new(struct broker *b, struct sessions **out, struct adit_err *err)
{
    struct sessions *all = calloc(1, sizeof(*all));
    if (!all)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for sessions");
    all->broker = b;
    adit_map_init(&all->by_name);
    *out = all;
    return 0;
}

void session_all_free(struct sessions *all)
{
    if (all)
        adit_map_fini(&all->by_name);
    free(all);
}

/* ---- the table ---- */

static void make_name(const struct api_request *rq, const char *id, char out[NAME_CAP])
{
    (void)snprintf(out, NAME_CAP, "%s\n%s\n%s", rq->who.team_id, rq->who.key_id, id); /* fits */
}

static struct session *find(const struct api_request *rq, const char *id)
{
    char name[NAME_CAP];
    make_name(rq, id, name);
    return adit_map_get(&rq->broker->sessions->by_name, adit_view_str(name));
}

/* The one that there is, or a new one. Return: NULL without memory. */
static struct session *get(const struct api_request *rq, const char *id)
{
    struct session *s = find(rq, id);
    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->all = rq->broker->sessions;
    s->who = rq->who;
    make_name(rq, id, s->name);
    (void)snprintf(s->id, sizeof(s->id), "%s", id); /* fits */
    adit_list_init(&s->starters);
    adit_list_init(&s->stoppers);
    adit_list_init(&s->queue);
    if (adit_map_put(&s->all->by_name, adit_view_str(s->name), s) == 0)
        return s;
    free(s);
    return NULL;
}

static void drop_if_idle(struct session *s)
{
    if (s->is_creating || s->running || !adit_list_empty(&s->queue))
        return;
    (void)adit_map_del(&s->all->by_name, adit_view_str(s->name)); /* it is s */
    free(s);
}

/* ---- jobs ---- */

static struct job *job_new(struct session *s, struct api_request *rq)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    j->session = s;
    j->rq = rq;
    adit_buf_init(&j->cell, SESSION_REQUEST_CELL_MAX);
    return j;
}

/* The job ends, wherever it was; its request is still to be answered. */
static struct api_request *leave(struct job *j)
{
    struct api_request *rq = j->rq;
    if (net_deadline_is_armed(&j->deadline))
        net_deadline_cancel(&j->deadline);
    if (j->run)
        session_run_cancel(j->run);
    adit_buf_fini(&j->cell);
    free(j);
    return rq;
}

static struct job *take_first(struct adit_list *list)
{
    struct adit_list *it = adit_list_first(list);
    if (!it)
        return NULL;
    adit_list_remove(it);
    return ADIT_CONTAINER_OF(it, struct job, node);
}

static struct job *take_queued(struct session *s)
{
    struct job *j = take_first(&s->queue);
    s->queue_len -= j != NULL;
    return j;
}

static void fail_queue(struct session *s, const char *why)
{
    struct job *j;
    while ((j = take_queued(s)))
        api_reply_error(leave(j), 500, NULL, "%s", why);
}

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
    api_reply_json(rq, 200,
                   make_info(r->sandbox_id, r->session.id, r->session.type, "running",
                             r->started_ns, r->session.active_ns));
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
    struct job *j;
    while ((j = take_first(&s->starters)))
        reply_fault(leave(j), r);
    while ((j = take_queued(s)))
        reply_fault(leave(j), r);
    while ((j = take_first(&s->stoppers)))
        api_reply_empty(leave(j), 204);
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
    struct job *first = take_first(&s->stoppers), *j;
    if (!first)
        return;
    fail_queue(s, "the sandbox was stopped");
    node_kill(sandbox, "its session was stopped", on_killed, leave(first));
    while ((j = take_first(&s->stoppers)))
        api_reply_empty(leave(j), 204);
}

static void on_created(void *user, const struct creation_result *r)
{
    struct session *s = user;
    struct job *j;
    s->is_creating = false;
    if (r->fault) {
        fail_all(s, r);
    } else {
        while ((j = take_first(&s->starters)))
            reply_running(leave(j), r->sandbox);
        kill_for_stoppers(s, r->sandbox);
    }
    pump(s);
}

static uint64_t first_life_ms(const struct session *s)
{
    const struct broker_conf *conf = &s->all->broker->conf;
    uint64_t ms = conf->session_idle_ms + conf->session_execute_ms;
    uint64_t own = (uint64_t)s->who.timeout_max_s * 1000;
    if (conf->session_life_ms < ms)
        ms = conf->session_life_ms;
    return own && own < ms ? own : ms;
}

/* For those who wait for it; all of them are told when it fails. */
static void create(struct session *s)
{
    const struct broker_conf *conf = &s->all->broker->conf;
    bool is_custom = strcmp(s->type, SESSION_REQUEST_CUSTOM) == 0;
    struct adit_err err = ADIT_ERR_INIT;
    struct creation_result failed = {.fault = CREATION_NOT_PLACED, .err = &err};
    struct creation_spec spec = {
        .template_ref = is_custom ? conf->session_custom : conf->session_template,
        .wanted = {.sandbox_id = s->sandbox_id,
                   .team_id = s->who.team_id,
                   .key_id = s->who.key_id,
                   .timeout_ms = first_life_ms(s),
                   .secure = true,
                   .mask_host = "",
                   .session_id = s->id,
                   .session_type = s->type},
    };
    sandbox_id_make(s->sandbox_id);
    s->created_ns = adit_clock_wall_ns();
    s->is_creating = true;
    if (creation_start(s->all->broker, &spec, on_created, s, &err) == 0)
        return;
    s->is_creating = false;
    fail_all(s, &failed);
}

/* ---- executing ---- */

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

static int format_result(const struct job *j, const struct session_run_end *end,
                         struct adit_buf *out)
{
    uint64_t took_ms = (adit_clock_mono_ns() - j->began_ns + NS_PER_MS - 1) / NS_PER_MS;
    struct adit_buf urls;
    int rc = 0;
    adit_buf_init(&urls, (size_t)SESSION_RESULT_ARTIFACTS_MAX * URL_CAP);
    for (size_t i = 0; i < end->path_cnt && rc == 0; i++)
        rc = append_url(j->rq, j->session->id, end->paths[i], &urls);
    if (rc == 0)
        rc = session_result_format(end->result, took_ms ? took_ms : 1, adit_buf_view(&urls), out);
    adit_buf_fini(&urls);
    return rc;
}

static void reply_result(struct job *j, const struct session_run_end *end)
{
    struct adit_buf text;
    adit_buf_init(&text, SESSION_RESULT_DOCUMENT_MAX);
    if (end->err)
        api_reply_error(leave(j), 500, NULL, "the code could not be executed: %s", end->err->msg);
    else if (format_result(j, end, &text))
        api_reply_error(leave(j), 500, NULL, "out of memory");
    else
        api_reply_text(leave(j), 200, adit_buf_view(&text));
    adit_buf_fini(&text);
}

/* The session's execution is over, and its sandbox, if it is still there, is idle. */
static void end_running(struct session *s)
{
    const struct job *j = adit_steal(&s->running);
    struct sandbox *sandbox = session_sandbox(j->rq, s->id);
    if (sandbox)
        session_use(j->rq, sandbox, 0);
}

static void on_run_done(void *user, const struct session_run_end *end)
{
    struct job *j = user;
    struct session *s = j->session;
    j->run = NULL;
    end_running(s);
    reply_result(j, end);
    pump(s);
}

static void on_deadline(struct net_deadline *d)
{
    struct job *j = ADIT_CONTAINER_OF(d, struct job, deadline);
    struct session *s = j->session;
    if (s->running == j) {
        end_running(s);
    } else {
        adit_list_remove(&j->node);
        s->queue_len--;
    }
    if (s->all->is_stopping)
        api_reply_error(leave(j), 500, NULL, "the server is stopping");
    else
        api_reply_error(leave(j), 408, NULL, "the code did not end in time");
    pump(s);
}

static int run(struct job *j, struct sandbox *sandbox, struct adit_err *err)
{
    struct broker *b = j->session->all->broker;
    struct session_guest guest;
    session_use(j->rq, sandbox, b->conf.session_execute_ms);
    session_guest_init(&guest, b, sandbox);
    j->began_ns = adit_clock_mono_ns();
    return session_run_start(&b->net, &guest, adit_buf_view(&j->cell), &j->session->all->held,
                             on_run_done, j, &j->run, err);
}

/* Begin what can begin; the session may be gone after it. */
static void pump(struct session *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    while (!s->is_creating && !s->running && !adit_list_empty(&s->queue)) {
        struct job *first = ADIT_CONTAINER_OF(adit_list_first(&s->queue), struct job, node);
        struct sandbox *sandbox = session_sandbox(first->rq, s->id);
        if (!sandbox) {
            create(s);
            continue;
        }
        s->running = take_queued(s);
        if (run(s->running, sandbox, &err))
            api_reply_error(leave(adit_steal(&s->running)), 500, NULL, "%s", err.msg);
    }
    drop_if_idle(s);
}

void session_all_stop(struct sessions *all)
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
            net_deadline_arm(&ADIT_CONTAINER_OF(it, struct job, node)->deadline, ms);
        }
    }
}

/* ---- handlers ---- */

/* A job of the caller's session, whose type counts when it has no sandbox yet. Return: NULL when
 * the request was answered. */
static struct job *make_job(struct api_request *rq, const char *id, const char *type)
{
    struct session *s = get(rq, id);
    struct job *j = s ? job_new(s, rq) : NULL;
    if (!j) {
        if (s)
            drop_if_idle(s);
        api_reply_error(rq, 500, NULL, "out of memory");
        return NULL;
    }
    if (!s->is_creating)
        (void)snprintf(s->type, sizeof(s->type), "%s", type); /* fits */
    net_deadline_init(&j->deadline, &s->all->broker->net, on_deadline);
    return j;
}

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
    struct sandbox *sandbox = session_sandbox(rq, id);
    if (sandbox) {
        session_use(rq, sandbox, 0);
        reply_running(rq, sandbox);
        return;
    }
    struct job *j = make_job(rq, id, is_custom ? SESSION_REQUEST_CUSTOM : SESSION_REQUEST_TYPE);
    if (!j)
        return;
    struct session *s = j->session;
    adit_list_push(&s->starters, &j->node);
    if (!s->is_creating)
        create(s);
    pump(s);
}

void session_stop(struct api_request *rq)
{
    char id[RECORD_SESSION_CAP];
    if (!session_take_id(rq, id))
        return;
    struct session *s = find(rq, id);
    struct sandbox *sandbox = session_sandbox(rq, id);
    if (s && s->is_creating) {
        struct job *j = make_job(rq, id, s->type);
        if (j)
            adit_list_push(&s->stoppers, &j->node);
        return;
    }
    if (s && s->running)
        api_reply_error(leave(adit_steal(&s->running)), 500, NULL, "the sandbox was stopped");
    if (s) {
        fail_queue(s, "the sandbox was stopped");
        drop_if_idle(s);
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
    const struct session *s = find(rq, id);
    const struct sandbox *sandbox = session_sandbox(rq, id);
    if (sandbox)
        reply_running(rq, sandbox);
    else if (s && s->is_creating)
        api_reply_json(
            rq, 200,
            make_info(s->sandbox_id, s->id, s->type, "starting", s->created_ns, s->created_ns));
    else
        api_reply_text(rq, 200, adit_view_str("null"));
}

typedef int (*cell_fn)(struct adit_view body, struct adit_buf *cell, struct adit_err *err);

static void enqueue(struct job *j)
{
    struct session *s = j->session;
    const struct sessions *all = s->all;
    uint64_t ms = all->broker->conf.session_execute_ms;
    if (all->is_stopping && all->broker->conf.drain_ms < ms)
        ms = all->broker->conf.drain_ms;
    net_deadline_arm(&j->deadline, ms);
    adit_list_push(&s->queue, &j->node);
    s->queue_len++;
    pump(s);
}

static void execute(struct api_request *rq, cell_fn make_cell)
{
    char id[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    if (!session_take_id(rq, id))
        return;
    struct job *j = make_job(rq, id, SESSION_REQUEST_TYPE);
    if (!j)
        return;
    struct session *s = j->session;
    int rc = make_cell(edge_api_body(rq->edge), &j->cell, &err);
    if (rc == 0 && s->queue_len == SESSION_QUEUE_MAX)
        rc = adit_err_set(&err, ADIT_ERR_LIMIT, "more than %d executions wait", SESSION_QUEUE_MAX);
    if (rc == 0) {
        enqueue(j);
        return;
    }
    api_reply_error(leave(j), rc == ADIT_ERR_BAD_INPUT ? 400 : 500, NULL, "%s", err.msg);
    drop_if_idle(s);
}

void session_execute(struct api_request *rq)
{
    execute(rq, session_request_execute);
}

void session_install(struct api_request *rq)
{
    execute(rq, session_request_install);
}
