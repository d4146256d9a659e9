/* SPDX-License-Identifier: Apache-2.0 */
/* The host's half of what gets out of a sandbox, against a guest and destinations played here. */
#include "egress_guest.h"

#include <pthread.h>
#include <stdatomic.h>

#include "broker/egress/egress_dial.h"

#define LOOPBACK "{\"allowOut\":[\"127.0.0.1\"]}"
#define NOTHING "{\"denyOut\":[\"0.0.0.0/0\"]}"

static struct guest g;
static int server;
static uint16_t port;

static void setup(void)
{
    server = server_open(&port);
    guest_start(&g, "127.0.0.1", LOOPBACK, false);
    guest_open(&g);
}

static void teardown(void)
{
    guest_stop(&g);
    (void)close(server);
}

/* A connection from its dial to both ends, joined. */
static int open_dial(uint32_t id, int *destination)
{
    guest_dial(&g, id, "127.0.0.1", port);
    *destination = server_accept(server);
    int program = guest_accept(&g, id);
    send_text(*destination, "there");
    expect_text(program, "there");
    return program;
}

START_TEST(egress_joins_a_program_and_its_destination)
{
    char line[16];
    guest_dial(&g, 7, "127.0.0.1", port);
    int destination = server_accept(server);
    send_text(destination, "first"); /* said before the guest is asked */
    int program = guest_channel(&g, "CONNECT 1026\n");
    read_line(program, line, sizeof(line));
    ck_assert_str_eq(line, "7\n");
    send_text(program, "OK\nhello");
    expect_text(destination, "hello");
    expect_text(program, "first");
    send_text(destination, "answer");
    expect_text(program, "answer");
    (void)close(program);
    (void)close(destination);
}
END_TEST

START_TEST(egress_tells_an_end_before_it_shows_it)
{
    int destination, program = open_dial(1, &destination);
    send_text(destination, "last words");
    (void)shutdown(destination, SHUT_WR);
    guest_expect_end(&g, 1, false);
    expect_text(program, "last words");
    expect_eof(program);
    send_text(program, "mine");
    guest_end(&g, 1, false);
    (void)shutdown(program, SHUT_WR);
    expect_text(destination, "mine");
    expect_eof(destination);
    (void)close(program);
    (void)close(destination);
    guest_dial(&g, 1, "127.0.0.1", port); /* the id is free again */
    (void)close(server_accept(server));
    (void)close(guest_accept(&g, 1));
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_CLOSED), 1);
}
END_TEST

START_TEST(egress_holds_an_end_back_until_the_guest_has_told_it)
{
    int destination, program = open_dial(1, &destination);
    struct pollfd p = {.fd = destination, .events = POLLIN};
    send_text(program, "mine");
    (void)shutdown(program, SHUT_WR);
    expect_text(destination, "mine");
    ck_assert_int_eq(poll(&p, 1, 100), 0); /* can only fail where it is wrong */
    guest_end(&g, 1, false);
    expect_eof(destination);
    (void)close(program);
    (void)close(destination);
}
END_TEST

START_TEST(egress_breaks_a_connection_whose_end_is_never_told)
{
    int destination, program = open_dial(1, &destination);
    (void)close(program);
    expect_reset(destination);
    guest_expect_end(&g, 1, true);
    (void)close(destination);
}
END_TEST

START_TEST(egress_passes_resets_both_ways)
{
    int destination, program = open_dial(1, &destination);
    reset(destination);
    guest_expect_end(&g, 1, true);
    expect_eof(program);
    (void)close(program);
    program = open_dial(2, &destination);
    guest_end(&g, 2, true);
    expect_reset(destination);
    (void)close(program);
    (void)close(destination);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_BROKEN), 2);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 0);
}
END_TEST

