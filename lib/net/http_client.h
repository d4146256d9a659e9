/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 client calls over pooled connections: channels to guests, or plain Unix/TCP sockets.
 *
 * Theory of operation
 *
 * A pool holds the connections to one target (one guest port of one sandbox, or one peer service).
 * A call takes an idle connection or dials one: connect, channel handshake, tunnel line, each
 * within dial_ms in sum (ADIT_ERR_TIMEOUT). The head was written by the caller (http_write), so the
 * client never sees a client's bytes. A kept connection that turns out dead before the first byte
 * of the reply is replaced once, if the request had no body and its method is idempotent. A reply
 * is hostile: two final replies, bytes after the end, an unasked 101 fail the call
 * (ADIT_ERR_PROTOCOL) and the connection is closed; it is kept for the next call only when both
 * bodies ended in order and both sides keep alive.
 *
 *   http_call_start → [write_body*, end_body] → on_head → on_body* → on_end
 *
 * on_fail replaces any suffix of that. After on_end or on_fail, or after http_call_cancel(), the
 * call pointer is dead. After on_head with status 101 both directions are raw (on_body,
 * write_body), on_end is the peer's half-close, http_call_end_body() is ours, and the call lives
 * until cancel (or on_fail). Interim replies (100, 102, 103) are swallowed, up to
 * HTTP_CALL_INTERIM_MAX of them.
 *
 * Nothing here calls back before it returns, http_pool_close() excepted.
 */
#ifndef ADIT_NET_HTTP_CLIENT_H
#define ADIT_NET_HTTP_CLIENT_H

#include "net/dial.h"
#include "net/http_msg.h"

#define HTTP_CALL_INTERIM_MAX 16

struct http_pool_conf {
    struct http_target target;
    uint64_t dial_ms;       /* connect and handshakes */
    uint64_t idle_ms;       /* how long an idle connection is kept; 0: never kept */
    size_t idle_max;        /* kept at once */
    size_t connections_max; /* beyond it: ADIT_ERR_LIMIT at once; 0: none */
};

struct http_pool;
struct http_call;

struct http_call_ops {
    void (*on_head)(struct http_call *c,
                    const struct http_head *head); /* head: valid inside only */
    void (*on_body)(struct http_call *c, struct adit_view bytes);
    void (*on_end)(struct http_call *c);
    void (*on_drain)(struct http_call *c); /* request body: the queue is low again */
    /* Errors: TIMEOUT (dial), UNAVAILABLE (nothing listens: ECONNREFUSED, ENOENT, "ERR refused"),
     * CLOSED (reset or early end), PROTOCOL (broken reply), LIMIT, NO_MEMORY, IO. */
    void (*on_fail)(struct http_call *c, const struct adit_err *err);
};

ADIT_MUST_CHECK int http_pool_new(struct net_loop *l, const struct http_pool_conf *conf,
                                  struct http_pool **out, struct adit_err *err);
/* Break every connection: running calls get on_fail (ADIT_ERR_CLOSED) before it returns; then free.
 */
void http_pool_close(struct http_pool *p);
/* Take in a connected stream (closed on failure): the next call uses it. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int http_pool_adopt(struct http_pool *p, struct net_stream *take_stream,
                                    struct adit_err *err);
size_t http_pool_connection_cnt(const struct http_pool *p);
struct net_loop *http_pool_loop(const struct http_pool *p);

enum http_body {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,  /* the head carries Content-Length; write_body sends the bytes as they are */
    HTTP_BODY_CHUNKED, /* the head carries Transfer-Encoding: chunked; write_body frames chunks */
};

/*
 * Begin a call. @head: complete request head bytes, copied. @method: for the reply's framing.
 * Never calls back before it returns. Errors: LIMIT, NO_MEMORY; then no callback comes.
 */
ADIT_MUST_CHECK int http_call_start(struct http_pool *p, enum http_method method, bool upgrade,
                                    struct adit_view head, enum http_body body,
                                    const struct http_call_ops *ops, void *user,
                                    struct http_call **out, struct adit_err *err);
void *http_call_user(const struct http_call *c);
/* Request body. Until the connection stands the call is congested, and at most NET_STREAM_HIGH
 * bytes are queued; on_drain comes when it stands. Errors: CLOSED, LIMIT, NO_MEMORY; on_fail
 * follows, or the reply that the peer sent before it closed. */
ADIT_MUST_CHECK int http_call_write_body(struct http_call *c, struct adit_view bytes);
void http_call_end_body(struct http_call *c);
bool http_call_is_congested(const struct http_call *c);
/* Stop / go on delivering the reply's body. */
void http_call_pause(struct http_call *c);
void http_call_resume(struct http_call *c);
/* Forget the call: its connection is closed (unless the reply was complete). No callback follows.
 */
void http_call_cancel(struct http_call *c);

#endif
