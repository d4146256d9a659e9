/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One execution in a sandbox: the call of its code interpreter, the pictures that come of it, kept
 * as files of the sandbox, and the files that it leaves. On the control loop.
 */
#ifndef BROKER_SESSION_SESSION_RUN_H
#define BROKER_SESSION_SESSION_RUN_H

#include "broker/session/session_guest.h"
#include "broker/session/session_result.h"
#include "broker/session/session_watch.h"

/* Where pictures are kept; "<run>-<number>.<extension>" below it. */
#define SESSION_RUN_DIRECTORY "/home/user/.artifacts"
#define SESSION_RUN_PATH_CAP (sizeof(SESSION_WATCH_DIRECTORY "/") + SESSION_WATCH_NAME_CAP)
#define SESSION_RUN_PATHS_MAX (SESSION_RESULT_ARTIFACTS_MAX + SESSION_WATCH_FILES_MAX)

struct session_run;

/*
 * @result: of an execution that ended in order
 * @paths:  of the pictures that were kept, and of the files, absolute
 * @err:    else why there is no result: UNAVAILABLE (nobody answers there), CLOSED, PROTOCOL,
 * LIMIT, NO_MEMORY All borrowed, until the callback returns.
 */
struct session_run_end {
    const struct session_result *result;
    const char (*paths)[SESSION_RUN_PATH_CAP];
    size_t path_cnt;
    const struct adit_err *err;
};
typedef void (*session_run_fn)(void *user, const struct session_run_end *end);

/*
 * @cell: the JSON body of the call, copied. @held: as in session_result_init(). Never calls back
 * before it returns. Errors: NO_MEMORY; then no callback comes.
 */
ADIT_MUST_CHECK int session_run_start(struct net_loop *loop, const struct session_guest *guest,
                                      struct adit_view cell, size_t *held, session_run_fn on_done,
                                      void *user, struct session_run **out, struct adit_err *err);
/* Let go of the call, which interrupts the cell. No callback follows. */
void session_run_cancel(struct session_run *run);

#endif
