/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What http_pool.c (connections) and http_call.c (requests and replies) share.
 */
#ifndef ADIT_NET_HTTP_CLIENT_INT_H
#define ADIT_NET_HTTP_CLIENT_INT_H

#include "net/http_client.h"

/* @refs: 1 for the owner, 1 for each connection's memory */
struct http_pool {
    struct net_loop *loop; /* borrowed */
    struct http_pool_conf conf;
    struct adit_list idle, running; /* of struct http_link */
    size_t link_cnt, idle_cnt, refs;
    bool is_closed;
};

/*
 * One connection of a pool.
 *
 * @dial:     while it is being opened
 * @stream:   once it stands
 * @call:     who uses it; NULL while idle
 * @held:     bytes of the reply that came while the call was paused; then reading is off
 * @is_kept:  it served a call before
 * @got_byte: something of the present reply came
 * @is_dead:  closed; freed when nothing runs in it (@busy)
 */
struct http_link {
    struct adit_list node;
    struct http_pool *pool; /* owned by reference */
    struct dial *dial;
    struct net_stream *stream;
    struct http_parser *parser;
    struct http_call *call; /* borrowed */
    struct net_deadline deadline;
    struct adit_buf held;
    unsigned busy;
    bool is_kept, got_byte, is_dead;
};

/* Take an idle connection or dial a new one for @c; @fresh: dial in any case. */
ADIT_MUST_CHECK int http_pool_take(struct http_pool *p, struct http_call *c, bool fresh,
                                   struct http_link **out, struct adit_err *err);
/* The call is over in order: keep the connection if the pool wants it. */
void http_pool_give(struct http_link *l);
/* Close a connection; its call hears nothing. */
void http_pool_drop(struct http_link *l);
/* Fence a connection against being freed. */
void http_pool_enter(struct http_link *l);
void http_pool_leave(struct http_link *l);

/* The connection stands (@already: bytes nobody asked for), or it could not be opened. */
void http_call_connected(struct http_call *c);
void http_call_failed(struct http_call *c, const struct adit_err *err);
/* Bytes of the reply; the peer's end; the send queue is low. */
void http_call_read(struct http_call *c, struct adit_view bytes);
void http_call_peer_ended(struct http_call *c, const struct adit_err *err);
void http_call_drained(struct http_call *c);

#endif
