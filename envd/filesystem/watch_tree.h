/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watched directory trees: raw inotify events in, filesystem events out. It reaches the kernel only
 * through struct watch_os, so that it runs without one in tests.
 *
 * One table serves one inotify descriptor and any number of trees. All of it belongs to one thread
 * at a time; its operations may block.
 */
#ifndef ENVD_FILESYSTEM_WATCH_TREE_H
#define ENVD_FILESYSTEM_WATCH_TREE_H

#include "base/list.h"
#include "base/map.h"
#include "envd/filesystem/entry.h"

/* Directories that one tree may watch. */
#define WATCH_TREE_DIRS_MAX 65536
/* Directories that have left their place and are not seen elsewhere yet, for each tree. */
#define WATCH_TREE_MOVING_MAX 16
/* Directories that one step of opening lists. */
#define WATCH_TREE_STEP 512

struct watch_tree;

/* Gets one name of a directory. False: enough. */
typedef bool (*watch_tree_name_fn)(void *arg, const char *name, bool is_dir);

/* Which directory of a tree: its root; one below, that may be on a network mount; one that may not.
 */
enum watch_place { WATCH_ROOT, WATCH_INNER, WATCH_INNER_LOCAL };

/*
 * What the table asks of the system.
 *
 * @add:    watch the directory @path; a symlink is followed only for the root of a tree.
 *          Return: its descriptor, the same for the same directory, or -errno
 * @remove: stop that
 * @list:   tell each name in @path but "." and "..", unless trees do not go there. Return: 0 or
 *          -errno
 * @look:   describe @path, or NULL
 */
struct watch_os {
    int (*add)(struct watch_os *os, const char *path, bool is_root);
    void (*remove)(struct watch_os *os, int wd);
    int (*list)(struct watch_os *os, const char *path, enum watch_place place,
                watch_tree_name_fn on_name, void *arg);
    struct entry *(*look)(struct watch_os *os, const char *path);
};

/*
 * @by_wd:   watch descriptor → struct watch_wd
 * @by_name: (directory, name) → struct watch_dir
 * @room:    as that of a tree, for all of them together
 */
struct watch_table {
    struct watch_os *os; /* borrowed */
    struct adit_map by_wd, by_name;
    struct adit_list trees;
    size_t room;
};

/*
 * One event. Owned by the tree until it is taken.
 *
 * @cost: bytes that it may take in memory or as JSON, whichever is more
 * @name: relative to the root, UTF-8
 */
struct watch_event {
    struct adit_list node;
    Filesystem__EventType type;
    struct entry *entry; /* NULL: none */
    size_t cost;
    char name[];
};

struct watch_tree_conf {
    bool is_recursive, has_entries, allows_network;
};

/*
 * Embedded in its owner.
 *
 * @root:    NULL: nothing is watched (any more)
 * @moving:  directories without a place, the oldest first
 * @opening: to be listed in silence; empty when all is watched
 * @scans:   to be listed with events
 * @events:  made, not yet taken
 * @room:    what the events made from now on may cost; set by the owner
 * @err:     code not 0: the tree has ended, and why; its events are gone
 */
struct watch_tree {
    struct adit_list node;
    struct watch_table *table;
    struct watch_tree_conf conf;
    char *path;
    struct watch_dir *root;
    struct adit_list moving, opening, scans;
    size_t dir_cnt, moving_cnt;
    struct adit_list events;
    size_t room;
    struct adit_err err;
};

void watch_table_init(struct watch_table *t, struct watch_os *os);
/* Every tree is closed before. */
void watch_table_fini(struct watch_table *t);

/*
 * Watch @path; what is below it, if asked, with watch_tree_step() until that says that all is
 * watched. What happens from then on makes events; what was there makes none. On failure nothing is
 * left, of a step but the error.
 * Errors: NOT_FOUND; LIMIT (directories, watches of the kernel: the text names the sysctl);
 * NO_MEMORY; IO.
 */
ADIT_MUST_CHECK int watch_tree_open(struct watch_tree *t, struct watch_table *table,
                                    const struct watch_tree_conf *conf, const char *path,
                                    struct adit_err *err);
ADIT_MUST_CHECK int watch_tree_step(struct watch_tree *t, bool *is_whole, struct adit_err *err);
/* Also frees the events. Idempotent; all zero is closed. */
void watch_tree_close(struct watch_tree *t);

/* Raw events as read from the descriptor. An overflow of the kernel's queue ends every tree. Stops
 * at a record that cannot be one. */
void watch_table_feed(struct watch_table *t, struct adit_view raw);

void watch_event_free(struct watch_event *e);

#endif
