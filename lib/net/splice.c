/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from one socket to another inside the kernel.
 *
 * Theory of operation
 *
 * What:      splice(2) from the socket into a pipe and from there to the other one; the kernel
 * hands its pages on. The pipe is empty before and after each call, so that one serves all streams
 * of a loop: what the other socket did not take is read back, to be queued as ever. A pipe that
 * cannot be emptied is closed, since what is left would go to another's stream. Ownership: the
 * pipe is the loop's, made at the first call. Trust:     the bytes are not looked at. Pages may be
 * those of a program that still writes to them (vmsplice): it changes its own words only. Failure:
 * a pipe that cannot be made is EINVAL: bytes go the way through memory.
 */
#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool has_pipe(struct net_loop *l)
{
    if (l->pipe_fds[0] < 0 && !l->is_closing && pipe2(l->pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        l->pipe_fds[0] = l->pipe_fds[1] = -1;
    return l->pipe_fds[0] >= 0;
}

static ssize_t move(int from_fd, int to_fd, size_t len)
{
    ssize_t n;
    do {
        n = splice(from_fd, NULL, to_fd, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The pipe holds @len bytes and nothing else, so that all are there to be read. */
static struct adit_view read_back(struct net_loop *l, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(l->pipe_fds[0], l->scratch + got, len - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return adit_view_mem(l->scratch, got);
}

ssize_t splice_pass(struct net_loop *l, int from_fd, int to_fd, struct adit_view *rest)
{
    ssize_t len = has_pipe(l) ? move(from_fd, l->pipe_fds[1], SPLICE_MAX) : -EINVAL;
    ssize_t left = len, sent = 1;
    while (left > 0 && sent > 0) {
        sent = move(l->pipe_fds[0], to_fd, (size_t)left);
        left -= sent > 0 ? sent : 0;
    }
    *rest = left > 0 ? read_back(l, (size_t)left) : adit_view_mem(NULL, 0);
    if (left <= 0 || rest->len == (size_t)left)
        return len;
    splice_close(l); /* with what is in it */
    return -EIO;
}

void splice_close(struct net_loop *l)
{
    for (int i = 0; i < 2; i++) {
        if (l->pipe_fds[i] >= 0)
            (void)close(l->pipe_fds[i]);
        l->pipe_fds[i] = -1;
    }
}
