/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers on the loop. */
/*
 * Theory of operation
 *
 * What      One descriptor, one table of trees, one job. The job closes what is to be closed, reads
 * the events that were queued when it began, and opens what is to be opened, in this order: so a
 * new watcher sees nothing that is older than its request. A large tree is opened by several jobs,
 * so that the queue does not overflow meanwhile. When it is done, its events are handed
 * to the watchers. While it runs, trees and table are its own, and the loop touches only what
 * waits beside them.
 *
 *   idle ──readable, or somebody wants something──> busy ──done──> idle, or busy again
 *    └──no watcher left──> closing (freed by the poll handle's close callback)
 *
 * A sync that begins while a job runs is done with the next one, which reads what happened since.
 *
 * Why one descriptor: the kernel counts instances (128 by default) for the user that owns a
 * container's user namespace as well, so all containers of a host share that number. The price is
 * that an overflow of the queue ends all watchers of the sandbox.
 *
 * Ownership The set owns watchers until a job has closed their trees. The set itself lives while it
 * has one.
 *
 * Limits    WATCHERS_MAX, WATCHER_ROOM_MAX, WATCHERS_ROOM_MAX; a job reads what was queued at its
 * begin, at most fs.inotify.max_queued_events.
 *
 * Trust     Events come as fast as the guest makes them; the loop sees only whole batches.
 *
 * Failure   A watcher that loses an event ends: its events are dropped, its owner is told why.
 */
#include "envd/filesystem/watcher.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/rand.h"
#include "envd/filesystem/watch_os.h"

enum watcher_state { WATCHER_OPENING, WATCHER_OPEN, WATCHER_CLOSING };

/*
 * @node:   in set->all
 * @queue:  in a list of things to do, the loop's or the job's
 * @tree:   the job's while one runs; @is_whole: all of it is watched
 * @err:    why it was not opened, or has ended
 * @events: that wait; @event_cnt, @held: their number and cost
 */
struct watcher {
    struct watchers *set; /* borrowed */
    struct adit_list node, queue;
    enum watcher_state state;
    bool is_in_job, is_whole;
    char id[WATCHER_ID_LEN + 1];
    char *path;
    struct watch_tree_conf conf;
    struct watch_tree tree;
    struct adit_err err;
    struct adit_list events;
    size_t event_cnt, held;
    const struct watcher_ops *ops;
    void *owner;
};

/*
 * What is to be done by a job. @syncs are only waited for.
 */
struct todo {
    struct adit_list closing, opening, syncs;
};

/*
 * @next: of the next job; @job: of the one that runs
 * @held: cost of all events that wait
 */
struct watchers {
    struct envd *envd; /* borrowed */
    struct watch_kernel kernel;
    struct watch_table table;
    uv_poll_t poll;
    uv_work_t work;
    struct adit_list all;
    size_t cnt, held;
    struct todo next, job;
    bool is_busy;
    char raw[WATCHERS_RAW_CAP];
};

/* Move all nodes of @from to the end of @to. */
static void take_all(struct adit_list *to, struct adit_list *from)
{
    struct adit_list *it;
    while ((it = adit_list_first(from))) {
        adit_list_remove(it);
        adit_list_push(to, it);
    }
}

/* ---- the job ---- */

/* Read what is queued now; what comes meanwhile is for the next job. */
static void read_events(struct watchers *s)
{
    int queued = 0;
    (void)ioctl(s->kernel.fd, FIONREAD, &queued); /* none then */
    while (queued > 0) {
        ssize_t n = read(s->kernel.fd, s->raw, sizeof s->raw);
        if (n <= 0)
            break; /* cannot be interrupted; whatever it was, poll tells again */
        watch_table_feed(&s->table, adit_view_mem(s->raw, (size_t)n));
        queued -= (int)n;
    }
}

static void open_tree(struct watchers *s, struct watcher *w)
{
    if (!w->tree.table && watch_os_check(w->path, w->conf.allows_network, &w->err))
        return;
    int rc = w->tree.table ? 0 : watch_tree_open(&w->tree, &s->table, &w->conf, w->path, &w->err);
    if (!rc)
        rc = watch_tree_step(&w->tree, &w->is_whole, &w->err);
    if (rc)
        (void)adit_err_wrap(&w->err, "error adding path to watcher"); /* the code is the same */
}

static void on_work(uv_work_t *work)
{
    struct watchers *s = work->data;
    struct adit_list *it, *tmp;

    s->kernel.has_names = false;
    ADIT_LIST_EACH(it, tmp, &s->job.closing)
    watch_tree_close(&ADIT_CONTAINER_OF(it, struct watcher, queue)->tree);
    read_events(s);
    ADIT_LIST_EACH(it, tmp, &s->job.opening)
    open_tree(s, ADIT_CONTAINER_OF(it, struct watcher, queue));
}

