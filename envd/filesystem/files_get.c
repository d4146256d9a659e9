/* SPDX-License-Identifier: Apache-2.0 */
/* GET /files: a file to a client. */
/*
 * Theory of operation
 *
 * States:
 *
 *   OPENING --job--> answered whole (it fits one buffer, or is an error)
 *                 \-> STREAMING --jobs--> CLOSING --> freed
 *
 * Files are opened and read on the thread pool. The first job opens the file, decides the status
 * and reads the first buffer, so a small file costs one trip. Then two buffers take turns: while
 * one is written to the socket the other is read. A congested socket stops both, and a buffer that
 * is empty then is given back.
 *
 * Files of procfs and its kin say nothing true about their size: they are read to their end, and
 * sent chunked when that is not in the first buffer.
 *
 * Ownership: a download owns its buffers and descriptor. It is freed when its exchange has ended,
 * no job runs and the descriptor is closed (on the pool: the last close of a removed file can be
 * long).
 *
 * Limits: DOWNLOAD_BUFFER_CNT buffers of DOWNLOAD_BUFFER_LEN bytes; a slow reader costs one of them
 * and the stream's own queue, together at most half a MiB.
 *
 * Failure: before the head an error answer; after it the connection is reset, so that a file that
 * shrank or could not be read cannot be taken for a whole one.
 */
#include "envd/filesystem/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "envd/failure.h"
#include "envd/filesystem/files_int.h"
#include "envd/filesystem/negotiate.h"
#include "envd/paths.h"
#include "envd/rest.h"
#include "net/gzip.h"

#define DOWNLOAD_BUFFER_LEN (96u * 1024)
#define DOWNLOAD_BUFFER_CNT 2

struct buffer {
    char *data;
    size_t len;
    struct adit_buf coded; /* with gzip: what is sent instead */
};

/*
 * @x:        NULL when the exchange has ended
 * @path:     resolved; @asked: as the client wrote it, for the type
 * @fd:       -1: none
 * @is_sized: @left is true; otherwise the file is read to its end
 * @read_at, @left: what is to be read
 * @buffers:  @ready of them are filled, beginning with @out
 * @filling:  the job's buffer
 * @is_end:   the last job came to the end
 */
struct download {
    struct http_exchange *x;
    uv_loop_t *uv;
    uv_work_t work;
    uv_fs_t close;
    struct negotiate wish;
    char *path;
    int fd;
    bool is_sized, is_busy, is_begun, is_end, is_broken;
    uint64_t size, read_at, left;
    int64_t mtime;
    unsigned status;
    const char *type;
    struct gzip *gzip;
    struct buffer buffers[DOWNLOAD_BUFFER_CNT];
    struct buffer *filling;
    unsigned out, ready;
    int rc;
    struct adit_err err;
};

/* ---- on the pool ---- */

