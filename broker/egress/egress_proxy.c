/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection through a proxy.
 *
 * Theory of operation
 *
 * What: moves bytes between the stream and the talk (egress_proxy_talk.c), under one deadline.
 * Ownership: the handshake owns the stream until it hands it over; it frees itself before @done.
 * Failure: the proxy ended before it had connected: a network that is not reached; its silence: a
 * time-out.
 */
#include "broker/egress/egress_proxy.h"

#include <stdlib.h>

/* Our longest message: CONNECT with credentials. */
#define MESSAGE_MAX 2048u

struct egress_proxy_handshake {
    struct net_stream *stream;
    struct egress_proxy_talk talk;
    struct net_deadline deadline;
    egress_proxy_done_fn done;
    void *owner; /* borrowed */
};

static void handshake_free(struct egress_proxy_handshake *h)
{
    net_deadline_cancel(&h->deadline);
    egress_proxy_talk_fini(&h->talk);
    if (h->stream)
        net_stream_close(h->stream);
    free(h);
}

void egress_proxy_cancel(struct egress_proxy_handshake *h)
{
    handshake_free(h);
}

static void handshake_fail(struct egress_proxy_handshake *h, Control__Reason reason,
                           const struct adit_err *err)
{
    egress_proxy_done_fn done = h->done;
    void *owner = h->owner;
    handshake_free(h);
    done(owner, NULL, adit_view_mem(NULL, 0), reason, err);
}

static void handshake_succeed(struct egress_proxy_handshake *h, struct adit_view already)
{
    egress_proxy_done_fn done = h->done;
    void *owner = h->owner;
    struct net_stream *stream = h->stream;
    net_stream_set_owner(stream, NULL, NULL);
    h->stream = NULL;
    handshake_free(h);
    done(owner, stream, already, CONTROL__REASON__REASON_UNSPECIFIED, NULL);
}

static int send_all(struct egress_proxy_handshake *h, const struct adit_buf *out)
{
    struct adit_view v = adit_buf_view(out);
    return v.len ? net_stream_write(h->stream, &v, 1) : ADIT_OK;
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct egress_proxy_handshake *h = net_stream_owner(s);
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_buf out;
    bool is_over = false;
    adit_buf_init(&out, MESSAGE_MAX);
    int rc = egress_proxy_talk_feed(&h->talk, &bytes, &out, &is_over, &err);
    Control__Reason reason = h->talk.reason;
    if (rc == ADIT_OK && (rc = send_all(h, &out)) != ADIT_OK)
        reason = CONTROL__REASON__REASON_NET_UNREACHABLE;
    adit_buf_fini(&out);
    if (rc != ADIT_OK && err.code == 0)
        (void)adit_err_set(&err, rc, "proxy: %s", adit_err_name(rc)); /* read below */
    if (rc != ADIT_OK)
        handshake_fail(h, reason, &err);
    else if (is_over)
        handshake_succeed(h, bytes);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct adit_err closed = ADIT_ERR_INIT;
    (void)adit_err_set(&closed, ADIT_ERR_CLOSED, "proxy: connection lost"); /* read below */
    handshake_fail(net_stream_owner(s), CONTROL__REASON__REASON_NET_UNREACHABLE,
                   err ? err : &closed);
}

static void on_drain(struct net_stream *s)
{
    (void)s;
}

static const struct net_stream_ops ops = {on_read, on_end, on_drain};

static void on_due(struct net_deadline *d)
{
    struct egress_proxy_handshake *h =
        ADIT_CONTAINER_OF(d, struct egress_proxy_handshake, deadline);
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "proxy: no answer in time"); /* read below */
    handshake_fail(h, CONTROL__REASON__REASON_TIMED_OUT, &err);
}

int egress_proxy_open(struct net_stream *take_stream, const struct egress_proxy *proxy,
                      const struct ip_addr *addr, uint16_t port, uint64_t ms,
                      egress_proxy_done_fn done, void *owner, struct egress_proxy_handshake **out)
{
    struct adit_buf first;
    struct egress_proxy_handshake *h = calloc(1, sizeof(*h));
    if (!h) {
        net_stream_close(take_stream);
        return ADIT_ERR_NO_MEMORY;
    }
    h->stream = take_stream;
    h->done = done;
    h->owner = owner;
    net_deadline_init(&h->deadline, net_stream_loop(take_stream), on_due);
    net_stream_set_owner(take_stream, &ops, h);
    adit_buf_init(&first, MESSAGE_MAX);
    int rc = egress_proxy_talk_begin(&h->talk, proxy, addr, port, &first);
    if (rc == ADIT_OK)
        rc = send_all(h, &first);
    adit_buf_fini(&first);
    if (rc != ADIT_OK) {
        handshake_free(h);
        return rc;
    }
    net_deadline_arm(&h->deadline, ms);
    net_stream_read_start(h->stream);
    *out = h;
    return ADIT_OK;
}
