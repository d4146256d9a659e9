/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the edge: its context, a relay loop, and a table entry. */
#ifndef BROKER_EDGE_EDGE_INT_H
#define BROKER_EDGE_EDGE_INT_H

#include <stdatomic.h>

#include "base/map.h"
#include "broker/edge/edge.h"
#include "broker/edge/edge_mail.h"
#include "broker/edge/edge_request_id.h"
#include "broker/edge/edge_signed.h"
#include "net/http_server.h"
#include "net/listener.h"

/* Ports of one sandbox in use at once on one loop. */
#define EDGE_POOLS_MAX 64

struct edge_loop;

struct edge_pool {
    uint16_t port; /* as the client names it; 0: free */
    uint64_t used; /* counter of the loop at the last use */
    struct http_pool *pool;
};

/*
 * What all loops together do for one sandbox. Shared: the one thing that relay threads write
 * together.
 *
 * @refs:   tables and requests that hold it; the last one frees it
 * @active: requests that run now
 */
struct edge_usage {
    atomic_uint refs;
    atomic_uint active;
};

/* One sandbox in one loop's table. owned by: edge_loop.table, or edge_loop.unplaced */
struct edge_entry {
    struct adit_list node; /* while unplaced */
    struct edge_route route;
    struct edge_usage *usage; /* one reference */
    struct edge_pool pools[EDGE_POOLS_MAX];
};

/* The ordinary one, and one for each port of the debug sandbox. */
#define EDGE_DOORS_MAX 3

/* What a connection is for, by its listener. */
struct edge_door {
    struct edge_loop *loop; /* borrowed */
    uint16_t debug_port;    /* 0: the ordinary door */
    struct http_server *http;
};

/*
 * One relay loop and its thread.
 *
 * @debug_id: the sandbox of debug listeners, or ""
 * @table:    sandbox id → struct edge_entry
 * @unplaced: entries that the table had no memory for
 * @tls:      of the connections to come; one reference, or NULL
 * @stop_read: until then requests are read at a stop
 * @uses:     counts look-ups, to find the pool used longest ago
 * @listeners: NULL once they are closed, as a door's server is once it has drained
 * @api_bytes: that the heads and bodies of control API requests of this loop hold; the control loop
 *            gives back what it needs no more
 * @head_buf: scratch for the request head being written
 * @path_buf: scratch for cleaned paths
 * @page_buf: scratch for our own answers
 */
struct edge_loop {
    struct edge *edge; /* borrowed; only its conf is read on this thread */
    uv_thread_t thread;
    uv_loop_t uv;
    struct net_loop net;
    struct edge_mailbox inbox;
    struct edge_mail stop; /* ends the thread, and says that it has ended */
    struct edge_door doors[EDGE_DOORS_MAX];
    size_t door_cnt;  /* opened */
    size_t drain_cnt; /* not drained yet */
    struct net_deadline stop_read;
    char debug_id[EDGE_ID_CAP];
    struct tls_context *tls;
    struct listener *listeners[EDGE_LISTENERS_MAX];
    struct adit_map table;
    struct adit_list unplaced;
    uint64_t uses;
    struct edge_stats stats;
    struct edge_request_id_source ids;
    atomic_size_t api_bytes;
    struct edge_signed signatures;
    struct adit_buf head_buf, path_buf, page_buf;
};

/* owned by: the broker. Touched on the control thread only, except @conf (constant). */
struct edge {
    struct edge_conf conf;
    struct edge_mailbox inbox;
    struct edge_loop *loops;
    size_t running_cnt;                          /* loops whose thread has not ended */
    size_t api_cnt;                              /* API requests not answered yet */
    int fds[EDGE_LOOPS_MAX][EDGE_LISTENERS_MAX]; /* until edge_start() */
    uint16_t ports[EDGE_LISTENERS_MAX];
    bool is_draining;
    void (*on_closed)(void *user); /* NULL: others still use it */
    void *on_closed_user;
};

/* edge_loop.c */
ADIT_MUST_CHECK int edge_loop_open(struct edge_loop *l, struct edge *e, const int *take_fds,
                                   struct adit_err *err);
ADIT_MUST_CHECK int edge_loop_start(struct edge_loop *l, struct adit_err *err);
/* Replaces an older one of that sandbox, and breaks what runs by it. Never fails. */
void edge_loop_put_route(struct edge_loop *l, struct edge_entry *take_entry);
void edge_entry_free(struct edge_entry *entry);
void edge_usage_unref(struct edge_usage *u);
void edge_loop_drop_route(struct edge_loop *l, const char *sandbox_id);
struct edge_entry *edge_loop_find(struct edge_loop *l, struct adit_view sandbox_id);
void edge_loop_stop(struct edge_loop *l);
/* Takes over one reference to @take_tls. */
void edge_loop_set_tls(struct edge_loop *l, struct tls_context *take_tls);
/* The pool for a port of a sandbox, made when needed. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int edge_loop_pool(struct edge_loop *l, struct edge_entry *entry, uint16_t port,
                                   struct http_pool **out, struct adit_err *err);

/* What this loop counted, with its gauges filled in. */
void edge_loop_measure(const struct edge_loop *l, struct edge_stats *out);

/* edge.c: a loop's thread is about to end (on that thread); an API request was answered. */
void edge_loop_stopped(struct edge_loop *l);
void edge_maybe_closed(struct edge *e);

/* edge_proxy.c: a request for a sandbox. */
struct edge_target;
void edge_proxy_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                        const struct edge_target *target);

/* edge_debug.c: a request that came by a debug listener. */
void edge_debug_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                        uint16_t port);

/* edge_api.c: a request for the control API. */
void edge_api_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head);

#endif