static int look(struct download *d, struct stat *st)
{
    struct adit_err *err = &d->err;
    if (stat(d->path, st)) {
        if (errno == ENOENT || errno == ENOTDIR)
            return adit_err_set(err, ADIT_ERR_NOT_FOUND, "path '%s' does not exist", d->path);
        return failure_as(err, ADIT_ERR_IO, errno, "error checking if path exists '%s'", d->path);
    }
    if (S_ISDIR(st->st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path '%s' is a directory", d->path);
    if (!S_ISREG(st->st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path '%s' is not a regular file", d->path);
    return 0;
}

static bool is_synthetic(int fd)
{
    static const long types[] = {PROC_SUPER_MAGIC,    SYSFS_MAGIC,   CGROUP_SUPER_MAGIC,
                                 CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,
                                 SECURITYFS_MAGIC,    BPF_FS_MAGIC};
    struct statfs fs;
    if (fstatfs(fd, &fs))
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if ((long)fs.f_type == types[i])
            return true;
    }
    return false;
}

static int open_file(struct download *d)
{
    struct stat st;
    int rc = look(d, &st);
    if (rc)
        return rc;
    /* O_NONBLOCK: a FIFO put there meanwhile must not hold the thread. */
    d->fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (d->fd < 0 || fstat(d->fd, &st))
        return failure_as(&d->err, ADIT_ERR_IO, errno, "error opening file '%s'", d->path);
    if (!S_ISREG(st.st_mode))
        return adit_err_set(&d->err, ADIT_ERR_BAD_INPUT, "path '%s' is not a regular file",
                            d->path);
    d->mtime = st.st_mtim.tv_sec;
    d->size = (uint64_t)st.st_size;
    d->is_sized = d->size > 0 && !is_synthetic(d->fd);
    d->status =
        negotiate_status(&d->wish, d->is_sized ? d->size : 0, d->mtime, &d->read_at, &d->left);
    if (!d->is_sized)
        d->left = UINT64_MAX;
    return 0;
}

static int read_fully(struct download *d, struct buffer *b)
{
    size_t want = d->left < DOWNLOAD_BUFFER_LEN ? (size_t)d->left : DOWNLOAD_BUFFER_LEN;
    b->len = 0;
    while (b->len < want) {
        ssize_t n = pread(d->fd, b->data + b->len, want - b->len, (off_t)(d->read_at + b->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure_as(&d->err, ADIT_ERR_IO, errno, "error reading file '%s'", d->path);
        if (n == 0)
            break;
        b->len += (size_t)n;
    }
    if (b->len < want && d->is_sized)
        return adit_err_set(&d->err, ADIT_ERR_IO, "file '%s' became shorter", d->path);
    d->read_at += b->len;
    d->left -= b->len;
    d->is_end = b->len < want || d->left == 0;
    return 0;
}

static int code(struct download *d, struct buffer *b)
{
    struct adit_view in = {b->data, b->len};
    size_t len, room;
    bool done = false;

    adit_buf_clear(&b->coded);
    do {
        if (adit_buf_reserve(&b->coded, DOWNLOAD_BUFFER_LEN / 4))
            return adit_err_set(&d->err, ADIT_ERR_NO_MEMORY, "out of memory");
        room = b->coded.cap - b->coded.off - b->coded.len;
        int rc = gzip_step(d->gzip, &in, d->is_end, adit_buf_tail(&b->coded), room, &len, &done,
                           &d->err);
        if (rc)
            return rc;
        adit_buf_added(&b->coded, len);
    } while (in.len || len == room || (d->is_end && !done));
    return 0;
}

static int fill(struct download *d)
{
    struct buffer *b = d->filling;
    if (!b->data && !(b->data = malloc(DOWNLOAD_BUFFER_LEN)))
        return adit_err_set(&d->err, ADIT_ERR_NO_MEMORY, "out of memory");
    int rc = read_fully(d, b);
    return rc || !d->gzip ? rc : code(d, b);
}

static void on_work_open(uv_work_t *work)
{
    struct download *d = work->data;
    d->rc = open_file(d);
    if (!d->rc && (d->status == 200 || d->status == 206))
        d->rc = fill(d);
    if (!d->rc && !d->type)
        d->type = negotiate_type_by_content(adit_view_mem(d->buffers[0].data, d->buffers[0].len));
}

static void on_work_fill(uv_work_t *work)
{
    struct download *d = work->data;
    d->rc = fill(d);
}

/* ---- the end ---- */

static void download_free(struct download *d)
{
    for (size_t i = 0; i < DOWNLOAD_BUFFER_CNT; i++) {
        free(d->buffers[i].data);
        adit_buf_fini(&d->buffers[i].coded);
    }
    gzip_free(d->gzip);
    free(d->path);
    free(d);
}

static void on_closed(uv_fs_t *req)
{
    struct download *d = req->data;
    uv_fs_req_cleanup(req);
    download_free(d);
}

/* The exchange has ended and no job runs. */
static void finish(struct download *d)
{
    if (d->fd < 0) {
        download_free(d);
        return;
    }
    d->close.data = d;
    if (uv_fs_close(d->uv, &d->close, d->fd, on_closed)) {
        (void)close(d->fd); /* opened for reading only */
        download_free(d);
    }
}

/* ---- the answer ---- */

static int set_headers(struct download *d)
{
    struct adit_buf disposition;
    char date[NEGOTIATE_DATE_CAP];

    adit_buf_init(&disposition, HTTP_LINE_CAP);
    negotiate_format_date(d->mtime, date);
    int rc = negotiate_disposition(paths_base_name(adit_view_str(d->path)), &disposition);
    if (!rc)
        rc = http_exchange_header(d->x, adit_view_str("Content-Disposition"),
                                  adit_buf_view(&disposition));
    if (!rc)
        rc = http_exchange_header_str(d->x, "Content-Type", d->type);
    if (!rc)
        rc = http_exchange_header_str(d->x, "Vary", "Accept-Encoding");
    if (!rc)
        rc = http_exchange_header_str(d->x, "Accept-Ranges", "bytes");
    if (!rc && date[0])
        rc = http_exchange_header_str(d->x, "Last-Modified", date);
    if (!rc && d->gzip)
        rc = http_exchange_header_str(d->x, "Content-Encoding", "gzip");
    adit_buf_fini(&disposition);
    return rc;
}

static int set_content_range(struct download *d, uint64_t first, uint64_t len)
{
    char text[80];
    if (d->status == 206)
        (void)snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)first,
                       (unsigned long long)(first + len - 1), (unsigned long long)d->size);
    else
        (void)snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)d->size);
    return http_exchange_header_str(d->x, "Content-Range", text);
}

static struct adit_view content(const struct buffer *b, bool is_coded)
{
    return is_coded ? adit_buf_view(&b->coded) : adit_view_mem(b->data, b->len);
}

/* Break the answer off, as far as it came. */
static void fail(struct download *d)
{
    struct http_exchange *x = d->x;
    d->x = NULL;
    if (!d->is_begun && d->rc)
        rest_reply_err(x, &d->err);
    else
        http_exchange_reset(x);
    if (!d->is_busy)
        finish(d);
}

static void reply(struct download *d, struct adit_view body)
{
    struct http_exchange *x = d->x;
    d->x = NULL;
    http_exchange_reply(x, d->status, body);
    finish(d);
}

static void pump(struct download *d);

/* The first job is done: the file's answer, whole or begun. */
static void answer(struct download *d)
{
    uint64_t first = d->read_at - d->buffers[0].len, len = d->left + d->buffers[0].len;

    if (set_headers(d) ||
        ((d->status == 206 || d->status == 416) && set_content_range(d, first, len))) {
        fail(d);
        return;
    }
    if (d->status != 200 && d->status != 206) {
        reply(d, (struct adit_view){NULL, 0});
        return;
    }
    if (d->is_end) {
        reply(d, content(&d->buffers[0], d->gzip));
        return;
    }
    bool has_length = d->is_sized && !d->gzip;
    http_exchange_begin(d->x, d->status, has_length ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_CHUNKED,
                        has_length ? len : 0);
    d->is_begun = true;
    d->ready = 1;
    pump(d);
}

static void on_worked(uv_work_t *work, int status)
{
    struct download *d = work->data;
    (void)status; /* cancelled only without an exchange */
    d->is_busy = false;
    if (!d->x)
        finish(d);
    else if (d->rc)
        fail(d);
    else if (!d->is_begun)
        answer(d);
    else {
        d->ready++;
        pump(d);
    }
}

/* Read on into a free buffer, if there is one, anything is left, and the socket may take it. */
static void start_fill(struct download *d)
{
    if (d->is_busy || d->is_end || d->ready == DOWNLOAD_BUFFER_CNT || d->is_broken ||
        http_exchange_is_congested(d->x))
        return;
    d->is_busy = true;
    d->filling = &d->buffers[(d->out + d->ready) % DOWNLOAD_BUFFER_CNT];
    (void)uv_queue_work(d->uv, &d->work, on_work_fill,
                        on_worked); /* fails without a callback only */
}

/* Give back what is empty while the socket is congested. */
static void release_buffers(struct download *d)
{
    if (d->is_busy || d->is_broken || !http_exchange_is_congested(d->x))
        return;
    for (unsigned i = d->ready; i < DOWNLOAD_BUFFER_CNT; i++)
        free(adit_steal(&d->buffers[(d->out + i) % DOWNLOAD_BUFFER_CNT].data));
}

/* Keep the pool reading and the socket full. The download dies at most in its last call. */
static void pump(struct download *d)
{
    start_fill(d); /* before the write, so that both happen at once */
    while (d->ready && !d->is_broken && !http_exchange_is_congested(d->x)) {
        struct buffer *b = &d->buffers[d->out];
        struct adit_view bytes = content(b, d->gzip);
        d->is_broken = bytes.len && http_exchange_write(d->x, bytes) != 0;
        d->out = (d->out + 1) % DOWNLOAD_BUFFER_CNT;
        d->ready--;
    }
    start_fill(d);
    release_buffers(d);
    if (d->ready || d->is_busy || !d->is_end || d->is_broken) /* broken: on_abort comes */
        return;
    struct http_exchange *x = d->x;
    d->x = NULL;
    http_exchange_end(x);
    finish(d);
}

static void on_drain(struct http_exchange *x)
{
    struct download *d = http_exchange_user(x);
    if (d->is_begun)
        pump(d);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct download *d = http_exchange_user(x);
    (void)err; /* a client may leave */
    d->x = NULL;
    if (d->is_busy)
        (void)uv_cancel((uv_req_t *)&d->work); /* a job that runs already goes on */
    else
        finish(d);
}

static const struct http_exchange_ops download_ops = {.on_drain = on_drain, .on_abort = on_abort};

/* ---- the request ---- */

static int make_download(struct http_exchange *x, const struct http_head *head, struct download *d,
                         struct adit_err *err)
{
    struct files_request r;
    struct adit_buf path;

    adit_buf_init(&path, ENVD_PATH_CAP);
    int rc = files_request_init(&r, x, head, "read", err);
    if (!rc) {
        rc = envd_path(r.envd, &r.user, adit_buf_view(&r.path), &path, err);
        if (rc == ADIT_ERR_BAD_INPUT)
            (void)adit_err_wrap(err, "error expanding and resolving path '%.*s'",
                                ADIT_VIEW_ARG(adit_buf_view(&r.path)));
        d->uv = &r.envd->uv;
    }
    if (!rc && !(d->path = adit_buf_steal_str(&path)))
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    if (!rc && d->wish.coding == NEGOTIATE_GZIP)
        rc = gzip_encoder_new(&d->gzip, err);
    adit_buf_fini(&path);
    files_request_fini(&r);
    return rc;
}

void files_get(struct http_exchange *x, const struct http_head *head)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct download *d = calloc(1, sizeof *d);

    if (!d) {
        rest_reply_error(x, 503, "out of memory");
        return;
    }
    d->fd = -1;
    for (size_t i = 0; i < DOWNLOAD_BUFFER_CNT; i++)
        adit_buf_init(&d->buffers[i].coded, 4 * (size_t)DOWNLOAD_BUFFER_LEN);
    bool is_acceptable = negotiate_parse(head, &d->wish, &err) == 0;
    struct adit_err refusal = err;
    if (make_download(x, head, d, &err)) {
        rest_reply_err(x, &err);
        download_free(d);
        return;
    }
    if (!is_acceptable) {
        rest_reply_error(x, 406, refusal.msg);
        download_free(d);
        return;
    }
    d->type = negotiate_type_by_name(adit_view_str(d->path));
    d->x = x;
    d->work.data = d;
    http_exchange_set_ops(x, &download_ops, d);
    d->is_busy = true;
    d->filling = &d->buffers[0];
    (void)uv_queue_work(d->uv, &d->work, on_work_open, on_worked); /* as in start_fill */
}
