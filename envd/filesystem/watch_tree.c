/* SPDX-License-Identifier: Apache-2.0 */
/* Watched directory trees. */
/*
 * Theory of operation
 *
 * What      The kernel tells of names in single directories; a tree has one watch a directory and
 * knows each one's parent and name, so that an event gets its path, and a directory that is renamed
 * takes all below it along for nothing. Two trees that watch one directory share its watch.
 *
 * Arriving  A directory that is created or moved in is watched first and listed then; what it holds
 * makes CREATE events, parents before what is in them. What comes in between is told twice rather
 * than never.
 *
 * Leaving   MOVED_FROM takes a directory from its name but keeps it and its watches. MOVED_TO with
 * the same cookie gives it its new place, and no event below is lost. MOVE_SELF comes after both
 * (the kernel sends them in this order): a directory that still has no place then is out of the
 * tree. A cookie that never comes back is forgotten by WATCH_TREE_MOVING_MAX.
 *
 * Races     A path is looked up when its event is read, not when it happened, so it may lead to
 * another directory by now, which is then known under that name too early. Whenever a name is
 * looked at again the kernel's descriptor is compared, and it wins: the tree is put right. Each
 * move that made it wrong is in the queue and looks again.
 *
 * Limits    WATCH_TREE_DIRS_MAX, WATCH_TREE_MOVING_MAX, @room. Depth is that of PATH_MAX; what is
 * deeper is not watched.
 *
 * Trust     Names, depth, number and speed of events are the guest's. Records are checked although
 * they come from the kernel.
 *
 * Failure   Nothing is lost silently: a tree that lost something ends with an error.
 */
#include "envd/filesystem/watch_tree.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include "envd/failure.h"
#include "envd/filesystem/place.h"

/* Keys, quotes and an enum as JSON, or what the allocator adds, besides name and entry. */
#define EVENT_FRAME_COST (sizeof(struct watch_event) + 80)
/* An entry's fixed part; its texts are counted as JSON. */
#define ENTRY_FRAME_COST sizeof(struct entry)

/* One directory of the kernel's; owned by the table. @dirs: at most one of each tree. */
struct watch_wd {
    int wd;
    struct adit_list dirs;
};

/*
 * One directory of a tree; owned by that. The root has no parent.
 *
 * @twins:   in wd->dirs
 * @scan:    in tree->scans while it is to be listed
 * @moving:  in tree->moving while it has no place: @parent and @name are the last ones
 * @cookie:  of the move then
 */
struct watch_dir {
    struct watch_tree *tree;
    struct watch_wd *wd;
    struct watch_dir *parent;
    char *name;
    struct adit_list twins, children, sibling, scan, moving;
    uint32_t cookie;
};

/* ---- ends ---- */

/* Where a failure is noted: nowhere, if there was one before. */
static struct adit_err *tree_fail(struct watch_tree *t)
{
    return t->err.code ? NULL : &t->err;
}

static void fail_memory(struct watch_tree *t)
{
    (void)adit_err_set(tree_fail(t), ADIT_ERR_NO_MEMORY, "out of memory");
}

void watch_event_free(struct watch_event *e)
{
    adit_list_remove(&e->node);
    entry_free(e->entry);
    free(e);
}

static void free_events(struct watch_tree *t)
{
    struct adit_list *it;
    while ((it = adit_list_first(&t->events)))
        watch_event_free(ADIT_CONTAINER_OF(it, struct watch_event, node));
}

/* ---- paths ---- */

/*
 * The path of @name in @d, or of @d itself (""), written to the end of @room.
 * *@relative: where the part below the root begins; "." for the root.
 * Return: NULL when it is too long.
 */
