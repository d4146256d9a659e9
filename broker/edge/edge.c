/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control side of the public door: opening it, publishing and withdrawing routes, closing it.
 *
 * Theory of operation
 *
 * The control thread never touches a relay loop's state; it posts messages. A withdrawal is one
 * message to every loop sharing a counter: each loop drops the entry and sends the counter back,
 * and when the last one arrives the sandbox is unreachable everywhere and on_done is called.
 *
 * Listening sockets are opened here, one per loop and address (SO_REUSEPORT), before there is a
 * thread: between edge_open() and edge_start() the broker gives up its privileges. Sockets that
 * cannot be bound twice (Unix paths, inherited descriptors) are shared by duplicates.
 */
#include "broker/edge/edge_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

/* ---- messages to the loops ---- */

/* @change: NULL when nobody waits */
struct put_mail {
    struct edge_mail mail;
    struct edge_entry *entry; /* ours until it is delivered */
    struct change *change;
};

/* Shared by the loops' messages of one change; counted down on the control thread. */
struct change {
    char sandbox_id[EDGE_ID_CAP];
    size_t left;
    void (*on_done)(void *user);
    void *user;
};

struct drop_mail {
    struct edge_mail mail;
    struct change *change;
};

struct tls_mail {
    struct edge_mail mail;
    struct tls_context *tls; /* one reference */
};

static void count_down(struct change *c)
{
    if (--c->left > 0)
        return;
    c->on_done(c->user);
    free(c);
}

static void deliver_was_put(struct edge_mail *m, void *receiver)
{
    struct put_mail *put = ADIT_CONTAINER_OF(m, struct put_mail, mail);
    struct change *c = put->change;

    (void)receiver;
    free(put);
    count_down(c);
}

static void deliver_put(struct edge_mail *m, void *receiver)
{
    struct put_mail *put = ADIT_CONTAINER_OF(m, struct put_mail, mail);
    struct edge_loop *l = receiver;

    edge_loop_put_route(l, adit_steal(&put->entry));
    if (put->change == NULL) {
        free(put);
        return;
    }
    m->deliver = deliver_was_put;
    (void)edge_mailbox_post(&l->edge->inbox, m); /* open until every loop has ended */
}

static struct put_mail *make_put_mail(const struct edge_route *route, struct edge_usage *usage)
{
    struct put_mail *put = calloc(1, sizeof(*put));
    struct edge_entry *entry = calloc(1, sizeof(*entry));

    if (put == NULL || entry == NULL) {
        free(put);
        free(entry);
        return NULL;
    }
    entry->route = *route;
    entry->usage = usage;
    put->mail.deliver = deliver_put;
    put->entry = entry;
    return put;
}

/* A message for every loop, or none at all: a route that some loops lack would fail for some
 * connections only. All memory for it is taken here, where its lack can be told. */
static int make_put_mails(size_t cnt, const struct edge_route *route,
                          struct put_mail *mails[EDGE_LOOPS_MAX])
{
    struct edge_usage *usage = calloc(1, sizeof(*usage));
    size_t made = 0;

    while (usage != NULL && made < cnt && (mails[made] = make_put_mail(route, usage)))
        made++;
    if (made == cnt) {
        atomic_init(&usage->refs, (unsigned)made);
        return 0;
    }
    while (made-- > 0) {
        free(mails[made]->entry);
        free(mails[made]);
    }
    free(usage);
    return ADIT_ERR_NO_MEMORY;
}

static int put_everywhere(struct edge *e, const struct edge_route *route, struct change *change,
                          struct adit_err *err)
{
    struct put_mail *mails[EDGE_LOOPS_MAX];
    const size_t cnt = e->conf.loops;

    if (make_put_mails(cnt, route, mails) != 0)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to publish a route");
    for (size_t i = 0; i < cnt; i++) {
        mails[i]->change = change;
        if (edge_mailbox_post(&e->loops[i].inbox, &mails[i]->mail))
            continue;
        edge_entry_free(adit_steal(&mails[i]->entry)); /* that loop closes: it needs no route */
        mails[i]->mail.deliver = deliver_was_put;
        if (change == NULL)
            free(mails[i]);
        else
            (void)edge_mailbox_post(&e->inbox, &mails[i]->mail); /* ours, open */
    }
    return 0;
}

