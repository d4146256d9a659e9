/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox and its states. Used by node.c only. */
#ifndef BROKER_NODE_SANDBOX_H
#define BROKER_NODE_SANDBOX_H

#include "base/map.h"
#include "broker/node/console.h"
#include "broker/node/guest.h"
#include "broker/node/journal.h"
#include "broker/node/node.h"
#include "broker/node/node_warm.h"
#include "broker/node/record_file.h"
#include "broker/node/rotation.h"
#include "broker/node/sampler.h"
#include "broker/node/trust.h"

#define SANDBOX_PANIC_CAP 96

/* In this order; see sandbox.c. */
enum sandbox_phase {
    SANDBOX_PHASE_SAVING_CREATING,
    SANDBOX_PHASE_STARTING,
    SANDBOX_PHASE_WARMING, /* this one to CLAIMING: of the pool only */
    SANDBOX_PHASE_SAVING_WARM,
    SANDBOX_PHASE_WARM,
    SANDBOX_PHASE_CLAIMING,
    SANDBOX_PHASE_WAKING,
    SANDBOX_PHASE_SAVING_RUNNING,
    SANDBOX_PHASE_RUNNING,
    SANDBOX_PHASE_SAVING_END,
    SANDBOX_PHASE_WITHDRAWING,
    SANDBOX_PHASE_DESTROYING,
    SANDBOX_PHASE_REMOVING,
    SANDBOX_PHASE_RELEASING,
};

/* What clients may change of a running sandbox: its end, by both clocks, and its network rules.
 * @network: owned, or NULL */
struct sandbox_options {
    int64_t end_ns;
    uint64_t end_mono_ns;
    enum record_internet internet;
    json_t *network;
};

/*
 * owned by: node.sandboxes, until the last phase is done
 *
 * @is_pooled:    booted before anybody asked for it; @is_taken: a create has it in hand and will
 *                claim it
 * @mark_cnt:     notes on their way to its record that it is taken
 * @channel:      to the guest of one that waits; NULL otherwise
 * @pending:      things the phase still waits for
 * @is_ending:    the end was asked for (@end_state, @end_reason); begins when nothing is pending
 * @timeout_ms:   as asked for at creation, counted from the moment it runs
 * @end_mono_ns:  when it is to end
 * @end:          that moment as a deadline; in the ending phases the wait before a retry
 * @settled:      as on disk; @save_cnt: saves under way
 * @removals:     attempts to remove its folder
 * @answer:       how long @created or @ended may wait
 * @env_vars, @template_dir, @default_user, @default_workdir: until it runs (owned)
 * @why:          what failed its creation
 * @log, @console, @egress: NULL when there is none
 * @panic:        what its kernel said of its end; ""
 */
struct sandbox {
    struct record record;
    struct node *node; /* borrowed */
    struct vmm *vmm;   /* borrowed; what it runs in */
    enum sandbox_phase phase;
    bool is_pooled, is_taken;
    unsigned mark_cnt;
    unsigned pending, removals;
    bool is_ending;
    enum sandbox_state end_state;
    char end_reason[RECORD_REASON_CAP];
    uint64_t timeout_ms;
    uint64_t started_mono_ns, end_mono_ns;
    struct net_deadline end, answer;
    struct record_file file;
    struct sandbox_options settled;
    size_t save_cnt;
    struct guest *guest;
    struct http_pool *channel;
    struct rotation rotation;
    struct trust trust;
    struct sampler sampler;
    struct journal_log *log;
    struct console *console;
    char panic[SANDBOX_PANIC_CAP];
    struct egress_sandbox *egress;
    json_t *env_vars;
    char *template_dir, *default_user, *default_workdir;
    struct adit_err why;
    node_created_fn created;
    void *created_user;
    node_done_fn ended;
    void *ended_user;
};

/* Shared by all sandboxes of a node. owned by: the broker */
struct node {
    struct node_conf conf;
    char *sandboxes_dir;
    int sandboxes_fd;
    char boot_id[RECORD_BOOT_ID_CAP]; /* of the host; empty when it is not told */
    struct adit_map sandboxes;        /* id → struct sandbox */
    struct journal *journal;
    struct sampler_stats sampling;
    struct node_stats stats;
    bool is_stopping;
};

