/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping the scheduler informed: this node, its sandboxes, its templates. */
#ifndef BROKER_REGISTRATION_H
#define BROKER_REGISTRATION_H

#include "broker/machine.h"
#include "broker/node/node_warm.h"
#include "broker/node/template_dir.h"
#include "broker/scheduler_child.h"
#include "broker/scheduler_client.h"

#define REGISTRATION_RETRY_MIN_MS 50
#define REGISTRATION_RETRY_MAX_MS 1000
#define REGISTRATION_HEARTBEAT_MS 2000 /* until the scheduler says otherwise */
/* An own scheduler that does not answer for so long is started anew. */
#define REGISTRATION_PATIENCE_MS 5000
/* How long requests of a broker that has just started wait for the scheduler. */
#define REGISTRATION_GRACE_MS 3000
#define REGISTRATION_NODE_ID_CAP 64
#define REGISTRATION_WAITERS_MAX 4096

struct registration;

/* Everything is borrowed and outlives the registration. @child may be NULL. */
struct registration_conf {
    struct net_loop *loop;
    struct scheduler_client *client;
    struct scheduler_child *child;
    const struct node *node;
    struct template_dir *templates;
    const struct machine *machine;
    const char *node_id;
    void (*on_online)(void *owner); /* each time the scheduler has taken everything */
    void *owner;
};

/* Begins at once. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int registration_new(const struct registration_conf *conf,
                                     struct registration **out, struct adit_err *err);
void registration_close(struct registration *r);
/* Begin anew: the scheduler's records may differ from ours. */
void registration_renew(struct registration *r);
/* Scan the templates again and tell the scheduler; @on_done when that was done or given up, never
 * before it returns. Return: false (and no callback) when it was done a moment ago. */
bool registration_sync_templates(struct registration *r, void (*on_done)(void *user), void *user);

/* Wait for the first time the scheduler is online, REGISTRATION_GRACE_MS after the start at most.
 * Return: false (and no callback) when that is over. */
bool registration_wait_start(struct registration *r, void (*on_done)(void *user), void *user);

/* Read the node's name from "<state_dir>/node-id", made at the first start. */
ADIT_MUST_CHECK int registration_load_node_id(const char *state_dir,
                                              char out[REGISTRATION_NODE_ID_CAP],
                                              struct adit_err *err);

#endif
