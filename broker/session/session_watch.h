/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a cell leaves in its working directory. On the control loop. */
#ifndef BROKER_SESSION_SESSION_WATCH_H
#define BROKER_SESSION_SESSION_WATCH_H

#include "broker/session/session_rpc.h"

#define SESSION_WATCH_DIRECTORY "/home/user"
#define SESSION_WATCH_FILES_MAX 64
/* A name on Linux, and its NUL. */
#define SESSION_WATCH_NAME_CAP 256

struct session_watch;

/* Names below SESSION_WATCH_DIRECTORY, at most SESSION_WATCH_FILES_MAX, valid inside only. */
typedef void (*session_watch_fn)(void *user, const char (*names)[SESSION_WATCH_NAME_CAP],
                                 size_t name_cnt);

/* What happens from @on_ready on is seen; or nothing is, when the sandbox does not watch. Never
 * calls back before it returns. Errors: NO_MEMORY; then no callback comes. */
ADIT_MUST_CHECK int session_watch_start(struct net_loop *loop, const struct session_guest *guest,
                                        void (*on_ready)(void *user), void *user,
                                        struct session_watch **out, struct adit_err *err);
/* After on_ready: which files were made or written since, and are there still. @on_names comes
 * once, perhaps before it returns. */
void session_watch_take(struct session_watch *w, session_watch_fn on_names);
/* No callback follows; the sandbox is told, and the watch frees itself. */
void session_watch_close(struct session_watch *w);

/* What follows from the document that lists events, oldest first. No I/O. */
struct session_watch_files {
    char names[SESSION_WATCH_FILES_MAX][SESSION_WATCH_NAME_CAP];
    size_t cnt;
};
void session_watch_read(struct session_watch_files *files, const json_t *answer);

#endif
