/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the handlers of the session API. */
#ifndef BROKER_SESSION_SESSION_INT_H
#define BROKER_SESSION_SESSION_INT_H

#include "broker/api/api.h"
#include "broker/session/session.h"

/* The session's id of a request's path. Return: false when it was answered (400). */
bool session_take_id(struct api_request *rq, char id[RECORD_SESSION_CAP]);
/* The running sandbox of the caller's session, or NULL. */
struct sandbox *session_sandbox(const struct api_request *rq, const char *id);
/* The same for a request that needs one. Return: NULL when it was answered (404). */
struct sandbox *session_need_sandbox(struct api_request *rq);
/* It is used now, and for @busy_ms from now. */
void session_use(const struct api_request *rq, struct sandbox *s, uint64_t busy_ms);

#endif
