/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uploads and downloads share: made on the control loop, used on the client's relay loop,
 * freed on the control loop.
 */
#ifndef BROKER_SESSION_SESSION_TRANSFER_H
#define BROKER_SESSION_SESSION_TRANSFER_H

#include "broker/session/session_guest.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"
#include "net/http_server.h"
#include "net/multipart.h"

/* envd's answers to an upload, and its refusals. */
#define SESSION_TRANSFER_ANSWER_MAX (64u * 1024)

/*
 * @session:   whose sandbox is kept while it runs. On the control loop
 * @path:      of the file to fetch, or of the directory to put one into
 * @edge, @x, @call: on the relay loop; @call NULL before the guest is asked and when it has
 * answered
 * @form:      of an upload; @is_file: its file's bytes come; @has_file: they have begun
 * @has_ended: the client has sent all
 * @status:    of envd's answer; @answer: its body, of an upload or a refusal
 */
struct session_transfer {
    struct session *session;
    struct session_guest guest;
    char path[SESSION_REQUEST_PATH_MAX + 1];
    struct edge_api_request *edge;
    struct http_exchange *x;
    struct http_pool *pool;
    struct http_call *call;
    struct multipart *form;
    bool is_file, has_file, has_ended;
    unsigned status;
    struct adit_buf answer;
};

/* On the control loop: the caller's transfer, with what its request says. @fallback: of the path.
 * Return: NULL when the request was answered. */
struct session_transfer *session_transfer_new(struct api_request *rq, const char *fallback);
/* Hand it over; @rq is dead after it. */
void session_transfer_start(struct session_transfer *t, struct api_request *rq,
                            const struct edge_transfer_ops *ops);
/* edge_transfer_ops.over */
void session_transfer_free(void *transfer);

/* The rest is of the relay loop. Ask envd for the file at @path. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int session_transfer_call(struct session_transfer *t, enum http_method method,
                                          struct adit_view path, enum http_body body,
                                          const struct http_call_ops *ops, struct adit_err *err);
/* Keep a piece of envd's answer. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int session_transfer_keep(struct session_transfer *t, struct adit_view bytes);
/* Each ends the transfer, whatever was under way. */
void session_transfer_fail(struct session_transfer *t, unsigned status, const char *why);
/* envd's refusal, in its own words. */
void session_transfer_refuse(struct session_transfer *t);
/* The client is gone, or was reset. */
void session_transfer_drop(struct session_transfer *t);
/* @body: JSON */
void session_transfer_reply(struct session_transfer *t, unsigned status, struct adit_view body);
/* The exchange has ended already. */
void session_transfer_done(struct session_transfer *t, unsigned status);

#endif
