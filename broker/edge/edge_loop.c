/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay loop: its thread, listeners, route table and channel pools.
 *
 * Theory of operation
 *
 * Everything in a struct edge_loop belongs to its thread once that runs. Routes arrive by message
 * and live in the loop's own table; one that finds no memory there waits and is placed when it is
 * missed, so a sandbox that was answered for is reachable. An entry owns its channel pools:
 * dropping the entry closes them, which breaks every exchange that runs over them, so a killed
 * sandbox's clients see a reset and the next request sees "not found".
 *
 * States: open (sockets bound, no thread) → running → stopping (whoever waits is accepted, then
 * nobody; what was sent is read for EDGE_STOP_READ_MS) → draining (running exchanges get drain_ms)
 * → stopped (pools, mailbox and timers closed; the thread ends and tells the control loop).
 *
 * Limits: EDGE_POOLS_MAX pools an entry; the one used longest ago without connections makes room.
 */
#include "broker/edge/edge_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "broker/edge/edge_target.h"
#include "broker/edge/edge_token.h"
#include "net/channel.h"
#include "net/http2_server.h"

/* A sandbox may have been published a moment ago, or without memory for it in the table. */
static void catch_up(struct edge_loop *l)
{
    struct adit_list *it, *tmp;

    edge_mailbox_read(&l->inbox);
    ADIT_LIST_EACH(it, tmp, &l->unplaced)
    {
        struct edge_entry *entry = ADIT_CONTAINER_OF(it, struct edge_entry, node);

        if (adit_map_put(&l->table, adit_view_str(entry->route.sandbox_id), entry) == 0)
            adit_list_remove(it);
    }
}

/* Said twice is not said: an empty value is refused by what reads it. */
static struct adit_view routing_header(const struct http_head *head, const char *name)
{
    return http_head_count(head, name) > 1 ? adit_view_str("") : http_head_get(head, name);
}

/* A signed file request that names no sandbox becomes one that does. */
static enum edge_signed_result resolve_signed(struct edge_loop *l, struct http_exchange *x,
                                              const struct http_head *head,
                                              struct edge_target *target)
{
    const char *id = NULL;
    enum edge_signed_result result;

    catch_up(l);
    result = edge_signed_find(&l->signatures, &l->table, head->method, head->target,
                              net_stream_peer(http_exchange_stream(x)), adit_clock_mono_ns(), &id);
    if (result == EDGE_SIGNED_FOUND) {
        target->kind = EDGE_TARGET_SANDBOX;
        target->sandbox_id = adit_view_str(id);
        target->port = CHANNEL_PORT_ENVD;
    }
    return result;
}

/* In envd's form and words, since it is envd's answer that the client waits for. */
static void refuse_signed(struct http_exchange *x, const struct http_head *head, bool is_limited)
{
    static const struct adit_view unknown =
        ADIT_VIEW("{\"code\":401,\"message\":\"invalid signature\"}\n");
    static const struct adit_view limited =
        ADIT_VIEW("{\"code\":429,\"message\":\"too many invalid signatures\"}\n");
    int rc = http_exchange_header_str(x, "Content-Type", "application/json; charset=utf-8");

    if (rc == 0 && http_head_get(head, "origin").ptr != NULL)
        rc = http_exchange_header_str(x, "Access-Control-Allow-Origin", "*");
    if (rc == 0 && is_limited)
        rc = http_exchange_header_str(x, "Retry-After", "1");
    if (rc != 0)
        http_exchange_reset(x);
    else
        http_exchange_reply(x, is_limited ? 429 : 401, is_limited ? limited : unknown);
}

/* A request with an access token that names no sandbox: its own, or one that is not found. */
static void by_token(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                     struct adit_view token)
{
    struct edge_target target = {.kind = EDGE_TARGET_SANDBOX, .port = CHANNEL_PORT_ENVD};

    catch_up(l);
    target.sandbox_id = edge_token_find(&l->table, token);
    edge_proxy_request(l, x, head, &target);
}

/* Not for a sandbox, by host and headers: is it by its token or its signature? Else it is the
 * control API's. */
