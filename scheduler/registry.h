/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and the sandboxes on them: the working copy of what the store holds. */
#ifndef SCHEDULER_REGISTRY_H
#define SCHEDULER_REGISTRY_H

#include "base/list.h"
#include "base/map.h"
#include "scheduler/quota.h"
#include "scheduler.pb-c.h"
#include "scheduler_store.pb-c.h"

#define REGISTRY_NODES_MAX 1024
#define REGISTRY_SANDBOXES_MAX 65536
/* Heartbeats in a row that count other sandboxes than we do, until the node must register again.
 * One is no sign: creates and ends are always under way. */
#define REGISTRY_MISMATCHES_MAX 5

struct registry_amount {
    uint64_t cpu_cnt, memory_mb, disk_mb, sandbox_cnt;
};

/*
 * @info:     as registered, or as the last heartbeat said. owned
 * @heard_ms: when it was heard of last
 * @mismatches: heartbeats in a row that counted other sandboxes than we do
 * @is_drained: an operator lets it drain
 * @used:     by records, claims, and reservations for claims that are on their way to the store
 */
struct registry_node {
    Scheduler__Node *info;
    uint64_t heard_ms;
    unsigned mismatches;
    bool is_drained;
    struct registry_amount used;
    struct adit_list sandboxes;
};

/*
 * @due_ms: an unconfirmed claim is dropped then; 0: confirmed
 */
struct registry_sandbox {
    struct registry_node *node; /* borrowed */
    struct adit_list on_node, in_claims;
    Scheduler__Store__SandboxRecord *record; /* owned */
    uint64_t due_ms;
};

/*
 * @claims: by due_ms
 * @quota: as registry_node.used, by team and key
 */
struct registry {
    struct registry_node *nodes[REGISTRY_NODES_MAX];
    size_t node_cnt, sandbox_cnt;
    struct adit_map node_map, sandbox_map;
    struct adit_list claims;
    struct quota quota;
    uint64_t claim_ttl_ms;
};

void registry_init(struct registry *r, uint64_t claim_ttl_ms);
void registry_fini(struct registry *r);

struct registry_node *registry_find_node(const struct registry *r, const char *node_id);
struct registry_sandbox *registry_find(const struct registry *r, struct adit_view sandbox_id);

/* Changes from the store. The message is taken in any case. Errors: LIMIT, NO_MEMORY, BAD_INPUT (a
 * record without its parts, or on a node that nobody knows). */
ADIT_MUST_CHECK int registry_put_node(struct registry *r, Scheduler__Node *take_info,
                                      uint64_t now_ms, struct adit_err *err);
ADIT_MUST_CHECK int registry_put_sandbox(struct registry *r,
                                         Scheduler__Store__SandboxRecord *take_record,
                                         uint64_t now_ms, struct adit_err *err);
void registry_drop_sandbox(struct registry *r, struct adit_view sandbox_id);

/* What a heartbeat says; nothing of it is stored. Errors: NOT_FOUND (unknown node, another
 * incarnation, or our records have differed for too long), NO_MEMORY. */
ADIT_MUST_CHECK int registry_hear(struct registry *r, const Scheduler__Node *info, uint64_t now_ms,
                                  struct adit_err *err);

/* Count what is about to be claimed, and no longer. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int registry_reserve(struct registry *r, struct registry_node *n,
                                     const Scheduler__RunningSandbox *s);
void registry_unreserve(struct registry *r, struct registry_node *n,
                        const Scheduler__RunningSandbox *s);

/* One of those that the node has booted for creates to come is a team's now; what the node says
 * next counts again. */
void registry_take_warm(struct registry_node *n, const Scheduler__Resources *taken);

/* The claim that is due first if it is due at @now_ms, else NULL. */
struct registry_sandbox *registry_due_claim(const struct registry *r, uint64_t now_ms);
/* Somebody takes care of it now: it is due one claim_ttl later. No effect on confirmed ones. */
void registry_postpone(struct registry *r, struct registry_sandbox *s, uint64_t now_ms);

#endif
