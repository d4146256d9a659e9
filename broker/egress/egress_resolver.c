/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for sandboxes.
 *
 * Theory of operation
 *
 * What: c-ares speaks to the servers; here are its sockets on the loop, its timer, and the time
 * that the one who asked is ready to wait.
 *
 *              ┌─deadline, cancel──> GIVEN_UP ──its reply──> gone
 *   ASKED ─────┴─its reply──> REPLIED ──task──> @done, gone
 *                                └──cancel──> gone
 *
 * c-ares gives up no single query, so one that nobody waits for stays until its servers answered or
 * ran out of tries; it counts against EGRESS_RESOLVER_QUERIES_MAX. It may also reply inside the
 * call that asks: @done comes from a task, so always outside of c-ares, and may close the resolver.
 *
 * Ownership: the resolver owns queries and sockets. A socket's memory is freed in its close
 * callback, the resolver's after the last of them.
 * Trust: replies are read by egress_reply.c.
 * Failure: no server, no memory for a socket or a reply: EGRESS_RCODE_FAILED, at the latest after
 * EGRESS_RESOLVER_QUERY_MS.
 */
#include "broker/egress/egress_resolver.h"

#include <ares.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/nameser.h>
#include <sys/socket.h>

/* What passes every network unfragmented (the year-2020 agreement of the DNS vendors). */
#define EDNS_SIZE 1232

enum query_state { QUERY_ASKED, QUERY_GIVEN_UP, QUERY_REPLIED };

struct egress_query {
    struct adit_list node;
    struct egress_resolver *resolver; /* borrowed */
    enum query_state state;
    unsigned type;
    egress_resolved_fn done;
    void *owner; /* borrowed */
    struct net_deadline deadline;
    struct net_task task;
    struct egress_reply *reply; /* once REPLIED; NULL: failed */
    char name[CONTROL_NAME_MAX + 1];
};

/* One of c-ares' sockets, which it opens and closes. */
struct ares_watch {
    struct adit_list node;
    struct egress_resolver *resolver; /* borrowed */
    ares_socket_t fd;
    uv_poll_t poll;
};

struct egress_resolver {
    struct net_loop *loop; /* borrowed; NULL before it is started */
    ares_channel channel;  /* NULL once closed */
    struct adit_list queries, watches;
    size_t query_cnt, open_handles;
    struct net_deadline retry; /* c-ares' own time-outs */
};

/* ---- queries ---- */

static void query_free(struct egress_query *q)
{
    net_deadline_cancel(&q->deadline);
    net_task_cancel(&q->task);
    adit_list_remove(&q->node);
    q->resolver->query_cnt--;
    free(q->reply);
    free(q);
}

static void tell_failed(egress_resolved_fn done, void *owner)
{
    static const struct egress_resolved failed = {.rcode = EGRESS_RCODE_FAILED};
    done(owner, &failed);
}

static void on_task(struct net_task *t)
{
    struct egress_query *q = ADIT_CONTAINER_OF(t, struct egress_query, task);
    struct egress_reply *reply = q->reply;
    egress_resolved_fn done = q->done;
    void *owner = q->owner;
    q->reply = NULL;
    query_free(q);
    if (reply)
        done(owner, &reply->resolved);
    else
        tell_failed(done, owner);
    free(reply);
}

static void on_due(struct net_deadline *d)
{
    struct egress_query *q = ADIT_CONTAINER_OF(d, struct egress_query, deadline);
    q->state = QUERY_GIVEN_UP;
    tell_failed(q->done, q->owner);
}

/* From c-ares, also inside ares_query() and ares_destroy(). A reply without address or with an
 * error code has its bytes as well. */
