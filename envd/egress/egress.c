/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Egress: the parts put together.
 *
 * Theory of operation
 *
 *   program --connect()--> rules --queue--> dials --control channel--> broker
 *                            \--redirected--> listener --> dials <--accept channel-- broker
 *           --port 53-->   rules --> dns server --> dns --control channel--> broker
 *   program --HTTP, SOCKS5--> listener --> proxy --> dns, dials           without redirection
 *
 * What:      opens the parts in the order in which they need one another (the queue before the
 * rules that fill it, the ports before the rules that lead to them) and passes on what one tells
 * another. Ownership: it owns all parts; they borrow one another. Failure:   what the kernel lacks
 * makes a lesser mode, which is logged and told to the host.
 */
#include "envd/egress/egress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "envd/egress/egress_accept.h"
#include "envd/egress/egress_control.h"
#include "envd/egress/egress_dial.h"
#include "envd/egress/egress_dns_server.h"
#include "envd/egress/egress_listener.h"
#include "envd/egress/egress_proxies.h"
#include "envd/egress/egress_queue.h"

#define RESOLVER_PORT 53
#define PROXY_URL_CAP 32

/* @queue, @servers, @proxies: NULL where there is none. @proxy_url: empty then. */
struct egress {
    struct net_loop *loop; /* borrowed */
    struct egress_network network;
    struct egress_listener listener;
    struct egress_queue *queue;
    struct egress_control *control;
    struct egress_dials *dials;
    struct egress_accepts accepts;
    struct egress_dns *dns;
    struct egress_dns_server *servers[2];
    struct egress_proxies *proxies;
    char proxy_url[PROXY_URL_CAP];
};

/* ---- passing on ---- */

static void on_open(void *owner, bool has_ipv6)
{
    struct egress *e = owner;
    struct adit_err err = ADIT_ERR_INIT;
    bool is_on = has_ipv6 && e->network.can_ipv6;
    if (egress_network_set_ipv6(&e->network, is_on, &err) != ADIT_OK)
        adit_log(ADIT_LOG_WARN, "ipv6_unavailable", LOG_ERR(&err));
    egress_dns_open(e->dns, e->proxies ? has_ipv6 : e->network.has_ipv6);
    egress_dials_open(e->dials);
}

static void on_lost(void *owner)
{
    const struct egress *e = owner;
    egress_dns_lost(e->dns);
    egress_dials_lost(e->dials);
}

static void on_refusal(void *owner, uint32_t id, Control__Reason reason)
{
    const struct egress *e = owner;
    egress_dials_refused(e->dials, id, reason);
}

static void on_end(void *owner, uint32_t id, bool is_reset)
{
    const struct egress *e = owner;
    egress_dials_ended(e->dials, id, is_reset);
}

static void on_lookup(void *owner, const Control__LookupResult *result)
{
    const struct egress *e = owner;
    egress_dns_result(e->dns, result);
}

static const struct egress_control_ops control_ops = {on_open, on_lost, on_refusal, on_end,
                                                      on_lookup};

static void on_packet(void *owner, const struct egress_packet *p)
{
    const struct egress *e = owner;
    egress_dials_packet(e->dials, p);
}

static void on_connection(void *owner, struct net_stream *take_stream,
                          const struct egress_address *to)
{
    const struct egress *e = owner;
    if (e->proxies)
        egress_proxies_accept(e->proxies, take_stream);
    else if (to)
        egress_dials_accepted(e->dials, take_stream, to);
    else
        net_stream_reset(take_stream);
}

/* ---- life ---- */

static void open_queue(struct egress *e, enum egress_mode *best)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (*best != EGRESS_TRANSPARENT ||
        egress_queue_open(e->loop, on_packet, e, &e->queue, &err) == ADIT_OK)
        return;
    adit_log(ADIT_LOG_INFO, "egress_queue_unavailable", LOG_ERR(&err));
    *best = EGRESS_REDIRECT;
}

static void close_queue(struct egress *e)
{
    if (e->queue)
        egress_queue_close(e->queue);
    e->queue = NULL;
}

static void open_dns_server(struct egress *e, int which, const char *address, uint16_t *port)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (egress_dns_server_open(e->loop, e->dns, address, port, &e->servers[which], &err) == ADIT_OK)
        return;
    *port = 0;
    adit_log(ADIT_LOG_INFO, "resolver_unavailable", LOG_ERR(&err));
}

