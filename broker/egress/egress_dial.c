/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the outside.
 *
 * Theory of operation
 *
 * States:
 *
 *   CONNECTING --connected--> OPENING --channel, "OK\n"--> JOINED --> gone
 *       |                        |   \--> PEEKING --its name--^ ^
 *       |                        |           |  \--> SECURING --/
 *       \--refused, _CONNECT_MS--\_CHANNEL_MS\-_PEEK_MS--> gone
 *
 * What:      a dial is judged by the address that is dialled, before a packet is sent. The program
 * in the guest is told of success only when the destination has accepted, so it sees what it would
 * see on a network.
 * Names and headers: a connection that is allowed only by its name, or of a sandbox with rules for
 * headers, is looked at before it is joined (PEEKING, SECURING: egress_dial_peek.c).
 * Ends:      a channel's end does not tell a reset, so each side says on the control channel how it
 * ends before it does (proto/control.proto); until the guest has, the end of its channel is held
 * back (net/join.h). A connection whose channel fails before "OK" is refused and ended: the guest
 * may or may not have taken it, and passes over the one that does not fit.
 * Policy:    a change is in force for new connections at once and ends those that it forbids.
 * Ownership: the table owns connections; one owns its dial, its streams or its join.
 * Limits:    those of the header. What is too much is told to be busy, and the guest's kernel tries
 * again.
 * Trust:     the guest is hostile. Its ids are looked up; one used twice breaks a rule.
 */
#include "broker/egress/egress_dial_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"

static struct adit_view key_of(const uint32_t *id)
{
    return adit_view_mem(id, sizeof(*id));
}

struct egress_dial *egress_dial_find(const struct egress_dials *t, uint32_t id)
{
    return adit_map_get(&t->by_id, key_of(&id));
}

void egress_dial_set_state(struct egress_dial *d, enum dial_state state)
{
    d->table->asked_cnt -= d->state == DIAL_CONNECTING && state != DIAL_CONNECTING;
    d->state = state;
}

/* ---- ends ---- */

/* Free it; what it holds is gone already. */
static void forget(struct egress_dial *d)
{
    struct egress_dials *t = d->table;
    egress_dial_set_state(d, DIAL_JOINED);
    net_deadline_cancel(&d->deadline);
    for (int side = GUEST; side <= TARGET; side++)
        egress_flow_wait_cancel(&d->waits[side]);
    (void)adit_map_del(&t->by_id, key_of(&d->id)); /* it is d */
    adit_list_remove(&d->node);
    t->cnt--;
    egress_uncount(t->conf.counters, EGRESS_COUNT_DIALS);
    adit_buf_fini(&d->gathered);
    adit_buf_fini(&d->early);
    free(d->peek);
    egress_filter_free(d->filter);
    free(d);
}

void egress_dial_drop(struct egress_dial *d)
{
    if (d->reach)
        egress_reach_cancel(d->reach);
    if (d->handshake)
        egress_proxy_cancel(d->handshake);
    if (d->dial)
        dial_cancel(d->dial);
    if (d->intercept)
        egress_intercept_cancel(d->intercept);
    for (int side = GUEST; side <= TARGET; side++)
        if (d->streams[side])
            net_stream_reset(d->streams[side]);
    if (d->join)
        join_break(d->join);
    forget(d);
}

static void count_end(struct egress_dials *t, Control__Reason reason)
{
    static const enum egress_count counts[] = {
        [CONTROL__REASON__REASON_REFUSED] = EGRESS_COUNT_REFUSED,
        [CONTROL__REASON__REASON_HOST_UNREACHABLE] = EGRESS_COUNT_UNREACHABLE,
        [CONTROL__REASON__REASON_NET_UNREACHABLE] = EGRESS_COUNT_UNREACHABLE,
        [CONTROL__REASON__REASON_PROHIBITED] = EGRESS_COUNT_PROHIBITED,
        [CONTROL__REASON__REASON_TIMED_OUT] = EGRESS_COUNT_TIMED_OUT,
        [CONTROL__REASON__REASON_BUSY] = EGRESS_COUNT_BUSY,
    };
    egress_count(t->conf.counters, counts[reason]);
}

void egress_dial_refuse(struct egress_dial *d, Control__Reason reason)
{
    struct egress_dials *t = d->table;
    uint32_t id = d->id;
    enum dial_state state = d->state;
    if (state == DIAL_JOINED)
        egress_count(t->conf.counters, EGRESS_COUNT_BROKEN);
    else
        count_end(t, reason);
    egress_dial_drop(d);
    if (state <= DIAL_OPENING)
        egress_control_refuse(t->conf.control, id, reason);
    if (state >= DIAL_OPENING) /* in it the guest may or may not have taken the channel */
        egress_control_end(t->conf.control, id, true);
}

