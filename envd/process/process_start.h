/* SPDX-License-Identifier: Apache-2.0 */
/* From a Start request to a running process. */
#ifndef ENVD_PROCESS_START_H
#define ENVD_PROCESS_START_H

#include "envd/process/env_block.h"
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

/*
 * What every program gets: PATH, HOME, USER, LOGNAME of @user, then the variables of /init.
 * Errors: LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int process_start_env(const struct envd *e, const struct user_entry *user,
                                      struct env_block *env, struct adit_err *err);
/* Where nothing is redirected, programs find the proxies by these variables; a user's own win, in
 * either spelling. Last. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int process_start_proxies(const struct envd *e, struct env_block *env,
                                          struct adit_err *err);

#endif
