/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the Unix socket, with a guest that this file plays. */
#include "vsock-device/host_socket.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define CID 3
#define PORT 4321
#define BUFFER 4096

static struct host_socket_table table;
static struct vsock_core *core;
static struct adit_err err;
static struct sockaddr_un address;
static int epoll_fd, listen_fd;
static uint64_t now_ms;
static uint8_t buffer[VSOCK_PACKET_HEADER_LEN + BUFFER];

/* ---- the device's part ---- */

static void tick(uint64_t ms)
{
    now_ms += ms;
    vsock_core_tick(core, now_ms);
    host_socket_tick(&table, now_ms);
    host_socket_step(&table);
}

/* Take the events that there are. Return: how many. */
static int turn(void)
{
    struct epoll_event events[64];
    int cnt = epoll_wait(epoll_fd, events, 64, 0);
    for (int i = 0; i < cnt; i++)
        host_socket_on_event(&table, events[i].data.u64, events[i].events);
    host_socket_accept(&table);
    host_socket_step(&table);
    return cnt;
}

/* The next packet that the guest gets, its payload behind the header in buffer. */
static bool next_packet(struct vsock_packet *p)
{
    const struct iovec chain = {buffer, sizeof(buffer)};
    struct vsock_send s;
    do {
        ck_assert_int_eq(vsock_core_next(core, &chain, 1, &s, &err), 0);
        size_t n = s.kind == VSOCK_SEND_READ ? host_socket_take(&table, &s) : 0;
        if (n > 0)
            ck_assert_uint_eq(vsock_core_sent(core, &s, n), VSOCK_PACKET_HEADER_LEN + n);
        if (n > 0 || s.kind == VSOCK_SEND_PACKET)
            break;
    } while (s.kind != VSOCK_SEND_NOTHING);
    host_socket_step(&table);
    if (s.kind == VSOCK_SEND_NOTHING)
        return false;
    vsock_packet_parse(buffer, p);
    return true;
}

/* ---- the guest's part ---- */

static struct vsock_packet request; /* the last one */
static uint32_t guest_got, guest_buf_alloc = 1 << 30;

static void guest_says(uint16_t op, uint32_t flags, const void *bytes, size_t len)
{
    uint8_t header[VSOCK_PACKET_HEADER_LEN];
    const struct vsock_packet p = {
        .src_cid = CID,
        .dst_cid = VSOCK_CID_HOST,
        .src_port = request.dst_port,
        .dst_port = request.src_port,
        .len = (uint32_t)len,
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .flags = flags,
        .buf_alloc = guest_buf_alloc,
        .fwd_cnt = guest_got,
    };
    struct iovec chain[2] = {{header, sizeof(header)}, {NULL, len}};
    char copy[65536];
    struct vsock_payload payload;
    vsock_packet_format(&p, header);
    if (len > 0)
        chain[1].iov_base = memcpy(copy, bytes, len);
    ck_assert_int_eq(vsock_core_feed(core, chain, len > 0 ? 2 : 1, &payload, &err), 0);
    if (payload.len > 0)
        host_socket_give(&table, &payload);
    host_socket_step(&table);
}

static void guest_hears(uint16_t op)
{
    struct vsock_packet p;
    ck_assert(next_packet(&p));
    ck_assert_uint_eq(p.op, op);
    if (op == VSOCK_OP_REQUEST)
        request = p;
    if (op == VSOCK_OP_RW)
        guest_got += p.len;
}

static void guest_hears_nothing(void)
{
    struct vsock_packet p;
    ck_assert(!next_packet(&p));
}

