/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs of this host's sandboxes.
 *
 * Theory of operation
 *
 * What: a line is formatted at once into the log's pending text, which one job at a time writes on
 * the thread pool; lines that come meanwhile go with the next job. So the loop never waits for the
 * disk, and a burst is one write. Every line of a log has a millisecond of its own: who asks for
 * what came after the last line he saw misses nothing and sees nothing twice.
 * Ownership: a log belongs to the journal's map from journal_log_open() until it is closed and its
 * last job has ended.
 * Failure: lines that find no room, or that the disk refuses, are counted, and the next line that
 * is taken is preceded by one that says how many.
 */
#include "broker/node/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"

#define NS_PER_MS 1000000
/* A sweep comes early when a part of the room was written since the last one. */
#define EARLY_PART 16

/*
 * @dir_fd:        jobs use it
 * @written:       bytes since the last sweep
 */
struct journal {
    struct net_loop *loop; /* borrowed */
    struct journal_conf conf;
    int dir_fd;
    struct adit_map logs; /* id → struct journal_log */
    struct journal_stats stats;
    struct net_deadline sweep_due;
    uint64_t written;
    bool is_sweeping, is_closed;
};

/* @dropped: lines that were not taken since the last that was */
struct journal_log {
    struct journal *journal;
    char id[SANDBOX_ID_CAP];
    char team_id[JOURNAL_TEAM_CAP];
    uv_work_t work;
    bool is_busy, is_closed;
    struct adit_buf pending, text;
    int64_t last_ms;
    uint64_t dropped;
    int result;
    struct adit_err err;
};

/* ---- writing ---- */

static void flush(struct journal_log *log);

static void log_free(struct journal_log *log)
{
    adit_buf_fini(&log->pending);
    adit_buf_fini(&log->text);
    free(log);
}

static void forget_when_done(struct journal_log *log)
{
    if (!log->is_closed || log->is_busy || log->pending.len)
        return;
    (void)adit_map_del(&log->journal->logs, adit_view_str(log->id)); /* it is log */
    log_free(log);
}

static void on_write(uv_work_t *work)
{
    struct journal_log *log = work->data;
    log->result = journal_file_append(log->journal->dir_fd, log->id, log->team_id,
                                      adit_buf_view(&log->text), &log->err);
}

static void sweep(struct journal *j);

static uint64_t lines_in(struct adit_view text)
{
    struct adit_view line;
    uint64_t cnt = 0;
    while (adit_view_split(text, '\n', &line, &text))
        cnt++;
    return cnt;
}

static void on_written(uv_work_t *work, int status)
{
    struct journal_log *log = work->data;
    struct journal *j = log->journal;
    (void)status; /* nobody cancels it */
    log->is_busy = false;
    if (log->result) {
        j->stats.failed_writes++;
        log->dropped += lines_in(adit_buf_view(&log->text));
    } else {
        j->written += log->text.len;
    }
    adit_buf_clear(&log->text);
    flush(log);
    forget_when_done(log);
    if (j->written > j->conf.bytes_max / EARLY_PART)
        sweep(j);
}

static void flush(struct journal_log *log)
{
    struct adit_buf empty = log->text;
    if (log->is_busy || !log->pending.len)
        return;
    log->text = log->pending;
    log->pending = empty;
    log->is_busy = true;
    log->work.data = log;
    /* fails without a callback only */
    (void)uv_queue_work(log->journal->loop->uv, &log->work, on_write, on_written);
}

static int64_t next_ms(struct journal_log *log)
{
    int64_t now = adit_clock_wall_ns() / NS_PER_MS;
    log->last_ms = now > log->last_ms ? now : log->last_ms + 1;
    return log->last_ms;
}