int edge_publish(struct edge *e, const struct edge_route *route, struct adit_err *err)
{
    return put_everywhere(e, route, NULL, err);
}

int edge_republish(struct edge *e, const struct edge_route *route, void (*on_done)(void *user),
                   void *user, struct adit_err *err)
{
    struct change *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to publish a route");
    c->left = e->conf.loops;
    c->on_done = on_done;
    c->user = user;
    int rc = put_everywhere(e, route, c, err);
    if (rc != 0)
        free(c);
    return rc;
}

static void deliver_tls(struct edge_mail *m, void *receiver)
{
    struct tls_mail *t = ADIT_CONTAINER_OF(m, struct tls_mail, mail);

    edge_loop_set_tls(receiver, t->tls);
    free(t);
}

int edge_set_tls(struct edge *e, struct tls_context *tls, struct adit_err *err)
{
    for (size_t i = 0; i < e->conf.loops; i++) {
        struct tls_mail *t = calloc(1, sizeof(*t));

        if (t == NULL)
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to publish a certificate");
        t->mail.deliver = deliver_tls;
        t->tls = tls_context_ref(tls);
        if (edge_mailbox_post(&e->loops[i].inbox, &t->mail))
            continue;
        tls_context_unref(tls); /* that loop is closing and accepts nothing more */
        free(t);
    }
    return 0;
}

static void deliver_dropped(struct edge_mail *m, void *receiver)
{
    struct drop_mail *drop = ADIT_CONTAINER_OF(m, struct drop_mail, mail);
    struct change *c = drop->change;

    (void)receiver;
    free(drop);
    count_down(c);
}

static void deliver_drop(struct edge_mail *m, void *receiver)
{
    struct drop_mail *drop = ADIT_CONTAINER_OF(m, struct drop_mail, mail);
    struct edge_loop *l = receiver;

    edge_loop_drop_route(l, drop->change->sandbox_id);
    m->deliver = deliver_dropped;
    (void)edge_mailbox_post(&l->edge->inbox, m); /* open until every loop has ended */
}

/* A message for every loop, or none at all. */
static int make_drop_mails(size_t cnt, struct change *change,
                           struct drop_mail *mails[EDGE_LOOPS_MAX])
{
    size_t made = 0;

    while (made < cnt && (mails[made] = calloc(1, sizeof(**mails)))) {
        mails[made]->mail.deliver = deliver_drop;
        mails[made++]->change = change;
    }
    if (made == cnt)
        return 0;
    while (made-- > 0)
        free(mails[made]);
    return ADIT_ERR_NO_MEMORY;
}

int edge_withdraw(struct edge *e, const char *sandbox_id, void (*on_done)(void *user), void *user,
                  struct adit_err *err)
{
    struct drop_mail *mails[EDGE_LOOPS_MAX];
    const size_t cnt = e->conf.loops;
    struct change *w = calloc(1, sizeof(*w));

    if (w == NULL || make_drop_mails(cnt, w, mails) != 0) {
        free(w);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to withdraw a route");
    }
    snprintf(w->sandbox_id, sizeof(w->sandbox_id), "%s", sandbox_id);
    w->left = cnt;
    w->on_done = on_done;
    w->user = user;
    for (size_t i = 0; i < cnt; i++) {
        if (edge_mailbox_post(&e->loops[i].inbox, &mails[i]->mail))
            continue;
        /* A closing loop has dropped everything already. */
        mails[i]->mail.deliver = deliver_dropped;
        (void)edge_mailbox_post(&e->inbox, &mails[i]->mail); /* ours, open */
    }
    return 0;
}

/* ---- collecting what the loops counted ---- */

/* Shared by the loops' messages of one collection; touched on the control thread only.
 * @uses: as the first loop told them, which has every route */
struct collection {
    size_t left;
    struct edge_stats sum;
    struct edge_use *uses;
    size_t use_cnt;
    edge_collect_fn on_done;
    void *user;
};

struct collect_mail {
    struct edge_mail mail;
    struct collection *collection;
    struct edge_stats stats;
    struct edge_use *uses; /* the first loop's */
    size_t use_cnt;
    bool wants_uses;
};

