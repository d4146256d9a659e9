/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: what packets mean in each state, credit against a model without wraps, bytes
 * kept. */
#include "vsock-device/vsock_conn.h"

#include "tests/unit/suite.h"

static struct vsock_conn conn;

static void setup(void)
{
    conn = (struct vsock_conn){.state = VSOCK_CONN_OPEN, .peer_buf_alloc = 1000};
}

static void teardown(void)
{
}

static enum vsock_verdict step(struct vsock_packet p)
{
    return vsock_conn_step(&conn, &p);
}

static enum vsock_verdict op(uint16_t op)
{
    return step((struct vsock_packet){.op = op, .buf_alloc = 1000});
}

/* ---- what packets mean --------------------------------------------------------------------- */

static const struct {
    enum vsock_conn_state state;
    uint16_t op;
    uint32_t flags;
    enum vsock_verdict verdict;
} meanings[] = {
    {VSOCK_CONN_CONNECTING, VSOCK_OP_RESPONSE, 0, VSOCK_VERDICT_ACCEPTED},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_RST, 0, VSOCK_VERDICT_RESET},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_RW, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_REQUEST, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_SHUTDOWN, 3, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_CREDIT_UPDATE, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_CONNECTING, VSOCK_OP_CREDIT_REQUEST, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_OPEN, VSOCK_OP_RW, 0, VSOCK_VERDICT_DATA},
    {VSOCK_CONN_OPEN, VSOCK_OP_RW, UINT32_MAX, VSOCK_VERDICT_DATA},
    {VSOCK_CONN_OPEN, VSOCK_OP_CREDIT_UPDATE, 0, VSOCK_VERDICT_NOTHING},
    {VSOCK_CONN_OPEN, VSOCK_OP_CREDIT_REQUEST, 0, VSOCK_VERDICT_ASKED},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, 0, VSOCK_VERDICT_SHUT},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, 1, VSOCK_VERDICT_SHUT},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, 2, VSOCK_VERDICT_SHUT},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, ~3u, VSOCK_VERDICT_SHUT},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, 3, VSOCK_VERDICT_CLOSED},
    {VSOCK_CONN_OPEN, VSOCK_OP_SHUTDOWN, UINT32_MAX, VSOCK_VERDICT_CLOSED},
    {VSOCK_CONN_OPEN, VSOCK_OP_RST, 0, VSOCK_VERDICT_RESET},
    {VSOCK_CONN_OPEN, VSOCK_OP_RESPONSE, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_OPEN, VSOCK_OP_REQUEST, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_OPEN, 0, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_OPEN, VSOCK_OP_CREDIT_REQUEST + 1, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_OPEN, UINT16_MAX, 0, VSOCK_VERDICT_BREACH},
    {VSOCK_CONN_CLOSING, VSOCK_OP_RST, 0, VSOCK_VERDICT_RESET},
    {VSOCK_CONN_CLOSING, VSOCK_OP_RW, 0, VSOCK_VERDICT_NOTHING},
    {VSOCK_CONN_CLOSING, VSOCK_OP_SHUTDOWN, 2, VSOCK_VERDICT_SHUT},
    {VSOCK_CONN_CLOSING, VSOCK_OP_SHUTDOWN, 3, VSOCK_VERDICT_CLOSED},
    {VSOCK_CONN_CLOSING, UINT16_MAX, 0, VSOCK_VERDICT_NOTHING},
};

START_TEST(vsock_conn_packet_means)
{
    conn.state = meanings[_i].state;
    struct vsock_packet p = {.op = meanings[_i].op, .flags = meanings[_i].flags, .len = 7};
    ck_assert_int_eq(step(p), meanings[_i].verdict);
    ck_assert_uint_eq(conn.rx_cnt, meanings[_i].verdict == VSOCK_VERDICT_DATA ? 7 : 0);
}
END_TEST

