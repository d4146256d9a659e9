/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's own scheduler: a child process that is started again when it ends. */
#ifndef BROKER_SCHEDULER_CHILD_H
#define BROKER_SCHEDULER_CHILD_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

#define SCHEDULER_CHILD_BACKOFF_MIN_MS 100
#define SCHEDULER_CHILD_BACKOFF_MAX_MS 5000
/* It ran well when it lived this long: the back-off begins anew. */
#define SCHEDULER_CHILD_STEADY_MS 10000
#define SCHEDULER_CHILD_STOP_MS 5000
/* printf format of its address; the argument is the state directory. */
#define SCHEDULER_CHILD_ADDRESS "unix:%s/scheduler.sock"

struct scheduler_child;

/*
 * Start "@program --listen <its address> --data-dir <state_dir>/scheduler --parent-fd 3" with our
 * own log options; descriptor 3 is a pipe that ends with this process. Errors: IO, NO_MEMORY.
 */
ADIT_MUST_CHECK int scheduler_child_new(uv_loop_t *uv, const char *program, const char *state_dir,
                                        const char *log_level, bool log_json,
                                        struct scheduler_child **out, struct adit_err *err);
/* It runs but does not answer: end it, so that it is started anew. */
void scheduler_child_kick(struct scheduler_child *c);
/* End it (SIGTERM, later SIGKILL) and free; the loop must run until that is done. */
void scheduler_child_close(struct scheduler_child *c);

#endif
