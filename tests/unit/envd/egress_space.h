/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace as a sandbox has it, for tests: a user namespace of its own, only lo in it,
 * and plain sockets in the place of envd's listeners.
 */
#ifndef ADIT_TESTS_UNIT_ENVD_EGRESS_SPACE_H
#define ADIT_TESTS_UNIT_ENVD_EGRESS_SPACE_H

#include <sched.h>

#include "tests/unit/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "envd/egress/egress_network.h"
#include "envd/init.h"

union space_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static inline union space_address space_address(const char *text, uint16_t port, socklen_t *len)
{
    union space_address a = {.any = {.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET}};
    bool is_v6 = a.any.sa_family == AF_INET6;
    void *at = is_v6 ? (void *)&a.v6.sin6_addr : (void *)&a.v4.sin_addr;
    ck_assert_int_eq(inet_pton(a.any.sa_family, text, at), 1);
    if (is_v6)
        a.v6.sin6_port = htons(port);
    else
        a.v4.sin_port = htons(port);
    *len = is_v6 ? sizeof a.v6 : sizeof a.v4;
    return a;
}

/* A bound socket on a free port, listening if it is a stream's. */
static inline int space_server(const char *text, int type, uint16_t *port)
{
    socklen_t len;
    union space_address a = space_address(text, *port, &len);
    int fd = socket(a.any.sa_family, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(bind(fd, &a.any, len) == 0, "bind %s:%u: %s", text, *port, strerror(errno));
    if (type == SOCK_STREAM)
        ck_assert_int_eq(listen(fd, 512), 0);
    ck_assert_int_eq(getsockname(fd, &a.any, &len), 0);
    *port = ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
    return fd;
}

static inline void space_enter(void)
{
    ck_assert_int_eq(unshare(CLONE_NEWUSER | CLONE_NEWNET), 0);
    init_sandbox();
}

/* A socket that is connected, or not: *failed is the errno then, 0 otherwise. */
static inline int space_connect(const char *text, uint16_t port, int type, int *failed)
{
    socklen_t len;
    union space_address a = space_address(text, port, &len);
    int fd = socket(a.any.sa_family, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    *failed = connect(fd, &a.any, len) == 0 ? 0 : errno;
    return fd;
}

static inline int space_connect_errno(const char *text, uint16_t port, int type)
{
    int failed;
    (void)close(space_connect(text, port, type, &failed));
    return failed;
}

/* "address:port" of either end. */
static inline void space_name(int fd, int (*which)(int, struct sockaddr *, socklen_t *),
                              char out[80])
{
    char text[INET6_ADDRSTRLEN];
    union space_address a;
    socklen_t len = sizeof a;
    ck_assert_int_eq(which(fd, &a.any, &len), 0);
    bool is_v6 = a.any.sa_family == AF_INET6;
    const void *at = is_v6 ? (const void *)&a.v6.sin6_addr : (const void *)&a.v4.sin_addr;
    ck_assert_ptr_nonnull(inet_ntop(a.any.sa_family, at, text, sizeof text));
    (void)snprintf(out, 80, "%s:%u", text, ntohs(is_v6 ? a.v6.sin6_port : a.v4.sin_port));
}

/* Can this kernel hold a connection back? Says so if not. */
static inline bool space_is_transparent(const struct egress_network *n, const char *test)
{
    if (n->mode == EGRESS_TRANSPARENT)
        return true;
    suite_skip(test, "nftables with NFQUEUE in the kernel");
    return false;
}

#endif
