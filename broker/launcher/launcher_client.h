/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of the launcher's socket pair, on the control loop.
 */
#ifndef BROKER_LAUNCHER_LAUNCHER_CLIENT_H
#define BROKER_LAUNCHER_LAUNCHER_CLIENT_H

#include <uv.h>

#include "broker/launcher/launch_msg.h"

/* Requests that wait for an answer. */
#define LAUNCHER_CLIENT_PENDING_MAX 1024
/* A request that is not answered by then has failed: jobs and their undoing, and some queueing. */
#define LAUNCHER_CLIENT_TIMEOUT_MS 60000

struct launcher_client;

/*
 * The answer to one request, called exactly once, never before launcher_client_send() returned.
 * @reply:      NULL when there is none
 * @take_pidfd: -1, or a descriptor that now belongs to the callee
 * @err:        NULL when the request succeeded; else the launcher's error, or UNAVAILABLE (the
 * launcher died or is gone, the request may or may not have been done), TIMEOUT
 */
typedef void (*launcher_reply_fn)(void *user, const struct launch_reply *reply, int take_pidfd,
                                  const struct adit_err *err);

/*
 * @on_restart: a launcher died and a new one is at work; what was pending has failed (may be NULL)
 * @on_lost:    there is no launcher any more and will not be one: requests fail with UNAVAILABLE
 */
struct launcher_client_ops {
    void (*on_restart)(void *owner);
    void (*on_lost)(void *owner);
};

/* @take_fd belongs to the client on success. Errors: NO_MEMORY, IO. */
ADIT_MUST_CHECK int launcher_client_open(uv_loop_t *loop, int take_fd,
                                         const struct launcher_client_ops *ops, void *owner,
                                         struct launcher_client **out, struct adit_err *err);
/* Queue a request; its magic and id are filled in. Errors: LIMIT, NO_MEMORY, UNAVAILABLE; @done is
 * not called then. */
ADIT_MUST_CHECK int launcher_client_send(struct launcher_client *c,
                                         const struct launch_request *request,
                                         launcher_reply_fn done, void *user, struct adit_err *err);
/* @pending: now; the rest only grows. */
struct launcher_client_stats {
    uint64_t answered, failed, pending;
};
struct launcher_client_stats launcher_client_stats(const struct launcher_client *c);
/* Pid of the launcher at work, 0 before it said hello. */
pid_t launcher_client_pid(const struct launcher_client *c);
/* What is pending fails with CANCELED, at once; then the client closes and frees itself. */
void launcher_client_close(struct launcher_client *c);

#endif
