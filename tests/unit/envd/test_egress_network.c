/* SPDX-License-Identifier: Apache-2.0 */
/* What programs see of the network of a sandbox, with verdicts by port in the place of a broker. */
#include "egress_space.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/capability.h>
#include <linux/netfilter_ipv4.h>

#include "envd/egress/egress_queue.h"

#define OUTSIDE4 "93.184.216.34"
#define OUTSIDE6 "2606:2800::1"
/* Ports below this are verdicts. */
#define PORT_MAX_VERDICT 10

static uv_loop_t uv;
static struct net_loop loop;
static struct egress_queue *queue;
static struct egress_network network;
static struct egress_network_ports ports;
static int listeners[2], stubs[2];
static uv_async_t stop;
static pthread_t thread;
static unsigned seen_cnt;

static void on_dial(void *owner, const struct egress_packet *p)
{
    struct egress_queue **q = owner;
    bool is_verdict = p->to.port < PORT_MAX_VERDICT;
    (void)__atomic_add_fetch(&seen_cnt, 1, __ATOMIC_SEQ_CST);
    egress_queue_decide(*q, p->id, is_verdict ? (enum egress_verdict)p->to.port : EGRESS_LET_GO);
}

static void on_stop(uv_async_t *a)
{
    egress_queue_close(queue);
    net_loop_close(&loop);
    uv_close((uv_handle_t *)a, NULL);
}

static void *run(void *arg)
{
    (void)arg;
    (void)uv_run(&uv, UV_RUN_DEFAULT);
    return NULL;
}

static void setup_mode(enum egress_mode best)
{
    struct adit_err err = ADIT_ERR_INIT;
    space_enter();
    ck_assert_int_eq(uv_loop_init(&uv), 0);
    ck_assert_int_eq(net_loop_init(&loop, &uv, &err), ADIT_OK);
    ck_assert_msg(egress_queue_open(&loop, on_dial, &queue, &queue, &err) == ADIT_OK, "%s",
                  err.msg);
    listeners[0] = space_server("127.0.0.1", SOCK_STREAM, &ports.listener_ipv4);
    listeners[1] = space_server("::1", SOCK_STREAM, &ports.listener_ipv6);
    stubs[0] = space_server("127.0.0.1", SOCK_DGRAM, &ports.dns_ipv4);
    stubs[1] = space_server("::1", SOCK_DGRAM, &ports.dns_ipv6);
    egress_network_open(&network, best, &ports, &err);
    ck_assert_int_eq(uv_async_init(&uv, &stop, on_stop), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void setup(void)
{
    setup_mode(EGRESS_TRANSPARENT);
}

static void teardown(void)
{
    ck_assert_int_eq(uv_async_send(&stop), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(uv_loop_close(&uv), 0);
    egress_network_close(&network);
}

static void turn_ipv6(bool is_on)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(egress_network_set_ipv6(&network, is_on, &err) == ADIT_OK, "%s", err.msg);
}

/* ---- verdicts ---- */

START_TEST(network_verdicts_are_the_errno_of_connect)
{
    static const struct {
        const char *address;
        enum egress_verdict verdict;
        int failed;
    } rows[] = {
        {OUTSIDE4, EGRESS_LET_GO, 0},
        {OUTSIDE4, EGRESS_RESET, ECONNREFUSED},
        {OUTSIDE4, EGRESS_HOST_UNREACHABLE, EHOSTUNREACH},
        {OUTSIDE4, EGRESS_NET_UNREACHABLE, ENETUNREACH},
        {OUTSIDE4, EGRESS_PROHIBITED, EHOSTUNREACH},
        {OUTSIDE6, EGRESS_LET_GO, 0},
        {OUTSIDE6, EGRESS_RESET, ECONNREFUSED},
        {OUTSIDE6, EGRESS_HOST_UNREACHABLE, EHOSTUNREACH},
        {OUTSIDE6, EGRESS_NET_UNREACHABLE, ENETUNREACH},
        {OUTSIDE6, EGRESS_PROHIBITED, EACCES},
    };
    if (!space_is_transparent(&network, "network_verdicts_are_the_errno_of_connect"))
        return;
    turn_ipv6(true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t port = rows[i].verdict == EGRESS_LET_GO ? 443 : (uint16_t)rows[i].verdict;
        int failed = space_connect_errno(rows[i].address, port, SOCK_STREAM);
        ck_assert_msg(failed == rows[i].failed, "row %zu: %s", i, strerror(failed));
    }
}
END_TEST

START_TEST(network_dropped_packet_comes_again)
{
    struct pollfd p = {.events = POLLOUT};
    socklen_t len;
    union space_address a = space_address(OUTSIDE4, EGRESS_DROP, &len);
    if (!space_is_transparent(&network, "network_dropped_packet_comes_again"))
        return;
    p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(p.fd, &a.any, len), -1);
    ck_assert_int_eq(errno, EINPROGRESS);
    while (__atomic_load_n(&seen_cnt, __ATOMIC_SEQ_CST) < 2)
        ck_assert_int_eq(poll(&p, 1, 10), 0); /* neither connected nor failed */
    (void)close(p.fd);
}
END_TEST

START_TEST(network_non_blocking_connect_hears_by_poll)
{
    static const struct {
        uint16_t port;
        int failed;
    } rows[] = {{443, 0}, {EGRESS_RESET, ECONNREFUSED}, {EGRESS_HOST_UNREACHABLE, EHOSTUNREACH}};
    if (!space_is_transparent(&network, "network_non_blocking_connect_hears_by_poll"))
        return;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int failed = 0;
        socklen_t len, failed_len = sizeof failed;
        union space_address a = space_address(OUTSIDE4, rows[i].port, &len);
        struct pollfd p = {.events = POLLOUT};
        p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(p.fd, &a.any, len), -1);
        ck_assert_int_eq(errno, EINPROGRESS);
        ck_assert_int_eq(poll(&p, 1, 20000), 1);
        ck_assert_int_eq(getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &failed, &failed_len), 0);
        ck_assert_int_eq(failed, rows[i].failed);
        (void)close(p.fd);
    }
}
END_TEST