START_TEST(egress_answers_as_a_network_would)
{
    guest_dial(&g, 1, "10.1.2.3", 80);
    guest_expect_refusal(&g, 1, CONTROL__REASON__REASON_PROHIBITED);
    guest_dial(&g, 2, "169.254.169.254", 80);
    guest_expect_refusal(&g, 2, CONTROL__REASON__REASON_PROHIBITED);
    guest_dial(&g, 3, "::ffff:127.0.0.2", 80);
    guest_expect_refusal(&g, 3, CONTROL__REASON__REASON_PROHIBITED);
    guest_dial(&g, 4, "::1", port);
    guest_expect_refusal(&g, 4, CONTROL__REASON__REASON_PROHIBITED);
    (void)close(server);
    guest_dial(&g, 5, "127.0.0.1", port);
    guest_expect_refusal(&g, 5, CONTROL__REASON__REASON_REFUSED);
    server = server_open(&port);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_PROHIBITED), 4);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_REFUSED), 1);
}
END_TEST

START_TEST(egress_update_ends_what_it_forbids)
{
    int destination, program = open_dial(1, &destination);
    ck_assert_int_eq(egress_update(g.sandbox, policy_of(&g, LOOPBACK), NULL), ADIT_OK);
    send_text(program, "still");
    expect_text(destination, "still");
    ck_assert_int_eq(egress_update(g.sandbox, policy_of(&g, NOTHING), NULL), ADIT_OK);
    guest_dial(&g, 2, "127.0.0.1", port);
    guest_expect_end(&g, 1, true);
    guest_expect_refusal(&g, 2, CONTROL__REASON__REASON_PROHIBITED);
    expect_reset(destination);
    expect_eof(program);
    (void)close(program);
    (void)close(destination);
}
END_TEST

/* A server that answers nobody: @first waits to be accepted, and no other may. */
static int silent_server(uint16_t *silent_port, int *first)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int silent = server_open(silent_port);
    *first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons(*silent_port);
    ck_assert_int_eq(listen(silent, 0), 0);
    ck_assert_int_eq(connect(*first, (struct sockaddr *)&a, sizeof(a)), 0);
    return silent;
}

START_TEST(egress_waits_for_a_destination_that_takes_its_time)
{
    uint16_t silent_port;
    int first, silent = silent_server(&silent_port, &first);
    guest_dial(&g, 1, "127.0.0.1", silent_port);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 1); /* under way */
    (void)close(server_accept(silent));
    int destination = server_accept(silent), program = guest_accept(&g, 1);
    send_text(program, "at last");
    expect_text(destination, "at last");
    (void)close(program);
    (void)close(destination);
    (void)close(first);
    (void)close(silent);
}
END_TEST

START_TEST(egress_refuses_more_dials_than_may_be_in_hand)
{
    uint16_t silent_port;
    int first, silent = silent_server(&silent_port, &first);
    for (uint32_t id = 0; id <= EGRESS_DIALS_ASKED_MAX; id++)
        guest_dial(&g, id, "127.0.0.1", silent_port);
    guest_expect_refusal(&g, EGRESS_DIALS_ASKED_MAX, CONTROL__REASON__REASON_BUSY);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), EGRESS_DIALS_ASKED_MAX);
    for (uint32_t id = 0; id < EGRESS_DIALS_ASKED_MAX; id++) /* not wanted any more */
        guest_end(&g, id, false);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 0);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_CANCELED), EGRESS_DIALS_ASKED_MAX);
    (void)close(first);
    (void)close(silent);
}
END_TEST

START_TEST(egress_says_whose_a_channel_is_before_it_is_there)
{
    char line[16];
    int destinations[2], programs[2];
    for (int i = 0; i < 2; i++) {
        guest_dial(&g, 7 + (uint32_t)i, "127.0.0.1", port);
        destinations[i] = server_accept(server);
        wait_readable(g.listener);
        programs[i] = accept4(g.listener, NULL, NULL, SOCK_CLOEXEC);
        read_line(programs[i], line, sizeof(line));
        ck_assert_str_eq(line, "CONNECT 1026\n");
        read_line(programs[i], line, sizeof(line));
        ck_assert_str_eq(line, i == 0 ? "7\n" : "8\n");
    }
    send_text(programs[0], "OK 1026\nOK\nhello"); /* all together */
    expect_text(destinations[0], "hello");
    send_text(programs[1], "OK 1026\n");
    (void)close(programs[1]);
    guest_expect_refusal(&g, 8, CONTROL__REASON__REASON_BUSY);
    guest_expect_end(&g, 8, true);
    expect_reset(destinations[1]);
    (void)close(programs[0]);
    (void)close(destinations[0]);
    (void)close(destinations[1]);
}
END_TEST