static void close_dns_servers(struct egress *e)
{
    for (int i = 0; i < 2; i++) {
        if (e->servers[i])
            egress_dns_server_close(e->servers[i]);
        e->servers[i] = NULL;
    }
}

static void open_network(struct egress *e, enum egress_mode best)
{
    struct adit_err why = ADIT_ERR_INIT;
    uint16_t resolver_port = RESOLVER_PORT;
    struct egress_network_ports ports = {.listener_ipv4 = e->listener.ports[0],
                                         .listener_ipv6 = e->listener.ports[1]};
    open_dns_server(e, 0, "127.0.0.1", &ports.dns_ipv4);
    open_dns_server(e, 1, "::1", &ports.dns_ipv6);
    egress_network_open(&e->network, ports.dns_ipv4 ? best : EGRESS_PROXY, &ports, &why);
    adit_log(ADIT_LOG_INFO, "egress", LOG_S("mode", egress_mode_name(e->network.mode)),
             LOG_S("limited_by", e->network.mode > best ? why.msg : ""));
    if (e->network.mode != EGRESS_TRANSPARENT)
        close_queue(e);
    if (e->network.mode < EGRESS_PROXY)
        return;
    close_dns_servers(e); /* nobody is led to them */
    open_dns_server(e, 0, EGRESS_NETWORK_RESOLVER, &resolver_port);
}

static int open_proxy(struct egress *e, struct adit_err *err)
{
    (void)snprintf(e->proxy_url, sizeof e->proxy_url, "http://127.0.0.1:%u",
                   (unsigned)e->listener.ports[0]); /* fits */
    return egress_proxies_new(e->loop, e->dns, e->dials, &e->proxies, err);
}

static int open_parts(struct egress *e, enum egress_mode best, const char *version,
                      struct adit_err *err)
{
    int code = egress_listener_open(&e->listener, e->loop, on_connection, e, err);
    if (code == ADIT_OK)
        code = egress_control_new(e->loop, version, &control_ops, e, &e->control, err);
    if (code == ADIT_OK)
        code = egress_dns_new(e->loop, e->control, &e->dns, err);
    if (code != ADIT_OK)
        return code;
    open_queue(e, &best);
    open_network(e, best);
    egress_control_set_mode(e->control, e->network.mode);
    code = egress_dials_new(e->loop, e->control, e->queue, &e->dials, err);
    egress_accepts_init(&e->accepts, e->loop, e->dials);
    return code == ADIT_OK && e->network.mode == EGRESS_PROXY ? open_proxy(e, err) : code;
}

int egress_new(struct net_loop *l, enum egress_mode best, const char *version, struct egress **out,
               struct adit_err *err)
{
    struct egress *e = calloc(1, sizeof *e);
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "egress");
    e->loop = l;
    e->network.route.fd = -1;
    int code = open_parts(e, best, version, err);
    if (code == ADIT_OK)
        *out = e;
    else
        egress_free(e);
    return code;
}

void egress_free(struct egress *e)
{
    if (e->proxies)
        egress_proxies_free(e->proxies);
    if (e->dials) {
        egress_accepts_close(&e->accepts);
        egress_dials_free(e->dials);
    }
    close_dns_servers(e);
    if (e->dns)
        egress_dns_free(e->dns);
    if (e->control)
        egress_control_free(e->control);
    close_queue(e);
    egress_listener_close(&e->listener);
    egress_network_close(&e->network);
    free(e);
}

enum egress_mode egress_active_mode(const struct egress *e)
{
    return e->network.mode;
}

const char *egress_proxy_url(const struct egress *e)
{
    return e->proxies ? e->proxy_url : NULL;
}

size_t egress_channel_cnt(const struct egress *e)
{
    return e->accepts.cnt + egress_dials_cnt(e->dials);
}

void egress_adopt_control(struct egress *e, struct net_stream *take_stream,
                          struct adit_view already)
{
    egress_control_adopt(e->control, take_stream, already);
}

void egress_adopt_accept(struct egress *e, struct net_stream *take_stream, struct adit_view already,
                         struct adit_view owed)
{
    egress_accepts_adopt(&e->accepts, take_stream, already, owed);
}
