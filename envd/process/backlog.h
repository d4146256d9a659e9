/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last output of a process, for readers that come back (reliability promise R7).
 *
 * A position counts the bytes of all outputs of the process in the order in which they were read,
 * from 0 at its start. What is kept are the bytes from @begin to @end.
 */
#ifndef ENVD_BACKLOG_H
#define ENVD_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/view.h"

/* Bytes of memory that one process's output takes, and that of all processes together. */
#define BACKLOG_CAP (1024u * 1024 + 64u * 1024)
#define BACKLOG_ALL_MAX (16u * 1024 * 1024)
/* A block of it; the first ones are smaller, for programs that say little. */
#define BACKLOG_BLOCK_MAX (16u * 1024)
#define BACKLOG_BLOCK_MIN 512u

/* @used: what all backlogs that share the budget hold. */
struct backlog_budget {
    size_t used;
};

struct backlog {
    struct adit_list blocks;
    struct backlog_budget *budget; /* borrowed */
    uint64_t begin, end;
    size_t held;
};

void backlog_init(struct backlog *b, struct backlog_budget *budget);
/* Free what is kept. */
void backlog_clear(struct backlog *b);
/*
 * Add output of @kind (0..255). The oldest goes when there is no room; without memory all of it
 * does, and only the positions go on.
 */
void backlog_put(struct backlog *b, unsigned kind, struct adit_view bytes);
/*
 * What is kept from @at on, begin <= @at < end: @bytes is one piece of one kind, at least one byte,
 * and valid until the next call that changes @b.
 */
void backlog_get(const struct backlog *b, uint64_t at, unsigned *kind, struct adit_view *bytes);

#endif