/* ---- life ---- */

static void start_job(struct watchers *s);

static void drop_events(struct watcher *w)
{
    while (w->event_cnt)
        watcher_take(w);
}

/* Its tree is closed. */
static void watcher_free(struct watcher *w)
{
    drop_events(w);
    adit_list_remove(&w->node);
    adit_list_remove(&w->queue);
    w->set->cnt--;
    free(w->path);
    free(w);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct watchers *s = h->data;
    watch_os_close(&s->kernel);
    free(s);
}

static void set_free(struct watchers *s)
{
    s->envd->watchers = NULL;
    watch_table_fini(&s->table);
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* the job finds out */
    (void)events; /* only one */
    start_job(poll->data);
}

static int set_new(struct envd *e, struct watchers **out, struct adit_err *err)
{
    struct watchers *s = calloc(1, sizeof *s);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    int rc = watch_os_open(&s->kernel, err);
    if (!rc && uv_poll_init(&e->uv, &s->poll, s->kernel.fd))
        rc = adit_err_set(err, ADIT_ERR_IO, "error creating watcher");
    if (rc) {
        watch_os_close(&s->kernel);
        free(s);
        return rc;
    }
    s->envd = e;
    s->poll.data = s->work.data = s;
    watch_table_init(&s->table, &s->kernel.os);
    adit_list_init(&s->all);
    struct adit_list *lists[] = {&s->next.closing, &s->next.opening, &s->next.syncs,
                                 &s->job.closing,  &s->job.opening,  &s->job.syncs};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        adit_list_init(lists[i]);
    *out = e->watchers = s;
    return 0;
}

/* ---- between jobs ---- */

static size_t room_of(size_t max, size_t held)
{
    return held < max ? max - held : 0;
}

/* Take over what the job made for @w. Return: is there anything to tell? */
static bool collect(struct watcher *w)
{
    struct adit_list *it;
    size_t before = w->event_cnt;

    if (w->err.code)
        return false; /* told already */
    if (w->tree.err.code) {
        w->err = w->tree.err;
        (void)adit_err_wrap(&w->err, "watcher error");
        w->err.code = ADIT_ERR_IO;
        drop_events(w);
        return true;
    }
    while ((it = adit_list_first(&w->tree.events))) {
        size_t cost = ADIT_CONTAINER_OF(it, struct watch_event, node)->cost;
        adit_list_remove(it);
        adit_list_push(&w->events, it);
        w->event_cnt++;
        w->held += cost;
        w->set->held += cost;
    }
    return w->event_cnt > before;
}

static void free_closed(struct watchers *s)
{
    struct adit_list *it;
    while ((it = adit_list_first(&s->job.closing)))
        watcher_free(ADIT_CONTAINER_OF(it, struct watcher, queue));
}

static void tell_opened(struct watchers *s)
{
    struct adit_list *it;
    while ((it = adit_list_first(&s->job.opening))) {
        struct watcher *w = ADIT_CONTAINER_OF(it, struct watcher, queue);
        adit_list_remove(it);
        w->is_in_job = false;
        if (w->state == WATCHER_CLOSING) {
            adit_list_push(&s->next.closing, it);
            continue;
        }
        if (!w->is_whole && !w->err.code) {
            adit_list_push(&s->next.opening, it);
            continue;
        }
        w->state = WATCHER_OPEN;
        if (w->ops)
            w->ops->on_opened(w, w->err.code ? &w->err : NULL);
    }
}

static void tell_events(struct watchers *s)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &s->all)
    {
        struct watcher *w = ADIT_CONTAINER_OF(it, struct watcher, node);
        if (w->state != WATCHER_CLOSING && collect(w) && w->state == WATCHER_OPEN && w->ops)
            w->ops->on_events(w);
    }
}

static void tell_synced(struct watchers *s)
{
    struct adit_list *it;
    while ((it = adit_list_first(&s->job.syncs))) {
        struct watcher_sync *sync = ADIT_CONTAINER_OF(it, struct watcher_sync, node);
        adit_list_remove(it);
        sync->on_done(sync);
    }
}

static bool is_wanted(const struct todo *t)
{
    return !adit_list_empty(&t->closing) || !adit_list_empty(&t->opening) ||
           !adit_list_empty(&t->syncs);
}

/* It counts as busy until all is told, so that nobody begins the next job inside. */
static void on_worked(uv_work_t *work, int status)
{
    struct watchers *s = work->data;
    (void)status; /* never cancelled */
    free_closed(s);
    tell_opened(s);
    tell_events(s);
    tell_synced(s);
    s->is_busy = false;
    if (is_wanted(&s->next))
        start_job(s);
    else if (s->cnt == 0)
        set_free(s);
    else
        (void)uv_poll_start(&s->poll, UV_READABLE, on_readable); /* it is a valid descriptor */
}

