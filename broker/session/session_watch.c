/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a cell leaves in its working directory.
 *
 * Theory of operation
 *
 *   MAKING ── CreateWatcher ──> WATCHING ── GetWatcherEvents ──> TAKEN
 *      └───────────── close, in any of them ── RemoveWatcher ──> freed
 *
 * What: envd watches the directory itself, not what is below it, from before the cell to after it:
 * nothing has to be remembered between cells, and an installed package does not count. Names with a
 * dot in front are programs' own. Failure: without a watch a cell runs all the same, and its files
 * are not named.
 * Ownership: a watch is its owner's until session_watch_close(), and frees itself when the sandbox
 * has heard of that or is gone. Limits: SESSION_WATCH_FILES_MAX names. Trust: the answers are the
 * sandbox's.
 */
#include "broker/session/session_watch.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/jtext.h"
#include "net/channel.h"

#define SERVICE "/filesystem.Filesystem/"
#define ID_CAP 64

struct session_watch {
    struct session_guest guest;
    struct http_pool *pool;
    struct session_rpc *call;
    char id[ID_CAP]; /* envd's, or "" */
    bool is_closed;
    void (*on_ready)(void *user);
    session_watch_fn on_names;
    void *user;
};

/* ---- what the events say ---- */

static size_t find(const struct session_watch_files *files, const char *name)
{
    size_t i = 0;
    while (i < files->cnt && strcmp(files->names[i], name) != 0)
        i++;
    return i;
}

static void add(struct session_watch_files *files, const char *name)
{
    if (find(files, name) == files->cnt && files->cnt < SESSION_WATCH_FILES_MAX)
        memcpy(files->names[files->cnt++], name, strlen(name) + 1);
}

static void drop(struct session_watch_files *files, const char *name)
{
    size_t i = find(files, name);
    if (i == files->cnt)
        return;
    files->cnt--;
    memmove(files->names[i], files->names[i + 1], (files->cnt - i) * sizeof(files->names[0]));
}

static bool is_file(const json_t *event)
{
    json_t *entry = NULL;
    const char *type = "";
    return jtext_child(event, "entry", JSON_OBJECT, &entry, NULL) == 0 && entry &&
           jtext_string(entry, "type", &type, NULL) == 0 && strcmp(type, "FILE_TYPE_FILE") == 0;
}

static void read_event(struct session_watch_files *files, const json_t *event)
{
    const char *name = "", *type = "";
    if (jtext_string(event, "name", &name, NULL) || jtext_string(event, "type", &type, NULL))
        return;
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') ||
        strlen(name) >= SESSION_WATCH_NAME_CAP)
        return;
    if (strcmp(type, "EVENT_TYPE_REMOVE") == 0 || strcmp(type, "EVENT_TYPE_RENAME") == 0)
        drop(files, name);
    else if ((strcmp(type, "EVENT_TYPE_CREATE") == 0 || strcmp(type, "EVENT_TYPE_WRITE") == 0) &&
             is_file(event))
        add(files, name);
}

void session_watch_read(struct session_watch_files *files, const json_t *answer)
{
    json_t *events = NULL;
    files->cnt = 0;
    if (jtext_child(answer, "events", JSON_ARRAY, &events, NULL))
        return;
    for (size_t i = 0; i < json_array_size(events); i++)
        read_event(files, json_array_get(events, i));
}

/* ---- calls ---- */

static void free_watch(struct session_watch *w)
{
    if (w->call)
        session_rpc_cancel(w->call);
    http_pool_close(w->pool);
    free(w);
}

static int ask(struct session_watch *w, const char *method, json_t *take_question,
               session_rpc_fn on_done, struct adit_err *err)
{
    return session_rpc_start(w->pool, &w->guest, method, take_question, on_done, w, &w->call, err);
}

static json_t *about(const struct session_watch *w)
{
    return json_pack("{s:s}", "watcherId", w->id);
}

static void on_removed(void *user, const json_t *answer, const struct adit_err *err)
{
    struct session_watch *w = user;
    (void)answer; /* says nothing */
    (void)err;    /* it has ended with its sandbox */
    w->call = NULL;
    free_watch(w);
}

static void forget(struct session_watch *w)
{
    if (!w->id[0] || ask(w, SERVICE "RemoveWatcher", about(w), on_removed, NULL))
        free_watch(w);
}

void session_watch_close(struct session_watch *w)
{
    w->is_closed = true;
    if (w->call && !w->id[0])
        return; /* what is being made is removed then */
    if (w->call)
        session_rpc_cancel(w->call);
    w->call = NULL;
    forget(w);
}

static void on_made(void *user, const json_t *answer, const struct adit_err *err)
{
    struct session_watch *w = user;
    const char *id = "";
    w->call = NULL;
    if (!err && jtext_string(answer, "watcherId", &id, NULL) == 0 && strlen(id) < ID_CAP)
        memcpy(w->id, id, strlen(id) + 1);
    if (!w->id[0])
        adit_log(ADIT_LOG_DEBUG, "session_not_watched", LOG_S("sandbox", w->guest.sandbox_id));
    if (w->is_closed)
        forget(w);
    else
        w->on_ready(w->user);
}

int session_watch_start(struct net_loop *loop, const struct session_guest *guest,
                        void (*on_ready)(void *user), void *user, struct session_watch **out,
                        struct adit_err *err)
{
    struct session_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    w->guest = *guest;
    w->on_ready = on_ready;
    w->user = user;
    int rc = session_guest_pool(guest, loop, CHANNEL_PORT_ENVD, &w->pool, err);
    if (rc) {
        free(w);
        return rc;
    }
    rc = ask(w, SERVICE "CreateWatcher",
             json_pack("{s:s, s:b}", "path", SESSION_WATCH_DIRECTORY, "includeEntry", 1), on_made,
             err);
    if (rc)
        free_watch(w);
    else
        *out = w;
    return rc;
}

static void on_events(void *user, const json_t *answer, const struct adit_err *err)
{
    struct session_watch *w = user;
    struct session_watch_files files = {.cnt = 0};
    w->call = NULL;
    if (err)
        adit_log(ADIT_LOG_WARN, "session_files_not_told", LOG_S("sandbox", w->guest.sandbox_id),
                 LOG_ERR(err));
    else
        session_watch_read(&files, answer);
    w->on_names(w->user, files.names, files.cnt);
}

void session_watch_take(struct session_watch *w, session_watch_fn on_names)
{
    w->on_names = on_names;
    if (!w->id[0] || ask(w, SERVICE "GetWatcherEvents", about(w), on_events, NULL))
        on_names(w->user, NULL, 0);
}
