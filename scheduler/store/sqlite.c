/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's records in one SQLite file.
 *
 * Theory of operation
 *
 * What: one table of (kind, id, value). Write-ahead log with synchronous=FULL: a commit is one
 * fsync of the log and survives a power cut. The file is locked for as long as it is open, so that
 * there is one scheduler on it, and no shared-memory file is needed.
 *
 * Trust: the file is ours, but a path may be wrong: nothing is written before the application id
 * and the version were seen to be ours, or the file to be empty.
 *
 * Failure: a failed statement or commit leaves the transaction to sqlite_rollback(); the file holds
 * what was committed before.
 */
#include "scheduler/store/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

enum statement { BEGIN, COMMIT, ROLLBACK, PUT, DELETE, STATEMENT_CNT };

static const char *const statement_texts[STATEMENT_CNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [PUT] = "REPLACE INTO record(kind, id, value) VALUES(?1, ?2, ?3)",
    [DELETE] = "DELETE FROM record WHERE kind = ?1 AND id = ?2",
};

struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENT_CNT];
};

static int code_of(sqlite3 *handle, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ADIT_ERR_NO_SPACE;
    case SQLITE_NOMEM:
        return ADIT_ERR_NO_MEMORY;
    case SQLITE_NOTADB:
        return ADIT_ERR_BAD_INPUT;
    case SQLITE_IOERR: {
        int no = handle ? sqlite3_system_errno(handle) : 0;
        return no == ENOSPC || no == EDQUOT ? ADIT_ERR_NO_SPACE : ADIT_ERR_IO;
    }
    default:
        return ADIT_ERR_IO;
    }
}

static int fail(struct sqlite_db *db, int rc, const char *what, struct adit_err *err)
{
    if ((rc & 0xff) == SQLITE_BUSY)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "another scheduler uses the file");
    return adit_err_set(err, code_of(db->handle, rc), "%s: %s", what,
                        db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
}

static int run(struct sqlite_db *db, const char *sql, struct adit_err *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(db, rc, sql, err);
}

static int ask_int(struct sqlite_db *db, const char *sql, int64_t *out, struct adit_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    int result = rc == SQLITE_ROW ? 0 : fail(db, rc, sql, err);
    (void)sqlite3_finalize(stmt); /* repeats the error of step */
    return result;
}

static int create_schema(struct sqlite_db *db, struct adit_err *err)
{
    char sql[320];
    (void)snprintf(sql, sizeof(sql),
                   "BEGIN EXCLUSIVE;"
                   "CREATE TABLE record(kind INTEGER NOT NULL, id TEXT NOT NULL,"
                   " value BLOB NOT NULL, PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID;"
                   "PRAGMA application_id = %d; PRAGMA user_version = %d;"
                   "COMMIT",
                   SQLITE_APPLICATION_ID, SQLITE_SCHEMA_VERSION); /* fits */
    return run(db, sql, err);
}

/* Ours, or new: then it becomes ours. */
static int check_identity(struct sqlite_db *db, struct adit_err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    int rc = ask_int(db, "PRAGMA application_id", &application, err);
    if (rc == 0)
        rc = ask_int(db, "PRAGMA user_version", &version, err);
    if (rc == 0)
        rc = ask_int(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc)
        return rc;
    if (application == 0 && version == 0 && tables == 0)
        return create_schema(db, err);
    if (application != SQLITE_APPLICATION_ID)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the file belongs to another program");
    if (version != SQLITE_SCHEMA_VERSION)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "the file has version %lld; this program knows version %d",
                            (long long)version, SQLITE_SCHEMA_VERSION);
    return 0;
}

static int prepare(struct sqlite_db *db, struct adit_err *err)
{
    for (int i = 0; i < STATEMENT_CNT; i++) {
        int rc = sqlite3_prepare_v3(db->handle, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->statements[i], NULL);
        if (rc != SQLITE_OK)
            return fail(db, rc, statement_texts[i], err);
    }
    return 0;
}

