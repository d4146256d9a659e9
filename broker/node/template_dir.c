/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The templates directory.
 *
 * Theory of operation
 *
 * What: every folder with a readable template.json is a template; the others are named in the log
 * and skipped. A scan reads on the thread pool into a table of its own, which replaces the old one
 * on the loop, so look-ups always see a whole table. Of two folders with one id, and of an alias
 * that two templates have, the newer template has it; entries stand in that order, oldest first, so
 * that everybody who is told of them in order comes to the same result. Limits: TEMPLATE_DIR_MAX
 * templates; names that begin with "." are work in progress and not looked at. Failure: a scan that
 * finds no memory or descriptors, or may not read the directory, changes nothing and leaves a line
 * in the log. A directory that is not there is an empty one.
 */
#include "broker/node/template_dir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

#define NS_PER_S INT64_C(1000000000)

struct table {
    struct template_dir_entry *entries[TEMPLATE_DIR_MAX];
    size_t cnt;
};

/*
 * @now:    what look-ups see
 * @next:   being read, by the thread pool only
 * @result: the scan's, with @err
 */
struct template_dir {
    uv_loop_t *uv; /* borrowed */
    char *dir;
    struct table *now, *next;
    uv_work_t work;
    int result;
    struct adit_err err;
    bool is_scanning;
    template_dir_scanned_fn on_done;
    void *user;
};

static void free_entry(struct template_dir_entry *e)
{
    free(e->dir);
    free(e);
}

static void clear_table(struct table *t)
{
    for (size_t i = 0; i < t->cnt; i++)
        free_entry(t->entries[i]);
    t->cnt = 0;
}

