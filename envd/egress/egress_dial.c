/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the outside.
 *
 * Theory of operation
 *
 * States:    of a connection whose first packet is held
 *
 *   WAITING --its turn--> ASKED --channel--> GRANTED, packet let go --accepted--> JOINED --> gone
 *      \-- EGRESS_DIAL_MS, NO_HOST_MS --\--refused--> verdict, gone    \--EGRESS_DIAL_ACCEPT_MS-->
 *
 * and of one that was redirected at once: it has its program's stream from the beginning, goes from
 * ASKED to JOINED, and what would be a verdict is a reset. A lost control channel sets ASKED ones
 * back to WAITING, since nothing was said on them yet, and breaks those that are GRANTED or JOINED.
 * One that a caller in envd asked for (the proxies) goes the same way, and hears what comes of it.
 *
 * What:      an accepted connection is matched to a granted one by its destination alone. Its
 * source port does not do: where two programs use the same one to two destinations, which is legal,
 * redirection gives one of them another. Granted connections to one destination are equal, as none
 * has carried a byte.
 * Ids:       the place in the table and a count of its uses, so that an id that is over is not met
 * again soon and a look-up needs no search.
 * Ends:      a channel's end does not tell a reset, so each side says on the control channel how it
 * ends before it does (proto/control.proto); until the host has, the end of its channel is held
 * back (net/join.h). Ownership: the table owns connections; one owns its streams or its join.
 * Limits:    EGRESS_DIALS_MAX, EGRESS_DIALS_ASKED_MAX and the waits of the header.
 * Trust:     destinations are what programs say; they are judged by the host. The host's ids are
 * looked up.
 */
#include "envd/egress/egress_dial.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "net/join.h"

/* Sides of a join. */
enum { HOST, PROGRAM };

enum dial_state { DIAL_WAITING, DIAL_ASKED, DIAL_GRANTED, DIAL_JOINED, DIAL_STATES };

/*
 * @packet:     its first packet, held while has_packet
 * @ops:        of the caller who asked for it; NULL: a program's own, or the caller left
 * @streams:    HOST and PROGRAM, until they are joined
 * @host_ended: the host has said that its side ends
 */
struct egress_dial {
    struct adit_list node;
    struct egress_dials *table; /* borrowed */
    enum dial_state state;
    uint32_t id;
    struct egress_address from, to;
    uint32_t packet;
    bool has_packet, host_ended;
    const struct egress_caller_ops *ops;
    void *owner; /* borrowed */
    struct net_stream *streams[2];
    struct join *join;
    struct net_deadline deadline;
};

/* @lists: by state. @uses: how often a place was given away. */
struct egress_dials {
    struct net_loop *loop;          /* borrowed */
    struct egress_control *control; /* borrowed */
    struct egress_queue *queue;     /* borrowed */
    struct adit_list lists[DIAL_STATES];
    size_t cnt, asked_cnt;
    size_t next_place;
    struct egress_dial *places[EGRESS_DIALS_MAX];
    uint32_t uses[EGRESS_DIALS_MAX];
};

static struct egress_dial *dial_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct egress_dial, node);
}

static void set_state(struct egress_dial *d, enum dial_state state)
{
    struct egress_dials *t = d->table;
    t->asked_cnt -= d->state == DIAL_ASKED;
    t->asked_cnt += state == DIAL_ASKED;
    d->state = state;
    adit_list_remove(&d->node);
    adit_list_push(&t->lists[state], &d->node);
}

/* ---- ends ---- */

/* Free it; what it holds is gone already. */
static void forget(struct egress_dial *d)
{
    struct egress_dials *t = d->table;
    net_deadline_cancel(&d->deadline);
    t->asked_cnt -= d->state == DIAL_ASKED;
    t->places[d->id % EGRESS_DIALS_MAX] = NULL;
    t->cnt--;
    adit_list_remove(&d->node);
    free(d);
}

static enum egress_verdict verdict_of(Control__Reason reason)
{
    switch (reason) {
    case CONTROL__REASON__REASON_REFUSED:
        return EGRESS_RESET;
    case CONTROL__REASON__REASON_NET_UNREACHABLE:
        return EGRESS_NET_UNREACHABLE;
    case CONTROL__REASON__REASON_PROHIBITED:
        return EGRESS_PROHIBITED;
    case CONTROL__REASON__REASON_BUSY:
        return EGRESS_DROP;
    default:
        return EGRESS_HOST_UNREACHABLE;
    }
}

/* The program's side hears @reason. */
static void refuse(struct egress_dial *d, Control__Reason reason)
{
    if (d->has_packet)
        egress_queue_decide(d->table->queue, d->packet, verdict_of(reason));
    for (int side = HOST; side <= PROGRAM; side++)
        if (d->streams[side])
            net_stream_reset(d->streams[side]);
    if (d->join)
        join_break(d->join);
    const struct egress_caller_ops *ops = d->ops;
    bool was_joined = d->state == DIAL_JOINED;
    void *owner = d->owner;
    forget(d);
    if (ops && was_joined)
        ops->on_over(owner, true);
    else if (ops)
        ops->on_refused(owner, reason);
}

