/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One execution in a sandbox.
 *
 * Theory of operation
 *
 *   WATCHING ── ready ──> RUNNING ── end of the answer ──> KEEPING ── every picture is answered
 *      for ──> TAKING ── names of files ──> done
 *   in any of them: failure, or an answer that ends too soon ──> done
 *
 * What: the cell goes to the code interpreter, whose answer is read as it comes. A picture in it is
 * written into the sandbox while it arrives, by a call of its own to envd: it is fetched there with
 * what fetches any file, takes the sandbox's own room, and ends with it. While such a call takes no
 * more, the answer is not read on. Failure: a picture that cannot be kept is left out, with a line
 * in the log; the execution is what counts.
 * Ownership: a run frees itself with its callback or a cancel.
 * Limits: SESSION_RESULT_ARTIFACTS_MAX pictures; what is kept of text: session_result.h.
 */
#include "broker/session/session_run.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rand.h"
#include "net/channel.h"

#define NAME_LEN 12
#define BODY_STEP (64u * 1024)

/* @call: NULL once it was answered or has failed */
struct picture {
    struct session_run *run;
    struct http_call *call;
    unsigned status;
    char path[SESSION_RUN_PATH_CAP];
};

/*
 * @cell, @sent: the call's body, and how much of it is written
 * @is_over: the answer has ended; pictures may still be under way
 * @writing: the picture whose bytes come, or NULL
 * @open_cnt: pictures that are not answered for
 * @paths:   of all that is told
 */
struct session_run {
    struct session_guest guest;
    struct session_watch *watch;
    struct http_pool *interpreter, *envd;
    struct http_call *call;
    struct adit_buf cell;
    size_t sent;
    bool is_over;
    struct session_result result;
    struct picture pictures[SESSION_RESULT_ARTIFACTS_MAX];
    size_t picture_cnt, open_cnt;
    struct picture *writing;
    char paths[SESSION_RUN_PATHS_MAX][SESSION_RUN_PATH_CAP];
    size_t path_cnt;
    char name[NAME_LEN + 1];
    session_run_fn on_done;
    void *user;
};

/* ---- the ends ---- */

static void free_run(struct session_run *run)
{
    if (run->call)
        http_call_cancel(run->call);
    for (size_t i = 0; i < run->picture_cnt; i++)
        if (run->pictures[i].call)
            http_call_cancel(run->pictures[i].call);
    if (run->watch)
        session_watch_close(run->watch);
    if (run->interpreter)
        http_pool_close(run->interpreter);
    if (run->envd)
        http_pool_close(run->envd);
    session_result_fini(&run->result);
    adit_buf_fini(&run->cell);
    free(run);
}

void session_run_cancel(struct session_run *run)
{
    free_run(run);
}

static void fail(struct session_run *run, const struct adit_err *why)
{
    struct adit_err err = *why;
    struct session_run_end end = {.err = &err};
    session_run_fn on_done = run->on_done;
    void *user = run->user;
    free_run(run);
    on_done(user, &end);
}

static void succeed(void *user, const char (*names)[SESSION_WATCH_NAME_CAP], size_t name_cnt)
{
    struct session_run *run = user;
    for (size_t i = 0; i < name_cnt; i++)
        (void)snprintf(run->paths[run->path_cnt++], SESSION_RUN_PATH_CAP, "%s/%s",
                       SESSION_WATCH_DIRECTORY, names[i]); /* fits */
    struct session_run_end end = {
        .result = &run->result, .paths = run->paths, .path_cnt = run->path_cnt};
    run->on_done(run->user, &end);
    free_run(run);
}

static void maybe_done(struct session_run *run)
{
    if (!run->is_over || run->open_cnt > 0)
        return;
    for (size_t i = 0; i < run->picture_cnt; i++)
        if (run->pictures[i].status == 200)
            memcpy(run->paths[run->path_cnt++], run->pictures[i].path, SESSION_RUN_PATH_CAP);
    session_watch_take(run->watch, succeed);
}

/* ---- pictures ---- */

