/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of programs to the outside, from connect() to their end. */
#include "egress_broker.h"

#define OUTSIDE4 "93.184.216.34"
#define OUTSIDE6 "2606:2800::1"

static struct broker broker;

static void setup(void)
{
    egress_start(EGRESS_TRANSPARENT);
    broker_open(&broker, true);
    ck_assert_int_eq(broker.mode, CONTROL__MODE__MODE_TRANSPARENT);
}

static void teardown(void)
{
    broker_close(&broker);
    live_stop();
}

static void reset(int fd)
{
    struct linger hard = {1, 0};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    (void)close(fd);
}

/* ---- both ways ---- */

START_TEST(egress_connection_carries_bytes_and_half_closes)
{
    static const char *const addresses[] = {OUTSIDE4, OUTSIDE6};
    for (int i = 0; i < 2; i++) {
        uint32_t id;
        struct live_conn host;
        int fd = program_open(&broker, addresses[i], 443, &id, &host);
        program_say(fd, "question");
        broker_hears(&host, "question");
        ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
        broker_expect_end(&broker, id, false);
        ck_assert(live_is_at_end(&host));
        live_send(&host, "answer", 6);
        program_hear(fd, "answer");
        broker_end(&broker, id, false);
        ck_assert_int_eq(shutdown(host.fd, SHUT_WR), 0);
        ck_assert_int_eq(program_end(fd), 0);
        (void)close(fd);
        live_hang_up(&host);
    }
}
END_TEST

START_TEST(egress_host_may_end_first)
{
    uint32_t id;
    struct live_conn host;
    int fd = program_open(&broker, OUTSIDE4, 80, &id, &host);
    live_send(&host, "greeting", 8);
    broker_end(&broker, id, false);
    ck_assert_int_eq(shutdown(host.fd, SHUT_WR), 0);
    program_hear(fd, "greeting");
    ck_assert_int_eq(program_end(fd), 0);
    program_say(fd, "still here");
    broker_hears(&host, "still here");
    (void)close(fd);
    broker_expect_end(&broker, id, false);
    ck_assert(live_is_at_end(&host));
    live_hang_up(&host);
}
END_TEST

START_TEST(egress_dial_says_where_to)
{
    int fd = program_dial(OUTSIDE4, 8443);
    (void)broker_expect_dial(&broker, OUTSIDE4 ":8443");
    ck_assert(program_is_waiting(fd));
    (void)close(fd);
    fd = program_dial(OUTSIDE6, 22);
    (void)broker_expect_dial(&broker, OUTSIDE6 ":22");
    (void)close(fd);
}
END_TEST

/* ---- refusals ---- */

START_TEST(egress_refusals_are_the_errno_of_connect)
{
    static const struct {
        const char *address;
        Control__Reason reason;
        int failed;
    } rows[] = {
        {OUTSIDE4, CONTROL__REASON__REASON_REFUSED, ECONNREFUSED},
        {OUTSIDE4, CONTROL__REASON__REASON_HOST_UNREACHABLE, EHOSTUNREACH},
        {OUTSIDE4, CONTROL__REASON__REASON_NET_UNREACHABLE, ENETUNREACH},
        {OUTSIDE4, CONTROL__REASON__REASON_PROHIBITED, EHOSTUNREACH},
        {OUTSIDE4, CONTROL__REASON__REASON_TIMED_OUT, EHOSTUNREACH},
        {OUTSIDE6, CONTROL__REASON__REASON_REFUSED, ECONNREFUSED},
        {OUTSIDE6, CONTROL__REASON__REASON_HOST_UNREACHABLE, EHOSTUNREACH},
        {OUTSIDE6, CONTROL__REASON__REASON_NET_UNREACHABLE, ENETUNREACH},
        {OUTSIDE6, CONTROL__REASON__REASON_PROHIBITED, EACCES},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = program_dial(rows[i].address, 443);
        broker_refuse(&broker, broker_expect_dial(&broker, NULL), rows[i].reason);
        int failed = program_connected(fd);
        ck_assert_msg(failed == rows[i].failed, "row %zu: %s", i, strerror(failed));
        (void)close(fd);
    }
}
END_TEST

