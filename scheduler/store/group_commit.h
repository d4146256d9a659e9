/* SPDX-License-Identifier: Apache-2.0 */
/* A store over a SQLite file whose writes are committed in groups by a thread of its own. */
#ifndef SCHEDULER_STORE_GROUP_COMMIT_H
#define SCHEDULER_STORE_GROUP_COMMIT_H

#include <uv.h>

#include "scheduler/store/store.h"

/* Writes in one transaction. */
#define GROUP_COMMIT_MAX 512

/* Opens the file and tells @owner all records before it returns. Errors: those of sqlite_open() and
 * of owner->apply; LIMIT (no thread). */
ADIT_MUST_CHECK int group_commit_open(uv_loop_t *uv, const char *path,
                                      const struct store_owner *owner, struct store **out,
                                      struct adit_err *err);

#endif
