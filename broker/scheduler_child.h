/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's end of its own scheduler's keeper, on the control loop. */
#ifndef BROKER_SCHEDULER_CHILD_H
#define BROKER_SCHEDULER_CHILD_H

#include <uv.h>

#include "base/err.h"

struct scheduler_child;

/*
 * @take_fd: of scheduler_keeper_start(); belongs to the child on success
 * @on_lost: the keeper was killed, and its scheduler with it; gets @owner
 * Errors: IO, NO_MEMORY.
 */
ADIT_MUST_CHECK int scheduler_child_new(uv_loop_t *uv, int take_fd, void (*on_lost)(void *owner),
                                        void *owner, struct scheduler_child **out,
                                        struct adit_err *err);
/* It runs but does not answer: end it, so that it is started anew. */
void scheduler_child_kick(struct scheduler_child *c);
/* End it and free; the loop must run until that is done. */
void scheduler_child_close(struct scheduler_child *c);

#endif
