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
 * Names:     one that is allowed only by names says which it is for in its first bytes (PEEKING:
 * egress_peek.h), which are held until it has; so it is not for protocols in which servers begin.
 * What it says counts only where the guest was led here by that name: neither an allowed name nor
 * the headers of its rule are for whoever else has an address.
 * Headers:   a sandbox with rules for headers has its connections looked at, too, on any port: in
 * PEEKING the destination is read, and when it speaks first, or the program says anything else than
 * HTTP or TLS for a name with a rule, bytes are passed untouched from then on. Plain HTTP goes
 * through a filter (egress_filter.h); TLS is spoken with both sides first (SECURING,
 * egress_intercept.h), where the server itself proves its name.
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
#include "broker/egress/egress_dial.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/map.h"
#include "broker/egress/egress_filter.h"
#include "broker/egress/egress_flow.h"
#include "broker/egress/egress_intercept.h"
#include "broker/egress/egress_peek.h"
#include "broker/egress/egress_proxy.h"
#include "broker/egress/egress_reach.h"
#include "net/join.h"

/* Sides of a join. */
enum { GUEST, TARGET };

enum dial_state { DIAL_CONNECTING, DIAL_OPENING, DIAL_PEEKING, DIAL_SECURING, DIAL_JOINED };

/*
 * @host:        @addr as text
 * @reach, @handshake: to the target, or to @proxy (borrowed from the policy) and through it
 * @dial:        to the guest
 * @early:       what the target said before the guest could hear it
 * @streams:     GUEST and TARGET, until they are joined
 * @guest_ended: the guest has said that its side ends
 * @is_named:    it has to say its name
 * @peek:        where what it says is looked at; in PEEKING what came so far is @gathered
 * @is_led:      what it said is a name that led the guest to @addr
 * @intercept:   SECURING: TLS on both sides; @is_secured: that is done
 * @filter:      where each of its requests is; else NULL
 * @waits:       of the join's sides, for bandwidth
 */
struct egress_dial {
    struct adit_list node;
    struct egress_dials *table; /* borrowed */
    enum dial_state state;
    uint32_t id;
    struct ip_addr addr;
    uint16_t port;
    bool guest_ended, is_named, is_led, is_secured;
    char host[IP_ADDR_TEXT_CAP];
    const struct egress_proxy *proxy;
    struct egress_reach *reach;
    struct egress_proxy_handshake *handshake;
    struct dial *dial;
    struct net_stream *streams[2];
    struct net_deadline deadline;
    struct join *join;
    struct egress_peek *peek;
    struct egress_intercept *intercept;
    struct egress_filter *filter;
    struct egress_flow_wait waits[2];
    struct adit_buf gathered, early;
};

/*
 * @by_id:     id → struct egress_dial
 * @asked_cnt: CONNECTING: the guest may take an answer for given from then on
 */
struct egress_dials {
    struct egress_dials_conf conf;
    struct http_target guest;
    struct adit_map by_id;
    struct adit_list all;
    size_t cnt, asked_cnt;
    struct adit_limit rate, secured_rate;
    struct egress_flow flow;
};

static struct adit_view key_of(const uint32_t *id)
{
    return adit_view_mem(id, sizeof(*id));
}

static struct egress_dial *find(const struct egress_dials *t, uint32_t id)
{
    return adit_map_get(&t->by_id, key_of(&id));
}

static void set_state(struct egress_dial *d, enum dial_state state)
{
    d->table->asked_cnt -= d->state == DIAL_CONNECTING && state != DIAL_CONNECTING;
    d->state = state;
}

/* ---- ends ---- */

