/* SPDX-License-Identifier: Apache-2.0 */
/* The RPC service filesystem.Filesystem; its calls about watching are watch_service.c's. */
/*
 * Theory of operation
 *
 * A call is: user (on_open), paths (on_message), one job on the thread pool, answer. The job knows
 * nothing of the call; a call that is cancelled meanwhile only loses its answer.
 *
 * Ownership: struct fs_call belongs to its RPC call until the job starts, then to the job. Names of
 * users are read by each job for itself (user_files.h).
 *
 * Limits: those of tree.h.
 *
 * Failure: codes are those of the contract; what it does not name is internal.
 */
#include "envd/filesystem/filesystem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "envd/envd.h"
#include "envd/failure.h"
#include "envd/filesystem/tree.h"
#include "envd/filesystem/watch_service.h"

struct fs_call;

/* @work: on the pool. @answer: on the loop, ends the call. */
struct fs_operation {
    int (*work)(struct fs_call *f, struct adit_err *err);
    void (*answer)(struct fs_call *f);
};

/*
 * @call:    NULL when it ended without us
 * @list:    the result; one entry, but for ListDir
 */
struct fs_call {
    struct rpc_call *call;
    struct envd *envd; /* borrowed */
    const struct fs_operation *operation;
    uv_work_t work;
    bool is_legacy, is_busy;
    struct user_entry user;
    char *path, *destination;
    uint32_t depth;
    struct tree_list list;
    int rc;
    struct adit_err err;
};

static void fs_call_free(struct fs_call *f)
{
    tree_list_fini(&f->list);
    free(f->path);
    free(f->destination);
    free(f);
}

static struct tree_owner owner(const struct fs_call *f)
{
    return (struct tree_owner){f->user.uid, f->user.gid};
}

/* ---- jobs ---- */

/* The result is the entry at @path. */
static int take_entry(struct fs_call *f, const char *path, struct adit_err *err)
{
    struct user_files names = {0};
    user_files_refresh(&names);
    f->list.entries = calloc(1, sizeof *f->list.entries);
    int rc = f->list.entries ? entry_new(path, &names, &f->list.entries[0], err)
                             : adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    f->list.cnt = rc ? 0 : 1;
    user_files_fini(&names);
    return rc;
}

static int internal(struct adit_err *err, const char *what)
{
    (void)adit_err_wrap(err, "%s", what);
    return err->code = err->code == ADIT_ERR_NO_MEMORY ? err->code : ADIT_ERR_IO;
}

static int work_stat(struct fs_call *f, struct adit_err *err)
{
    int rc = take_entry(f, f->path, err);
    if (!rc)
        return 0;
    if (err->sys_errno != ENOENT && err->sys_errno != ENOTDIR)
        return internal(err, "error getting file info");
    (void)adit_err_wrap(err, "file not found");
    return err->code = ADIT_ERR_NOT_FOUND;
}

static int work_make_dir(struct fs_call *f, struct adit_err *err)
{
    struct stat st;
    if (stat(f->path, &st) == 0 && S_ISDIR(st.st_mode))
        return adit_err_set(err, ADIT_ERR_EXISTS, "directory already exists: %s", f->path);
    if (lstat(f->path, &st) == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "path already exists but it is not a directory: %s", f->path);
    if (tree_make_dirs(f->path, owner(f), err))
        return internal(err, "error creating directory");
    return take_entry(f, f->path, err) ? internal(err, "error getting file info") : 0;
}

static int work_move(struct fs_call *f, struct adit_err *err)
{
    struct stat st;
    if (lstat(f->path, &st) && (errno == ENOENT || errno == ENOTDIR))
        return failure_as(err, ADIT_ERR_NOT_FOUND, errno, "source file not found: rename %s %s",
                          f->path, f->destination);
    if (tree_make_parents(f->destination, owner(f), err))
        return internal(err, "error ensuring directories");
    if (rename(f->path, f->destination))
        return failure_as(
            err, errno == ENOENT ? ADIT_ERR_NOT_FOUND : ADIT_ERR_IO, errno, "%s: rename %s %s",
            errno == ENOENT ? "source file not found" : "error renaming", f->path, f->destination);
    return take_entry(f, f->destination, err) ? internal(err, "error getting file info") : 0;
}

