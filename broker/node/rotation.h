/* SPDX-License-Identifier: Apache-2.0 */
/* Giving a running sandbox other tokens. */
#ifndef BROKER_NODE_ROTATION_H
#define BROKER_NODE_ROTATION_H

#include "broker/node/guest.h"
#include "broker/node/node.h"

/* Embedded in its sandbox. @is_new: not the completion of an earlier one. @guest: while envd is
 * told. @on_done: NULL when nobody waits */
struct rotation {
    bool is_running, is_new;
    struct guest *guest;
    node_done_fn on_done;
    void *user;
};

/* Begin, or complete what was begun and not finished (record.is_rotating). @on_done may be NULL.
 * Errors: CONFLICT (one runs), LIMIT, NO_MEMORY; then no callback comes. */
ADIT_MUST_CHECK int rotation_start(struct sandbox *s, node_done_fn on_done, void *user,
                                   struct adit_err *err);
/* The sandbox ends, or its node stops: who waits is told. */
void rotation_cancel(struct sandbox *s);

#endif
