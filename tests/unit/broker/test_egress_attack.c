/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that do what envd never would: each is held to its limits, and no other notices. */
#include "egress_guest.h"

#include <netinet/in.h>
#include <time.h>

#include "broker/egress/egress_lookup.h"

#define LOOPBACK "{\"allowOut\":[\"127.0.0.1\"]}"
#define UNKNOWN_ENDS 100000u

static struct guest g;
static int server;
static uint16_t port;

static void start(const char *network, const char *servers, struct egress_conf conf)
{
    server = server_open(&port);
    guest_start_as(&g, "127.0.0.1", network, servers, conf);
    guest_open(&g);
}

static void teardown(void)
{
    guest_stop(&g);
    (void)close(server);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int open_dial(struct guest *guest, uint32_t id, int *destination)
{
    guest_dial(guest, id, "127.0.0.1", port);
    *destination = server_accept(server);
    int program = guest_accept(guest, id);
    send_text(*destination, "there"); /* they are joined */
    expect_text(program, "there");
    return program;
}

/* The time of frames that come in thousands at once is as long as if they came one by one. */
START_TEST(egress_hears_no_more_frames_than_a_guest_may_send)
{
    static struct adit_buf out;
    Control__End end = CONTROL__END__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    start(LOOPBACK, NULL, (struct egress_conf){0});
    f.body_case = CONTROL__GUEST_FRAME__BODY_END;
    f.end = &end;
    adit_buf_init(&out, 2 << 20);
    for (end.id = 1; end.id <= UNKNOWN_ENDS; end.id++)
        ck_assert_int_eq(control_append_guest(&out, &f), ADIT_OK);
    struct adit_view v = adit_buf_view(&out);
    struct pollfd p = {.fd = g.control, .events = POLLOUT};
    while (v.len > 0 && poll(&p, 1, 500) == 1) { /* until nothing is taken for long */
        ssize_t n = send(g.control, v.ptr, v.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        ck_assert_int_gt(n, 0);
        v = adit_view_mem(v.ptr + n, v.len - (size_t)n);
    }
    size_t frame_len = out.len / UNKNOWN_ENDS, taken = (out.len - v.len) / frame_len;
    /* beside the burst one read's, and what lies in the socket */
    size_t waiting = (NET_SCRATCH_CAP + 4 * 65536) / frame_len;
    ck_assert_uint_lt(waiting + EGRESS_CONTROL_FRAMES_BURST, UNKNOWN_ENDS);
    ck_assert_uint_lt(taken, EGRESS_CONTROL_FRAMES_BURST + waiting);
    adit_buf_fini(&out);
}
END_TEST

START_TEST(egress_of_all_sandboxes_leaves_descriptors_for_others)
{
    struct guest other = {0};
    int destination[3], program[3];
    start(LOOPBACK, NULL, (struct egress_conf){.dials_max = 2, .all_dials_max = 3});
    other.egress = g.egress;
    other.reach = g.reach;
    guest_listen(&other, "ib", LOOPBACK);
    guest_open(&other);
    program[0] = open_dial(&g, 1, &destination[0]);
    program[1] = open_dial(&g, 2, &destination[1]);
    guest_dial(&g, 3, "127.0.0.1", port); /* more than its own */
    guest_expect_refusal(&g, 3, CONTROL__REASON__REASON_BUSY);
    program[2] = open_dial(&other, 1, &destination[2]);
    guest_dial(&other, 2, "127.0.0.1", port); /* more than all */
    guest_expect_refusal(&other, 2, CONTROL__REASON__REASON_BUSY);
    for (int i = 0; i < 3; i++) {
        (void)close(program[i]);
        (void)close(destination[i]);
    }
    guest_leave(&other);
}
END_TEST

START_TEST(egress_ids_of_one_guest_are_nothing_to_another)
{
    struct guest other = {0};
    int destination[2];
    start(LOOPBACK, NULL, (struct egress_conf){0});
    other.egress = g.egress;
    other.reach = g.reach;
    guest_listen(&other, "ib", LOOPBACK);
    guest_open(&other);
    int mine = open_dial(&g, 1, &destination[0]), theirs = open_dial(&other, 1, &destination[1]);
    for (uint32_t id = 0; id < 64; id++)
        guest_end(&other, id, true);
    expect_reset(destination[1]);
    expect_eof(theirs);
    send_text(mine, "still");
    expect_text(destination[0], "still");
    (void)close(mine);
    (void)close(theirs);
    (void)close(destination[0]);
    (void)close(destination[1]);
    guest_leave(&other);
}
END_TEST

/* A destination that works with the guest: it ends at once, and reads nothing. */
START_TEST(egress_counts_a_connection_until_all_is_sent)
{
    static char block[1 << 16];
    const int least = 1;
    int destination;
    start(LOOPBACK, NULL, (struct egress_conf){0});
    ck_assert_int_eq(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
    int program = open_dial(&g, 1, &destination);
    (void)shutdown(destination, SHUT_WR);
    guest_expect_end(&g, 1, false);
    expect_eof(program);
    struct pollfd p = {.fd = program, .events = POLLOUT};
    while (poll(&p, 1, 300) == 1) /* until nothing is taken any more */
        ck_assert_int_gt(send(program, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL), 0);
    guest_end(&g, 1, false);
    (void)shutdown(program, SHUT_WR);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 1);
    while (recv(destination, block, sizeof block, 0) > 0)
        continue;
    while (count_of(&g, EGRESS_COUNT_CLOSED) == 0)
        continue;
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_DIALS), 0);
    (void)close(program);
    (void)close(destination);
}
END_TEST

