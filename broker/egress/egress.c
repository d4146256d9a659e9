/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress thread and its sandboxes.
 *
 * Theory of operation
 *
 * What:      one loop on a thread of its own has the control channels and connections of all
 * sandboxes; the control thread tells it of sandboxes by mail. A sandbox is opened and closed by
 * messages that are part of it, so that closing never fails.
 * Ownership: a sandbox is the thread's from egress_open() on; the control thread has a handle, good
 * for mail only. Policies are the sandbox's that they were given to.
 * Limits:    as many sandboxes as the node has, one policy each beside those that are on their way.
 * Failure:   a sandbox that finds no memory when the thread takes it up stays without a channel:
 * its programs hear that the network is unreachable, and the log says why.
 * Stop:      every connection is broken, the mailbox takes no more, and the thread ends when its
 * handles are closed.
 */
#include "broker/egress/egress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/log.h"
#include "broker/edge/edge_mail.h"
#include "broker/egress/egress_dial.h"
#include "broker/egress/egress_lookup.h"
#include "broker/egress/egress_resolver.h"
#include "broker/sandbox_id.h"

/* Lines about a sandbox whose channel is opened again and again. */
#define LOG_BURST 5
#define LOG_PER_S 1

struct egress {
    struct egress_conf conf;
    uv_thread_t thread;
    uv_loop_t uv;
    struct net_loop net;
    struct edge_mailbox inbox;
    struct edge_mail stop;
    struct net_task stopping;
    struct adit_list sandboxes; /* the thread's */
    struct egress_counters counters;
};

/* @opening, @closing: the messages about it; @over: it is freed; @mode: as its guest says, for the
 * control thread; 0 before */
struct egress_sandbox {
    struct egress *egress; /* borrowed */
    struct adit_list node;
    struct edge_mail opening, closing;
    struct net_task over;
    char id[SANDBOX_ID_CAP];
    struct http_target guest;
    _Atomic int mode;
    struct egress_policy *policy;
    struct egress_judge *judge;
    struct egress_control *control;
    struct egress_dials *dials;
    struct egress_lookups *lookups;
    struct egress_traffic traffic;
    struct adit_limit log;
};

struct update {
    struct edge_mail mail;
    struct egress_sandbox *sandbox; /* borrowed: messages arrive in order */
    struct egress_policy *policy;
};

/* ---- a sandbox, on the thread ---- */

/* By Control__Mode; a guest's is checked by rpc/control.c. */
static const char *const mode_names[] = {NULL, "transparent", "redirect", "proxy", "none"};

static void on_open(void *owner, Control__Mode mode)
{
    struct egress_sandbox *s = owner;
    atomic_store_explicit(&s->mode, (int)mode, memory_order_relaxed);
    if (adit_limit_take(&s->log, adit_clock_mono_ns())) /* it may come and go as fast as it likes */
        adit_log(ADIT_LOG_INFO, "egress_channel_open", LOG_S("sandbox", s->id),
                 LOG_S("mode", mode_names[mode]));
}

static void on_lost(void *owner)
{
    struct egress_sandbox *s = owner;
    egress_dials_lost(s->dials);
    egress_lookups_lost(s->lookups);
}

/* A policy that was changed before the guest asked is in force. What mail ends lives until the next
 * turn of the loop. */
static int on_dial(void *owner, const Control__Dial *dial, struct adit_err *err)
{
    struct egress_sandbox *s = owner;
    edge_mailbox_read(&s->egress->inbox);
    return egress_dials_begin(s->dials, dial, err);
}

static void on_end(void *owner, uint32_t id, bool is_reset)
{
    struct egress_sandbox *s = owner;
    egress_dials_ended(s->dials, id, is_reset);
}

static int on_lookup(void *owner, const Control__Lookup *lookup, struct adit_err *err)
{
    struct egress_sandbox *s = owner;
    edge_mailbox_read(&s->egress->inbox);
    return egress_lookups_begin(s->lookups, lookup, err);
}