static void on_unaddressed(struct edge_loop *l, struct http_exchange *x,
                           const struct http_head *head)
{
    struct adit_view token = routing_header(head, "x-access-token");
    struct edge_target target;

    if (edge_token_is_one(token, head->target)) {
        by_token(l, x, head, token);
        return;
    }
    if (!edge_signed_is_one(head->method, head->target)) {
        edge_api_request(l, x, head);
        return;
    }
    switch (resolve_signed(l, x, head, &target)) {
    case EDGE_SIGNED_FOUND:
        edge_proxy_request(l, x, head, &target);
        break;
    case EDGE_SIGNED_UNKNOWN:
        refuse_signed(x, head, false);
        break;
    case EDGE_SIGNED_LIMITED:
        refuse_signed(x, head, true);
        break;
    }
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct edge_door *door = http_server_owner(http_exchange_server(x));
    struct edge_loop *l = door->loop;
    struct edge_target_input said = {
        .host = http_head_get(head, "host"),
        .id = routing_header(head, "e2b-sandbox-id"),
        .port = routing_header(head, "e2b-sandbox-port"),
        .path = head->target,
    };
    struct edge_target target;

    if (door->debug_port != 0) {
        edge_debug_request(l, x, head, door->debug_port);
        return;
    }
    edge_target_parse(&said, adit_view_str(l->edge->conf.domain), &target);
    switch (target.kind) {
    case EDGE_TARGET_API:
        on_unaddressed(l, x, head);
        break;
    case EDGE_TARGET_SANDBOX:
        edge_proxy_request(l, x, head, &target);
        break;
    case EDGE_TARGET_REFUSED:
        (void)http_exchange_header_str(x, "Content-Type", "text/plain; charset=utf-8");
        http_exchange_reply(x, 400, adit_view_str(target.refusal));
        break;
    }
}

/* Requests that could not be parsed have no route yet: the control API's error form serves both. */
static void on_refuse(struct http_server *s, unsigned status, const char *message,
                      struct adit_buf *headers, struct adit_buf *body)
{
    (void)s;
    if (adit_buf_append_str(headers, "Content-Type: application/json; charset=utf-8\r\n") != 0 ||
        adit_buf_appendf(body, "{\"code\":%u,\"message\":\"", status) != 0 ||
        adit_buf_append_json_text(body, adit_view_str(message)) != 0 ||
        adit_buf_append_str(body, "\"}") != 0)
        adit_buf_clear(body);
}

static void close_pools(struct edge_entry *entry)
{
    for (size_t i = 0; i < EDGE_POOLS_MAX; i++) {
        struct http_pool *pool = entry->pools[i].pool;

        entry->pools[i].pool = NULL;
        entry->pools[i].port = 0;
        if (pool != NULL)
            http_pool_close(pool);
    }
}

struct edge_entry *edge_loop_find(struct edge_loop *l, struct adit_view sandbox_id)
{
    struct edge_entry *entry = adit_map_get(&l->table, sandbox_id);

    if (entry == NULL) {
        catch_up(l);
        entry = adit_map_get(&l->table, sandbox_id);
    }
    return entry;
}

void edge_usage_unref(struct edge_usage *u)
{
    if (atomic_fetch_sub(&u->refs, 1) == 1)
        free(u);
}

void edge_entry_free(struct edge_entry *entry)
{
    close_pools(entry);
    edge_usage_unref(entry->usage);
    free(entry);
}

/* Return: the entry, which is in the table no more, or NULL. */
static struct edge_entry *take_out(struct edge_loop *l, struct adit_view id)
{
    struct adit_list *it, *tmp;

    ADIT_LIST_EACH(it, tmp, &l->unplaced)
    {
        struct edge_entry *entry = ADIT_CONTAINER_OF(it, struct edge_entry, node);

        if (adit_view_eq_str(id, entry->route.sandbox_id)) {
            adit_list_remove(it);
            return entry;
        }
    }
    return adit_map_del(&l->table, id);
}

void edge_loop_put_route(struct edge_loop *l, struct edge_entry *take_entry)
{
    struct adit_view id = adit_view_str(take_entry->route.sandbox_id);
    struct edge_entry *old = adit_map_get(&l->table, id);

    if (old == NULL)
        old = take_out(l, id);
    if (adit_map_put(&l->table, id, take_entry) != 0) /* it has no older one: replacing works */
        adit_list_push(&l->unplaced, &take_entry->node);
    if (old != NULL) /* only now: what it breaks finds the sandbox still there */
        edge_entry_free(old);
}

void edge_loop_drop_route(struct edge_loop *l, const char *sandbox_id)
{
    struct edge_entry *entry = take_out(l, adit_view_str(sandbox_id));

    if (entry != NULL)
        edge_entry_free(entry);
}

static struct edge_pool *pick_pool(struct edge_entry *entry, uint16_t port)
{
    struct edge_pool *oldest = NULL;

