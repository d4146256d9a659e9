/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What envd does as the first process of a sandbox, and how it stops.
 */
#ifndef ENVD_INIT_H
#define ENVD_INIT_H

#include <sys/resource.h>

#include "envd/server.h"

/* From a request to stop to SIGKILL for what is left. */
#define INIT_STOP_MS 5000
/* From then on, for the last bytes to clients. */
#define INIT_DRAIN_MS 1000

/*
 * Before anything else: signals as envd wants them, descriptors 0 to 2 open, orphans coming here, a
 * descriptor limit that fits SERVER_CHANNELS_MAX. @nofile: the limit as it was, for children.
 */
void init_process(struct rlimit *nofile);
/* As PID 1 of a sandbox: loopback interface up. Failing is logged and no error. */
void init_sandbox(void);
/*
 * As PID 1 of a sandbox: what gets out of it goes through envd (egress/egress.h), and nobody else
 * in it may change that. Before any thread is started. Failing is logged and no error.
 */
void init_egress(struct envd *e);

/* Descriptors that the loop has room for from the start; see init_watch(). */
#define INIT_LOOP_FDS 4094

/* @stop_signals: SIGTERM, SIGINT. */
struct init {
    struct envd *envd; /* borrowed */
    uv_poll_t room;
    uv_signal_t stop_signals[2];
    struct net_deadline grace;
    bool is_stopping;
};

/*
 * Stop in order at SIGTERM and SIGINT: the loop has nothing left when all is over. Also makes room
 * for INIT_LOOP_FDS in the loop's table, since libuv aborts when it cannot grow it later. Errors:
 * NO_MEMORY, IO.
 */
ADIT_MUST_CHECK int init_watch(struct init *i, struct envd *e, struct adit_err *err);

#endif
