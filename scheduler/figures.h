/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's figures for Prometheus, on a listener of their own. */
#ifndef SCHEDULER_FIGURES_H
#define SCHEDULER_FIGURES_H

#include "scheduler/scheduler.h"

/* Serve on conf.metrics_listen, unless that is empty. Errors: those of listener_socket(). */
ADIT_MUST_CHECK int figures_open(struct scheduler *s, struct adit_err *err);

#endif