static bool is_congested(const struct session_run *run)
{
    for (size_t i = 0; i < run->picture_cnt; i++)
        if (run->pictures[i].call && http_call_is_congested(run->pictures[i].call))
            return true;
    return false;
}

static void close_picture(struct picture *p, const char *why)
{
    struct session_run *run = p->run;
    p->call = NULL;
    run->open_cnt--;
    if (run->writing == p)
        run->writing = NULL;
    if (p->status != 200)
        adit_log(ADIT_LOG_WARN, "session_artifact_lost", LOG_S("sandbox", run->guest.sandbox_id),
                 LOG_U("status", p->status), LOG_S("error", why));
    if (run->call && !is_congested(run))
        http_call_resume(run->call);
    maybe_done(run);
}

static void on_picture_head(struct http_call *c, const struct http_head *head)
{
    struct picture *p = http_call_user(c);
    p->status = head->status;
}

static void on_picture_end(struct http_call *c)
{
    close_picture(http_call_user(c), "");
}

static void on_picture_fail(struct http_call *c, const struct adit_err *err)
{
    struct picture *p = http_call_user(c);
    p->status = 0;
    close_picture(p, err->msg);
}

static void on_picture_drain(struct http_call *c)
{
    struct session_run *run = ((struct picture *)http_call_user(c))->run;
    if (run->call && !is_congested(run))
        http_call_resume(run->call);
}

static const struct http_call_ops picture_ops = {.on_head = on_picture_head,
                                                 .on_end = on_picture_end,
                                                 .on_drain = on_picture_drain,
                                                 .on_fail = on_picture_fail};

static int write_picture_head(const struct session_run *run, const char *path,
                              struct adit_buf *head)
{
    struct adit_buf target;
    adit_buf_init(&target, HTTP_LINE_CAP);
    int rc = session_guest_append_file(&target, adit_view_str(path));
    struct session_guest_head fields = {.method = "POST",
                                        .target = adit_buf_view(&target),
                                        .content_type = "application/octet-stream",
                                        .body = HTTP_BODY_CHUNKED};
    if (rc == 0)
        rc = session_guest_write_head(&run->guest, &fields, head);
    adit_buf_fini(&target);
    return rc;
}

static int open_picture(struct session_run *run, struct picture *p, struct adit_err *err)
{
    struct adit_buf head;
    int rc = 0;
    if (!run->envd)
        rc = session_guest_pool(&run->guest, http_pool_loop(run->interpreter), CHANNEL_PORT_ENVD,
                                &run->envd, err);
    if (rc)
        return rc;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    if (write_picture_head(run, p->path, &head))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    else
        rc = http_call_start(run->envd, HTTP_POST, false, adit_buf_view(&head), HTTP_BODY_CHUNKED,
                             &picture_ops, p, &p->call, err);
    adit_buf_fini(&head);
    return rc;
}

static void on_artifact(void *user, const char *extension)
{
    struct session_run *run = user;
    struct adit_err err = ADIT_ERR_INIT;
    struct picture *p = &run->pictures[run->picture_cnt];
    p->run = run;
    (void)snprintf(p->path, sizeof(p->path), "%s/%s-%zu.%s", SESSION_RUN_DIRECTORY, run->name,
                   run->picture_cnt + 1, extension); /* fits */
    run->picture_cnt++;
    if (open_picture(run, p, &err)) {
        adit_log(ADIT_LOG_WARN, "session_artifact_lost", LOG_S("sandbox", run->guest.sandbox_id),
                 LOG_ERR(&err));
        return;
    }
    run->writing = p;
    run->open_cnt++;
}

static void on_artifact_bytes(void *user, struct adit_view bytes)
{
    struct session_run *run = user;
    if (run->writing)
        (void)http_call_write_body(run->writing->call, bytes); /* on_fail or the answer follows */
}

static void on_artifact_end(void *user)
{
    struct session_run *run = user;
    if (run->writing)
        http_call_end_body(run->writing->call);
    run->writing = NULL;
}