static int work_list(struct fs_call *f, struct adit_err *err)
{
    return tree_list(f->path, f->depth, &f->list, err);
}

static int work_remove(struct fs_call *f, struct adit_err *err)
{
    int rc = tree_remove(f->path, err);
    if (rc == 0 || rc == ADIT_ERR_BAD_INPUT)
        return rc;
    return internal(err, "error removing file or directory");
}

/* ---- answers ---- */

static Filesystem__EntryInfo *only_entry(struct fs_call *f)
{
    return &f->list.entries[0]->pb;
}

static void answer_stat(struct fs_call *f)
{
    Filesystem__StatResponse r;
    filesystem__stat_response__init(&r);
    r.entry = only_entry(f);
    (void)rpc_call_send(f->call, &r.base); /* ends the call either way */
}

static void answer_make_dir(struct fs_call *f)
{
    Filesystem__MakeDirResponse r;
    filesystem__make_dir_response__init(&r);
    r.entry = only_entry(f);
    (void)rpc_call_send(f->call, &r.base); /* ends the call either way */
}

static void answer_move(struct fs_call *f)
{
    Filesystem__MoveResponse r;
    filesystem__move_response__init(&r);
    r.entry = only_entry(f);
    (void)rpc_call_send(f->call, &r.base); /* ends the call either way */
}

static void answer_list(struct fs_call *f)
{
    Filesystem__ListDirResponse r;
    filesystem__list_dir_response__init(&r);
    ADIT_CLEANUP_FREE Filesystem__EntryInfo **entries = calloc(f->list.cnt + 1, sizeof *entries);
    if (!entries) {
        (void)adit_err_set(&f->err, ADIT_ERR_NO_MEMORY, "out of memory");
        rpc_call_finish(f->call, &f->err);
        return;
    }
    for (size_t i = 0; i < f->list.cnt; i++)
        entries[i] = &f->list.entries[i]->pb;
    r.entries = entries;
    r.n_entries = f->list.cnt;
    (void)rpc_call_send(f->call, &r.base); /* ends the call either way */
}

static void answer_remove(struct fs_call *f)
{
    Filesystem__RemoveResponse r;
    filesystem__remove_response__init(&r);
    (void)rpc_call_send(f->call, &r.base); /* ends the call either way */
}

static const struct fs_operation operation_stat = {work_stat, answer_stat};
static const struct fs_operation operation_make_dir = {work_make_dir, answer_make_dir};
static const struct fs_operation operation_move = {work_move, answer_move};
static const struct fs_operation operation_list = {work_list, answer_list};
static const struct fs_operation operation_remove = {work_remove, answer_remove};

/* ---- calls ---- */

static void on_work(uv_work_t *work)
{
    struct fs_call *f = work->data;
    f->rc = f->operation->work(f, &f->err);
    for (size_t i = 0; f->is_legacy && i < f->list.cnt; i++)
        entry_trim(f->list.entries[i]);
}

static void on_worked(uv_work_t *work, int status)
{
    struct fs_call *f = work->data;
    (void)status; /* cancelled only without a call */
    if (f->call && f->rc)
        rpc_call_finish(f->call, &f->err);
    else if (f->call)
        f->operation->answer(f);
    fs_call_free(f);
}

static int resolve(struct fs_call *f, const char *path, char **out, struct adit_err *err)
{
    struct adit_buf resolved;
    adit_buf_init(&resolved, ENVD_PATH_CAP);
    int rc = envd_path(f->envd, &f->user, adit_view_str(path), &resolved, err);
    if (!rc && !(*out = adit_buf_steal_str(&resolved)))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_fini(&resolved);
    return rc;
}

static void start(struct rpc_call *c, const struct fs_operation *operation, const char *path,
                  const char *destination)
{
    struct fs_call *f = rpc_call_user(c);
    struct adit_err err = ADIT_ERR_INIT;

    int rc = resolve(f, path, &f->path, &err);
    if (!rc && destination)
        rc = resolve(f, destination, &f->destination, &err);
    if (rc) {
        rpc_call_finish(c, &err);
        fs_call_free(f);
        return;
    }
    f->operation = operation;
    f->is_busy = true;
    (void)uv_queue_work(&f->envd->uv, &f->work, on_work, on_worked); /* fails without callback */
}

