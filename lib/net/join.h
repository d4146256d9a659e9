/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two streams joined: bytes go both ways, untouched, until both sides have ended. A half-close is
 * passed on as one, a reset of either side breaks both.
 */
#ifndef ADIT_NET_JOIN_H
#define ADIT_NET_JOIN_H

#include "net/stream.h"

/* One side has ended and the other says nothing, or both have and nothing of what waits is taken:
 * how long it may stay so. */
#define JOIN_HALF_OPEN_MS (640u * 1000)
/* An end that on_end kept: how long until join_pass_end() has to come. */
#define JOIN_HELD_END_MS 2000
/* What waits for a side before the other is not read; what was read at once comes on top. */
#define JOIN_QUEUE (64u * 1024)

struct join;

/* @on_end, @on_bytes and @on_passed may be NULL. */
struct join_ops {
    /* @side (0, 1) sends no more. Return: true to shut the other side down now, false to wait for
     * join_pass_end(). Must not break the join. */
    bool (*on_end)(void *owner, int side);
    /* What @side said, when it is not to be passed on as it is: the owner writes what is. Return:
     * false to break the join. Must not do so itself. NULL: as it is, and within the kernel where
     * that is faster. */
    bool (*on_bytes)(void *owner, int side, struct adit_view bytes);
    /* @len bytes of @side were passed on as they are. May hold it; must not break the join. */
    void (*on_passed)(void *owner, int side, size_t len);
    /* It is over and gone: both sides ended and all is sent, or (@is_broken) one broke or a wait
     * ended. */
    void (*on_over)(void *owner, bool is_broken);
};

/* Join them. The streams are the join's now, also on failure (closed then). Errors: NO_MEMORY. */
ADIT_MUST_CHECK int join_start(struct net_stream *take_a, struct net_stream *take_b,
                               const struct join_ops *ops, void *owner, struct join **out);
/* Let the end of @side through that on_end kept. May call on_over. */
void join_pass_end(struct join *j, int side);
/* @side had ended before it was joined. May call on_over. */
void join_take_end(struct join *j, int side);
/* Say something to @side. Errors: as net_stream_write(); the caller ends it then. */
ADIT_MUST_CHECK int join_write(struct join *j, int side, struct adit_view bytes);
/* Read nothing from @side, nor hear its end, until that is let go. */
void join_hold(struct join *j, int side, bool is_held);
/* Reset both sides; on_over is not called. */
void join_break(struct join *j);

#endif