/* The same when the host does not know yet. */
static void give_up(struct egress_dial *d, Control__Reason reason)
{
    if (d->state >= DIAL_ASKED)
        egress_control_end(d->table->control, d->id, true);
    refuse(d, reason);
}

static void ask_next(struct egress_dials *t);

static void on_deadline(struct net_deadline *due)
{
    struct egress_dial *d = ADIT_CONTAINER_OF(due, struct egress_dial, deadline);
    struct egress_dials *t = d->table;
    give_up(d, egress_control_is_open(t->control) ? CONTROL__REASON__REASON_TIMED_OUT
                                                  : CONTROL__REASON__REASON_NET_UNREACHABLE);
    ask_next(t);
}

/* ---- asking ---- */

static void arm_wait(struct egress_dial *d)
{
    bool has_host = egress_control_is_open(d->table->control);
    net_deadline_arm(&d->deadline, has_host ? EGRESS_DIAL_MS : EGRESS_DIAL_NO_HOST_MS);
}

static void ask_next(struct egress_dials *t)
{
    struct adit_list *first;
    while (egress_control_is_open(t->control) && t->asked_cnt < EGRESS_DIALS_ASKED_MAX &&
           (first = adit_list_first(&t->lists[DIAL_WAITING]))) {
        struct egress_dial *d = dial_of(first);
        set_state(d, DIAL_ASKED);
        egress_control_dial(t->control, d->id, &d->to);
    }
}

static struct egress_dial *begin(struct egress_dials *t, const struct egress_address *to)
{
    struct egress_dial *d = t->cnt < EGRESS_DIALS_MAX ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    while (t->places[t->next_place])
        t->next_place = (t->next_place + 1) % EGRESS_DIALS_MAX;
    size_t place = t->next_place;
    t->next_place = (place + 1) % EGRESS_DIALS_MAX;
    d->table = t;
    d->to = *to;
    d->id = t->uses[place]++ * EGRESS_DIALS_MAX + (uint32_t)place;
    t->places[place] = d;
    t->cnt++;
    adit_list_init(&d->node);
    set_state(d, DIAL_WAITING);
    net_deadline_init(&d->deadline, t->loop, on_deadline);
    arm_wait(d);
    return d;
}

static struct egress_dial *find(struct egress_dials *t, uint32_t id)
{
    struct egress_dial *d = t->places[id % EGRESS_DIALS_MAX];
    return d && d->id == id ? d : NULL;
}

/* The dial that this packet has begun before, not joined yet. */
static struct egress_dial *in_hand(struct egress_dials *t, const struct egress_packet *p)
{
    struct adit_list *it, *tmp;
    for (int state = DIAL_WAITING; state <= DIAL_GRANTED; state++) {
        ADIT_LIST_EACH(it, tmp, &t->lists[state])
        {
            struct egress_dial *d = dial_of(it);
            if (egress_address_eq(&d->from, &p->from) && egress_address_eq(&d->to, &p->to))
                return d;
        }
    }
    return NULL;
}

/* To the listener. One that was let go may be lost on its way, and come again. */
static void let_go(struct egress_dial *d, uint32_t packet)
{
    net_deadline_arm(&d->deadline, EGRESS_DIAL_ACCEPT_MS);
    egress_queue_decide(d->table->queue, packet, EGRESS_LET_GO);
}

void egress_dials_packet(struct egress_dials *t, const struct egress_packet *p)
{
    struct egress_dial *d = in_hand(t, p);
    if (d && d->state == DIAL_GRANTED) {
        let_go(d, p->id);
        return;
    }
    d = d ? NULL : begin(t, &p->to);
    if (!d) {
        egress_queue_decide(t->queue, p->id, EGRESS_DROP);
        return;
    }
    d->from = p->from;
    d->packet = p->id;
    d->has_packet = true;
    ask_next(t);
}

/* ---- joining ---- */

static bool on_side_end(void *owner, int side)
{
    const struct egress_dial *d = owner;
    if (side == HOST)
        return d->host_ended;
    egress_control_end(d->table->control, d->id, false);
    return true;
}

static void on_over(void *owner, bool is_broken)
{
    struct egress_dial *d = owner;
    const struct egress_caller_ops *ops = d->ops;
    void *caller = d->owner;
    if (is_broken)
        egress_control_end(d->table->control, d->id, true);
    forget(d);
    if (ops)
        ops->on_over(caller, is_broken);
}

static const struct join_ops join_ops = {.on_end = on_side_end, .on_over = on_over};

static void join(struct egress_dial *d)
{
    set_state(d, DIAL_JOINED);
    net_deadline_cancel(&d->deadline);
    if (join_start(adit_steal(&d->streams[HOST]), adit_steal(&d->streams[PROGRAM]), &join_ops, d,
                   &d->join) != ADIT_OK)
        give_up(d, CONTROL__REASON__REASON_REFUSED);
}

