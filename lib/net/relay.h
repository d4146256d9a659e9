/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: one server exchange bound to one client call, bodies flowing both ways.
 *
 * Theory of operation
 *
 * relay_start() begins the call with the head that the caller wrote, and from then on moves bytes:
 * request body exchange → call, reply head (written anew: status, end-to-end headers, framing) and
 * body call → exchange. Back-pressure both ways: a congested side pauses the other's source. A body
 * of known length keeps its Content-Length, a chunked one is chunked anew, 101 turns both raw. If
 * the client goes away the call is cancelled; if the guest breaks after the reply began, the
 * client's connection is reset (never a clean end); before that, on_fail lets the owner answer.
 */
#ifndef ADIT_NET_RELAY_H
#define ADIT_NET_RELAY_H

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/url.h"

/* For the head of the call's request: its line in origin form (@url: the client's target, split),
 * and how the body that the client announced is framed, or the upgrade that it asks for. Errors: of
 * @b; BAD_INPUT. */
ADIT_MUST_CHECK int relay_write_request_line(struct adit_buf *b, const struct http_head *request,
                                             const struct url_target *url);
ADIT_MUST_CHECK int relay_write_framing(struct adit_buf *b, const struct http_head *request);

struct relay_ops {
    /* The call failed before a reply began: answer the exchange (it is yours again). */
    void (*on_fail)(void *owner, struct http_exchange *x, const struct adit_err *err);
    /* The relay is over in any other way. NULL is fine. */
    void (*on_done)(void *owner);
    /* The reply begins; body bytes pass, from (@is_up) or to the client. NULL is fine. */
    void (*on_reply)(void *owner, unsigned status);
    void (*on_bytes)(void *owner, bool is_up, size_t len);
    /* All or none: the owner makes the answer of the reply itself. on_head begins it, on_body
     * writes, before on_end returns true it writes its last; the relay ends it then. Each returns
     * false when the owner has ended or reset the exchange: the relay is over. */
    bool (*on_head)(void *owner, struct http_exchange *x, const struct http_head *head);
    bool (*on_body)(void *owner, struct http_exchange *x, struct adit_view bytes);
    bool (*on_end)(void *owner, struct http_exchange *x);
};

/* Does this field of a reply go to the client? */
bool relay_is_passed_on(const struct http_head *reply, struct adit_view name);

/*
 * Inside on_request. @request: the client's head (for method, body kind and upgrade); @head: the
 * request head to send. Errors: as http_call_start; the exchange is still the caller's then.
 */
ADIT_MUST_CHECK int relay_start(struct http_exchange *x, const struct http_head *request,
                                struct http_pool *pool, struct adit_view head,
                                const struct relay_ops *ops, void *owner, struct adit_err *err);

#endif
