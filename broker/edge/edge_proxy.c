/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane: one request for a sandbox, from its head to the relay.
 *
 * Theory of operation
 *
 * In order: find the sandbox, authorize, write the head for the guest anew, hand both bodies to the
 * relay. Authorization is decided here, in authorize(), on the parsed port and the cleaned path,
 * before anything is said to the guest and before an Upgrade is looked at:
 *
 *   port                         rule
 *   1024, 1025, 1026             nobody: 404
 *   49983, envd's control paths  nobody: 404
 *   49983, everything else       envd itself checks the access token or the signature
 *   any other, private sandbox   the traffic token, else 403
 *   any other                    everybody
 *
 * What a request needs after its head is gone (for the answer when the guest fails) is in a struct
 * pending, freed when the relay is over.
 */
#include "broker/edge/edge_int.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/edge/edge_grpc.h"
#include "broker/edge/edge_page.h"
#include "broker/edge/edge_target.h"
#include "net/channel.h"
#include "net/http_write.h"
#include "net/relay.h"
#include "net/url.h"

/* What is told of a request: its id, when it began, what it was for. */
struct note {
    char id[EDGE_REQUEST_ID_CAP];
    uint64_t began_ns;
    enum edge_stats_kind kind;
};

/*
 * owned by: the relay that it is the owner of
 *
 * @status: of the answer that has begun, or 0
 */
struct pending {
    struct edge_loop *loop;
    struct note note;
    unsigned status;
    struct edge_usage *usage; /* one reference, and one of its active requests */
    char sandbox_id[EDGE_ID_CAP];
    uint16_t port;
    enum edge_page_form form;
    struct edge_grpc grpc; /* for EDGE_PAGE_GRPC */
};

static void count(struct edge_loop *l, const struct note *n, unsigned status)
{
    edge_stats_count(&l->stats, n->kind, status, uv_hrtime() - n->began_ns);
}

static void pending_free(struct pending *p)
{
    adit_log(ADIT_LOG_DEBUG, "relayed", LOG_S("request_id", p->note.id),
             LOG_S("sandbox", p->sandbox_id), LOG_U("port", p->port), LOG_U("status", p->status),
             LOG_U("us", (uv_hrtime() - p->note.began_ns) / 1000));
    atomic_fetch_sub(&p->usage->active, 1);
    edge_usage_unref(p->usage);
    edge_grpc_fini(&p->grpc);
    free(p);
}

static void send_page(struct edge_loop *l, struct http_exchange *x, const struct note *n,
                      enum edge_page page, enum edge_page_form form,
                      const struct edge_page_args *args)
{
    struct adit_buf *body = &l->page_buf;

    count(l, n, edge_page_status(page));
    edge_request_id_show(x, n->id);
    adit_buf_clear(body);
    int rc = edge_page_body(page, form, args, body);
    if (rc == 0 && form == EDGE_PAGE_GRPC) {
        edge_grpc_refuse(x, edge_page_grpc_code(page), adit_buf_view(body));
        return;
    }
    if (rc != 0 || http_exchange_header_str(x, "Content-Type", edge_page_content_type(form)) != 0) {
        http_exchange_reset(x);
        return;
    }
    http_exchange_reply(x, edge_page_status(page), adit_buf_view(body));
}

/* ---- the guest failed before it replied ---- */

