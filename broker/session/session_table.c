/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions, and what of them waits or runs.
 *
 * Theory of operation
 *
 * What: a session is its sandbox. The sandbox's record names the session and has the key that made
 * it, so sessions survive the broker as sandboxes do, and nothing else remembers them. A struct
 * session is there only while requests of it wait or run. Idle time and longest life are the
 * sandbox's own end, which each use moves: to an idle time from now, from the end of what runs, or
 * to the end of its life if that comes first.
 * Ownership: the table owns sessions, sessions own their jobs, a job owns its request. Trust: the
 * key of the request is part of every look-up.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"

/* ---- the table ---- */

int session_all_new(struct broker *b, struct session_all **out, struct adit_err *err)
{
    struct session_all *all = calloc(1, sizeof(*all));
    if (!all)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for sessions");
    all->broker = b;
    adit_map_init(&all->by_name);
    *out = all;
    return 0;
}

void session_all_free(struct session_all *all)
{
    if (all)
        adit_map_fini(&all->by_name);
    free(all);
}

static void make_name(const struct key_identity *who, const char *id, char out[SESSION_NAME_CAP])
{
    (void)snprintf(out, SESSION_NAME_CAP, "%s\n%s\n%s", who->team_id, who->key_id, id); /* fits */
}

struct session *session_find(const struct broker *b, const struct key_identity *who, const char *id)
{
    char name[SESSION_NAME_CAP];
    make_name(who, id, name);
    return adit_map_get(&b->sessions->by_name, adit_view_str(name));
}

struct session *session_get(struct broker *b, const struct key_identity *who, const char *id)
{
    struct session *s = session_find(b, who, id);
    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->all = b->sessions;
    s->who = *who;
    make_name(who, id, s->name);
    (void)snprintf(s->id, sizeof(s->id), "%s", id); /* fits */
    adit_list_init(&s->starters);
    adit_list_init(&s->stoppers);
    adit_list_init(&s->queue);
    if (adit_map_put(&s->all->by_name, adit_view_str(s->name), s) == 0)
        return s;
    free(s);
    return NULL;
}

void session_drop_if_idle(struct session *s)
{
    if (s->is_creating || s->running || s->transfer_cnt > 0 || !adit_list_empty(&s->queue))
        return;
    (void)adit_map_del(&s->all->by_name, adit_view_str(s->name)); /* it is s */
    free(s);
}

/* ---- jobs ---- */

static struct session_job *new_job(struct session *s, struct api_request *rq)
{
    struct session_job *j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    j->session = s;
    j->rq = rq;
    adit_buf_init(&j->cell, SESSION_REQUEST_CELL_MAX);
    return j;
}

/* The job ends, wherever it was; its request is still to be answered. */
struct api_request *session_job_leave(struct session_job *j)
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

struct session_job *session_job_take(struct adit_list *list)
{
    struct adit_list *it = adit_list_first(list);
    if (!it)
        return NULL;
    adit_list_remove(it);
    return ADIT_CONTAINER_OF(it, struct session_job, node);
}

struct session_job *session_job_take_queued(struct session *s)
{
    struct session_job *j = session_job_take(&s->queue);
    s->queue_len -= j != NULL;
    return j;
}

static size_t code_of(const struct session_job *j)
{
    return j->cell.len > SESSION_CODE_SMALL ? j->cell.len : 0;
}

size_t session_code_held(const struct session_all *all, const char *team_id)
{
    size_t pos = 0, held = 0;
    struct adit_view name;
    void *value;
    struct adit_list *it, *tmp;
    while (adit_map_next(&all->by_name, &pos, &name, &value)) {
        struct session *s = value;
        if (team_id && strcmp(s->who.team_id, team_id) != 0)
            continue;
        if (s->running)
            held += code_of(s->running);
        ADIT_LIST_EACH(it, tmp, &s->queue)
        {
            held += code_of(ADIT_CONTAINER_OF(it, struct session_job, node));
        }
    }
    return held;
}

/* A job of the caller's session, whose type counts when it has no sandbox yet. Return: NULL when
 * the request was answered. */
struct session_job *session_job_make(struct api_request *rq, const char *id, const char *type)
{
    struct session *s = session_get(rq->broker, &rq->who, id);
    struct session_job *j = s ? new_job(s, rq) : NULL;
    if (!j) {
        if (s)
            session_drop_if_idle(s);
        api_reply_error(rq, 500, NULL, "out of memory");
        return NULL;
    }
    if (!s->is_creating)
        (void)snprintf(s->type, sizeof(s->type), "%s", type); /* fits */
    net_deadline_init(&j->deadline, &s->all->broker->net, session_job_on_deadline);
    return j;
}

/* ---- sandboxes ---- */

bool session_take_id(struct api_request *rq, char id[RECORD_SESSION_CAP])
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view segment = api_routes_param(rq->route, edge_api_path(rq->edge), "{sessionID}");
    if (session_request_id(segment, id, &err) == 0)
        return true;
    api_reply_error(rq, 400, NULL, "%s", err.msg);
    return false;
}

struct sandbox *session_sandbox(const struct broker *b, const struct key_identity *who,
                                const char *id)
{
    size_t pos = 0;
    struct sandbox *s;
    while ((s = node_next(b->node, who->team_id, &pos))) {
        const struct record *r = node_record(s);
        if (strcmp(r->session.id, id) == 0 && strcmp(r->key_id, who->key_id) == 0)
            return s;
    }
    return NULL;
}

struct sandbox *session_need_sandbox(struct api_request *rq, char id[RECORD_SESSION_CAP])
{
    if (!session_take_id(rq, id))
        return NULL;
    struct sandbox *s = session_sandbox(rq->broker, &rq->who, id);
    if (!s)
        api_reply_error(rq, 404, NULL, "this session has no running sandbox");
    return s;
}

uint64_t session_life_ms(const struct broker *b, const struct key_identity *who)
{
    uint64_t own = (uint64_t)who->timeout_max_s * 1000, longest = b->conf.max_timeout_ms;
    if (own && own < longest)
        longest = own;
    return b->conf.session_life_ms < longest ? b->conf.session_life_ms : longest;
}

/* From now until nothing of it can run any more. */
static uint64_t busy_ms(const struct broker *b, const struct key_identity *who,
                        const struct sandbox *s)
{
    const struct session *session = session_find(b, who, node_record(s)->session.id);
    if (session && session->transfer_cnt > 0)
        return session_life_ms(b, who); /* the client takes the time it takes */
    return session && session->running ? b->conf.session_execute_ms : 0;
}

void session_use(const struct broker *b, const struct key_identity *who, struct sandbox *s)
{
    uint64_t wanted = b->conf.session_idle_ms + busy_ms(b, who, s);
    uint64_t ms = node_within_life_ms(s, wanted, session_life_ms(b, who));
    if (node_use_session(s, ms))
        adit_log(ADIT_LOG_WARN, "session_use_not_recorded",
                 LOG_S("sandbox", node_record(s)->sandbox_id));
}