START_TEST(vsock_conn_shuts_one_direction_at_a_time)
{
    struct vsock_packet p = {.op = VSOCK_OP_SHUTDOWN, .flags = VSOCK_SHUT_RCV};
    ck_assert(vsock_conn_sends(&conn) && vsock_conn_receives(&conn));
    ck_assert_int_eq(step(p), VSOCK_VERDICT_SHUT);
    ck_assert(!vsock_conn_sends(&conn) && vsock_conn_receives(&conn));
    ck_assert_int_eq(op(VSOCK_OP_RW), VSOCK_VERDICT_DATA);
    p.flags = VSOCK_SHUT_SEND;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_CLOSED);
    ck_assert(!vsock_conn_receives(&conn));
}
END_TEST

START_TEST(vsock_conn_data_after_its_end_is_a_breach)
{
    struct vsock_packet p = {.op = VSOCK_OP_SHUTDOWN, .flags = VSOCK_SHUT_SEND};
    ck_assert_int_eq(step(p), VSOCK_VERDICT_SHUT);
    ck_assert_int_eq(op(VSOCK_OP_RW), VSOCK_VERDICT_BREACH);
}
END_TEST

START_TEST(vsock_conn_receives_until_the_host_has_all)
{
    conn.rx_cnt = 10;
    conn.guest_shut = VSOCK_SHUT_SEND;
    ck_assert(vsock_conn_receives(&conn));
    conn.fwd_cnt = 10;
    ck_assert(!vsock_conn_receives(&conn));
    conn.guest_shut = 0;
    ck_assert(vsock_conn_receives(&conn));
    conn.host_shut = VSOCK_SHUT_RCV;
    ck_assert(!vsock_conn_receives(&conn) && vsock_conn_sends(&conn));
    conn.host_shut = VSOCK_SHUT_SEND;
    ck_assert(vsock_conn_receives(&conn) && !vsock_conn_sends(&conn));
    conn.host_shut = 0;
    conn.state = VSOCK_CONN_FLUSHING;
    ck_assert(!vsock_conn_receives(&conn) && !vsock_conn_sends(&conn));
}
END_TEST

/* ---- credit -------------------------------------------------------------------------------- */

START_TEST(vsock_conn_takes_as_much_as_it_gave_credit_for)
{
    struct vsock_packet p = {.op = VSOCK_OP_RW, .len = VSOCK_BUF_ALLOC - 1};
    conn.rx_cnt = conn.fwd_cnt = UINT32_MAX - 5;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_DATA);
    p.len = 2;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_BREACH);
    p.len = 1;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_DATA);
    ck_assert_uint_eq(vsock_conn_owed(&conn), VSOCK_BUF_ALLOC);
    ck_assert_int_eq(step(p), VSOCK_VERDICT_BREACH);
    p.len = 0;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_DATA);
    p.len = UINT32_MAX;
    ck_assert_int_eq(step(p), VSOCK_VERDICT_BREACH);
}
END_TEST

START_TEST(vsock_conn_owes_an_update_at_half_of_its_buffer)
{
    conn.told_fwd_cnt = UINT32_MAX - 1;
    conn.fwd_cnt = conn.told_fwd_cnt + VSOCK_BUF_ALLOC / 2 - 1;
    ck_assert(!vsock_conn_owes_update(&conn));
    conn.fwd_cnt++;
    ck_assert(vsock_conn_owes_update(&conn));
}
END_TEST

static enum vsock_verdict tell(uint32_t buf_alloc, uint32_t fwd_cnt)
{
    return step((struct vsock_packet){
        .op = VSOCK_OP_CREDIT_UPDATE, .buf_alloc = buf_alloc, .fwd_cnt = fwd_cnt});
}