START_TEST(egress_busy_host_is_asked_again)
{
    int fd = program_dial(OUTSIDE4, 443);
    uint32_t first = broker_expect_dial(&broker, NULL);
    broker_refuse(&broker, first, CONTROL__REASON__REASON_BUSY);
    uint32_t second = broker_expect_dial(&broker, OUTSIDE4 ":443");
    ck_assert_uint_ne(first, second);
    struct live_conn host = broker_accept(second);
    ck_assert_int_eq(program_connected(fd), 0);
    (void)close(fd);
    live_hang_up(&host);
}
END_TEST

/* ---- breaks ---- */

START_TEST(egress_reset_of_the_host_is_never_a_clean_end)
{
    uint32_t id;
    struct live_conn host;
    int fd = program_open(&broker, OUTSIDE4, 80, &id, &host);
    live_send(&host, "part", 4);
    program_hear(fd, "part");
    broker_end(&broker, id, true);
    ck_assert_int_eq(program_end(fd), ECONNRESET);
    broker_expect_end(&broker, id, true);
    (void)close(fd);
    live_hang_up(&host);
    /* A channel that ends without a word, too. */
    fd = program_open(&broker, OUTSIDE4, 80, &id, &host);
    live_hang_up(&host);
    ck_assert_int_eq(program_end(fd), ECONNRESET);
    broker_expect_end(&broker, id, true);
    (void)close(fd);
}
END_TEST

START_TEST(egress_reset_of_the_program_is_told)
{
    uint32_t id;
    struct live_conn host;
    reset(program_open(&broker, OUTSIDE4, 80, &id, &host));
    broker_expect_end(&broker, id, true);
    ck_assert(live_is_at_end(&host));
    live_hang_up(&host);
}
END_TEST

START_TEST(egress_program_that_left_before_its_connection_is_told)
{
    int fd = program_dial(OUTSIDE4, 80);
    uint32_t id = broker_expect_dial(&broker, NULL);
    (void)close(fd);
    struct live_conn host = broker_accept(id);
    broker_expect_end(&broker, id, true);
    ck_assert(live_is_at_end(&host));
    live_hang_up(&host);
}
END_TEST

START_TEST(egress_new_broker_breaks_open_connections_and_takes_waiting_ones)
{
    uint32_t id;
    struct live_conn host;
    int open_fd = program_open(&broker, OUTSIDE4, 80, &id, &host);
    int waiting_fd = program_dial(OUTSIDE4, 443);
    (void)broker_expect_dial(&broker, OUTSIDE4 ":443");
    broker_close(&broker);
    live_hang_up(&host);
    ck_assert_int_eq(program_end(open_fd), ECONNRESET);
    int later_fd = program_dial(OUTSIDE4, 8080);
    ck_assert(program_is_waiting(waiting_fd));
    broker_open(&broker, true);
    for (int i = 0; i < 2; i++) {
        id = broker_expect_dial(&broker, i == 0 ? OUTSIDE4 ":443" : OUTSIDE4 ":8080");
        host = broker_accept(id);
        ck_assert_int_eq(program_connected(i == 0 ? waiting_fd : later_fd), 0);
        live_hang_up(&host);
    }
    (void)close(open_fd);
    (void)close(waiting_fd);
    (void)close(later_fd);
}
END_TEST

START_TEST(egress_without_a_broker_the_network_is_unreachable)
{
    broker_close(&broker);
    int fd = program_dial(OUTSIDE4, 80);
    ck_assert_int_eq(program_connected(fd), ENETUNREACH);
    (void)close(fd);
    broker_open(&broker, false);
    fd = program_dial(OUTSIDE4, 80); /* asked when the host's hello was read */
    (void)broker_expect_dial(&broker, NULL);
    (void)close(fd);
    ck_assert_int_eq(space_connect_errno(OUTSIDE6, 80, SOCK_STREAM), ENETUNREACH);
}
END_TEST

/* ---- a host that breaks rules ---- */

START_TEST(egress_accept_channels_of_nobody_are_closed)
{
    static const char *const lines[] = {"4711\n", "\n",  "-1\n",        "01\n",
                                        "1 \n",   "x\n", "4294967296\n"};
    bool has_ok;
    uint32_t id;
    struct live_conn host, again;
    char line[32];
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        host = broker_accept_line(lines[i], &has_ok);
        ck_assert_msg(!has_ok, "%s", lines[i]);
        live_hang_up(&host);
    }
    int fd = program_open(&broker, OUTSIDE4, 80, &id, &host);
    (void)snprintf(line, sizeof line, "%u\n", id);
    again = broker_accept_line(line, &has_ok); /* a second one for the same dial */
    ck_assert(!has_ok);
    live_hang_up(&again);
    program_say(fd, "x");
    broker_hears(&host, "x");
    live_hang_up(&host);
    broker_expect_end(&broker, id, true);
    (void)close(fd);
    fd = program_dial(OUTSIDE4, 80);
    (void)snprintf(line, sizeof line, "%u\nearly", broker_expect_dial(&broker, NULL));
    host = broker_accept_line(line, &has_ok);
    ck_assert(!has_ok);
    live_hang_up(&host);
    (void)close(fd);
}
END_TEST