static int open_file(struct sqlite_db *db, const char *path, struct adit_err *err)
{
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc != SQLITE_OK)
        return fail(db, rc, "open", err);
    (void)sqlite3_busy_timeout(db->handle, SQLITE_BUSY_MS); /* cannot fail */
    /* The lock is taken by the first read; the log's mode is in the file. */
    rc = run(db, "PRAGMA locking_mode = EXCLUSIVE", err);
    if (rc == 0)
        rc = check_identity(db, err);
    if (rc == 0)
        rc = run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
    return rc ? rc : prepare(db, err);
}

int sqlite_open(const char *path, struct sqlite_db **out, struct adit_err *err)
{
    struct sqlite_db *db = calloc(1, sizeof(*db));
    if (!db)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    int rc = open_file(db, path, err);
    if (rc) {
        sqlite_close(db);
        (void)adit_err_wrap(err, "%s", path); /* the code is rc */
        return rc;
    }
    *out = db;
    return 0;
}

void sqlite_close(struct sqlite_db *db)
{
    for (int i = 0; i < STATEMENT_CNT; i++)
        (void)sqlite3_finalize(db->statements[i]); /* repeats an old error */
    (void)sqlite3_close(db->handle);               /* nothing is left open */
    free(db);
}

static int tell_row(sqlite3_stmt *stmt, store_apply_fn apply, void *owner, struct adit_err *err)
{
    struct store_change c = {
        .table = (enum store_table)sqlite3_column_int(stmt, 0),
        .id = adit_view_mem(sqlite3_column_text(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1)),
        .value = adit_view_mem(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2)),
    };
    if (!c.value.ptr)
        c.value.ptr = ""; /* an empty blob, not a deletion */
    int rc = apply(owner, &c, err);
    if (rc)
        (void)adit_err_wrap(err, "record %d/%.*s", (int)c.table,
                            ADIT_VIEW_ARG(c.id)); /* the code is rc */
    return rc;
}

int sqlite_load(struct sqlite_db *db, store_apply_fn apply, void *owner, struct adit_err *err)
{
    static const char sql[] = "SELECT kind, id, value FROM record ORDER BY kind, id";
    sqlite3_stmt *stmt = NULL;
    int result = 0;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return fail(db, rc, "load", err);
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        result = tell_row(stmt, apply, owner, err);
    if (result == 0 && rc != SQLITE_DONE)
        result = fail(db, rc, "load", err);
    (void)sqlite3_finalize(stmt); /* repeats the error of step */
    return result;
}

static int step(struct sqlite_db *db, enum statement which, struct adit_err *err)
{
    int rc = sqlite3_step(db->statements[which]);
    int result = rc == SQLITE_DONE ? 0 : fail(db, rc, statement_texts[which], err);
    (void)sqlite3_reset(db->statements[which]); /* repeats the error of step */
    return result;
}

int sqlite_begin(struct sqlite_db *db, struct adit_err *err)
{
    return step(db, BEGIN, err);
}

int sqlite_commit(struct sqlite_db *db, struct adit_err *err)
{
    return step(db, COMMIT, err);
}

void sqlite_rollback(struct sqlite_db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        (void)step(db, ROLLBACK, NULL); /* what it cannot undo, the next begin reports */
}

int sqlite_change(struct sqlite_db *db, const struct store_change *c, struct adit_err *err)
{
    enum statement which = c->value.ptr ? PUT : DELETE;
    sqlite3_stmt *stmt = db->statements[which];
    int rc = sqlite3_bind_int(stmt, 1, (int)c->table);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 2, c->id.ptr, (int)c->id.len, SQLITE_STATIC);
    if (rc == SQLITE_OK && which == PUT)
        rc = sqlite3_bind_blob(stmt, 3, c->value.ptr, (int)c->value.len, SQLITE_STATIC);
    if (rc != SQLITE_OK)
        return fail(db, rc, "bind", err);
    return step(db, which, err);
}