static struct egress_dial *granted_to(struct egress_dials *t, const struct egress_address *to)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->lists[DIAL_GRANTED])
    {
        if (egress_address_eq(&dial_of(it)->to, to))
            return dial_of(it);
    }
    return NULL;
}

void egress_dials_accepted(struct egress_dials *t, struct net_stream *take_program,
                           const struct egress_address *to)
{
    struct egress_dial *d = t->queue ? granted_to(t, to) : begin(t, to);
    if (!d) {
        net_stream_reset(take_program);
        return;
    }
    d->streams[PROGRAM] = take_program;
    if (d->state == DIAL_GRANTED)
        join(d);
    else
        ask_next(t);
}

/* Nothing is read before a stream is joined, so nothing is heard. */
static const struct net_stream_ops unjoined_ops;

/* With one whose packet was let go when it is accepted. */
static void join_program(struct egress_dial *d)
{
    if (d->ops)
        d->streams[PROGRAM] = d->ops->on_granted(d->owner, d->streams[HOST]);
    if (d->streams[PROGRAM])
        join(d);
}

bool egress_dials_channel(struct egress_dials *t, uint32_t id, struct net_stream *take_host,
                          struct adit_view owed)
{
    const struct adit_view lines[] = {owed, adit_view_str("OK\n")};
    struct egress_dial *d = find(t, id);
    if (!d || d->state != DIAL_ASKED)
        return false;
    net_stream_read_stop(take_host);
    net_stream_set_owner(take_host, &unjoined_ops, d);
    d->streams[HOST] = take_host;
    set_state(d, DIAL_GRANTED);
    if (d->has_packet) { /* its program waits for it, and for nothing that follows */
        d->has_packet = false;
        let_go(d, d->packet);
    }
    if (net_stream_write(take_host, lines, 2) == ADIT_OK)
        join_program(d);
    else
        give_up(d, CONTROL__REASON__REASON_REFUSED);
    ask_next(t);
    return true;
}

/* ---- callers ---- */

int egress_dials_call(struct egress_dials *t, const struct egress_address *to,
                      const struct egress_caller_ops *ops, void *owner, struct egress_dial **out)
{
    struct egress_dial *d = begin(t, to);
    if (!d)
        return ADIT_ERR_LIMIT;
    d->ops = ops;
    d->owner = owner;
    *out = d;
    ask_next(t);
    return ADIT_OK;
}

void egress_dials_leave(struct egress_dial *d)
{
    struct egress_dials *t = d->table;
    d->ops = NULL;
    if (d->state >= DIAL_GRANTED)
        return;
    give_up(d, CONTROL__REASON__REASON_REFUSED);
    ask_next(t);
}

/* ---- from the control channel ---- */

void egress_dials_open(struct egress_dials *t)
{
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &t->lists[DIAL_WAITING])
    {
        arm_wait(dial_of(it));
    }
    ask_next(t);
}

void egress_dials_lost(struct egress_dials *t)
{
    struct adit_list *it;
    while ((it = adit_list_first(&t->lists[DIAL_ASKED]))) {
        set_state(dial_of(it), DIAL_WAITING);
        arm_wait(dial_of(it));
    }
    for (int state = DIAL_GRANTED; state <= DIAL_JOINED; state++)
        while ((it = adit_list_first(&t->lists[state])))
            refuse(dial_of(it), CONTROL__REASON__REASON_REFUSED);
}

void egress_dials_refused(struct egress_dials *t, uint32_t id, Control__Reason reason)
{
    struct egress_dial *d = find(t, id);
    if (!d || d->state != DIAL_ASKED)
        return;
    refuse(d, reason);
    ask_next(t);
}

void egress_dials_ended(struct egress_dials *t, uint32_t id, bool is_reset)
{
    struct egress_dial *d = find(t, id);
    if (!d || d->state < DIAL_GRANTED)
        return;
    d->host_ended = true;
    if (is_reset)
        give_up(d, CONTROL__REASON__REASON_REFUSED);
    else if (d->join)
        join_pass_end(d->join, HOST);
}

/* ---- the table ---- */

int egress_dials_new(struct net_loop *l, struct egress_control *control, struct egress_queue *queue,
                     struct egress_dials **out, struct adit_err *err)
{
    struct egress_dials *t = calloc(1, sizeof *t);
    if (!t)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "table of dials");
    t->loop = l;
    t->control = control;
    t->queue = queue;
    for (int state = 0; state < DIAL_STATES; state++)
        adit_list_init(&t->lists[state]);
    *out = t;
    return ADIT_OK;
}

void egress_dials_free(struct egress_dials *t)
{
    struct adit_list *it;
    for (int state = 0; state < DIAL_STATES; state++)
        while ((it = adit_list_first(&t->lists[state])))
            refuse(dial_of(it), CONTROL__REASON__REASON_NET_UNREACHABLE);
    free(t);
}

size_t egress_dials_cnt(const struct egress_dials *t)
{
    return t->cnt;
}