static char *path_of(const struct watch_dir *d, const char *name, char room[PATH_MAX],
                     const char **relative)
{
    const struct watch_tree *t = d->tree;
    char *p = room + PATH_MAX - 1;
    size_t root_len = strlen(t->path);

    *p = '\0';
    for (const char *part = name; part; d = d->parent) {
        size_t len = strlen(part);
        if ((size_t)(p - room) < len + 1)
            return NULL;
        p -= len;
        memcpy(p, part, len);
        if (len)
            *--p = '/';
        part = d->name;
    }
    *relative = *p ? p + 1 : ".";
    if ((size_t)(p - room) < root_len + 1)
        return NULL;
    p -= root_len;
    memcpy(p, t->path, root_len);
    if (*p == '\0')
        *--p = '/'; /* the root of the file system */
    return p;
}

/* ---- events ---- */

static bool is_with_entry(Filesystem__EventType type)
{
    return type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CREATE ||
           type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_WRITE ||
           type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CHMOD;
}

static struct watch_event *event_new(const char *name)
{
    struct adit_view text = adit_view_str(name);
    struct watch_event *e = malloc(sizeof *e + entry_text_cap(text));
    if (!e)
        return NULL;
    char *tail = e->name;
    (void)entry_put_text(&tail, text); /* it is e->name */
    adit_list_init(&e->node);
    e->entry = NULL;
    e->cost = EVENT_FRAME_COST + entry_json_text_len(e->name);
    return e;
}

static void emit(struct watch_dir *d, const char *name, Filesystem__EventType type)
{
    struct watch_tree *t = d->tree;
    struct watch_os *os = t->table->os;
    char room[PATH_MAX];
    const char *relative, *path = path_of(d, name, room, &relative);

    if (t->err.code || !path)
        return; /* what is deeper than a path is not watched */
    struct watch_event *e = event_new(relative);
    if (!e) {
        fail_memory(t);
        return;
    }
    e->type = type;
    if (t->conf.has_entries && is_with_entry(type) && (e->entry = os->look(os, path)))
        e->cost += ENTRY_FRAME_COST + entry_json_len(e->entry);
    adit_list_push(&t->events, &e->node);
    if (e->cost > t->room || e->cost > t->table->room) {
        (void)adit_err_set(tree_fail(t), ADIT_ERR_LIMIT,
                           "events were not fetched in time, and no more can be kept");
        return;
    }
    t->room -= e->cost;
    t->table->room -= e->cost;
}

/* Uploads have other names for a moment (place.c): hidden ones … */
static bool is_temp_name(const char *name)
{
    return strncmp(name, PLACE_TEMP_PREFIX, sizeof PLACE_TEMP_PREFIX - 1) == 0 &&
           strlen(name) == PLACE_TEMP_NAME_CAP - 1;
}

/* … and none, which the kernel calls "#<inode>". */
static bool is_of_upload(struct watch_dir *d, const struct inotify_event *raw, const char *name)
{
    struct watch_os *os = d->tree->table->os;
    char room[PATH_MAX];
    const char *relative;

    if (is_temp_name(name))
        return true;
    if (name[0] != '#' || strspn(name + 1, "0123456789") != strlen(name) - 1 ||
        !(raw->mask & (IN_ATTRIB | IN_MODIFY)))
        return false;
    const char *path = path_of(d, name, room, &relative);
    struct entry *e = path ? os->look(os, path) : NULL;
    entry_free(e);
    return !e;
}

/* ---- directories and their places ---- */

struct name_key {
    const void *parent;
    char name[NAME_MAX + 1];
};

/* @name: at most NAME_MAX bytes. */
static struct adit_view name_key(struct name_key *k, const struct watch_dir *parent,
                                 const char *name)
{
    size_t len = strlen(name);
    k->parent = parent;
    memcpy(k->name, name, len);
    return adit_view_mem(k, sizeof k->parent + len);
}

static struct watch_dir *find_child(const struct watch_dir *parent, const char *name)
{
    struct name_key k;
    return adit_map_get(&parent->tree->table->by_name, name_key(&k, parent, name));
}

static bool is_moving(const struct watch_dir *d)
{
    return !adit_list_empty(&d->moving);
}

