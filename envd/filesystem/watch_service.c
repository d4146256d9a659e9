/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of filesystem.Filesystem about watching. */
/*
 * Theory of operation
 *
 * What      WatchDir is a watcher that ends with its stream. CreateWatcher makes one that stays
 * until RemoveWatcher; GetWatcherEvents takes what it has gathered, after a sync, so that all that
 * happened before the call is in the answer.
 *
 * Ownership A struct watch_call belongs to its RPC call, and owns the watcher that it opened until
 * CreateWatcher has answered. A watcher with an id belongs to nobody but itself.
 *
 * Limits    A stream that is not read holds NET_STREAM_HIGH bytes, and its watcher the events
 * behind that (watcher.h); then it ends.
 *
 * Failure   Errors have the texts of the contract. A watcher that has ended says why at every
 * GetWatcherEvents; a stream ends with that.
 */
#include "envd/filesystem/watch_service.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "envd/filesystem/filesystem.h"
#include "envd/filesystem/watcher.h"

/*
 * @user:      who the request acts as; "" the default user
 * @watcher:   opened for this call, or NULL
 * @is_open:   the stream has begun
 * @id:        of the watcher whose events are asked for
 */
struct watch_call {
    struct rpc_call *call; /* borrowed */
    struct envd *envd;     /* borrowed */
    char user[USER_NAME_CAP];
    bool is_legacy, is_open;
    struct watcher *watcher;
    struct net_deadline keepalive;
    uint64_t keepalive_ms;
    struct watcher_sync sync;
    char id[WATCHER_ID_LEN + 1];
};

static void watch_call_free(struct watch_call *w)
{
    net_deadline_cancel(&w->keepalive);
    watcher_sync_cancel(&w->sync);
    if (w->watcher)
        watcher_close(w->watcher);
    free(w);
}

/* End the call with @err, and free @w. */
static void fail(struct watch_call *w, const struct adit_err *err)
{
    rpc_call_finish(w->call, err);
    watch_call_free(w);
}

static void answer(struct watch_call *w, const ProtobufCMessage *response)
{
    (void)rpc_call_send(w->call, response); /* ends the call either way */
    watch_call_free(w);
}

/* ---- opening a watcher ---- */

static int resolve(struct watch_call *w, const char *path, struct adit_buf *out,
                   struct adit_err *err)
{
    struct user_entry user;
    int rc = envd_user(w->envd, adit_view_str(w->user), &user, err);
    if (!rc)
        rc = envd_path(w->envd, &user, adit_view_str(path), out, err);
    if (!rc && adit_buf_append_char(out, '\0'))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    return rc;
}

/* @m: both requests have the same fields. */
static void open_watcher(struct watch_call *w, const Filesystem__WatchDirRequest *m,
                         const struct watcher_ops *ops)
{
    struct watch_tree_conf conf = {m->recursive, m->include_entry && !w->is_legacy,
                                   m->allow_network_mounts};
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf path;
    adit_buf_init(&path, ENVD_PATH_CAP + 1);

    int rc = resolve(w, m->path, &path, &err);
    if (!rc)
        rc = watcher_open(w->envd, &conf, adit_buf_view(&path).ptr, &w->watcher, &err);
    adit_buf_fini(&path);
    if (rc)
        fail(w, &err);
    else
        watcher_set_owner(w->watcher, ops, w);
}

/* ---- events ---- */

static void fill_event(const struct watch_event *e, Filesystem__FilesystemEvent *out)
{
    filesystem__filesystem_event__init(out);
    memcpy(&out->name, &(const char *){e->name}, sizeof out->name); /* nobody writes to it */
    out->type = e->type;
    if (e->entry) {
        out->has_entry_case = FILESYSTEM__FILESYSTEM_EVENT__HAS_ENTRY_ENTRY;
        out->entry = &e->entry->pb;
    }
}