static enum edge_page page_of_failure(const struct pending *p, const struct adit_err *err)
{
    switch (err->code) {
    case ADIT_ERR_TIMEOUT:
        return EDGE_PAGE_TIMED_OUT;
    case ADIT_ERR_LIMIT:
        return EDGE_PAGE_TOO_MANY;
    case ADIT_ERR_PROTOCOL:
    case ADIT_ERR_BAD_INPUT:
        return EDGE_PAGE_BAD_REPLY;
    case ADIT_ERR_NO_MEMORY:
        return EDGE_PAGE_INTERNAL;
    case ADIT_ERR_UNAVAILABLE:
        /* The sandbox answered, but nobody behind the tunnel did; or nothing answered at all. */
        return p->port != CHANNEL_PORT_ENVD && err->sys_errno == 0 ? EDGE_PAGE_PORT_CLOSED
                                                                   : EDGE_PAGE_NOT_FOUND;
    default:
        return adit_map_get(&p->loop->table, adit_view_str(p->sandbox_id)) == NULL
                   ? EDGE_PAGE_NOT_FOUND
                   : EDGE_PAGE_BAD_REPLY;
    }
}

static void on_relay_fail(void *owner, struct http_exchange *x, const struct adit_err *err)
{
    struct pending *p = owner;
    struct edge_page_args args = {
        .sandbox_id = adit_view_str(p->sandbox_id),
        .port = p->port,
        .limit = p->loop->edge->conf.channels_per_sandbox,
    };

    enum edge_page page = page_of_failure(p, err);
    adit_log(ADIT_LOG_DEBUG, "relay_failed", LOG_S("request_id", p->note.id),
             LOG_S("sandbox", p->sandbox_id), LOG_U("port", p->port), LOG_S("error", err->msg));
    p->status = edge_page_status(page);
    send_page(p->loop, x, &p->note, page, p->form, &args);
    pending_free(p);
}

static void on_relay_done(void *owner)
{
    struct pending *p = owner;

    if (p->status == 0)
        count(p->loop, &p->note, 0);
    pending_free(p);
}

static void on_reply(void *owner, unsigned status)
{
    struct pending *p = owner;

    p->status = status;
    count(p->loop, &p->note, status);
}

static void on_bytes(void *owner, bool is_up, size_t len)
{
    struct edge_stats *stats = &((struct pending *)owner)->loop->stats;

    *(is_up ? &stats->bytes_up : &stats->bytes_down) += len;
}

static const struct relay_ops proxy_relay_ops = {
    .on_fail = on_relay_fail,
    .on_done = on_relay_done,
    .on_reply = on_reply,
    .on_bytes = on_bytes,
};

/* ---- gRPC ---- */

static bool on_grpc_head(void *owner, struct http_exchange *x, const struct http_head *head)
{
    (void)owner;
    return edge_grpc_head(x, head);
}

static bool on_grpc_body(void *owner, struct http_exchange *x, struct adit_view bytes)
{
    struct pending *p = owner;

    return edge_grpc_body(&p->grpc, x, bytes);
}

static bool on_grpc_end(void *owner, struct http_exchange *x)
{
    struct pending *p = owner;

    return edge_grpc_end(&p->grpc, x);
}

static const struct relay_ops grpc_relay_ops = {
    .on_fail = on_relay_fail,
    .on_done = on_relay_done,
    .on_reply = on_reply,
    .on_bytes = on_bytes,
    .on_head = on_grpc_head,
    .on_body = on_grpc_body,
    .on_end = on_grpc_end,
};

/* gRPC itself, where it can be answered: it needs trailers. Over HTTP/1 envd refuses it. */
static bool is_grpc(const struct http_exchange *x, const struct http_head *head)
{
    return http_exchange_has_trailers(x) && edge_grpc_is(http_head_get(head, "content-type"));
}

/* ---- authorization ---- */

static bool authorize_traffic(const struct edge_route *route, const struct http_head *head,
                              enum edge_page *refusal)
{
    struct adit_view token = http_head_get(head, "e2b-traffic-access-token");

    if (!route->is_private)
        return true;
    if (token.len == 0) {
        *refusal = EDGE_PAGE_TOKEN_MISSING;
        return false;
    }
    *refusal = EDGE_PAGE_TOKEN_INVALID;
    return adit_view_eq_secret(token, adit_view_str(route->traffic_token));
}

