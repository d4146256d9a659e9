/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listener for figures.
 *
 * Theory of operation
 *
 * Gathering figures may take a turn through other loops, so a scrape waits in a table; scrapes that
 * come meanwhile get the same answer. One gathering runs at a time.
 * Trust: whoever reaches the listener may read; nothing of a request but its method and path is
 * looked at.
 */
#include "net/metrics_server.h"

#include <stdlib.h>

#include "base/prom.h"
#include "net/listener.h"
#include "net/url.h"

#define HEADER_MS 5000
#define IDLE_MS 120000

struct metrics_server {
    struct http_server *http;
    struct listener *listener;
    uint16_t port;
    struct http_exchange *waiting[METRICS_SERVER_WAITING_MAX];
    bool is_asking, is_closed;
    metrics_server_ask_fn ask;
    void *owner; /* borrowed */
};

static void reply(struct http_exchange *x, unsigned status, struct adit_view text)
{
    int rc = http_exchange_header_str(x, "Content-Type", PROM_CONTENT_TYPE);
    (void)rc; /* readable without */
    http_exchange_reply(x, status, text);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct metrics_server *m = http_exchange_user(x);
    (void)err;
    for (size_t i = 0; i < METRICS_SERVER_WAITING_MAX; i++)
        if (m->waiting[i] == x)
            m->waiting[i] = NULL;
}

static const struct http_exchange_ops waiting_ops = {.on_abort = on_abort};

static void wait_in_table(struct metrics_server *m, struct http_exchange *x)
{
    size_t i = 0;
    while (i < METRICS_SERVER_WAITING_MAX && m->waiting[i])
        i++;
    if (i == METRICS_SERVER_WAITING_MAX || m->is_closed) { /* whom to ask may be gone */
        reply(x, 503, (struct adit_view)ADIT_VIEW("too many scrapes, or the end\n"));
        return;
    }
    m->waiting[i] = x;
    http_exchange_set_ops(x, &waiting_ops, m);
    if (m->is_asking)
        return;
    m->is_asking = true;
    m->ask(m->owner);
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct metrics_server *m = http_server_owner(http_exchange_server(x));
    struct url_target target;
    if (url_split_target(head->target, &target, NULL) || !adit_view_eq_str(target.path, "/metrics"))
        reply(x, 404, (struct adit_view)ADIT_VIEW("see /metrics\n"));
    else if (head->method != HTTP_GET && head->method != HTTP_HEAD)
        reply(x, 405, (struct adit_view)ADIT_VIEW("GET only\n"));
    else
        wait_in_table(m, x);
}

void metrics_server_answer(struct metrics_server *m, struct adit_view text)
{
    m->is_asking = false;
    for (size_t i = 0; i < METRICS_SERVER_WAITING_MAX; i++) {
        struct http_exchange *x = m->waiting[i];
        m->waiting[i] = NULL;
        if (x && text.ptr)
            reply(x, 200, text);
        else if (x)
            reply(x, 503, (struct adit_view)ADIT_VIEW("out of memory\n"));
    }
}

int metrics_server_open(struct net_loop *l, const char *address, metrics_server_ask_fn ask,
                        void *owner, struct metrics_server **out, struct adit_err *err)
{
    struct http_server_conf conf = {.header_ms = HEADER_MS,
                                    .body_ms = HEADER_MS,
                                    .idle_ms = IDLE_MS,
                                    .connections_max = METRICS_SERVER_CONNECTIONS_MAX,
                                    .on_request = on_request};
    struct metrics_server *m = calloc(1, sizeof(*m));
    int fd;
    if (!m)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a listener");
    m->ask = ask;
    m->owner = owner;
    conf.owner = m;
    int rc = listener_socket(address, &fd, err);
    if (rc) {
        free(m);
        return adit_err_wrap(err, "listen for scrapes on %s", address);
    }
    m->port = listener_port(fd);
    rc = http_server_new(l, &conf, &m->http, err);
    if (rc == 0)
        rc = listener_open(l, fd, http_server_accept, m->http, &m->listener, err);
    if (rc == 0)
        *out = m; /* a failure ends the program */
    return rc;
}

uint16_t metrics_server_port(const struct metrics_server *m)
{
    return m->port;
}

static void on_drained(void *owner)
{
    free(owner);
}

void metrics_server_close(struct metrics_server *m)
{
    if (!m || m->is_closed)
        return;
    m->is_closed = true;
    listener_close(m->listener);
    http_server_drain(m->http, 0, on_drained);
}
