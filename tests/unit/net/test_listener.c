/* SPDX-License-Identifier: Apache-2.0 */
/* Listening addresses, accepting, and accepting without descriptors. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "net/listener.h"

static struct {
    struct listener *l;
    int accepted[64];
    size_t accepted_cnt;
    bool close_at_once, close_listener;
} T;

static void on_accept(void *owner, int take_fd)
{
    ck_assert_ptr_eq(owner, &T);
    if (T.close_listener) {
        listener_close(T.l);
        T.l = NULL;
    }
    if (T.close_at_once)
        ck_assert_int_eq(close(take_fd), 0);
    else
        T.accepted[T.accepted_cnt] = take_fd;
    T.accepted_cnt++;
}

static void close_accepted(void)
{
    for (size_t i = 0; i < T.accepted_cnt; i++)
        ck_assert_int_eq(close(T.accepted[i]), 0);
}

static int open_listener(const char *address)
{
    struct adit_err err = ADIT_ERR_INIT;
    int fd;

    memset(&T, 0, sizeof(T));
    fixture_init();
    ck_assert_msg(listener_socket(address, &fd, &err) == ADIT_OK, "%s", err.msg);
    ck_assert_int_eq(listener_open(&F.net, fd, on_accept, &T, &T.l, &err), ADIT_OK);
    return fd;
}

static int connect_tcp(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_uint_lt(strlen(path), sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path) + 1);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    ck_assert_int_eq(close(fd), 0);
    return -1;
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void assert_accepts_tcp(const char *address)
{
    int fd = open_listener(address);
    struct peer *p = peer_of_fd(connect_tcp(listener_port(fd)));
    int got;

    run_until(T.accepted_cnt == 1);
    got = T.accepted[0];
    ck_assert_int_eq(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(fcntl(got, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_ne(option(got, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option(got, SOL_SOCKET, SO_KEEPALIVE), 0);
    ck_assert_int_eq(option(got, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    ck_assert_int_eq(option(got, IPPROTO_TCP, TCP_USER_TIMEOUT), 60000);
    close_accepted();
    peer_close(p);
    listener_close(T.l);
    fixture_fini();
}

START_TEST(listener_accepts_on_tcp_with_its_options)
{
    assert_accepts_tcp("127.0.0.1:0");
    assert_accepts_tcp("localhost:0");
    assert_accepts_tcp(":0");
}
END_TEST

START_TEST(listener_shares_a_tcp_port_between_loops)
{
    struct adit_err err = ADIT_ERR_INIT;
    char address[32];
    int fd = open_listener("127.0.0.1:0"), second;

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(fd));
    ck_assert_int_eq(listener_socket(address, &second, &err), ADIT_ERR_IO); /* somebody is there */
    ck_assert_int_eq(listener_socket_shared(address, &second, &err), ADIT_OK);
    ck_assert_int_eq(close(second), 0);
    listener_close(T.l);
    fixture_fini();
}
END_TEST

START_TEST(listener_replaces_only_a_dead_unix_socket)
{
    struct adit_err err = ADIT_ERR_INIT;
    char address[128];
    int first, second;
    FILE *f;

    fixture_init();
    (void)snprintf(address, sizeof(address), "unix:%s", fixture_path("s"));
    ck_assert_int_eq(listener_socket(address, &first, &err), ADIT_OK);
    ck_assert_int_eq(listener_port(first), 0);
    ck_assert_int_eq(listener_socket(address, &second, &err), ADIT_ERR_IO); /* it is alive */
    ck_assert_int_eq(err.sys_errno, EADDRINUSE);
    ck_assert_int_eq(close(first), 0);
    ck_assert_int_eq(listener_socket(address, &first, &err), ADIT_OK); /* now it is not */
    ck_assert_int_eq(close(first), 0);

    ck_assert_int_eq(unlink(fixture_path("s")), 0);
    f = fopen(fixture_path("s"), "w"); /* a file is nobody's socket */
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(listener_socket(address, &first, &err), ADIT_ERR_IO);
    ck_assert_int_eq(access(fixture_path("s"), F_OK), 0);
    fixture_fini();
}
END_TEST