static const struct session_result_ops result_ops = {on_artifact, on_artifact_bytes,
                                                     on_artifact_end};

/* ---- the execution ---- */

static void on_head(struct http_call *c, const struct http_head *head)
{
    struct session_run *run = http_call_user(c);
    struct adit_err err = ADIT_ERR_INIT;
    if (head->status == 200)
        return;
    (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE, "the code interpreter answered with status %u",
                       head->status); /* only told */
    fail(run, &err);
}

static void on_body(struct http_call *c, struct adit_view bytes)
{
    struct session_run *run = http_call_user(c);
    session_result_feed(&run->result, bytes);
    if (is_congested(run))
        http_call_pause(c);
}

static void on_end(struct http_call *c)
{
    struct session_run *run = http_call_user(c);
    struct adit_err err = ADIT_ERR_INIT;
    run->call = NULL;
    run->is_over = true;
    if (run->result.has_ended) {
        maybe_done(run);
        return;
    }
    (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the execution was cut off"); /* only told */
    fail(run, &err);
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct session_run *run = http_call_user(c);
    run->call = NULL;
    fail(run, err);
}

/* Send what the connection takes; on_drain goes on. A failed write is told by on_fail. */
static void send_cell(struct session_run *run)
{
    while (run->sent < run->cell.len && !http_call_is_congested(run->call)) {
        struct adit_view rest = adit_buf_view(&run->cell);
        size_t left = rest.len - run->sent;
        struct adit_view piece = {rest.ptr + run->sent, left < BODY_STEP ? left : BODY_STEP};
        run->sent += piece.len;
        if (http_call_write_body(run->call, piece))
            return;
    }
    if (run->sent == run->cell.len)
        http_call_end_body(run->call);
}

static void on_drain(struct http_call *c)
{
    struct session_run *run = http_call_user(c);
    if (run->sent < run->cell.len)
        send_cell(run);
}

static const struct http_call_ops call_ops = {.on_head = on_head,
                                              .on_body = on_body,
                                              .on_end = on_end,
                                              .on_drain = on_drain,
                                              .on_fail = on_fail};

static int start_call(struct session_run *run, struct adit_err *err)
{
    struct session_guest_head fields = {.method = "POST",
                                        .target = ADIT_VIEW("/execute"),
                                        .content_type = "application/json",
                                        .body = HTTP_BODY_LENGTH,
                                        .length = run->cell.len};
    struct adit_buf head;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    int rc = session_guest_write_head(&run->guest, &fields, &head);
    if (rc)
        rc = adit_err_set(err, rc, "no memory");
    else
        rc = http_call_start(run->interpreter, HTTP_POST, false, adit_buf_view(&head),
                             HTTP_BODY_LENGTH, &call_ops, run, &run->call, err);
    adit_buf_fini(&head);
    if (rc == 0)
        send_cell(run);
    return rc;
}

static void on_watching(void *user)
{
    struct session_run *run = user;
    struct adit_err err = ADIT_ERR_INIT;
    if (start_call(run, &err))
        fail(run, &err);
}

int session_run_start(struct net_loop *loop, const struct session_guest *guest,
                      struct adit_view cell, size_t *held, session_run_fn on_done, void *user,
                      struct session_run **out, struct adit_err *err)
{
    struct session_run *run = calloc(1, sizeof(*run));
    if (!run)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    run->guest = *guest;
    run->on_done = on_done;
    run->user = user;
    adit_rand_id(run->name, NAME_LEN);
    session_result_init(&run->result, &result_ops, run, held);
    adit_buf_init(&run->cell, cell.len + 1);
    int rc = adit_buf_append_view(&run->cell, cell);
    if (rc)
        rc = adit_err_set(err, rc, "no memory");
    if (rc == 0)
        rc = session_guest_pool(guest, loop, CHANNEL_PORT_KERNEL, &run->interpreter, err);
    if (rc == 0)
        rc = session_watch_start(loop, guest, on_watching, run, &run->watch, err);
    if (rc)
        free_run(run);
    else
        *out = run;
    return rc;
}
