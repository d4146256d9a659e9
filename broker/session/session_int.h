/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the session API: sessions, their jobs, and how they are found. */
#ifndef BROKER_SESSION_SESSION_INT_H
#define BROKER_SESSION_SESSION_INT_H

#include "broker/api/api.h"
#include "broker/session/session.h"
#include "broker/session/session_run.h"

/* team, key and session id with something between them */
#define SESSION_NAME_CAP (2 * KEY_CACHE_TEAM_CAP + RECORD_SESSION_CAP)

/* owned by: the broker. @held: what results of executions hold */
struct session_all {
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
struct session_job {
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
 * @transfer_cnt: uploads and downloads under way
 */
struct session {
    struct session_all *all;
    char name[SESSION_NAME_CAP], id[RECORD_SESSION_CAP];
    struct key_identity who;
    bool is_creating;
    char sandbox_id[SANDBOX_ID_CAP], type[RECORD_SESSION_TYPE_CAP];
    int64_t created_ns;
    struct adit_list starters, stoppers, queue;
    size_t queue_len, transfer_cnt;
    struct session_job *running;
};

/* ---- session_table.c ---- */

/* The session's id of a request's path. Return: false when it was answered (400). */
bool session_take_id(struct api_request *rq, char id[RECORD_SESSION_CAP]);
/* A key's session, if something of it waits or runs. */
struct session *session_find(const struct broker *b, const struct key_identity *who,
                             const char *id);
/* That one, or a new one. Return: NULL without memory. */
struct session *session_get(struct broker *b, const struct key_identity *who, const char *id);
void session_drop_if_idle(struct session *s);

/* The running sandbox of a key's session, or NULL. */
struct sandbox *session_sandbox(const struct broker *b, const struct key_identity *who,
                                const char *id);
/* The same for a request that needs one. Return: NULL when it was answered (404). */
struct sandbox *session_need_sandbox(struct api_request *rq, char id[RECORD_SESSION_CAP]);
/* The longest life of such a sandbox. */
uint64_t session_life_ms(const struct broker *b, const struct key_identity *who);
/* It is used now, and for as long as something of its session runs. */
void session_use(const struct broker *b, const struct key_identity *who, struct sandbox *s);

/* A job of the caller's session, whose type counts when it has no sandbox yet. Return: NULL when
 * the request was answered. */
struct session_job *session_job_make(struct api_request *rq, const char *id, const char *type);
/* The job ends, wherever it was; its request is still to be answered. */
struct api_request *session_job_leave(struct session_job *j);
/* The first of a list, taken out, or NULL; of the queue the same. */
struct session_job *session_job_take(struct adit_list *list);
struct session_job *session_job_take_queued(struct session *s);
/* What counts of SESSION_CODE_MAX; with @team_id NULL of SESSION_CODE_ALL_MAX. */
size_t session_code_held(const struct session_all *all, const char *team_id);

/* ---- session_life.c ---- */

/* Make a sandbox for those who wait for it; all of them are told when it fails. */
void session_create(struct session *s);

/* ---- session_execute.c ---- */

/* Begin what can begin; the session may be gone after it. */
void session_pump(struct session *s);
/* Give up the execution that runs, and those that wait. */
void session_fail_executions(struct session *s, const char *why);
/* Its time is over. */
void session_job_on_deadline(struct net_deadline *d);

#endif