START_TEST(egress_refuses_a_guest_that_does_not_take_its_channel)
{
    guest_dial(&g, 1, "127.0.0.1", port);
    int destination = server_accept(server);
    (void)close(guest_channel(&g, "CONNECT 1026\n"));
    guest_expect_refusal(&g, 1, CONTROL__REASON__REASON_BUSY);
    guest_expect_end(&g, 1, true); /* it may have taken it */
    expect_reset(destination);
    (void)close(destination);
}
END_TEST

START_TEST(egress_leaves_a_guest_that_breaks_a_rule_and_comes_again)
{
    int destination, program = open_dial(1, &destination);
    if (_i == 0)
        guest_dial(&g, 1, "127.0.0.1", port);
    else if (_i == 1)
        guest_hello(&g);
    else
        ck_assert_int_eq(send(g.control, "\x01nonsense", 9, MSG_NOSIGNAL), 9);
    ck_assert_ptr_null(guest_next(&g));
    expect_reset(destination);
    expect_eof(program);
    (void)close(destination);
    (void)close(program);
    guest_hang_up(&g);
    guest_open(&g);
    program = open_dial(1, &destination); /* nothing is left of the first */
    send_text(program, "again");
    expect_text(destination, "again");
    (void)close(destination);
    (void)close(program);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_RULES_BROKEN), 1);
}
END_TEST

START_TEST(egress_asks_again_when_the_guest_says_no_hello)
{
    guest_hang_up(&g);
    int silent = guest_channel(&g, "CONNECT 1025\n");
    guest_open(&g);
    (void)close(silent);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_CHANNELS), 1);
}
END_TEST

/* Dials as fast as they are taken, answers unread, until @flooding ends. */
static atomic_bool flooding;

static void *flood(void *arg)
{
    Control__Dial dial;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    uint8_t address[] = {127, 0, 0, 1};
    struct adit_buf out;
    control__dial__init(&dial);
    dial.address = (ProtobufCBinaryData){sizeof(address), address};
    dial.port = port;
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &dial;
    adit_buf_init(&out, 1024);
    while (flooding) {
        adit_buf_clear(&out);
        dial.id++;
        if (control_append_guest(&out, &f) != ADIT_OK)
            break;
        struct adit_view v = adit_buf_view(&out);
        (void)send(g.control, v.ptr, v.len, MSG_NOSIGNAL | MSG_DONTWAIT); /* or it is too much */
    }
    adit_buf_fini(&out);
    return arg;
}

START_TEST(egress_serves_others_while_a_guest_floods_it)
{
    struct guest other = {.egress = g.egress, .reach = g.reach};
    struct egress_stats stats;
    uint16_t other_port;
    int other_server = server_open(&other_port);
    pthread_t thread;
    guest_listen(&other, "ib", LOOPBACK);
    guest_open(&other);
    flooding = true;
    ck_assert_int_eq(pthread_create(&thread, NULL, flood, NULL), 0);
    for (uint32_t id = 1; id <= 200; id++) {
        guest_dial(&other, id, "127.0.0.1", other_port);
        int destination = server_accept(other_server), program = guest_accept(&other, id);
        send_text(program, "word");
        expect_text(destination, "word");
        guest_end(&other, id, true);
        (void)close(program);
        (void)close(destination);
    }
    flooding = false;
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    egress_measure(g.egress, &stats);
    ck_assert_uint_gt(stats.at[EGRESS_COUNT_BUSY], 0);
    guest_leave(&other);
    (void)close(other_server);
}
END_TEST

START_TEST(egress_close_breaks_everything)
{
    int destination, program = open_dial(1, &destination);
    egress_close(g.sandbox);
    expect_reset(destination);
    expect_eof(program);
    ck_assert_ptr_null(guest_next(&g));
    (void)close(destination);
    (void)close(program);
}
END_TEST

