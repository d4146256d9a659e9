/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the stub resolver.
 *
 * Theory of operation
 *
 * What:      a datagram is a query, its answer goes where it came from. Over TCP each message has
 * its length before it; queries may come before the answers of those before them, and answers go
 * out as they are there (RFC 7766).
 * Ownership: the server owns its sockets, the questions that wait and the connections; a connection
 * that goes takes its questions with it. The close callback of the poll handle frees the server.
 * Limits:    EGRESS_DNS_SERVER_BUDGET, EGRESS_DNS_CONNECTIONS_MAX, EGRESS_DNS_PIPELINE_MAX,
 * EGRESS_DNS_IDLE_MS; waiting questions are limited by the resolver.
 * Failure:   an answer that the socket does not take is lost, as datagrams are.
 */
#include "envd/egress/egress_dns_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/listener.h"

/* To find a port that is free for both protocols. */
#define PORT_TRIES 32
#define LENGTH_LEN 2

struct connection;

/* @connection: NULL for a datagram, whose sender is @from. */
struct question {
    struct egress_dns_client client;
    struct adit_list node;
    struct egress_dns_server *server; /* borrowed */
    struct connection *connection;    /* borrowed */
    struct sockaddr_storage from;
    socklen_t from_len;
};

/* @is_ended: no more queries come, it closes when all are answered. */
struct connection {
    struct adit_list node;
    struct egress_dns_server *server; /* borrowed */
    struct net_stream *stream;
    struct adit_buf in;
    struct adit_list questions;
    size_t question_cnt;
    struct net_deadline deadline;
    bool is_ended, is_asking, is_dead;
};

struct egress_dns_server {
    struct net_loop *loop;  /* borrowed */
    struct egress_dns *dns; /* borrowed */
    uv_poll_t poll;
    int fd;
    struct listener *listener;
    struct adit_list connections, questions;
    size_t connection_cnt;
    bool is_closing;
};

/* ---- questions ---- */

static struct question *question_new(struct egress_dns_server *s, struct connection *c)
{
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->server = s;
    q->connection = c;
    adit_list_push(c ? &c->questions : &s->questions, &q->node);
    return q;
}

static void question_free(struct question *q)
{
    adit_list_remove(&q->node);
    free(q);
}

static void questions_forget(struct adit_list *questions)
{
    struct adit_list *it;
    while ((it = adit_list_first(questions))) {
        struct question *q = ADIT_CONTAINER_OF(it, struct question, node);
        egress_dns_forget(&q->client);
        question_free(q);
    }
}

/* ---- datagrams ---- */

static void on_datagram_answer(struct egress_dns_client *client, struct adit_view message)
{
    struct question *q = ADIT_CONTAINER_OF(client, struct question, client);
    if (message.len > 0)
        (void)sendto(q->server->fd, message.ptr, message.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                     (struct sockaddr *)&q->from, q->from_len); /* lost: asked again */
    question_free(q);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct egress_dns_server *s = poll->data;
    char message[EGRESS_DNS_UDP_MAX];
    (void)status;
    (void)events;
    for (int i = 0; i < EGRESS_DNS_SERVER_BUDGET && !s->is_closing; i++) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        ssize_t len = recvfrom(s->fd, message, sizeof message, MSG_DONTWAIT | MSG_TRUNC,
                               (struct sockaddr *)&from, &from_len);
        if (len < 0 && errno == EAGAIN)
            return;
        if (len <= 0 || (size_t)len > sizeof message)
            continue;
        struct question *q = question_new(s, NULL);
        if (!q)
            continue;
        q->from = from;
        q->from_len = from_len;
        egress_dns_ask(s->dns, &q->client, false, adit_view_mem(message, (size_t)len),
                       on_datagram_answer);
    }
}

/* ---- connections ---- */

static void connection_close(struct connection *c, void (*close_stream)(struct net_stream *))
{
    questions_forget(&c->questions);
    net_deadline_cancel(&c->deadline);
    close_stream(c->stream);
    adit_buf_fini(&c->in);
    adit_list_remove(&c->node);
    c->server->connection_cnt--;
    free(c);
}

static void on_deadline(struct net_deadline *d)
{
    connection_close(ADIT_CONTAINER_OF(d, struct connection, deadline), net_stream_close);
}

/* Take the next whole message from what was read, or NULL-length when there is none. */
static struct adit_view next_message(const struct connection *c)
{
    struct adit_view in = adit_buf_view(&c->in);
    if (in.len < LENGTH_LEN)
        return adit_view_mem(NULL, 0);
    size_t len = (size_t)(uint8_t)in.ptr[0] << 8 | (uint8_t)in.ptr[1];
    return adit_view_mem(in.ptr + LENGTH_LEN, len + LENGTH_LEN <= in.len ? len : 0);
}

static void on_stream_answer(struct egress_dns_client *client, struct adit_view message);

static bool is_full(const struct connection *c)
{
    return c->question_cnt >= EGRESS_DNS_PIPELINE_MAX || net_stream_is_congested(c->stream);
}

static bool is_broken_length(const struct connection *c)
{
    struct adit_view in = adit_buf_view(&c->in);
    return in.len >= LENGTH_LEN && in.ptr[0] == 0 && in.ptr[1] == 0;
}

/* Ask what is there, as far as it may. An answer may come inside, so that the connection must not
 * go before the end. */
