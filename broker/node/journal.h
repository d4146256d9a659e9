/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs of this host's sandboxes: what happened to each, and what it said.
 *
 * They lie in <state_dir>/logs and outlive their sandboxes, so that the reason of an end can be
 * read after it. All functions belong to the control loop.
 */
#ifndef BROKER_NODE_JOURNAL_H
#define BROKER_NODE_JOURNAL_H

#include "broker/node/journal_file.h"
#include "net/net_loop.h"

/* Lines of one sandbox that wait for the disk; beyond it they are dropped and counted. */
#define JOURNAL_PENDING_MAX (128u * 1024)
/* Between two looks at what may be removed. */
#define JOURNAL_SWEEP_MS 60000
#define JOURNAL_TEAM_CAP 65 /* a name of the scheduler, at most 64 */

struct journal;
struct journal_log;

struct journal_conf {
    struct net_loop *loop;
    const char *state_dir;
    uint64_t retention_ms, bytes_max;
};

struct journal_stats {
    uint64_t lines, dropped, failed_writes, bytes_on_disk;
};

/* @text: JSON, valid inside only; NULL ptr with @err. */
typedef void (*journal_read_fn)(void *user, struct adit_view text, const struct adit_err *err);

/* Makes the directory. Errors: IO…, NO_MEMORY. */
ADIT_MUST_CHECK int journal_open(const struct journal_conf *conf, struct journal **out,
                                 struct adit_err *err);
/* Take no more lines; those that wait are written while the loop runs on. */
void journal_close(struct journal *j);
/* After the loop has ended. */
void journal_free(struct journal *j);
const struct journal_stats *journal_stats(const struct journal *j);

/* The log of a sandbox, begun or gone on with. Return: NULL without memory. */
struct journal_log *journal_log_open(struct journal *j, const char *sandbox_id,
                                     const char *team_id);
/* No lines come any more. NULL is fine. */
void journal_log_close(struct journal_log *log);
/* All of them: a NULL log takes nothing, and what cannot be taken is counted. See journal_entry.h.
 */
void journal_log_add(struct journal_log *log, enum adit_log_level level, const char *message,
                     const struct journal_field *fields);
void journal_log_add_console(struct journal_log *log, struct adit_view line);
/* So many lines of the guest were not taken. */
void journal_log_add_dropped(struct journal_log *log, uint64_t cnt);

/* Read a log, also of a sandbox that has ended. @on_done never comes before it returns; its errors
 * are those of journal_file_read(). Errors: NO_MEMORY; then no callback comes. */
ADIT_MUST_CHECK int journal_read(struct journal *j, const char *sandbox_id, const char *team_id,
                                 const struct journal_query *q, journal_read_fn on_done,
                                 void *user);

#endif
