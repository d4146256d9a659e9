/* SPDX-License-Identifier: Apache-2.0 */
/* A started kernel that waits for a context, so that a new one costs no start of an interpreter. */
#ifndef ENVD_KERNEL_POOL_H
#define ENVD_KERNEL_POOL_H

#include "envd/kernel/kernel_process.h"

/* @spare: owned; NULL while there is none. @is_ready: it has said so. */
struct kernel_pool {
    struct envd *envd; /* borrowed */
    struct kernel_process *spare;
    bool is_ready;
};

void kernel_pool_init(struct kernel_pool *p, struct envd *e);
void kernel_pool_fini(struct kernel_pool *p);
/* Start one if there is none. A failure is logged: the next context starts its own. */
void kernel_pool_fill(struct kernel_pool *p, const struct kernel_language *l);
/*
 * A kernel of that language, if there is one; the caller sets its owner at once and sends it its
 * directory. *is_ready: KERNEL_NEWS_READY has come, and comes no more. Return: NULL for none.
 */
struct kernel_process *kernel_pool_take(struct kernel_pool *p, const struct kernel_language *l,
                                        bool *is_ready);

#endif
