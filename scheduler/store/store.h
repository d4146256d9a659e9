/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scheduler asks of the place where its records are kept.
 *
 * Theory of operation
 *
 * A store is an ordered map from (table, id) to the bytes of a record; the scheduler works on a
 * copy in memory. The copy is made of nothing but changes that the store told of: all records once,
 * while it is opened, and then every write when it is committed, in order. So what is in the copy
 * is on disk, and what failed to be written never was in it.
 *
 * A write is a list of changes that are made all or none. Its callback comes on the loop, after the
 * changes were applied to the copy, or with the error and nothing changed.
 */
#ifndef SCHEDULER_STORE_STORE_H
#define SCHEDULER_STORE_STORE_H

#include "base/view.h"

#define STORE_ID_MAX 128
#define STORE_VALUE_MAX (512u * 1024)
/* Writes that nobody was answered yet, and their bytes; beyond it: ADIT_ERR_LIMIT. */
#define STORE_WRITES_MAX 4096
#define STORE_BYTES_MAX (64u * 1024 * 1024)

/* Told in this order while a store is opened. Numbers are on disk: never change one. */
enum store_table {
    STORE_TEAM = 1,
    STORE_KEY = 2,
    STORE_TEMPLATE = 3,
    STORE_NODE = 4,
    STORE_SANDBOX = 5,
};

/* @value.ptr NULL: the record is gone. */
struct store_change {
    enum store_table table;
    struct adit_view id, value;
};

/* The owner's copy takes one change. An error while the store is opened ends that; later it is told
 * to on_broken. */
typedef int (*store_apply_fn)(void *owner, const struct store_change *change, struct adit_err *err);
/* @err NULL: committed. */
typedef void (*store_done_fn)(void *user, const struct adit_err *err);

/*
 * @on_broken: the copy could not take what was committed and is of no use any more
 */
struct store_owner {
    void *owner;
    store_apply_fn apply;
    void (*on_broken)(void *owner, const struct adit_err *err);
};

struct store;

struct store_ops {
    int (*write)(struct store *s, const struct store_change *changes, size_t cnt,
                 store_done_fn on_done, void *user, struct adit_err *err);
    void (*close)(struct store *s);
};

/* Upper bounds of the times that writes took, in seconds; the last bucket has none. */
#define STORE_BUCKET_CNT 8
extern const double store_bounds[STORE_BUCKET_CNT - 1];

/* @pending: now; @buckets: not cumulative. */
struct store_stats {
    uint64_t committed, failed, pending;
    uint64_t buckets[STORE_BUCKET_CNT], sum_ns;
};

/* Embedded as first member by what implements it. */
struct store {
    const struct store_ops *ops;
    struct store_stats stats;
};

/*
 * Changes are copied. Never calls back before it returns. Errors (then no callback comes): LIMIT,
 * BAD_INPUT (id or value too long), NO_MEMORY, UNAVAILABLE (closed). To the callback: NO_SPACE, IO,
 * NO_MEMORY.
 */
ADIT_MUST_CHECK static inline int store_write(struct store *s, const struct store_change *changes,
                                              size_t cnt, store_done_fn on_done, void *user,
                                              struct adit_err *err)
{
    return s->ops->write(s, changes, cnt, on_done, user, err);
}

/* What was given to write is still written and answered; frees itself, the loop must run until
 * then. */
static inline void store_close(struct store *s)
{
    s->ops->close(s);
}

#endif
