/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measurements on disk.
 *
 * Theory of operation
 *
 * What: an append writes behind the last whole record, so that what a crash tore is overwritten. A
 * read finds both ends of its range by halving, as records lie in the order of time, and then reads
 * the records of its answer and no others: of a range with more than SAMPLE_FILE_POINTS_MAX every
 * n-th one and the last. So a sandbox that has lived for a year costs as many reads as one of two
 * hours. Where SKIP_MAX records in a row cannot be read, the halving goes on in the direction that
 * loses nothing. After a host's clock was set back it may miss samples of the time that came twice;
 * an answer never has one from outside of its range.
 * Ownership: a job is memory of its own and knows a sandbox by its id only, so a sandbox need not
 * wait for it. Its folder may be removed under it; the file is then created in no folder and the
 * job fails.
 * Failure: a full disk loses the sample; the caller counts.
 */
#include "broker/node/sample_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "broker/sandbox_id.h"

#define SKIP_MAX 64

/* owned by: itself, until its callback */
struct job {
    uv_work_t work;
    int sandboxes_fd;
    char sandbox_id[SANDBOX_ID_CAP];
    uint8_t record[SAMPLE_LEN];
    int64_t start_ms, end_ms;
    struct sample *points;
    size_t cnt;
    sample_file_appended_fn on_appended;
    sample_file_read_fn on_read;
    void *user;
    int result;
    struct adit_err err;
};

/* ---- on the thread pool ---- */

static int open_file(const struct job *j, int flags, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int dir =
        openat(j->sandboxes_fd, j->sandbox_id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = dir < 0 ? -1 : openat(dir, SAMPLE_FILE_NAME, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        (void)adit_err_sys(err, errno, "open the samples of %s", j->sandbox_id); /* told by -1 */
    return fd;
}

static int append(const struct job *j, struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open_file(j, O_WRONLY | O_CREAT, err);
    if (fd < 0)
        return err->code;
    if (fstat(fd, &st))
        return adit_err_sys(err, errno, "look at the samples");
    off_t at = st.st_size / SAMPLE_LEN * SAMPLE_LEN;
    if (at / SAMPLE_LEN >= (off_t)SAMPLE_FILE_RECORDS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many samples");
    ssize_t n = pwrite(fd, j->record, SAMPLE_LEN, at);
    return n == SAMPLE_LEN ? 0 : adit_err_sys(err, n < 0 ? errno : ENOSPC, "write a sample");
}

static bool read_record(int fd, uint64_t i, struct sample *out)
{
    uint8_t record[SAMPLE_LEN];
    return pread(fd, record, SAMPLE_LEN, (off_t)(i * SAMPLE_LEN)) == SAMPLE_LEN &&
           sample_decode(record, out);
}

/* Was record @i, or the next one below @end that can be read, taken after @at_ms? */
static bool is_after(int fd, uint64_t i, uint64_t end, int64_t at_ms, bool if_unknown)
{
    struct sample s;
    for (unsigned skipped = 0; i < end && skipped < SKIP_MAX; i++, skipped++)
        if (read_record(fd, i, &s))
            return s.at_ms > at_ms;
    return if_unknown;
}

/* The first of @cnt records that was taken after @at_ms; @cnt when there is none. */
static uint64_t find(int fd, uint64_t cnt, int64_t at_ms, bool if_unknown)
{
    uint64_t from = 0, to = cnt;
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (is_after(fd, middle, to, at_ms, if_unknown))
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

static void take(struct job *j, int fd, uint64_t i)
{
    struct sample s;
    if (read_record(fd, i, &s) && s.at_ms >= j->start_ms && s.at_ms <= j->end_ms)
        j->points[j->cnt++] = s;
}

static int read_range(struct job *j, struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open_file(j, O_RDONLY, err);
    if (fd < 0)
        return err->code;
    if (fstat(fd, &st))
        return adit_err_sys(err, errno, "look at the samples");
    uint64_t all = (uint64_t)st.st_size / SAMPLE_LEN;
    uint64_t from = find(fd, all, j->start_ms - 1, true), to = find(fd, all, j->end_ms, false);
    if (to <= from)
        return 0;
    uint64_t last = to - 1;
    uint64_t step = (last - from + SAMPLE_FILE_POINTS_MAX - 2) / (SAMPLE_FILE_POINTS_MAX - 1);
    for (uint64_t i = from; i < last; i += step)
        take(j, fd, i);
    take(j, fd, last);
    return 0;
}

static void on_append(uv_work_t *work)
{
    struct job *j = work->data;
    j->result = append(j, &j->err);
}

static void on_read(uv_work_t *work)
{
    struct job *j = work->data;
    j->result = read_range(j, &j->err);
    if (j->result == ADIT_ERR_NOT_FOUND)
        j->result = 0; /* none was taken yet */
}

/* ---- on the loop ---- */

static void on_appended(uv_work_t *work, int status)
{
    struct job *j = work->data;
    (void)status; /* nobody cancels it */
    j->on_appended(j->user, j->result ? &j->err : NULL);
    free(j);
}

static void on_was_read(uv_work_t *work, int status)
{
    struct job *j = work->data;
    (void)status; /* nobody cancels it */
    j->on_read(j->user, j->points, j->cnt, j->result ? &j->err : NULL);
    free(j->points);
    free(j);
}

static struct job *job_new(int sandboxes_fd, const char *sandbox_id, void *user)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    j->sandboxes_fd = sandboxes_fd;
    memcpy(j->sandbox_id, sandbox_id, strlen(sandbox_id) + 1);
    j->user = user;
    j->work.data = j;
    return j;
}

int sample_file_append(uv_loop_t *uv, int sandboxes_fd, const char *sandbox_id,
                       const struct sample *s, sample_file_appended_fn on_done, void *user)
{
    struct job *j = job_new(sandboxes_fd, sandbox_id, user);
    if (!j)
        return ADIT_ERR_NO_MEMORY;
    sample_encode(s, j->record);
    j->on_appended = on_done;
    (void)uv_queue_work(uv, &j->work, on_append, on_appended); /* fails without a callback only */
    return 0;
}

int sample_file_read(uv_loop_t *uv, int sandboxes_fd, const char *sandbox_id, int64_t start_ms,
                     int64_t end_ms, sample_file_read_fn on_done, void *user)
{
    struct job *j = job_new(sandboxes_fd, sandbox_id, user);
    if (j)
        j->points = calloc(SAMPLE_FILE_POINTS_MAX, sizeof(*j->points));
    if (!j || !j->points) {
        free(j);
        return ADIT_ERR_NO_MEMORY;
    }
    j->start_ms = start_ms;
    j->end_ms = end_ms;
    j->on_read = on_done;
    (void)uv_queue_work(uv, &j->work, on_read, on_was_read); /* fails without a callback only */
    return 0;
}
