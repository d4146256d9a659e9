/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What uploads and downloads share.
 *
 * Theory of operation
 *
 *   control loop: checked, made ──> relay loop: begun, answered or dropped ──> control loop: freed
 *
 * What: the control loop finds the sandbox that the caller's session has and copies what a call of
 * it takes; then the transfer belongs to one relay loop, which moves the bytes. Every way out of it
 * there goes through session_transfer_done(). Trust: what envd answers is the sandbox's; of it only
 * a status, a length and, for a refusal, a message are taken.
 */
#include "broker/session/session_transfer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "broker/jtext.h"
#include "net/channel.h"

/* ---- on the control loop ---- */

/* The sandbox is in use while it runs. */
static int begin_use(struct session_transfer *t, struct api_request *rq, const char *id,
                     struct sandbox *s)
{
    t->session = session_get(rq->broker, &rq->who, id);
    if (!t->session)
        return ADIT_ERR_NO_MEMORY;
    t->session->transfer_cnt++;
    session_guest_init(&t->guest, rq->broker, s);
    session_use(rq->broker, &rq->who, s);
    return 0;
}

static void end_use(struct session *session)
{
    const struct broker *b = session->all->broker;
    struct sandbox *s = session_sandbox(b, &session->who, session->id);
    session->transfer_cnt--;
    if (s)
        session_use(b, &session->who, s);
    session_drop_if_idle(session);
}

static int init(struct session_transfer *t, struct api_request *rq, const char *id,
                const char *fallback, struct sandbox *s, struct adit_err *err)
{
    int rc = session_request_path(edge_api_query(rq->edge), fallback, t->path, err);
    if (rc)
        return rc;
    if (begin_use(t, rq, id, s))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_init(&t->answer, SESSION_TRANSFER_ANSWER_MAX);
    return 0;
}

struct session_transfer *session_transfer_new(struct api_request *rq, const char *fallback)
{
    char id[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    struct sandbox *s = session_need_sandbox(rq, id);
    if (!s)
        return NULL;
    struct session_transfer *t = calloc(1, sizeof(*t));
    if (!t) {
        api_reply_error(rq, 500, NULL, "out of memory");
        return NULL;
    }
    int rc = init(t, rq, id, fallback, s, &err);
    if (rc == 0)
        return t;
    free(t);
    api_reply_error(rq, rc == ADIT_ERR_BAD_INPUT ? 400 : 500, NULL, "%s", err.msg);
    return NULL;
}

void session_transfer_start(struct session_transfer *t, struct api_request *rq,
                            const struct edge_transfer_ops *ops)
{
    struct edge_api_request *edge = rq->edge;
    api_handed_over(rq);
    edge_api_hand_over(edge, t->guest.sandbox_id, CHANNEL_PORT_ENVD, ops, t);
}

void session_transfer_free(void *transfer)
{
    struct session_transfer *t = transfer;
    multipart_free(t->form);
    adit_buf_fini(&t->answer);
    end_use(t->session);
    free(t);
}

/* ---- on the relay loop ---- */

void session_transfer_done(struct session_transfer *t, unsigned status)
{
    if (t->call)
        http_call_cancel(adit_steal(&t->call));
    edge_transfer_end(t->edge, status);
}

void session_transfer_drop(struct session_transfer *t)
{
    session_transfer_done(t, 0);
}

void session_transfer_reply(struct session_transfer *t, unsigned status, struct adit_view body)
{
    if (http_exchange_header_str(t->x, "Content-Type", "application/json; charset=utf-8"))
        http_exchange_reset(t->x);
    else
        http_exchange_reply(t->x, status, body);
    session_transfer_done(t, status);
}

void session_transfer_fail(struct session_transfer *t, unsigned status, const char *why)
{
    struct adit_buf body;
    adit_buf_init(&body, 8 * ADIT_ERR_MSG_CAP);
    int rc = adit_buf_append_str(&body, "{\"detail\":\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(&body, adit_view_str(why));
    if (rc == 0)
        rc = adit_buf_append_str(&body, "\"}");
    if (rc == 0)
        session_transfer_reply(t, status, adit_buf_view(&body));
    else
        session_transfer_reply(t, 500, adit_view_str("{\"detail\":\"out of memory\"}"));
    adit_buf_fini(&body);
}

void session_transfer_refuse(struct session_transfer *t)
{
    json_t *answer = adit_json_load(adit_buf_view(&t->answer), JSON_REJECT_DUPLICATES, NULL);
    const char *message = NULL;
    char words[ADIT_ERR_MSG_CAP];
    unsigned status = t->status == 404 || t->status == 400 ? t->status : 500;
    if (!json_is_object(answer) || jtext_string(answer, "message", &message, NULL) || !message)
        message = "the sandbox refused";
    (void)snprintf(words, sizeof(words), "%s", message); /* cut when longer */
    json_decref(answer);
    session_transfer_fail(t, status, words);
}

int session_transfer_keep(struct session_transfer *t, struct adit_view bytes)
{
    return adit_buf_append_view(&t->answer, bytes);
}

static int write_head(struct session_transfer *t, const char *method, struct adit_view path,
                      enum http_body body, struct adit_buf *head)
{
    struct adit_buf target;
    adit_buf_init(&target, HTTP_LINE_CAP);
    int rc = session_guest_append_file(&target, path);
    struct session_guest_head fields = {
        .method = method,
        .target = adit_buf_view(&target),
        .content_type = body == HTTP_BODY_NONE ? NULL : "application/octet-stream",
        .body = body};
    if (rc == 0)
        rc = session_guest_write_head(&t->guest, &fields, head);
    adit_buf_fini(&target);
    return rc;
}

int session_transfer_call(struct session_transfer *t, enum http_method method,
                          struct adit_view path, enum http_body body,
                          const struct http_call_ops *ops, struct adit_err *err)
{
    struct adit_buf head;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    int rc = write_head(t, method == HTTP_POST ? "POST" : "GET", path, body, &head);
    if (rc)
        rc = adit_err_set(err, rc, "out of memory");
    else
        rc = http_call_start(t->pool, method, false, adit_buf_view(&head), body, ops, t, &t->call,
                             err);
    adit_buf_fini(&head);
    return rc;
}