START_TEST(listener_takes_an_inherited_descriptor_only_if_it_listens)
{
    struct adit_err err = ADIT_ERR_INIT;
    char address[128];
    int fd, got, pair[2];

    fixture_init();
    (void)snprintf(address, sizeof(address), "unix:%s", fixture_path("s"));
    ck_assert_int_eq(listener_socket(address, &fd, &err), ADIT_OK);
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);
    (void)snprintf(address, sizeof(address), "fd:%d", fd);
    ck_assert_int_eq(listener_socket(address, &got, &err), ADIT_OK);
    ck_assert_int_eq(got, fd);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(close(fd), 0);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(address, sizeof(address), "fd:%d", pair[0]);
    ck_assert_int_eq(listener_socket(address, &got, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(close(pair[0]) | close(pair[1]), 0);
    ck_assert_int_ne(listener_socket(address, &got, &err), ADIT_OK); /* it is closed now */
    fixture_fini();
}
END_TEST

START_TEST(listener_refuses_addresses_that_are_none)
{
    static const char *const bad[] = {
        "",
        "3000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:080",
        "1.2.3:80",
        "example.org:80",
        "[::1:80",
        "[::1]",
        "::1:80",
        "[]:80",
        "unix:",
        "vsock:x",
        "vsock:4294967295",
        "fd:",
        "fd:-1",
        "fd:x",
        "127.0.0.1:80 ",
        ":+80",
        ("unix:/tmp/0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567890123456789"),
    };
    struct adit_err err;
    int fd;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err = (struct adit_err)ADIT_ERR_INIT;
        ck_assert_msg(listener_socket(bad[i], &fd, &err) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
        ck_assert_uint_gt(strlen(err.msg), 0);
    }
}
END_TEST

START_TEST(listener_may_be_closed_while_it_accepts)
{
    char address[128];
    int a, b;

    (void)snprintf(address, sizeof(address), "unix:/tmp/adit-listener-%d", (int)getpid());
    (void)open_listener(address);
    T.close_listener = T.close_at_once = true;
    a = connect_unix(address + 5);
    b = connect_unix(address + 5);
    run_until(T.accepted_cnt == 1);
    settle();
    ck_assert_uint_eq(T.accepted_cnt, 1);
    ck_assert_int_eq(close(a) | close(b), 0);
    ck_assert_int_eq(unlink(address + 5), 0);
    fixture_fini();
}
END_TEST

/* Take all descriptors but none is left for accept. */
static size_t use_up_descriptors(int *fds, size_t max)
{
    size_t cnt = 0;

    while (cnt < max && (fds[cnt] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        cnt++;
    ck_assert_int_eq(errno, EMFILE);
    return cnt;
}

START_TEST(listener_accepts_all_who_wait_before_it_closes)
{
    int fd = open_listener("127.0.0.1:0");
    enum { CNT = 40 };
    int peers[CNT];

    for (size_t i = 0; i < CNT; i++)
        peers[i] = connect_tcp(listener_port(fd));
    ck_assert_uint_eq(T.accepted_cnt, 0); /* the loop did not run */
    listener_accept_waiting(T.l);
    ck_assert_uint_eq(T.accepted_cnt, CNT);
    listener_close(T.l);
    close_accepted();
    for (size_t i = 0; i < CNT; i++)
        ck_assert_int_eq(close(peers[i]), 0);
    fixture_fini();
}
END_TEST

START_TEST(listener_drops_connections_without_descriptors_and_recovers)
{
    enum { CLIENTS = 20 };
    struct rlimit limit = {128, 128};
    char address[128];
    int fds[128], clients[CLIENTS], late;
    size_t cnt;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(address, sizeof(address), "unix:/tmp/adit-emfile-%d", (int)getpid());
    (void)open_listener(address);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = connect_unix(address + 5);
    cnt = use_up_descriptors(fds, 128);
    run_until(listener_dropped_cnt(T.l) == CLIENTS);
    ck_assert_uint_eq(T.accepted_cnt, 0);
    for (int i = 0; i < CLIENTS; i++) {
        char byte;
        ck_assert_int_eq(read(clients[i], &byte, 1), 0); /* dropped, not left waiting */
        ck_assert_int_eq(close(clients[i]), 0);
    }
    ck_assert_int_eq(uv_run(&F.uv, UV_RUN_NOWAIT), 1); /* and the loop does not spin: */
    ck_assert_int_eq(uv_backend_timeout(&F.uv), -1);

    for (size_t i = 0; i < cnt; i++)
        ck_assert_int_eq(close(fds[i]), 0);
    late = connect_unix(address + 5);
    run_until(T.accepted_cnt == 1);
    close_accepted();
    ck_assert_int_eq(close(late), 0);
    listener_close(T.l);
    ck_assert_int_eq(unlink(address + 5), 0);
    fixture_fini();
}
END_TEST

START_TEST(listener_waits_when_even_the_spare_descriptor_is_lost)
{
    struct rlimit limit = {128, 128}, less = {0, 128};
    char address[128];
    int client;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(address, sizeof(address), "unix:/tmp/adit-nospare-%d", (int)getpid());
    (void)open_listener(address);
    client = connect_unix(address + 5);
    less.rlim_cur = 3; /* below what is open: nothing can be opened, the spare cannot come back */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &less), 0);
    run_until(F.net.armed_cnt == 1); /* it looks again later, and does not spin meanwhile */
    ck_assert_uint_eq(T.accepted_cnt, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    run_until(T.accepted_cnt == 1);
    close_accepted();
    ck_assert_int_eq(close(client), 0);
    listener_close(T.l);
    ck_assert_int_eq(unlink(address + 5), 0);
    fixture_fini();
}
END_TEST

SUITE_MAIN("listener", listener_accepts_on_tcp_with_its_options,
           listener_shares_a_tcp_port_between_loops, listener_replaces_only_a_dead_unix_socket,
           listener_takes_an_inherited_descriptor_only_if_it_listens,
           listener_refuses_addresses_that_are_none, listener_may_be_closed_while_it_accepts,
           listener_accepts_all_who_wait_before_it_closes,
           listener_drops_connections_without_descriptors_and_recovers,
           listener_waits_when_even_the_spare_descriptor_is_lost)
