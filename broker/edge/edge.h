/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public door: listeners, routing and the data plane, on as many relay loops as configured.
 *
 * Theory of operation
 *
 * Each relay loop is a thread with its own listeners (SO_REUSEPORT), connections, channel pools and
 * its own copy of the route table; the data path takes no lock. The control loop publishes routes
 * and withdraws them by messages; requests for the control API travel the other way as whole
 * messages (head and bounded body) and are answered by message. A request whose route is missing
 * makes the loop read its mailbox before it says "not found", so a sandbox is reachable on every
 * loop once its create was answered.
 *
 * Threads: all functions below are called on the control loop's thread, and on_api is called there;
 * what is of a relay loop says so.
 */
#ifndef BROKER_EDGE_EDGE_H
#define BROKER_EDGE_EDGE_H

#include <uv.h>

#include "broker/edge/edge_stats.h"
#include "net/http_client.h"
#include "net/http_msg.h"
#include "net/tls.h"

#define EDGE_ID_CAP 64
#define EDGE_TOKEN_CAP 256
#define EDGE_API_BODY_MAX (1024u * 1024)
/* Requests of the control API, head and body, up to the first size are always taken; beyond it all
 * that a loop gathers may hold the second together. They come before any key was looked at. */
#define EDGE_API_SMALL (16u * 1024)
#define EDGE_API_HELD_MAX (16u * 1024 * 1024)
/* HTTP/2 streams of one kind of listener, each loop, above which connections get but few. */
#define EDGE_STREAMS_BUSY 16384
/* At a stop, who has connected already may still say what it wants. */
#define EDGE_STOP_READ_MS 100
#define EDGE_LOOPS_MAX 64
#define EDGE_LISTENERS_MAX 16

struct edge;
struct edge_api_request;
struct http_exchange;

/* How to reach one sandbox on this host. Copied when published. */
struct edge_route {
    char sandbox_id[EDGE_ID_CAP];
    struct http_target target;          /* port is filled in per request */
    bool is_private;                    /* user ports need the traffic token */
    char traffic_token[EDGE_TOKEN_CAP]; /* if is_private */
    char envd_token[EDGE_TOKEN_CAP];    /* if secured: only to find it by */
    char mask_host[256];                /* network.maskRequestHost, or empty */
};

struct edge_conf {
    uv_loop_t *control;
    /* listener_socket() addresses; with "tls:" before it: with TLS */
    const char *listen[EDGE_LISTENERS_MAX];
    /* 0, or: whatever is asked there is for that port of the debug sandbox */
    uint16_t debug_ports[EDGE_LISTENERS_MAX];
    size_t listen_cnt;
    struct tls_context *tls; /* borrowed by edge_open(); NULL without a TLS listener */
    size_t loops;
    const char *domain;     /* "<port>-<id>.<domain>"; also "api.<domain>" */
    size_t connections_max; /* of all loops together */
    size_t channels_per_sandbox;
    uint64_t header_ms, body_ms, client_idle_ms, guest_idle_ms, dial_ms, drain_ms;
    void (*on_api)(void *owner,
                   struct edge_api_request *r); /* must answer exactly once, any time */
    /* A client of the session API left before its answer, which is still awaited. @r is to be
     * compared, not followed: it may have been answered. NULL is fine. */
    void (*on_api_gone)(void *owner, const struct edge_api_request *r);
    void *owner;
};

/* Opens the listening sockets, so that privileges can be dropped after it. @conf->control need not
 * be a loop yet. */
ADIT_MUST_CHECK int edge_open(const struct edge_conf *conf, struct edge **out,
                              struct adit_err *err);
/* Starts the threads. On failure the program must end. */
ADIT_MUST_CHECK int edge_start(struct edge *e, struct adit_err *err);
/* The bound TCP port of listener @i. */
uint16_t edge_port(const struct edge *e, size_t i);

/* Does that listener address ask for TLS? */
bool edge_is_tls(const char *listen);
/* The certificate of connections that are accepted from now on. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int edge_set_tls(struct edge *e, struct tls_context *tls, struct adit_err *err);

/* The published sandbox that debug listeners lead to, "": none now. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int edge_set_debug_sandbox(struct edge *e, const char *sandbox_id,
                                           struct adit_err *err);

/* Make a sandbox reachable on all loops (replaces an older route of that id). Errors: NO_MEMORY. */
ADIT_MUST_CHECK int edge_publish(struct edge *e, const struct edge_route *route,
                                 struct adit_err *err);