static void start_job(struct watchers *s)
{
    struct adit_list *it, *tmp;

    if (s->is_busy)
        return;
    s->is_busy = true;
    (void)uv_poll_stop(&s->poll); /* cannot fail */
    take_all(&s->job.closing, &s->next.closing);
    take_all(&s->job.opening, &s->next.opening);
    take_all(&s->job.syncs, &s->next.syncs);
    s->table.room = room_of(WATCHERS_ROOM_MAX, s->held);
    ADIT_LIST_EACH(it, tmp, &s->all)
    {
        struct watcher *w = ADIT_CONTAINER_OF(it, struct watcher, node);
        w->tree.room = room_of(WATCHER_ROOM_MAX, w->held);
    }
    ADIT_LIST_EACH(it, tmp, &s->job.opening)
    ADIT_CONTAINER_OF(it, struct watcher, queue)->is_in_job = true;
    (void)uv_queue_work(&s->envd->uv, &s->work, on_work, on_worked); /* fails without callback */
}

/* ---- what owners ask ---- */

static struct watcher *watcher_new(struct watchers *s, const struct watch_tree_conf *conf,
                                   const char *path)
{
    struct watcher *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return NULL;
    }
    w->set = s;
    w->conf = *conf;
    w->id[0] = 'w';
    adit_rand_id(w->id + 1, WATCHER_ID_LEN - 1);
    adit_list_init(&w->queue);
    adit_list_init(&w->events);
    adit_list_init(&w->tree.events);
    adit_list_push(&s->all, &w->node);
    s->cnt++;
    return w;
}

int watcher_open(struct envd *e, const struct watch_tree_conf *conf, const char *path,
                 struct watcher **out, struct adit_err *err)
{
    struct watchers *s = e->watchers;
    int rc = s ? 0 : set_new(e, &s, err);
    if (rc)
        return rc;
    if (s->cnt >= WATCHERS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d watchers", WATCHERS_MAX);
    struct watcher *w = watcher_new(s, conf, path);
    if (!w) {
        if (s->cnt == 0)
            set_free(s);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    adit_list_push(&s->next.opening, &w->queue);
    *out = w;
    start_job(s);
    return 0;
}

void watcher_close(struct watcher *w)
{
    struct watchers *s = w->set;
    w->state = WATCHER_CLOSING;
    w->ops = NULL;
    if (w->is_in_job)
        return; /* closed by the job after this one */
    adit_list_remove(&w->queue);
    adit_list_push(&s->next.closing, &w->queue);
    start_job(s);
}

void watcher_set_owner(struct watcher *w, const struct watcher_ops *ops, void *owner)
{
    w->ops = ops;
    w->owner = owner;
}

void *watcher_owner(const struct watcher *w)
{
    return w->owner;
}

const char *watcher_id(const struct watcher *w)
{
    return w->id;
}

struct watcher *watcher_find(struct envd *e, const char *id)
{
    struct adit_list *it, *tmp;
    if (!e->watchers)
        return NULL;
    ADIT_LIST_EACH(it, tmp, &e->watchers->all)
    {
        struct watcher *w = ADIT_CONTAINER_OF(it, struct watcher, node);
        if (w->state == WATCHER_OPEN && strcmp(w->id, id) == 0)
            return w;
    }
    return NULL;
}

const struct adit_err *watcher_error(const struct watcher *w)
{
    return w->err.code ? &w->err : NULL;
}

const struct adit_list *watcher_events(const struct watcher *w)
{
    return &w->events;
}

struct watch_event *watcher_first(const struct watcher *w)
{
    struct adit_list *it = adit_list_first(&w->events);
    return it ? ADIT_CONTAINER_OF(it, struct watch_event, node) : NULL;
}

size_t watcher_event_cnt(const struct watcher *w)
{
    return w->event_cnt;
}

void watcher_take(struct watcher *w)
{
    struct watch_event *e = watcher_first(w);
    w->event_cnt--;
    w->held -= e->cost;
    w->set->held -= e->cost;
    watch_event_free(e);
}

void watcher_sync_start(struct watcher *w, struct watcher_sync *s)
{
    adit_list_push(&w->set->next.syncs, &s->node);
    start_job(w->set);
}

void watcher_sync_cancel(struct watcher_sync *s)
{
    adit_list_remove(&s->node);
}

void watcher_close_all(struct envd *e)
{
    struct adit_list *it, *tmp;
    if (!e->watchers)
        return;
    ADIT_LIST_EACH(it, tmp, &e->watchers->all)
    watcher_close(ADIT_CONTAINER_OF(it, struct watcher, node));
}