    for (size_t i = 0; i < EDGE_POOLS_MAX; i++) {
        struct edge_pool *p = &entry->pools[i];

        if (p->pool != NULL && p->port == port)
            return p;
        if (p->pool == NULL || http_pool_connection_cnt(p->pool) == 0) {
            if (oldest == NULL || p->pool == NULL || p->used < oldest->used)
                oldest = p;
        }
    }
    return oldest;
}

static void fill_pool_conf(const struct edge_loop *l, const struct edge_entry *entry, uint16_t port,
                           struct http_pool_conf *conf)
{
    const struct edge_conf *c = &l->edge->conf;

    memset(conf, 0, sizeof(*conf));
    conf->target = entry->route.target;
    conf->dial_ms = c->dial_ms;
    if (port == CHANNEL_PORT_ENVD || port == CHANNEL_PORT_KERNEL) {
        conf->target.port = port;
        conf->idle_ms = c->guest_idle_ms;
        conf->idle_max = c->channels_per_sandbox;
    } else {
        /* A user's server may close a kept connection whenever it likes, and a request lost to that
         * race cannot be sent twice: user ports get a new tunnel for each request. */
        conf->target.port = CHANNEL_PORT_TUNNEL;
        conf->target.tcp_port = port;
    }
}

int edge_loop_pool(struct edge_loop *l, struct edge_entry *entry, uint16_t port,
                   struct http_pool **out, struct adit_err *err)
{
    struct edge_pool *slot = pick_pool(entry, port);
    struct http_pool_conf conf;

    if (slot == NULL)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d ports in use at once",
                            EDGE_POOLS_MAX);
    if (slot->pool != NULL && slot->port != port) {
        http_pool_close(slot->pool);
        slot->pool = NULL;
    }
    if (slot->pool == NULL) {
        fill_pool_conf(l, entry, port, &conf);
        int rc = http_pool_new(&l->net, &conf, &slot->pool, err);
        if (rc != 0)
            return rc;
        slot->port = port;
    }
    slot->used = ++l->uses;
    *out = slot->pool;
    return 0;
}

void edge_loop_measure(const struct edge_loop *l, struct edge_stats *out)
{
    struct adit_view id;
    size_t pos = 0;
    void *value;

    *out = l->stats;
    out->connections = 0;
    for (size_t i = 0; i < l->door_cnt; i++)
        if (l->doors[i].http != NULL)
            out->connections += http_server_connection_cnt(l->doors[i].http);
    for (size_t i = 0; i < l->edge->conf.listen_cnt; i++)
        if (l->listeners[i] != NULL)
            out->descriptors_dropped += listener_dropped_cnt(l->listeners[i]);
    while (adit_map_next(&l->table, &pos, &id, &value)) {
        const struct edge_entry *entry = value;

        for (size_t i = 0; i < EDGE_POOLS_MAX; i++)
            if (entry->pools[i].pool != NULL)
                out->channels += http_pool_connection_cnt(entry->pools[i].pool);
    }
}

/* ---- life of the loop ---- */

static void accept_tls(void *owner, int take_fd)
{
    struct edge_loop *l = owner;
    struct net_stream *stream;

    if (net_stream_open_fd(&l->net, take_fd, NULL, NULL, &stream, NULL) != 0)
        return;
    if (tls_accept(l->tls, stream, NULL) == 0)
        http_server_adopt(l->doors[0].http, stream, adit_view_mem(NULL, 0));
    else
        net_stream_close(stream);
}

void edge_loop_set_tls(struct edge_loop *l, struct tls_context *take_tls)
{
    tls_context_unref(l->tls);
    l->tls = take_tls;
}

/* The door for that port of the debug sandbox, 0: the ordinary one. */
static int open_door(struct edge_loop *l, uint16_t debug_port, struct edge_door **out,
                     struct adit_err *err)
{
    const struct edge_conf *c = &l->edge->conf;
    struct http_server_conf http = {
        .header_ms = c->header_ms,
        .body_ms = c->body_ms,
        .idle_ms = c->client_idle_ms,
        .connections_max = (c->connections_max + c->loops - 1) / c->loops, /* 0 would be no limit */
        .streams_busy = EDGE_STREAMS_BUSY,
        .owner = &l->doors[l->door_cnt],
        .on_request = on_request,
        .on_refuse = on_refuse,
        .adopt_http2 = http2_server_adopt,
    };
    int rc;