/* Take the directory from its name, not from its parent. */
static void unname(struct watch_dir *d)
{
    struct name_key k;
    if (!d->parent)
        return;
    if (!is_moving(d)) {
        (void)adit_map_del(&d->tree->table->by_name, name_key(&k, d->parent, d->name)); /* is @d */
        return;
    }
    adit_list_remove(&d->moving);
    d->tree->moving_cnt--;
}

static void free_dir(struct watch_dir *d)
{
    struct watch_tree *t = d->tree;
    struct watch_wd *w = d->wd;

    unname(d);
    adit_list_remove(&d->sibling);
    adit_list_remove(&d->scan);
    adit_list_remove(&d->twins);
    if (adit_list_empty(&w->dirs)) {
        t->table->os->remove(t->table->os, w->wd);
        (void)adit_map_del(&t->table->by_wd, adit_view_mem(&w->wd, sizeof w->wd)); /* is @w */
        free(w);
    }
    if (d == t->root)
        t->root = NULL;
    t->dir_cnt--;
    free(d->name);
    free(d);
}

/* Forget @top and all below it. */
static void drop(struct watch_dir *top)
{
    struct watch_dir *d = top, *up;
    do {
        struct adit_list *child = adit_list_first(&d->children);
        if (child) {
            up = ADIT_CONTAINER_OF(child, struct watch_dir, sibling);
        } else {
            up = d == top ? NULL : d->parent;
            free_dir(d);
        }
    } while ((d = up));
}

/* Is @d @above, or below it? */
static bool is_under(const struct watch_dir *d, const struct watch_dir *above)
{
    while (d && d != above)
        d = d->parent;
    return d;
}

/*
 * Give @d, which has no name, that one below @parent, which is not under it. What had it before is
 * forgotten. False: the tree has failed, and @d and all below it is gone.
 */
static bool put_name(struct watch_dir *d, struct watch_dir *parent, const char *name)
{
    struct name_key k;
    char *copy = strdup(name);

    adit_list_remove(&d->sibling);
    d->parent = NULL; /* it may have been below what is forgotten now */
    struct watch_dir *old = find_child(parent, name);
    if (old)
        drop(old);
    if (!copy || adit_map_put(&d->tree->table->by_name, name_key(&k, parent, name), d)) {
        free(copy);
        fail_memory(d->tree);
        drop(d);
        return false;
    }
    free(d->name);
    d->name = copy;
    d->parent = parent;
    adit_list_push(&parent->children, &d->sibling);
    return true;
}

/* Give @d a new place. The same. */
static bool move(struct watch_dir *d, struct watch_dir *parent, const char *name)
{
    unname(d);
    return put_name(d, parent, name);
}

static struct watch_wd *wd_get(struct watch_table *t, int wd)
{
    return adit_map_get(&t->by_wd, adit_view_mem(&wd, sizeof wd));
}

/* Return: NULL without memory. */
static struct watch_wd *wd_put(struct watch_table *t, int wd)
{
    struct watch_wd *w = wd_get(t, wd);
    if (w)
        return w;
    w = malloc(sizeof *w);
    if (!w)
        return NULL;
    w->wd = wd;
    adit_list_init(&w->dirs);
    if (adit_map_put(&t->by_wd, adit_view_mem(&wd, sizeof wd), w) == 0)
        return w;
    free(w);
    return NULL;
}

/* Stop watching what no tree wants. */
static void wd_release(struct watch_table *t, int wd)
{
    if (!wd_get(t, wd))
        t->os->remove(t->os, wd);
}

/* The directory of @t that @wd watches, or NULL. */
static struct watch_dir *dir_of(const struct watch_tree *t, int wd)
{
    struct watch_wd *w = wd_get(t->table, wd);
    struct adit_list *it, *tmp;
    if (!w)
        return NULL;
    ADIT_LIST_EACH(it, tmp, &w->dirs)
    {
        struct watch_dir *d = ADIT_CONTAINER_OF(it, struct watch_dir, twins);
        if (d->tree == t)
            return d;
    }
    return NULL;
}