static void on_reply(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct egress_query *q = arg;
    (void)timeouts;
    if (q->state == QUERY_GIVEN_UP) {
        query_free(q);
        return;
    }
    net_deadline_cancel(&q->deadline);
    q->state = QUERY_REPLIED;
    if (status != ARES_EDESTRUCTION && bytes && len > 0 && (q->reply = malloc(sizeof(*q->reply))))
        egress_reply_read(q->reply, adit_view_mem(bytes, (size_t)len), adit_view_str(q->name),
                          q->type);
    net_task_post(&q->task);
}

/* ---- c-ares on the loop ---- */

static void arm_retry(struct egress_resolver *r)
{
    struct timeval tv, *next = ares_timeout(r->channel, NULL, &tv);
    if (next)
        net_deadline_arm(&r->retry, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000);
    else
        net_deadline_cancel(&r->retry);
}

static void on_retry(struct net_deadline *d)
{
    struct egress_resolver *r = ADIT_CONTAINER_OF(d, struct egress_resolver, retry);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_retry(r);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct ares_watch *w = ADIT_CONTAINER_OF(handle, struct ares_watch, poll);
    struct egress_resolver *r = w->resolver;
    ares_socket_t fd = w->fd;
    bool is_readable = status < 0 || (events & UV_READABLE);
    bool is_writable = status < 0 || (events & UV_WRITABLE);
    ares_process_fd(r->channel, is_readable ? fd : ARES_SOCKET_BAD,
                    is_writable ? fd : ARES_SOCKET_BAD);
    arm_retry(r);
}

static void free_if_closed(struct egress_resolver *r)
{
    if (r->open_handles > 0 || r->channel)
        return;
    free(r);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct ares_watch *w = ADIT_CONTAINER_OF(handle, struct ares_watch, poll);
    struct egress_resolver *r = w->resolver;
    free(w);
    r->open_handles--;
    free_if_closed(r);
}

static struct ares_watch *watch_of(struct egress_resolver *r, ares_socket_t fd)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &r->watches)
    {
        struct ares_watch *w = ADIT_CONTAINER_OF(it, struct ares_watch, node);
        if (w->fd == fd)
            return w;
    }
    return NULL;
}

static struct ares_watch *watch_new(struct egress_resolver *r, ares_socket_t fd)
{
    struct ares_watch *w = calloc(1, sizeof(*w));
    if (!w || uv_poll_init(r->loop->uv, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->resolver = r;
    w->fd = fd;
    adit_list_push(&r->watches, &w->node);
    r->open_handles++;
    return w;
}

static void watch_close(struct ares_watch *w)
{
    adit_list_remove(&w->node);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* Neither: the socket is closed as soon as this returns. Without a watch its queries run into their
 * time-outs. */
static void on_socket_state(void *arg, ares_socket_t fd, int is_readable, int is_writable)
{
    struct egress_resolver *r = arg;
    struct ares_watch *w = watch_of(r, fd);
    int events = (is_readable ? UV_READABLE : 0) | (is_writable ? UV_WRITABLE : 0);
    if (!events) {
        if (w)
            watch_close(w);
        return;
    }
    if (!w)
        w = watch_new(r, fd);
    if (w && uv_poll_start(&w->poll, events, on_ready) != 0)
        watch_close(w);
}

/* ---- the resolver ---- */

static int fail_ares(int status, struct adit_err *err)
{
    int code = status == ARES_ENOMEM ? ADIT_ERR_NO_MEMORY : ADIT_ERR_IO;
    return adit_err_set(err, code, "resolver: %s", ares_strerror(status));
}

static int open_channel(struct egress_resolver *r, const char *servers, struct adit_err *err)
{
    struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
                             .timeout = EGRESS_RESOLVER_TRY_MS,
                             .tries = EGRESS_RESOLVER_TRIES,
                             .ednspsz = EDNS_SIZE,
                             .sock_state_cb = on_socket_state,
                             .sock_state_cb_data = r};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
               ARES_OPT_SOCK_STATE_CB;
    int status = ares_init_options(&r->channel, &o, mask);
    if (status != ARES_SUCCESS) {
        r->channel = NULL;
        return fail_ares(status, err);
    }
    if (!servers || !servers[0])
        return ADIT_OK;
    status = ares_set_servers_ports_csv(r->channel, servers);
    if (status == ARES_SUCCESS)
        return ADIT_OK;
    if (status == ARES_ENOMEM)
        return fail_ares(status, err);
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "not a list of name servers: %s", servers);
}

int egress_resolver_new(const char *servers, struct egress_resolver **out, struct adit_err *err)
{
    struct egress_resolver *r = calloc(1, sizeof(*r));
    if (!r)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a resolver");
    adit_list_init(&r->queries);
    adit_list_init(&r->watches);
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status != ARES_SUCCESS) {
        free(r);
        return fail_ares(status, err);
    }
    int rc = open_channel(r, servers, err);
    if (rc != ADIT_OK)
        egress_resolver_close(r);
    else
        *out = r;
    return rc;
}

