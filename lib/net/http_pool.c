/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooled client connections to one target.
 *
 * Theory of operation
 *
 * What: a connection ("link") is dialled for one call and, when that call is over in order, kept
 * for the next. The one used last is used first, so that a pool that needs fewer connections lets
 * the others grow old and closes them after idle_ms.
 *
 *   dialling ──> running <──> idle ──EOF, bytes, age──> dead
 *       └────────────┴────────────────────────────────────^
 *
 * Ownership: the pool owns its links, a link borrows its call, a call knows its link. @busy fences
 * a link while its code runs; a dead link is freed when it leaves, and the pool with its last link.
 *
 * Trust: the peer may be a guest. An idle link stays readable: an end or a byte nobody asked for
 * closes it. Nothing of a reply outlives its call.
 */
#include "net/http_client_int.h"

#include <stdlib.h>

static void pool_unref(struct http_pool *p)
{
    if (--p->refs == 0)
        free(p);
}

void http_pool_enter(struct http_link *l)
{
    l->busy++;
}

void http_pool_leave(struct http_link *l)
{
    if (--l->busy || !l->is_dead)
        return;
    http_parser_free(l->parser);
    adit_buf_fini(&l->held);
    pool_unref(l->pool);
    free(l);
}

/* Out of the pool's lists and counts. */
static void unlist(struct http_link *l)
{
    adit_list_remove(&l->node);
    if (!l->call)
        l->pool->idle_cnt--;
}

static void list_running(struct http_link *l)
{
    adit_list_push(&l->pool->running, &l->node);
}

void http_pool_drop(struct http_link *l)
{
    if (l->is_dead)
        return;
    http_pool_enter(l);
    l->is_dead = true;
    unlist(l);
    l->call = NULL;
    l->pool->link_cnt--;
    net_deadline_cancel(&l->deadline);
    if (l->dial)
        dial_cancel(l->dial);
    if (l->stream)
        net_stream_close(l->stream);
    l->dial = NULL;
    l->stream = NULL;
    http_pool_leave(l);
}

void http_pool_give(struct http_link *l)
{
    struct http_pool *p = l->pool;

    if (p->is_closed || !p->conf.idle_ms || p->idle_cnt >= p->conf.idle_max) {
        http_pool_drop(l);
        return;
    }
    adit_list_remove(&l->node);
    l->call = NULL;
    l->is_kept = true;
    adit_list_push(&p->idle, &l->node);
    p->idle_cnt++;
    net_deadline_arm(&l->deadline, p->conf.idle_ms);
    net_stream_read_start(l->stream);
}

static void on_idle_due(struct net_deadline *d)
{
    http_pool_drop(ADIT_CONTAINER_OF(d, struct http_link, deadline));
}

/* ---- stream events ---- */

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct http_link *l = net_stream_owner(s);

    http_pool_enter(l);
    if (l->call)
        http_call_read(l->call, bytes);
    else
        http_pool_drop(l); /* nobody asked */
    http_pool_leave(l);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct http_link *l = net_stream_owner(s);

    http_pool_enter(l);
    if (l->call)
        http_call_peer_ended(l->call, err);
    else
        http_pool_drop(l);
    http_pool_leave(l);
}

static void on_drain(struct net_stream *s)
{
    struct http_link *l = net_stream_owner(s);

    http_pool_enter(l);
    if (l->call)
        http_call_drained(l->call);
    http_pool_leave(l);
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

static void on_dialled(void *owner, struct net_stream *take_stream, struct adit_view already,
                       const struct adit_err *err)
{
    struct http_link *l = owner;
    struct adit_err early = ADIT_ERR_INIT;

    http_pool_enter(l);
    l->dial = NULL;
    l->stream = take_stream;
    if (take_stream)
        net_stream_set_owner(take_stream, &stream_ops, l);
    if (take_stream && already.len) {
        (void)adit_err_set(&early, ADIT_ERR_PROTOCOL, "reply before the request"); /* only told */
        err = &early;
    }
    if (err)
        http_call_failed(l->call, err);
    else
        http_call_connected(l->call);
    http_pool_leave(l);
}

/* ---- taking ---- */

/* A connection in none of the lists. */
static int link_new(struct http_pool *p, struct http_link **out, struct adit_err *err)
{
    struct http_link *l = calloc(1, sizeof(*l));

    if (!l || !(l->parser = http_parser_new(HTTP_RESPONSE))) {
        free(l);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "connection");
    }
    l->pool = p;
    adit_buf_init(&l->held, NET_SCRATCH_CAP);
    net_deadline_init(&l->deadline, p->loop, on_idle_due);
    *out = l;
    return ADIT_OK;
}

