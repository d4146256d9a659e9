/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes that are booted before anybody asks for them.
 *
 * Such a sandbox is nobody's: no look-up finds it, no route leads to it, its guest knows its id and
 * no token. It takes its resources, and is on record. All functions belong to the control loop.
 */
#ifndef BROKER_NODE_NODE_WARM_H
#define BROKER_NODE_NODE_WARM_H

#include "broker/node/node.h"

/* A guest that waited answers a claim within this, or it is of no use. */
#define NODE_WARM_CLAIM_MS 3000

/* A connection to a guest that waits is kept so long; later it is made anew. */
#define NODE_WARM_CHANNEL_MS 600000

/* What a waiting sandbox has to be. */
struct node_warm_kind {
    const char *template_id, *build_id, *isolation;
};

/* @ready: wait; of these @taken: a create has them in hand */
struct node_warm_counts {
    unsigned ready, taken, booting;
};

/* What all of them take, those that are being ended included. @booting: of @cnt */
struct node_warm_sum {
    uint64_t cnt, booting, cpu_cnt, memory_mb, disk_mb;
};

/*
 * Boot one, of @kind. What is read of @spec: sandbox_id, template_id, alias, template_dir,
 * resources; all that is somebody's is empty. node_ops.warm_changed says what became of it.
 * Errors (then nothing is begun): as node_create().
 */
ADIT_MUST_CHECK int node_warm_boot(struct node *n, const struct node_create *spec,
                                   const struct node_warm_kind *kind, struct adit_err *err);
/* Those of a kind; a NULL build: of any. */
struct node_warm_counts node_warm_count(const struct node *n, const struct node_warm_kind *kind);
struct node_warm_sum node_warm_sum(const struct node *n);
/* One after the other that is booted or waits and that nobody has in hand, in no order; NULL at the
 * end. */
struct sandbox *node_warm_next(const struct node *n, size_t *pos);
/* Does it wait? */
bool node_warm_is_ready(const struct sandbox *s);
bool node_warm_is_kind(const struct sandbox *s, const struct node_warm_kind *kind);

/* Take one that waits in hand: nobody else gets it until it is given back. NULL: there is none. */
const char *node_warm_take(struct node *n, const struct node_warm_kind *kind);
/* Nothing was told of it to anybody. One that is gone is no error. */
void node_warm_give_back(struct node *n, const char *sandbox_id);
/* End it, taken or not, unless it was claimed. */
void node_warm_end(struct node *n, const char *sandbox_id, const char *reason);
/*
 * Make one that was taken the sandbox of @spec, as node_create() would have made it; @on_done as
 * there. Errors (then no callback comes, and it is being ended): UNAVAILABLE (it ended meanwhile,
 * or is not what @spec asks for), BAD_INPUT, IO, NO_MEMORY.
 */
ADIT_MUST_CHECK int node_warm_claim(struct node *n, const struct node_create *spec,
                                    node_created_fn on_done, void *user, struct adit_err *err);

#endif
