/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's connection to QEMU's monitor (QMP), on the control loop.
 */
#ifndef BROKER_VMM_QMP_H
#define BROKER_VMM_QMP_H

#include "broker/vmm/qmp_reader.h"
#include "net/net_loop.h"

/* For greeting and capabilities. */
#define QMP_DIAL_MS 5000
/* Without a connection it is tried again after the first, then twice as long each time. */
#define QMP_RETRY_MS 250
#define QMP_RETRY_MAX_MS 30000
/* Messages taken at once and a second; who says more is left alone for a while. */
#define QMP_MESSAGES_BURST 200
#define QMP_MESSAGES_PER_S 50

struct qmp;

enum qmp_command { QMP_QUERY_STATUS, QMP_QUIT };

/*
 * @on_ready:  commands are taken from now on: the first time, and after each interruption
 * @on_answer: what a command brought: an answer or an error
 * @on_event:  something happened in the machine
 * Any of them may close it.
 */
struct qmp_ops {
    void (*on_ready)(void *owner);
    void (*on_answer)(void *owner, enum qmp_command command, const struct qmp_message *m);
    void (*on_event)(void *owner, const struct qmp_message *m);
};

/* Keep a connection to the socket @path (copied). Never calls back before it returns. Errors:
 * NO_MEMORY. */
ADIT_MUST_CHECK int qmp_open(struct net_loop *loop, const char *path, const struct qmp_ops *ops,
                             void *owner, struct qmp **out, struct adit_err *err);
/* Errors: UNAVAILABLE (there is no connection now), NO_MEMORY. */
ADIT_MUST_CHECK int qmp_send(struct qmp *q, enum qmp_command command, struct adit_err *err);
/* NULL is fine. */
void qmp_close(struct qmp *q);

#endif
