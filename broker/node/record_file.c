/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on disk.
 *
 * Theory of operation
 *
 * What: a write is an fsync of the file and of its folder, some milliseconds that the control loop
 * must not wait; so it is a job for the thread pool. Per sandbox one job runs at a time, hence the
 * file always holds the newest finished text; saves that arrive meanwhile are joined.
 * Ownership: a job touches @text, @result and @err only; everything else belongs to the loop.
 * A claim's file is laid out with its blocks and on disk before it is needed, so overwriting it
 * changes nothing but data, and fdatasync() waits for no journal. It is written while nobody was
 * promised anything yet: one that is torn tells of a claim that was not answered.
 * Failure: a failed save leaves the old record; its waiters are told.
 */
#include "broker/node/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "broker/node/record.h"

struct waiter {
    struct adit_list node;
    record_file_fn on_done;
    void *user;
};

void record_file_init(struct record_file *f, uv_loop_t *uv, int sandboxes_fd,
                      const char *sandbox_id)
{
    memset(f, 0, sizeof(*f));
    f->uv = uv;
    f->sandboxes_fd = sandboxes_fd;
    memcpy(f->sandbox_id, sandbox_id, strlen(sandbox_id) + 1);
    adit_buf_init(&f->next, RECORD_CAP);
    adit_buf_init(&f->text, RECORD_CAP);
    adit_list_init(&f->waiting);
    adit_list_init(&f->served);
}

static void drop_waiters(struct adit_list *l)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, l)
    {
        adit_list_remove(it);
        free(ADIT_CONTAINER_OF(it, struct waiter, node));
    }
}

void record_file_fini(struct record_file *f)
{
    drop_waiters(&f->waiting);
    drop_waiters(&f->served);
    adit_buf_fini(&f->next);
    adit_buf_fini(&f->text);
}

/* ---- on the thread pool ---- */

