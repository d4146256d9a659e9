/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from one socket to another without a visit to this process. */
#ifndef ADIT_NET_SPLICE_H
#define ADIT_NET_SPLICE_H

#include "net/net_loop.h"

/* Bytes of one call at most: what the other socket does not take fits into the loop's scratch. */
#define SPLICE_MAX NET_SCRATCH_CAP

/*
 * Move what @from_fd has to @to_fd, both non-blocking. *rest: of that, what @to_fd did not take now
 * or ever; in the loop's scratch. Return: bytes that @from_fd gave, 0 at its end or before urgent
 * data; or an error of the system, negative: -EAGAIN (it has nothing, or urgent data), -EINVAL (no
 * kind of socket for this, nothing has happened), …
 */
ADIT_MUST_CHECK ssize_t splice_pass(struct net_loop *l, int from_fd, int to_fd,
                                    struct adit_view *rest);
/* The loop's pipe, which the first call makes. */
void splice_close(struct net_loop *l);

#endif