/* @parent NULL: the root. Return: NULL when the tree has failed. */
static struct watch_dir *dir_new(struct watch_tree *t, int wd, struct watch_dir *parent,
                                 const char *name)
{
    struct watch_dir *d = calloc(1, sizeof *d);
    struct watch_wd *w = d ? wd_put(t->table, wd) : NULL;
    if (!w) {
        free(d);
        wd_release(t->table, wd);
        fail_memory(t);
        return NULL;
    }
    d->tree = t;
    d->wd = w;
    adit_list_init(&d->children);
    adit_list_init(&d->sibling);
    adit_list_init(&d->scan);
    adit_list_init(&d->moving);
    adit_list_push(&w->dirs, &d->twins);
    t->dir_cnt++;
    return !parent || put_name(d, parent, name) ? d : NULL;
}

/* ---- watching ---- */

/* What is gone, no directory (any more), or closed to us, is left out. */
static bool is_skippable(int sys_errno)
{
    return sys_errno == ENOENT || sys_errno == ENOTDIR || sys_errno == ELOOP ||
           sys_errno == EACCES || sys_errno == EPERM || sys_errno == ENAMETOOLONG;
}

static void fail_add(struct watch_tree *t, int sys_errno, const char *path)
{
    if (sys_errno == ENOSPC)
        (void)adit_err_set(tree_fail(t), ADIT_ERR_LIMIT,
                           "no more directories can be watched: the limit "
                           "fs.inotify.max_user_watches is reached");
    else
        (void)failure_sys(tree_fail(t), sys_errno, "inotify_add_watch %s", path);
}

/* Watch the directory @name of @parent. Return: NULL when it is left out, or the tree has failed.
 */
static struct watch_dir *watch_child(struct watch_dir *parent, const char *name)
{
    struct watch_tree *t = parent->tree;
    char room[PATH_MAX];
    const char *relative, *path = path_of(parent, name, room, &relative);
    int wd = path ? t->table->os->add(t->table->os, path, false) : -ENAMETOOLONG;

    if (wd < 0) {
        if (!is_skippable(-wd))
            fail_add(t, -wd, path);
        return NULL;
    }
    struct watch_dir *known = dir_of(t, wd);
    if (!known) {
        if (t->dir_cnt < WATCH_TREE_DIRS_MAX)
            return dir_new(t, wd, parent, name);
        wd_release(t->table, wd);
        (void)adit_err_set(tree_fail(t), ADIT_ERR_LIMIT, "more than %d directories to watch",
                           WATCH_TREE_DIRS_MAX);
        return NULL;
    }
    if (known == find_child(parent, name))
        return known;
    if (is_under(parent, known))
        return NULL; /* mounted into itself, or moved by an event that is still to come */
    return move(known, parent, name) ? known : NULL;
}

/* @dirs: in which of the tree's lists it was; what is in it follows there. */
struct scan {
    struct watch_dir *dir;
    struct adit_list *dirs;
};

static bool on_name(void *arg, const char *name, bool is_dir)
{
    struct scan *s = arg;
    struct watch_tree *t = s->dir->tree;

    if (s->dirs == &t->scans && !is_temp_name(name))
        emit(s->dir, name, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CREATE);
    struct watch_dir *child = is_dir && !t->err.code ? watch_child(s->dir, name) : NULL;
    if (child) {
        adit_list_remove(&child->scan);
        adit_list_push(s->dirs, &child->scan);
    }
    return !t->err.code;
}

static enum watch_place place_of(const struct watch_dir *d)
{
    if (d == d->tree->root)
        return WATCH_ROOT;
    return d->tree->conf.allows_network ? WATCH_INNER : WATCH_INNER_LOCAL;
}

/* List at most @max of @dirs, and of what is found meanwhile. */
static void scan(struct watch_tree *t, struct adit_list *dirs, size_t max)
{
    struct adit_list *it;
    while (max-- && !t->err.code && (it = adit_list_first(dirs))) {
        char room[PATH_MAX];
        struct scan s = {ADIT_CONTAINER_OF(it, struct watch_dir, scan), dirs};
        const char *relative, *path = path_of(s.dir, "", room, &relative);
        adit_list_remove(it);
        int rc = path ? t->table->os->list(t->table->os, path, place_of(s.dir), on_name, &s) : 0;
        if (rc && !is_skippable(-rc))
            (void)failure_sys(tree_fail(t), -rc, "open %s", path);
    }
}

