/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxies and their clients.
 *
 * Theory of operation
 *
 * States:
 *
 *   READING --CONNECT, SOCKS5 request--> CONNECTING --granted--> answered, and the table of dials'
 *      |  \--other HTTP--> the forwarder's    \--failed--> told why, closed
 *      \--malformed, EGRESS_PROXIES_REQUEST_MS--> told why, closed
 *
 * What:      what a client says early is kept, up to EARLY_MAX, and passed on when the other end is
 * there. One that ends before is gone: no client of a proxy ends its sending before its answer.
 * Ownership: a client is the proxies' until its stream is the table's or the forwarder's.
 * Limits:    of the header. Trust: clients are hostile; they reach what a program of the sandbox
 * may reach, by the same dials.
 */
#include "envd/egress/egress_proxies.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "envd/egress/egress_connect.h"
#include "envd/egress/egress_forward.h"
#include "envd/egress/egress_proxy_request.h"

/* Of what a client says before its connection is made; one more read has room. */
#define EARLY_MAX (EGRESS_PROXY_GATHERED_MAX - NET_SCRATCH_CAP)

struct egress_proxies {
    struct net_loop *loop;      /* borrowed */
    struct egress_dns *dns;     /* borrowed */
    struct egress_dials *dials; /* borrowed */
    struct egress_forward *forward;
    struct adit_list clients;
    size_t cnt;
};

/* @is_connecting: its request is read; what it says now is for the other end */
struct client {
    struct adit_list node;
    struct egress_proxies *proxies; /* borrowed */
    struct net_stream *stream;
    struct egress_proxy_request request;
    struct egress_connect connect;
    struct net_deadline deadline;
    bool is_connecting;
};

/* ---- ends ---- */

/* Free, and give the stream away. */
static struct net_stream *forget(struct client *c)
{
    struct net_stream *stream = c->stream;
    net_deadline_cancel(&c->deadline);
    egress_connect_leave(&c->connect);
    egress_proxy_request_fini(&c->request);
    adit_list_remove(&c->node);
    c->proxies->cnt--;
    free(c);
    return stream;
}

static int say(struct client *c, enum egress_proxy_outcome outcome)
{
    struct adit_buf out;
    adit_buf_init(&out, EGRESS_PROXY_ANSWER_MAX);
    int rc = egress_proxy_answer(&out, c->request.protocol, &c->request.target, outcome);
    struct adit_view view = adit_buf_view(&out);
    if (rc == ADIT_OK)
        rc = net_stream_write(c->stream, &view, 1);
    adit_buf_fini(&out);
    return rc;
}

static void refuse(struct client *c, enum egress_proxy_outcome why)
{
    bool is_told = say(c, why) == ADIT_OK;
    struct net_stream *stream = forget(c);
    if (is_told)
        net_stream_close_gracefully(stream);
    else
        net_stream_reset(stream);
}

static void on_deadline(struct net_deadline *d)
{
    net_stream_reset(forget(ADIT_CONTAINER_OF(d, struct client, deadline)));
}

/* ---- connecting ---- */

/* A write that fails is heard of by those who read the stream from now on. */
static struct net_stream *on_granted(void *owner, struct net_stream *host)
{
    struct client *c = owner;
    struct adit_view early = adit_buf_view(&c->request.gathered);
    (void)say(c, EGRESS_PROXY_CONNECTED);
    if (early.len > 0)
        (void)net_stream_write(host, &early, 1);
    return forget(c);
}

static void on_failed(void *owner, enum egress_proxy_outcome why)
{
    refuse(owner, why);
}

static const struct egress_connect_ops connect_ops = {on_granted, on_failed, NULL};

static void connect_to_target(struct client *c)
{
    net_deadline_cancel(&c->deadline);
    c->is_connecting = true;
    egress_connect_start(&c->connect, c->proxies->dns, c->proxies->dials, &c->request.target,
                         &connect_ops, c);
}

/* ---- reading ---- */

static void serve(struct client *c)
{
    struct egress_forward *forward = c->proxies->forward;
    struct adit_buf begin = c->request.gathered;
    adit_buf_init(&c->request.gathered, 0); /* taken */
    struct net_stream *stream = forget(c);
    egress_forward_adopt(forward, stream, adit_buf_view(&begin));
    adit_buf_fini(&begin);
}

static int greet(struct client *c)
{
    static const struct adit_view greeting = {EGRESS_PROXY_GREETING, EGRESS_PROXY_GREETING_LEN};
    return net_stream_write(c->stream, &greeting, 1);
}

static void take_step(struct client *c)
{
    enum egress_proxy_step step = egress_proxy_request_next(&c->request);
    if (step == EGRESS_PROXY_GREETED) {
        if (greet(c) != ADIT_OK) {
            net_stream_reset(forget(c));
            return;
        }
        step = egress_proxy_request_next(&c->request);
    }
    if (step == EGRESS_PROXY_CONNECT)
        connect_to_target(c);
    else if (step == EGRESS_PROXY_SERVE)
        serve(c);
    else if (step == EGRESS_PROXY_REFUSE)
        refuse(c, c->request.refusal);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct client *c = net_stream_owner(s);
    if (egress_proxy_request_feed(&c->request, bytes) != ADIT_OK)
        net_stream_reset(forget(c));
    else if (!c->is_connecting)
        take_step(c);
    else if (c->request.gathered.len >= EARLY_MAX)
        net_stream_read_stop(s);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    (void)err; /* it has asked for nothing, or does not wait for its connection */
    net_stream_close(forget(net_stream_owner(s)));
}

static void on_drain(struct net_stream *s)
{
    (void)s; /* an answer never congests */
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

/* ---- life ---- */

void egress_proxies_accept(struct egress_proxies *p, struct net_stream *take_client)
{
    struct client *c = p->cnt < EGRESS_PROXIES_CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        net_stream_reset(take_client);
        return;
    }
    c->proxies = p;
    c->stream = take_client;
    egress_proxy_request_init(&c->request);
    adit_list_push(&p->clients, &c->node);
    p->cnt++;
    net_deadline_init(&c->deadline, p->loop, on_deadline);
    net_deadline_arm(&c->deadline, EGRESS_PROXIES_REQUEST_MS);
    net_stream_set_owner(take_client, &stream_ops, c);
    net_stream_read_start(take_client);
}

int egress_proxies_new(struct net_loop *l, struct egress_dns *dns, struct egress_dials *dials,
                       struct egress_proxies **out, struct adit_err *err)
{
    struct egress_proxies *p = calloc(1, sizeof *p);
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "proxies");
    int rc = egress_forward_new(l, dns, dials, &p->forward, err);
    if (rc != ADIT_OK) {
        free(p);
        return rc;
    }
    p->loop = l;
    p->dns = dns;
    p->dials = dials;
    adit_list_init(&p->clients);
    *out = p;
    return ADIT_OK;
}

void egress_proxies_free(struct egress_proxies *p)
{
    struct adit_list *it;
    while ((it = adit_list_first(&p->clients)))
        net_stream_reset(forget(ADIT_CONTAINER_OF(it, struct client, node)));
    egress_forward_free(p->forward);
    free(p);
}
