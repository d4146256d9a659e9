/* SPDX-License-Identifier: Apache-2.0 */
/* Two joined streams: a Unix socket on side 0, TCP on side 1. */
#include "tests/unit/suite.h"
#include "net_fixture.h"

#include "net/join.h"

static struct {
    struct join *join;
    struct peer *peers[2];
    bool holds_end;
    int fds[2], end_cnt[2], over_cnt;
    size_t passed[2], hold_at;
    bool was_broken;
} T;

static bool on_end(void *owner, int side)
{
    ck_assert_ptr_eq(owner, &T);
    T.end_cnt[side]++;
    return !T.holds_end;
}

static void on_over(void *owner, bool is_broken)
{
    ck_assert_ptr_eq(owner, &T);
    T.over_cnt++;
    T.was_broken = is_broken;
    T.join = NULL;
}

static void on_passed(void *owner, int side, size_t len)
{
    ck_assert_ptr_eq(owner, &T);
    T.passed[side] += len;
    if (T.hold_at > 0 && T.passed[side] >= T.hold_at)
        join_hold(T.join, side, true);
}

static const struct join_ops ops = {.on_end = on_end, .on_passed = on_passed, .on_over = on_over};
static const struct net_stream_ops no_ops;

static void setup(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct net_stream *streams[2];
    memset(&T, 0, sizeof T);
    fixture_init();
    T.peers[0] = peer_new(&T.fds[0]);
    T.peers[1] = peer_new_tcp(&T.fds[1]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(net_stream_open_fd(&F.net, T.fds[i], &no_ops, NULL, &streams[i], &err), 0);
    ck_assert_int_eq(join_start(streams[0], streams[1], &ops, &T, &T.join), ADIT_OK);
}

static void teardown(void)
{
    if (T.join)
        join_break(T.join);
    fixture_fini();
}

START_TEST(join_passes_bytes_and_half_closes)
{
    peer_send(T.peers[0], "there");
    peer_send(T.peers[1], "back");
    run_until(peer_has(T.peers[1], "there") && peer_has(T.peers[0], "back"));
    ck_assert_int_eq(shutdown(T.peers[0]->fd, SHUT_WR), 0);
    run_until(T.peers[1]->ended);
    ck_assert(!T.peers[1]->was_reset && T.over_cnt == 0);
    peer_send(T.peers[1], " still");
    run_until(peer_has(T.peers[0], "back still"));
    ck_assert_int_eq(shutdown(T.peers[1]->fd, SHUT_WR), 0);
    run_until(T.peers[0]->ended && T.over_cnt);
    ck_assert(!T.was_broken && T.over_cnt == 1 && T.end_cnt[0] == 1 && T.end_cnt[1] == 1);
}
END_TEST

START_TEST(join_reset_of_a_side_breaks_both)
{
    struct linger hard = {1, 0};
    (void)setsockopt(T.peers[1]->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_close(T.peers[1]);
    run_until(T.over_cnt);
    ck_assert(T.was_broken);
    run_until(T.peers[0]->ended);
}
END_TEST

START_TEST(join_break_is_a_reset_and_calls_nobody)
{
    join_break(T.join);
    T.join = NULL;
    run_until(T.peers[1]->ended && T.peers[0]->ended);
    ck_assert(T.peers[1]->was_reset && T.over_cnt == 0);
}
END_TEST

START_TEST(join_held_end_waits_to_be_let_through)
{
    T.holds_end = true;
    peer_send(T.peers[0], "last words");
    ck_assert_int_eq(shutdown(T.peers[0]->fd, SHUT_WR), 0);
    run_until(T.end_cnt[0] && peer_has(T.peers[1], "last words"));
    settle();
    ck_assert(!T.peers[1]->ended);
    peer_send(T.peers[1], "more");
    run_until(peer_has(T.peers[0], "more"));
    join_pass_end(T.join, 0);
    run_until(T.peers[1]->ended);
    ck_assert(!T.peers[1]->was_reset);
    join_pass_end(T.join, 0); /* again: nothing */
    join_pass_end(T.join, 1);
    ck_assert_int_eq(T.over_cnt, 0);
}
END_TEST

START_TEST(join_held_end_that_nobody_lets_through_is_a_reset)
{
    T.holds_end = true;
    ck_assert_int_eq(shutdown(T.peers[0]->fd, SHUT_WR), 0);
    run_until(T.over_cnt);
    ck_assert(T.was_broken);
    run_until(T.peers[1]->ended);
    ck_assert(T.peers[1]->was_reset);
}
END_TEST

START_TEST(join_holds_back_a_sender_whose_reader_does_not_read)
{
    static char bytes[256 * 1024];
    size_t total = 0, before;
    T.peers[1]->is_deaf = true;
    do {
        before = total;
        for (int i = 0; i < 20; i++) {
            total += peer_push(T.peers[0], bytes, sizeof bytes);
            settle();
        }
    } while (total > before);
    ck_assert_uint_lt(total, 32u * 1024 * 1024); /* buffers of the kernel and one queue */
    T.peers[1]->is_deaf = false;
    run_until(T.peers[1]->total == total);
}
END_TEST

/* Else who ends both sides and does not read holds any number of them. */
START_TEST(join_is_over_when_all_is_sent)
{
    static char bytes[32 * 1024];
    const int least = 1; /* the kernel makes it a few KiB */
    ck_assert_int_eq(setsockopt(T.fds[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    T.peers[0]->is_deaf = true;
    ck_assert_int_eq(join_write(T.join, 0, adit_view_mem(bytes, sizeof bytes)), ADIT_OK);
    ck_assert_int_eq(shutdown(T.peers[0]->fd, SHUT_WR), 0);
    ck_assert_int_eq(shutdown(T.peers[1]->fd, SHUT_WR), 0);
    run_until(T.end_cnt[0] && T.end_cnt[1]);
    settle();
    ck_assert_int_eq(T.over_cnt, 0);
    T.peers[0]->is_deaf = false;
    run_until(T.over_cnt);
    ck_assert(!T.was_broken && T.peers[0]->total == sizeof bytes);
}
END_TEST

/* Numbers in order from one side to the other, of which @cnt words are sent. */
static void push_numbers(struct peer *from, uint32_t *next, uint32_t cnt)
{
    uint32_t words[8192];
    for (uint32_t i = 0; i < cnt; i++)
        words[i] = *next + i;
    size_t len = peer_push(from, (const char *)words, cnt * sizeof *words);
    ck_assert_uint_eq(len % sizeof *words, 0);
    *next += (uint32_t)(len / sizeof *words);
}

static uint32_t word_at(const struct peer *p, size_t i)
{
    uint32_t word;
    memcpy(&word, p->bytes + i * sizeof word, sizeof word);
    return word;
}

START_TEST(join_passes_bulk_whole_and_in_order)
{
    struct peer *from = T.peers[_i], *to = T.peers[!_i];
    uint32_t next = 0, in_order = 0;
    for (int turn = 0; next < 700000; turn++) {
        to->is_deaf = turn / 16 % 2; /* what it does not take at once waits in the queue */
        push_numbers(from, &next, turn % 3 ? 8192 : 1);
        settle();
    }
    to->is_deaf = false;
    run_until(to->total == next * sizeof next);
    ck_assert_uint_eq(T.passed[_i], to->total);
    ck_assert_int_ge(F.net.pipe_fds[0], 0);
    while (in_order < next && word_at(to, in_order) == in_order)
        in_order++;
    ck_assert_uint_eq(in_order, next);
    peer_send(to, "answer");
    ck_assert_int_eq(shutdown(from->fd, SHUT_WR), 0);
    run_until(to->ended && peer_has(from, "answer"));
    ck_assert(!to->was_reset);
}
END_TEST

START_TEST(join_held_side_waits_in_the_middle_of_bulk)
{
    uint32_t next = 0;
    T.hold_at = 1000000;
    while (T.passed[0] < T.hold_at) {
        push_numbers(T.peers[0], &next, 8192);
        settle();
    }
    size_t passed = T.passed[0];
    ck_assert_uint_lt(passed, T.hold_at + NET_SCRATCH_CAP);
    push_numbers(T.peers[0], &next, 8192);
    settle();
    ck_assert_uint_eq(T.passed[0], passed);
    T.hold_at = 0;
    join_hold(T.join, 0, false);
    run_until(T.peers[1]->total == next * sizeof next);
}
END_TEST

START_TEST(join_passes_over_urgent_data_in_the_middle_of_bulk)
{
    uint32_t next = 0;
    for (int turn = 0; turn < 30; turn++) {
        push_numbers(T.peers[1], &next, 8192);
        if (turn % 2) /* read together with what is before it, and alone */
            settle();
        ck_assert_int_eq(send(T.peers[1]->fd, "!", 1, MSG_OOB), 1);
        settle();
    }
    push_numbers(T.peers[1], &next, 8192);
    ck_assert_int_eq(shutdown(T.peers[1]->fd, SHUT_WR), 0);
    run_until(T.peers[0]->ended);
    ck_assert_uint_eq(T.passed[1], T.peers[0]->total);
    ck_assert_uint_ge(T.peers[0]->total, next * sizeof next);
    ck_assert_uint_le(T.peers[0]->total, next * sizeof next + 30);
}
END_TEST

START_TEST(join_breaks_in_the_middle_of_bulk)
{
    struct linger hard = {1, 0};
    uint32_t next = 0;
    T.peers[1]->is_deaf = true;
    for (int turn = 0; turn < 64; turn++) {
        push_numbers(T.peers[0], &next, 8192);
        settle();
    }
    (void)setsockopt(T.peers[1]->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_close(T.peers[1]);
    run_until(T.over_cnt);
    ck_assert(T.was_broken);
}
END_TEST

/* ---- many at once: what they share carries nothing from one to another ---- */

#define PAIRS 6
#define ROUNDS 600

/* @fds: the test's ends of both streams; what comes out at either is @letter */
static struct pair {
    struct join *join;
    int fds[2];
    char letter;
} pairs[PAIRS];

static uint32_t chance(uint32_t n)
{
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

static void pair_over(void *owner, bool is_broken)
{
    struct pair *p = owner;
    (void)is_broken;
    p->join = NULL;
}

static void pair_open(struct pair *p)
{
    static const struct join_ops pair_ops = {.on_over = pair_over};
    static char next;
    const int small = 1 << 15;
    struct net_stream *streams[2];
    for (int i = 0; i < 2; i++) {
        int ends[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
                         0);
        ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
        p->fds[i] = ends[0];
        ck_assert_int_eq(net_stream_open_fd(&F.net, ends[1], &no_ops, NULL, &streams[i], NULL), 0);
    }
    p->letter = (char)('A' + next++ % 26);
    ck_assert_int_eq(join_start(streams[0], streams[1], &pair_ops, p, &p->join), ADIT_OK);
}

static void pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        if (p->fds[i] >= 0)
            (void)close(p->fds[i]);
    if (p->join)
        join_break(p->join);
    p->join = NULL;
}

static void pair_use(struct pair *p, int side)
{
    static char bytes[1 << 17];
    ssize_t n;
    switch (chance(12)) {
    case 0: /* with what it was sent unread */
        pair_close(p);
        pair_open(p);
        break;
    case 1:
    case 2:
    case 3:
        n = recv(p->fds[side], bytes, 1 + chance(sizeof bytes - 1), MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] != p->letter)
                ck_abort_msg("%c at an end of %c", bytes[i], p->letter);
        break;
    default:
        memset(bytes, p->letter, sizeof bytes);
        (void)send(p->fds[side], bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

START_TEST(join_keeps_what_is_one_pairs_from_all_others)
{
    for (int i = 0; i < PAIRS; i++)
        pair_open(&pairs[i]);
    for (int n = 0; n < ROUNDS; n++) {
        for (int i = 0; i < PAIRS; i++)
            pair_use(&pairs[i], (int)chance(2));
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < PAIRS; i++)
        pair_close(&pairs[i]);
}
END_TEST

SUITE_MAIN_WITH("join", .fixtures = {{setup, teardown}},
                TESTS(join_keeps_what_is_one_pairs_from_all_others,
                      join_passes_bytes_and_half_closes, join_reset_of_a_side_breaks_both,
                      join_break_is_a_reset_and_calls_nobody, join_held_end_waits_to_be_let_through,
                      join_held_end_that_nobody_lets_through_is_a_reset,
                      join_holds_back_a_sender_whose_reader_does_not_read,
                      join_is_over_when_all_is_sent, join_breaks_in_the_middle_of_bulk,
                      join_passes_over_urgent_data_in_the_middle_of_bulk,
                      join_held_side_waits_in_the_middle_of_bulk),
                LOOPS({join_passes_bulk_whole_and_in_order, 2}))