START_TEST(egress_moves_more_than_fits_at_once)
{
    static char block[1 << 20];
    const size_t all = 8 * sizeof(block);
    int destination, program = open_dial(1, &destination);
    size_t sent = 0, got = 0;
    while (got < all) {
        struct pollfd p[2] = {{.fd = program, .events = POLLOUT},
                              {.fd = destination, .events = POLLIN}};
        size_t left = all - sent;
        if (left == 0)
            p[0].fd = -1;
        ck_assert_int_gt(poll(p, 2, GUEST_WAIT_MS), 0);
        ssize_t n = p[0].revents ? send(program, block, left < sizeof(block) ? left : sizeof(block),
                                        MSG_DONTWAIT)
                                 : 0;
        if (n > 0)
            sent += (size_t)n;
        n = p[1].revents ? recv(destination, block, sizeof(block), MSG_DONTWAIT) : 0;
        got += n > 0 ? (size_t)n : 0;
    }
    ck_assert_uint_eq(got, all);
    (void)close(destination);
    (void)close(program);
}
END_TEST

START_TEST(egress_never_reaches_the_host_by_a_block)
{
    struct guest own = {0};
    guest_start(&own, "127.0.0.0/8", "{\"allowOut\":[\"127.0.0.0/8\"]}", false);
    guest_open(&own);
    guest_dial(&own, 1, "127.0.0.1", port); /* of its interface */
    guest_expect_refusal(&own, 1, CONTROL__REASON__REASON_PROHIBITED);
    guest_dial(&own, 2, "127.9.9.9", port); /* by its routes */
    guest_expect_refusal(&own, 2, CONTROL__REASON__REASON_PROHIBITED);
    guest_stop(&own);
}
END_TEST

/* The proxy's side of SOCKS5 up to its reply. Return: the connection. */
static int proxy_accept(uint8_t reply)
{
    static const uint8_t hello[] = {5, 1, 0}, request[] = {5, 1, 0, 1, 93, 184, 215, 14, 0, 80};
    const uint8_t method[] = {5, 0}, answer[] = {5, reply, 0, 1, 0, 0, 0, 0, 0, 0};
    uint8_t got[16];
    int conn = server_accept(server);
    ck_assert_int_eq(recv(conn, got, sizeof(hello), MSG_WAITALL), sizeof(hello));
    ck_assert_mem_eq(got, hello, sizeof(hello));
    ck_assert_int_eq(send(conn, method, sizeof(method), MSG_NOSIGNAL), sizeof(method));
    ck_assert_int_eq(recv(conn, got, sizeof(request), MSG_WAITALL), sizeof(request));
    ck_assert_mem_eq(got, request, sizeof(request));
    ck_assert_int_eq(send(conn, answer, sizeof(answer), MSG_NOSIGNAL), sizeof(answer));
    return conn;
}

START_TEST(egress_goes_by_the_proxy_of_the_sandbox)
{
    struct guest behind = {0};
    char network[128];
    (void)snprintf(
        network, sizeof(network),
        "{\"denyOut\":[\"192.0.2.0/24\"],\"egressProxy\":{\"address\":\"127.0.0.1:%u\"}}", port);
    guest_start(&behind, "127.0.0.1", network, false);
    guest_open(&behind);
    guest_dial(&behind, 1, "93.184.215.14", 80);
    int conn = proxy_accept(0);
    send_text(conn, "early");
    int program = guest_accept(&behind, 1);
    expect_text(program, "early");
    send_text(program, "word");
    expect_text(conn, "word");
    (void)close(program);
    (void)close(conn);
    guest_stop(&behind);
}
END_TEST

