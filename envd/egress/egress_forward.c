/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarding HTTP.
 *
 * Theory of operation
 *
 *   client -- exchange -- relay -- call --[socket pair]-- dial -- channel -- host
 *
 * What:      a request is read by the HTTP server, written anew for its host and relayed as the
 * broker does it (net/relay.h). The relay's connection is one end of a socket pair; the other is
 * the program of a dial, as if one had connected. So the request waits in the pair while its
 * connection is made, and ends and resets are the table's business. Each request has a connection
 * of its own, which ends with the reply.
 * Ends:      a socket pair knows no reset. When the dial breaks, the relay is broken here before it
 * can take the end of the pair for the end of a reply.
 * Ownership: a request is its forwarder's until its relay is over. Limits: of the header.
 * Trust:     both sides are hostile; heads are checked and written anew both ways. The proxy adds
 * no Via: servers treat requests that have one differently, and this proxy stands for a network.
 * Failure:   before a reply began the client is told by status what failed, after it by a reset.
 */
#include "envd/egress/egress_forward.h"

#include <errno.h>
#include <stdlib.h>

#include <sys/socket.h>

#include "base/cleanup.h"
#include "envd/egress/egress_connect.h"
#include "net/http_write.h"
#include "net/relay.h"

#define HTTP_PORT 80

struct egress_forward {
    struct net_loop *loop;      /* borrowed */
    struct egress_dns *dns;     /* borrowed */
    struct egress_dials *dials; /* borrowed */
    struct http_server *server;
    struct adit_list requests;
};

/*
 * @program: the dial's end of the pair, until the dial is granted
 * @outcome: why there will be no reply
 */
struct request {
    struct adit_list node;
    struct egress_proxy_target target;
    struct http_pool *pool;
    struct net_stream *program;
    struct egress_connect connect;
    enum egress_proxy_outcome outcome;
};

/* ---- ends ---- */

static void request_free(struct request *r)
{
    egress_connect_leave(&r->connect);
    if (r->program)
        net_stream_close(r->program);
    if (r->pool)
        http_pool_close(r->pool);
    adit_list_remove(&r->node);
    free(r);
}

static void reply(struct http_exchange *x, const struct egress_proxy_target *target,
                  enum egress_proxy_outcome outcome)
{
    struct adit_buf text;
    adit_buf_init(&text, EGRESS_PROXY_ANSWER_MAX);
    if (egress_proxy_explain(&text, target, outcome) != ADIT_OK ||
        http_exchange_header_str(x, "Content-Type", "text/plain") != ADIT_OK)
        http_exchange_reset(x);
    else
        http_exchange_reply(x, egress_proxy_status(outcome), adit_buf_view(&text));
    adit_buf_fini(&text);
}

static void on_relay_fail(void *owner, struct http_exchange *x, const struct adit_err *err)
{
    struct request *r = owner;
    (void)err; /* the pair's; the dial's says more */
    reply(x, &r->target, r->outcome);
    request_free(r);
}

static void on_relay_done(void *owner)
{
    request_free(owner);
}

static const struct relay_ops relay_ops = {.on_fail = on_relay_fail, .on_done = on_relay_done};

/* ---- connecting ---- */

static struct net_stream *on_granted(void *owner, struct net_stream *host)
{
    struct request *r = owner;
    (void)host; /* nothing is to be said first */
    return adit_steal(&r->program);
}

/* The relay hears of it by the end of the pair. */
static void on_failed(void *owner, enum egress_proxy_outcome why)
{
    struct request *r = owner;
    r->outcome = why;
    net_stream_close(adit_steal(&r->program));
}

static void on_over(void *owner, bool is_broken)
{
    struct request *r = owner;
    if (is_broken)
        http_pool_close(adit_steal(&r->pool)); /* ends the relay, and with it the request */
}

static const struct egress_connect_ops connect_ops = {on_granted, on_failed, on_over};

/* ---- requests ---- */

/* Fields that are for this proxy. */
static bool is_ours(struct adit_view name)
{
    return adit_view_ieq_str(name, "proxy-authorization");
}

static int write_head(struct adit_buf *b, const struct http_head *head,
                      const struct url_target *url)
{
    int rc = relay_write_request_line(b, head, url);
    if (rc == ADIT_OK)
        rc = http_write_header(b, (struct adit_view)ADIT_VIEW("Host"), url->authority);
    for (size_t i = 0; i < head->header_cnt && rc == ADIT_OK; i++) {
        const struct http_header *h = &head->headers[i];
        if (!http_head_is_hop(head, h->name) && !is_ours(h->name))
            rc = http_write_header(b, h->name, h->value);
    }
    if (rc == ADIT_OK)
        rc = relay_write_framing(b, head);
    if (rc == ADIT_OK && !head->upgrade)
        rc = http_write_header_str(b, "Connection", "close");
    return rc == ADIT_OK ? http_write_end(b) : rc;
}