    for (size_t i = 0; i < l->door_cnt; i++) {
        *out = &l->doors[i];
        if (l->doors[i].debug_port == debug_port)
            return 0;
    }
    if (l->door_cnt == EDGE_DOORS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "too many kinds of listeners");
    *out = &l->doors[l->door_cnt];
    **out = (struct edge_door){.loop = l, .debug_port = debug_port};
    rc = http_server_new(&l->net, &http, &(*out)->http, err);
    if (rc == 0)
        l->door_cnt++;
    return rc;
}

static int open_doors(struct edge_loop *l, const int *fds, struct adit_err *err)
{
    const struct edge_conf *c = &l->edge->conf;
    struct edge_door *door;
    int rc = open_door(l, 0, &door, err);

    for (size_t i = 0; i < c->listen_cnt && rc == 0; i++) {
        bool is_tls = edge_is_tls(c->listen[i]);

        rc = open_door(l, c->debug_ports[i], &door, err);
        if (rc == 0)
            rc = listener_open(&l->net, fds[i], is_tls ? accept_tls : http_server_accept,
                               is_tls ? (void *)l : door->http, &l->listeners[i], err);
    }
    return rc;
}

int edge_loop_open(struct edge_loop *l, struct edge *e, const int *take_fds, struct adit_err *err)
{
    int rc = uv_loop_init(&l->uv);

    if (rc != 0)
        return adit_err_sys(err, -rc, "start a relay loop");
    l->edge = e;
    edge_request_id_source_init(&l->ids);
    adit_map_init(&l->table);
    adit_list_init(&l->unplaced);
    edge_signed_init(&l->signatures, adit_rand_u64(), adit_clock_mono_ns());
    adit_buf_init(&l->head_buf, 2 * HTTP_HEAD_CAP);
    adit_buf_init(&l->path_buf, HTTP_HEAD_CAP);
    adit_buf_init(&l->page_buf, 8 * HTTP_HEAD_CAP); /* room for a path with every byte escaped */
    rc = edge_mailbox_init(&l->inbox, &l->uv, l);
    if (rc != 0)
        return adit_err_sys(err, -rc, "start a relay loop's mailbox");
    rc = net_loop_init(&l->net, &l->uv, err);
    if (rc != 0)
        return rc;
    return open_doors(l, take_fds, err);
}

static void close_everything(struct edge_loop *l)
{
    size_t pos = 0;
    struct adit_view id;
    void *value;
    struct adit_list *it;

    edge_mailbox_close(&l->inbox, NULL); /* delivers, so the table is still needed */
    while (adit_map_next(&l->table, &pos, &id, &value))
        edge_entry_free(value);
    while ((it = adit_list_first(&l->unplaced)) != NULL) {
        adit_list_remove(it);
        edge_entry_free(ADIT_CONTAINER_OF(it, struct edge_entry, node));
    }
    adit_map_fini(&l->table);
    net_loop_close(&l->net);
}

static void on_drained(void *owner)
{
    struct edge_door *door = owner;

    door->http = NULL; /* frees itself */
    if (--door->loop->drain_cnt == 0)
        close_everything(door->loop);
}

/* Nothing more can be asked: connections without a request are closed. */
static void on_stop_read(struct net_deadline *d)
{
    struct edge_loop *l = ADIT_CONTAINER_OF(d, struct edge_loop, stop_read);

    l->drain_cnt = l->door_cnt;
    for (size_t i = 0; i < l->door_cnt; i++)
        http_server_drain(l->doors[i].http, l->edge->conf.drain_ms, on_drained);
}

/* Who has connected and asked is answered, read or not. */
void edge_loop_stop(struct edge_loop *l)
{
    for (size_t i = 0; i < l->edge->conf.listen_cnt; i++) {
        listener_accept_waiting(l->listeners[i]);
        l->stats.descriptors_dropped += listener_dropped_cnt(l->listeners[i]);
        listener_close(l->listeners[i]);
        l->listeners[i] = NULL;
    }
    net_deadline_init(&l->stop_read, &l->net, on_stop_read);
    net_deadline_arm(&l->stop_read, EDGE_STOP_READ_MS);
}

static void run(void *arg)
{
    struct edge_loop *l = arg;

    uv_run(&l->uv, UV_RUN_DEFAULT);
    adit_buf_fini(&l->head_buf);
    adit_buf_fini(&l->path_buf);
    adit_buf_fini(&l->page_buf);
    edge_loop_set_tls(l, NULL);
    uv_loop_close(&l->uv);
    edge_loop_stopped(l);
}

int edge_loop_start(struct edge_loop *l, struct adit_err *err)
{
    int rc = uv_thread_create(&l->thread, run, l);

    return rc == 0 ? 0 : adit_err_sys(err, -rc, "start a relay thread");
}