START_TEST(network_ends_have_the_names_that_programs_expect)
{
    char name[80];
    int failed;
    if (!space_is_transparent(&network, "network_ends_have_the_names_that_programs_expect"))
        return;
    turn_ipv6(true);
    int fd = space_connect(OUTSIDE4, 443, SOCK_STREAM, &failed);
    ck_assert_int_eq(failed, 0);
    space_name(fd, getpeername, name);
    ck_assert_str_eq(name, OUTSIDE4 ":443");
    space_name(fd, getsockname, name);
    ck_assert(strncmp(name, EGRESS_NETWORK_IPV4 ":", strlen(EGRESS_NETWORK_IPV4) + 1) == 0);
    (void)close(fd);
    fd = space_connect(OUTSIDE6, 443, SOCK_STREAM, &failed);
    ck_assert_int_eq(failed, 0);
    space_name(fd, getpeername, name);
    ck_assert_str_eq(name, OUTSIDE6 ":443");
    space_name(fd, getsockname, name);
    ck_assert(strncmp(name, EGRESS_NETWORK_IPV6 ":", strlen(EGRESS_NETWORK_IPV6) + 1) == 0);
    (void)close(fd);
}
END_TEST

START_TEST(network_listener_knows_where_a_connection_was_going)
{
    int failed;
    union space_address original;
    socklen_t len = sizeof original.v4;
    int fd = space_connect(OUTSIDE4, 8443, SOCK_STREAM, &failed);
    ck_assert_int_eq(failed, 0);
    int accepted = accept4(listeners[0], NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_eq(getsockopt(accepted, SOL_IP, SO_ORIGINAL_DST, &original, &len), 0);
    ck_assert_int_eq(ntohs(original.v4.sin_port), 8443);
    ck_assert_uint_eq(original.v4.sin_addr.s_addr, inet_addr(OUTSIDE4));
    (void)close(accepted);
    (void)close(fd);
}
END_TEST

/* ---- what does not get out ---- */

static int send_errno(const char *text, uint16_t port)
{
    socklen_t len;
    union space_address a = space_address(text, port, &len);
    int fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int failed = sendto(fd, "x", 1, 0, &a.any, len) == 1 ? 0 : errno;
    (void)close(fd);
    return failed;
}

START_TEST(network_datagrams_are_unreachable_at_once)
{
    static const char *const addresses[] = {OUTSIDE4, OUTSIDE6};
    turn_ipv6(true);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(send_errno(addresses[i], 123), ENETUNREACH);
        ck_assert_int_eq(space_connect_errno(addresses[i], 443, SOCK_DGRAM), ENETUNREACH);
    }
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    socklen_t len;
    union space_address a = space_address(OUTSIDE4, 0, &len);
    ck_assert_int_eq(sendto(fd, "\10\0\0\0\0\0\0\0", 8, 0, &a.any, len), -1);
    ck_assert_int_eq(errno, ENETUNREACH);
    (void)close(fd);
}
END_TEST

