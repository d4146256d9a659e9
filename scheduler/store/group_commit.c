/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: one thread takes all writes that are waiting and makes them one transaction.
 *
 * Theory of operation
 *
 * What: an fsync takes milliseconds, so the loop never waits for one. While the thread commits a
 * group, new writes gather and become the next group: under load each fsync serves many of them,
 * and a single write waits for nobody.
 *
 *   loop: store_write ──@queued──> thread: begin, changes, commit ──@finished──> loop: apply,
 * on_done
 *
 * Ownership: a write belongs to the list it is in. The database belongs to the thread from open to
 * join. Under @lock: @queued and @finished, is_closing (written by the loop only), has_ended.
 * Limits: STORE_WRITES_MAX writes and STORE_BYTES_MAX bytes from store_write() to on_done.
 * Failure: when a group cannot be committed, all of its writes fail and nothing of it is kept.
 */
#include "scheduler/store/group_commit.h"

#include <stdlib.h>

#include "base/list.h"
#include "scheduler/store/sqlite.h"

/* One allocation: the changes and the bytes they point to follow the struct. */
struct write {
    struct adit_list node;
    store_done_fn on_done;
    void *user;
    size_t cnt, bytes;
    uint64_t began_ns;
    struct adit_err err;
    struct store_change changes[];
};

/*
 * @turn_end:             runs before the loop waits, when something was gathered
 * @gathered:             written in this turn; the loop's
 * @write_cnt, @byte_cnt: not answered yet; the loop's
 * @open_handles:         libuv handles not closed yet; the last one frees
 */
struct group_commit {
    struct store store; /* first */
    struct store_owner owner;
    struct sqlite_db *db;
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    uv_async_t finished_async;
    uv_prepare_t turn_end;
    struct adit_list gathered, queued, finished;
    size_t write_cnt, byte_cnt;
    unsigned open_handles;
    bool is_closing, has_ended, is_broken;
};

static struct write *write_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct write, node);
}

static void move_all(struct adit_list *from, struct adit_list *to, size_t max)
{
    struct adit_list *node;
    for (size_t i = 0; i < max && (node = adit_list_first(from)); i++) {
        adit_list_remove(node);
        adit_list_push(to, node);
    }
}

/* ---- the thread ---- */

static int commit_changes(struct sqlite_db *db, struct adit_list *group, struct adit_err *err)
{
    struct adit_list *it, *tmp;
    int rc = sqlite_begin(db, err);
    ADIT_LIST_EACH(it, tmp, group)
    {
        struct write *w = write_of(it);
        for (size_t i = 0; rc == 0 && i < w->cnt; i++)
            rc = sqlite_change(db, &w->changes[i], err);
    }
    return rc ? rc : sqlite_commit(db, err);
}

static void commit_group(struct sqlite_db *db, struct adit_list *group)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_list *it, *tmp;
    if (commit_changes(db, group, &err) == 0)
        return;
    sqlite_rollback(db);
    ADIT_LIST_EACH(it, tmp, group)
    {
        write_of(it)->err = err;
    }
}

static void run_thread(void *arg)
{
    struct group_commit *g = arg;
    struct adit_list group;

    adit_list_init(&group);
    uv_mutex_lock(&g->lock);
    for (;;) {
        while (adit_list_empty(&g->queued) && !g->is_closing)
            uv_cond_wait(&g->wake, &g->lock);
        if (adit_list_empty(&g->queued))
            break;
        move_all(&g->queued, &group, GROUP_COMMIT_MAX);
        uv_mutex_unlock(&g->lock);
        commit_group(g->db, &group);
        uv_mutex_lock(&g->lock);
        move_all(&group, &g->finished, GROUP_COMMIT_MAX);
        (void)uv_async_send(&g->finished_async); /* cannot fail */
    }
    g->has_ended = true;
    (void)uv_async_send(&g->finished_async); /* cannot fail */
    uv_mutex_unlock(&g->lock);
}

/* ---- the loop ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct group_commit *g = h->data;
    if (--g->open_handles == 0)
        free(g);
}

static void release(struct group_commit *g)
{
    sqlite_close(g->db);
    uv_cond_destroy(&g->wake);
    uv_mutex_destroy(&g->lock);
    g->open_handles = 2;
    uv_close((uv_handle_t *)&g->finished_async, on_handle_closed);
    uv_close((uv_handle_t *)&g->turn_end, on_handle_closed);
}

static void apply(struct group_commit *g, const struct write *w)
{
    struct adit_err err = ADIT_ERR_INIT;
    for (size_t i = 0; !g->is_broken && i < w->cnt; i++)
        g->is_broken = g->owner.apply(g->owner.owner, &w->changes[i], &err) != 0;
    if (err.code)
        g->owner.on_broken(g->owner.owner, &err);
}

const double store_bounds[STORE_BUCKET_CNT - 1] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.5, 2};

static void count(struct group_commit *g, const struct write *w)
{
    struct store_stats *s = &g->store.stats;
    uint64_t ns = uv_hrtime() - w->began_ns;
    size_t bucket = 0;
    while (bucket < STORE_BUCKET_CNT - 1 && (double)ns > store_bounds[bucket] * 1e9)
        bucket++;
    s->buckets[bucket]++;
    s->sum_ns += ns;
    s->committed += !w->err.code;
    s->failed += w->err.code != 0;
    s->pending--;
}

static void finish(struct group_commit *g, struct write *w)
{
    count(g, w);
    g->write_cnt--;
    g->byte_cnt -= w->bytes;
    if (!w->err.code)
        apply(g, w);
    w->on_done(w->user, w->err.code ? &w->err : NULL);
    free(w);
}

static void on_finished(uv_async_t *async)
{
    struct group_commit *g = async->data;
    struct adit_list finished, *node;

    adit_list_init(&finished);
    uv_mutex_lock(&g->lock);
    move_all(&g->finished, &finished, STORE_WRITES_MAX);
    bool has_ended = g->has_ended;
    uv_mutex_unlock(&g->lock);
    while ((node = adit_list_first(&finished))) {
        adit_list_remove(node);
        finish(g, write_of(node));
    }
    if (!has_ended || uv_is_closing((uv_handle_t *)async))
        return;
    (void)uv_thread_join(&g->thread); /* it has left its loop */
    release(g);
}