static void deliver_collected(struct edge_mail *m, void *receiver)
{
    struct collect_mail *mail = ADIT_CONTAINER_OF(m, struct collect_mail, mail);
    struct collection *c = mail->collection;

    (void)receiver;
    edge_stats_add(&c->sum, &mail->stats);
    if (mail->uses != NULL) {
        c->uses = mail->uses;
        c->use_cnt = mail->use_cnt;
    }
    free(mail);
    if (--c->left > 0)
        return;
    c->on_done(c->user, &c->sum, c->uses, c->use_cnt);
    free(c->uses);
    free(c);
}

/* Without memory nobody's use is told. */
static void list_uses(const struct edge_loop *l, struct collect_mail *mail)
{
    struct adit_view id;
    size_t pos = 0;
    void *value;

    mail->uses = calloc(l->table.len + 1, sizeof(*mail->uses));
    while (mail->uses != NULL && adit_map_next(&l->table, &pos, &id, &value)) {
        const struct edge_entry *entry = value;
        struct edge_use *use = &mail->uses[mail->use_cnt++];

        memcpy(use->sandbox_id, entry->route.sandbox_id, sizeof(use->sandbox_id));
        use->active = atomic_load(&entry->usage->active);
    }
}

static void deliver_collect(struct edge_mail *m, void *receiver)
{
    struct collect_mail *mail = ADIT_CONTAINER_OF(m, struct collect_mail, mail);
    struct edge_loop *l = receiver;

    edge_loop_measure(l, &mail->stats);
    if (mail->wants_uses)
        list_uses(l, mail);
    m->deliver = deliver_collected;
    (void)edge_mailbox_post(&l->edge->inbox, m); /* open until every loop has ended */
}

int edge_collect(struct edge *e, edge_collect_fn on_done, void *user)
{
    struct collect_mail *mails[EDGE_LOOPS_MAX];
    struct collection *c = calloc(1, sizeof(*c));
    size_t made = 0;

    while (c != NULL && made < e->conf.loops && (mails[made] = calloc(1, sizeof(**mails))) != NULL)
        made++;
    if (c == NULL || made < e->conf.loops) {
        while (made > 0)
            free(mails[--made]);
        free(c);
        return ADIT_ERR_NO_MEMORY;
    }
    c->left = made;
    c->on_done = on_done;
    c->user = user;
    for (size_t i = 0; i < made; i++) {
        mails[i]->mail.deliver = deliver_collect;
        mails[i]->collection = c;
        mails[i]->wants_uses = i == 0;
        if (!edge_mailbox_post(&e->loops[i].inbox, &mails[i]->mail)) {
            mails[i]->mail.deliver = deliver_collected;
            (void)edge_mailbox_post(&e->inbox, &mails[i]->mail); /* ours, open */
        }
    }
    return 0;
}

/* ---- opening ---- */

#define TLS_PREFIX "tls:"

bool edge_is_tls(const char *listen)
{
    return strncmp(listen, TLS_PREFIX, strlen(TLS_PREFIX)) == 0;
}

/* The address of listener @i, for listener_socket(). */
static const char *address_of(const struct edge *e, size_t i)
{
    const char *listen = e->conf.listen[i];

    return edge_is_tls(listen) ? listen + strlen(TLS_PREFIX) : listen;
}

static bool is_tcp(const char *address)
{
    return strncmp(address, "unix:", 5) != 0 && strncmp(address, "fd:", 3) != 0;
}

/* The descriptor of listener @i for one more loop, given the first loop's. */
static int another_socket(struct edge *e, size_t i, int first_fd, int *out_fd, struct adit_err *err)
{
    const char *address = address_of(e, i);
    char with_port[128];

    if (!is_tcp(address)) {
        *out_fd = fcntl(first_fd, F_DUPFD_CLOEXEC, 3);
        return *out_fd >= 0 ? 0 : adit_err_sys(err, errno, "share the listener %s", address);
    }
    /* ":0" chose a port for the first loop; the others take the same. */
    const char *colon = strrchr(address, ':');
    int host_len = colon != NULL ? (int)(colon - address) : 0;
    snprintf(with_port, sizeof(with_port), "%.*s:%u", host_len, address, e->ports[i]);
    return listener_socket_shared(with_port, out_fd, err);
}

