/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC on server exchanges, in Connect and gRPC-Web alike: unary, server streaming, client
 * streaming; JSON and binary protobuf; gzip in and out; deadlines; the error models
 * (docs/wire/connect.md).
 *
 * Theory of operation
 *
 * A service is a table of methods. rpc_server_handle() is called inside on_request for a request to
 * a path of the table; it owns the exchange from then on and turns it into a call:
 *
 *   on_open → on_message (once; for client streams any number) → [on_half_close] → finish
 *
 * on_open runs before any message, with the request's head (valid only there): it authenticates,
 * picks up headers and attaches user data; an error from it ends the call with that error. The
 * handler answers with rpc_call_send() (unary and client stream: exactly once, which also ends the
 * call well; server stream: any number, then rpc_call_finish()). on_cancel tells that a call that
 * was opened ended without the handler: client gone (ADIT_ERR_CANCELED), deadline passed
 * (ADIT_ERR_TIMEOUT), or a request that cannot be read (its error); the client was already sent the
 * error, before anything that the handler does about it. After finish, a unary send, or on_cancel,
 * the call pointer is dead for the handler; on_cancel is never called after the handler ended the
 * call. None of the functions below calls the handler back, but rpc_server_handle() calls on_open.
 *
 * Streams flush every message at once, always answer 200, and end with an end-of-stream envelope,
 * also for errors before the first message. rpc_call_abort() breaks the connection instead.
 *
 * Headers that were put on the exchange before rpc_server_handle() go out with every answer.
 */
#ifndef ADIT_RPC_RPC_SERVER_H
#define ADIT_RPC_RPC_SERVER_H

#include <protobuf-c/protobuf-c.h>

#include "net/http_server.h"
#include "rpc/message.h"

/* Answers below this many bytes are not worth compressing. */
#define RPC_GZIP_MIN 4096u
/* Largest answer: what a stream takes at once, with room for its head. */
#define RPC_ANSWER_MAX (NET_STREAM_QUEUE_MAX - 128u * 1024)

struct rpc_call;

struct rpc_method {
    const char *path; /* "/process.Process/Start" */
    enum rpc_kind kind;
    const ProtobufCMessageDescriptor *request, *response;
    void (*on_message)(struct rpc_call *c, const ProtobufCMessage *m); /* m: valid inside only */
    void (*on_half_close)(struct rpc_call *c);                         /* client streams */
    void (*on_drain)(struct rpc_call *c);                              /* may be NULL */
    void (*on_cancel)(struct rpc_call *c, int code);                   /* may be NULL */
};

struct rpc_service {
    const struct rpc_method *methods;
    size_t method_cnt;
    /* May be NULL. Errors end the call. */
    int (*on_open)(struct rpc_call *c, const struct http_head *head, struct adit_err *err);
};

/* The method of a clean path, or NULL. */
const struct rpc_method *rpc_service_find(const struct rpc_service *s, struct adit_view path);
/* Take the exchange over. @app is for rpc_call_app(). */
void rpc_server_handle(struct http_exchange *x, const struct http_head *head,
                       const struct rpc_service *s, const struct rpc_method *m, void *app);

void *rpc_call_app(const struct rpc_call *c);
const struct rpc_method *rpc_call_method(const struct rpc_call *c);
void *rpc_call_user(const struct rpc_call *c);
void rpc_call_set_user(struct rpc_call *c, void *user);
struct net_loop *rpc_call_loop(const struct rpc_call *c);
/* How long the client gave the call, from its head on; 0: no limit. */
uint64_t rpc_call_timeout_ms(const struct rpc_call *c);

/* Errors: CLOSED, LIMIT (back-pressure ignored), NO_MEMORY: the call is then over (no on_cancel).
 */
int rpc_call_send(struct rpc_call *c, const ProtobufCMessage *m);
bool rpc_call_is_congested(const struct rpc_call *c);
/* Stop / go on taking messages of a client stream. */
void rpc_call_pause(struct rpc_call *c);
void rpc_call_resume(struct rpc_call *c);
/* End: @err NULL or code 0 is a clean end of a stream; else the error, message as it stands. */
void rpc_call_finish(struct rpc_call *c, const struct adit_err *err);
void rpc_call_abort(struct rpc_call *c);

#endif
