/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandboxes of this host: made, ended, found, and found again after a restart.
 *
 * All functions belong to the control loop. A struct sandbox given out is valid until the caller
 * returns to the loop; hold an id instead.
 */
#ifndef BROKER_NODE_NODE_H
#define BROKER_NODE_NODE_H

#include "broker/edge/edge.h"
#include "broker/node/admission.h"
#include "broker/node/journal.h"
#include "broker/node/record.h"
#include "broker/node/sample_file.h"
#include "broker/node/sampler.h"
#include "broker/tokens.h"
#include "broker/vmm/vmm_set.h"

/* Nobody waits longer for an end than this; it goes on without them. */
#define NODE_END_WAIT_MS 30000
#define NODE_DESTROY_RETRY_MS 1000
/* A folder that cannot be removed is left to the next start of the broker after so many attempts;
 * who asked for the end is answered then, within NODE_END_WAIT_MS. */
#define NODE_REMOVALS_MAX 20

struct egress_sandbox;
struct node;
struct sandbox;

typedef void (*node_done_fn)(void *user, const struct adit_err *err);
/* Exactly one of @s and @err is not NULL. */
typedef void (*node_created_fn)(void *user, struct sandbox *s, const struct adit_err *err);

/* What the node tells others. "done" is called exactly once, never before the function returns, and
 * not at all after an error. */
struct node_ops {
    int (*publish)(void *owner, const struct edge_route *route, struct adit_err *err);
    int (*republish)(void *owner, const struct edge_route *route, void (*done)(void *user),
                     void *user, struct adit_err *err);
    int (*withdraw)(void *owner, const char *sandbox_id, void (*done)(void *user), void *user,
                    struct adit_err *err);
    /* @done may be NULL. */
    int (*confirm)(void *owner, const char *sandbox_id, node_done_fn done, void *user,
                   struct adit_err *err);
    int (*release)(void *owner, const char *sandbox_id, const char *reason, node_done_fn done,
                   void *user, struct adit_err *err);
    /* What gets out of a sandbox, by these network options (NULL: none). *out may become NULL. */
    int (*open_egress)(void *owner, const struct record *r, const json_t *network, bool is_offline,
                       struct egress_sandbox **out, struct adit_err *err);
    int (*update_egress)(void *owner, struct egress_sandbox *e, const struct record *r,
                         const json_t *network, bool is_offline, struct adit_err *err);
    void (*close_egress)(void *owner, struct egress_sandbox *e);
    /* One of the pool waits now, runs for who claimed it, or is over. May be NULL. */
    void (*warm_changed)(void *owner, const struct sandbox *s);
};

/* @creating, @running, @ending: now; the rest only grows. */
struct node_stats {
    uint64_t creating, running, ending;
    uint64_t creates_ok, creates_failed, creates_refused, ends_killed, ends_failed;
};

struct node_conf {
    struct net_loop *loop;
    const char *state_dir;      /* absolute; "sandboxes" is made below it */
    const char *boot_id;        /* of the host, or "": then records count by the wall clock */
    const struct vmm_set *vmms; /* borrowed */
    const struct tokens *tokens;
    const struct node_ops *ops;
    void *owner;
    struct admission admission;
    uint64_t create_ms, ready_ms; /* a whole create; envd's part of it; a kernel's boot is more */
    uint32_t pids_max;
    uint64_t log_retention_ms, log_bytes_max; /* of logs of sandboxes */
};

/* Everything is copied. @isolation: "" for what the host takes by itself. @key_id: that made it, or
 * "". @session_id, @session_type: NULL for a sandbox that is no session's. @env_vars may be NULL.
 */
struct node_create {
    const char *isolation, *sandbox_id, *team_id, *key_id;
    const char *template_id, *alias, *template_dir, *default_user, *default_workdir;
    uint32_t cpu_count;
    uint64_t memory_mb, disk_mb, timeout_ms;
    bool secure, is_private;
    enum record_internet internet;
    const char *mask_host, *session_id, *session_type;
    json_t *metadata, *network, *env_vars;
};

/* @conf is copied; what it points to stays. Errors: IO…, NO_MEMORY. */
ADIT_MUST_CHECK int node_new(const struct node_conf *conf, struct node **out, struct adit_err *err);
/*
 * Take up what an earlier broker left: running sandboxes are published again, expired and half-made
 * ones ended. A record that cannot be read is logged and left alone. Reads the disk: before the
 * loop runs.
 */
