/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the outside whose first bytes are looked at.
 *
 * Theory of operation
 *
 * States:
 *
 *   OPENING --channel, "OK\n"--> PEEKING --what it is for--> JOINED
 *                                 |   \--TLS for a rule--> SECURING --/
 *                                 \--_PEEK_MS, its end--> gone or JOINED
 *
 * Names:     one that is allowed only by names says which it is for in its first bytes (PEEKING:
 * egress_peek.h), which are held until it has; so it is not for protocols in which servers begin.
 * What it says counts only where the guest was led here by that name: neither an allowed name nor
 * the headers of its rule are for whoever else has an address.
 * Headers:   a sandbox with rules for headers has its connections looked at, too, on any port: in
 * PEEKING the destination is read, and when it speaks first, or the program says anything else than
 * HTTP or TLS for a name with a rule, bytes are passed untouched from then on. Plain HTTP goes
 * through a filter (egress_filter.h); TLS is spoken with both sides first (SECURING,
 * egress_intercept.h), where the server itself proves its name.
 * Ownership: the connection's: what is gathered, the peek, the intercept and the filter.
 * Limits:    EGRESS_PEEK_MAX bytes and EGRESS_DIAL_PEEK_MS for what is said first,
 * EGRESS_DIALS_SECURED_PER_S for TLS on both sides.
 * Trust:     what is said is the guest's, and of a server without a proof anybody's.
 */
#include "broker/egress/egress_dial_int.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"

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
    egress_dial_join(d, adit_buf_view(&gathered));
    adit_buf_fini(&gathered);
}

/* Later requests of the connection may be for other hosts. */
static void join_read(struct egress_dial *d)
{
    d->filter = egress_filter_new(egress_judge_rules(d->table->conf.judge), judge_request, d);
    if (d->filter)
        join_peeked(d);
    else
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
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
    egress_dial_drop(d);
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
    egress_dial_set_state(d, DIAL_SECURING);
    if (!adit_limit_take(&d->table->secured_rate, adit_clock_mono_ns())) {
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
        return;
    }
    if (start_intercept(d, &err) == ADIT_OK) {
        adit_buf_fini(&d->gathered);
        return;
    }
    egress_judge_tell(d->table->conf.judge, &d->addr, d->port, err.msg, egress_peek_name(d->peek));
    egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
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
    bool may = !d->is_named ||
               (d->peek->result != EGRESS_PEEK_BROKEN && may_name(d, egress_dial_said_name(d)));
    if (!may)
        egress_dial_refuse(d, CONTROL__REASON__REASON_PROHIBITED);
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
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
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
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
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
        egress_dial_refuse(d, CONTROL__REASON__REASON_PROHIBITED);
        return;
    }
    join_peeked(d);
    if (egress_dial_find(t, id)) /* joined */
        join_take_end(d->join, side);
}

static void on_peek_drain(struct net_stream *s)
{
    (void)s; /* nothing is written */
}

static const struct net_stream_ops peek_ops = {on_peek_read, on_peek_end, on_peek_drain};

void egress_dial_peek(struct egress_dial *d, struct adit_view already)
{
    d->peek = calloc(1, sizeof *d->peek);
    egress_dial_set_state(d, DIAL_PEEKING);
    if (!d->peek) {
        egress_dial_refuse(d, CONTROL__REASON__REASON_BUSY);
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
        egress_dial_join(d, already);
    else if (already.len > 0)
        peek_at(d, already);
}

bool egress_dial_is_to_be_peeked(const struct egress_dial *d)
{
    return d->is_named || !egress_rules_is_empty(egress_judge_rules(d->table->conf.judge));
}

/* It is still PEEKING. */
void egress_dial_on_peek_deadline(struct net_deadline *due)
{
    struct egress_dial *d = ADIT_CONTAINER_OF(due, struct egress_dial, deadline);
    if (d->is_named)
        egress_dial_refuse(d, CONTROL__REASON__REASON_PROHIBITED);
    else
        join_peeked(d); /* it speaks something else */
}