/* @clean_path: only read for envd's port. */
static bool authorize(const struct edge_route *route, uint16_t port, struct adit_view clean_path,
                      const struct http_head *head, enum edge_page *refusal)
{
    if (edge_target_is_reserved(port)) {
        *refusal = EDGE_PAGE_RESERVED_PORT;
        return false;
    }
    if (port == CHANNEL_PORT_ENVD) {
        *refusal = EDGE_PAGE_RESERVED_ROUTE;
        return !edge_target_is_envd_control(clean_path);
    }
    return authorize_traffic(route, head, refusal);
}

/* ---- the head for the guest ---- */

static int append_masked_host(struct adit_buf *b, const char *mask, uint16_t port)
{
    const char *hole = strstr(mask, "${PORT}");

    if (hole == NULL)
        return adit_buf_appendf(b, "Host: %s\r\n", mask);
    return adit_buf_appendf(b, "Host: %.*s%u%s\r\n", (int)(hole - mask), mask, port,
                            hole + strlen("${PORT}"));
}

static int write_forwarded(struct adit_buf *b, struct http_exchange *x,
                           const struct http_head *head, struct adit_view host)
{
    struct adit_view before = http_head_get(head, "x-forwarded-for");
    int rc = adit_buf_append_str(b, "X-Forwarded-For: ");

    if (rc == 0 && before.len > 0) {
        rc = adit_buf_append_view(b, before);
        if (rc == 0)
            rc = adit_buf_append_str(b, ", ");
    }
    if (rc == 0)
        rc = adit_buf_append_str(b, net_stream_peer(http_exchange_stream(x)));
    if (rc == 0)
        rc = adit_buf_append_str(b, net_stream_is_encrypted(http_exchange_stream(x))
                                        ? "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: "
                                        : "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ");
    if (rc == 0)
        rc = adit_buf_append_view(b, host);
    return rc == 0 ? adit_buf_append_str(b, "\r\n") : rc;
}

/* Fields that we write ourselves. */
static bool is_written_anew(struct adit_view name)
{
    if (name.len == sizeof(EDGE_REQUEST_ID_HEADER) - 1)
        return adit_view_ieq_str(name, EDGE_REQUEST_ID_HEADER);
    return name.len >= 15 && (adit_view_ieq_str(name, "x-forwarded-for") ||
                              adit_view_ieq_str(name, "x-forwarded-host") ||
                              adit_view_ieq_str(name, "x-forwarded-proto"));
}

static int write_head(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                      const struct url_target *url, const struct edge_route *route, uint16_t port,
                      const char *id)
{
    struct adit_buf *b = &l->head_buf;
    struct adit_view host = url->authority.len > 0 ? url->authority : http_head_get(head, "host");
    bool bridged = port == CHANNEL_PORT_ENVD && is_grpc(x, head);
    bool is_masked = route->mask_host[0] != '\0' && port != CHANNEL_PORT_ENVD;

    adit_buf_clear(b);
    int rc = relay_write_request_line(b, head, url);
    if (rc == 0 && is_masked)
        rc = append_masked_host(b, route->mask_host, port);
    else if (rc == 0)
        rc = http_write_header(b, (struct adit_view)ADIT_VIEW("Host"), host);
    for (size_t i = 0; i < head->header_cnt && rc == 0; i++) {
        struct adit_view name = head->headers[i].name;

        if (http_head_is_hop(head, name) || is_written_anew(name))
            continue;
        if (bridged && adit_view_ieq_str(name, "content-type"))
            rc = edge_grpc_write_type(b, head->headers[i].value);
        else
            rc = http_write_header(b, name, head->headers[i].value);
    }
    if (rc == 0)
        rc = write_forwarded(b, x, head, host);
    if (rc == 0)
        rc = http_write_header_str(b, EDGE_REQUEST_ID_HEADER, id);
    if (rc == 0)
        rc = relay_write_framing(b, head);
    return rc != 0 ? rc : http_write_end(b);
}

/* ---- the request ---- */

