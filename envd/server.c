/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting channels.
 *
 * Theory of operation
 *
 * What:      two ways in, with the same services behind them.
 *
 *   Unix socket:  accept -> "CONNECT <port>\n" -> "OK <port>\n" -> service of the port
 *   AF_VSOCK:     accept -> is the peer CID 2? -------------------> service of the listener
 *
 *   49983, 49999 -> HTTP    1024 -> tunnel    1025, 1026 -> egress
 *   any other -> closed without OK
 *
 * Ownership: a handshake owns its stream until the service takes it over.
 * Limits:    SERVER_CHANNELS_MAX; SERVER_HANDSHAKE_MS for the line.
 * Trust:     over AF_VSOCK only the host may speak: a process of the guest that reaches the port
 * (vsock loopback, CID 1) is closed at once. The Unix socket is known to the host alone.
 */
#include "envd/server.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "envd/egress/egress.h"
#include "envd/kernel/kernel_service.h"
#include "envd/routes.h"

enum server_listener {
    SERVER_CHANNEL,
    SERVER_VSOCK_HTTP,
    SERVER_VSOCK_KERNEL,
    SERVER_VSOCK_TUNNEL,
    SERVER_VSOCK_CONTROL,
    SERVER_VSOCK_ACCEPT,
    SERVER_LISTENERS
};

/* @handshakes: owned. @listeners: NULL where there is none. @draining: HTTP servers. */
struct server {
    struct envd *envd; /* borrowed */
    struct listener *listeners[SERVER_LISTENERS];
    struct adit_list handshakes;
    size_t handshake_cnt;
    struct tunnel_set tunnels;
    unsigned draining;
    void (*on_closed)(void *owner);
    void *owner;
};

/* One connection before its port is known. */
struct handshake {
    struct adit_list node;
    struct server *server; /* borrowed */
    struct net_stream *stream;
    struct channel_line line;
    struct net_deadline deadline;
};

static size_t channel_cnt(const struct server *s)
{
    size_t egress_cnt = s->envd->egress ? egress_channel_cnt(s->envd->egress) : 0;
    return s->handshake_cnt + s->tunnels.cnt + egress_cnt +
           http_server_connection_cnt(s->envd->http) +
           http_server_connection_cnt(s->envd->kernel_http);
}

/* ---- handshake ---- */

/* Free, and give the stream away. */
static struct net_stream *handshake_free(struct handshake *h)
{
    struct net_stream *stream = h->stream;
    net_deadline_cancel(&h->deadline);
    adit_list_remove(&h->node);
    h->server->handshake_cnt--;
    free(h);
    return stream;
}

static void handshake_fail(struct handshake *h)
{
    net_stream_close(handshake_free(h));
}

static void on_handshake_due(struct net_deadline *d)
{
    handshake_fail(ADIT_CONTAINER_OF(d, struct handshake, deadline));
}

static bool is_served(const struct server *s, uint32_t port)
{
    bool is_egress = port == CHANNEL_PORT_CONTROL || port == CHANNEL_PORT_ACCEPT;
    return port == CHANNEL_PORT_ENVD || port == CHANNEL_PORT_KERNEL ||
           port == CHANNEL_PORT_TUNNEL || (is_egress && s->envd->egress);
}

/* @owed: to be said before anything else; only on CHANNEL_PORT_ACCEPT, where what is answered to
 * the first line of the service goes with it. */
static void serve(struct server *s, uint32_t port, struct net_stream *take_stream,
                  struct adit_view already, struct adit_view owed)
{
    switch (port) {
    case CHANNEL_PORT_ENVD:
        http_server_adopt(s->envd->http, take_stream, already);
        break;
    case CHANNEL_PORT_KERNEL:
        http_server_adopt(s->envd->kernel_http, take_stream, already);
        break;
    case CHANNEL_PORT_CONTROL:
        egress_adopt_control(s->envd->egress, take_stream, already);
        break;
    case CHANNEL_PORT_ACCEPT:
        egress_adopt_accept(s->envd->egress, take_stream, already, owed);
        break;
    default:
        tunnel_adopt(&s->tunnels, take_stream, already);
    }
}

