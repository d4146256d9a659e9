/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watchers: watched directory trees on the loop, and the events that wait for a client.
 *
 * All of envd's watchers share one inotify descriptor. Whatever may block (walking trees, reading
 * events, looking at files) is done by one job on the thread pool at a time. Without a watcher
 * there is nothing.
 */
#ifndef ENVD_FILESYSTEM_WATCHER_H
#define ENVD_FILESYSTEM_WATCHER_H

#include "envd/envd.h"
#include "envd/filesystem/watch_tree.h"

#define WATCHERS_MAX 64
/* Bytes of events that wait, of one watcher and of all together (watch_event.cost). */
#define WATCHER_ROOM_MAX (12u * 1024 * 1024)
#define WATCHERS_ROOM_MAX (32u * 1024 * 1024)
/* Raw events that are read at once. */
#define WATCHERS_RAW_CAP (64u * 1024)
/* "w" and random letters and digits. */
#define WATCHER_ID_LEN 21

struct watcher;

/*
 * Both are called on the loop, never inside a function of this header.
 *
 * @on_opened: once: the tree is watched, or it cannot be (@err) and the watcher is to be closed
 * @on_events: more events wait, or the watcher has ended (watcher_error)
 */
struct watcher_ops {
    void (*on_opened)(struct watcher *w, const struct adit_err *err);
    void (*on_events)(struct watcher *w);
};

/* A wait until all that happened before now is among the events. Embedded in its owner. */
struct watcher_sync {
    struct adit_list node;
    void (*on_done)(struct watcher_sync *s);
};

/* @path: copied. Errors: LIMIT (watchers; see also watch_os_open), NO_MEMORY, IO. */
ADIT_MUST_CHECK int watcher_open(struct envd *e, const struct watch_tree_conf *conf,
                                 const char *path, struct watcher **out, struct adit_err *err);
/* Forget it; nothing is called any more. */
void watcher_close(struct watcher *w);

/* NULL: hears nothing any more. */
void watcher_set_owner(struct watcher *w, const struct watcher_ops *ops, void *owner);
void *watcher_owner(const struct watcher *w);
const char *watcher_id(const struct watcher *w);
/* An open watcher, or NULL. */
struct watcher *watcher_find(struct envd *e, const char *id);

/* Why no more events come, with code IO; NULL while they do. */
const struct adit_err *watcher_error(const struct watcher *w);
/* The events that wait, the oldest first (struct watch_event); the oldest, or NULL; their number.
 * Owned by the watcher. */
const struct adit_list *watcher_events(const struct watcher *w);
struct watch_event *watcher_first(const struct watcher *w);
size_t watcher_event_cnt(const struct watcher *w);
/* Drop the oldest event. */
void watcher_take(struct watcher *w);

void watcher_sync_start(struct watcher *w, struct watcher_sync *s);
void watcher_sync_cancel(struct watcher_sync *s);

/* Close all that are left, when nothing asks for them any more. */
void watcher_close_all(struct envd *e);

#endif