static void on_stat(struct rpc_call *c, const ProtobufCMessage *m)
{
    start(c, &operation_stat, ((const Filesystem__StatRequest *)m)->path, NULL);
}

static void on_make_dir(struct rpc_call *c, const ProtobufCMessage *m)
{
    start(c, &operation_make_dir, ((const Filesystem__MakeDirRequest *)m)->path, NULL);
}

static void on_move(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Filesystem__MoveRequest *r = (const Filesystem__MoveRequest *)m;
    start(c, &operation_move, r->source, r->destination);
}

static void on_list_dir(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Filesystem__ListDirRequest *r = (const Filesystem__ListDirRequest *)m;
    struct fs_call *f = rpc_call_user(c);
    f->depth = r->depth;
    start(c, &operation_list, r->path, NULL);
}

static void on_remove(struct rpc_call *c, const ProtobufCMessage *m)
{
    start(c, &operation_remove, ((const Filesystem__RemoveRequest *)m)->path, NULL);
}

static void on_cancel(struct rpc_call *c, int code)
{
    struct fs_call *f = rpc_call_user(c);
    (void)code; /* nothing is undone */
    f->call = NULL;
    if (f->is_busy)
        (void)uv_cancel((uv_req_t *)&f->work); /* a job that runs already goes on */
    else
        fs_call_free(f);
}

bool filesystem_is_legacy(const struct http_head *head)
{
    return adit_view_eq_str(http_head_get(head, "User-Agent"), FILESYSTEM_LEGACY_AGENT);
}

static int on_open(struct rpc_call *c, const struct http_head *head, struct adit_err *err)
{
    if (rpc_call_method(c)->on_cancel != on_cancel)
        return watch_service_open(c, head, err);
    struct fs_call *f = calloc(1, sizeof *f);
    char name[USER_NAME_CAP];
    if (!f)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    f->call = c;
    f->envd = rpc_call_app(c);
    f->work.data = f;
    f->is_legacy = filesystem_is_legacy(head);
    int rc = envd_basic_user(head, name, err);
    if (!rc)
        rc = envd_user(f->envd, adit_view_str(name), &f->user, err);
    if (rc)
        fs_call_free(f);
    else
        rpc_call_set_user(c, f);
    return rc;
}

#define WORKS .on_cancel = on_cancel
#define WATCHES .on_cancel = watch_service_cancel
#define METHOD(name, Kind, request_type, response_type, handler, ...)                              \
    {                                                                                              \
        .path = "/filesystem.Filesystem/" name, .kind = (Kind),                                    \
        .request = &filesystem__##request_type##__descriptor,                                      \
        .response = &filesystem__##response_type##__descriptor, .on_message = (handler),           \
        __VA_ARGS__                                                                                \
    }

static const struct rpc_method methods[] = {
    METHOD("Stat", RPC_UNARY, stat_request, stat_response, on_stat, WORKS),
    METHOD("MakeDir", RPC_UNARY, make_dir_request, make_dir_response, on_make_dir, WORKS),
    METHOD("Move", RPC_UNARY, move_request, move_response, on_move, WORKS),
    METHOD("ListDir", RPC_UNARY, list_dir_request, list_dir_response, on_list_dir, WORKS),
    METHOD("Remove", RPC_UNARY, remove_request, remove_response, on_remove, WORKS),
    METHOD("WatchDir", RPC_SERVER_STREAM, watch_dir_request, watch_dir_response,
           watch_service_watch_dir, WATCHES, .on_drain = watch_service_drain),
    METHOD("CreateWatcher", RPC_UNARY, create_watcher_request, create_watcher_response,
           watch_service_create, WATCHES),
    METHOD("GetWatcherEvents", RPC_UNARY, get_watcher_events_request, get_watcher_events_response,
           watch_service_get_events, WATCHES),
    METHOD("RemoveWatcher", RPC_UNARY, remove_watcher_request, remove_watcher_response,
           watch_service_remove, WATCHES),
};

const struct rpc_service filesystem_service = {
    .methods = methods,
    .method_cnt = sizeof methods / sizeof methods[0],
    .on_open = on_open,
};