static void handshake_done(struct handshake *h, struct adit_view already)
{
    struct server *s = h->server;
    struct adit_err err;
    uint32_t port;
    char ok[CHANNEL_LINE_CAP];
    if (channel_parse_connect(channel_line_view(&h->line), &port, &err) != ADIT_OK ||
        !is_served(s, port)) {
        handshake_fail(h);
        return;
    }
    struct net_stream *stream = handshake_free(h);
    struct adit_view answer = {ok, channel_format_ok(ok, port)}, nothing = {NULL, 0};
    if (port == CHANNEL_PORT_ACCEPT)
        serve(s, port, stream, already, answer);
    else if (net_stream_write(stream, &answer, 1) == ADIT_OK)
        serve(s, port, stream, already, nothing);
    else
        net_stream_close(stream);
}

static void handshake_on_read(struct net_stream *stream, struct adit_view bytes)
{
    struct handshake *h = net_stream_owner(stream);
    struct adit_err err;
    bool is_done;
    if (channel_line_feed(&h->line, &bytes, &is_done, &err) != ADIT_OK)
        handshake_fail(h);
    else if (is_done)
        handshake_done(h, bytes);
}

static void handshake_on_end(struct net_stream *stream, const struct adit_err *err)
{
    (void)err; /* nobody is left to be told */
    handshake_fail(net_stream_owner(stream));
}

static void handshake_on_drain(struct net_stream *stream)
{
    (void)stream; /* one short line is all that is written */
}

static const struct net_stream_ops handshake_ops = {handshake_on_read, handshake_on_end,
                                                    handshake_on_drain};

static void on_channel(void *owner, int take_fd)
{
    struct server *s = owner;
    struct adit_err err;
    struct handshake *h = channel_cnt(s) < SERVER_CHANNELS_MAX ? calloc(1, sizeof *h) : NULL;
    if (!h) {
        (void)close(take_fd); /* shed; the host tries again */
        return;
    }
    if (net_stream_open_fd(&s->envd->net, take_fd, &handshake_ops, h, &h->stream, &err) !=
        ADIT_OK) {
        free(h);
        return;
    }
    h->server = s;
    channel_line_init(&h->line);
    adit_list_push(&s->handshakes, &h->node);
    s->handshake_cnt++;
    net_deadline_init(&h->deadline, &s->envd->net, on_handshake_due);
    net_deadline_arm(&h->deadline, SERVER_HANDSHAKE_MS);
    net_stream_read_start(h->stream);
}

/* ---- AF_VSOCK ---- */

static void on_vsock(struct server *s, uint32_t port, int take_fd)
{
    struct net_stream *stream;
    struct adit_err err;
    if (channel_cnt(s) >= SERVER_CHANNELS_MAX) {
        (void)close(take_fd); /* shed; the host tries again */
        return;
    }
    /* handshake_ops serve until the service sets its own: reading is not on before that. */
    if (net_stream_open_fd(&s->envd->net, take_fd, &handshake_ops, NULL, &stream, &err) != ADIT_OK)
        return;
    if (net_stream_peer_cid(stream) == SERVER_HOST_CID && is_served(s, port))
        serve(s, port, stream, adit_view_mem(NULL, 0), adit_view_mem(NULL, 0));
    else
        net_stream_close(stream);
}

static void on_vsock_http(void *owner, int take_fd)
{
    on_vsock(owner, CHANNEL_PORT_ENVD, take_fd);
}

static void on_vsock_kernel(void *owner, int take_fd)
{
    on_vsock(owner, CHANNEL_PORT_KERNEL, take_fd);
}

static void on_vsock_tunnel(void *owner, int take_fd)
{
    on_vsock(owner, CHANNEL_PORT_TUNNEL, take_fd);
}

static void on_vsock_control(void *owner, int take_fd)
{
    on_vsock(owner, CHANNEL_PORT_CONTROL, take_fd);
}