START_TEST(egress_hears_what_a_proxy_says)
{
    struct guest behind = {0};
    char network[128];
    (void)snprintf(network, sizeof(network), "{\"egressProxy\":{\"address\":\"127.0.0.1:%u\"}}",
                   port);
    guest_start(&behind, "127.0.0.1", network, false);
    guest_open(&behind);
    guest_dial(&behind, 1, "93.184.215.14", 80);
    (void)close(proxy_accept(5));
    guest_expect_refusal(&behind, 1, CONTROL__REASON__REASON_REFUSED);
    guest_dial(&behind, 2, "10.0.0.1", 80); /* what is behind it is judged all the same */
    guest_expect_refusal(&behind, 2, CONTROL__REASON__REASON_PROHIBITED);
    guest_dial(&behind, 3, "93.184.215.14", 80);
    int conn = server_accept(server);
    ck_assert_int_eq(egress_update(behind.sandbox, policy_of(&behind, NOTHING), NULL), ADIT_OK);
    guest_expect_refusal(&behind, 3, CONTROL__REASON__REASON_BUSY);
    (void)close(conn);
    guest_stop(&behind);
}
END_TEST

START_TEST(egress_reaches_no_proxy_that_the_operator_did_not_open)
{
    struct guest behind = {0};
    guest_start(&behind, "", "{\"egressProxy\":{\"address\":\"10.0.0.1:1080\"}}", false);
    guest_open(&behind);
    guest_dial(&behind, 1, "93.184.215.14", 80);
    guest_expect_refusal(&behind, 1, CONTROL__REASON__REASON_PROHIBITED);
    guest_stop(&behind);
}
END_TEST

START_TEST(egress_off_says_so_at_once)
{
    struct guest off = {0};
    guest_start(&off, "127.0.0.1", LOOPBACK, true);
    guest_open(&off);
    guest_dial(&off, 1, "127.0.0.1", port);
    guest_expect_refusal(&off, 1, CONTROL__REASON__REASON_NET_UNREACHABLE);
    guest_lookup(&off, 1, (char[]){"name.example"});
    ck_assert_uint_eq(guest_expect_rcode(&off, 1), EGRESS_RCODE_REFUSED);
    guest_stop(&off);
}
END_TEST

START_TEST(egress_never_reaches_what_the_operator_denies)
{
    struct guest denied;
    guest_start(&denied, "", "{\"allowOut\":[\"198.100.0.7\", \"0.0.0.0/0\"]}", false);
    guest_open(&denied);
    guest_dial(&denied, 1, "198.100.0.7", 80); /* of the public internet, and asked for by itself */
    guest_expect_refusal(&denied, 1, CONTROL__REASON__REASON_PROHIBITED);
    guest_stop(&denied);
}
END_TEST

START_TEST(egress_operator_refuses_what_is_no_block)
{
    static const char *const wrong[] = {"10.0.0.0/33", "example.com", "10.0.0.0/8,,", "1.2.3"};
    struct egress_operator o;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(egress_operator_read(wrong[_i], "", &o, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "egress-allow-private"));
    ck_assert_int_eq(egress_operator_read("", wrong[_i], &o, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "egress-deny"));
}
END_TEST

SUITE_MAIN_WITH(
    "egress", .fixtures = {{setup, teardown}},
    TESTS(egress_joins_a_program_and_its_destination, egress_tells_an_end_before_it_shows_it,
          egress_holds_an_end_back_until_the_guest_has_told_it,
          egress_breaks_a_connection_whose_end_is_never_told, egress_passes_resets_both_ways,
          egress_answers_as_a_network_would, egress_update_ends_what_it_forbids,
          egress_refuses_more_dials_than_may_be_in_hand,
          egress_says_whose_a_channel_is_before_it_is_there,
          egress_waits_for_a_destination_that_takes_its_time,
          egress_refuses_a_guest_that_does_not_take_its_channel,
          egress_asks_again_when_the_guest_says_no_hello,
          egress_serves_others_while_a_guest_floods_it, egress_close_breaks_everything,
          egress_moves_more_than_fits_at_once, egress_goes_by_the_proxy_of_the_sandbox,
          egress_hears_what_a_proxy_says, egress_reaches_no_proxy_that_the_operator_did_not_open,
          egress_never_reaches_the_host_by_a_block, egress_never_reaches_what_the_operator_denies,
          egress_off_says_so_at_once),
    LOOPS({egress_leaves_a_guest_that_breaks_a_rule_and_comes_again, 3},
          {egress_operator_refuses_what_is_no_block, 4}))
