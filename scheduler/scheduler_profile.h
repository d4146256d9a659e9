/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler may do once it serves. */
#ifndef SCHEDULER_SCHEDULER_PROFILE_H
#define SCHEDULER_SCHEDULER_PROFILE_H

#include "scheduler/scheduler_conf.h"

/*
 * Open what needs privileges, then give them up. Before there is a thread. Afterwards @conf->listen
 * is "fd:n" and @conf->data_dir absolute. Started without privileges, nothing changes but that no
 * new ones are to be had. Errors: of the configuration, or of the system.
 */
ADIT_MUST_CHECK int scheduler_profile_enter(struct scheduler_conf *conf, struct adit_err *err);

#endif