/* Return: false when the call is over and @w freed. */
static bool send_response(struct watch_call *w, const Filesystem__WatchDirResponse *response)
{
    if (rpc_call_send(w->call, &response->base)) {
        watch_call_free(w);
        return false;
    }
    net_deadline_arm(&w->keepalive, w->keepalive_ms);
    return true;
}

static bool send_event(struct watch_call *w, const struct watch_event *e)
{
    Filesystem__FilesystemEvent event;
    Filesystem__WatchDirResponse response;
    fill_event(e, &event);
    filesystem__watch_dir_response__init(&response);
    response.event_case = FILESYSTEM__WATCH_DIR_RESPONSE__EVENT_FILESYSTEM;
    response.filesystem = &event;
    return send_response(w, &response);
}

/* ---- WatchDir ---- */

/* Send what waits, as long as the client takes it. */
static void pump(struct watch_call *w)
{
    struct watch_event *e;
    while (!rpc_call_is_congested(w->call) && (e = watcher_first(w->watcher))) {
        if (!send_event(w, e))
            return;
        watcher_take(w->watcher);
    }
    if (watcher_error(w->watcher))
        fail(w, watcher_error(w->watcher));
}

static void on_keepalive_due(struct net_deadline *d)
{
    struct watch_call *w = ADIT_CONTAINER_OF(d, struct watch_call, keepalive);
    Filesystem__WatchDirResponse__KeepAlive keepalive;
    Filesystem__WatchDirResponse response;
    filesystem__watch_dir_response__keep_alive__init(&keepalive);
    filesystem__watch_dir_response__init(&response);
    response.event_case = FILESYSTEM__WATCH_DIR_RESPONSE__EVENT_KEEPALIVE;
    response.keepalive = &keepalive;
    (void)send_response(w, &response); /* a failure has freed it, and that is all to do */
}

static void on_stream_opened(struct watcher *watcher, const struct adit_err *err)
{
    struct watch_call *w = watcher_owner(watcher);
    Filesystem__WatchDirResponse__StartEvent start;
    Filesystem__WatchDirResponse response;
    if (err) {
        fail(w, err);
        return;
    }
    filesystem__watch_dir_response__start_event__init(&start);
    filesystem__watch_dir_response__init(&response);
    response.event_case = FILESYSTEM__WATCH_DIR_RESPONSE__EVENT_START;
    response.start = &start;
    if (!send_response(w, &response))
        return;
    w->is_open = true;
    pump(w); /* events of the time while a large tree was opened */
}

static void on_stream_events(struct watcher *watcher)
{
    pump(watcher_owner(watcher));
}

static const struct watcher_ops stream_ops = {on_stream_opened, on_stream_events};

void watch_service_watch_dir(struct rpc_call *c, const ProtobufCMessage *m)
{
    open_watcher(rpc_call_user(c), (const Filesystem__WatchDirRequest *)m, &stream_ops);
}

void watch_service_drain(struct rpc_call *c)
{
    struct watch_call *w = rpc_call_user(c);
    if (w->is_open)
        pump(w);
}

/* ---- CreateWatcher, GetWatcherEvents, RemoveWatcher ---- */

static void on_created(struct watcher *watcher, const struct adit_err *err)
{
    struct watch_call *w = watcher_owner(watcher);
    Filesystem__CreateWatcherResponse response;
    if (err) {
        fail(w, err);
        return;
    }
    char id[WATCHER_ID_LEN + 1];
    memcpy(id, watcher_id(watcher), sizeof id);
    filesystem__create_watcher_response__init(&response);
    response.watcher_id = id;
    watcher_set_owner(adit_steal(&w->watcher), NULL, NULL);
    answer(w, &response.base);
}

static const struct watcher_ops create_ops = {on_created, NULL};

void watch_service_create(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Filesystem__CreateWatcherRequest *r = (const Filesystem__CreateWatcherRequest *)m;
    Filesystem__WatchDirRequest same;
    filesystem__watch_dir_request__init(&same);
    same.path = r->path;
    same.recursive = r->recursive;
    same.include_entry = r->include_entry;
    same.allow_network_mounts = r->allow_network_mounts;
    open_watcher(rpc_call_user(c), &same, &create_ops);
}

