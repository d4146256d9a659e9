/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirected connections, and those of clients of the proxies.
 *
 * Theory of operation
 *
 * What:    accepts, asks conntrack where the connection was going before it was redirected, and
 * hands both on. Trust: a program may connect to the port itself; it is told apart by what the
 * table of dials and the host make of that address, which is the sandbox's own. Failure: the
 * destination may not be known any more; and without redirection there is none.
 */
#include "envd/egress/egress_listener.h"

#include <unistd.h>

#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

static bool original_destination(int fd, struct egress_address *to)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return false;
    bool is_ipv6 = a.ss_family == AF_INET6;
    len = is_ipv6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return getsockopt(fd, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
                      is_ipv6 ? IP6T_SO_ORIGINAL_DST : SO_ORIGINAL_DST, &a, &len) == 0 &&
           egress_address_from_socket(to, &a);
}

/* Until the owner sets its own; nothing is read before. */
static const struct net_stream_ops no_ops;

static void on_accept(void *owner, int take_fd)
{
    struct egress_listener *e = owner;
    struct net_stream *stream;
    struct egress_address to;
    bool is_known = original_destination(take_fd, &to);
    if (net_stream_open_fd(e->loop, take_fd, &no_ops, NULL, &stream, NULL) != ADIT_OK)
        return;
    e->on_connection(e->owner, stream, is_known ? &to : NULL);
}

static int open_one(struct egress_listener *e, int which, const char *address, struct adit_err *err)
{
    int fd;
    int code = listener_socket(address, &fd, err);
    if (code != ADIT_OK)
        return code;
    e->ports[which] = listener_port(fd);
    return listener_open(e->loop, fd, on_accept, e, &e->listeners[which], err);
}

int egress_listener_open(struct egress_listener *e, struct net_loop *l,
                         egress_listener_fn on_connection, void *owner, struct adit_err *err)
{
    struct adit_err ignored; /* a kernel may have no IPv6 */
    *e = (struct egress_listener){.loop = l, .on_connection = on_connection, .owner = owner};
    int code = open_one(e, 0, "127.0.0.1:0", err);
    if (code == ADIT_OK && open_one(e, 1, "[::1]:0", &ignored) != ADIT_OK)
        e->ports[1] = 0;
    return code;
}

void egress_listener_close(struct egress_listener *e)
{
    for (int i = 0; i < 2; i++) {
        if (e->listeners[i])
            listener_close(e->listeners[i]);
        e->listeners[i] = NULL;
    }
}