START_TEST(network_without_ipv6_fails_at_once_and_is_not_asked_for)
{
    struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG | AI_NUMERICHOST, .ai_family = AF_INET6};
    struct addrinfo *found = NULL;
    ck_assert(network.can_ipv6);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(space_connect_errno(OUTSIDE6, 443, SOCK_STREAM), ENETUNREACH);
        ck_assert_int_ne(getaddrinfo("::1", "80", &hints, &found), 0); /* no address of its own */
        turn_ipv6(true);
        turn_ipv6(true);
        ck_assert_int_eq(space_connect_errno(OUTSIDE6, 443, SOCK_STREAM), 0);
        turn_ipv6(false);
    }
    ck_assert_int_eq(__atomic_load_n(&seen_cnt, __ATOMIC_SEQ_CST), 2);
}
END_TEST

START_TEST(network_inside_is_left_alone)
{
    static const char *const own[] = {"127.0.0.1", EGRESS_NETWORK_IPV4, "::1", EGRESS_NETWORK_IPV6};
    turn_ipv6(true);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        uint16_t port = 0;
        int server = space_server(own[i], SOCK_STREAM, &port);
        ck_assert_int_eq(space_connect_errno(own[i], port, SOCK_STREAM), 0);
        (void)close(server);
        ck_assert_int_eq(space_connect_errno(own[i], port, SOCK_STREAM), ECONNREFUSED);
    }
    ck_assert_int_eq(__atomic_load_n(&seen_cnt, __ATOMIC_SEQ_CST), 0);
}
END_TEST

/* ---- names ---- */

/* Ask, let the stub in @stub answer, and see that the answer comes from where was asked. */
static void ask(const char *server, int stub)
{
    char text[8];
    socklen_t len, from_len;
    union space_address to = space_address(server, 53, &len), from;
    struct pollfd p = {.events = POLLIN};
    p.fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(sendto(p.fd, "query", 5, 0, &to.any, len), 5);
    from_len = sizeof from;
    ck_assert_int_eq(recvfrom(stub, text, sizeof text, 0, &from.any, &from_len), 5);
    ck_assert_int_eq(sendto(stub, "answer", 6, 0, &from.any, from_len), 6);
    ck_assert_msg(poll(&p, 1, 20000) == 1, "%s does not answer", server);
    from_len = sizeof from;
    ck_assert_int_eq(recvfrom(p.fd, text, sizeof text, 0, &from.any, &from_len), 6);
    ck_assert_uint_eq(from_len, len);
    ck_assert_int_eq(memcmp(&from, &to, len), 0);
    (void)close(p.fd);
}

