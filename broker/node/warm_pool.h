/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The warm pool: sandboxes that are booted before anybody asks for them.
 *
 * All functions belong to the control loop.
 */
#ifndef BROKER_NODE_WARM_POOL_H
#define BROKER_NODE_WARM_POOL_H

#include "broker/node/node_warm.h"
#include "broker/node/template_dir.h"
#include "broker/node/warm_option.h"

/* Between two looks at the templates' files. */
#define WARM_POOL_LOOK_MS 1000
/* A broker that stops waits no longer for the ends of those that waited; the next one finds them.
 */
#define WARM_POOL_DRAIN_MS 30000

struct warm_pool;

/* @option: what --warm says. @rescan: read the templates directory again; warm_pool_start() follows
 * when that was done. Everything is borrowed and outlives the pool. */
struct warm_pool_conf {
    struct net_loop *loop;
    struct node *node;
    const struct template_dir *templates;
    const char *option;
    unsigned booting_max;
    void (*rescan)(void *owner);
    void *owner;
};

/* Of one row of the option. @ref, @isolation: as words; @ready, @booting: now; the rest only grows.
 */
struct warm_pool_figures {
    const char *ref, *isolation;
    unsigned wanted, ready, booting;
    uint64_t claims, misses, boots, failures;
};

/* Errors: BAD_INPUT (the option), NO_MEMORY. */
ADIT_MUST_CHECK int warm_pool_new(const struct warm_pool_conf *conf, struct warm_pool **out,
                                  struct adit_err *err);
/* The templates were read, and the scheduler knows them: boot, and keep what an earlier broker left
 * if it still fits. Also when that was done anew. */
void warm_pool_start(struct warm_pool *p);
/* node_ops.warm_changed. */
void warm_pool_changed(struct warm_pool *p, const struct sandbox *s);
/*
 * Take one of a template in hand, for node_warm_claim(). @isolation: as the create asks for, or "".
 * Return: false when none waits; else @out has its id, and it is to be claimed, given back, or
 * ended.
 */
ADIT_MUST_CHECK bool warm_pool_take(struct warm_pool *p, const char *template_ref,
                                    const char *isolation, char out[SANDBOX_ID_CAP]);
/* The scheduler placed nothing: it waits again. */
void warm_pool_give_back(struct warm_pool *p, const char *sandbox_id);
/* Figures of row @i. Return: false behind the last. */
bool warm_pool_measure(const struct warm_pool *p, size_t i, struct warm_pool_figures *out);
/* End all that wait, and begin no more; @on_done when none is left or WARM_POOL_DRAIN_MS are over,
 * never before it returns. */
void warm_pool_drain(struct warm_pool *p, void (*on_done)(void *user), void *user);
/* Do nothing any more; what waits is left to the next broker. Idempotent. */
void warm_pool_close(struct warm_pool *p);
void warm_pool_free(struct warm_pool *p);

#endif
