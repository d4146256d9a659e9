/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joined streams.
 *
 * Theory of operation
 *
 * What:      what one side says is written to the other as it comes. Each side goes through
 *
 *   OPEN --it ends--> HELD --join_pass_end()--> ENDED
 *     \--it ends, on_end lets it through------/
 *
 * and when both have ended it is over once their queues are sent: until then it is the owner's, who
 * counts it, however slowly the other end reads.
 * Back-pressure: a side for which JOIN_QUEUE waits stops the reading of the other.
 * Ownership: the owner holds the join until on_over, or breaks it; the join owns its streams.
 * Limits:    JOIN_HALF_OPEN_MS of silence after one side ended, since a peer that is gone for good
 * looks the same as one that only ended its sending. JOIN_HELD_END_MS.
 * Trust:     the bytes are not looked at; a lot of them does not even come here (stream.h, sinks).
 */
#include "net/join.h"

#include <stdlib.h>

/* How often queues are looked at once both sides have ended. */
#define FLUSH_STEP_MS 100

enum join_state { JOIN_OPEN, JOIN_HELD, JOIN_ENDED };

struct join_side {
    struct join *join;
    struct net_stream *stream;
    enum join_state state;
    bool is_held; /* by its owner */
};

/* @queued, @stuck_ms: what was not sent when both had ended, and for how long it is as much */
struct join {
    struct join_side sides[2];
    const struct join_ops *ops;
    void *owner; /* borrowed */
    struct net_deadline deadline;
    size_t queued;
    unsigned stuck_ms;
};

static struct join_side *other_side(struct join_side *s)
{
    return s == &s->join->sides[0] ? &s->join->sides[1] : &s->join->sides[0];
}

static void close_with(struct join *j, void (*close_stream)(struct net_stream *))
{
    net_deadline_cancel(&j->deadline);
    for (int i = 0; i < 2; i++)
        close_stream(j->sides[i].stream);
    free(j);
}

static void over(struct join *j, bool is_broken)
{
    const struct join_ops *ops = j->ops;
    void *owner = j->owner;
    close_with(j, is_broken ? net_stream_reset : net_stream_close_gracefully);
    ops->on_over(owner, is_broken);
}

void join_break(struct join *j)
{
    close_with(j, net_stream_reset);
}

/* Both sides have ended. */
static void finish(struct join *j)
{
    size_t queued = net_stream_queued(j->sides[0].stream) + net_stream_queued(j->sides[1].stream);
    j->stuck_ms = queued == j->queued ? j->stuck_ms + FLUSH_STEP_MS : 0;
    j->queued = queued;
    if (queued == 0 || j->stuck_ms >= JOIN_HALF_OPEN_MS)
        over(j, queued > 0);
    else
        net_deadline_arm(&j->deadline, FLUSH_STEP_MS);
}

static bool has_ended(const struct join *j)
{
    return j->sides[0].state == JOIN_ENDED && j->sides[1].state == JOIN_ENDED;
}

static void on_deadline(struct net_deadline *d)
{
    struct join *j = ADIT_CONTAINER_OF(d, struct join, deadline);
    if (has_ended(j))
        finish(j);
    else
        over(j, true);
}

static bool is_held(const struct join *j)
{
    return j->sides[0].state == JOIN_HELD || j->sides[1].state == JOIN_HELD;
}

static void wait_on(struct join *j)
{
    net_deadline_arm(&j->deadline, is_held(j) ? JOIN_HELD_END_MS : JOIN_HALF_OPEN_MS);
}

/* @is_good: what @from said is written. */
static void passed(struct join_side *from, bool is_good)
{
    struct join *j = from->join;
    if (!is_good) {
        over(j, true);
        return;
    }
    if (net_stream_is_congested(other_side(from)->stream))
        net_stream_read_stop(from->stream);
    if (net_deadline_is_armed(&j->deadline) && !is_held(j))
        wait_on(j);
}

/* @len bytes came, of which @rest is not with the other side yet. */
static void pass_on(struct join_side *from, size_t len, struct adit_view rest)
{
    const struct join *j = from->join;
    if (j->ops->on_passed)
        j->ops->on_passed(j->owner, (int)(from - j->sides), len);
    passed(from, net_stream_write(other_side(from)->stream, &rest, 1) == ADIT_OK);
}

static void on_splice(struct net_stream *s, size_t len, struct adit_view rest)
{
    pass_on(net_stream_owner(s), len, rest);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    struct join_side *from = net_stream_owner(s);
    const struct join *j = from->join;
    if (j->ops->on_bytes)
        passed(from, j->ops->on_bytes(j->owner, (int)(from - j->sides), bytes));
    else
        pass_on(from, bytes.len, bytes);
}

static void on_drain(struct net_stream *s)
{
    struct join_side *from = other_side(net_stream_owner(s));
    if (from->state == JOIN_OPEN && !from->is_held)
        net_stream_read_start(from->stream);
}

int join_write(struct join *j, int side, struct adit_view bytes)
{
    return net_stream_write(j->sides[side].stream, &bytes, 1);
}

void join_hold(struct join *j, int side, bool is_held)
{
    struct join_side *s = &j->sides[side];
    s->is_held = is_held;
    if (is_held)
        net_stream_read_stop(s->stream);
    else if (s->state == JOIN_OPEN && !net_stream_is_congested(other_side(s)->stream))
        net_stream_read_start(s->stream);
}

static void pass_end(struct join_side *from)
{
    from->state = JOIN_ENDED;
    net_stream_shutdown(other_side(from)->stream);
    if (has_ended(from->join))
        finish(from->join);
    else
        wait_on(from->join);
}

void join_pass_end(struct join *j, int side)
{
    if (j->sides[side].state == JOIN_HELD)
        pass_end(&j->sides[side]);
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    struct join_side *from = net_stream_owner(s);
    struct join *j = from->join;
    if (err) {
        over(j, true);
        return;
    }
    from->state = JOIN_HELD;
    if (!j->ops->on_end || j->ops->on_end(j->owner, (int)(from - j->sides)))
        pass_end(from);
    else
        wait_on(j);
}

void join_take_end(struct join *j, int side)
{
    on_end(j->sides[side].stream, NULL);
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

int join_start(struct net_stream *take_a, struct net_stream *take_b, const struct join_ops *ops,
               void *owner, struct join **out)
{
    struct net_stream *streams[2] = {take_a, take_b};
    struct join *j = calloc(1, sizeof *j);
    if (!j) {
        net_stream_reset(take_a);
        net_stream_reset(take_b);
        return ADIT_ERR_NO_MEMORY;
    }
    j->ops = ops;
    j->owner = owner;
    net_deadline_init(&j->deadline, net_stream_loop(take_a), on_deadline);
    for (int i = 0; i < 2; i++) {
        j->sides[i] = (struct join_side){.join = j, .stream = streams[i], .state = JOIN_OPEN};
        net_stream_set_owner(streams[i], &stream_ops, &j->sides[i]);
        net_stream_set_high(streams[i], JOIN_QUEUE);
        if (!ops->on_bytes && !net_stream_is_encrypted(take_a) && !net_stream_is_encrypted(take_b))
            net_stream_set_sink(streams[i], streams[!i], on_splice);
        net_stream_read_start(streams[i]);
    }
    *out = j;
    return ADIT_OK;
}