/* ---- the client's part ---- */

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* "" at the end of the stream, NULL: nothing to read. */
static const char *hear(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    if (n < 0) {
        ck_assert_int_eq(errno, EAGAIN);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

static void check_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    ck_assert(n == 0 || (n < 0 && errno == ECONNRESET));
    (void)close(fd);
}

/* A connection through all of it. */
static int open_channel(void)
{
    char line[32];
    int fd = dial();
    (void)snprintf(line, sizeof(line), "CONNECT %d\n", PORT);
    say(fd, line);
    (void)turn(); /* accepts */
    (void)turn(); /* reads */
    guest_hears(VSOCK_OP_REQUEST);
    ck_assert_uint_eq(request.dst_port, PORT);
    ck_assert_ptr_null(hear(fd));
    guest_says(VSOCK_OP_RESPONSE, 0, NULL, 0);
    (void)snprintf(line, sizeof(line), "OK %u\n", request.src_port);
    ck_assert_str_eq(hear(fd), line);
    guest_hears_nothing();
    return fd;
}

/* Both ends of each socket are this process's. */
static void raise_limit(void)
{
    struct rlimit files;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert_uint_ge(files.rlim_max, 2 * HOST_SOCKET_MAX + 64);
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as main does */
    raise_limit();
    now_ms = 1000;
    guest_got = 0;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/adit-host-socket-%d",
                   getpid());
    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listen_fd, 4096), 0);
    ck_assert_int_eq(vsock_core_new(CID, 1, &core, &err), 0);
    vsock_core_tick(core, now_ms);
    ck_assert_int_eq(host_socket_init(&table, core, epoll_fd, listen_fd, &err), 0);
    tick(0);
}

static void teardown(void)
{
    host_socket_fini(&table);
    vsock_core_free(core);
    (void)close(epoll_fd);
    (void)close(listen_fd);
    (void)unlink(address.sun_path);
}

/* ---- the line ---- */

START_TEST(host_socket_opens_a_channel)
{
    int fd = open_channel();
    say(fd, "hello");
    (void)turn();
    guest_hears(VSOCK_OP_RW);
    ck_assert_mem_eq(buffer + VSOCK_PACKET_HEADER_LEN, "hello", 5);
    guest_says(VSOCK_OP_RW, 0, "world", 5);
    ck_assert_str_eq(hear(fd), "world");
    ck_assert_int_eq(turn(), 0);
    (void)close(fd);
}
END_TEST

START_TEST(host_socket_takes_the_line_byte_by_byte_and_nothing_behind_it)
{
    int fd = dial();
    for (const char *c = "CONNECT 4321\nbehind"; *c; c++) {
        ck_assert_int_eq(send(fd, c, 1, MSG_NOSIGNAL), 1);
        (void)turn();
        (void)turn();
    }
    guest_hears(VSOCK_OP_REQUEST);
    guest_says(VSOCK_OP_RESPONSE, 0, NULL, 0);
    guest_hears(VSOCK_OP_RW);
    ck_assert_mem_eq(buffer + VSOCK_PACKET_HEADER_LEN, "behind", 6);
    (void)close(fd);
}
END_TEST

static const char *const bad_lines[] = {
    "CONNECT 0\n",
    "CONNECT 01\n",
    "connect 1\n",
    "\n",
    "CONNECT 4294967295\n",
    "CONNECT 1 \n",
    "CONNECT 1\r\n",
    "CONNECT 1111111111111111111111111111111111111111111111111111111111111111111",
};

START_TEST(host_socket_closes_what_says_no_line)
{
    int fd = dial();
    say(fd, bad_lines[_i]);
    (void)turn();
    (void)turn();
    check_closed(fd);
    guest_hears_nothing();
}
END_TEST

START_TEST(host_socket_closes_what_says_its_line_too_late)
{
    int fd = dial();
    (void)turn();
    tick(100);
    int later = dial();
    (void)turn();
    ck_assert_int_eq(host_socket_wait_ms(&table), HOST_SOCKET_LINE_TIMEOUT_MS - 100);
    tick(HOST_SOCKET_LINE_TIMEOUT_MS - 101);
    ck_assert_ptr_null(hear(fd));
    tick(1);
    check_closed(fd);
    ck_assert_ptr_null(hear(later));
    ck_assert_int_eq(host_socket_wait_ms(&table), 100);
    (void)close(later);
    (void)turn();
    ck_assert_int_eq(host_socket_wait_ms(&table), -1);
}
END_TEST

