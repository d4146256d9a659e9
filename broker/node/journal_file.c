/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs of sandboxes on disk.
 *
 * Theory of operation
 *
 * What: lines are appended; a file that would pass JOURNAL_FILE_CAP is renamed over the older one.
 * A reader takes both files whole, older first, picks lines by their head and parses only those
 * that go into the answer. Nothing is locked: a line is there when its newline is, and a reader
 * that met a roll-over begins anew. Trust: the files are ours. What a crash tore (a line without
 * end) is closed by the next append and passed over by readers. A log belongs to the team its first
 * line names; another team's is one that is not there. Limits: a log has at most two files; all of
 * them together are bounded by the sweep, whose rate of growth between two sweeps is bounded by
 * what a sandbox may say in that time.
 */
#include "broker/node/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "broker/jtext.h"

#define NS_PER_MS 1000000
#define SUFFIX ".log"
#define OLDER ".1"
#define HEADER_CAP 512
/* A roll-over needs a whole file's worth of lines: there are not three in a row within reads. */
#define LOADS_MAX 3
#define NAME_CAP (SANDBOX_ID_CAP + sizeof(SUFFIX OLDER))

static void name_of(char out[NAME_CAP], const char *id, bool is_older)
{
    (void)snprintf(out, NAME_CAP, "%s%s%s", id, SUFFIX, is_older ? OLDER : "");
}

/* ---- writing ---- */