static void on_vsock_accept(void *owner, int take_fd)
{
    on_vsock(owner, CHANNEL_PORT_ACCEPT, take_fd);
}

/* ---- the server ---- */

int server_new(struct envd *e, struct server **out, struct adit_err *err)
{
    struct http_server_conf conf = {
        .header_ms = SERVER_HEADER_MS,
        .body_ms = SERVER_BODY_MS,
        .idle_ms = SERVER_IDLE_MS,
        .owner = e,
        .on_request = routes_on_request,
        .on_over = request_log_over,
    };
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    int code = http_server_new(&e->net, &conf, &e->http, err);
    conf.on_request = kernel_service_on_request;
    if (code == ADIT_OK)
        code = http_server_new(&e->net, &conf, &e->kernel_http, err);
    if (code == ADIT_OK)
        code = kernel_service_new(e, &e->kernels, err);
    if (code != ADIT_OK) {
        free(s);
        return code; /* the program ends */
    }
    s->envd = e;
    request_log_init(&e->request_log);
    adit_list_init(&s->handshakes);
    tunnel_set_init(&s->tunnels, &e->net);
    *out = s;
    return ADIT_OK;
}

int server_listen_channel(struct server *s, int take_fd, struct adit_err *err)
{
    return listener_open(&s->envd->net, take_fd, on_channel, s, &s->listeners[SERVER_CHANNEL], err);
}

static int listen_vsock(struct server *s, enum server_listener which, const char *address,
                        listener_accept_fn on_accept, struct adit_err *err)
{
    int fd;
    int code = listener_socket(address, &fd, err);
    if (code == ADIT_OK)
        code = listener_open(&s->envd->net, fd, on_accept, s, &s->listeners[which], err);
    return code;
}

int server_listen_vsock(struct server *s, struct adit_err *err)
{
    static const struct {
        const char *address;
        listener_accept_fn on_accept;
    } doors[SERVER_LISTENERS] = {
        [SERVER_VSOCK_HTTP] = {"vsock:49983", on_vsock_http},
        [SERVER_VSOCK_KERNEL] = {"vsock:49999", on_vsock_kernel},
        [SERVER_VSOCK_TUNNEL] = {"vsock:1024", on_vsock_tunnel},
        [SERVER_VSOCK_CONTROL] = {"vsock:1025", on_vsock_control},
        [SERVER_VSOCK_ACCEPT] = {"vsock:1026", on_vsock_accept},
    };
    int code = ADIT_OK;
    for (int i = SERVER_VSOCK_HTTP; i < SERVER_LISTENERS && code == ADIT_OK; i++)
        code = listen_vsock(s, (enum server_listener)i, doors[i].address, doors[i].on_accept, err);
    return code;
}

void server_stop_listening(struct server *s)
{
    for (int i = 0; i < SERVER_LISTENERS; i++) {
        if (s->listeners[i])
            listener_close(s->listeners[i]);
        s->listeners[i] = NULL;
    }
}

static void on_drained(void *owner)
{
    struct envd *e = owner;
    struct server *s = e->server;
    if (--s->draining > 0)
        return;
    kernel_service_free(adit_steal(&e->kernels));
    void (*on_closed)(void *) = s->on_closed;
    void *closed_owner = s->owner;
    free(s);
    on_closed(closed_owner);
}

void server_close(struct server *s, uint64_t grace_ms, void (*on_closed)(void *owner), void *owner)
{
    struct adit_list *it;
    struct http_server *http = adit_steal(&s->envd->http);
    struct http_server *kernel_http = adit_steal(&s->envd->kernel_http);
    server_stop_listening(s);
    while ((it = adit_list_first(&s->handshakes)))
        handshake_fail(ADIT_CONTAINER_OF(it, struct handshake, node));
    tunnel_set_close(&s->tunnels);
    if (s->envd->egress)
        egress_free(adit_steal(&s->envd->egress));
    s->on_closed = on_closed;
    s->owner = owner;
    s->draining = 2;
    http_server_drain(http, grace_ms, on_drained);
    http_server_drain(kernel_http, grace_ms, on_drained);
}