/* Return: false for another form than "http://host[:port]…". */
static bool read_target(struct adit_view target, struct url_target *url,
                        struct egress_proxy_target *out)
{
    static const char scheme[] = "http://";
    struct adit_view name;
    if (target.len < sizeof scheme ||
        !adit_view_ieq_str(adit_view_mem(target.ptr, sizeof scheme - 1), scheme))
        return false;
    if (url_split_target(target, url, NULL) != ADIT_OK ||
        url_split_host(url->authority, &name, &out->port) != ADIT_OK ||
        name.len >= sizeof out->host)
        return false;
    if (out->port == 0)
        out->port = HTTP_PORT;
    memcpy(out->host, name.ptr, name.len);
    out->host[name.len] = '\0';
    return control_is_name(name);
}

/* The pair: one end is the pool's, the other the program of a dial. */
static int open_pair(struct egress_forward *f, struct request *r, struct adit_err *err)
{
    struct net_stream *relay_end;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return adit_err_sys(err, errno, "socket pair");
    int rc = net_stream_open_fd(f->loop, fds[0], NULL, NULL, &r->program, err);
    if (rc != ADIT_OK) {
        (void)close(fds[1]);
        return rc;
    }
    rc = net_stream_open_fd(f->loop, fds[1], NULL, NULL, &relay_end, err);
    return rc == ADIT_OK ? http_pool_adopt(r->pool, relay_end, err) : rc;
}

static int start_relay(struct egress_forward *f, struct request *r, struct http_exchange *x,
                       const struct http_head *head, const struct url_target *url,
                       struct adit_err *err)
{
    static const struct http_pool_conf conf = {.connections_max = 1};
    struct adit_buf b;
    adit_buf_init(&b, 2 * HTTP_HEAD_CAP);
    int rc = write_head(&b, head, url);
    if (rc == ADIT_OK)
        rc = http_pool_new(f->loop, &conf, &r->pool, err);
    if (rc == ADIT_OK)
        rc = open_pair(f, r, err);
    if (rc == ADIT_OK)
        rc = relay_start(x, head, r->pool, adit_buf_view(&b), &relay_ops, r, err);
    adit_buf_fini(&b);
    return rc;
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct egress_forward *f = http_server_owner(http_exchange_server(x));
    struct egress_proxy_target target = {.port = 0};
    struct url_target url;
    struct adit_err err = ADIT_ERR_INIT;
    if (!read_target(head->target, &url, &target)) {
        target.host[0] = '\0';
        reply(x, &target, EGRESS_PROXY_MALFORMED);
        return;
    }
    struct request *r = calloc(1, sizeof *r);
    if (!r) {
        reply(x, &target, EGRESS_PROXY_BUSY);
        return;
    }
    r->target = target;
    r->outcome = EGRESS_PROXY_BROKEN;
    adit_list_init(&r->node);
    if (start_relay(f, r, x, head, &url, &err) != ADIT_OK) {
        request_free(r);
        reply(x, &target, EGRESS_PROXY_BUSY);
        return;
    }
    adit_list_push(&f->requests, &r->node);
    egress_connect_start(&r->connect, f->dns, f->dials, &target, &connect_ops, r);
}

/* ---- life ---- */

void egress_forward_adopt(struct egress_forward *f, struct net_stream *take_client,
                          struct adit_view already)
{
    http_server_adopt(f->server, take_client, already);
}

int egress_forward_new(struct net_loop *l, struct egress_dns *dns, struct egress_dials *dials,
                       struct egress_forward **out, struct adit_err *err)
{
    struct egress_forward *f = calloc(1, sizeof *f);
    if (!f)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "proxy");
    struct http_server_conf conf = {.header_ms = EGRESS_FORWARD_HEADER_MS,
                                    .body_ms = EGRESS_FORWARD_BODY_MS,
                                    .idle_ms = EGRESS_FORWARD_IDLE_MS,
                                    .connections_max = EGRESS_FORWARD_CLIENTS_MAX,
                                    .owner = f,
                                    .on_request = on_request};
    int rc = http_server_new(l, &conf, &f->server, err);
    if (rc != ADIT_OK) {
        free(f);
        return rc;
    }
    f->loop = l;
    f->dns = dns;
    f->dials = dials;
    adit_list_init(&f->requests);
    *out = f;
    return ADIT_OK;
}

static void on_drained(void *owner)
{
    free(owner);
}

void egress_forward_free(struct egress_forward *f)
{
    struct adit_list *it;
    while ((it = adit_list_first(&f->requests)))
        http_pool_close(adit_steal(&ADIT_CONTAINER_OF(it, struct request, node)->pool));
    http_server_drain(f->server, 0, on_drained);
}
