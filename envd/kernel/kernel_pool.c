/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spare kernel.
 *
 * Theory of operation
 *
 * What:   a process of its own, started like any other, when a first cell was run: a sandbox that
 * runs none has none. It is not forked from another kernel, so it shares no thread, no random state
 * and no file offset with one.
 * States: none --fill--> started --READY--> ready --take--> none; from both its end leads to none.
 * Limits: one, of the language marked is_pooled.
 */
#include "envd/kernel/kernel_pool.h"

#include "base/cleanup.h"
#include "base/log.h"

static void on_message(void *owner, const struct kernel_message *m)
{
    struct kernel_pool *p = owner;
    if (m->kind == KERNEL_NEWS_READY)
        p->is_ready = true;
}

static void on_text(void *owner, enum kernel_news kind, struct adit_view bytes)
{
    (void)owner;
    (void)kind;
    (void)bytes; /* no cell has run in it; what an image's own start-up files say is nobody's */
}

static void on_turn(void *owner)
{
    (void)owner; /* nothing was gathered */
}

static void on_end(void *owner, const char *how)
{
    struct kernel_pool *p = owner;
    p->spare = NULL;
    adit_log(ADIT_LOG_WARN, "spare_kernel_ended", LOG_S("how", how));
}

static const struct kernel_process_ops spare_ops = {on_message, on_text, on_turn, on_end};

void kernel_pool_init(struct kernel_pool *p, struct envd *e)
{
    *p = (struct kernel_pool){.envd = e};
}

void kernel_pool_fini(struct kernel_pool *p)
{
    if (p->spare)
        kernel_process_close(adit_steal(&p->spare));
}

void kernel_pool_fill(struct kernel_pool *p, const struct kernel_language *l)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (p->spare || !l->is_pooled)
        return;
    p->is_ready = false;
    if (kernel_process_start(p->envd, l, "/", &p->spare, &err) == ADIT_OK)
        kernel_process_set_owner(p->spare, &spare_ops, p);
    else
        adit_log(ADIT_LOG_WARN, "spare_kernel_unavailable", LOG_ERR(&err));
}

struct kernel_process *kernel_pool_take(struct kernel_pool *p, const struct kernel_language *l,
                                        bool *is_ready)
{
    if (!p->spare || !l->is_pooled)
        return NULL;
    *is_ready = p->is_ready;
    return adit_steal(&p->spare);
}
