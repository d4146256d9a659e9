/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: TCP (SO_REUSEPORT so that every relay loop has its own), Unix path, AF_VSOCK
 * port (guests only), or an inherited descriptor.
 *
 * Accepted sockets get TCP_NODELAY, keep-alive (30 s) and TCP_USER_TIMEOUT (60 s). Out of
 * descriptors: a spare one is spent to accept and drop, so the loop never spins; counted.
 */
#ifndef ADIT_NET_LISTENER_H
#define ADIT_NET_LISTENER_H

#include "net/stream.h"

#define LISTENER_BACKLOG 1024

struct listener;

/* Called for each connection; the callee owns @take_fd (non-blocking, close-on-exec). */
typedef void (*listener_accept_fn)(void *owner, int take_fd);

/*
 * Make a bound, listening socket. @address: "127.0.0.1:3000", "[::1]:3000", ":3000" (all, dual
 * stack), "unix:/path", "vsock:<port>", "fd:<n>" (a listening socket that was inherited; taken
 * over). No name is resolved except "localhost". A Unix socket that nobody listens on any more is
 * replaced. Errors: BAD_INPUT with the text; EXISTS-like errno as IO ("address already in use").
 */
ADIT_MUST_CHECK int listener_socket(const char *address, int *out_fd, struct adit_err *err);
/* One more socket on a TCP address that listener_socket() of this process has opened: the kernel
 * spreads connections over them. */
ADIT_MUST_CHECK int listener_socket_shared(const char *address, int *out_fd, struct adit_err *err);
/* Port of a bound TCP socket (for ":0"), 0 for others. */
uint16_t listener_port(int fd);
/* Open the socket of *@address (heap) now, for a process that later may not: the text becomes
 * "fd:n", its number. Errors: as listener_socket(), NO_MEMORY. */
ADIT_MUST_CHECK int listener_open_early(char **address, struct adit_err *err);

ADIT_MUST_CHECK int listener_open(struct net_loop *l, int take_fd, listener_accept_fn on_accept,
                                  void *owner, struct listener **out, struct adit_err *err);
/* Accept all whom the kernel has connected already. Before a close, which resets them. */
void listener_accept_waiting(struct listener *l);
/* Stop accepting; frees itself later. A Unix path is left to its maker. */
void listener_close(struct listener *l);
/* Connections dropped because descriptors ran out. */
uint64_t listener_dropped_cnt(const struct listener *l);

#endif