/* Overwrite the claim's file with @text and blanks. */
static int write_claim(int dir, struct adit_view text, int flags, bool is_lazy,
                       struct adit_err *err)
{
    char page[RECORD_FILE_CLAIM_CAP];
    ADIT_CLEANUP_CLOSE int fd =
        openat(dir, RECORD_FILE_CLAIM_NAME, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return adit_err_sys(err, errno, "open " RECORD_FILE_CLAIM_NAME);
    memset(page, ' ', sizeof(page));
    if (text.len)
        memcpy(page, text.ptr, text.len);
    ssize_t n = pwrite(fd, page, sizeof(page), 0);
    if (n != (ssize_t)sizeof(page))
        return adit_err_sys(err, n < 0 ? errno : ENOSPC, "write " RECORD_FILE_CLAIM_NAME);
    if (!is_lazy && fdatasync(fd))
        return adit_err_sys(err, errno, "sync " RECORD_FILE_CLAIM_NAME);
    return 0;
}

/* The file, and then its entry in the folder. */
static int lay_out_claim(int dir, struct adit_err *err)
{
    int rc = write_claim(dir, (struct adit_view){NULL, 0}, O_CREAT, false, err);
    if (rc == 0 && fsync(dir))
        rc = adit_err_sys(err, errno, "sync the folder of " RECORD_FILE_CLAIM_NAME);
    return rc;
}

static int save(struct record_file *f, struct adit_err *err)
{
    if (mkdirat(f->sandboxes_fd, f->sandbox_id, 0700) && errno != EEXIST)
        return adit_err_sys(err, errno, "make the folder of %s", f->sandbox_id);
    ADIT_CLEANUP_CLOSE int dir =
        openat(f->sandboxes_fd, f->sandbox_id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return adit_err_sys(err, errno, "open the folder of %s", f->sandbox_id);
    if (f->is_claim)
        return write_claim(dir, adit_buf_view(&f->text), 0, f->is_lazy, err);
    int rc = (f->is_lazy ? adit_file_replace_lazy : adit_file_replace)(
        dir, RECORD_FILE_NAME, adit_buf_view(&f->text), 0600, err);
    return rc || f->job == RECORD_FILE_SAVE ? rc : lay_out_claim(dir, err);
}

/* The list of ends is for people and tests; without it the removal goes on. */
static void note_end(const struct record_file *f)
{
    struct stat st;
    struct adit_view line = adit_buf_view(&f->text);
    if (!line.len)
        return;
    ADIT_CLEANUP_CLOSE int fd =
        openat(f->sandboxes_fd, "../" RECORD_FILE_ENDED,
               O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    ssize_t n = write(fd, line.ptr, line.len);
    if (n >= 0 && fstat(fd, &st) == 0 && st.st_size > (off_t)RECORD_FILE_ENDED_CAP)
        (void)renameat(f->sandboxes_fd, "../" RECORD_FILE_ENDED, f->sandboxes_fd,
                       "../" RECORD_FILE_ENDED ".1"); /* tried again with the next line */
}

static void on_work(uv_work_t *work)
{
    struct record_file *f = work->data;
    if (f->job != RECORD_FILE_REMOVE) {
        f->result = save(f, &f->err);
        return;
    }
    note_end(f);
    f->result = adit_file_remove_tree(f->sandboxes_fd, f->sandbox_id, &f->err);
}

/* ---- on the loop ---- */

static void on_worked(uv_work_t *work, int status);

/* Begin what is next, unless a job runs: its end comes here again. */
static void start(struct record_file *f)
{
    struct adit_buf empty = f->text;
    struct adit_list *it, *tmp;
    if (f->is_busy)
        return;
    f->text = f->next;
    f->next = empty;
    adit_buf_clear(&f->next);
    ADIT_LIST_EACH(it, tmp, &f->waiting)
    {
        adit_list_remove(it);
        adit_list_push(&f->served, it);
    }
    f->has_next = false;
    f->is_lazy = f->next_is_lazy;
    f->is_busy = true;
    f->job = f->next_job;
    /* What does not fit replaces the record, which then counts. */
    f->has_claim = f->has_claim && f->text.len <= RECORD_FILE_CLAIM_CAP;
    f->is_claim = f->has_claim;
    f->result = 0;
    f->work.data = f;
    (void)uv_queue_work(f->uv, &f->work, on_work, on_worked); /* fails without a callback only */
}

/* A waiter's callback may free the sandbox and @f with it: the last one is called last. */
static void serve(struct adit_list *served, int result, const struct adit_err *err)
{
    struct adit_list *it;
    while ((it = adit_list_first(served))) {
        struct waiter *w = ADIT_CONTAINER_OF(it, struct waiter, node);
        struct waiter told = *w;
        adit_list_remove(it);
        free(w);
        if (told.on_done)
            told.on_done(told.user, result ? err : NULL);
    }
}

static void on_worked(uv_work_t *work, int status)
{
    struct record_file *f = work->data;
    struct adit_list served, *it, *tmp;
    struct adit_err err = f->err;
    int result = status ? ADIT_ERR_CANCELED : f->result;
    adit_list_init(&served);
    ADIT_LIST_EACH(it, tmp, &f->served)
    {
        adit_list_remove(it);
        adit_list_push(&served, it);
        f->waiter_cnt--;
    }
    f->is_busy = false;
    if (f->job == RECORD_FILE_PREPARE && result == 0)
        f->has_claim = true;
    if (f->has_next)
        start(f);
    serve(&served, result, &err);
}

/* Replace the text that waits to be saved; on failure the older one stays. */
static int replace_next(struct record_file *f, struct adit_view text)
{
    struct adit_buf fresh;
    adit_buf_init(&fresh, RECORD_CAP);
    int rc = adit_buf_append_view(&fresh, text);
    if (rc) {
        adit_buf_fini(&fresh);
        return rc;
    }
    adit_buf_fini(&f->next);
    f->next = fresh;
    f->has_next = true;
    return 0;
}

static int enqueue(struct record_file *f, struct adit_view text, record_file_fn on_done, void *user)
{
    if (f->waiter_cnt >= RECORD_FILE_WAITERS_MAX)
        return ADIT_ERR_LIMIT;
    struct waiter *w = malloc(sizeof(*w));
    if (!w)
        return ADIT_ERR_NO_MEMORY;
    int rc = replace_next(f, text);
    if (rc) {
        free(w);
        return rc;
    }
    *w = (struct waiter){{NULL, NULL}, on_done, user};
    adit_list_push(&f->waiting, &w->node);
    f->waiter_cnt++;
    return 0;
}

int record_file_save(struct record_file *f, struct adit_view text, bool is_lazy,
                     record_file_fn on_done, void *user)
{
    bool joins_strict = f->has_next && !f->next_is_lazy;
    int rc = enqueue(f, text, on_done, user);
    if (rc)
        return rc;
    f->next_job = RECORD_FILE_SAVE;
    f->next_is_lazy = is_lazy && !joins_strict;
    start(f);
    return 0;
}

int record_file_prepare(struct record_file *f, struct adit_view text, record_file_fn on_done,
                        void *user)
{
    int rc = enqueue(f, text, on_done, user);
    if (rc)
        return rc;
    f->next_job = RECORD_FILE_PREPARE;
    f->next_is_lazy = false;
    start(f);
    return 0;
}

void record_file_leave_claim(struct record_file *f)
{
    f->has_claim = false;
}

int record_file_remove(struct record_file *f, struct adit_view line, record_file_fn on_done,
                       void *user)
{
    int rc = enqueue(f, line, on_done, user);
    if (rc)
        return rc;
    f->next_job = RECORD_FILE_REMOVE;
    start(f);
    return 0;
}