/* ---- raw events ---- */

static struct watch_dir *find_moving(const struct watch_tree *t, uint32_t cookie)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->moving)
    {
        struct watch_dir *d = ADIT_CONTAINER_OF(it, struct watch_dir, moving);
        if (d->cookie == cookie)
            return d;
    }
    return NULL;
}

/* The directory @name has come to @d. */
static void arrive(struct watch_dir *d, const char *name, uint32_t cookie)
{
    struct watch_dir *moved = cookie ? find_moving(d->tree, cookie) : NULL;
    if (moved && !is_under(d, moved) && !move(moved, d, name))
        return;
    struct watch_tree *t = d->tree;
    struct watch_dir *child = watch_child(d, name);
    if (!child)
        return;
    adit_list_remove(&child->scan);
    adit_list_push(&t->scans, &child->scan);
    scan(t, &t->scans, SIZE_MAX);
}

/* @d leaves its place. The last thing that is done for an event: it may free what that is about. */
static void depart(struct watch_dir *d, uint32_t cookie)
{
    struct watch_tree *t = d->tree;
    unname(d);
    d->cookie = cookie;
    adit_list_push(&t->moving, &d->moving);
    if (++t->moving_cnt > WATCH_TREE_MOVING_MAX)
        drop(ADIT_CONTAINER_OF(adit_list_first(&t->moving), struct watch_dir, moving));
}

/* Follow the directory @name of @d. */
static void follow(struct watch_dir *d, const struct inotify_event *raw, const char *name)
{
    if (raw->mask & (IN_CREATE | IN_MOVED_TO)) {
        arrive(d, name, raw->mask & IN_MOVED_TO ? raw->cookie : 0);
        return;
    }
    struct watch_dir *child = find_child(d, name);
    if (child && (raw->mask & IN_DELETE))
        drop(child);
    else if (child && (raw->mask & IN_MOVED_FROM))
        depart(child, raw->cookie);
}

/* In the order in which flags of one raw event are told. */
static const struct {
    uint32_t mask;
    Filesystem__EventType type;
} meanings[] = {
    {IN_CREATE | IN_MOVED_TO, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CREATE},
    {IN_MOVED_FROM | IN_MOVE_SELF, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_RENAME},
    {IN_ATTRIB, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CHMOD},
    {IN_MODIFY, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_WRITE},
    {IN_DELETE | IN_DELETE_SELF, FILESYSTEM__EVENT_TYPE__EVENT_TYPE_REMOVE},
};

static void tell(struct watch_dir *d, const struct inotify_event *raw, const char *name)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (raw->mask & meanings[i].mask)
            emit(d, name, meanings[i].type);
    }
}

/* An event of the directory itself. */
static void handle_self(struct watch_dir *d, const struct inotify_event *raw)
{
    bool is_root = d == d->tree->root;
    if (raw->mask & (IN_IGNORED | IN_UNMOUNT)) {
        drop(d);
        return;
    }
    /* What happens to a name is told by the directory above. */
    if (is_root || !(raw->mask & (IN_MOVE_SELF | IN_DELETE_SELF)))
        tell(d, raw, "");
    if ((raw->mask & IN_MOVE_SELF) && (is_root || is_moving(d)))
        drop(d);
}

static void handle(struct watch_dir *d, const struct inotify_event *raw, const char *name)
{
    struct watch_tree *t = d->tree;
    if (name[0] == '\0') {
        handle_self(d, raw);
    } else if (!is_of_upload(d, raw, name)) {
        tell(d, raw, name);
        if (t->conf.is_recursive && (raw->mask & IN_ISDIR) && !t->err.code)
            follow(d, raw, name);
    }
}

