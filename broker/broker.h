/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's context: what its rooms share.
 *
 * Everything here belongs to the control loop's thread. Owned by main(); lives as long as the
 * program.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "base/limit.h"
#include "broker/admin_token.h"
#include "broker/broker_conf.h"
#include "broker/certificate.h"
#include "broker/edge/edge.h"
#include "broker/egress/egress.h"
#include "broker/key_cache.h"
#include "broker/node/node.h"
#include "broker/node/template_dir.h"
#include "broker/node/warm_pool.h"
#include "broker/registration.h"
#include "broker/scheduler_child.h"
#include "broker/scheduler_client.h"
#include "broker/tokens.h"

struct session_all;

/* Requests that were refused for what they asked for, by kind. @unlogged: strangers' requests
 * without a line of their own. */
struct broker_counters {
    uint64_t unknown_path, unknown_method, unauthenticated, unavailable_feature, unlogged;
};

/*
 * @reach:           what the operator says of where sandboxes may get
 * @certificate:     NULL without a TLS listener
 * @scheduler_child: NULL when a scheduler was given
 * @refusal_log:     bounds the lines that clients can cause
 */
struct broker {
    struct broker_conf conf;
    uv_loop_t uv;
    struct net_loop net;
    char node_id[REGISTRATION_NODE_ID_CAP];
    struct tokens tokens;
    struct key_cache keys;
    struct admin_token admin;
    struct certificate *certificate;
    struct edge *edge;
    struct egress_operator reach;
    struct egress *egress;
    struct node *node;
    struct template_dir *templates;
    struct warm_pool *warm_pool;
    struct scheduler_child *scheduler_child;
    struct scheduler_client *scheduler;
    struct registration *registration;
    struct session_all *sessions;
    struct broker_counters counters;
    struct adit_limit refusal_log;
};

/* How the node reaches the edge and the scheduler; its owner is the struct broker. */
extern const struct node_ops broker_node_ops;
/* Tell the scheduler, without waiting, that a claim is not used. */
void broker_release_claim(struct broker *b, const char *sandbox_id, const char *reason);

#endif