static void hand_over(struct group_commit *g)
{
    (void)uv_prepare_stop(&g->turn_end); /* cannot fail */
    uv_mutex_lock(&g->lock);
    move_all(&g->gathered, &g->queued, STORE_WRITES_MAX);
    uv_cond_signal(&g->wake);
    uv_mutex_unlock(&g->lock);
}

static void on_turn_end(uv_prepare_t *turn_end)
{
    hand_over(turn_end->data);
}

static char *copy(char *to, struct adit_view *v)
{
    if (!v->ptr)
        return to;
    if (v->len)
        memcpy(to, v->ptr, v->len);
    v->ptr = to;
    return to + v->len;
}

static struct write *write_new(const struct store_change *changes, size_t cnt, size_t bytes)
{
    struct write *w = malloc(sizeof(*w) + cnt * sizeof(*changes) + bytes);
    if (!w)
        return NULL;
    char *to = (char *)&w->changes[cnt];
    w->cnt = cnt;
    w->bytes = bytes;
    w->err = (struct adit_err)ADIT_ERR_INIT;
    for (size_t i = 0; i < cnt; i++) {
        w->changes[i] = changes[i];
        to = copy(to, &w->changes[i].id);
        to = copy(to, &w->changes[i].value);
    }
    return w;
}

static int group_commit_write(struct store *s, const struct store_change *changes, size_t cnt,
                              store_done_fn on_done, void *user, struct adit_err *err)
{
    struct group_commit *g = (struct group_commit *)s;
    size_t bytes = 0;
    for (size_t i = 0; i < cnt; i++) {
        if (changes[i].id.len > STORE_ID_MAX || changes[i].value.len > STORE_VALUE_MAX)
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the record is too large");
        bytes += changes[i].id.len + changes[i].value.len;
    }
    if (g->is_closing)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "the store is closed");
    if (g->write_cnt >= STORE_WRITES_MAX || bytes > STORE_BYTES_MAX - g->byte_cnt)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many writes are waiting for the disk");
    struct write *w = write_new(changes, cnt, bytes);
    if (!w)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    w->on_done = on_done;
    w->user = user;
    w->began_ns = uv_hrtime();
    g->store.stats.pending++;
    g->write_cnt++;
    g->byte_cnt += bytes;
    adit_list_push(&g->gathered, &w->node);
    (void)uv_prepare_start(&g->turn_end, on_turn_end); /* cannot fail: the callback is not NULL */
    return 0;
}

static void group_commit_close(struct store *s)
{
    struct group_commit *g = (struct group_commit *)s;
    hand_over(g);
    uv_mutex_lock(&g->lock);
    g->is_closing = true;
    uv_cond_signal(&g->wake);
    uv_mutex_unlock(&g->lock);
}

static const struct store_ops ops = {group_commit_write, group_commit_close};

/* Frees @g on failure. */
static int start(struct group_commit *g, uv_loop_t *uv, struct adit_err *err)
{
    int rc = uv_async_init(uv, &g->finished_async, on_finished);
    if (rc) {
        sqlite_close(g->db);
        free(g);
        return adit_err_sys(err, -rc, "wake-up descriptor");
    }
    (void)uv_prepare_init(uv, &g->turn_end); /* cannot fail */
    g->finished_async.data = g->turn_end.data = g;
    uv_mutex_init(&g->lock);
    uv_cond_init(&g->wake);
    rc = uv_thread_create(&g->thread, run_thread, g);
    if (rc == 0)
        return 0;
    release(g);
    return adit_err_sys(err, -rc, "thread of the store");
}

int group_commit_open(uv_loop_t *uv, const char *path, const struct store_owner *owner,
                      struct store **out, struct adit_err *err)
{
    struct group_commit *g = calloc(1, sizeof(*g));
    if (!g)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    g->store.ops = &ops;
    g->owner = *owner;
    adit_list_init(&g->gathered);
    adit_list_init(&g->queued);
    adit_list_init(&g->finished);
    int rc = sqlite_open(path, &g->db, err);
    if (rc) {
        free(g);
        return rc;
    }
    rc = sqlite_load(g->db, owner->apply, owner->owner, err);
    if (rc) {
        sqlite_close(g->db);
        free(g);
        (void)adit_err_wrap(err, "%s", path); /* the code is rc */
        return rc;
    }
    rc = start(g, uv, err);
    if (rc == 0)
        *out = &g->store;
    return rc;
}