/* As edge_publish(), for a sandbox that is reachable already: what runs is broken, and when every
 * loop uses the new route, on_done is called. */
ADIT_MUST_CHECK int edge_republish(struct edge *e, const struct edge_route *route,
                                   void (*on_done)(void *user), void *user, struct adit_err *err);
/* Forget it: afterwards every loop answers "not found" and its open connections were reset; then
 * on_done is called. Errors: NO_MEMORY; nothing is forgotten then, and on_done not called. */
ADIT_MUST_CHECK int edge_withdraw(struct edge *e, const char *sandbox_id,
                                  void (*on_done)(void *user), void *user, struct adit_err *err);

/*
 * What all loops counted together, and how many requests run now to each sandbox. Loops that have
 * ended are left out. @sum, @uses: valid inside only. Errors: NO_MEMORY; then no callback comes.
 */
struct edge_use {
    char sandbox_id[EDGE_ID_CAP];
    unsigned active;
};
typedef void (*edge_collect_fn)(void *user, const struct edge_stats *sum,
                                const struct edge_use *uses, size_t use_cnt);
ADIT_MUST_CHECK int edge_collect(struct edge *e, edge_collect_fn on_done, void *user);

/* Stop accepting, read what was asked already (EDGE_STOP_READ_MS), let running requests finish
 * (drain_ms), stop the threads. Everything else may be called on, until edge_close(). Idempotent.
 */
void edge_drain(struct edge *e);
/* Drain it if that has not begun; when the threads have ended, on_closed, never before it returns;
 * frees. Nothing else of it may be called any more. */
void edge_close(struct edge *e, void (*on_closed)(void *user), void *user);

/* ---- API requests (views are valid until the request is answered) ---- */

/* Is this path, or target, of the session API, whose errors have a form of their own? */
bool edge_api_is_session(struct adit_view path);
enum http_method edge_api_method(const struct edge_api_request *r);
struct adit_view edge_api_method_text(const struct edge_api_request *r);
/* Still encoded. */
struct adit_view edge_api_path(const struct edge_api_request *r);
struct adit_view edge_api_query(const struct edge_api_request *r);
/* First header of that name; NULL ptr when absent. */
struct adit_view edge_api_header(const struct edge_api_request *r, const char *name);
struct adit_view edge_api_body(const struct edge_api_request *r);
/* For a request that waits long: its body is of no use any more, and gives room to that of others.
 */
void edge_api_drop_body(struct edge_api_request *r);
/* The address it came from ("127.0.0.1", "unix"), and whether with TLS. */
const char *edge_api_peer(const struct edge_api_request *r);
bool edge_api_is_encrypted(const struct edge_api_request *r);
/* The request's id: the client's, or our own. */
const char *edge_api_id(const struct edge_api_request *r);
/* A header of the answer, before edge_api_reply(). Errors: as http_write_header. */
ADIT_MUST_CHECK int edge_api_set_header(struct edge_api_request *r, const char *name,
                                        struct adit_view value);
/* Answer and free. CORS headers are added by the edge. An empty body is sent without Content-Type,
 * any other as application/json; charset=utf-8. */
void edge_api_reply(struct edge_api_request *r, unsigned status, struct adit_view body);
/* An answer with a body of @len bytes will not fail for want of memory here. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int edge_api_reserve(struct edge_api_request *r, size_t len);

/*
 * Bodies between client and sandbox never come to the control loop: a request that has them is
 * handed over instead of answered.
 *
 * @begin: on the request's relay loop, with the exchange, whose ops it sets and whose body still
 *         waits (http_exchange_resume), and a pool to the port of the sandbox. It answers, and then
 *         calls edge_transfer_end() once. With @err there is no pool: NOT_FOUND (the sandbox),
 *         LIMIT, NO_MEMORY. Not called for a client that is gone.
 * @over:  on the control loop, exactly once, when nothing of it is left on the relay loop; never
 *         before edge_api_hand_over() returns
 */
struct edge_transfer_ops {
    void (*begin)(void *user, struct edge_api_request *r, struct http_exchange *x,
                  struct http_pool *pool, const struct adit_err *err);
    void (*over)(void *user);
};

/* On the control loop, instead of edge_api_reply(). The views of @r are dead after it. */
void edge_api_hand_over(struct edge_api_request *r, const char *sandbox_id, uint16_t port,
                        const struct edge_transfer_ops *ops, void *user);
/* On the relay loop: the exchange was answered with @status, or is gone (0). */
void edge_transfer_end(struct edge_api_request *r, unsigned status);

#endif
