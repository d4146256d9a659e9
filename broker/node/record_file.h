/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of one sandbox on disk: saved on the thread pool, one write at a time, in order.
 *
 * The layout: <sandboxes_dir>/<id>/record.json, replaced whole; when a sandbox is over its folder
 * goes and one line about its end is added to <sandboxes_dir>/../ended.jsonl.
 *
 * Replacing a file costs a commit of the file system's journal, a millisecond that a claim of a
 * waiting sandbox has not got. So that one has a second file beside its record, laid out before and
 * then overwritten where it lies: <id>/claim.json, RECORD_FILE_CLAIM_CAP bytes, blank until the
 * claim. It counts as long as record.json says that the sandbox waits.
 */
#ifndef BROKER_NODE_RECORD_FILE_H
#define BROKER_NODE_RECORD_FILE_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "broker/sandbox_id.h"

#define RECORD_FILE_NAME "record.json"
#define RECORD_FILE_CLAIM_NAME "claim.json"
/* A longer text replaces record.json. */
#define RECORD_FILE_CLAIM_CAP (16u * 1024)
#define RECORD_FILE_ENDED "ended.jsonl"
/* The list of ends is rolled over to ended.jsonl.1 above this size. */
#define RECORD_FILE_ENDED_CAP (4u * 1024 * 1024)
#define RECORD_FILE_WAITERS_MAX 1024

typedef void (*record_file_fn)(void *user, const struct adit_err *err);

enum record_file_job { RECORD_FILE_SAVE, RECORD_FILE_PREPARE, RECORD_FILE_REMOVE };

/*
 * Embedded in its sandbox, which stays until no job runs.
 *
 * @next_job, @next_is_lazy: of @next / @job, @is_lazy: of the running job
 * @next:    the text to save once the running job is done
 * @text:    the running job's
 * @has_claim: saves go to the claim's file / @is_claim: the running one does
 * @waiting: who waits for @next / @served: for the running job (struct waiter)
 */
struct record_file {
    uv_loop_t *uv;    /* borrowed */
    int sandboxes_fd; /* borrowed: the folder of all sandboxes */
    char sandbox_id[SANDBOX_ID_CAP];
    uv_work_t work;
    enum record_file_job job, next_job;
    bool is_busy, has_next;
    bool next_is_lazy, is_lazy;
    bool has_claim, is_claim;
    struct adit_buf next, text;
    struct adit_list waiting, served;
    size_t waiter_cnt;
    int result;
    struct adit_err err;
};

void record_file_init(struct record_file *f, uv_loop_t *uv, int sandboxes_fd,
                      const char *sandbox_id);
/* No job may run. */
void record_file_fini(struct record_file *f);
/*
 * Save @text. @is_lazy: it has to survive this process, not a crash of the machine, and so does not
 * wait for the disk (unless it is joined with one that does); several saves during a running one
 * become one write, of the last text. on_done (may be NULL) comes when this text or a later one is
 * on disk, never before it returns. Errors: LIMIT (waiters), NO_MEMORY; then nothing is saved and
 * no callback comes.
 */
ADIT_MUST_CHECK int record_file_save(struct record_file *f, struct adit_view text, bool is_lazy,
                                     record_file_fn on_done, void *user);
/* Save @text, which says that the sandbox waits to be claimed, and lay out the claim's file; the
 * saves that follow go there. */
ADIT_MUST_CHECK int record_file_prepare(struct record_file *f, struct adit_view text,
                                        record_file_fn on_done, void *user);
/* From the next save on record.json is replaced again. */
void record_file_leave_claim(struct record_file *f);
/* Note the end (@line, with newline; empty: it is noted already) and remove the folder, after a
 * save that runs. No save may follow. */
ADIT_MUST_CHECK int record_file_remove(struct record_file *f, struct adit_view line,
                                       record_file_fn on_done, void *user);

#endif