/* It is too late to hear which names it is for. */
static bool is_unread(const struct egress_dial *d)
{
    return d->state == DIAL_JOINED &&
           (!d->peek || (d->peek->kind == EGRESS_PEEK_HTTP && !d->filter));
}

static void end_forbidden(struct egress_dial *d)
{
    struct egress_dials *t = d->table;
    if (d->proxy) { /* which ends with its policy: the guest's kernel tries again */
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    enum egress_verdict v =
        d->state == DIAL_JOINED && d->peek
            ? egress_judge_named(t->conf.judge, &d->addr, d->port, egress_dial_said_name(d))
            : egress_judge_address(t->conf.judge, &d->addr, d->port);
    if (v > EGRESS_ALLOW_NAMED || (v == EGRESS_ALLOW_NAMED && is_unread(d))) {
        egress_dial_refuse(d, CONTROL__REASON__REASON_PROHIBITED);
        return;
    }
    d->is_named = v == EGRESS_ALLOW_NAMED;
    if (d->filter) /* a header that was taken back is not set any more */
        egress_filter_set_rules(d->filter, egress_judge_rules(t->conf.judge));
}

void egress_dials_judge(struct egress_dials *t)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->all)
    {
        end_forbidden(ADIT_CONTAINER_OF(it, struct egress_dial, node));
    }
}

/* ---- joined ---- */

static bool on_side_end(void *owner, int side)
{
    const struct egress_dial *d = owner;
    if (side == GUEST)
        return d->guest_ended;
    egress_control_end(d->table->conf.control, d->id, false);
    return true;
}

static void on_over(void *owner, bool is_broken)
{
    struct egress_dial *d = owner;
    egress_count(d->table->conf.counters, is_broken ? EGRESS_COUNT_BROKEN : EGRESS_COUNT_CLOSED);
    if (is_broken)
        egress_control_end(d->table->conf.control, d->id, true);
    forget(d);
}

/* One that waits for a reply goes on when that is there. */
static void read_on(struct egress_dial *d, int side)
{
    if (side == TARGET || !d->filter || !egress_filter_is_waiting(d->filter))
        join_hold(d->join, side, false);
}

static void guest_reads_on(struct egress_flow_wait *w)
{
    read_on(ADIT_CONTAINER_OF(w, struct egress_dial, waits[GUEST]), GUEST);
}

static void target_reads_on(struct egress_flow_wait *w)
{
    read_on(ADIT_CONTAINER_OF(w, struct egress_dial, waits[TARGET]), TARGET);
}

static void on_passed(void *owner, int side, size_t len)
{
    struct egress_dial *d = owner;
    struct egress_flow *flow = &d->table->flow;
    enum egress_direction direction = side == GUEST ? EGRESS_OUT : EGRESS_IN;
    if (!egress_flow_count(flow, direction, len)) {
        join_hold(d->join, side, true);
        egress_flow_wait(flow, &d->waits[side]);
    }
}

static bool on_bytes(void *owner, int side, struct adit_view bytes)
{
    struct egress_dial *d = owner;
    on_passed(d, side, bytes.len);
    return side == GUEST ? egress_filter_request(d->filter, d->join, GUEST, bytes)
                         : egress_filter_reply(d->filter, d->join, GUEST, bytes);
}

static const struct join_ops join_ops = {
    .on_end = on_side_end, .on_passed = on_passed, .on_over = on_over};
static const struct join_ops filter_ops = {
    .on_end = on_side_end, .on_bytes = on_bytes, .on_over = on_over};

static int join_streams(struct egress_dial *d)
{
    return join_start(adit_steal(&d->streams[GUEST]), adit_steal(&d->streams[TARGET]),
                      d->filter ? &filter_ops : &join_ops, d, &d->join);
}

static bool pass(struct egress_dial *d, int side, struct adit_view bytes)
{
    if (bytes.len == 0)
        return true;
    if (d->filter)
        return on_bytes(d, side, bytes);
    on_passed(d, side, bytes.len);
    return join_write(d->join, side == GUEST ? TARGET : GUEST, bytes) == ADIT_OK;
}

/* What either side said before they were joined. */
static bool pass_first(struct egress_dial *d, struct adit_view already)
{
    return pass(d, TARGET, adit_buf_view(&d->early)) && pass(d, GUEST, already);
}

void egress_dial_join(struct egress_dial *d, struct adit_view already)
{
    net_deadline_cancel(&d->deadline);
    egress_dial_set_state(d, DIAL_JOINED);
    egress_count(d->table->conf.counters, EGRESS_COUNT_CONNECTED);
    if (join_streams(d) != ADIT_OK || !pass_first(d, already))
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
    else
        adit_buf_clear(&d->early);
}

