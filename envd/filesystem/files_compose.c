/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files/compose: several files become one. */
/*
 * Theory of operation
 *
 * The request's JSON is gathered and read on the loop; one job on the thread pool then joins the
 * sources into the destination (place.h: it appears whole) and, once it is there, removes them.
 *
 * Ownership: a compose is freed when its exchange has ended and its job is done. A client that
 * leaves does not stop the job.
 *
 * Limits: COMPOSE_BODY_MAX, COMPOSE_SOURCES_MAX.
 *
 * Trust: names are a client's; sources must be regular files, and none may be the destination.
 */
#include "envd/filesystem/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "envd/failure.h"
#include "envd/filesystem/files_int.h"
#include "envd/filesystem/place.h"
#include "envd/filesystem/upload.h"
#include "envd/rest.h"

#define COMPOSE_BODY_MAX (1024u * 1024)
#define COMPOSE_SOURCES_MAX 1024
#define COPY_LEN (256u * 1024)

struct compose {
    struct http_exchange *x;
    struct envd *envd; /* borrowed */
    uv_work_t work;
    struct adit_buf body, answer;
    struct user_entry user;
    char *destination, **sources;
    size_t source_cnt;
    bool fsync;
    int rc;
    struct adit_err err;
};

static void compose_free(struct compose *c)
{
    for (size_t i = 0; i < c->source_cnt; i++)
        free(c->sources[i]);
    free(c->sources);
    free(c->destination);
    adit_buf_fini(&c->body);
    adit_buf_fini(&c->answer);
    free(c);
}

/* ---- the job ---- */

static int open_source(const char *path, int *fd, struct adit_err *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "source file not found: %s", path);
    if (*fd < 0 || fstat(*fd, &st))
        return failure_as(err, ADIT_ERR_IO, errno, "error opening source file %s", path);
    if (!S_ISREG(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "source is not a regular file: %s", path);
    return 0;
}

static int append_source(struct place *p, const char *path, char *buffer, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = -1;
    int rc = open_source(path, &fd, err);
    while (!rc) {
        ssize_t n = read(fd, buffer, COPY_LEN);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure_as(err, ADIT_ERR_IO, errno, "error reading source file %s", path);
        if (n == 0)
            break;
        rc = place_write(p, adit_view_mem(buffer, (size_t)n), err);
    }
    return rc;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return strcmp(a, b) == 0 ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static int join(struct compose *c, struct place *p, struct adit_err *err)
{
    ADIT_CLEANUP_FREE char *buffer = malloc(COPY_LEN);
    if (!buffer)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < c->source_cnt; i++) {
        if (is_same_file(c->sources[i], c->destination))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "source path equals destination: %s",
                                c->destination);
        int rc = append_source(p, c->sources[i], buffer, err);
        if (rc)
            return rc;
    }
    return place_commit(p, err);
}

static void on_work(uv_work_t *work)
{
    static const struct metadata none;
    struct compose *c = work->data;
    struct place_conf conf = {{c->user.uid, c->user.gid}, &none, c->fsync, false};
    struct place place;

    c->rc = place_init(&place, &conf, c->destination, &c->err);
    if (!c->rc)
        c->rc = join(c, &place, &c->err);
    place_fini(&place);
    if (c->rc)
        return;
    for (size_t i = 0; i < c->source_cnt; i++)
        (void)unlink(c->sources[i]); /* the content is safe in the destination */
    if (upload_append_entry(c->destination, &none, &c->answer))
        c->rc = adit_err_set(&c->err, ADIT_ERR_NO_MEMORY, "out of memory");
}

static void on_worked(uv_work_t *work, int status)
{
    struct compose *c = work->data;
    (void)status; /* never cancelled */
    if (c->x && c->rc)
        rest_reply_err(c->x, &c->err);
    else if (c->x)
        rest_reply_json(c->x, 200, adit_buf_view(&c->answer));
    compose_free(c);
}

/* ---- the request ---- */

static int resolve(struct compose *c, const char *path, char **out, struct adit_err *err)
{
    struct adit_buf resolved;
    adit_buf_init(&resolved, ENVD_PATH_CAP);
    int rc = envd_path(c->envd, &c->user, adit_view_str(path), &resolved, err);
    if (rc == ADIT_ERR_BAD_INPUT)
        (void)adit_err_wrap(err, "error resolving path"); /* the code is the same */
    if (!rc && !(*out = adit_buf_steal_str(&resolved)))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_fini(&resolved);
    return rc;
}

static int read_sources(struct compose *c, const json_t *list, struct adit_err *err)
{
    size_t cnt = json_array_size(list);
    if (cnt == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "source_paths must not be empty");
    if (cnt > COMPOSE_SOURCES_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "more than %d source_paths",
                            COMPOSE_SOURCES_MAX);
    c->sources = calloc(cnt, sizeof *c->sources);
    if (!c->sources)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < cnt; i++) {
        const char *path = json_string_value(json_array_get(list, i));
        if (!path)
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "source_paths must be strings");
        int rc = resolve(c, path, &c->sources[i], err);
        if (rc)
            return rc;
        c->source_cnt++;
    }
    return 0;
}

static int read_document(struct compose *c, const json_t *doc, struct adit_err *err)
{
    const char *user = json_string_value(json_object_get(doc, "username"));
    const char *destination = json_string_value(json_object_get(doc, "destination"));

    if (!json_is_object(doc))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid request body");
    int rc = files_user(c->envd, adit_view_str(user), &c->user, err);
    if (!rc)
        rc = read_sources(c, json_object_get(doc, "source_paths"), err);
    if (!rc && (!destination || !destination[0]))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "destination is required");
    return rc ? rc : resolve(c, destination, &c->destination, err);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct compose *c = http_exchange_user(x);
    if (adit_buf_append_view(&c->body, bytes) == 0)
        return;
    rest_reply_error(x, 400, "request body is too large");
    compose_free(c);
}

static void on_end(struct http_exchange *x)
{
    struct compose *c = http_exchange_user(x);
    struct adit_view body = adit_buf_view(&c->body);
    json_t *doc = adit_json_load(body, 0, NULL);

    int rc = read_document(c, doc, &c->err);
    json_decref(doc);
    if (rc) {
        rest_reply_err(x, &c->err);
        compose_free(c);
        return;
    }
    /* fails without a callback only */
    (void)uv_queue_work(&c->envd->uv, &c->work, on_work, on_worked);
}

/* Before the body has ended there is no job that would free it. */
static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct compose *c = http_exchange_user(x);
    (void)err; /* a client may leave */
    c->x = NULL;
    if (!c->destination)
        compose_free(c);
}

static const struct http_exchange_ops compose_ops = {
    .on_body = on_body, .on_end = on_end, .on_abort = on_abort};

void files_compose(struct http_exchange *x, const struct http_head *head)
{
    struct compose *c = calloc(1, sizeof *c);
    (void)head; /* the body says everything */
    if (!c) {
        rest_reply_error(x, 503, "out of memory");
        return;
    }
    c->x = x;
    c->envd = http_server_owner(http_exchange_server(x));
    c->fsync = c->envd->fsync_uploads;
    c->work.data = c;
    adit_buf_init(&c->body, COMPOSE_BODY_MAX);
    adit_buf_init(&c->answer, UPLOAD_ANSWER_MAX);
    http_exchange_set_ops(x, &compose_ops, c);
}
