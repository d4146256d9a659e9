/* SPDX-License-Identifier: Apache-2.0 */
/* From a Start request to a running process. */
#ifndef ENVD_PROCESS_START_H
#define ENVD_PROCESS_START_H

#include "envd/process/process_table.h"

/* Used when envd itself was started without one. */
#define PROCESS_START_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * Start what @m asks for, as @user ("" the default user). The process is in the table and nobody is
 * subscribed yet; not one byte of its output is read before the loop runs again.
 * Errors: UNAUTHENTICATED (user), BAD_INPUT (path, directory, spawn), LIMIT, NO_MEMORY; words of
 * envd-api.md 7.1.
 */
ADIT_MUST_CHECK int process_start(struct process_table *t, const Process__StartRequest *m,
                                  const char *user, struct process **out, struct adit_err *err);

#endif