static const struct egress_control_ops control_ops = {on_open, on_lost, on_dial, on_end, on_lookup};

static int begin(struct egress_sandbox *s, struct adit_err *err)
{
    struct egress *e = s->egress;
    struct egress_control_conf control = {&e->net, s->id, &s->guest, &e->counters, &control_ops, s};
    int rc = egress_judge_new(s->id, e->conf.operator_, &s->judge, err);
    if (rc == ADIT_OK)
        rc = egress_control_new(&control, &s->control, err);
    struct egress_dials_conf dials = {.loop = &e->net,
                                      .guest = &s->guest,
                                      .control = s->control,
                                      .judge = s->judge,
                                      .resolver = e->conf.take_resolver,
                                      .trust = e->conf.take_trust,
                                      .counters = &e->counters,
                                      .traffic = &s->traffic,
                                      .max = e->conf.dials_max,
                                      .all_max = e->conf.all_dials_max,
                                      .per_s = e->conf.bytes_per_s};
    struct egress_lookups_conf lookups = {s->control, e->conf.take_resolver, s->judge,
                                          &e->counters};
    if (rc == ADIT_OK)
        rc = egress_dials_new(&dials, &s->dials, err);
    if (rc == ADIT_OK)
        rc = egress_lookups_new(&lookups, &s->lookups, err);
    return rc;
}

/* Whose connections end before the channel by which the guest hears of it. */
static void end(struct egress_sandbox *s)
{
    egress_dials_free(adit_steal(&s->dials));
    egress_lookups_free(adit_steal(&s->lookups));
    egress_control_free(adit_steal(&s->control));
    egress_judge_free(adit_steal(&s->judge));
}

static void put_policy(struct egress_sandbox *s, struct egress_policy *take_policy)
{
    struct egress_policy *old = s->policy;
    s->policy = take_policy;
    if (s->judge) {
        egress_judge_set_policy(s->judge, s->egress->conf.is_off ? NULL : take_policy);
        egress_dials_judge(s->dials);
    }
    if (old != take_policy)
        egress_policy_free(old);
}

static void sandbox_free(struct egress_sandbox *s)
{
    adit_list_remove(&s->node);
    net_task_cancel(&s->over);
    end(s);
    egress_policy_free(s->policy);
    free(s);
}

static void on_over(struct net_task *t)
{
    sandbox_free(ADIT_CONTAINER_OF(t, struct egress_sandbox, over));
}

static void deliver_opening(struct edge_mail *m, void *receiver)
{
    struct egress_sandbox *s = ADIT_CONTAINER_OF(m, struct egress_sandbox, opening);
    struct egress *e = receiver;
    struct adit_err err = ADIT_ERR_INIT;
    adit_limit_init(&s->log, LOG_BURST, LOG_PER_S, adit_clock_mono_ns());
    adit_list_push(&e->sandboxes, &s->node);
    net_task_init(&s->over, &e->net, on_over);
    if (begin(s, &err) != ADIT_OK) {
        adit_log(ADIT_LOG_ERROR, "egress_not_opened", LOG_S("sandbox", s->id), LOG_ERR(&err));
        end(s);
    }
    put_policy(s, s->policy);
}

static void deliver_update(struct edge_mail *m, void *receiver)
{
    struct update *u = ADIT_CONTAINER_OF(m, struct update, mail);
    (void)receiver;
    put_policy(u->sandbox, u->policy);
    free(u);
}

static void deliver_closing(struct edge_mail *m, void *receiver)
{
    struct egress_sandbox *s = ADIT_CONTAINER_OF(m, struct egress_sandbox, closing);
    (void)receiver;
    net_task_post(&s->over);
}

/* ---- the thread ---- */

static void on_stop(struct net_task *t)
{
    struct egress *e = ADIT_CONTAINER_OF(t, struct egress, stopping);
    struct adit_list *it;
    edge_mailbox_close(&e->inbox, NULL); /* delivers what is there */
    while ((it = adit_list_first(&e->sandboxes)))
        sandbox_free(ADIT_CONTAINER_OF(it, struct egress_sandbox, node));
    egress_resolver_close(adit_steal(&e->conf.take_resolver));
    net_loop_close(&e->net);
}