/* A tree that has failed holds nothing any more. */
static void settle(struct watch_tree *t)
{
    if (!t->err.code)
        return;
    if (t->root)
        drop(t->root);
    free_events(t);
}

static void overflow(struct watch_table *table)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &table->trees)
    {
        struct watch_tree *t = ADIT_CONTAINER_OF(it, struct watch_tree, node);
        (void)adit_err_set(tree_fail(t), ADIT_ERR_LIMIT,
                           "events were lost: more than fs.inotify.max_queued_events at once");
        settle(t);
    }
}

/* Return: false when there is no whole record. */
static bool next_raw(struct adit_view *in, struct inotify_event *raw, char name[NAME_MAX + 1])
{
    if (in->len < sizeof *raw)
        return false;
    memcpy(raw, in->ptr, sizeof *raw);
    if (raw->len > in->len - sizeof *raw)
        return false;
    const char *text = in->ptr + sizeof *raw;
    size_t len = strnlen(text, raw->len);
    if (len > NAME_MAX || memchr(text, '/', len))
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    in->ptr += sizeof *raw + raw->len;
    in->len -= sizeof *raw + raw->len;
    return true;
}

void watch_table_feed(struct watch_table *table, struct adit_view in)
{
    struct inotify_event raw;
    char name[NAME_MAX + 1];

    while (next_raw(&in, &raw, name)) {
        if (raw.mask & IN_Q_OVERFLOW)
            overflow(table);
        struct watch_wd *w = wd_get(table, raw.wd);
        struct adit_list *head = w ? &w->dirs : NULL, *it = w ? head->next : NULL, *next;
        for (; it != head; it = next) {
            struct watch_dir *d = ADIT_CONTAINER_OF(it, struct watch_dir, twins);
            struct watch_tree *t = d->tree;
            next = it->next; /* of another tree: this one's event leaves it alone */
            handle(d, &raw, name);
            settle(t);
        }
    }
}

/* ---- life ---- */

void watch_table_init(struct watch_table *t, struct watch_os *os)
{
    t->os = os;
    adit_map_init(&t->by_wd);
    adit_map_init(&t->by_name);
    adit_list_init(&t->trees);
}

void watch_table_fini(struct watch_table *t)
{
    adit_map_fini(&t->by_wd);
    adit_map_fini(&t->by_name);
}

/* @path without the slashes at its end; "" is the root of the file system. */
static char *root_path(const char *path)
{
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        len--;
    return adit_view_dup(adit_view_mem(path, len));
}

int watch_tree_open(struct watch_tree *t, struct watch_table *table,
                    const struct watch_tree_conf *conf, const char *path, struct adit_err *err)
{
    memset(t, 0, sizeof *t);
    t->table = table;
    t->conf = *conf;
    adit_list_init(&t->moving);
    adit_list_init(&t->opening);
    adit_list_init(&t->scans);
    adit_list_init(&t->events);
    adit_list_init(&t->node);
    t->path = root_path(path);
    int wd = t->path ? table->os->add(table->os, path, true) : -ENOMEM;
    if (wd < 0)
        fail_add(t, -wd, path);
    else
        t->root = dir_new(t, wd, NULL, NULL);
    if (t->root && conf->is_recursive)
        adit_list_push(&t->opening, &t->root->scan);
    adit_list_push(&table->trees, &t->node);
    int rc = t->err.code;
    if (rc) {
        *err = t->err;
        watch_tree_close(t);
    }
    return rc;
}

int watch_tree_step(struct watch_tree *t, bool *is_whole, struct adit_err *err)
{
    scan(t, &t->opening, WATCH_TREE_STEP);
    settle(t);
    *is_whole = adit_list_empty(&t->opening);
    if (t->err.code)
        *err = t->err;
    return t->err.code;
}

void watch_tree_close(struct watch_tree *t)
{
    if (!t->table)
        return;
    if (t->root)
        drop(t->root);
    free_events(t);
    adit_list_remove(&t->node);
    free(t->path);
    t->path = NULL;
    t->table = NULL;
}