/* An empty sandbox with that id, in no table. Return: NULL without memory. */
struct sandbox *sandbox_new(struct node *n, const char *sandbox_id);
/* No job, guest or deadline may be left. */
void sandbox_free(struct sandbox *s);
/* Begin the first phase. Errors: LIMIT, NO_MEMORY; then it is still the caller's. */
ADIT_MUST_CHECK int sandbox_begin(struct sandbox *s, struct adit_err *err);
/* Put on record that one that waits is taken, or is not: a next broker may hand out only what no
 * create had in hand. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int sandbox_mark_taken(struct sandbox *s, bool is_taken);
/* Go on with one that is taken, whose record says now whose it is. */
void sandbox_begin_claim(struct sandbox *s);
/* Is it nobody's? */
bool sandbox_is_unclaimed(const struct sandbox *s);
/* Stop measuring and listening; for the last time. */
void sandbox_stop_watching(struct sandbox *s);
/* It waits already, booted by an earlier broker. */
void sandbox_resume_warm(struct sandbox *s);
/* It runs already. Errors: the route could not be published. */
ADIT_MUST_CHECK int sandbox_resume_running(struct sandbox *s, struct adit_err *err);
/* Ask for the end, from any phase; asked for twice, the first counts. */
void sandbox_end(struct sandbox *s, enum sandbox_state state, const char *reason);
/* Save the record as it stands; @is_lazy as in record_file_save(). What cannot be saved of a
 * running sandbox's options is taken back before @on_done hears of it. Errors: LIMIT, NO_MEMORY;
 * then nothing is taken back. */
ADIT_MUST_CHECK int sandbox_save(struct sandbox *s, bool is_lazy, record_file_fn on_done,
                                 void *user);
/* The same for one that waits to be claimed from now on; see record_file.h. */
ADIT_MUST_CHECK int sandbox_save_warm(struct sandbox *s, record_file_fn on_done, void *user);
/* Its folder. */
void sandbox_path(const struct sandbox *s, char out[], size_t cap);
/* sandbox_console.c: give its console to its log. */
void sandbox_watch_console(struct sandbox *s);
/* It ended by itself: what it said last comes before that. @reason: the driver's */
void sandbox_exited(struct sandbox *s, const char *reason);
/* sandbox_egress.c: what gets out of it, by the options on disk. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int sandbox_open_egress(struct sandbox *s, struct adit_err *err);
void sandbox_update_egress(struct sandbox *s);
void sandbox_close_egress(struct sandbox *s);
/* The options are those on disk. */
void sandbox_settle(struct sandbox *s);
/* envd's token; empty for an open sandbox. */
void sandbox_envd_token(const struct sandbox *s, char out[TOKENS_CAP]);
/* The record's tokens have changed: our own calls of envd carry the new one. */
void sandbox_use_tokens(struct sandbox *s);
/* The same for all relay loops; streams that run are broken. @on_done gets the sandbox. Errors:
 * NO_MEMORY. */
ADIT_MUST_CHECK int sandbox_republish(struct sandbox *s, void (*on_done)(void *user),
                                      struct adit_err *err);
/* (Re-)arm the end @ms from now, and put it into the record. */
void sandbox_set_end(struct sandbox *s, uint64_t ms);
/* Take over what a create asks for; the record is not saved. Errors: BAD_INPUT, IO, NO_MEMORY. */
ADIT_MUST_CHECK int node_describe_sandbox(struct sandbox *s, const struct node_create *spec,
                                          struct adit_err *err);
/* Enter the table, take resources and begin. Errors: UNAVAILABLE, EXISTS, LIMIT, NO_MEMORY; then it
 * is still the caller's. */
ADIT_MUST_CHECK int node_admit_sandbox(struct sandbox *s, struct adit_err *err);
struct admission_ask sandbox_ask(const struct sandbox *s);
/* One of the pool has come to wait, was claimed, or is over; others may be told too. */
void node_warm_changed(struct sandbox *s);
/* The last phase is over: node.c forgets and frees it. */
void node_on_sandbox_over(struct sandbox *s);

#endif
