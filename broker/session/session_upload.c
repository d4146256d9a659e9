/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads into a session's sandbox.
 *
 * Theory of operation
 *
 *   FORM ── part "file" begins ──> FILE ── it ends ──> REST ── all is there, envd has answered ──>
 *
 * What: a form is read as it comes; the bytes of its part "file" go on to envd as the body of a
 * POST /files, whose path is the request's directory and the part's own name. No byte is copied but
 * where the guest's connection does not take it at once; while that is so, the client is not read
 * on. Other parts are skipped. Failure: whatever breaks before envd has all of the file breaks its
 * upload, which leaves what was there before.
 * Trust: the form is the client's, the answer the sandbox's.
 */
#include <stdio.h>

#include "base/json.h"
#include "broker/jtext.h"
#include "broker/session/session_transfer.h"

#define UPLOAD_DIRECTORY "/home/user/upload"
#define NO_FORM "the body is no form with a part called \"file\""

/* ---- the end ---- */

/* What the file is called now, as envd says. */
static const char *find_path(const json_t *answer)
{
    const char *path = NULL;
    if (jtext_string(json_array_get(answer, 0), "path", &path, NULL))
        return NULL;
    return path;
}

static int format_answer(const char *path, struct adit_buf *out)
{
    int rc = adit_buf_append_str(out, "{\"path\":\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(out, adit_view_str(path));
    return rc ? rc : adit_buf_append_str(out, "\"}");
}

static void succeed(struct session_transfer *t)
{
    json_t *answer = adit_json_load(adit_buf_view(&t->answer), JSON_REJECT_DUPLICATES, NULL);
    const char *path = json_is_array(answer) ? find_path(answer) : NULL;
    struct adit_buf body;
    adit_buf_init(&body, 8 * SESSION_REQUEST_PATH_MAX);
    if (!path)
        session_transfer_fail(t, 500, "the sandbox did not say where the file is");
    else if (format_answer(path, &body))
        session_transfer_fail(t, 500, "out of memory");
    else
        session_transfer_reply(t, 200, adit_buf_view(&body));
    adit_buf_fini(&body);
    json_decref(answer);
}

/* Both sides have said all. */
static void finish(struct session_transfer *t)
{
    if (t->status == 200)
        succeed(t);
    else
        session_transfer_refuse(t);
}

/* ---- from the guest ---- */

static void on_head(struct http_call *c, const struct http_head *head)
{
    ((struct session_transfer *)http_call_user(c))->status = head->status;
}

static void on_answer_body(struct http_call *c, struct adit_view bytes)
{
    struct session_transfer *t = http_call_user(c);
    if (session_transfer_keep(t, bytes))
        session_transfer_fail(t, 500, "the sandbox's answer is too long");
}

static void on_answer_end(struct http_call *c)
{
    struct session_transfer *t = http_call_user(c);
    t->call = NULL;
    if (t->has_ended || t->status != 200)
        finish(t);
    else
        http_exchange_resume(t->x);
}

static void on_guest_drain(struct http_call *c)
{
    http_exchange_resume(((struct session_transfer *)http_call_user(c))->x);
}

static void on_guest_fail(struct http_call *c, const struct adit_err *err)
{
    struct session_transfer *t = http_call_user(c);
    t->call = NULL;
    session_transfer_fail(t, 500, err->msg);
}

static const struct http_call_ops call_ops = {.on_head = on_head,
                                              .on_body = on_answer_body,
                                              .on_end = on_answer_end,
                                              .on_drain = on_guest_drain,
                                              .on_fail = on_guest_fail};

/* ---- from the client ---- */

/* "<directory>/<name>", one slash between them. */
static int join_path(const struct session_transfer *t, struct adit_view name, struct adit_buf *out)
{
    struct adit_view directory = adit_view_str(t->path);
    while (directory.len > 0 && directory.ptr[directory.len - 1] == '/')
        directory.len--;
    int rc = adit_buf_append_view(out, directory);
    if (rc == 0)
        rc = adit_buf_append_char(out, '/');
    return rc ? rc : adit_buf_append_view(out, name);
}

static int begin_file(struct session_transfer *t, const struct multipart_part *part,
                      struct adit_err *err)
{
    struct adit_view name;
    struct adit_buf path;
    int rc = session_request_file_name(part->filename, &name, err);
    if (rc)
        return rc;
    adit_buf_init(&path, SESSION_REQUEST_PATH_MAX);
    if (join_path(t, name, &path))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "the file's path is too long");
    else
        rc = session_transfer_call(t, HTTP_POST, adit_buf_view(&path), HTTP_BODY_CHUNKED, &call_ops,
                                   err);
    adit_buf_fini(&path);
    t->is_file = t->has_file = rc == 0;
    return rc;
}