static int write_all(int fd, struct adit_view v, struct adit_err *err)
{
    while (v.len > 0) {
        ssize_t n = write(fd, v.ptr, v.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return adit_err_sys(err, n < 0 ? errno : ENOSPC, "write a sandbox's log");
        v = adit_view_mem(v.ptr + n, v.len - (size_t)n);
    }
    return 0;
}

/* The first line of a new file; else the end of a line that was torn. */
static int begin_file(int fd, off_t size, const char *team_id, struct adit_err *err)
{
    char last = '\n';
    struct adit_buf line;
    if (size > 0)
        return pread(fd, &last, 1, size - 1) == 1 && last != '\n'
                   ? write_all(fd, (struct adit_view)ADIT_VIEW("\n"), err)
                   : 0;
    adit_buf_init(&line, HEADER_CAP);
    int rc = adit_buf_append_str(&line, "{\"adit-log\":1,\"team\":\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(&line, adit_view_str(team_id));
    if (rc == 0)
        rc = adit_buf_append_str(&line, "\"}\n");
    rc = rc ? adit_err_set(err, rc, "begin a sandbox's log")
            : write_all(fd, adit_buf_view(&line), err);
    adit_buf_fini(&line);
    return rc;
}

static int open_for_append(int dir_fd, const char *name, off_t *size, struct adit_err *err)
{
    struct stat st = {0};
    int fd = openat(dir_fd, name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st))
        (void)adit_err_sys(err, errno, "open a sandbox's log");
    *size = st.st_size;
    return fd;
}

int journal_file_append(int dir_fd, const char *id, const char *team_id, struct adit_view lines,
                        struct adit_err *err)
{
    struct adit_err why = ADIT_ERR_INIT;
    char name[NAME_CAP], older[NAME_CAP];
    off_t size;
    name_of(name, id, false);
    name_of(older, id, true);
    ADIT_CLEANUP_CLOSE int fd = open_for_append(dir_fd, name, &size, &why);
    if (fd >= 0 && size > 0 && (size_t)size + lines.len > JOURNAL_FILE_CAP &&
        renameat(dir_fd, name, dir_fd, older) == 0) {
        (void)close(fd); /* what it took is in the page cache */
        fd = open_for_append(dir_fd, name, &size, &why);
    }
    int rc = why.code;
    if (rc == 0)
        rc = begin_file(fd, size, team_id, &why);
    if (rc == 0)
        rc = write_all(fd, lines, &why);
    if (rc && err)
        *err = why;
    return rc;
}

/* ---- reading ---- */

/* @lines: ring of the newest @cap that match, oldest at @first */
struct picked {
    struct journal_entry lines[JOURNAL_FILE_LINES_MAX];
    size_t first, cnt, cap, bytes;
};

static void drop_first(struct picked *p)
{
    p->bytes -= p->lines[p->first].json.len;
    p->first = (p->first + 1) % p->cap;
    p->cnt--;
}

/* Return: false when nothing behind it is wanted. */
static bool pick(struct picked *p, const struct journal_entry *e, bool keeps_newest)
{
    if (!keeps_newest && (p->cnt == p->cap || p->bytes >= JOURNAL_FILE_ANSWER_MAX))
        return false;
    if (p->cnt == p->cap)
        drop_first(p);
    p->lines[(p->first + p->cnt++) % p->cap] = *e;
    p->bytes += e->json.len;
    while (keeps_newest && p->cnt > 1 && p->bytes > JOURNAL_FILE_ANSWER_MAX)
        drop_first(p);
    return true;
}

static bool is_wanted(const struct journal_query *q, const struct journal_entry *e)
{
    if (e->level < q->min_level)
        return false;
    if (q->from_ms >= 0 && (q->is_backward ? e->at_ms > q->from_ms : e->at_ms < q->from_ms))
        return false;
    return !q->search[0] || memmem(e->json.ptr, e->json.len, q->search, strlen(q->search));
}

/* Return: false when the picking is over. */
static bool pick_all(struct adit_view text, const struct journal_query *q, struct picked *p)
{
    bool keeps_newest = q->is_backward || (q->from_ms < 0 && q->is_newest);
    struct journal_entry e;
    while (journal_entry_next(&text, &e))
        if (is_wanted(q, &e) && !pick(p, &e, keeps_newest))
            return false;
    return true;
}

/* Read one file and see that it is the team's. Errors: NOT_FOUND. */
static int load(int dir_fd, const char *id, bool is_older, const char *team_id,
                struct adit_buf *text, struct adit_err *err)
{
    char name[NAME_CAP];
    struct adit_view header, rest;
    json_t *doc = NULL;
    name_of(name, id, is_older);
    int rc = adit_file_read(dir_fd, name, text, err);
    if (rc)
        return rc;
    (void)adit_view_split(adit_buf_view(text), '\n', &header, &rest); /* a lone header is fine */
    const char *team = jtext_parse(header, &doc, NULL) == 0
                           ? json_string_value(json_object_get(doc, "team"))
                           : NULL;
    if (!team || strcmp(team, team_id) != 0)
        rc = adit_err_set(err, ADIT_ERR_NOT_FOUND, "no log");
    json_decref(doc);
    return rc;
}

static json_t *v1_line(const struct journal_entry *e, json_t *object)
{
    char at[ADIT_CLOCK_RFC3339_CAP];
    (void)object; /* it was enough that there is one: clients parse the line */
    adit_clock_format_rfc3339(e->at_ms * NS_PER_MS, at);
    return json_pack("{s:s, s:s%}", "timestamp", at, "line", e->json.ptr, e->json.len);
}

typedef json_t *(*document_fn)(const struct journal_entry *e, json_t *object);

/* One that a crash damaged is left out. */
static int append_entry(struct adit_buf *out, const struct journal_entry *e, document_fn document)
{
    json_t *object = NULL;
    int rc = journal_entry_parse(e, &object);
    if (rc)
        return rc == ADIT_ERR_BAD_INPUT ? 0 : rc;
    json_t *doc = document(e, object);
    rc = doc ? 0 : ADIT_ERR_NO_MEMORY;
    if (rc == 0 && out->data[out->off + out->len - 1] != '[')
        rc = adit_buf_append_char(out, ',');
    if (rc == 0)
        rc = jtext_append(out, doc);
    json_decref(doc);
    json_decref(object);
    return rc;
}

static int append_list(struct adit_buf *out, const struct picked *p, bool is_backward,
                       document_fn document)
{
    int rc = adit_buf_append_char(out, '[');
    for (size_t i = 0; rc == 0 && i < p->cnt; i++) {
        size_t nth = is_backward ? p->cnt - 1 - i : i;
        rc = append_entry(out, &p->lines[(p->first + nth) % p->cap], document);
    }
    return rc ? rc : adit_buf_append_char(out, ']');
}

static int write_answer(struct adit_buf *out, const struct picked *p, const struct journal_query *q)
{
    int rc = adit_buf_append_str(out, "{\"logs\":");
    if (rc == 0)
        rc = append_list(out, p, q->is_backward, q->is_v2 ? journal_entry_document : v1_line);
    if (rc == 0 && !q->is_v2)
        rc = adit_buf_append_str(out, ",\"logEntries\":");
    if (rc == 0 && !q->is_v2)
        rc = append_list(out, p, q->is_backward, journal_entry_document);
    return rc ? rc : adit_buf_append_char(out, '}');
}

/* Which file is the newer one; 0: none. */
static ino_t newer_no(int dir_fd, const char *id)
{
    char name[NAME_CAP];
    struct stat st;
    name_of(name, id, false);
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

/* Both files, either of which may be missing. What is rolled over between two reads would be in
 * neither: then they are read again. */
static int load_both(int dir_fd, const char *id, const char *team_id, struct adit_buf *older,
                     struct adit_buf *newer, struct adit_err *err)
{
    int rc = 0;
    for (int i = 0; i < LOADS_MAX; i++) {
        ino_t before = newer_no(dir_fd, id);
        adit_buf_clear(older);
        adit_buf_clear(newer);
        int rc_older = load(dir_fd, id, true, team_id, older, NULL);
        rc = load(dir_fd, id, false, team_id, newer, err);
        if (rc_older)
            adit_buf_clear(older);
        if (rc == ADIT_ERR_NOT_FOUND && rc_older == 0)
            rc = 0; /* it is being rolled over */
        if (newer_no(dir_fd, id) == before)
            break;
    }
    return rc;
}

int journal_file_read(int dir_fd, const char *id, const char *team_id,
                      const struct journal_query *q, struct adit_buf *out, struct adit_err *err)
{
    struct adit_buf older, newer;
    struct picked *p = calloc(1, sizeof(*p));
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a log");
    p->cap = q->limit < JOURNAL_FILE_LINES_MAX ? q->limit : JOURNAL_FILE_LINES_MAX;
    adit_buf_init(&older, 2 * JOURNAL_FILE_CAP);
    adit_buf_init(&newer, 2 * JOURNAL_FILE_CAP);
    int rc = load_both(dir_fd, id, team_id, &older, &newer, err);
    if (rc == 0 && p->cap > 0 && pick_all(adit_buf_view(&older), q, p))
        (void)pick_all(adit_buf_view(&newer), q, p); /* the end either way */
    if (rc == 0 && (rc = write_answer(out, p, q)))
        rc = adit_err_set(err, rc, "the answer does not fit");
    adit_buf_fini(&older);
    adit_buf_fini(&newer);
    free(p);
    return rc;
}

/* ---- the sweep ---- */

struct file {
    char name[NAME_CAP];
    int64_t written_ms;
    uint64_t bytes;
    bool is_live;
};

/* @len, @cap: of @items */
struct files {
    struct file *items;
    size_t len, cap;
    uint64_t bytes;
};

/* "<id>.log" or "<id>.log.1" → the id. */
static bool parse_name(const char *name, char id[SANDBOX_ID_CAP])
{
    const char *dot = strchr(name, '.');
    size_t len = dot ? (size_t)(dot - name) : 0;
    if (!dot || !sandbox_id_is_valid(adit_view_mem(name, len)) ||
        (strcmp(dot, SUFFIX) != 0 && strcmp(dot, SUFFIX OLDER) != 0))
        return false;
    memcpy(id, name, len);
    id[len] = '\0';
    return true;
}

static int add_file(struct files *f, const char *name, const struct stat *st, bool is_live)
{
    if (f->len == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 256;
        struct file *items = realloc(f->items, cap * sizeof(*items));
        if (!items)
            return ADIT_ERR_NO_MEMORY;
        f->items = items;
        f->cap = cap;
    }
    struct file *file = &f->items[f->len++];
    memcpy(file->name, name, strlen(name) + 1); /* parse_name() took it */
    file->written_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / NS_PER_MS;
    file->bytes = (uint64_t)st->st_blocks * 512;
    file->is_live = is_live;
    f->bytes += file->bytes;
    return 0;
}

static int list_files(int dir_fd, journal_file_is_live_fn is_live, const void *user,
                      struct files *f, struct adit_err *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;
    char id[SANDBOX_ID_CAP];
    if (!dir) {
        rc = adit_err_sys(err, errno, "read the logs of sandboxes");
        if (fd >= 0)
            (void)close(fd); /* a directory */
        return rc;
    }
    while (rc == 0 && (entry = readdir(dir)))
        if (parse_name(entry->d_name, id) &&
            fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            rc = add_file(f, entry->d_name, &st, is_live(user, id));
    (void)closedir(dir); /* only read */
    return rc ? adit_err_set(err, rc, "no memory to list logs") : 0;
}

/* Those that may go first stand first. */
static int compare(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    if (x->is_live != y->is_live)
        return x->is_live ? 1 : -1;
    return x->written_ms < y->written_ms ? -1 : x->written_ms > y->written_ms;
}

int journal_file_sweep(int dir_fd, uint64_t max_age_ms, uint64_t bytes_max,
                       journal_file_is_live_fn is_live, const void *user, uint64_t *left,
                       struct adit_err *err)
{
    struct files f = {NULL, 0, 0, 0};
    int64_t now_ms = adit_clock_wall_ns() / NS_PER_MS;
    int rc = list_files(dir_fd, is_live, user, &f, err);
    if (rc == 0 && f.len > 1)
        qsort(f.items, f.len, sizeof(f.items[0]), compare);
    for (size_t i = 0; rc == 0 && i < f.len; i++) {
        const struct file *file = &f.items[i];
        bool is_old = !file->is_live && now_ms > file->written_ms &&
                      (uint64_t)(now_ms - file->written_ms) > max_age_ms;
        if (!is_old && f.bytes <= bytes_max && f.len - i <= JOURNAL_FILE_FILES_MAX)
            continue;
        if (unlinkat(dir_fd, file->name, 0) == 0)
            f.bytes -= file->bytes;
    }
    *left = f.bytes;
    free(f.items);
    return rc;
}