void egress_resolver_start(struct egress_resolver *r, struct net_loop *l)
{
    r->loop = l;
    net_deadline_init(&r->retry, l, on_retry);
}

void egress_resolver_close(struct egress_resolver *r)
{
    struct adit_list *it, *tmp;
    if (!r)
        return;
    if (r->loop)
        net_deadline_cancel(&r->retry);
    ADIT_LIST_EACH(it, tmp, &r->queries)
    egress_resolver_cancel(ADIT_CONTAINER_OF(it, struct egress_query, node));
    ares_channel channel = r->channel;
    if (channel)
        ares_destroy(channel); /* on_reply() frees the queries, on_socket_state() closes watches */
    ares_library_cleanup();
    r->channel = NULL;
    free_if_closed(r);
}

/* ---- asking ---- */

static struct egress_query *query_new(struct egress_resolver *r, const char *name, unsigned type)
{
    struct egress_query *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->resolver = r;
    q->type = type;
    memcpy(q->name, name, strlen(name) + 1);
    net_deadline_init(&q->deadline, r->loop, on_due);
    net_task_init(&q->task, r->loop, on_task);
    adit_list_push(&r->queries, &q->node);
    r->query_cnt++;
    return q;
}

int egress_resolver_lookup(struct egress_resolver *r, const char *name, unsigned type,
                           egress_resolved_fn done, void *owner, struct egress_query **out)
{
    /* no backslash above all: c-ares would take it for an escape, and ask for another name than the
     * one that the rules were compared with */
    if (!egress_reply_is_name(adit_view_str(name)) ||
        (type != CONTROL_TYPE_A && type != CONTROL_TYPE_AAAA))
        return ADIT_ERR_BAD_INPUT;
    if (r->query_cnt >= EGRESS_RESOLVER_QUERIES_MAX)
        return ADIT_ERR_LIMIT;
    struct egress_query *q = query_new(r, name, type);
    if (!q)
        return ADIT_ERR_NO_MEMORY;
    q->done = done;
    q->owner = owner;
    *out = q;
    net_deadline_arm(&q->deadline, EGRESS_RESOLVER_QUERY_MS);
    ares_query(r->channel, q->name, ns_c_in, (int)type, on_reply, q);
    arm_retry(r);
    return ADIT_OK;
}

void egress_resolver_cancel(struct egress_query *q)
{
    if (q->state == QUERY_REPLIED) {
        query_free(q);
        return;
    }
    net_deadline_cancel(&q->deadline);
    q->state = QUERY_GIVEN_UP;
}

/* ---- the host ---- */

bool egress_resolver_host_has_ipv6(void)
{
    /* 2000::1: only the routing table is asked */
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(own);
    a.sin6_addr.s6_addr[0] = 0x20;
    a.sin6_addr.s6_addr[15] = 1;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool has = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
               getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
               !IN6_IS_ADDR_LINKLOCAL(&own.sin6_addr) && !IN6_IS_ADDR_LOOPBACK(&own.sin6_addr);
    (void)close(fd); /* nothing was sent */
    return has;
}
