/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs of sandboxes on disk. Blocking: for the thread pool.
 *
 * A log is two files, <id>.log and the older <id>.log.1; the first line of each says whose it is.
 */
#ifndef BROKER_NODE_JOURNAL_FILE_H
#define BROKER_NODE_JOURNAL_FILE_H

#include "broker/node/journal_entry.h"
#include "broker/sandbox_id.h"

/* One file; a full one becomes the older one, whose lines are gone then. */
#define JOURNAL_FILE_CAP (1024u * 1024)
/* Files kept in all, whatever their size. */
#define JOURNAL_FILE_FILES_MAX 32768
/* Lines of one answer, and their bytes: the answer ends with the line that reaches it. */
#define JOURNAL_FILE_LINES_MAX 1000
#define JOURNAL_FILE_ANSWER_MAX (1024u * 1024)
/* The answer as JSON, with every line in it twice. */
#define JOURNAL_FILE_TEXT_CAP (12u * 1024 * 1024)
#define JOURNAL_FILE_SEARCH_CAP 256

/*
 * Which lines, and in what form.
 *
 * @from_ms:    forward: not older than that; backward: not newer; -1: from the end concerned
 * @is_newest:  with @from_ms -1: the newest lines, oldest of them first
 * @search:     in the message or anywhere else in the line; "" takes all
 * @is_v2:      {"logs": entries} only
 */
struct journal_query {
    int64_t from_ms;
    uint64_t limit;
    bool is_backward, is_newest, is_v2;
    enum adit_log_level min_level;
    char search[JOURNAL_FILE_SEARCH_CAP];
};

/* Append whole lines to the log of @id in @dir_fd, which is begun for @team_id or rolled over when
 * it must. Errors: NO_SPACE, IO…; then some of the lines may be there. */
ADIT_MUST_CHECK int journal_file_append(int dir_fd, const char *id, const char *team_id,
                                        struct adit_view lines, struct adit_err *err);
/* The answer to @q as JSON. Errors: NOT_FOUND (none, or of another team), LIMIT, NO_MEMORY, IO. */
ADIT_MUST_CHECK int journal_file_read(int dir_fd, const char *id, const char *team_id,
                                      const struct journal_query *q, struct adit_buf *out,
                                      struct adit_err *err);

/* Is a sandbox with that id there? On the thread pool. */
typedef bool (*journal_file_is_live_fn)(const void *user, const char *id);

/* Remove the files of ended sandboxes that were not written for @max_age_ms, and then, oldest
 * first, those of ended and at last of living ones, until all together have @bytes_max at most.
 * *left: bytes after it. Errors: IO, NO_MEMORY. */
ADIT_MUST_CHECK int journal_file_sweep(int dir_fd, uint64_t max_age_ms, uint64_t bytes_max,
                                       journal_file_is_live_fn is_live, const void *user,
                                       uint64_t *left, struct adit_err *err);

#endif