/* One event of the form. A call that is gone has been answered, or on_fail comes. */
static int take_event(struct session_transfer *t, enum multipart_event event,
                      const struct multipart_part *part, struct adit_view data,
                      struct adit_err *err)
{
    if (event == MULTIPART_EV_PART && !t->has_file && adit_view_eq_str(part->name, "file"))
        return begin_file(t, part, err);
    if (event == MULTIPART_EV_DATA && t->is_file && t->call)
        (void)http_call_write_body(t->call, data); /* after a failure on_fail or the answer comes */
    if (event == MULTIPART_EV_PART_END && t->is_file) {
        t->is_file = false;
        if (t->call)
            http_call_end_body(t->call);
    }
    return 0;
}

static int take_form(struct session_transfer *t, struct adit_view bytes, struct adit_err *err)
{
    enum multipart_event event = MULTIPART_EV_MORE;
    struct multipart_part part;
    struct adit_view data;
    int rc = 0;
    do {
        rc = multipart_next(t->form, &bytes, &part, &data, &event, err);
        if (rc == 0)
            rc = take_event(t, event, &part, data, err);
    } while (rc == 0 && event != MULTIPART_EV_MORE && event != MULTIPART_EV_END);
    return rc;
}

static void fail(struct session_transfer *t, const struct adit_err *err)
{
    session_transfer_fail(t, err->code == ADIT_ERR_NO_MEMORY ? 500 : 400, err->msg);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct session_transfer *t = http_exchange_user(x);
    struct adit_err err = ADIT_ERR_INIT;
    if (take_form(t, bytes, &err))
        fail(t, &err);
    else if (t->call && http_call_is_congested(t->call))
        http_exchange_pause(x);
}

static void on_form_end(struct http_exchange *x)
{
    struct session_transfer *t = http_exchange_user(x);
    struct adit_err err = ADIT_ERR_INIT;
    t->has_ended = true;
    if (multipart_finish(t->form, &err))
        fail(t, &err);
    else if (!t->has_file)
        session_transfer_fail(t, 400, NO_FORM);
    else if (!t->call)
        finish(t);
}

static void on_client_gone(struct http_exchange *x, const struct adit_err *err)
{
    (void)err;
    session_transfer_drop(http_exchange_user(x));
}

static const struct http_exchange_ops exchange_ops = {
    .on_body = on_body, .on_end = on_form_end, .on_abort = on_client_gone};

static void begin(void *user, struct edge_api_request *r, struct http_exchange *x,
                  struct http_pool *pool, const struct adit_err *err)
{
    struct session_transfer *t = user;
    t->edge = r;
    t->x = x;
    t->pool = pool;
    if (err) {
        session_transfer_fail(t, err->code == ADIT_ERR_NOT_FOUND ? 404 : 500, err->msg);
        return;
    }
    http_exchange_set_ops(x, &exchange_ops, t);
    http_exchange_resume(x);
}

static const struct edge_transfer_ops transfer_ops = {.begin = begin,
                                                      .over = session_transfer_free};

void session_upload(struct api_request *rq)
{
    struct session_transfer *t = session_transfer_new(rq, UPLOAD_DIRECTORY);
    if (!t)
        return;
    if (multipart_new(edge_api_header(rq->edge, "Content-Type"), &t->form, NULL)) {
        session_transfer_free(t);
        api_reply_error(rq, 400, NULL, "%s", NO_FORM);
        return;
    }
    session_transfer_start(t, rq, &transfer_ops);
}