/* It counts from now on. */
static void link_enter(struct http_link *l)
{
    l->pool->refs++;
    l->pool->link_cnt++;
}

static int link_dial(struct http_pool *p, struct http_call *c, struct http_link **out,
                     struct adit_err *err)
{
    struct http_link *l;
    int rc = link_new(p, &l, err);

    if (rc != ADIT_OK)
        return rc;
    rc = dial_start(p->loop, &p->conf.target, p->conf.dial_ms, on_dialled, l, &l->dial, err);
    if (rc != ADIT_OK) {
        http_parser_free(l->parser);
        free(l);
        return rc;
    }
    l->call = c;
    link_enter(l);
    list_running(l);
    *out = l;
    return ADIT_OK;
}

int http_pool_adopt(struct http_pool *p, struct net_stream *take_stream, struct adit_err *err)
{
    struct http_link *l;
    int rc = link_new(p, &l, err);

    if (rc != ADIT_OK) {
        net_stream_close(take_stream);
        return rc;
    }
    l->stream = take_stream;
    net_stream_set_owner(take_stream, &stream_ops, l);
    link_enter(l);
    adit_list_push(&p->idle, &l->node);
    p->idle_cnt++;
    net_stream_read_start(take_stream);
    return ADIT_OK;
}

int http_pool_take(struct http_pool *p, struct http_call *c, bool fresh, struct http_link **out,
                   struct adit_err *err)
{
    struct http_link *l;

    if (p->is_closed)
        return adit_err_set(err, ADIT_ERR_CLOSED, "the pool is closed");
    if (fresh || adit_list_empty(&p->idle)) {
        if (p->conf.connections_max && p->link_cnt >= p->conf.connections_max)
            return adit_err_set(err, ADIT_ERR_LIMIT, "more than %zu connections",
                                p->conf.connections_max);
        return link_dial(p, c, out, err);
    }
    l = ADIT_CONTAINER_OF(p->idle.prev, struct http_link, node);
    net_deadline_cancel(&l->deadline);
    unlist(l);
    l->call = c;
    l->got_byte = false;
    list_running(l);
    *out = l;
    return ADIT_OK;
}

/* ---- pool ---- */

int http_pool_new(struct net_loop *l, const struct http_pool_conf *conf, struct http_pool **out,
                  struct adit_err *err)
{
    struct http_pool *p = calloc(1, sizeof(*p));

    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "connection pool");
    p->loop = l;
    p->conf = *conf;
    p->refs = 1;
    adit_list_init(&p->idle);
    adit_list_init(&p->running);
    *out = p;
    return ADIT_OK;
}

void http_pool_close(struct http_pool *p)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_list *node;

    p->is_closed = true;
    while ((node = adit_list_first(&p->idle)))
        http_pool_drop(ADIT_CONTAINER_OF(node, struct http_link, node));
    (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the connection was closed"); /* only told */
    while ((node = adit_list_first(&p->running)))
        http_call_failed(ADIT_CONTAINER_OF(node, struct http_link, node)->call, &err);
    pool_unref(p);
}

size_t http_pool_connection_cnt(const struct http_pool *p)
{
    return p->link_cnt;
}

struct net_loop *http_pool_loop(const struct http_pool *p)
{
    return p->loop;
}