/* Before a line: say what is missing. */
static void mention_dropped(struct journal_log *log)
{
    char text[64];
    if (!log->dropped)
        return;
    (void)snprintf(text, sizeof(text), "%llu lines are missing here",
                   (unsigned long long)log->dropped);
    if (journal_entry_append(&log->pending, next_ms(log), ADIT_LOG_WARN, "sandbox",
                             adit_view_str(text), NULL) == 0)
        log->dropped = 0;
}

static void taken(struct journal_log *log, int rc)
{
    struct journal_stats *stats = &log->journal->stats;
    log->dropped += rc != 0;
    stats->dropped += rc != 0;
    stats->lines += rc == 0;
    flush(log);
}

void journal_log_add(struct journal_log *log, enum adit_log_level level, const char *message,
                     const struct journal_field *fields)
{
    if (!log)
        return;
    mention_dropped(log);
    taken(log, journal_entry_append(&log->pending, next_ms(log), level, "sandbox",
                                    adit_view_str(message), fields));
}

void journal_log_add_console(struct journal_log *log, struct adit_view line)
{
    if (!log)
        return;
    mention_dropped(log);
    taken(log, journal_entry_append_console(&log->pending, next_ms(log), line));
}

void journal_log_add_dropped(struct journal_log *log, uint64_t cnt)
{
    if (!log)
        return;
    log->dropped += cnt;
    log->journal->stats.dropped += cnt;
    mention_dropped(log);
    flush(log);
}

struct journal_log *journal_log_open(struct journal *j, const char *sandbox_id, const char *team_id)
{
    struct journal_log *log = adit_map_get(&j->logs, adit_view_str(sandbox_id));
    if (log) {
        log->is_closed = false; /* its last lines are being written */
        return log;
    }
    log = calloc(1, sizeof(*log));
    if (!log || strlen(sandbox_id) >= sizeof(log->id) || strlen(team_id) >= sizeof(log->team_id) ||
        adit_map_put(&j->logs, adit_view_str(sandbox_id), log)) {
        free(log);
        return NULL;
    }
    log->journal = j;
    memcpy(log->id, sandbox_id, strlen(sandbox_id) + 1);
    memcpy(log->team_id, team_id, strlen(team_id) + 1);
    adit_buf_init(&log->pending, JOURNAL_PENDING_MAX);
    adit_buf_init(&log->text, JOURNAL_PENDING_MAX);
    return log;
}

void journal_log_close(struct journal_log *log)
{
    if (!log || log->is_closed)
        return;
    log->is_closed = true;
    forget_when_done(log);
}

/* ---- reading ---- */

/* owned by: itself, until its callback */
struct reading {
    uv_work_t work;
    int dir_fd;
    char id[SANDBOX_ID_CAP];
    char team_id[JOURNAL_TEAM_CAP];
    struct journal_query query;
    struct adit_buf text;
    journal_read_fn on_done;
    void *user;
    int result;
    struct adit_err err;
};

static void on_read(uv_work_t *work)
{
    struct reading *r = work->data;
    r->result = journal_file_read(r->dir_fd, r->id, r->team_id, &r->query, &r->text, &r->err);
}

static void on_was_read(uv_work_t *work, int status)
{
    struct reading *r = work->data;
    (void)status; /* nobody cancels it */
    r->on_done(r->user, r->result ? (struct adit_view){NULL, 0} : adit_buf_view(&r->text),
               r->result ? &r->err : NULL);
    adit_buf_fini(&r->text);
    free(r);
}

int journal_read(struct journal *j, const char *sandbox_id, const char *team_id,
                 const struct journal_query *q, journal_read_fn on_done, void *user)
{
    struct reading *r = calloc(1, sizeof(*r));
    if (!r)
        return ADIT_ERR_NO_MEMORY;
    r->dir_fd = j->dir_fd;
    (void)snprintf(r->id, sizeof(r->id), "%s", sandbox_id);
    (void)snprintf(r->team_id, sizeof(r->team_id), "%s", team_id);
    r->query = *q;
    adit_buf_init(&r->text, JOURNAL_FILE_TEXT_CAP);
    r->on_done = on_done;
    r->user = user;
    r->work.data = r;
    (void)uv_queue_work(j->loop->uv, &r->work, on_read, on_was_read); /* as above */
    return 0;
}

