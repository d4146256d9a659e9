/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a directory of a session's sandbox.
 *
 * Theory of operation
 *
 * What: envd's ListDir, asked as any client asks it, its answer put into the session API's form.
 * Ownership: a listing owns itself and its request, from the call to the answer. Limits:
 * LISTING_MAX bytes of envd's answer, LISTING_MS for it. Trust: the answer is the sandbox's; what
 * is not as ListDir answers is told as a failure.
 */
#include <stdlib.h>

#include "base/json.h"
#include "broker/jtext.h"
#include "broker/session/session_guest.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"
#include "net/channel.h"

/* Some 30,000 names. */
#define LISTING_MAX (8u * 1024 * 1024)
#define LISTING_MS 30000
#define LIST_DIR "/filesystem.Filesystem/ListDir"

/* @status: of envd's answer, @answer: its body */
struct listing {
    struct api_request *rq;
    struct http_pool *pool;
    struct http_call *call;
    struct adit_buf question, answer;
    unsigned status;
    struct net_deadline deadline;
};

/* The listing ends; its request is still to be answered. */
static struct api_request *leave(struct listing *l)
{
    struct api_request *rq = l->rq;
    net_deadline_cancel(&l->deadline);
    if (l->call)
        http_call_cancel(l->call);
    if (l->pool)
        http_pool_close(l->pool);
    adit_buf_fini(&l->question);
    adit_buf_fini(&l->answer);
    free(l);
    return rq;
}

static void fail(struct listing *l, unsigned status, const char *why)
{
    char words[ADIT_ERR_MSG_CAP];
    (void)snprintf(words, sizeof(words), "%s", why); /* it may be the listing's own */
    api_reply_error(leave(l), status, NULL, "%s", words);
}

/* ---- the answer ---- */

/* 64-bit numbers are strings in envd's JSON. */
static json_t *make_file(const json_t *entry)
{
    const char *path = NULL, *type = "", *text = "0";
    uint64_t size = 0;
    if (jtext_string(entry, "path", &path, NULL) || !path ||
        jtext_string(entry, "type", &type, NULL) || jtext_string(entry, "size", &text, NULL) ||
        adit_view_u64(adit_view_str(text), INT64_MAX, &size))
        return NULL;
    return json_pack("{s:s, s:I, s:b}", "path", path, "size", (json_int_t)size, "is_directory",
                     strcmp(type, "FILE_TYPE_DIRECTORY") == 0);
}

static json_t *make_files(const json_t *answer)
{
    json_t *entries = NULL, *files = json_array();
    if (jtext_child(answer, "entries", JSON_ARRAY, &entries, NULL)) {
        json_decref(files);
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(entries) && files; i++) {
        if (json_array_append_new(files, make_file(json_array_get(entries, i))) == 0)
            continue;
        json_decref(files);
        files = NULL;
    }
    return files;
}

static void reply_files(struct listing *l, const json_t *answer)
{
    json_t *files = make_files(answer);
    if (files)
        api_reply_json(leave(l), 200, files);
    else
        fail(l, 500, "the sandbox gave no list of files");
}

/* envd's own words for what is wrong with the path. */
static void reply_refusal(struct listing *l, const json_t *answer)
{
    const char *message = "the sandbox did not list the directory";
    if (jtext_string(answer, "message", &message, NULL))
        message = "the sandbox did not list the directory";
    fail(l, l->status == 404 ? 404 : l->status == 400 ? 400 : 500, message);
}

static void on_end(struct http_call *c)
{
    struct listing *l = http_call_user(c);
    json_t *answer = adit_json_load(adit_buf_view(&l->answer), JSON_REJECT_DUPLICATES, NULL);
    l->call = NULL;
    if (!json_is_object(answer))
        fail(l, 500, "the sandbox gave no list of files");
    else if (l->status == 200)
        reply_files(l, answer);
    else
        reply_refusal(l, answer);
    json_decref(answer);
}

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct listing *l = http_call_user(c);
    l->status = head->status;
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct listing *l = http_call_user(c);
    int rc = adit_buf_append_view(&l->answer, bytes);
    if (rc)
        fail(l, 500, rc == ADIT_ERR_LIMIT ? "the directory has too many files" : "out of memory");
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct listing *l = http_call_user(c);
    l->call = NULL;
    fail(l, 500, err->msg);
}

static const struct http_call_ops call_ops = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static void on_due(struct net_deadline *d)
{
    fail(ADIT_CONTAINER_OF(d, struct listing, deadline), 408,
         "the sandbox did not list the directory in time");
}

/* ---- the question ---- */

static int write_question(struct listing *l, const char *path)
{
    int rc = adit_buf_append_str(&l->question, "{\"depth\":1,\"path\":\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(&l->question, adit_view_str(path));
    return rc ? rc : adit_buf_append_str(&l->question, "\"}");
}

static int send_question(struct listing *l, const struct session_guest *guest, struct adit_err *err)
{
    struct session_guest_head fields = {.method = "POST",
                                        .target = ADIT_VIEW(LIST_DIR),
                                        .content_type = "application/json",
                                        .body = HTTP_BODY_LENGTH,
                                        .length = l->question.len};
    struct adit_buf head;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    int rc = session_guest_write_head(guest, &fields, &head);
    if (rc)
        rc = adit_err_set(err, rc, "out of memory");
    else
        rc = http_call_start(l->pool, HTTP_POST, false, adit_buf_view(&head), HTTP_BODY_LENGTH,
                             &call_ops, l, &l->call, err);
    adit_buf_fini(&head);
    if (rc)
        return rc;
    rc = http_call_write_body(l->call, adit_buf_view(&l->question)); /* less than may be queued */
    if (rc)
        return adit_err_set(err, rc, "the sandbox was not asked");
    http_call_end_body(l->call);
    return 0;
}

static int start(struct listing *l, const struct sandbox *s, const char *path, struct adit_err *err)
{
    struct broker *b = l->rq->broker;
    struct session_guest guest;
    session_guest_init(&guest, b, s);
    if (write_question(l, path))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    int rc = session_guest_pool(&guest, &b->net, CHANNEL_PORT_ENVD, &l->pool, err);
    if (rc == 0)
        rc = send_question(l, &guest, err);
    if (rc == 0)
        net_deadline_arm(&l->deadline, LISTING_MS);
    return rc;
}

void session_files(struct api_request *rq)
{
    char path[SESSION_REQUEST_PATH_MAX + 1];
    struct adit_err err = ADIT_ERR_INIT;
    char id[RECORD_SESSION_CAP];
    struct sandbox *s = session_need_sandbox(rq, id);
    if (!s)
        return;
    if (session_request_path(edge_api_query(rq->edge), "/", path, &err)) {
        api_reply_error(rq, 400, NULL, "%s", err.msg);
        return;
    }
    struct listing *l = calloc(1, sizeof(*l));
    if (!l) {
        api_reply_error(rq, 500, NULL, "out of memory");
        return;
    }
    l->rq = rq;
    adit_buf_init(&l->question, sizeof(LIST_DIR) + 6 * sizeof(path) + 64);
    adit_buf_init(&l->answer, LISTING_MAX);
    net_deadline_init(&l->deadline, &rq->broker->net, on_due);
    session_use(rq->broker, &rq->who, s);
    if (start(l, s, path, &err))
        fail(l, 500, err.msg);
}
