/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's records in one SQLite file. Blocks; used by one thread at a time. */
#ifndef SCHEDULER_STORE_SQLITE_H
#define SCHEDULER_STORE_SQLITE_H

#include "scheduler/store/store.h"

/* PRAGMA application_id ("ADIT") and user_version. */
#define SQLITE_APPLICATION_ID 0x41444954
#define SQLITE_SCHEMA_VERSION 1
/* How long an earlier scheduler may take to let go of the file. */
#define SQLITE_BUSY_MS 3000

struct sqlite_db;

/* Open or make the file. Errors: BAD_INPUT (not our file, or of a newer version), UNAVAILABLE
 * (another scheduler has it), IO, NO_SPACE, NO_MEMORY. */
ADIT_MUST_CHECK int sqlite_open(const char *path, struct sqlite_db **out, struct adit_err *err);
void sqlite_close(struct sqlite_db *db);
/* Tell every record, by table and id. Errors: those of @apply, IO, BAD_INPUT (not a record). */
ADIT_MUST_CHECK int sqlite_load(struct sqlite_db *db, store_apply_fn apply, void *owner,
                                struct adit_err *err);

/* A transaction: begin, any number of changes, and commit, which is durable when it returns. After
 * any error everything since begin must be given up with sqlite_rollback(). */
ADIT_MUST_CHECK int sqlite_begin(struct sqlite_db *db, struct adit_err *err);
ADIT_MUST_CHECK int sqlite_change(struct sqlite_db *db, const struct store_change *c,
                                  struct adit_err *err);
ADIT_MUST_CHECK int sqlite_commit(struct sqlite_db *db, struct adit_err *err);
void sqlite_rollback(struct sqlite_db *db);

#endif
