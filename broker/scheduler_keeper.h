/* SPDX-License-Identifier: Apache-2.0 */
/* The process that starts the broker's own scheduler, and starts it again. */
#ifndef BROKER_SCHEDULER_KEEPER_H
#define BROKER_SCHEDULER_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

#include "confine/confine.h"

#define SCHEDULER_KEEPER_BACKOFF_MIN_MS 100
#define SCHEDULER_KEEPER_BACKOFF_MAX_MS 5000
/* It ran well when it lived this long: the back-off begins anew. */
#define SCHEDULER_KEEPER_STEADY_MS 10000
#define SCHEDULER_KEEPER_STOP_MS 5000
/* printf format of the scheduler's address; the argument is the state directory. */
#define SCHEDULER_KEEPER_SOCKET "scheduler.sock"
#define SCHEDULER_KEEPER_ADDRESS "unix:%s/" SCHEDULER_KEEPER_SOCKET

/* What the broker writes to make it end a scheduler that does not answer. */
#define SCHEDULER_KEEPER_KICK 'k'

/*
 * All strings must stay valid until scheduler_keeper_start() returns.
 * @client: the socket's owner: the broker's user after it gave up its privileges
 */
struct scheduler_keeper_conf {
    const char *program, *state_dir, *log_level;
    bool log_json;
    struct confine_user client;
};

/*
 * Fork the keeper, which runs "@program --listen fd:4 --data-dir <state_dir>/scheduler --parent-fd
 * 3" with our own log options. *out_fd is the broker's end of a socket pair: it takes kicks, and
 * when it is closed or shut down for writing, the keeper ends the scheduler (SIGTERM, later
 * SIGKILL) and itself. The caller has one thread. Errors: IO.
 */
ADIT_MUST_CHECK int scheduler_keeper_start(const struct scheduler_keeper_conf *conf, int *out_fd,
                                           struct adit_err *err);

#endif