int template_dir_new(uv_loop_t *uv, const char *dir, struct template_dir **out,
                     struct adit_err *err)
{
    struct template_dir *t = calloc(1, sizeof(*t));
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    t->uv = uv;
    t->dir = strdup(dir);
    t->now = calloc(1, sizeof(*t->now));
    t->next = calloc(1, sizeof(*t->next));
    if (!t->dir || !t->now || !t->next) {
        template_dir_free(t);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    *out = t;
    return 0;
}

void template_dir_free(struct template_dir *t)
{
    if (t->now)
        clear_table(t->now);
    if (t->next)
        clear_table(t->next);
    free(t->now);
    free(t->next);
    free(t->dir);
    free(t);
}

/* ---- on the thread pool ---- */

/* It says nothing about the folder. */
static bool is_shortage(const struct adit_err *err)
{
    return err->code == ADIT_ERR_NO_MEMORY || err->sys_errno == EMFILE || err->sys_errno == ENFILE;
}

static int look_at(struct template_dir_entry *e, struct adit_err *err)
{
    char path[PATH_MAX];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/" TEMPLATE_FILE, e->dir); /* else it is not found */
    if (stat(path, &st))
        return adit_err_sys(err, errno, "look at %s", path);
    e->inode = st.st_ino;
    e->changed_ns = st.st_ctim.tv_sec * NS_PER_S + st.st_ctim.tv_nsec;
    return 0;
}

static int read_into(struct template_dir_entry *e, const char *root, struct adit_err *err)
{
    if (asprintf(&e->dir, "%s/%s", root, e->artifact) < 0) {
        e->dir = NULL; /* it was left undefined */
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    }
    int rc = look_at(e, err); /* first: what replaces it meanwhile is seen to be another */
    return rc ? rc : template_read(e->dir, &e->info, err);
}

/* *out: NULL when the folder is no template. Errors: a shortage. */
static int read_entry(const char *root, const char *name, struct template_dir_entry **out,
                      struct adit_err *err)
{
    struct adit_err why = ADIT_ERR_INIT;
    *out = NULL;
    if (strlen(name) >= TEMPLATE_DIR_NAME_CAP)
        return 0;
    struct template_dir_entry *e = calloc(1, sizeof(*e));
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    memcpy(e->artifact, name, strlen(name) + 1);
    if (read_into(e, root, &why) == 0) {
        *out = e;
        return 0;
    }
    free_entry(e);
    if (is_shortage(&why)) {
        *err = why;
        return why.code;
    }
    adit_log(ADIT_LOG_WARN, "template_refused", LOG_S("folder", name), LOG_ERR(&why));
    return 0;
}

static int compare_ages(const void *a, const void *b)
{
    const struct template_info *x = &(*(struct template_dir_entry *const *)a)->info;
    const struct template_info *y = &(*(struct template_dir_entry *const *)b)->info;
    if (x->created_ns != y->created_ns)
        return x->created_ns < y->created_ns ? -1 : 1;
    int by_id = strcmp(x->template_id, y->template_id);
    return by_id ? by_id : strcmp(x->build_id, y->build_id);
}

static bool has_alias(const struct template_info *info, struct adit_view ref)
{
    for (size_t i = 0; i < info->alias_cnt; i++)
        if (adit_view_eq_str(ref, info->aliases[i]))
            return true;
    return false;
}

/* Is there a newer one than entry @i that has its id, or (unless NULL) this alias? */
static bool is_taken(const struct table *t, size_t i, const char *alias)
{
    for (size_t k = i + 1; k < t->cnt; k++) {
        const struct template_info *newer = &t->entries[k]->info;
        if (alias ? has_alias(newer, adit_view_str(alias))
                  : strcmp(newer->template_id, t->entries[i]->info.template_id) == 0)
            return true;
    }
    return false;
}

static void drop_taken_aliases(struct table *t, size_t i)
{
    struct template_info *info = &t->entries[i]->info;
    size_t kept = 0;
    for (size_t k = 0; k < info->alias_cnt; k++) {
        if (is_taken(t, i, info->aliases[k]))
            adit_log(ADIT_LOG_WARN, "template_alias_taken", LOG_S("alias", info->aliases[k]),
                     LOG_S("folder", t->entries[i]->artifact));
        else if (kept++ != k)
            memcpy(info->aliases[kept - 1], info->aliases[k], sizeof(info->aliases[0]));
    }
    for (size_t k = kept; k < info->alias_cnt; k++) /* infos are compared as bytes */
        memset(info->aliases[k], 0, sizeof(info->aliases[0]));
    info->alias_cnt = kept;
}

/* Oldest first; each id and each alias once. */
static void settle(struct table *t)
{
    size_t kept = 0;
    if (t->cnt > 1)
        qsort(t->entries, t->cnt, sizeof(t->entries[0]), compare_ages);
    for (size_t i = 0; i < t->cnt; i++)
        drop_taken_aliases(t, i);
    for (size_t i = 0; i < t->cnt; i++) { /* what is_taken() looks at lies behind i, unchanged */
        if (!is_taken(t, i, NULL)) {
            t->entries[kept++] = t->entries[i];
            continue;
        }
        adit_log(ADIT_LOG_WARN, "template_refused", LOG_S("folder", t->entries[i]->artifact),
                 LOG_S("error", "a newer folder has the same template_id"));
        free_entry(t->entries[i]);
    }
    t->cnt = kept;
}

static int read_table(struct table *t, const char *root, struct adit_err *err)
{
    int rc = 0;
    struct dirent *d;
    DIR *dir = opendir(root);
    if (!dir)
        return errno == ENOENT ? 0 : adit_err_sys(err, errno, "open %s", root);
    while (rc == 0 && t->cnt < TEMPLATE_DIR_MAX && (d = readdir(dir))) {
        struct template_dir_entry *e = NULL;
        if (d->d_name[0] != '.')
            rc = read_entry(root, d->d_name, &e, err);
        if (e)
            t->entries[t->cnt++] = e;
    }
    (void)closedir(dir); /* only read */
    return rc;
}

static void on_work(uv_work_t *work)
{
    struct template_dir *t = work->data;
    t->result = read_table(t->next, t->dir, &t->err);
    if (t->result == 0)
        settle(t->next);
}

/* ---- on the loop ---- */

static bool differs(const struct table *a, const struct table *b)
{
    if (a->cnt != b->cnt)
        return true;
    for (size_t i = 0; i < a->cnt; i++)
        /* Padding was zeroed with the rest; a difference in it would cost one registration.
         * NOLINTNEXTLINE(*-exp42-c,*-flp37-c,bugprone-suspicious-memory-comparison) */
        if (memcmp(&a->entries[i]->info, &b->entries[i]->info, sizeof(a->entries[i]->info)) != 0)
            return true;
    return false;
}

static void on_worked(uv_work_t *work, int status)
{
    struct template_dir *t = work->data;
    struct table *old = t->now;
    bool is_good = status == 0 && t->result == 0, changed = is_good && differs(t->now, t->next);
    t->is_scanning = false;
    if (is_good) {
        t->now = t->next;
        t->next = old;
    }
    clear_table(t->next);
    if (t->result)
        adit_log(ADIT_LOG_ERROR, "templates_not_read", LOG_ERR(&t->err));
    if (changed)
        adit_log(ADIT_LOG_INFO, "templates_read", LOG_S("dir", t->dir),
                 LOG_U("count", t->now->cnt));
    t->on_done(t->user, changed);
}

bool template_dir_scan(struct template_dir *t, template_dir_scanned_fn on_done, void *user)
{
    if (t->is_scanning)
        return false;
    t->is_scanning = true;
    t->on_done = on_done;
    t->user = user;
    t->work.data = t;
    (void)uv_queue_work(t->uv, &t->work, on_work, on_worked); /* fails without a callback only */
    return true;
}

const struct template_dir_entry *template_dir_find(const struct template_dir *t,
                                                   const char *template_id)
{
    for (size_t i = 0; i < t->now->cnt; i++)
        if (strcmp(t->now->entries[i]->info.template_id, template_id) == 0)
            return t->now->entries[i];
    return NULL;
}

const struct template_dir_entry *template_dir_resolve(const struct template_dir *t,
                                                      struct adit_view ref)
{
    for (size_t i = 0; i < t->now->cnt; i++) {
        const struct template_info *info = &t->now->entries[i]->info;
        if (adit_view_eq_str(ref, info->template_id) || has_alias(info, ref))
            return t->now->entries[i];
    }
    return NULL;
}

bool template_dir_is_current(const struct template_dir_entry *e)
{
    struct template_dir_entry now = {.dir = e->dir};
    return look_at(&now, NULL) == 0 && now.inode == e->inode && now.changed_ns == e->changed_ns;
}

size_t template_dir_cnt(const struct template_dir *t)
{
    return t->now->cnt;
}

const struct template_dir_entry *template_dir_at(const struct template_dir *t, size_t i)
{
    return t->now->entries[i];
}
