/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files: bytes from a client to upload.h, which puts files in place. */
/*
 * Theory of operation
 *
 * The loop only gathers: body bytes are copied once, into a batch. When the batch is large enough,
 * or the body has ended, a job on the thread pool takes it apart and writes it to files, while the
 * next batch fills. When that is full too, the client has to wait.
 *
 * States: GATHERING <-> a job runs; then the last job (the body ended, or something failed) ->
 * answered -> freed. An upload that ends without its last job is freed by one more job, because
 * letting go of a large file can take long.
 *
 * Ownership: the post owns its upload and batches; while a job runs the job has the upload and the
 * working batch. @x is NULL from the end of the exchange on.
 *
 * Limits: two batches of FILES_BATCH_CAP and what upload.h holds.
 */
#include "envd/filesystem/files.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "envd/filesystem/files_int.h"
#include "envd/filesystem/upload.h"
#include "envd/rest.h"

/*
 * @has_ended: the body is complete
 * @is_last:   the running job finishes the upload
 * @is_fed:    the upload saw bytes: it may hold files
 */
struct post {
    struct http_exchange *x;
    uv_loop_t *uv;
    uv_work_t work;
    struct upload *upload;
    struct adit_buf filling, working, answer;
    bool is_busy, is_paused, has_ended, is_last, is_fed;
    int rc;
    struct adit_err err;
};

static void post_free(struct post *p)
{
    upload_free(p->upload);
    adit_buf_fini(&p->filling);
    adit_buf_fini(&p->working);
    adit_buf_fini(&p->answer);
    free(p);
}

/* ---- jobs ---- */

static void on_work(uv_work_t *work)
{
    struct post *p = work->data;
    p->rc = upload_feed(p->upload, adit_buf_view(&p->working), &p->err);
    if (!p->rc && p->is_last)
        p->rc = upload_finish(p->upload, &p->answer, &p->err);
    if (p->rc || p->is_last)
        upload_free(adit_steal(&p->upload));
}

static void on_work_free(uv_work_t *work)
{
    struct post *p = work->data;
    upload_free(adit_steal(&p->upload));
}

static void on_freed(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    post_free(work->data);
}

/* The exchange has ended and no job runs. */
static void finish(struct post *p)
{
    if (p->upload && p->is_fed)
        (void)uv_queue_work(p->uv, &p->work, on_work_free, on_freed); /* fails without callback */
    else
        post_free(p);
}

static void reply(struct post *p)
{
    struct http_exchange *x = p->x;
    p->x = NULL;
    if (p->rc)
        rest_reply_err(x, &p->err);
    else
        rest_reply_json(x, 200, adit_buf_view(&p->answer));
}

static void start_job(struct post *p);

static void on_worked(uv_work_t *work, int status)
{
    struct post *p = work->data;
    (void)status; /* cancelled only without an exchange */
    p->is_busy = false;
    if (p->x && (p->rc || p->is_last))
        reply(p);
    if (!p->x) {
        finish(p);
        return;
    }
    adit_buf_clear(&p->working);
    start_job(p);
    if (p->is_paused && p->filling.len < FILES_BATCH_LEN) {
        p->is_paused = false;
        http_exchange_resume(p->x);
    }
}

/* Give the pool what was gathered, when that is worth it and the pool has nothing of ours. */
static void start_job(struct post *p)
{
    if (p->is_busy || (!p->has_ended && p->filling.len < FILES_BATCH_LEN))
        return;
    struct adit_buf batch = p->filling;
    p->filling = p->working;
    p->working = batch;
    p->is_busy = p->is_fed = true;
    p->is_last = p->has_ended;
    (void)uv_queue_work(p->uv, &p->work, on_work, on_worked); /* fails without a callback only */
}

/* ---- the body ---- */

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct post *p = http_exchange_user(x);
    /* All the room at once: what has to grow is copied. */
    size_t room = p->filling.len + bytes.len > FILES_BATCH_LEN / 4
                      ? FILES_BATCH_CAP - p->filling.len
                      : bytes.len;
    if (adit_buf_reserve(&p->filling, room) || adit_buf_append_view(&p->filling, bytes)) {
        p->x = NULL;
        rest_reply_error(x, 503, "out of memory");
        if (!p->is_busy)
            finish(p);
        return;
    }
    start_job(p);
    if (p->filling.len >= FILES_BATCH_LEN) {
        p->is_paused = true;
        http_exchange_pause(x);
    }
}

static void on_end(struct http_exchange *x)
{
    struct post *p = http_exchange_user(x);
    p->has_ended = true;
    start_job(p);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct post *p = http_exchange_user(x);
    (void)err; /* a client may leave; nothing was put in place */
    p->x = NULL;
    if (p->is_busy)
        (void)uv_cancel((uv_req_t *)&p->work); /* a job that runs already goes on */
    else
        finish(p);
}

static const struct http_exchange_ops post_ops = {
    .on_body = on_body, .on_end = on_end, .on_abort = on_abort};

/* ---- the request ---- */

static int make_upload(struct http_exchange *x, const struct http_head *head, struct post *p,
                       struct adit_err *err)
{
    struct files_request r;
    struct metadata metadata = {0};
    ADIT_CLEANUP_FREE char *path = NULL;

    int rc = files_request_init(&r, x, head, "write", err);
    if (!rc)
        rc = metadata_from_head(head, &metadata, err);
    if (!rc && !(path = adit_buf_steal_str(&r.path)))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    if (!rc) {
        struct upload_conf conf = {
            .user = &r.user,
            .workdir = r.envd->default_workdir,
            .path = path,
            .content_type = http_head_get(head, "Content-Type"),
            .content_encoding = http_head_get(head, "Content-Encoding"),
            .fsync = r.envd->fsync_uploads,
        };
        p->uv = &r.envd->uv;
        rc = upload_new(&conf, &metadata, &p->upload, err);
    }
    metadata_fini(&metadata);
    files_request_fini(&r);
    return rc;
}

void files_post(struct http_exchange *x, const struct http_head *head)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct post *p = calloc(1, sizeof *p);

    if (!p) {
        rest_reply_error(x, 503, "out of memory");
        return;
    }
    adit_buf_init(&p->filling, 2 * (size_t)FILES_BATCH_CAP);
    adit_buf_init(&p->working, 2 * (size_t)FILES_BATCH_CAP);
    adit_buf_init(&p->answer, UPLOAD_ANSWER_MAX);
    if (make_upload(x, head, p, &err)) {
        rest_reply_err(x, &err);
        post_free(p);
        return;
    }
    p->x = x;
    p->work.data = p;
    http_exchange_set_ops(x, &post_ops, p);
}
