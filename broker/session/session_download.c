/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads from a session's sandbox.
 *
 * Theory of operation
 *
 * What: envd's answer to GET /files goes to the client as it comes, under a head of our own. While
 * the client takes no more the guest's answer is not read on. Failure: a refusal is gathered and
 * told in the session API's form; when the guest breaks off after the head has left, the client is
 * reset, so that a part is never taken for the whole.
 */
#include "broker/session/session_transfer.h"

/* "attachment", with the name twice (RFC 6266): as ASCII, what is none of it replaced, and whole.
 */
static int append_disposition(struct adit_buf *b, struct adit_view name)
{
    int rc = adit_buf_append_str(b, "attachment; filename=\"");
    bool is_plain = true;
    for (size_t i = 0; i < name.len && rc == 0; i++) {
        char c = name.ptr[i];
        bool fits = c >= ' ' && c <= '~' && c != '"' && c != '\\';
        is_plain = is_plain && fits;
        rc = adit_buf_append_char(b, fits ? c : '_');
    }
    if (rc == 0)
        rc = adit_buf_append_char(b, '"');
    if (rc || is_plain)
        return rc;
    rc = adit_buf_append_str(b, "; filename*=UTF-8''");
    return rc ? rc : session_request_append_escaped(b, name);
}

static int set_headers(struct session_transfer *t)
{
    struct adit_view name;
    struct adit_buf text;
    if (session_request_file_name(adit_view_str(t->path), &name, NULL))
        name = adit_view_str("download");
    adit_buf_init(&text, HTTP_LINE_CAP);
    int rc = append_disposition(&text, name);
    if (rc == 0)
        rc = http_exchange_header(t->x, (struct adit_view)ADIT_VIEW("Content-Disposition"),
                                  adit_buf_view(&text));
    if (rc == 0)
        rc = http_exchange_header_str(t->x, "Content-Type", "application/octet-stream");
    adit_buf_fini(&text);
    return rc;
}

/* ---- from the guest ---- */

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct session_transfer *t = http_call_user(c);
    t->status = head->status;
    if (head->status != 200)
        return; /* its body says why */
    if (set_headers(t)) {
        http_exchange_reset(t->x);
        session_transfer_drop(t);
        return;
    }
    http_exchange_begin(t->x, 200,
                        head->has_content_length ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_CHUNKED,
                        head->content_length);
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct session_transfer *t = http_call_user(c);
    if (t->status != 200) {
        if (session_transfer_keep(t, bytes))
            session_transfer_refuse(t);
        return;
    }
    (void)http_exchange_write(t->x, bytes); /* if the client is gone on_abort comes */
    if (http_exchange_is_congested(t->x))
        http_call_pause(c);
}

static void on_end(struct http_call *c)
{
    struct session_transfer *t = http_call_user(c);
    t->call = NULL;
    if (t->status != 200) {
        session_transfer_refuse(t);
        return;
    }
    http_exchange_end(t->x);
    session_transfer_done(t, 200);
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct session_transfer *t = http_call_user(c);
    t->call = NULL;
    if (t->status != 200) {
        session_transfer_fail(t, 500, err->msg);
        return;
    }
    http_exchange_reset(t->x);
    session_transfer_drop(t);
}

static const struct http_call_ops call_ops = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

/* ---- from the client ---- */

static void on_client_drain(struct http_exchange *x)
{
    struct session_transfer *t = http_exchange_user(x);
    if (t->call)
        http_call_resume(t->call);
}

static void on_client_gone(struct http_exchange *x, const struct adit_err *err)
{
    (void)err;
    session_transfer_drop(http_exchange_user(x));
}

static const struct http_exchange_ops exchange_ops = {.on_drain = on_client_drain,
                                                      .on_abort = on_client_gone};

static void begin(void *user, struct edge_api_request *r, struct http_exchange *x,
                  struct http_pool *pool, const struct adit_err *err)
{
    struct session_transfer *t = user;
    struct adit_err failure = ADIT_ERR_INIT;
    t->edge = r;
    t->x = x;
    t->pool = pool;
    if (err) {
        session_transfer_fail(t, err->code == ADIT_ERR_NOT_FOUND ? 404 : 500, err->msg);
        return;
    }
    http_exchange_set_ops(x, &exchange_ops, t);
    if (session_transfer_call(t, HTTP_GET, adit_view_str(t->path), HTTP_BODY_NONE, &call_ops,
                              &failure))
        session_transfer_fail(t, 500, failure.msg);
}

static const struct edge_transfer_ops transfer_ops = {.begin = begin,
                                                      .over = session_transfer_free};

void session_download(struct api_request *rq)
{
    struct session_transfer *t = session_transfer_new(rq, NULL);
    if (t)
        session_transfer_start(t, rq, &transfer_ops);
}