/* Return: NULL when there is none; then the call is over and @w freed. */
static struct watcher *find(struct watch_call *w, const char *id)
{
    struct watcher *watcher = watcher_find(w->envd, id);
    struct adit_err err = ADIT_ERR_INIT;
    if (watcher)
        return watcher;
    (void)adit_err_set(&err, ADIT_ERR_NOT_FOUND, "watcher with id %.64s not found", id);
    fail(w, &err);
    return NULL;
}

/* Answer with all events that wait; they are gone then. */
static void answer_events(struct watch_call *w, struct watcher *watcher)
{
    size_t cnt = watcher_event_cnt(watcher);
    struct adit_err err = ADIT_ERR_INIT;
    Filesystem__GetWatcherEventsResponse response;
    ADIT_CLEANUP_FREE Filesystem__FilesystemEvent *events = calloc(cnt + 1, sizeof *events);
    ADIT_CLEANUP_FREE Filesystem__FilesystemEvent **list = calloc(cnt + 1, sizeof *list);

    if (!events || !list) {
        (void)adit_err_set(&err, ADIT_ERR_NO_MEMORY, "out of memory");
        fail(w, &err);
        return;
    }
    filesystem__get_watcher_events_response__init(&response);
    response.events = list;
    struct adit_list *it = watcher_events(watcher)->next;
    for (; response.n_events < cnt; it = it->next) {
        size_t i = response.n_events++;
        list[i] = &events[i];
        fill_event(ADIT_CONTAINER_OF(it, struct watch_event, node), list[i]);
    }
    answer(w, &response.base);
    while (cnt--)
        watcher_take(watcher);
}

static void on_synced(struct watcher_sync *s)
{
    struct watch_call *w = ADIT_CONTAINER_OF(s, struct watch_call, sync);
    struct watcher *watcher = find(w, w->id); /* it may have been removed meanwhile */
    if (watcher && watcher_error(watcher))
        fail(w, watcher_error(watcher));
    else if (watcher)
        answer_events(w, watcher);
}

void watch_service_get_events(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Filesystem__GetWatcherEventsRequest *r = (const Filesystem__GetWatcherEventsRequest *)m;
    struct watch_call *w = rpc_call_user(c);
    struct watcher *watcher = find(w, r->watcher_id);
    if (!watcher)
        return;
    memcpy(w->id, watcher_id(watcher), sizeof w->id);
    w->sync.on_done = on_synced;
    watcher_sync_start(watcher, &w->sync);
}

void watch_service_remove(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Filesystem__RemoveWatcherRequest *r = (const Filesystem__RemoveWatcherRequest *)m;
    struct watch_call *w = rpc_call_user(c);
    struct watcher *watcher = find(w, r->watcher_id);
    Filesystem__RemoveWatcherResponse response;
    if (!watcher)
        return;
    watcher_close(watcher);
    filesystem__remove_watcher_response__init(&response);
    answer(w, &response.base);
}

/* ---- calls ---- */

int watch_service_open(struct rpc_call *c, const struct http_head *head, struct adit_err *err)
{
    struct user_entry user;
    struct watch_call *w = calloc(1, sizeof *w);
    if (!w)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    w->call = c;
    w->envd = rpc_call_app(c);
    w->is_legacy = filesystem_is_legacy(head);
    w->keepalive_ms = envd_keepalive_ms(head);
    net_deadline_init(&w->keepalive, rpc_call_loop(c), on_keepalive_due);
    adit_list_init(&w->sync.node);
    int rc = envd_basic_user(head, w->user, err);
    if (!rc)
        rc = envd_user(w->envd, adit_view_str(w->user), &user, err);
    if (rc)
        watch_call_free(w);
    else
        rpc_call_set_user(c, w);
    return rc;
}

void watch_service_cancel(struct rpc_call *c, int code)
{
    (void)code; /* a watcher with an id stays */
    watch_call_free(rpc_call_user(c));
}