START_TEST(host_socket_forgets_those_that_wait_in_any_order)
{
    int fds[5];
    const int order[] = {2, 0, 4, 1, 3};
    for (int i = 0; i < 5; i++) {
        fds[i] = dial();
        (void)turn();
        tick(10);
    }
    for (int i = 0; i < 5; i++) {
        (void)close(fds[order[i]]);
        (void)turn();
    }
    ck_assert_int_eq(host_socket_wait_ms(&table), -1);
}
END_TEST

START_TEST(host_socket_closes_what_the_guest_refuses_or_does_not_answer)
{
    int refused = dial(), unanswered = dial();
    say(refused, "CONNECT 1\n");
    (void)turn();
    (void)turn();
    guest_hears(VSOCK_OP_REQUEST);
    guest_says(VSOCK_OP_RST, 0, NULL, 0);
    check_closed(refused);
    say(unanswered, "CONNECT 2\n");
    (void)turn();
    guest_hears(VSOCK_OP_REQUEST);
    ck_assert_int_eq(vsock_core_wait_ms(core), VSOCK_ANSWER_TIMEOUT_MS);
    tick(VSOCK_ANSWER_TIMEOUT_MS);
    check_closed(unanswered);
    guest_hears(VSOCK_OP_RST);
}
END_TEST

START_TEST(host_socket_takes_a_request_back_when_its_client_leaves)
{
    int fd = dial();
    say(fd, "CONNECT 1\n");
    (void)turn();
    (void)turn();
    guest_hears(VSOCK_OP_REQUEST);
    (void)close(fd);
    (void)turn();
    guest_hears(VSOCK_OP_RST);
    guest_hears_nothing();
}
END_TEST

/* ---- ends ---- */

START_TEST(host_socket_passes_a_half_close_on_to_the_guest)
{
    int fd = open_channel();
    say(fd, "last");
    (void)shutdown(fd, SHUT_WR);
    (void)turn();
    guest_hears(VSOCK_OP_RW);
    guest_hears(VSOCK_OP_SHUTDOWN);
    guest_says(VSOCK_OP_RW, 0, "answer", 6);
    ck_assert_str_eq(hear(fd), "answer");
    guest_says(VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH, NULL, 0);
    ck_assert_str_eq(hear(fd), "");
    (void)close(fd);
}
END_TEST

START_TEST(host_socket_passes_a_half_close_on_to_the_client)
{
    int fd = open_channel();
    guest_says(VSOCK_OP_RW, 0, "last", 4);
    guest_says(VSOCK_OP_SHUTDOWN, VSOCK_SHUT_SEND, NULL, 0);
    ck_assert_str_eq(hear(fd), "last");
    ck_assert_str_eq(hear(fd), "");
    say(fd, "answer");
    (void)turn();
    guest_hears(VSOCK_OP_RW);
    guest_says(VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH, NULL, 0);
    ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    (void)close(fd);
}
END_TEST

START_TEST(host_socket_tells_a_client_that_the_guest_takes_no_more)
{
    int fd = open_channel();
    guest_says(VSOCK_OP_SHUTDOWN, VSOCK_SHUT_RCV, NULL, 0);
    ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    ck_assert_int_eq(errno, EPIPE);
    guest_says(VSOCK_OP_RW, 0, "still", 5);
    ck_assert_str_eq(hear(fd), "still");
    (void)close(fd);
}
END_TEST

START_TEST(host_socket_delivers_what_a_client_sent_before_it_left)
{
    int fd = open_channel();
    say(fd, "testament");
    (void)close(fd);
    (void)turn();
    guest_hears(VSOCK_OP_SHUTDOWN); /* takes no more */
    guest_hears(VSOCK_OP_RW);
    ck_assert_mem_eq(buffer + VSOCK_PACKET_HEADER_LEN, "testament", 9);
    guest_says(VSOCK_OP_RW, 0, "unheard", 7);
    guest_hears(VSOCK_OP_SHUTDOWN); /* and sends no more */
    guest_says(VSOCK_OP_RST, 0, NULL, 0);
    guest_hears_nothing();
}
END_TEST