static void start(struct edge_loop *l, struct edge_entry *entry, struct http_exchange *x,
                  const struct http_head *head, struct pending *p)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_pool *pool;
    int rc = edge_loop_pool(l, entry, p->port, &pool, &err);

    bool bridged = is_grpc(x, head);

    if (rc == 0)
        rc = relay_start(x, head, pool, adit_buf_view(&l->head_buf),
                         bridged ? &grpc_relay_ops : &proxy_relay_ops, p, &err);
    if (rc != 0)
        on_relay_fail(p, x, &err);
}

/* Split the target, and clean its path for envd's port. Return: false for a target that is refused.
 */
static bool read_target(struct edge_loop *l, const struct http_head *head, uint16_t port,
                        struct url_target *url)
{
    if (url_split_target(head->target, url, NULL) != 0)
        return false;
    adit_buf_clear(&l->path_buf);
    return port != CHANNEL_PORT_ENVD || url_clean_path(url->path, &l->path_buf) == 0;
}

static struct pending *pending_new(struct edge_loop *l, struct edge_usage *usage,
                                   const struct edge_target *target, const struct http_head *head,
                                   const struct note *n)
{
    struct pending *p = malloc(sizeof(*p));

    if (p == NULL)
        return NULL;
    p->loop = l;
    p->note = *n;
    p->status = 0;
    p->usage = usage;
    atomic_fetch_add(&usage->refs, 1);
    atomic_fetch_add(&usage->active, 1);
    memcpy(p->sandbox_id, target->sandbox_id.ptr, target->sandbox_id.len);
    p->sandbox_id[target->sandbox_id.len] = '\0';
    p->port = target->port;
    p->form = edge_page_form(head);
    edge_grpc_init(&p->grpc);
    return p;
}

void edge_proxy_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head,
                        const struct edge_target *target)
{
    struct edge_page_args args = {.sandbox_id = target->sandbox_id, .port = target->port};
    struct edge_entry *entry = edge_loop_find(l, target->sandbox_id);
    enum edge_page refusal = EDGE_PAGE_NOT_FOUND;
    struct note n = {.began_ns = uv_hrtime(),
                     .kind = target->port == CHANNEL_PORT_ENVD ? EDGE_STATS_ENVD : EDGE_STATS_PORT};
    struct url_target url;
    struct pending *p;

    edge_request_id_take(&l->ids, head, n.id);
    if (!read_target(l, head, target->port, &url)) {
        count(l, &n, 400);
        edge_request_id_show(x, n.id);
        (void)http_exchange_header_str(x, "Content-Type",
                                       "text/plain; charset=utf-8"); /* best effort */
        http_exchange_reply(x, 400, (struct adit_view)ADIT_VIEW("Invalid request target"));
        return;
    }
    args.path = adit_buf_view(&l->path_buf);
    if (entry == NULL || !authorize(&entry->route, target->port, args.path, head, &refusal)) {
        send_page(l, x, &n, refusal, edge_page_form(head), &args);
        return;
    }
    if (target->port != CHANNEL_PORT_ENVD && is_grpc(x, head)) {
        send_page(l, x, &n, EDGE_PAGE_NOT_GRPC, EDGE_PAGE_GRPC, &args);
        return;
    }
    if (atomic_load(&entry->usage->active) >= l->edge->conf.channels_per_sandbox) {
        args.limit = l->edge->conf.channels_per_sandbox;
        send_page(l, x, &n, EDGE_PAGE_TOO_MANY, edge_page_form(head), &args);
        return;
    }
    p = write_head(l, x, head, &url, &entry->route, target->port, n.id) == 0
            ? pending_new(l, entry->usage, target, head, &n)
            : NULL;
    if (p == NULL) {
        send_page(l, x, &n, EDGE_PAGE_INTERNAL, EDGE_PAGE_JSON, &args);
        return;
    }
    start(l, entry, x, head, p);
}