static void connection_step(struct connection *c)
{
    struct adit_view message;
    if (c->is_asking)
        return;
    c->is_asking = true;
    while (!c->is_dead && !is_full(c) && (message = next_message(c)).len > 0) {
        struct question *q = question_new(c->server, c);
        if (!q)
            break;
        c->question_cnt++;
        egress_dns_ask(c->server->dns, &q->client, true, message, on_stream_answer);
        adit_buf_consume(&c->in, LENGTH_LEN + message.len);
    }
    c->is_asking = false;
    if (c->is_dead || is_broken_length(c))
        connection_close(c, net_stream_close);
    else if (c->is_ended && c->question_cnt == 0)
        connection_close(c, net_stream_close_gracefully);
    else if (!c->is_ended && !is_full(c))
        net_stream_read_start(c->stream);
    else
        net_stream_read_stop(c->stream);
}

static void on_stream_answer(struct egress_dns_client *client, struct adit_view message)
{
    struct question *q = ADIT_CONTAINER_OF(client, struct question, client);
    struct connection *c = q->connection;
    uint8_t length[LENGTH_LEN] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    struct adit_view views[] = {adit_view_mem(length, sizeof length), message};
    question_free(q);
    c->question_cnt--;
    c->is_dead |= message.len == 0 || net_stream_write(c->stream, views, 2) != ADIT_OK;
    connection_step(c);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct connection *c = net_stream_owner(s);
    net_deadline_arm(&c->deadline, EGRESS_DNS_IDLE_MS);
    c->is_dead |= adit_buf_append_view(&c->in, bytes) != ADIT_OK;
    connection_step(c);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct connection *c = net_stream_owner(s);
    c->is_ended = true;
    c->is_dead |= err != NULL;
    connection_step(c);
}

static void on_drain(struct net_stream *s)
{
    connection_step(net_stream_owner(s));
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

static void on_accept(void *owner, int take_fd)
{
    struct egress_dns_server *s = owner;
    bool is_room = s->connection_cnt < EGRESS_DNS_CONNECTIONS_MAX;
    struct connection *c = is_room ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        (void)close(take_fd); /* shed */
        return;
    }
    if (net_stream_open_fd(s->loop, take_fd, &stream_ops, c, &c->stream, NULL) != ADIT_OK) {
        free(c);
        return;
    }
    c->server = s;
    adit_buf_init(&c->in, LENGTH_LEN + EGRESS_DNS_MESSAGE_MAX + NET_SCRATCH_CAP);
    adit_list_init(&c->questions);
    adit_list_push(&s->connections, &c->node);
    s->connection_cnt++;
    net_deadline_init(&c->deadline, s->loop, on_deadline);
    net_deadline_arm(&c->deadline, EGRESS_DNS_IDLE_MS);
    net_stream_read_start(c->stream);
}

/* ---- the server ---- */

/* A datagram socket on the address of a listening one. Return: -1 when the port is taken. */
static int datagram_twin(int listening)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof a;
    if (getsockname(listening, (struct sockaddr *)&a, &len) < 0)
        return -1;
    int fd = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, len) < 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* Both sockets of one port. */
static int open_sockets(const char *address, uint16_t port, int *stream_fd, int *datagram_fd,
                        struct adit_err *err)
{
    char text[64];
    bool is_ipv6 = strchr(address, ':') != NULL;
    (void)snprintf(text, sizeof text, is_ipv6 ? "[%s]:%u" : "%s:%u", address, port); /* fits */
    for (int i = 0; i < (port ? 1 : PORT_TRIES); i++) {
        int code = listener_socket(text, stream_fd, err);
        if (code != ADIT_OK)
            return code;
        *datagram_fd = datagram_twin(*stream_fd);
        if (*datagram_fd >= 0)
            return ADIT_OK;
        (void)close(*stream_fd);
    }
    return adit_err_set(err, ADIT_ERR_EXISTS, "no port of %s is free for UDP and TCP", address);
}

static void on_closed(uv_handle_t *h)
{
    struct egress_dns_server *s = h->data;
    free(s);
}

int egress_dns_server_open(struct net_loop *l, struct egress_dns *dns, const char *address,
                           uint16_t *port, struct egress_dns_server **out, struct adit_err *err)
{
    int stream_fd;
    struct egress_dns_server *s = calloc(1, sizeof *s);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "resolver's sockets");
    s->loop = l;
    s->dns = dns;
    adit_list_init(&s->connections);
    adit_list_init(&s->questions);
    int code = open_sockets(address, *port, &stream_fd, &s->fd, err);
    if (code != ADIT_OK) {
        free(s);
        return code;
    }
    *port = listener_port(stream_fd);
    code = listener_open(l, stream_fd, on_accept, s, &s->listener, err);
    int failed = code == ADIT_OK ? uv_poll_init(l->uv, &s->poll, s->fd) : 0;
    if (failed) {
        listener_close(s->listener);
        code = adit_err_sys(err, -failed, "resolver's socket");
    }
    if (code != ADIT_OK) {
        (void)close(s->fd);
        free(s);
        return code;
    }
    s->poll.data = s;
    (void)uv_poll_start(&s->poll, UV_READABLE, on_readable); /* an open descriptor: cannot fail */
    *out = s;
    return ADIT_OK;
}

void egress_dns_server_close(struct egress_dns_server *s)
{
    struct adit_list *it;
    s->is_closing = true;
    while ((it = adit_list_first(&s->connections)))
        connection_close(ADIT_CONTAINER_OF(it, struct connection, node), net_stream_close);
    questions_forget(&s->questions);
    listener_close(s->listener);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    (void)close(s->fd);
}