START_TEST(vsock_conn_credit_never_underflows)
{
    conn.tx_cnt = 600;
    ck_assert_uint_eq(vsock_conn_credit(&conn), 400);
    ck_assert_int_eq(tell(600, 0), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(vsock_conn_credit(&conn), 0);
    ck_assert_int_eq(tell(599, 0), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(vsock_conn_credit(&conn), 0);
    ck_assert_int_eq(tell(0, 0), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(vsock_conn_credit(&conn), 0);
    ck_assert_int_eq(tell(0, 600), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(vsock_conn_credit(&conn), 0);
    ck_assert_int_eq(tell(UINT32_MAX, 600), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(vsock_conn_credit(&conn), VSOCK_CONN_WINDOW_MAX);
}
END_TEST

START_TEST(vsock_conn_ignores_a_count_that_was_overtaken)
{
    conn.tx_cnt = 600;
    ck_assert_int_eq(tell(1000, 500), VSOCK_VERDICT_NOTHING);
    ck_assert_int_eq(tell(1000, 499), VSOCK_VERDICT_NOTHING);
    ck_assert_int_eq(tell(1000, 0), VSOCK_VERDICT_NOTHING);
    ck_assert_uint_eq(conn.peer_fwd_cnt, 500);
    ck_assert_uint_eq(vsock_conn_credit(&conn), 900);
}
END_TEST

START_TEST(vsock_conn_use_of_what_was_not_sent_is_a_breach)
{
    conn.tx_cnt = 600;
    ck_assert_int_eq(tell(1000, 601), VSOCK_VERDICT_BREACH);
    ck_assert_int_eq(tell(1000, INT32_MAX), VSOCK_VERDICT_BREACH);
    ck_assert_int_eq(tell(1000, 600), VSOCK_VERDICT_NOTHING);
    conn.state = VSOCK_CONN_CONNECTING;
    conn.tx_cnt = conn.peer_fwd_cnt = 0;
    ck_assert_int_eq(step((struct vsock_packet){.op = VSOCK_OP_RESPONSE, .fwd_cnt = 1}),
                     VSOCK_VERDICT_BREACH);
}
END_TEST

START_TEST(vsock_conn_may_ask_again_when_credit_came)
{
    conn.tx_cnt = 1000;
    conn.is_credit_asked = true;
    ck_assert_int_eq(tell(1000, 0), VSOCK_VERDICT_NOTHING);
    ck_assert(conn.is_credit_asked);
    ck_assert_int_eq(tell(1000, 1), VSOCK_VERDICT_NOTHING);
    ck_assert(!conn.is_credit_asked);
}
END_TEST

/* The same in 64 bits, where nothing wraps. */
struct model {
    uint64_t tx, used, buf_alloc;
    uint64_t rx, fwd, told;
};

static uint64_t random_state;

/* 0 … max */
static uint32_t random_up_to(uint32_t max)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % ((uint64_t)max + 1));
}

static void model_guest_tells(struct model *m)
{
    uint32_t fresh = random_up_to((uint32_t)(m->tx - m->used));
    m->buf_alloc = random_up_to(3) ? random_up_to(300000) : 0;
    if (random_up_to(9) == 0) {
        uint32_t beyond = (uint32_t)m->tx + 1 + random_up_to(100000);
        ck_assert_int_eq(tell((uint32_t)m->buf_alloc, beyond), VSOCK_VERDICT_BREACH);
        m->buf_alloc = conn.peer_buf_alloc;
        return;
    }
    if (random_up_to(9) == 0) {
        uint32_t behind = (uint32_t)m->used - 1 - random_up_to(100000);
        ck_assert_int_eq(tell((uint32_t)m->buf_alloc, behind), VSOCK_VERDICT_NOTHING);
        return;
    }
    m->used += fresh;
    ck_assert_int_eq(tell((uint32_t)m->buf_alloc, (uint32_t)m->used), VSOCK_VERDICT_NOTHING);
}

static void model_guest_sends(struct model *m)
{
    uint32_t len = random_up_to(70000);
    bool fits = m->rx + len - m->fwd <= VSOCK_BUF_ALLOC;
    struct vsock_packet p = {.op = VSOCK_OP_RW,
                             .len = len,
                             .buf_alloc = conn.peer_buf_alloc,
                             .fwd_cnt = (uint32_t)m->used};
    ck_assert_int_eq(step(p), fits ? VSOCK_VERDICT_DATA : VSOCK_VERDICT_BREACH);
    m->rx += fits ? len : 0;
}

static void model_host_moves(struct model *m)
{
    uint32_t out = random_up_to(vsock_conn_credit(&conn));
    uint32_t in = random_up_to(vsock_conn_owed(&conn));
    conn.tx_cnt += out;
    m->tx += out;
    conn.fwd_cnt += in;
    m->fwd += in;
    ck_assert_int_eq(vsock_conn_owes_update(&conn), m->fwd - m->told >= VSOCK_BUF_ALLOC / 2);
    if (vsock_conn_owes_update(&conn)) {
        conn.told_fwd_cnt = conn.fwd_cnt;
        m->told = m->fwd;
    }
}

START_TEST(vsock_conn_counts_as_a_model_without_wraps)
{
    static const uint32_t starts[] = {0, UINT32_MAX - 1000, INT32_MAX - 1000u, UINT32_MAX};
    uint32_t from = starts[_i];
    struct model m = {from, from, 1000, from, from, from};
    random_state = from + 1u;
    conn.tx_cnt = conn.peer_fwd_cnt = conn.rx_cnt = conn.fwd_cnt = conn.told_fwd_cnt = from;
    for (unsigned round = 0; round < 3000; round++) {
        model_guest_tells(&m);
        model_guest_sends(&m);
        model_host_moves(&m);
        uint64_t under_way = m.tx - m.used;
        ck_assert_uint_eq(vsock_conn_credit(&conn),
                          under_way < m.buf_alloc ? m.buf_alloc - under_way : 0);
        ck_assert_uint_eq(vsock_conn_owed(&conn), m.rx - m.fwd);
        ck_assert_uint_eq(conn.peer_fwd_cnt, (uint32_t)m.used);
    }
}
END_TEST

/* ---- bytes kept ---------------------------------------------------------------------------- */

START_TEST(vsock_conn_keeps_bytes_in_order)
{
    static uint8_t bytes[VSOCK_BUF_ALLOC];
    struct iovec kept[2];
    uint8_t next_in = 0, next_out = 0;
    conn.kept = malloc(VSOCK_BUF_ALLOC);
    ck_assert_ptr_nonnull(conn.kept);
    ck_assert_uint_eq(vsock_conn_kept(&conn, kept), 0);
    for (unsigned round = 0; round < 200; round++) {
        size_t room = VSOCK_BUF_ALLOC - conn.kept_len;
        size_t len = random_up_to((uint32_t)room), cut = random_up_to((uint32_t)len);
        for (size_t i = 0; i < len; i++)
            bytes[i] = next_in++;
        struct iovec iov[] = {{bytes, cut}, {bytes + cut, len - cut}};
        conn.rx_cnt += (uint32_t)len;
        vsock_conn_keep(&conn, iov, 2);

        uint32_t take = random_up_to(conn.kept_len), left = take, wrong = 0;
        unsigned cnt = vsock_conn_kept(&conn, kept);
        for (unsigned k = 0; k < cnt; k++)
            for (size_t i = 0; i < kept[k].iov_len && left > 0; i++, left--)
                wrong += ((uint8_t *)kept[k].iov_base)[i] != next_out++;
        ck_assert_uint_eq(left, 0);
        ck_assert_uint_eq(wrong, 0);
        vsock_conn_drained(&conn, take);
        ck_assert_uint_eq(conn.kept_len, vsock_conn_owed(&conn));
    }
    free(conn.kept);
}
END_TEST

SUITE_MAIN_WITH("vsock_conn", .fixtures = {{setup, teardown}},
                TESTS(vsock_conn_shuts_one_direction_at_a_time,
                      vsock_conn_data_after_its_end_is_a_breach,
                      vsock_conn_receives_until_the_host_has_all,
                      vsock_conn_takes_as_much_as_it_gave_credit_for,
                      vsock_conn_owes_an_update_at_half_of_its_buffer,
                      vsock_conn_credit_never_underflows,
                      vsock_conn_ignores_a_count_that_was_overtaken,
                      vsock_conn_use_of_what_was_not_sent_is_a_breach,
                      vsock_conn_may_ask_again_when_credit_came, vsock_conn_keeps_bytes_in_order),
                LOOPS({vsock_conn_packet_means, sizeof(meanings) / sizeof(meanings[0])},
                      {vsock_conn_counts_as_a_model_without_wraps, 4}))