/* Free it; what it holds is gone already. */
static void forget(struct egress_dial *d)
{
    struct egress_dials *t = d->table;
    set_state(d, DIAL_JOINED);
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

/* Both sides are reset; the guest knows already, or hears of it otherwise. */
static void drop(struct egress_dial *d)
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

/* The program's connect() fails, or its connection is reset. */
static void refuse(struct egress_dial *d, Control__Reason reason)
{
    struct egress_dials *t = d->table;
    uint32_t id = d->id;
    enum dial_state state = d->state;
    if (state == DIAL_JOINED)
        egress_count(t->conf.counters, EGRESS_COUNT_BROKEN);
    else
        count_end(t, reason);
    drop(d);
    if (state <= DIAL_OPENING)
        egress_control_refuse(t->conf.control, id, reason);
    if (state >= DIAL_OPENING) /* in it the guest may or may not have taken the channel */
        egress_control_end(t->conf.control, id, true);
}

/* What counts of what it said. */
static struct adit_view said_name(const struct egress_dial *d)
{
    return d->is_led ? egress_peek_name(d->peek) : adit_view_mem(NULL, 0);
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
        refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    enum egress_verdict v = d->state == DIAL_JOINED && d->peek
                                ? egress_judge_named(t->conf.judge, &d->addr, d->port, said_name(d))
                                : egress_judge_address(t->conf.judge, &d->addr, d->port);
    if (v > EGRESS_ALLOW_NAMED || (v == EGRESS_ALLOW_NAMED && is_unread(d))) {
        refuse(d, CONTROL__REASON__REASON_PROHIBITED);
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

/* @already: what the program said behind the guest's "OK". */
static void join(struct egress_dial *d, struct adit_view already)
{
    net_deadline_cancel(&d->deadline);
    set_state(d, DIAL_JOINED);
    egress_count(d->table->conf.counters, EGRESS_COUNT_CONNECTED);
    if (join_streams(d) != ADIT_OK || !pass_first(d, already))
        refuse(d, CONTROL__REASON__REASON_BUSY);
    else
        adit_buf_clear(&d->early);
}

/* ---- a connection whose first bytes are looked at ---- */

static bool may_name(const struct egress_dial *d, struct adit_view name)
{
    return egress_judge_named(d->table->conf.judge, &d->addr, d->port, name) <= EGRESS_ALLOW_NAMED;
}

/* A server that has proved its name is that host, and no other. A connection may last longer than
 * what was looked up is remembered. */
static bool is_led_by(const struct egress_dial *d, struct adit_view name)
{
    if ((d->is_led || d->is_secured) && adit_view_ieq_str(name, d->peek->name))
        return true;
    return !d->is_secured && egress_judge_leads(d->table->conf.judge, name, &d->addr);
}

static enum egress_inject_verdict judge_request(void *owner, struct adit_view name)
{
    const struct egress_dial *d = owner;
    bool is_led = is_led_by(d, name);
    if (d->is_named && !may_name(d, is_led ? name : adit_view_mem(NULL, 0)))
        return EGRESS_INJECT_REFUSE;
    return is_led ? EGRESS_INJECT_SET : EGRESS_INJECT_PASS;
}

static void join_peeked(struct egress_dial *d)
{
    struct adit_buf gathered = d->gathered;
    adit_buf_init(&d->gathered, 0);
    join(d, adit_buf_view(&gathered));
    adit_buf_fini(&gathered);
}

/* Later requests of the connection may be for other hosts. */
static void join_read(struct egress_dial *d)
{
    d->filter = egress_filter_new(egress_judge_rules(d->table->conf.judge), judge_request, d);
    if (d->filter)
        join_peeked(d);
    else
        refuse(d, CONTROL__REASON__REASON_BUSY);
}

/* The program hears of it in its own protocol: a fatal alert (RFC 8446, 6), then the end. */
static void turn_away(struct egress_dial *d, bool is_clear, bool is_distrusted)
{
    const char alert[] = {21, 3, 3, 0, 2, 2, is_distrusted ? 42 : 80}; /* bad_certificate, … */
    struct adit_view bytes = adit_view_mem(alert, is_clear ? sizeof(alert) : 0);
    struct egress_dials *t = d->table;
    struct net_stream *guest = adit_steal(&d->streams[GUEST]);
    uint32_t id = d->id;
    egress_count(t->conf.counters, EGRESS_COUNT_INSECURE);
    drop(d);
    egress_control_end(t->conf.control, id, false);
    (void)net_stream_write(guest, &bytes, 1); /* or it hears of the end only */
    net_stream_close_gracefully(guest);
}

static void on_secured(void *owner, bool is_guest_clear, const struct adit_err *err)
{
    struct egress_dial *d = owner;
    d->intercept = NULL;
    if (err) {
        egress_judge_tell(d->table->conf.judge, &d->addr, d->port, err->msg,
                          egress_peek_name(d->peek));
        turn_away(d, is_guest_clear, err->code == ADIT_ERR_UNAUTHENTICATED);
        return;
    }
    d->is_secured = true;
    join_read(d);
}

static int start_intercept(struct egress_dial *d, struct adit_err *err)
{
    const struct egress_dials_conf *conf = &d->table->conf;
    struct egress_intercept_conf intercept = {.guest = d->streams[GUEST],
                                              .target = d->streams[TARGET],
                                              .name = egress_peek_name(d->peek),
                                              .hello = adit_buf_view(&d->gathered),
                                              .trust = conf->trust};
    int rc = egress_authority_context(egress_judge_authority(conf->judge), intercept.name,
                                      &intercept.leaf, err);
    if (rc != ADIT_OK)
        return rc;
    rc = egress_intercept_start(&intercept, on_secured, d, &d->intercept, err);
    tls_context_unref(intercept.leaf);
    return rc;
}

static void secure(struct egress_dial *d)
{
    struct adit_err err = ADIT_ERR_INIT;
    net_deadline_cancel(&d->deadline);
    set_state(d, DIAL_SECURING);
    if (!adit_limit_take(&d->table->secured_rate, adit_clock_mono_ns())) {
        refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    if (start_intercept(d, &err) == ADIT_OK) {
        adit_buf_fini(&d->gathered);
        return;
    }
    egress_judge_tell(d->table->conf.judge, &d->addr, d->port, err.msg, egress_peek_name(d->peek));
    refuse(d, CONTROL__REASON__REASON_BUSY);
}

static bool has_headers(const struct egress_dial *d)
{
    const struct egress_rule *rule =
        egress_rules_find(egress_judge_rules(d->table->conf.judge), egress_peek_name(d->peek));
    return d->peek->result == EGRESS_PEEK_NAMED && rule && rule->header_cnt > 0;
}

static bool is_to_be_secured(const struct egress_dial *d)
{
    return d->peek->kind == EGRESS_PEEK_TLS && has_headers(d) && d->table->conf.trust &&
           egress_judge_authority(d->table->conf.judge);
}

/* In plain HTTP: each request is judged, or gets headers if it leads to a rule's host. */
static bool is_to_be_filtered(const struct egress_dial *d)
{
    return d->peek->kind == EGRESS_PEEK_HTTP && (d->is_named || (d->is_led && has_headers(d)));
}

static void on_peeked(struct egress_dial *d)
{
    d->is_led = egress_judge_leads(d->table->conf.judge, egress_peek_name(d->peek), &d->addr);
    bool may = !d->is_named || (d->peek->result != EGRESS_PEEK_BROKEN && may_name(d, said_name(d)));
    if (!may)
        refuse(d, CONTROL__REASON__REASON_PROHIBITED);
    else if (is_to_be_secured(d))
        secure(d);
    else if (is_to_be_filtered(d))
        join_read(d);
    else
        join_peeked(d);
}

static void peek_at(struct egress_dial *d, struct adit_view bytes)
{
    bool is_first = d->gathered.len == 0;
    if (adit_buf_append_view(&d->gathered, bytes) != ADIT_OK)
        refuse(d, CONTROL__REASON__REASON_BUSY);
    else if (egress_peek_feed(d->peek, adit_buf_view(&d->gathered)) != EGRESS_PEEK_MORE)
        on_peeked(d);
    else if (is_first && !d->is_named) /* one that says nothing may do so */
        net_deadline_arm(&d->deadline, EGRESS_DIAL_PEEK_MS);
}

/* The destination speaks first: it is neither HTTP nor TLS. */
static void on_peek_answer(struct egress_dial *d, struct adit_view bytes)
{
    if (adit_buf_append_view(&d->early, bytes) == ADIT_OK)
        join_peeked(d);
    else
        refuse(d, CONTROL__REASON__REASON_BUSY);
}

static void on_peek_read(struct net_stream *s, struct adit_view bytes)
{
    struct egress_dial *d = net_stream_owner(s);
    if (s == d->streams[GUEST])
        peek_at(d, bytes);
    else
        on_peek_answer(d, bytes);
}

/* One side has nothing to say, and the other may have. */
static void on_peek_end(struct net_stream *s, const struct adit_err *err)
{
    struct egress_dial *d = net_stream_owner(s);
    struct egress_dials *t = d->table;
    uint32_t id = d->id;
    int side = s == d->streams[GUEST] ? GUEST : TARGET;
    if (err || d->is_named) {
        refuse(d, CONTROL__REASON__REASON_PROHIBITED);
        return;
    }
    join_peeked(d);
    if (find(t, id)) /* joined */
        join_take_end(d->join, side);
}

static void on_peek_drain(struct net_stream *s)
{
    (void)s; /* nothing is written */
}

static const struct net_stream_ops peek_ops = {on_peek_read, on_peek_end, on_peek_drain};

static void start_peek(struct egress_dial *d, struct adit_view already)
{
    d->peek = calloc(1, sizeof *d->peek);
    set_state(d, DIAL_PEEKING);
    if (!d->peek) {
        refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    egress_peek_init(d->peek);
    adit_buf_init(&d->gathered, EGRESS_PEEK_MAX + NET_SCRATCH_CAP);
    net_deadline_cancel(&d->deadline);
    net_stream_set_owner(d->streams[GUEST], &peek_ops, d);
    net_stream_set_owner(d->streams[TARGET], &peek_ops, d);
    if (d->is_named)
        net_deadline_arm(&d->deadline, EGRESS_DIAL_PEEK_MS);
    else
        net_stream_read_start(d->streams[TARGET]);
    if (d->early.len > 0 && !d->is_named)
        join(d, already);
    else if (already.len > 0)
        peek_at(d, already);
}

/* ---- the guest's side ---- */

static bool is_to_be_peeked(const struct egress_dial *d)
{
    return d->is_named || !egress_rules_is_empty(egress_judge_rules(d->table->conf.judge));
}

/* It is still PEEKING. */
static void on_deadline(struct net_deadline *due)
{
    struct egress_dial *d = ADIT_CONTAINER_OF(due, struct egress_dial, deadline);
    if (d->is_named)
        refuse(d, CONTROL__REASON__REASON_PROHIBITED);
    else
        join_peeked(d); /* it speaks something else */
}

/* @already: what the program said behind the guest's "OK". */
static void on_channel(void *owner, struct net_stream *take_stream, struct adit_view already,
                       const struct adit_err *err)
{
    struct egress_dial *d = owner;
    d->dial = NULL;
    if (err) { /* the guest is told the same of every failure */
        refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    d->streams[GUEST] = take_stream;
    if (is_to_be_peeked(d))
        start_peek(d, already);
    else
        join(d, already);
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
    set_state(d, DIAL_OPENING);
    t->guest.accept_id = d->id;
    if (adit_buf_append_view(&d->early, early) != ADIT_OK ||
        dial_start(t->conf.loop, &t->guest, EGRESS_DIAL_CHANNEL_MS, on_channel, d, &d->dial,
                   NULL) != ADIT_OK)
        refuse(d, CONTROL__REASON__REASON_BUSY);
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
        refuse(d, reason);
}

static void on_reached(void *owner, struct net_stream *take_stream, Control__Reason reason)
{
    struct egress_dial *d = owner;
    d->reach = NULL;
    if (!take_stream)
        refuse(d, reason);
    else if (!d->proxy)
        connected(d, take_stream, adit_view_mem(NULL, 0));
    else if (egress_proxy_open(take_stream, d->proxy, &d->addr, d->port,
                               EGRESS_DIAL_BEHIND_PROXY_MS, on_proxied, d,
                               &d->handshake) != ADIT_OK)
        refuse(d, CONTROL__REASON__REASON_BUSY);
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
    net_deadline_init(&d->deadline, t->conf.loop, on_deadline);
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
        refuse(d, CONTROL__REASON__REASON_BUSY);
}

int egress_dials_begin(struct egress_dials *t, const Control__Dial *dial, struct adit_err *err)
{
    struct ip_addr addr;
    if (find(t, dial->id))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the guest uses an id twice");
    if (!ip_addr_from_bytes(adit_view_mem(dial->address.data, dial->address.len), &addr))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a dial without an address");
    begin(t, dial->id, &addr, (uint16_t)dial->port);
    return ADIT_OK;
}

void egress_dials_ended(struct egress_dials *t, uint32_t id, bool is_reset)
{
    struct egress_dial *d = find(t, id);
    if (!d)
        return;
    d->guest_ended = true;
    if (is_reset || d->state < DIAL_OPENING) {
        egress_count(t->conf.counters,
                     d->state < DIAL_JOINED ? EGRESS_COUNT_CANCELED : EGRESS_COUNT_BROKEN);
        drop(d);
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
        drop(d);
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