/* ---- the guest's side ---- */

/* @already: what the program said behind the guest's "OK". */
static void on_channel(void *owner, struct net_stream *take_stream, struct adit_view already,
                       const struct adit_err *err)
{
    struct egress_dial *d = owner;
    d->dial = NULL;
    if (err) { /* the guest is told the same of every failure */
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    d->streams[GUEST] = take_stream;
    if (egress_dial_is_to_be_peeked(d))
        egress_dial_peek(d, already);
    else
        egress_dial_join(d, already);
}

/* ---- the destination's side ---- */

/* Nothing is read before a stream is joined, so nothing is heard. */
static const struct net_stream_ops unjoined_ops;

/* @early: what the destination said behind the answer of a proxy. */
static void connected(struct egress_dial *d, struct net_stream *take_stream, struct adit_view early)
{
    struct egress_dials *t = d->table;
    net_stream_read_stop(take_stream);
    net_stream_set_owner(take_stream, &unjoined_ops, d);
    d->streams[TARGET] = take_stream;
    d->proxy = NULL;
    egress_dial_set_state(d, DIAL_OPENING);
    t->guest.accept_id = d->id;
    if (adit_buf_append_view(&d->early, early) != ADIT_OK ||
        dial_start(t->conf.loop, &t->guest, EGRESS_DIAL_CHANNEL_MS, on_channel, d, &d->dial,
                   NULL) != ADIT_OK)
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
}

static void on_proxied(void *owner, struct net_stream *take_stream, struct adit_view already,
                       Control__Reason reason, const struct adit_err *err)
{
    struct egress_dial *d = owner;
    (void)err; /* @reason is what can be told */
    d->handshake = NULL;
    if (take_stream)
        connected(d, take_stream, already);
    else
        egress_dial_refuse(d, reason);
}

static void on_reached(void *owner, struct net_stream *take_stream, Control__Reason reason)
{
    struct egress_dial *d = owner;
    d->reach = NULL;
    if (!take_stream)
        egress_dial_refuse(d, reason);
    else if (!d->proxy)
        connected(d, take_stream, adit_view_mem(NULL, 0));
    else if (egress_proxy_open(take_stream, d->proxy, &d->addr, d->port,
                               EGRESS_DIAL_BEHIND_PROXY_MS, on_proxied, d,
                               &d->handshake) != ADIT_OK)
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
}

static bool may_be_proxy(void *owner, const struct ip_addr *addr)
{
    const struct egress_dial *d = owner;
    return egress_judge_proxy_address(d->table->conf.judge, addr);
}

static int start_connect(struct egress_dial *d)
{
    const struct egress_dials_conf *conf = &d->table->conf;
    struct egress_reach_conf reach = {.loop = conf->loop,
                                      .resolver = conf->resolver,
                                      .host = d->host,
                                      .port = d->port,
                                      .ms = EGRESS_DIAL_CONNECT_MS};
    ip_addr_format(&d->addr, d->host);
    d->proxy = egress_judge_proxy(conf->judge);
    if (d->proxy) {
        reach.host = d->proxy->host;
        reach.port = d->proxy->port;
        reach.may = may_be_proxy;
        reach.ms = EGRESS_DIAL_PROXY_MS;
    }
    return egress_reach_start(&reach, on_reached, d, &d->reach);
}

/* ---- the table ---- */

static bool has_room(struct egress_dials *t)
{
    return t->cnt < t->conf.max && t->asked_cnt < EGRESS_DIALS_ASKED_MAX &&
           egress_counted(t->conf.counters, EGRESS_COUNT_DIALS) < t->conf.all_max &&
           adit_limit_take(&t->rate, adit_clock_mono_ns());
}

/* Return: a dial in CONNECTING, or NULL without memory. */
static struct egress_dial *enter(struct egress_dials *t, uint32_t id, const struct ip_addr *addr,
                                 uint16_t port)
{
    struct egress_dial *d = calloc(1, sizeof *d);
    if (!d || adit_map_put(&t->by_id, key_of(&id), d) != ADIT_OK) {
        free(d);
        return NULL;
    }
    d->table = t;
    d->state = DIAL_CONNECTING;
    d->id = id;
    d->addr = *addr;
    d->port = port;
    adit_buf_init(&d->gathered, 0);
    adit_buf_init(&d->early, NET_SCRATCH_CAP);
    net_deadline_init(&d->deadline, t->conf.loop, egress_dial_on_peek_deadline);
    egress_flow_wait_init(&d->waits[GUEST], guest_reads_on);
    egress_flow_wait_init(&d->waits[TARGET], target_reads_on);
    adit_list_init(&d->node);
    adit_list_push(&t->all, &d->node);
    t->cnt++;
    t->asked_cnt++;
    egress_count(t->conf.counters, EGRESS_COUNT_DIALS);
    return d;
}

/* Nothing of it is in the table. */
static void refuse_at_once(struct egress_dials *t, uint32_t id, Control__Reason reason)
{
    count_end(t, reason);
    egress_control_refuse(t->conf.control, id, reason);
}

/* Return: whether it may be tried; else the guest has its answer. */
static bool admit(struct egress_dials *t, uint32_t id, const struct ip_addr *addr, uint16_t port,
                  bool *is_named)
{
    if (egress_judge_is_off(t->conf.judge)) {
        refuse_at_once(t, id, CONTROL__REASON__REASON_NET_UNREACHABLE);
        return false;
    }
    if (!has_room(t)) {
        refuse_at_once(t, id, CONTROL__REASON__REASON_BUSY);
        return false;
    }
    enum egress_verdict v = egress_judge_address(t->conf.judge, addr, port);
    *is_named = v == EGRESS_ALLOW_NAMED;
    if (v != EGRESS_ALLOW && !*is_named)
        refuse_at_once(t, id, CONTROL__REASON__REASON_PROHIBITED);
    return v == EGRESS_ALLOW || *is_named;
}

static void begin(struct egress_dials *t, uint32_t id, const struct ip_addr *addr, uint16_t port)
{
    bool is_named;
    if (!admit(t, id, addr, port, &is_named))
        return;
    struct egress_dial *d = enter(t, id, addr, port);
    if (!d) {
        refuse_at_once(t, id, CONTROL__REASON__REASON_BUSY);
        return;
    }
    d->is_named = is_named;
    if (start_connect(d) != ADIT_OK)
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
}

int egress_dials_begin(struct egress_dials *t, const Control__Dial *dial, struct adit_err *err)
{
    struct ip_addr addr;
    if (egress_dial_find(t, dial->id))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the guest uses an id twice");
    if (!ip_addr_from_bytes(adit_view_mem(dial->address.data, dial->address.len), &addr))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a dial without an address");
    begin(t, dial->id, &addr, (uint16_t)dial->port);
    return ADIT_OK;
}

void egress_dials_ended(struct egress_dials *t, uint32_t id, bool is_reset)
{
    struct egress_dial *d = egress_dial_find(t, id);
    if (!d)
        return;
    d->guest_ended = true;
    if (is_reset || d->state < DIAL_OPENING) {
        egress_count(t->conf.counters,
                     d->state < DIAL_JOINED ? EGRESS_COUNT_CANCELED : EGRESS_COUNT_BROKEN);
        egress_dial_drop(d);
    } else if (d->join) {
        join_pass_end(d->join, GUEST);
    }
}

void egress_dials_lost(struct egress_dials *t)
{
    struct adit_list *it;
    while ((it = adit_list_first(&t->all))) {
        struct egress_dial *d = ADIT_CONTAINER_OF(it, struct egress_dial, node);
        egress_count(t->conf.counters,
                     d->state < DIAL_JOINED ? EGRESS_COUNT_CANCELED : EGRESS_COUNT_BROKEN);
        egress_dial_drop(d);
    }
}

int egress_dials_new(const struct egress_dials_conf *conf, struct egress_dials **out,
                     struct adit_err *err)
{
    struct egress_dials *t = calloc(1, sizeof *t);
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "table of dials");
    t->conf = *conf;
    t->guest = *conf->guest;
    t->guest.port = CHANNEL_PORT_ACCEPT;
    t->guest.tcp_port = 0;
    t->guest.is_accept = true;
    adit_map_init(&t->by_id);
    adit_list_init(&t->all);
    adit_limit_init(&t->secured_rate, EGRESS_DIALS_SECURED_BURST, EGRESS_DIALS_SECURED_PER_S,
                    adit_clock_mono_ns());
    adit_limit_init(&t->rate, EGRESS_DIALS_BURST, EGRESS_DIALS_PER_S, adit_clock_mono_ns());
    egress_flow_init(&t->flow, conf->loop, conf->per_s, conf->counters, conf->traffic);
    *out = t;
    return ADIT_OK;
}

void egress_dials_free(struct egress_dials *t)
{
    if (!t)
        return;
    egress_dials_lost(t);
    egress_flow_fini(&t->flow);
    adit_map_fini(&t->by_id);
    free(t);
}

size_t egress_dials_cnt(const struct egress_dials *t)
{
    return t->cnt;
}