START_TEST(egress_accept_channels_may_say_at_once_whose_they_are)
{
    char lines[2 * CHANNEL_LINE_CAP];
    int fd = program_dial(OUTSIDE4, 80);
    size_t len = channel_format_connect(lines, CHANNEL_PORT_ACCEPT);
    len += channel_format_accept(lines + len, broker_expect_dial(&broker, OUTSIDE4 ":80"));
    struct live_conn host = live_dial(), nobody = live_dial();
    live_send(&host, lines, len);
    ck_assert(live_read_until(&host, "\n", lines, sizeof lines));
    ck_assert_str_eq(lines, "OK 1026\n");
    ck_assert(live_read_until(&host, "\n", lines, sizeof lines));
    ck_assert_str_eq(lines, "OK\n");
    ck_assert_int_eq(program_connected(fd), 0);
    live_send(&nobody, "CONNECT 1026\n4711\n", 18);
    ck_assert(live_is_at_end(&nobody));
    live_hang_up(&nobody);
    live_hang_up(&host);
    (void)close(fd);
}
END_TEST

START_TEST(egress_accept_channels_without_a_line_are_closed)
{
    struct live_conn silent = live_channel(CHANNEL_PORT_ACCEPT);
    struct live_conn gone = live_channel(CHANNEL_PORT_ACCEPT);
    live_hang_up(&gone);
    ck_assert(live_is_at_end(&silent));
    live_hang_up(&silent);
}
END_TEST

START_TEST(egress_wrong_frames_end_the_channel)
{
    static const struct adit_view rows[] = {
        ADIT_VIEW("\0\0\0\0\0"),             /* nothing in it */
        ADIT_VIEW("\0\xff\xff\xff\xff"),     /* too long */
        ADIT_VIEW("\0\0\0\0\2\x0a\0"),       /* hello again */
        ADIT_VIEW("GET / HTTP/1.1\r\n\r\n"), /* not ours */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        live_send(&broker.control, rows[i].ptr, rows[i].len);
        ck_assert(live_is_at_end(&broker.control));
        broker_close(&broker);
        broker_open(&broker, true);
    }
    /* Ids that nobody knows are no wrong: both sides may end one at once. */
    broker_end(&broker, 4711, true);
    broker_refuse(&broker, 4712, CONTROL__REASON__REASON_REFUSED);
    int fd = program_dial(OUTSIDE4, 80);
    (void)broker_expect_dial(&broker, NULL);
    (void)close(fd);
}
END_TEST

START_TEST(egress_second_broker_takes_over)
{
    struct broker second;
    broker_open(&second, false);
    ck_assert(live_is_at_end(&broker.control));
    int fd = program_dial(OUTSIDE4, 80);
    struct live_conn host = broker_accept(broker_expect_dial(&second, NULL));
    ck_assert_int_eq(program_connected(fd), 0);
    (void)close(fd);
    live_hang_up(&host);
    broker_close(&second);
}
END_TEST

START_TEST(egress_host_that_says_no_hello_is_given_up)
{
    broker_close(&broker);
    broker_connect(&broker);
    ck_assert(live_is_at_end(&broker.control));
}
END_TEST

/* ---- many ---- */