START_TEST(network_dns_of_any_server_is_the_stub)
{
    turn_ipv6(true);
    ask("8.8.8.8", stubs[0]);
    ask(EGRESS_NETWORK_RESOLVER, stubs[0]);
    ask("2001:4860:4860::8888", stubs[1]);
}
END_TEST

START_TEST(network_dns_over_tcp_is_the_stub_and_not_dialled)
{
    static const char *const servers[] = {"8.8.8.8", EGRESS_NETWORK_RESOLVER,
                                          "2001:4860:4860::8888"};
    int on_tcp[2] = {space_server("127.0.0.1", SOCK_STREAM, &ports.dns_ipv4),
                     space_server("::1", SOCK_STREAM, &ports.dns_ipv6)};
    turn_ipv6(true);
    for (size_t i = 0; i < 3; i++) {
        int failed;
        int fd = space_connect(servers[i], 53, SOCK_STREAM, &failed);
        ck_assert_int_eq(failed, 0);
        int accepted = accept4(on_tcp[i == 2], NULL, NULL, SOCK_CLOEXEC);
        ck_assert_int_ge(accepted, 0);
        (void)close(accepted);
        (void)close(fd);
    }
    ck_assert_int_eq(__atomic_load_n(&seen_cnt, __ATOMIC_SEQ_CST), 0);
}
END_TEST

START_TEST(network_sandbox_may_have_a_dns_server_of_its_own)
{
    uint16_t port = 53;
    char text[8];
    socklen_t len;
    int server = space_server("0.0.0.0", SOCK_DGRAM, &port);
    union space_address to = space_address("127.0.0.1", 53, &len);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(sendto(fd, "query", 5, 0, &to.any, len), 5);
    ck_assert_int_eq(recv(server, text, sizeof text, 0), 5);
    (void)close(fd);
    (void)close(server);
}
END_TEST

/* ---- who may ---- */

