/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the host's own network knows of an address.
 *
 * Theory of operation
 *
 * What:      the kernel gives a socket that is connected to one of the host's addresses the same
 * one for its own end, or one of loopback. That is asked of a UDP socket, as connecting one sends
 * nothing. Addresses that came after the start (leases, temporary IPv6 ones) are known so, too;
 * those of egress_operator.h are known by their names. Failure:   what there is no way to is not
 * the host's. What cannot be asked now, for want of a descriptor, a port or memory, may be: it
 * counts as the host's, since a moment later the connection itself could be made.
 */
#include "broker/egress/egress_route.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of the question; nothing is sent there. */
#define ANY_PORT 9

static bool is_loopback(const struct ip_addr *a)
{
    static const struct ip_addr v6 = {{[15] = 1}};
    return (ip_addr_is_v4(a) && a->bytes[12] == IN_LOOPBACKNET) || memcmp(a, &v6, sizeof(v6)) == 0;
}

/* Why it could not be asked: whether that passes. */
static bool may_be_own(int sys_errno)
{
    return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM ||
           sys_errno == ENOBUFS || sys_errno == EAGAIN;
}

bool egress_route_is_own(const struct ip_addr *addr)
{
    struct sockaddr_storage to, from;
    struct ip_addr own;
    socklen_t len = ip_addr_to_sockaddr(addr, ANY_PORT, &to), from_len = sizeof(from);
    ADIT_CLEANUP_CLOSE int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&from, &from_len) != 0 ||
        !ip_addr_from_sockaddr((const struct sockaddr *)&from, &own))
        return may_be_own(errno);
    return is_loopback(&own) || memcmp(&own, addr, sizeof(own)) == 0;
}