START_TEST(egress_holds_what_is_too_much_for_the_host)
{
    enum { MANY = 300, ASKED = 256 };
    static int fds[MANY];
    static uint32_t ids[MANY];
    static struct live_conn hosts[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = program_dial(OUTSIDE4, (uint16_t)(1000 + i));
    for (int i = 0; i < ASKED; i++)
        ids[i] = broker_expect_dial(&broker, NULL);
    struct pollfd p = {.fd = broker.control.fd, .events = POLLIN};
    ck_assert_uint_eq(broker.control.start, broker.control.end);
    ck_assert_int_eq(poll(&p, 1, 50), 0); /* the others wait their turn */
    for (int i = 0; i < MANY; i++) {
        hosts[i] = broker_accept(ids[i]);
        if (i + ASKED < MANY)
            ids[i + ASKED] = broker_expect_dial(&broker, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(program_connected(fds[i]), 0);
        program_say(fds[i], "hello");
        (void)close(fds[i]);
    }
    for (int i = 0; i < MANY; i++) {
        broker_hears(&hosts[i], "hello");
        live_hang_up(&hosts[i]);
    }
}
END_TEST

/* program_dial() from a port of the program's choice. */
static int dial_from(uint16_t port, const char *text, uint16_t to_port)
{
    const int on = 1;
    socklen_t len;
    union space_address from = space_address(EGRESS_NETWORK_IPV4, port, &len),
                        to = space_address(text, to_port, &len);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert_int_eq(bind(fd, &from.any, len), 0);
    ck_assert_int_eq(connect(fd, &to.any, len), -1);
    ck_assert_int_eq(errno, EINPROGRESS);
    return fd;
}

START_TEST(egress_one_source_port_to_two_places_is_not_confused)
{
    static const char *const places[] = {"198.51.100.1", "198.51.100.2"};
    struct live_conn hosts[2];
    int fds[2];
    uint32_t ids[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = dial_from(44444, places[i], 80);
        ids[i] = broker_expect_dial(&broker, i == 0 ? "198.51.100.1:80" : "198.51.100.2:80");
    }
    for (int i = 1; i >= 0; i--) {
        hosts[i] = broker_accept(ids[i]);
        ck_assert_int_eq(program_connected(fds[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        program_say(fds[i], places[i]);
        broker_hears(&hosts[i], places[i]);
        (void)close(fds[i]);
        live_hang_up(&hosts[i]);
    }
}
END_TEST

/* conntrack knows the old one for some seconds, and would take the first packet for one of it. */
START_TEST(egress_connection_between_ports_of_one_that_was_reset_is_a_new_one)
{
    enum { PORT = 33334 };
    for (int i = 0; i < 6; i++) {
        int fd = dial_from(PORT, OUTSIDE4, 80);
        uint32_t id = broker_expect_dial(&broker, OUTSIDE4 ":80");
        if (i % 2 == 0) {
            broker_refuse(&broker, id, CONTROL__REASON__REASON_REFUSED);
            ck_assert_int_eq(program_connected(fd), ECONNREFUSED);
        } else {
            struct live_conn host = broker_accept(id);
            ck_assert_int_eq(program_connected(fd), 0);
            broker_end(&broker, id, true);
            ck_assert_int_eq(program_end(fd), ECONNRESET);
            broker_expect_end(&broker, id, true);
            live_hang_up(&host);
        }
        (void)close(fd);
    }
}
END_TEST

/* Source ports come again long before what has ended is forgotten elsewhere. */
START_TEST(egress_short_connections_do_not_meet_ended_ones)
{
    enum { MANY = 1000, PORT = 33333 };
    for (int i = 0; i < MANY; i++) {
        int fd = dial_from(PORT, OUTSIDE4, (uint16_t)(1000 + i));
        uint32_t id = broker_expect_dial(&broker, NULL);
        struct live_conn host = broker_accept(id);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        ck_assert_msg(poll(&p, 1, 20000) == 1, "connection %d was lost", i);
        broker_end(&broker, id, false); /* the listener's side ends first */
        ck_assert_int_eq(shutdown(host.fd, SHUT_WR), 0);
        ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
        ck_assert_int_eq(program_end(fd), 0);
        (void)close(fd);
        broker_expect_end(&broker, id, false);
        live_hang_up(&host);
    }
}
END_TEST

/* ---- redirected at once ---- */

START_TEST(egress_redirect_mode_resets_what_the_host_refuses)
{
    uint32_t id;
    struct live_conn host;
    egress_start(EGRESS_REDIRECT);
    broker_open(&broker, true);
    ck_assert_int_eq(broker.mode, CONTROL__MODE__MODE_REDIRECT);
    int fd = program_dial(OUTSIDE4, 443);
    ck_assert_int_eq(program_connected(fd), 0);
    program_say(fd, "early ");
    broker_refuse(&broker, broker_expect_dial(&broker, OUTSIDE4 ":443"),
                  CONTROL__REASON__REASON_REFUSED);
    ck_assert_int_eq(program_end(fd), ECONNRESET);
    (void)close(fd);
    fd = program_dial(OUTSIDE6, 443);
    ck_assert_int_eq(program_connected(fd), 0);
    program_say(fd, "early ");
    id = broker_expect_dial(&broker, OUTSIDE6 ":443");
    host = broker_accept(id);
    program_say(fd, "and late");
    broker_hears(&host, "early and late");
    live_send(&host, "answer", 6);
    program_hear(fd, "answer");
    (void)close(fd);
    broker_expect_end(&broker, id, false);
    live_hang_up(&host);
    teardown();
}
END_TEST

START_TEST(egress_proxy_mode_redirects_nothing)
{
    egress_start(EGRESS_PROXY);
    broker_open(&broker, true);
    ck_assert_int_eq(broker.mode, CONTROL__MODE__MODE_PROXY);
    ck_assert_int_eq(space_connect_errno(OUTSIDE4, 443, SOCK_STREAM), ENETUNREACH);
    ck_assert_int_eq(space_connect_errno(EGRESS_NETWORK_RESOLVER, 53, SOCK_STREAM), 0);
    teardown();
}
END_TEST

/* Stopped with one of everything open: nothing is left (live_stop() looks), all sides hear of it.
 */
START_TEST(egress_stops_with_all_it_holds)
{
    static const char query[] = "\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1";
    uint32_t id;
    int failed;
    struct live_conn joined, line = live_channel(CHANNEL_PORT_ACCEPT);
    int open_fd = program_open(&broker, OUTSIDE4, 80, &id, &joined);
    int asked_fd = program_dial(OUTSIDE4, 81);
    (void)broker_expect_dial(&broker, NULL);
    int name_fd = space_connect("8.8.8.8", 53, SOCK_DGRAM, &failed);
    ck_assert_int_eq(send(name_fd, query, sizeof query - 1, 0), sizeof query - 1);
    control__guest_frame__free_unpacked(broker_expect(&broker, CONTROL__GUEST_FRAME__BODY_LOOKUP),
                                        NULL);
    int stream_fd = space_connect("8.8.8.8", 53, SOCK_STREAM, &failed);
    ck_assert_int_eq(kill(live_pid, SIGTERM), 0);
    ck_assert_int_eq(program_connected(asked_fd), ENETUNREACH);
    ck_assert_int_eq(program_end(open_fd), ECONNRESET);
    ck_assert(live_is_at_end(&joined) && live_is_at_end(&line));
    ck_assert(live_is_at_end(&broker.control));
    live_hang_up(&joined);
    live_hang_up(&line);
    (void)close(open_fd);
    (void)close(asked_fd);
    (void)close(name_fd);
    (void)close(stream_fd);
}
END_TEST

/* The tests of other modes make their own; they skip what the kernel cannot do elsewhere. */
int main(void)
{
    int failed = suite_run(&(struct suite){.name = "egress redirect",
                                           TESTS(egress_redirect_mode_resets_what_the_host_refuses,
                                                 egress_proxy_mode_redirects_nothing)});
    return suite_run(&(struct suite){
               .name = "egress",
               .fixtures = {{setup, teardown}},
               TESTS(egress_connection_carries_bytes_and_half_closes, egress_host_may_end_first,
                     egress_dial_says_where_to, egress_refusals_are_the_errno_of_connect,
                     egress_busy_host_is_asked_again, egress_reset_of_the_host_is_never_a_clean_end,
                     egress_reset_of_the_program_is_told,
                     egress_program_that_left_before_its_connection_is_told,
                     egress_new_broker_breaks_open_connections_and_takes_waiting_ones,
                     egress_without_a_broker_the_network_is_unreachable,
                     egress_accept_channels_of_nobody_are_closed,
                     egress_accept_channels_may_say_at_once_whose_they_are,
                     egress_accept_channels_without_a_line_are_closed,
                     egress_wrong_frames_end_the_channel, egress_second_broker_takes_over,
                     egress_host_that_says_no_hello_is_given_up,
                     egress_holds_what_is_too_much_for_the_host,
                     egress_one_source_port_to_two_places_is_not_confused,
                     egress_connection_between_ports_of_one_that_was_reset_is_a_new_one,
                     egress_short_connections_do_not_meet_ended_ones,
                     egress_stops_with_all_it_holds)}) ||
           failed;
}