/* ---- the sweep ---- */

/* @live: ids of sandboxes that are there */
struct sweeping {
    uv_work_t work;
    struct journal *journal;
    struct adit_map live;
    uint64_t left;
    int result;
    struct adit_err err;
};

static bool is_live(const void *user, const char *id)
{
    const struct sweeping *s = user;
    return adit_map_get(&s->live, adit_view_str(id)) != NULL;
}

static void on_sweep(uv_work_t *work)
{
    struct sweeping *s = work->data;
    const struct journal *j = s->journal;
    s->result = journal_file_sweep(j->dir_fd, j->conf.retention_ms, j->conf.bytes_max, is_live, s,
                                   &s->left, &s->err);
}

static void on_swept(uv_work_t *work, int status)
{
    struct sweeping *s = work->data;
    struct journal *j = s->journal;
    (void)status; /* nobody cancels it */
    if (s->result)
        adit_log(ADIT_LOG_ERROR, "logs_not_swept", LOG_ERR(&s->err));
    else
        j->stats.bytes_on_disk = s->left;
    adit_map_fini(&s->live);
    free(s);
    j->is_sweeping = false;
    if (!j->is_closed)
        net_deadline_arm(&j->sweep_due, JOURNAL_SWEEP_MS);
}

static struct sweeping *sweeping_new(struct journal *j)
{
    struct adit_view id;
    size_t pos = 0;
    void *log;
    struct sweeping *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->journal = j;
    s->work.data = s;
    adit_map_init(&s->live);
    while (adit_map_next(&j->logs, &pos, &id, &log))
        if (adit_map_put(&s->live, id, s)) {
            adit_map_fini(&s->live);
            free(s);
            return NULL;
        }
    return s;
}

static void sweep(struct journal *j)
{
    struct sweeping *s;
    if (j->is_sweeping || j->is_closed)
        return;
    net_deadline_arm(&j->sweep_due, JOURNAL_SWEEP_MS);
    j->written = 0;
    s = sweeping_new(j);
    if (!s)
        return;
    j->is_sweeping = true;
    net_deadline_cancel(&j->sweep_due);
    (void)uv_queue_work(j->loop->uv, &s->work, on_sweep, on_swept); /* as above */
}

static void on_sweep_due(struct net_deadline *d)
{
    sweep(ADIT_CONTAINER_OF(d, struct journal, sweep_due));
}

/* ---- the journal ---- */

int journal_open(const struct journal_conf *conf, struct journal **out, struct adit_err *err)
{
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof(dir), "%s/logs", conf->state_dir);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the state directory's path is too long");
    int rc = adit_file_mkdirs(dir, 0700, err);
    struct journal *j = rc ? NULL : calloc(1, sizeof(*j));
    if (rc == 0 && !j)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for logs");
    if (rc)
        return rc;
    j->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0) {
        free(j);
        return adit_err_sys(err, errno, "open %s", dir);
    }
    j->conf = *conf;
    j->loop = conf->loop;
    adit_map_init(&j->logs);
    net_deadline_init(&j->sweep_due, j->loop, on_sweep_due);
    net_deadline_arm(&j->sweep_due, 1); /* after the adoption: it tells who lives */
    *out = j;
    return 0;
}

void journal_close(struct journal *j)
{
    j->is_closed = true;
    net_deadline_cancel(&j->sweep_due);
}

void journal_free(struct journal *j)
{
    struct adit_view id;
    size_t pos = 0;
    void *log;
    while (adit_map_next(&j->logs, &pos, &id, &log))
        log_free(log);
    adit_map_fini(&j->logs);
    (void)close(j->dir_fd); /* a directory */
    free(j);
}

const struct journal_stats *journal_stats(const struct journal *j)
{
    return &j->stats;
}