START_TEST(network_is_out_of_reach_for_programs_and_works_on)
{
    struct egress_netlink n;
    struct egress_network_ports other = ports;
    struct egress_network mine;
    struct adit_err err = ADIT_ERR_INIT;
    if (!space_is_transparent(&network, "network_is_out_of_reach_for_programs_and_works_on"))
        return;
    ck_assert_int_eq(prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0), 0);
    ck_assert_int_eq(space_connect_errno(OUTSIDE4, EGRESS_RESET, SOCK_STREAM), ECONNREFUSED);
    ck_assert_int_eq(system("grep -q '^CapEff:.*[02468ace]...$' /proc/self/status"), 0);
    pid_t child = fork();
    if (child == 0) {
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct none[2] = {{0}};
        (void)syscall(SYS_capset, &head, none);
        egress_network_open(&mine, EGRESS_TRANSPARENT, &other, &err);
        bool is_refused = mine.mode == EGRESS_PROXY && err.sys_errno == EPERM;
        is_refused = is_refused && egress_netlink_open(&n, 0, &err) == ADIT_OK;
        _exit(is_refused ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- other modes ---- */

START_TEST(network_redirect_mode_connects_at_once)
{
    setup_mode(EGRESS_REDIRECT);
    ck_assert_int_eq(network.mode, EGRESS_REDIRECT);
    ck_assert_int_eq(space_connect_errno(OUTSIDE4, EGRESS_RESET, SOCK_STREAM), 0);
    turn_ipv6(true);
    ck_assert_int_eq(space_connect_errno(OUTSIDE6, EGRESS_RESET, SOCK_STREAM), 0);
    ask("8.8.8.8", stubs[0]);
    ck_assert_int_eq(send_errno(OUTSIDE4, 123), ENETUNREACH);
    ck_assert_int_eq(__atomic_load_n(&seen_cnt, __ATOMIC_SEQ_CST), 0);
    teardown();
}
END_TEST

START_TEST(network_proxy_mode_changes_nothing)
{
    setup_mode(EGRESS_PROXY);
    ck_assert_int_eq(network.mode, EGRESS_PROXY);
    ck_assert_int_eq(space_connect_errno(OUTSIDE4, 443, SOCK_STREAM), ENETUNREACH);
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(egress_network_set_ipv6(&network, true, &err), ADIT_ERR_UNAVAILABLE);
    teardown();
}
END_TEST

START_TEST(network_can_be_opened_again)
{
    struct adit_err err = ADIT_ERR_INIT;
    enum egress_mode before = network.mode;
    egress_network_close(&network);
    egress_network_open(&network, EGRESS_TRANSPARENT, &ports, &err);
    ck_assert_int_eq(network.mode, before);
    ck_assert_int_eq(space_connect_errno(OUTSIDE4, 443, SOCK_STREAM), 0);
}
END_TEST

/* ---- many ---- */

START_TEST(network_holds_hundreds_of_connects_at_once)
{
    enum { MANY = 400 };
    static struct pollfd p[MANY];
    for (int i = 0; i < MANY; i++) {
        char text[32];
        socklen_t len;
        (void)snprintf(text, sizeof text, "198.51.%d.%d", i / 200, i % 200 + 1);
        union space_address a = space_address(text, 443, &len);
        p[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        p[i].events = POLLOUT;
        ck_assert_int_eq(connect(p[i].fd, &a.any, len), -1);
    }
    for (int i = 0; i < MANY; i++) {
        int failed;
        socklen_t len = sizeof failed;
        ck_assert_int_eq(poll(&p[i], 1, 20000), 1);
        ck_assert_int_eq(getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &failed, &len), 0);
        ck_assert_int_eq(failed, 0);
        (void)close(p[i].fd);
    }
}
END_TEST

/* The kernel's list leaves out what is over by its time. */
static size_t tracked_cnt(void)
{
    size_t cnt = 0;
    FILE *f = fopen("/proc/net/nf_conntrack", "re");
    for (int c; f && (c = fgetc(f)) != EOF;)
        cnt += c == '\n';
    if (f)
        (void)fclose(f);
    return cnt;
}

/* Connections within the sandbox are tracked as well; else a busy server of it fills the table. */
START_TEST(network_forgets_ended_connections_soon)
{
    uint16_t port;
    int server = space_server("127.0.0.1", SOCK_STREAM, &port);
    ck_assert_int_ge(server, 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(space_connect_errno("127.0.0.1", port, SOCK_STREAM), 0);
        (void)close(accept4(server, NULL, NULL, SOCK_CLOEXEC));
    }
    time_t begin = time(NULL);
    ck_assert_uint_ge(tracked_cnt(), 1);
    while (tracked_cnt() > 0) /* two minutes where the kernel goes by its own time */
        ck_assert_int_lt(time(NULL) - begin, 60);
    (void)close(server);
}
END_TEST

/* The tests of other modes make their own. */
static int own_modes(void)
{
    return suite_run(&(struct suite){
        .name = "egress_network modes",
        TESTS(network_redirect_mode_connects_at_once, network_proxy_mode_changes_nothing)});
}

int main(void)
{
    int failed = own_modes();
    return suite_run(&(struct suite){
               .name = "egress_network",
               .fixtures = {{setup, teardown}},
               TESTS(network_verdicts_are_the_errno_of_connect, network_dropped_packet_comes_again,
                     network_non_blocking_connect_hears_by_poll,
                     network_ends_have_the_names_that_programs_expect,
                     network_listener_knows_where_a_connection_was_going,
                     network_datagrams_are_unreachable_at_once,
                     network_without_ipv6_fails_at_once_and_is_not_asked_for,
                     network_inside_is_left_alone, network_dns_of_any_server_is_the_stub,
                     network_dns_over_tcp_is_the_stub_and_not_dialled,
                     network_sandbox_may_have_a_dns_server_of_its_own,
                     network_is_out_of_reach_for_programs_and_works_on, network_can_be_opened_again,
                     network_holds_hundreds_of_connects_at_once,
                     network_forgets_ended_connections_soon)}) ||
           failed;
}