static int open_sockets(struct edge *e, struct adit_err *err)
{
    for (size_t i = 0; i < e->conf.listen_cnt; i++) {
        int rc = listener_socket(address_of(e, i), &e->fds[0][i], err);

        if (rc != 0)
            return adit_err_wrap(err, "listen on %s", e->conf.listen[i]);
        e->ports[i] = listener_port(e->fds[0][i]);
        for (size_t l = 1; l < e->conf.loops && rc == 0; l++)
            rc = another_socket(e, i, e->fds[0][i], &e->fds[l][i], err);
        if (rc != 0)
            return adit_err_wrap(err, "listen on %s", e->conf.listen[i]);
    }
    return 0;
}

static void share_tls(struct edge *e)
{
    for (size_t l = 0; l < e->conf.loops && e->conf.tls != NULL; l++)
        e->loops[l].tls = tls_context_ref(e->conf.tls);
    e->conf.tls = NULL; /* it was only lent */
}

static int start_loops(struct edge *e, struct adit_err *err)
{
    int rc = 0;

    for (size_t l = 0; l < e->conf.loops && rc == 0; l++)
        rc = edge_loop_open(&e->loops[l], e, e->fds[l], err);
    for (size_t l = 0; l < e->conf.loops && rc == 0; l++) {
        rc = edge_loop_start(&e->loops[l], err);
        if (rc == 0)
            e->running_cnt++;
    }
    return rc;
}

int edge_open(const struct edge_conf *conf, struct edge **out, struct adit_err *err)
{
    struct edge *e;
    int rc;

    if (conf->loops == 0 || conf->loops > EDGE_LOOPS_MAX || conf->listen_cnt > EDGE_LISTENERS_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "1 to %d relay loops and at most %d listeners",
                            EDGE_LOOPS_MAX, EDGE_LISTENERS_MAX);
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the edge");
    e->conf = *conf;
    e->loops = calloc(conf->loops, sizeof(*e->loops));
    if (e->loops == NULL) {
        free(e);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the relay loops");
    }
    share_tls(e);
    rc = open_sockets(e, err);
    /* A failure here ends the program: the sockets go with it. */
    if (rc == 0)
        *out = e;
    return rc;
}

int edge_start(struct edge *e, struct adit_err *err)
{
    int uv = edge_mailbox_init(&e->inbox, e->conf.control, e);

    if (uv != 0)
        return adit_err_sys(err, -uv, "start the edge's mailbox");
    return start_loops(e, err); /* a failure here ends the program: the threads go with it */
}

uint16_t edge_port(const struct edge *e, size_t i)
{
    return e->ports[i];
}

/* ---- closing ---- */

static void on_inbox_closed(uv_handle_t *wake)
{
    struct edge_mailbox *inbox = wake->data;
    struct edge *e = inbox->receiver;
    void (*on_closed)(void *user) = e->on_closed;
    void *user = e->on_closed_user;

    free(e->loops);
    free(e);
    on_closed(user);
}

/* The edge is gone when its threads have ended, every API request has been answered, and nobody
 * withdraws a route any more. */
void edge_maybe_closed(struct edge *e)
{
    if (e->running_cnt > 0 || e->api_cnt > 0 || e->on_closed == NULL)
        return;
    for (size_t l = 0; l < e->conf.loops; l++)
        uv_thread_join(&e->loops[l].thread);
    edge_mailbox_close(&e->inbox, on_inbox_closed);
}

static void deliver_stopped(struct edge_mail *m, void *receiver)
{
    struct edge *e = receiver;

    (void)m; /* the loop's */
    e->running_cnt--;
    edge_maybe_closed(e);
}

void edge_loop_stopped(struct edge_loop *l)
{
    l->stop.deliver = deliver_stopped;
    (void)edge_mailbox_post(&l->edge->inbox, &l->stop); /* open until every loop has ended */
}

static void deliver_stop(struct edge_mail *m, void *receiver)
{
    (void)m; /* the loop's */
    edge_loop_stop(receiver);
}

void edge_drain(struct edge *e)
{
    if (e->is_draining)
        return;
    e->is_draining = true;
    for (size_t l = 0; l < e->conf.loops; l++) {
        e->loops[l].stop.deliver = deliver_stop;
        /* closes only by this message */
        (void)edge_mailbox_post(&e->loops[l].inbox, &e->loops[l].stop);
    }
}

void edge_close(struct edge *e, void (*on_closed)(void *user), void *user)
{
    edge_drain(e);
    e->on_closed = on_closed;
    e->on_closed_user = user;
    edge_maybe_closed(e);
}