void node_adopt(struct node *n);
/* End every sandbox, of all teams. */
void node_end_all(struct node *n, const char *reason);
/* Begin nothing any more. Sandboxes stay as they are. */
void node_stop(struct node *n);
/* After the loop has ended. */
void node_free(struct node *n);

/* Errors (then no callback): UNAVAILABLE (admission, isolation), EXISTS, LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int node_create(struct node *n, const struct node_create *spec,
                                node_created_fn on_done, void *user, struct adit_err *err);
/* A running sandbox of that team, or NULL: not there and not yours are the same. */
struct sandbox *node_find(const struct node *n, const char *team_id, const char *sandbox_id);
/* The team of a running sandbox, or NULL. For the operator's requests only. */
const char *node_owner(const struct node *n, const char *sandbox_id);
/* Is there one of that id in any state, of any team: being made, running, being ended? */
bool node_has(const struct node *n, const char *sandbox_id);
/* Running sandboxes of a team: start with *pos = 0; NULL at the end. */
struct sandbox *node_next(const struct node *n, const char *team_id, size_t *pos);
/* The same with those that are being created. */
struct sandbox *node_next_living(const struct node *n, const char *team_id, size_t *pos);
/* All that hold resources, of all teams, for the scheduler. */
struct sandbox *node_next_any(const struct node *n, size_t *pos);
/* End a sandbox that runs or is being created (NODE_END_WAIT_MS at most). It is not found from now
 * on; @on_done: it is dead. Who waits for its creation is told that it failed. */
void node_kill(struct sandbox *s, const char *reason, node_done_fn on_done, void *user);
/* Let it end @from_now_ms from now; @on_done: that is on record. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int node_set_timeout(struct sandbox *s, uint64_t from_now_ms, node_done_fn on_done,
                                     void *user);
/* A session's sandbox is used now: note it, and let it end @from_now_ms from now. It is on record a
 * moment later. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int node_use_session(struct sandbox *s, uint64_t from_now_ms);
/* Keep other network options; @on_done: they are on record. With the first rules for headers the
 * guest is told whom to trust before. Errors: CONFLICT (that is being done), IO, LIMIT, NO_MEMORY.
 */
ADIT_MUST_CHECK int node_set_network(struct sandbox *s, json_t *network,
                                     enum record_internet internet, node_done_fn on_done,
                                     void *user, struct adit_err *err);
/* Other tokens for a secured sandbox; when @on_done comes, the old ones are good for nothing and
 * what was opened with them is closed. Errors: PRECONDITION (it has none), CONFLICT (it is being
 * done), LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int node_rotate_tokens(struct sandbox *s, node_done_fn on_done, void *user,
                                       struct adit_err *err);
/* The driver says it ended by itself. */
void node_exited(struct node *n, const char *sandbox_id, const char *reason);

/* Its measurements; see sample_file_read(). */
ADIT_MUST_CHECK int node_read_samples(const struct sandbox *s, int64_t start_ms, int64_t end_ms,
                                      sample_file_read_fn on_done, void *user);
/* The newest, or NULL. */
const struct sample *node_last_sample(const struct sandbox *s);
/* Its way out, or NULL while it has none. */
const struct egress_sandbox *node_egress(const struct sandbox *s);
struct journal *node_journal(const struct node *n);
const struct sampler_stats *node_sampling(const struct node *n);
/* Counters, and how many there are now. */
struct node_stats node_stats(const struct node *n);

const struct record *node_record(const struct sandbox *s);
/* Until its end, by the monotonic clock; 0 when that has passed. */
uint64_t node_remaining_ms(const struct sandbox *s);
/* Since it was started. */
uint64_t node_age_ms(const struct sandbox *s);
/* The part of @ms, from now, that a life of at most @max_ms has room for. */
uint64_t node_within_life_ms(const struct sandbox *s, uint64_t ms, uint64_t max_ms);
const struct admission *node_admission(const struct node *n);
/* What keeps it apart: "container", "gvisor", "vm". */
const char *node_isolation(const struct sandbox *s);
const struct vmm_set *node_vmms(const struct node *n);

#endif
