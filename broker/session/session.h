/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session API (docs/session-api.md): sandboxes for front ends that think in sessions of users.
 *
 * What is in this room knows of the control API's requests and of the node, and nothing there knows
 * of it but the handlers' names. Everything is on the control loop's thread but for what says
 * otherwise (session_upload.c, session_download.c).
 */
#ifndef BROKER_SESSION_SESSION_H
#define BROKER_SESSION_SESSION_H

#include "base/err.h"

/* Executions of one session that wait for one that runs. */
#define SESSION_QUEUE_MAX 64
/* Code of a team's executions that wait or run, and of all teams', counting those above the last
 * size. */
#define SESSION_CODE_MAX (8u * 1024 * 1024)
#define SESSION_CODE_ALL_MAX (64u * 1024 * 1024)
#define SESSION_CODE_SMALL (8u * 1024)

struct api_request;
struct broker;
struct edge_api_request;
struct session_all;

/* Errors: NO_MEMORY. @b outlives it. */
ADIT_MUST_CHECK int session_all_new(struct broker *b, struct session_all **out,
                                    struct adit_err *err);
/* The broker stops: executions that are not over within its drain time are given up. */
void session_all_stop(struct session_all *all);
/* When no request is left. NULL is fine. */
void session_all_free(struct session_all *all);

/* edge_conf.on_api_gone; @broker is the struct broker. */
void session_on_gone(void *broker, const struct edge_api_request *r);

/* Handlers, named by api_routes.c only. */
void session_start(struct api_request *rq);
void session_stop(struct api_request *rq);
void session_status(struct api_request *rq);
void session_execute(struct api_request *rq);
void session_install(struct api_request *rq);
void session_upload(struct api_request *rq);
void session_download(struct api_request *rq);
void session_files(struct api_request *rq);

#endif
