/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a directory of a session's sandbox.
 *
 * Theory of operation
 *
 * What: envd's ListDir, asked as any client asks it, its answer put into the session API's form.
 * Ownership: a listing owns itself and its request, from the call to the answer. Trust: the answer
 * is the sandbox's; what is not as ListDir answers is told as a failure.
 */
#include <stdlib.h>

#include "broker/jtext.h"
#include "broker/session/session_int.h"
#include "broker/session/session_request.h"
#include "broker/session/session_rpc.h"
#include "net/channel.h"

struct listing {
    struct api_request *rq;
    struct session_guest guest;
    struct http_pool *pool;
    struct session_rpc *call;
};

/* The listing ends; its request is still to be answered. */
static struct api_request *leave(struct listing *l)
{
    struct api_request *rq = l->rq;
    if (l->pool)
        http_pool_close(l->pool);
    free(l);
    return rq;
}

static unsigned status_of(const struct adit_err *err)
{
    switch (err->code) {
    case ADIT_ERR_NOT_FOUND:
        return 404;
    case ADIT_ERR_BAD_INPUT:
        return 400;
    case ADIT_ERR_TIMEOUT:
        return 408;
    default:
        return 500;
    }
}

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

/* Return: NULL without memory, and for what is no list of files. */
static json_t *make_files(const json_t *answer)
{
    json_t *entries = NULL, *files = json_array();
    int bad = jtext_child(answer, "entries", JSON_ARRAY, &entries, NULL);
    for (size_t i = 0; i < json_array_size(entries) && !bad; i++)
        bad = json_array_append_new(files, make_file(json_array_get(entries, i)));
    if (!bad)
        return files;
    json_decref(files);
    return NULL;
}

static void on_listed(void *user, const json_t *answer, const struct adit_err *err)
{
    struct api_request *rq = leave(user);
    json_t *files = err ? NULL : make_files(answer);
    if (err)
        api_reply_error(rq, status_of(err), NULL, "%s", err->msg);
    else if (files)
        api_reply_json(rq, 200, files);
    else
        api_reply_error(rq, 500, NULL, "the sandbox gave no list of files");
}

static int start(struct listing *l, const char *path, struct adit_err *err)
{
    int rc = session_guest_pool(&l->guest, &l->rq->broker->net, CHANNEL_PORT_ENVD, &l->pool, err);
    if (rc == 0)
        rc = session_rpc_start(l->pool, &l->guest, "/filesystem.Filesystem/ListDir",
                               json_pack("{s:s, s:i}", "path", path, "depth", 1), on_listed, l,
                               &l->call, err);
    return rc;
}

void session_files(struct api_request *rq)
{
    char path[SESSION_REQUEST_PATH_MAX + 1], id[RECORD_SESSION_CAP];
    struct adit_err err = ADIT_ERR_INIT;
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
    session_guest_init(&l->guest, rq->broker, s);
    session_use(rq->broker, &rq->who, s);
    if (start(l, path, &err))
        api_reply_error(leave(l), 500, NULL, "%s", err.msg);
}