static void deliver_stop(struct edge_mail *m, void *receiver)
{
    struct egress *e = receiver;
    (void)m; /* part of e */
    net_task_post(&e->stopping);
}

static void run(void *arg)
{
    struct egress *e = arg;
    egress_resolver_start(e->conf.take_resolver, &e->net);
    (void)uv_run(&e->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&e->uv); /* nothing is open */
}

static int start(struct egress *e, struct adit_err *err)
{
    int rc = uv_loop_init(&e->uv);
    if (rc == 0)
        rc = edge_mailbox_init(&e->inbox, &e->uv, e);
    if (rc != 0)
        return adit_err_sys(err, -rc, "start the egress loop");
    rc = net_loop_init(&e->net, &e->uv, err);
    if (rc != ADIT_OK)
        return rc;
    net_task_init(&e->stopping, &e->net, on_stop);
    rc = uv_thread_create(&e->thread, run, e);
    return rc == 0 ? ADIT_OK : adit_err_sys(err, -rc, "start the egress thread");
}

int egress_start(const struct egress_conf *conf, struct egress **out, struct adit_err *err)
{
    struct egress *e = calloc(1, sizeof *e);
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the egress loop");
    e->conf = *conf;
    e->stop.deliver = deliver_stop;
    adit_list_init(&e->sandboxes);
    *out = e;
    return start(e, err);
}

void egress_stop(struct egress *e)
{
    (void)edge_mailbox_post(&e->inbox, &e->stop); /* it is open: nobody has stopped it */
}

void egress_free(struct egress *e)
{
    if (!e)
        return;
    (void)uv_thread_join(&e->thread); /* it has begun */
    tls_context_unref(e->conf.take_trust);
    free(e);
}

/* ---- the control thread's side ---- */

int egress_open(struct egress *e, const char *sandbox_id, const struct http_target *guest,
                struct egress_policy *take_policy, struct egress_sandbox **out,
                struct adit_err *err)
{
    struct egress_sandbox *s = calloc(1, sizeof *s);
    if (!s) {
        egress_policy_free(take_policy);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a sandbox's egress");
    }
    s->egress = e;
    s->guest = *guest;
    s->policy = take_policy;
    s->opening.deliver = deliver_opening;
    s->closing.deliver = deliver_closing;
    adit_list_init(&s->node);
    (void)snprintf(s->id, sizeof(s->id), "%s", sandbox_id);
    (void)edge_mailbox_post(&e->inbox, &s->opening); /* open until egress_stop() */
    *out = s;
    return ADIT_OK;
}

int egress_update(struct egress_sandbox *s, struct egress_policy *take_policy, struct adit_err *err)
{
    struct update *u = calloc(1, sizeof *u);
    if (!u) {
        egress_policy_free(take_policy);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a policy");
    }
    *u = (struct update){.mail = {.deliver = deliver_update}, .sandbox = s, .policy = take_policy};
    (void)edge_mailbox_post(&s->egress->inbox, &u->mail); /* as above */
    return ADIT_OK;
}

const char *egress_mode(const struct egress_sandbox *s)
{
    return mode_names[atomic_load_explicit(&s->mode, memory_order_relaxed)];
}

void egress_close(struct egress_sandbox *s)
{
    if (s)
        (void)edge_mailbox_post(&s->egress->inbox, &s->closing); /* as above */
}

void egress_measure(const struct egress *e, struct egress_stats *out)
{
    for (size_t i = 0; i < EGRESS_COUNT_CNT; i++)
        out->at[i] = egress_counted(&e->counters, (enum egress_count)i);
}

uint64_t egress_bytes(const struct egress_sandbox *s, enum egress_direction direction)
{
    return atomic_load_explicit(&s->traffic.bytes[direction], memory_order_relaxed);
}