START_TEST(host_socket_throws_away_what_the_guest_sends_to_a_client_that_left)
{
    int fd = open_channel();
    (void)close(fd);
    guest_says(VSOCK_OP_RW, 0, "unheard", 7); /* before any event tells of it */
    guest_hears(VSOCK_OP_SHUTDOWN);
    (void)turn();
    guest_hears(VSOCK_OP_SHUTDOWN);
    guest_says(VSOCK_OP_RST, 0, NULL, 0);
    guest_hears_nothing();
}
END_TEST

START_TEST(host_socket_ends_both_ways_when_a_client_leaves_without_reading)
{
    struct vsock_packet p;
    int fd = open_channel();
    guest_says(VSOCK_OP_RW, 0, "unread", 6);
    (void)close(fd);
    (void)turn();
    while (next_packet(&p))
        ck_assert_uint_eq(p.op, VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(p.flags, VSOCK_SHUT_BOTH);
}
END_TEST

START_TEST(host_socket_ends_a_channel_that_the_guest_resets)
{
    int fd = open_channel();
    guest_says(VSOCK_OP_RST, 0, NULL, 0);
    check_closed(fd);
    guest_hears_nothing();
}
END_TEST

/* ---- slow ones ---- */

static size_t fill_client(size_t most)
{
    static const char piece[16384];
    size_t sent = 0;
    while (sent < most) {
        guest_says(VSOCK_OP_RW, 0, piece, sizeof(piece));
        sent += sizeof(piece);
    }
    return sent;
}

static size_t drain_client(int fd)
{
    static char piece[65536];
    size_t got = 0;
    ssize_t n;
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
        got += (size_t)n;
    return got;
}

START_TEST(host_socket_keeps_what_a_client_does_not_take_and_goes_on_when_it_does)
{
    int fd = open_channel();
    size_t sent = fill_client(VSOCK_BUF_ALLOC), got = 0;
    ck_assert(table.slots[table.slot_of[0]].is_write_watched);
    for (int i = 0; i < 100 && got < sent; i++) {
        got += drain_client(fd);
        (void)turn();
    }
    ck_assert_uint_eq(got, sent);
    ck_assert(!table.slots[table.slot_of[0]].is_write_watched);
    ck_assert_int_eq(turn(), 0); /* nothing is of interest any more */
    (void)close(fd);
}
END_TEST

/* Without credit nothing is read, and no event comes again and again. */
START_TEST(host_socket_costs_nothing_while_the_guest_gives_no_credit)
{
    struct vsock_packet p;
    guest_buf_alloc = 10;
    int fd = open_channel();
    say(fd, "0123456789abc");
    (void)turn();
    guest_hears(VSOCK_OP_RW);
    ck_assert_uint_eq(guest_got, 10);
    if (next_packet(&p)) /* it may ask for credit, once */
        ck_assert_uint_eq(p.op, VSOCK_OP_CREDIT_REQUEST);
    guest_hears_nothing();
    ck_assert_int_eq(turn(), 0);
    ck_assert_int_eq(turn(), 0);
    guest_says(VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
    guest_hears(VSOCK_OP_RW);
    ck_assert_mem_eq(buffer + VSOCK_PACKET_HEADER_LEN, "abc", 3);
    guest_buf_alloc = 1 << 30;
    (void)close(fd);
}
END_TEST

/* ---- many ---- */

START_TEST(host_socket_refuses_one_channel_too_many)
{
    static int fds[VSOCK_CONNS_MAX];
    for (size_t i = 0; i < VSOCK_CONNS_MAX; i++)
        fds[i] = open_channel();
    int fd = dial();
    say(fd, "CONNECT 1\n");
    (void)turn();
    (void)turn();
    check_closed(fd);
    (void)close(fds[0]);
    (void)turn();
    guest_hears(VSOCK_OP_SHUTDOWN);
    for (size_t i = 1; i < VSOCK_CONNS_MAX; i++)
        (void)close(fds[i]);
}
END_TEST

static int room_of(uint32_t id)
{
    int room = 0;
    socklen_t len = sizeof(room);
    ck_assert_int_eq(
        getsockopt(table.slots[table.slot_of[id]].fd, SOL_SOCKET, SO_SNDBUF, &room, &len), 0);
    return room;
}

/* What stalled clients hold in the kernel would else be 232 MiB, and the guest's machine ended. */
START_TEST(host_socket_gives_many_clients_little_room_each)
{
    static int fds[HOST_SOCKET_WIDE_MAX + 2];
    size_t last = HOST_SOCKET_WIDE_MAX + 1;
    for (size_t i = 0; i <= last; i++)
        fds[i] = open_channel();
    ck_assert_int_gt(room_of(HOST_SOCKET_WIDE_MAX - 1), 2 * HOST_SOCKET_NARROW_BYTES);
    ck_assert_int_eq(room_of(HOST_SOCKET_WIDE_MAX), 2 * HOST_SOCKET_NARROW_BYTES);
    ck_assert_uint_eq(table.open_cnt, last + 1);
    /* A narrow one takes and delivers all the same. */
    size_t sent = fill_client(VSOCK_BUF_ALLOC), got = 0;
    for (int i = 0; i < 1000 && got < sent; i++) {
        got += drain_client(fds[last]);
        (void)turn();
    }
    ck_assert_uint_eq(got, sent);
    for (size_t i = 0; i <= last; i++)
        (void)close(fds[i]);
    (void)turn();
    host_socket_fini(&table);
    ck_assert_uint_eq(table.open_cnt, 0);
}
END_TEST

START_TEST(host_socket_lets_only_so_many_wait)
{
    static int fds[HOST_SOCKET_MAX + 1];
    for (size_t i = 0; i <= HOST_SOCKET_MAX; i++)
        fds[i] = dial();
    while (table.is_accept_due)
        (void)turn();
    check_closed(fds[HOST_SOCKET_MAX]);
    ck_assert_ptr_null(hear(fds[HOST_SOCKET_MAX - 1]));
    tick(HOST_SOCKET_LINE_TIMEOUT_MS);
    for (size_t i = 0; i < HOST_SOCKET_MAX; i++)
        check_closed(fds[i]);
    int fd = open_channel();
    (void)close(fd);
}
END_TEST

/* The slot was taken by another client in the same turn. */
START_TEST(host_socket_ignores_events_of_a_socket_that_is_gone)
{
    int fd = dial();
    (void)turn();
    uint64_t data = HOST_SOCKET_FIRST | (uint64_t)table.slots[0].use << 32;
    tick(HOST_SOCKET_LINE_TIMEOUT_MS);
    check_closed(fd);
    int other = dial();
    (void)turn();
    host_socket_on_event(&table, data, EPOLLIN | EPOLLHUP);
    host_socket_on_event(&table, HOST_SOCKET_FIRST + HOST_SOCKET_MAX, EPOLLIN);
    ck_assert_ptr_null(hear(other));
    (void)close(other);
}
END_TEST

SUITE_MAIN_WITH("host_socket", .fixtures = {{setup, teardown}},
                TESTS(host_socket_opens_a_channel,
                      host_socket_takes_the_line_byte_by_byte_and_nothing_behind_it,
                      host_socket_closes_what_says_its_line_too_late,
                      host_socket_closes_what_the_guest_refuses_or_does_not_answer,
                      host_socket_takes_a_request_back_when_its_client_leaves,
                      host_socket_passes_a_half_close_on_to_the_guest,
                      host_socket_passes_a_half_close_on_to_the_client,
                      host_socket_tells_a_client_that_the_guest_takes_no_more,
                      host_socket_delivers_what_a_client_sent_before_it_left,
                      host_socket_throws_away_what_the_guest_sends_to_a_client_that_left,
                      host_socket_ends_both_ways_when_a_client_leaves_without_reading,
                      host_socket_forgets_those_that_wait_in_any_order,
                      host_socket_ends_a_channel_that_the_guest_resets,
                      host_socket_keeps_what_a_client_does_not_take_and_goes_on_when_it_does,
                      host_socket_costs_nothing_while_the_guest_gives_no_credit,
                      host_socket_refuses_one_channel_too_many, host_socket_lets_only_so_many_wait,
                      host_socket_gives_many_clients_little_room_each,
                      host_socket_ignores_events_of_a_socket_that_is_gone),
                LOOPS({host_socket_closes_what_says_no_line,
                       sizeof(bad_lines) / sizeof(bad_lines[0])}))
