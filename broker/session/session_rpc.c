/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One unary call of envd's Connect services.
 *
 * Theory of operation
 *
 * What: a message in JSON each way, as any client of envd speaks. Ownership: a call frees itself
 * with its callback or a cancel. Limits: SESSION_RPC_ANSWER_MAX bytes, SESSION_RPC_MS for all of
 * it. Trust: the answer is the sandbox's; it is an object, or a failure.
 */
#include "broker/session/session_rpc.h"

#include <stdlib.h>

#include "base/json.h"
#include "broker/jtext.h"

#define QUESTION_MAX (64u * 1024)

struct session_rpc {
    struct http_call *call;
    struct adit_buf question, answer;
    unsigned status;
    struct net_deadline deadline;
    session_rpc_fn on_done;
    void *user;
};

static void free_rpc(struct session_rpc *c)
{
    net_deadline_cancel(&c->deadline);
    if (c->call)
        http_call_cancel(c->call);
    adit_buf_fini(&c->question);
    adit_buf_fini(&c->answer);
    free(c);
}

void session_rpc_cancel(struct session_rpc *c)
{
    free_rpc(c);
}

static void finish(struct session_rpc *c, const json_t *answer, const struct adit_err *err)
{
    session_rpc_fn on_done = c->on_done;
    void *user = c->user;
    free_rpc(c);
    on_done(user, answer, err);
}

static void fail(struct session_rpc *c, int code, const char *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, code, "%s", why); /* only told */
    finish(c, NULL, &err);
}

/* envd's own words. */
static void refuse(struct session_rpc *c, const json_t *answer)
{
    const char *message = NULL;
    int code = c->status == 404   ? ADIT_ERR_NOT_FOUND
               : c->status == 400 ? ADIT_ERR_BAD_INPUT
                                  : ADIT_ERR_UNAVAILABLE;
    if (jtext_string(answer, "message", &message, NULL) || !message)
        message = "the sandbox refused";
    fail(c, code, message);
}

static void on_end(struct http_call *call)
{
    struct session_rpc *c = http_call_user(call);
    json_t *answer = adit_json_load(adit_buf_view(&c->answer), JSON_REJECT_DUPLICATES, NULL);
    c->call = NULL;
    if (!json_is_object(answer))
        fail(c, ADIT_ERR_PROTOCOL, "the sandbox did not answer as it should");
    else if (c->status == 200)
        finish(c, answer, NULL);
    else
        refuse(c, answer);
    json_decref(answer);
}

static void on_head(struct http_call *call, const struct http_head *head)
{
    ((struct session_rpc *)http_call_user(call))->status = head->status;
}

static void on_body(struct http_call *call, struct adit_view bytes)
{
    struct session_rpc *c = http_call_user(call);
    int rc = adit_buf_append_view(&c->answer, bytes);
    if (rc)
        fail(c, rc, rc == ADIT_ERR_LIMIT ? "the sandbox's answer is too long" : "out of memory");
}

static void on_fail(struct http_call *call, const struct adit_err *err)
{
    struct session_rpc *c = http_call_user(call);
    struct adit_err why = *err;
    c->call = NULL;
    finish(c, NULL, &why);
}

static const struct http_call_ops call_ops = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void on_due(struct net_deadline *d)
{
    fail(ADIT_CONTAINER_OF(d, struct session_rpc, deadline), ADIT_ERR_TIMEOUT,
         "the sandbox did not answer in time");
}

static int send_question(struct session_rpc *c, struct http_pool *pool,
                         const struct session_guest *guest, const char *path, struct adit_err *err)
{
    struct session_guest_head fields = {.method = "POST",
                                        .target = adit_view_str(path),
                                        .content_type = "application/json",
                                        .body = HTTP_BODY_LENGTH,
                                        .length = c->question.len};
    struct adit_buf head;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    int rc = session_guest_write_head(guest, &fields, &head);
    if (rc)
        rc = adit_err_set(err, rc, "out of memory");
    else
        rc = http_call_start(pool, HTTP_POST, false, adit_buf_view(&head), HTTP_BODY_LENGTH,
                             &call_ops, c, &c->call, err);
    adit_buf_fini(&head);
    if (rc)
        return rc;
    rc = http_call_write_body(c->call, adit_buf_view(&c->question)); /* less than may be queued */
    if (rc)
        return adit_err_set(err, rc, "the sandbox was not asked");
    http_call_end_body(c->call);
    return 0;
}

int session_rpc_start(struct http_pool *pool, const struct session_guest *guest, const char *path,
                      json_t *take_question, session_rpc_fn on_done, void *user,
                      struct session_rpc **out, struct adit_err *err)
{
    struct session_rpc *c = take_question ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        json_decref(take_question);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    c->on_done = on_done;
    c->user = user;
    adit_buf_init(&c->question, QUESTION_MAX);
    adit_buf_init(&c->answer, SESSION_RPC_ANSWER_MAX);
    net_deadline_init(&c->deadline, http_pool_loop(pool), on_due);
    int rc = jtext_append(&c->question, take_question);
    json_decref(take_question);
    rc = rc ? adit_err_set(err, rc, "out of memory") : send_question(c, pool, guest, path, err);
    if (rc) {
        free_rpc(c);
        return rc;
    }
    net_deadline_arm(&c->deadline, SESSION_RPC_MS);
    *out = c;
    return 0;
}
