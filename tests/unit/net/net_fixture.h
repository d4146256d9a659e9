/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop and raw peers for the tests of lib/net. A peer is the far end of a connection, driven by
 * the test with plain socket calls between turns of the loop; nothing sleeps, run_until() waits in
 * the poller. Every test ends with fixture_fini(), which demands an empty loop.
 */
#ifndef ADIT_TESTS_NET_FIXTURE_H
#define ADIT_TESTS_NET_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/stream.h"

#define PEER_CAP (4u * 1024 * 1024)
#define RUN_LIMIT_MS 60000 /* only what never comes takes so long */
#define PEERS_MAX 8

#ifndef UNUSED
#define UNUSED __attribute__((unused))
#endif

struct peer {
    int fd;
    bool ended, was_reset, is_deaf; /* deaf: the test reads nothing for now */
    size_t len, total;
    char *bytes; /* NUL-terminated */
};

struct fixture {
    uv_loop_t uv;
    struct net_loop net;
    struct peer peers[PEERS_MAX];
    size_t peer_cnt;
    int listen_fd; /* accepted connections become peers; -1: none */
    char dir[64];
};

static struct fixture F;

static UNUSED uint64_t now_ms(void)
{
    struct timespec ts;

    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static UNUSED void fixture_init(void)
{
    struct adit_err err = ADIT_ERR_INIT;

    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(uv_loop_init(&F.uv), 0);
    ck_assert_int_eq(net_loop_init(&F.net, &F.uv, &err), ADIT_OK);
    F.peer_cnt = 0;
    F.listen_fd = -1;
    (void)snprintf(F.dir, sizeof(F.dir), "/tmp/adit-net-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(F.dir));
}

static UNUSED struct peer *peer_of_fd(int fd)
{
    static char stores[PEERS_MAX][PEER_CAP + 1];
    struct peer *p = &F.peers[F.peer_cnt];

    ck_assert_uint_lt(F.peer_cnt, PEERS_MAX);
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
    *p = (struct peer){.fd = fd, .bytes = stores[F.peer_cnt++]};
    p->bytes[0] = '\0';
    return p;
}

/* A socket pair: the return is the test's end, *other_fd the other, non-blocking. */
static UNUSED struct peer *peer_new(int *other_fd)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *other_fd = fds[1];
    return peer_of_fd(fds[0]);
}

/* The same over loopback TCP, where a reset can be told from an end. */
static UNUSED struct peer *peer_new_tcp(int *other_fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(listen_fd, 1), 0);
    ck_assert_int_eq(getsockname(listen_fd, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    *other_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(*other_fd, 0);
    ck_assert_int_eq(close(listen_fd), 0);
    return peer_of_fd(fd);
}

/* Read what is there; a peer keeps at most PEER_CAP bytes and counts all. */
static UNUSED void peer_read(struct peer *p)
{
    static char sink[65536];

    while (p->fd >= 0 && !p->ended && !p->is_deaf) {
        ssize_t n = read(p->fd, sink, sizeof(sink));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            p->ended = true;
            p->was_reset = n < 0;
            return;
        }
        size_t keep = (size_t)n < PEER_CAP - p->len ? (size_t)n : PEER_CAP - p->len;
        memcpy(p->bytes + p->len, sink, keep);
        p->len += keep;
        p->bytes[p->len] = '\0';
        p->total += (size_t)n;
    }
}

static UNUSED void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        ck_assert_int_eq(close(p->fd), 0);
    p->fd = -1;
}

static UNUSED void peer_forget(struct peer *p)
{
    p->len = 0;
    p->bytes[0] = '\0';
}

/* All bytes fit the socket's buffer, or the test is wrong. */
static UNUSED void peer_send_mem(struct peer *p, const void *bytes, size_t len)
{
    ck_assert_int_eq(write(p->fd, bytes, len), (ssize_t)len);
}

static UNUSED void peer_send(struct peer *p, const char *text)
{
    peer_send_mem(p, text, strlen(text));
}

/* As much as fits. Return: bytes sent. */
static UNUSED size_t peer_push(struct peer *p, const void *bytes, size_t len)
{
    ssize_t n = write(p->fd, bytes, len);

    return n > 0 ? (size_t)n : 0;
}

static UNUSED bool peer_has(const struct peer *p, const char *text)
{
    return memmem(p->bytes, p->len, text, strlen(text)) != NULL;
}

static UNUSED size_t peer_count(const struct peer *p, const char *text)
{
    size_t cnt = 0, len = strlen(text);
    const char *at = p->bytes;

    while ((at = memmem(at, (size_t)(p->bytes + p->len - at), text, len))) {
        cnt++;
        at += len;
    }
    return cnt;
}

/* Listen on a Unix socket in the test's directory. */
static UNUSED void fixture_listen(const char *path, int backlog)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    ck_assert_uint_lt(strlen(path), sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path) + 1);
    F.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(F.listen_fd, 0);
    ck_assert_int_eq(bind(F.listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(F.listen_fd, backlog), 0);
}

static UNUSED void fixture_accept(void)
{
    int fd = F.listen_fd < 0 ? -1 : accept4(F.listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        (void)peer_of_fd(fd);
}

/* One turn of the loop, waiting for the loop's or a peer's events. */
static UNUSED void turn(void)
{
    struct pollfd fds[PEERS_MAX + 2] = {{uv_backend_fd(&F.uv), POLLIN, 0},
                                        {F.listen_fd, POLLIN, 0}}; /* poll skips -1 */
    int timeout = uv_backend_timeout(&F.uv);
    nfds_t cnt = 2;

    for (size_t i = 0; i < F.peer_cnt; i++)
        if (F.peers[i].fd >= 0 && !F.peers[i].ended && !F.peers[i].is_deaf)
            fds[cnt++] = (struct pollfd){F.peers[i].fd, POLLIN, 0};
    if (timeout < 0 || timeout > 50)
        timeout = 50;
    ck_assert_int_ge(poll(fds, cnt, timeout), 0);
    fixture_accept();
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_read(&F.peers[i]);
    (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_read(&F.peers[i]);
}

#define run_until(condition)                                                                       \
    do {                                                                                           \
        uint64_t limit_ = now_ms() + RUN_LIMIT_MS;                                                 \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            ck_assert_msg(now_ms() < limit_, "never came: %s", #condition);                        \
        }                                                                                          \
    } while (0)

/* Let everything that can happen without new input happen: for "and nothing more comes". */
static UNUSED void settle(void)
{
    for (int i = 0; i < 10; i++) {
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
        fixture_accept();
        for (size_t k = 0; k < F.peer_cnt; k++)
            peer_read(&F.peers[k]);
    }
}

/* Everything is closed: the loop must become empty. */
static UNUSED void fixture_fini(void)
{
    char command[128];

    for (size_t i = 0; i < F.peer_cnt; i++)
        peer_close(&F.peers[i]);
    if (F.listen_fd >= 0)
        ck_assert_int_eq(close(F.listen_fd), 0);
    net_loop_close(&F.net);
    (void)uv_run(&F.uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&F.uv), 0);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", F.dir);
    ck_assert_int_eq(system(command), 0);
}

/* A Unix socket path in the test's directory. */
static UNUSED const char *fixture_path(const char *name)
{
    static char path[108];

    (void)snprintf(path, sizeof(path), "%s/%s", F.dir, name);
    return path;
}

#endif
