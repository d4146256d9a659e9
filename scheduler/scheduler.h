/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler: what its parts share, and its life. */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include "net/http_server.h"
#include "net/listener.h"
#include "net/metrics_server.h"
#include "scheduler/keys.h"
#include "scheduler/placement.h"
#include "scheduler/registry.h"
#include "scheduler/scheduler_conf.h"
#include "scheduler/store/store.h"
#include "scheduler/teams.h"
#include "scheduler/templates.h"

#define SCHEDULER_STORE_FILE "scheduler.db"
/* Brokers' connections at once. */
#define SCHEDULER_CONNECTIONS_MAX 4096
/* Heartbeats that may be missing before a node counts as unreachable. */
#define SCHEDULER_HEARTBEATS_MISSED 3
/* How often claims are looked at, and how many are dropped at once. */
#define SCHEDULER_SWEEP_MS 1000
#define SCHEDULER_SWEEP_MAX 256
/* Running calls when the program is told to stop. */
#define SCHEDULER_DRAIN_MS 2000

enum scheduler_state { SCHEDULER_SERVING, SCHEDULER_STOPPING, SCHEDULER_ENDED };

/*
 * @writes:       of calls that wait for the store (service.c)
 * @metrics:      NULL unless it is asked for
 * @is_broken:    the working copy is of no use any more: end, and start anew
 */
struct scheduler {
    const struct scheduler_conf *conf; /* borrowed */
    enum scheduler_state state;
    struct net_loop net;
    struct store *store;
    struct registry registry;
    struct templates templates;
    struct keys keys;
    struct teams teams;
    struct placement_counters counters;
    struct adit_list writes;
    struct http_server *http;
    struct listener *listener;
    struct metrics_server *metrics;
    struct net_deadline sweep;
    bool is_broken;
};

/* Where it may listen. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int scheduler_check_listen(const char *address, struct adit_err *err);
/* Load the records, listen and serve on @uv. @conf stays. Reads the disk: before the loop runs.
 * Errors: those of group_commit_open() and listener_socket(). */
ADIT_MUST_CHECK int scheduler_new(uv_loop_t *uv, const struct scheduler_conf *conf,
                                  struct scheduler **out, struct adit_err *err);
/* End in order: calls that run are answered, what is written is committed, then the loop is
 * empty. Again: no effect. */
void scheduler_stop(struct scheduler *s);
/* After the loop has ended. */
void scheduler_free(struct scheduler *s);

uint64_t scheduler_now_ms(void);

#endif