/* A name server that never answers, as an attacker's does. Return: its socket. */
static int silent_server(char address[32])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(address, 32, "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

START_TEST(egress_lookups_of_a_guest_that_comes_and_goes_count)
{
    char address[32];
    int names = silent_server(address);
    start("{}", address, (struct egress_conf){0});
    for (uint32_t id = 0; id < EGRESS_LOOKUPS_MAX; id++)
        guest_lookup(&g, id, (char[]){"name.example"});
    guest_sync(&g);
    guest_hang_up(&g);
    guest_open(&g);
    guest_lookup(&g, 0, (char[]){"name.example"}); /* the id is free, the place is not */
    ck_assert_uint_eq(guest_expect_rcode(&g, 0), EGRESS_RCODE_FAILED);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_LOOKUPS_BUSY), 1);
    (void)close(names);
}
END_TEST

START_TEST(egress_moves_no_more_than_the_bandwidth)
{
    static char block[1 << 16];
    const size_t rate = 4 << 20, all = 2 << 20;
    int destination;
    start(LOOPBACK, NULL, (struct egress_conf){.bytes_per_s = rate});
    int program = open_dial(&g, 1, &destination);
    size_t sent = 0, got = 0;
    uint64_t begin = now_ms();
    while (got < all) {
        struct pollfd p[2] = {{.fd = sent < all ? program : -1, .events = POLLOUT},
                              {.fd = destination, .events = POLLIN}};
        ck_assert_int_gt(poll(p, 2, GUEST_WAIT_MS), 0);
        ssize_t n = p[0].revents ? send(program, block, sizeof block, MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        n = p[1].revents ? recv(destination, block, sizeof block, MSG_DONTWAIT) : 0;
        got += n > 0 ? (size_t)n : 0;
    }
    /* but for what was saved up, and one read */
    ck_assert_uint_ge((now_ms() - begin) * rate / 1000 + rate / 4 + sizeof block, all);
    while (egress_bytes(g.sandbox, EGRESS_OUT) < sent)
        ck_assert_int_gt(recv(destination, block, sizeof block, 0), 0);
    ck_assert_uint_eq(count_of(&g, EGRESS_COUNT_BYTES_OUT), sent);
    (void)close(program);
    (void)close(destination);
}
END_TEST

static void setup(void)
{
    server = -1;
}

SUITE_MAIN_WITH("egress_attack", .fixtures = {{setup, teardown}},
                TESTS(egress_hears_no_more_frames_than_a_guest_may_send,
                      egress_of_all_sandboxes_leaves_descriptors_for_others,
                      egress_ids_of_one_guest_are_nothing_to_another,
                      egress_counts_a_connection_until_all_is_sent,
                      egress_lookups_of_a_guest_that_comes_and_goes_count,
                      egress_moves_no_more_than_the_bandwidth))
