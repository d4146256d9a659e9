/* SPDX-License-Identifier: Apache-2.0 */
/* The device's core between a guest and host sockets, both played here: connections from their
 * request to their end, what a hostile guest does, and whose turn it is. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include "vsock-device/vsock_core.h"

#define GUEST_CID 7u
#define PORT 49983u
#define CHAIN_LEN 4140u /* 44 bytes and a page, as Linux offers */

static struct vsock_core *core;
static uint64_t now_ms = 1000;

static void setup(void)
{
    ck_assert_int_eq(vsock_core_new(GUEST_CID, 5, &core, NULL), ADIT_OK);
    vsock_core_tick(core, now_ms);
}

static void teardown(void)
{
    vsock_core_free(core);
}

/* ---- the guest's side
 * --------------------------------------------------------------------------------- */

static uint8_t chain[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];
static struct vsock_packet got; /* the packet that the guest received last */
static uint8_t *const got_bytes = chain + VSOCK_PACKET_HEADER_LEN;

/* What the host socket has to read, for every connection alike; 0: its end. */
static size_t host_has = SIZE_MAX;

/* Offer a receive buffer of @len bytes. Return: whether a packet came. */
static bool receive_in(size_t len)
{
    struct iovec iov = {chain, len};
    struct vsock_send s;
    while (vsock_core_has_output(core)) {
        uint32_t n = VSOCK_PACKET_HEADER_LEN;
        ck_assert_int_eq(vsock_core_next(core, &iov, 1, &s, NULL), ADIT_OK);
        ck_assert_int_ne(s.kind, VSOCK_SEND_NOTHING);
        if (s.kind == VSOCK_SEND_READ) {
            size_t take = s.len < host_has ? s.len : host_has;
            if (take == 0) {
                vsock_core_unreadable(core, s.id);
                continue;
            }
            memset(s.iov[0].iov_base, 'h', take);
            host_has -= host_has == SIZE_MAX ? 0 : take;
            n = vsock_core_sent(core, &s, take);
        }
        vsock_packet_parse(chain, &got);
        ck_assert_uint_eq(n, VSOCK_PACKET_HEADER_LEN + got.len);
        ck_assert_uint_eq(got.src_cid, VSOCK_CID_HOST);
        ck_assert_uint_eq(got.dst_cid, GUEST_CID);
        return true;
    }
    return false;
}

static bool receive(void)
{
    return receive_in(CHAIN_LEN);
}

static void expect_op(uint16_t op)
{
    ck_assert(receive());
    ck_assert_uint_eq(got.op, op);
}

static void expect_silence(void)
{
    ck_assert_msg(!receive(), "a packet of op %u", got.op);
}

static struct vsock_payload payload;
static struct adit_err err;

static int feed_packet(struct vsock_packet p)
{
    static uint8_t bytes[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];
    struct iovec iov[] = {{bytes, 20}, {bytes + 20, 24 + p.len}};
    vsock_packet_format(&p, bytes);
    memset(bytes + VSOCK_PACKET_HEADER_LEN, 'g', p.len);
    err = (struct adit_err)ADIT_ERR_INIT;
    return vsock_core_feed(core, iov, 2, &payload, &err);
}

/* A packet of the guest on connection @id. */
static struct vsock_packet packet(uint32_t id, uint16_t op)
{
    return (struct vsock_packet){
        .src_cid = GUEST_CID,
        .dst_cid = VSOCK_CID_HOST,
        .src_port = PORT,
        .dst_port = vsock_core_host_port(core, id),
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = 256 * 1024,
    };
}

static void feed(struct vsock_packet p)
{
    ck_assert_int_eq(feed_packet(p), ADIT_OK);
}

static void feed_op(uint32_t id, uint16_t op)
{
    feed(packet(id, op));
    ck_assert_uint_eq(payload.len, 0);
}

static void feed_shutdown(uint32_t id, uint32_t flags)
{
    struct vsock_packet p = packet(id, VSOCK_OP_SHUTDOWN);
    p.flags = flags;
    feed(p);
}

/* Data of the guest, of which the host takes @takes. */
static void feed_data(uint32_t id, uint32_t len, size_t takes)
{
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = len;
    feed(p);
    ck_assert_uint_eq(payload.len, len);
    vsock_core_wrote(core, &payload, takes);
}

/* ---- the host's side
 * -------------------------------------------------------------------------------------- */

static uint32_t open_one(void)
{
    uint32_t id;
    ck_assert_int_eq(vsock_core_open(core, PORT, &id, NULL), ADIT_OK);
    return id;
}

static void expect_changed(uint32_t id, enum vsock_phase phase, enum vsock_end end)
{
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert_int_eq(vsock_core_status(core, id).phase, phase);
    ck_assert_int_eq(vsock_core_status(core, id).end, end);
}

static void expect_over(uint32_t id, enum vsock_end end)
{
    expect_changed(id, VSOCK_OVER, end);
    vsock_core_forget(core, id);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
}

static uint32_t connect_one(void)
{
    uint32_t id = open_one();
    expect_op(VSOCK_OP_REQUEST);
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_changed(id, VSOCK_OPEN, VSOCK_END_NONE);
    return id;
}

static size_t kept_len(uint32_t id)
{
    struct iovec iov[2];
    unsigned cnt = vsock_core_kept(core, id, iov);
    return cnt == 0 ? 0 : iov[0].iov_len + (cnt > 1 ? iov[1].iov_len : 0);
}

/* All slots are free: as many connections as there may be can be opened. */
static void expect_all_free(void)
{
    uint32_t id;
    for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
        if (vsock_core_open(core, PORT, &id, NULL) != ADIT_OK)
            ck_abort_msg("only %u connections are free", i);
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------
 */

START_TEST(vsock_core_connects)
{
    uint32_t id = open_one();
    ck_assert_int_eq(vsock_core_status(core, id).phase, VSOCK_CONNECTING);
    ck_assert(!vsock_core_status(core, id).is_read_wanted);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
    expect_op(VSOCK_OP_REQUEST);
    ck_assert_uint_eq(got.dst_port, PORT);
    ck_assert_uint_eq(got.src_port, vsock_core_host_port(core, id));
    ck_assert_uint_eq(got.type, VSOCK_TYPE_STREAM);
    ck_assert_uint_eq(got.buf_alloc, VSOCK_BUF_ALLOC);
    ck_assert_uint_eq(got.len | got.fwd_cnt | got.flags, 0);
    expect_silence();
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_changed(id, VSOCK_OPEN, VSOCK_END_NONE);
    ck_assert(vsock_core_status(core, id).is_read_wanted);
    ck_assert_int_eq(vsock_core_wait_ms(core), -1);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_reports_a_refusal)
{
    uint32_t id = open_one();
    expect_op(VSOCK_OP_REQUEST);
    feed_op(id, VSOCK_OP_RST);
    expect_over(id, VSOCK_END_REFUSED);
    expect_silence();
    expect_all_free();
    ck_assert_uint_eq(vsock_core_counters(core)->refused, 1);
}
END_TEST

START_TEST(vsock_core_gives_up_a_request_without_answer)
{
    uint32_t id = open_one(), later;
    ck_assert_int_eq(vsock_core_wait_ms(core), VSOCK_ANSWER_TIMEOUT_MS);
    expect_op(VSOCK_OP_REQUEST);
    vsock_core_tick(core, now_ms + 500);
    later = open_one();
    vsock_core_tick(core, now_ms + VSOCK_ANSWER_TIMEOUT_MS - 1);
    ck_assert_int_eq(vsock_core_wait_ms(core), 1);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
    vsock_core_tick(core, now_ms + VSOCK_ANSWER_TIMEOUT_MS);
    expect_over(id, VSOCK_END_TIMEOUT);
    ck_assert_int_eq(vsock_core_wait_ms(core), 500);
    expect_op(VSOCK_OP_REQUEST); /* the later one's */
    expect_op(VSOCK_OP_RST);
    feed_op(later, VSOCK_OP_RESPONSE);
    expect_changed(later, VSOCK_OPEN, VSOCK_END_NONE);
    ck_assert_uint_eq(vsock_core_counters(core)->connect_timeouts, 1);
    /* The answer comes too late. */
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_op(VSOCK_OP_RST);
}
END_TEST

START_TEST(vsock_core_timeouts_are_late_at_once)
{
    (void)open_one();
    vsock_core_tick(core, now_ms + 1);
    ck_assert_int_eq(vsock_core_wait_ms(core), VSOCK_ANSWER_TIMEOUT_MS - 1);
    uint32_t id = open_one();
    vsock_core_tick(core, now_ms + 10 * VSOCK_ANSWER_TIMEOUT_MS);
    expect_changed(0, VSOCK_OVER, VSOCK_END_TIMEOUT);
    expect_changed(id, VSOCK_OVER, VSOCK_END_TIMEOUT);
    ck_assert_int_eq(vsock_core_wait_ms(core), -1);
}
END_TEST

START_TEST(vsock_core_request_that_was_never_sent_is_forgotten)
{
    uint32_t id = open_one();
    vsock_core_tick(core, now_ms + VSOCK_ANSWER_TIMEOUT_MS);
    expect_over(id, VSOCK_END_TIMEOUT);
    vsock_core_forget(core, open_one());
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_holds_so_many_and_refuses_the_next)
{
    uint32_t id;
    expect_all_free();
    err = (struct adit_err)ADIT_ERR_INIT;
    ck_assert_int_eq(vsock_core_open(core, PORT, &id, &err), ADIT_ERR_LIMIT);
    ck_assert_str_eq(err.msg, "1024 connections are open");
    for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
        expect_op(VSOCK_OP_REQUEST);
    for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
        feed_op(i, VSOCK_OP_RESPONSE);
        expect_changed(i, VSOCK_OPEN, VSOCK_END_NONE);
    }
    vsock_core_forget(core, 77);
    ck_assert_int_eq(vsock_core_open(core, PORT, &id, NULL), ADIT_ERR_LIMIT); /* RST is to go yet */
    expect_op(VSOCK_OP_RST);
    ck_assert_uint_eq(open_one(), 77);
}
END_TEST

START_TEST(vsock_core_reuses_a_port_after_the_whole_space)
{
    /* All slots but one are taken, so that its ports come again soonest. */
    uint32_t id, first;
    for (unsigned i = 0; i + 1 < VSOCK_CONNS_MAX; i++)
        (void)open_one();
    id = open_one();
    first = vsock_core_host_port(core, id);
    ck_assert_uint_eq(first & (VSOCK_CONNS_MAX - 1), id);
    for (unsigned i = 1; i < 1u << 20; i++) {
        vsock_core_forget(core, id);
        if (vsock_core_open(core, PORT, &id, NULL) != ADIT_OK ||
            vsock_core_host_port(core, id) == first ||
            (vsock_core_host_port(core, id) & ~(VSOCK_PORT_BASE - 1)) != VSOCK_PORT_BASE)
            ck_abort_msg("port %x in use %u", vsock_core_host_port(core, id), i);
    }
    vsock_core_forget(core, id);
    ck_assert_uint_eq(open_one(), id);
    ck_assert_uint_eq(vsock_core_host_port(core, id), first);
}
END_TEST

START_TEST(vsock_core_takes_the_slot_that_was_free_longest)
{
    uint32_t id = open_one();
    ck_assert_uint_eq(id, 0);
    vsock_core_forget(core, id);
    for (unsigned i = 1; i < VSOCK_CONNS_MAX; i++)
        ck_assert_uint_eq(open_one(), i);
    ck_assert_uint_eq(open_one(), 0);
}
END_TEST

START_TEST(vsock_core_ports_depend_on_the_seed)
{
    struct vsock_core *other;
    ck_assert_int_eq(vsock_core_new(GUEST_CID, UINT32_MAX, &other, NULL), ADIT_OK);
    ck_assert_uint_ne(vsock_core_host_port(core, 0), vsock_core_host_port(other, 0));
    ck_assert_uint_eq(vsock_core_host_port(core, 3), VSOCK_PORT_BASE + 5 * VSOCK_CONNS_MAX + 3);
    ck_assert_uint_eq(vsock_core_host_port(other, 3), 2 * VSOCK_PORT_BASE - VSOCK_CONNS_MAX + 3);
    vsock_core_free(other);
    vsock_core_free(NULL);
}
END_TEST

/* ---- bytes
 * ----------------------------------------------------------------------------------------------------
 */

START_TEST(vsock_core_hands_the_guests_bytes_to_the_host)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = 1000;
    feed(p);
    ck_assert_uint_eq(payload.id, id);
    ck_assert_uint_eq(payload.cnt, 1);
    ck_assert_uint_eq(payload.iov[0].iov_len, 1000);
    ck_assert_int_eq(*(char *)payload.iov[0].iov_base, 'g');
    vsock_core_wrote(core, &payload, 1000);
    ck_assert_uint_eq(kept_len(id), 0);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
    expect_silence();
    p.len = 0;
    feed(p);
    ck_assert_uint_eq(payload.len, 0);
    ck_assert_uint_eq(vsock_core_counters(core)->bytes_from_guest, 1000);
}
END_TEST

START_TEST(vsock_core_updates_credit_when_half_was_used)
{
    uint32_t id = connect_one();
    feed_data(id, 65536, 65536);
    feed_data(id, 65535, 65535);
    expect_silence();
    feed_data(id, 1, 1);
    expect_op(VSOCK_OP_CREDIT_UPDATE);
    ck_assert_uint_eq(got.fwd_cnt, VSOCK_BUF_ALLOC / 2);
    ck_assert_uint_eq(got.buf_alloc, VSOCK_BUF_ALLOC);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_any_packet_is_an_update)
{
    uint32_t id = connect_one();
    feed_data(id, 65536, 65536);
    vsock_core_readable(core, id);
    host_has = 1;
    expect_op(VSOCK_OP_RW);
    ck_assert_uint_eq(got.fwd_cnt, 65536);
    feed_data(id, 65536, 65536); /* half of the buffer since the last update would be more */
    expect_silence();
    /* One that is due, and that a shutdown makes needless. */
    feed_data(id, 65536, 65536);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.fwd_cnt, 3 * 65536);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_answers_a_question_for_credit_once)
{
    uint32_t id = connect_one();
    feed_op(id, VSOCK_OP_CREDIT_REQUEST);
    feed_op(id, VSOCK_OP_CREDIT_REQUEST);
    expect_op(VSOCK_OP_CREDIT_UPDATE);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_keeps_what_the_host_does_not_take)
{
    struct iovec iov[2];
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    feed_data(id, 1000, 400);
    expect_changed(id, VSOCK_OPEN, VSOCK_END_NONE);
    ck_assert(vsock_core_status(core, id).is_write_wanted);
    ck_assert_uint_eq(kept_len(id), 600);
    /* What comes now goes behind it. */
    p.len = 500;
    feed(p);
    ck_assert_uint_eq(payload.len, 0);
    ck_assert_uint_eq(kept_len(id), 1100);
    vsock_core_drained(core, id, 1000);
    ck_assert_uint_eq(vsock_core_kept(core, id, iov), 1);
    ck_assert_int_eq(*(char *)iov[0].iov_base, 'g');
    ck_assert(vsock_core_status(core, id).is_write_wanted);
    vsock_core_drained(core, id, 100);
    ck_assert(!vsock_core_status(core, id).is_write_wanted);
    feed_data(id, 500, 500); /* directly again */
    feed_data(id, 500, 0);
    ck_assert_uint_eq(kept_len(id), 500);
}
END_TEST

START_TEST(vsock_core_host_that_does_not_read_bounds_its_guest)
{
    uint32_t stopped = connect_one(), other = connect_one();
    struct vsock_packet p = packet(stopped, VSOCK_OP_RW);
    p.len = 65536;
    feed_data(stopped, 65536, 0);
    for (unsigned i = 0; i < 3; i++)
        feed(p);
    ck_assert_uint_eq(kept_len(stopped), VSOCK_BUF_ALLOC);
    expect_silence(); /* no credit for it */
    feed_data(other, 65536, 65536);
    feed_data(other, 65536, 65536);
    expect_op(VSOCK_OP_CREDIT_UPDATE);
    ck_assert_uint_eq(got.src_port, vsock_core_host_port(core, other));
    expect_changed(stopped, VSOCK_OPEN, VSOCK_END_NONE);
    /* A byte more than the credit ends that one. */
    p.len = 1;
    feed(p);
    expect_over(stopped, VSOCK_END_BREACH);
    expect_op(VSOCK_OP_RST);
    ck_assert_uint_eq(got.src_port, p.dst_port);
    ck_assert_int_eq(vsock_core_status(core, other).phase, VSOCK_OPEN);
    ck_assert_uint_eq(vsock_core_counters(core)->breaches, 1);
}
END_TEST

START_TEST(vsock_core_sends_within_the_guests_credit)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_CREDIT_UPDATE);
    p.buf_alloc = 5000;
    feed(p);
    vsock_core_readable(core, id);
    ck_assert(!vsock_core_status(core, id).is_read_wanted);
    expect_op(VSOCK_OP_RW);
    ck_assert_uint_eq(got.len, 4096);
    ck_assert_int_eq(got_bytes[4095], 'h');
    expect_op(VSOCK_OP_RW);
    ck_assert_uint_eq(got.len, 904);
    expect_op(VSOCK_OP_CREDIT_REQUEST); /* once */
    expect_silence();
    p.fwd_cnt = 10;
    feed(p);
    expect_op(VSOCK_OP_RW);
    ck_assert_uint_eq(got.len, 10);
    expect_op(VSOCK_OP_CREDIT_REQUEST);
    p.buf_alloc = 100; /* it shrinks */
    p.fwd_cnt = 4000;
    feed(p);
    expect_silence();
    p.fwd_cnt = 5010;
    feed(p);
    host_has = 50;
    expect_op(VSOCK_OP_RW);
    ck_assert_uint_eq(got.len, 50);
    expect_silence();
    ck_assert(vsock_core_status(core, id).is_read_wanted);
    ck_assert_uint_eq(vsock_core_counters(core)->bytes_to_guest, 5060);
}
END_TEST

START_TEST(vsock_core_fills_scattered_buffers)
{
    uint8_t a[30], b[20], c[100];
    struct iovec iov[] = {{a, sizeof(a)}, {b, sizeof(b)}, {c, sizeof(c)}};
    struct vsock_send s;
    uint32_t id = connect_one();
    vsock_core_readable(core, id);
    ck_assert_int_eq(vsock_core_next(core, iov, 3, &s, NULL), ADIT_OK);
    ck_assert_int_eq(s.kind, VSOCK_SEND_READ);
    ck_assert_uint_eq(s.len, 106);
    ck_assert_ptr_eq(s.iov[0].iov_base, b + 14);
    ck_assert_uint_eq(vsock_core_sent(core, &s, 9), 53);
    uint8_t header[VSOCK_PACKET_HEADER_LEN];
    vsock_iov_read(iov, 3, header, sizeof(header));
    vsock_packet_parse(header, &got);
    ck_assert_uint_eq(got.len, 9);
    ck_assert_uint_eq(got.op, VSOCK_OP_RW);
}
END_TEST

START_TEST(vsock_core_without_output_leaves_the_buffer)
{
    struct iovec iov = {chain, CHAIN_LEN};
    struct vsock_send s;
    ck_assert_int_eq(vsock_core_next(core, &iov, 1, &s, NULL), ADIT_OK);
    ck_assert_int_eq(s.kind, VSOCK_SEND_NOTHING);
}
END_TEST

START_TEST(vsock_core_early_bytes_wait_for_the_answer)
{
    uint32_t id = open_one();
    vsock_core_readable(core, id);
    expect_op(VSOCK_OP_REQUEST);
    expect_silence();
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_op(VSOCK_OP_RW);
}
END_TEST

/* ---- ends
 * ----------------------------------------------------------------------------------------------------
 */

START_TEST(vsock_core_host_end_leaves_the_other_direction)
{
    uint32_t id = connect_one();
    vsock_core_readable(core, id);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_SEND);
    expect_silence();
    ck_assert(!vsock_core_status(core, id).is_read_wanted);
    feed_data(id, 1000, 1000);
    /* The guest ends the rest. */
    feed_shutdown(id, VSOCK_SHUT_SEND);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_BOTH);
    feed_op(id, VSOCK_OP_RST);
    expect_silence();
    ck_assert_int_eq(vsock_core_wait_ms(core), -1);
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_guest_end_reaches_the_host_after_its_bytes)
{
    uint32_t id = connect_one();
    feed_data(id, 1000, 100);
    feed_shutdown(id, VSOCK_SHUT_SEND);
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert(!vsock_core_status(core, id).is_write_shut);
    vsock_core_drained(core, id, 900);
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert(vsock_core_status(core, id).is_write_shut);
    ck_assert_int_eq(vsock_core_status(core, id).phase, VSOCK_OPEN);
    vsock_core_readable(core, id);
    expect_op(VSOCK_OP_RW);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_BOTH);
}
END_TEST

START_TEST(vsock_core_guest_end_with_the_last_write_is_reported)
{
    uint32_t id = connect_one();
    feed_shutdown(id, VSOCK_SHUT_SEND);
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert(vsock_core_status(core, id).is_write_shut);
}
END_TEST

START_TEST(vsock_core_guest_that_does_not_receive_stops_the_host)
{
    uint32_t id = connect_one();
    vsock_core_readable(core, id);
    feed_shutdown(id, VSOCK_SHUT_RCV);
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert(vsock_core_status(core, id).is_read_shut);
    ck_assert(!vsock_core_status(core, id).is_read_wanted);
    expect_silence();
    feed_data(id, 10, 10);
    vsock_core_host_shut(core, id, VSOCK_SHUT_RCV);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_BOTH);
}
END_TEST

START_TEST(vsock_core_guest_that_closes_is_confirmed)
{
    uint32_t id = connect_one();
    feed_shutdown(id, VSOCK_SHUT_BOTH);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_RST);
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_guest_that_closes_loses_no_byte)
{
    uint32_t id = connect_one();
    feed_data(id, 1000, 100);
    vsock_core_readable(core, id);
    feed_shutdown(id, VSOCK_SHUT_BOTH);
    expect_changed(id, VSOCK_FLUSHING, VSOCK_END_CLOSED);
    ck_assert(vsock_core_status(core, id).is_write_wanted);
    expect_op(VSOCK_OP_RST); /* at once */
    expect_silence();
    feed_op(id, VSOCK_OP_RW); /* no connection of the guest's any more */
    expect_op(VSOCK_OP_RST);
    vsock_core_drained(core, id, 400);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
    vsock_core_drained(core, id, 500);
    expect_over(id, VSOCK_END_CLOSED);
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_guest_that_resets_loses_no_byte)
{
    uint32_t id = connect_one();
    feed_data(id, 1000, 0);
    feed_op(id, VSOCK_OP_RST);
    expect_changed(id, VSOCK_FLUSHING, VSOCK_END_CLOSED);
    vsock_core_drained(core, id, 1000);
    expect_over(id, VSOCK_END_CLOSED);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_flushing_ends_with_its_host)
{
    uint32_t id = connect_one(), other = connect_one();
    feed_data(id, 1000, 0);
    feed_data(other, 1000, 0);
    feed_shutdown(id, VSOCK_SHUT_BOTH);
    feed_op(other, VSOCK_OP_RST);
    expect_changed(id, VSOCK_FLUSHING, VSOCK_END_CLOSED);
    expect_changed(other, VSOCK_FLUSHING, VSOCK_END_CLOSED);
    vsock_core_host_shut(core, id, VSOCK_SHUT_BOTH);
    expect_over(id, VSOCK_END_CLOSED);
    vsock_core_forget(core, other);
    expect_op(VSOCK_OP_RST); /* of the one that closed */
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_host_that_does_not_receive_is_said_to_the_guest)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = 1000;
    feed_data(id, 1000, 0);
    feed(p);
    vsock_core_host_shut(core, id, VSOCK_SHUT_RCV);
    ck_assert_uint_eq(kept_len(id), 0);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_RCV);
    ck_assert_uint_eq(got.fwd_cnt, 2000);
    /* What was under way goes nowhere. */
    for (unsigned i = 0; i < 1000; i++) {
        feed(p);
        ck_assert_uint_eq(payload.len, 0);
    }
    expect_silence();
    ck_assert_int_eq(vsock_core_status(core, id).phase, VSOCK_OPEN);
    vsock_core_readable(core, id);
    expect_op(VSOCK_OP_RW); /* the other direction lives */
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_over(id, VSOCK_END_CLOSED);
}
END_TEST

START_TEST(vsock_core_host_that_fails_during_a_write)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = 1000;
    feed(p);
    vsock_core_host_shut(core, id, VSOCK_SHUT_BOTH);
    vsock_core_wrote(core, &payload, 0);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_BOTH);
    id = connect_one();
    p = packet(id, VSOCK_OP_RW);
    p.len = 1000;
    feed(p);
    vsock_core_host_shut(core, id, VSOCK_SHUT_RCV);
    vsock_core_wrote(core, &payload, 0);
    ck_assert_uint_eq(kept_len(id), 0);
}
END_TEST

START_TEST(vsock_core_host_that_closes_before_the_answer)
{
    uint32_t id = open_one();
    expect_op(VSOCK_OP_REQUEST);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_silence();
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, VSOCK_SHUT_SEND);
    uint32_t gone = open_one();
    expect_op(VSOCK_OP_REQUEST);
    vsock_core_forget(core, gone);
    expect_op(VSOCK_OP_RST);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_guest_that_does_not_confirm_is_reset)
{
    uint32_t id = connect_one();
    vsock_core_host_shut(core, id, VSOCK_SHUT_BOTH);
    expect_over(id, VSOCK_END_CLOSED);
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_int_eq(vsock_core_wait_ms(core), VSOCK_ANSWER_TIMEOUT_MS);
    feed_op(id, VSOCK_OP_CREDIT_REQUEST);
    feed_shutdown(id, VSOCK_SHUT_SEND);
    expect_silence();
    vsock_core_tick(core, now_ms + VSOCK_ANSWER_TIMEOUT_MS);
    expect_op(VSOCK_OP_RST);
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_both_sides_close_at_once)
{
    uint32_t id = connect_one();
    vsock_core_host_shut(core, id, VSOCK_SHUT_BOTH);
    feed_shutdown(id, VSOCK_SHUT_BOTH);
    expect_op(VSOCK_OP_RST);
    expect_over(id, VSOCK_END_CLOSED);
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_forgetting_resets)
{
    uint32_t id = connect_one();
    feed_data(id, 100, 0);
    vsock_core_readable(core, id);
    vsock_core_forget(core, id);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
    expect_op(VSOCK_OP_RST);
    expect_silence();
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_reset_ends_all_and_says_nothing)
{
    uint32_t connecting = open_one(), open, flushing, closing;
    expect_op(VSOCK_OP_REQUEST);
    open = connect_one();
    flushing = connect_one();
    closing = connect_one();
    feed_data(flushing, 10, 0);
    feed_shutdown(flushing, VSOCK_SHUT_BOTH);
    vsock_core_host_shut(core, closing, VSOCK_SHUT_BOTH);
    vsock_core_forget(core, closing);
    vsock_core_readable(core, open);
    struct vsock_packet p = packet(open, VSOCK_OP_RW);
    p.dst_port = 1;
    feed(p);
    vsock_core_reset(core);
    expect_silence();
    ck_assert_int_eq(vsock_core_wait_ms(core), -1);
    expect_changed(flushing, VSOCK_OVER, VSOCK_END_RESET);
    expect_changed(connecting, VSOCK_OVER, VSOCK_END_RESET);
    expect_changed(open, VSOCK_OVER, VSOCK_END_RESET);
    vsock_core_forget(core, connecting);
    vsock_core_forget(core, open);
    vsock_core_forget(core, flushing);
    expect_all_free();
}
END_TEST

/* ---- what a hostile guest does
 * ----------------------------------------------------------------------------------- */

START_TEST(vsock_core_broken_packet_ends_the_device)
{
    uint8_t bytes[VSOCK_PACKET_HEADER_LEN + 10] = {0};
    struct iovec iov = {bytes, VSOCK_PACKET_HEADER_LEN - 1};
    struct vsock_packet p = packet(0, VSOCK_OP_RW);
    ck_assert_int_eq(vsock_core_feed(core, &iov, 1, &payload, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, "a packet of 43 bytes has no header");
    p.len = 11;
    vsock_packet_format(&p, bytes);
    iov.iov_len = sizeof(bytes);
    err = (struct adit_err)ADIT_ERR_INIT;
    ck_assert_int_eq(vsock_core_feed(core, &iov, 1, &payload, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, "a packet says 11 bytes in a buffer for 10, at most 65536");
    p.len = UINT32_MAX;
    vsock_packet_format(&p, bytes);
    ck_assert_int_eq(vsock_core_feed(core, &iov, 1, &payload, NULL), ADIT_ERR_PROTOCOL);
    p.len = 65537;
    vsock_packet_format(&p, bytes);
    struct iovec large[] = {{bytes, VSOCK_PACKET_HEADER_LEN}, {chain, 40000}, {chain, 40000}};
    ck_assert_int_eq(vsock_core_feed(core, large, 3, &payload, NULL), ADIT_ERR_PROTOCOL);
    struct iovec many[257];
    for (unsigned i = 0; i < 257; i++)
        many[i] = (struct iovec){chain, 1};
    ck_assert_int_eq(vsock_core_feed(core, many, 257, &payload, NULL), ADIT_ERR_PROTOCOL);
    ck_assert_uint_eq(vsock_core_counters(core)->packets_from_guest, 0);
}
END_TEST

START_TEST(vsock_core_receive_buffer_without_room_ends_the_device)
{
    struct iovec iov = {chain, VSOCK_PACKET_HEADER_LEN};
    struct vsock_send s;
    err = (struct adit_err)ADIT_ERR_INIT;
    ck_assert_int_eq(vsock_core_next(core, &iov, 1, &s, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, "a receive buffer without room for a byte");
    iov.iov_len++;
    (void)open_one();
    ck_assert(receive_in(VSOCK_PACKET_HEADER_LEN + 1));
}
END_TEST

START_TEST(vsock_core_ignores_foreign_addresses)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_RST);
    p.src_cid = GUEST_CID + 1;
    feed(p);
    p = packet(id, VSOCK_OP_RST);
    p.src_cid = VSOCK_CID_HOST;
    feed(p);
    p = packet(id, VSOCK_OP_RST);
    p.dst_cid = GUEST_CID;
    feed(p);
    p.dst_cid = UINT64_MAX;
    feed(p);
    expect_silence();
    ck_assert_int_eq(vsock_core_status(core, id).phase, VSOCK_OPEN);
    ck_assert_uint_eq(vsock_core_counters(core)->foreign, 4);
}
END_TEST

/* A packet that names no connection is answered by a reset, unless it is one. */
static void expect_stray(struct vsock_packet p)
{
    feed(p);
    ck_assert_uint_eq(payload.len, 0);
    if (p.op != VSOCK_OP_RST) {
        expect_op(VSOCK_OP_RST);
        ck_assert_uint_eq(got.src_port, p.dst_port);
        ck_assert_uint_eq(got.dst_port, p.src_port);
        ck_assert_uint_eq(got.type, p.type);
    }
    expect_silence();
}

START_TEST(vsock_core_resets_what_belongs_to_no_connection)
{
    uint32_t id = connect_one();
    for (uint16_t op = 0; op < 10; op++) {
        struct vsock_packet p = packet(id, op);
        p.dst_port += VSOCK_CONNS_MAX; /* the same slot, another use of it */
        expect_stray(p);
        p = packet(id, op);
        p.src_port++;
        expect_stray(p);
        p = packet(id, op);
        p.type = 2;
        p.len = 100;
        expect_stray(p);
        p = packet(id + 1, op); /* a free slot */
        expect_stray(p);
        p.dst_port = p.src_port = UINT32_MAX;
        expect_stray(p);
    }
    ck_assert_int_eq(vsock_core_status(core, id).phase, VSOCK_OPEN);
    ck_assert_uint_eq(vsock_core_counters(core)->strays, 9 * 5);
}
END_TEST

START_TEST(vsock_core_guest_may_not_open)
{
    struct vsock_packet p = packet(0, VSOCK_OP_REQUEST);
    p.dst_port = 1024;
    p.src_port = 5000;
    expect_stray(p);
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_flood_of_strays_is_bounded)
{
    struct vsock_packet p = packet(0, VSOCK_OP_REQUEST);
    for (unsigned i = 0; i < 100000; i++) {
        p.src_port = i;
        if (feed_packet(p) != ADIT_OK)
            ck_abort();
    }
    for (unsigned i = 0; i < VSOCK_STRAY_MAX; i++) {
        expect_op(VSOCK_OP_RST);
        ck_assert_uint_eq(got.dst_port, i);
    }
    expect_silence();
    ck_assert_uint_eq(vsock_core_counters(core)->strays, 100000);
    ck_assert_uint_eq(vsock_core_counters(core)->strays_dropped, 100000 - VSOCK_STRAY_MAX);
    expect_stray(p);
}
END_TEST

START_TEST(vsock_core_breach_resets_that_connection_alone)
{
    uint32_t id = connect_one(), other = connect_one(), connecting = open_one();
    expect_op(VSOCK_OP_REQUEST);
    feed_data(id, 100, 0);
    vsock_core_readable(core, id);
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_over(id, VSOCK_END_BREACH);
    expect_op(VSOCK_OP_RST);
    feed_op(connecting, VSOCK_OP_CREDIT_UPDATE);
    expect_over(connecting, VSOCK_END_BREACH);
    expect_op(VSOCK_OP_RST);
    ck_assert_int_eq(vsock_core_status(core, other).phase, VSOCK_OPEN);
    expect_silence();
}
END_TEST

START_TEST(vsock_core_resets_in_every_state_free_the_slot)
{
    for (unsigned state = 0; state < 5; state++) {
        uint32_t id = state == 0 ? open_one() : connect_one();
        if (state == 2)
            feed_data(id, 10, 0);
        if (state == 3)
            vsock_core_host_shut(core, id, VSOCK_SHUT_BOTH);
        if (state == 4)
            feed_op(id, VSOCK_OP_REQUEST);
        feed_op(id, VSOCK_OP_RST);
        feed_op(id, VSOCK_OP_RST);
        vsock_core_forget(core, id);
        while (receive())
            ;
    }
    ck_assert_int_eq(vsock_core_wait_ms(core), -1);
    expect_all_free();
}
END_TEST

START_TEST(vsock_core_guest_that_never_reads_keeps_nothing_growing)
{
    /* Everything that there is to say stays pending, once. */
    uint32_t id = connect_one();
    for (unsigned i = 0; i < 1000; i++) {
        feed_op(id, VSOCK_OP_CREDIT_REQUEST);
        feed_data(id, 65536, 65536);
    }
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_changed(id, VSOCK_OPEN, VSOCK_END_NONE);
    expect_op(VSOCK_OP_SHUTDOWN);
    expect_silence();
    for (unsigned i = 0; i < 2 * VSOCK_CONNS_MAX; i++) { /* requests that it does not answer */
        ck_assert_int_eq(vsock_core_open(core, PORT, &id, NULL), ADIT_OK);
        if (i % 2)
            vsock_core_forget(core, id);
        else
            vsock_core_tick(core, now_ms += VSOCK_ANSWER_TIMEOUT_MS);
        if (i % 2 == 0)
            expect_over(id, VSOCK_END_TIMEOUT);
    }
    expect_silence();
}
END_TEST

/* ---- whose turn
 * -------------------------------------------------------------------------------------------------
 */

/* Packets of data until one of connection @id, which counts; others' credit is renewed. */
static unsigned packets_until(uint32_t id)
{
    for (unsigned n = 1; n < 1000; n++) {
        ck_assert(receive());
        ck_assert_uint_eq(got.op, VSOCK_OP_RW);
        if (got.src_port == vsock_core_host_port(core, id))
            return n;
    }
    return 0;
}

static uint32_t connect_with_credit(void)
{
    uint32_t id = connect_one();
    struct vsock_packet p = packet(id, VSOCK_OP_CREDIT_UPDATE);
    p.buf_alloc = UINT32_MAX;
    feed(p);
    return id;
}

static unsigned share[VSOCK_CONNS_MAX];

static void count_bytes(unsigned packets)
{
    memset(share, 0, sizeof(share));
    for (unsigned i = 0; i < packets; i++) {
        ck_assert(receive());
        share[got.src_port & (VSOCK_CONNS_MAX - 1)] += got.len;
    }
}

START_TEST(vsock_core_bulk_connections_share_alike)
{
    for (uint32_t i = 0; i < 10; i++)
        vsock_core_readable(core, connect_with_credit());
    count_bytes(10 * 4 * 25);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_uint_ge(share[i], 24 * VSOCK_QUANTUM);
        ck_assert_uint_le(share[i], 26 * VSOCK_QUANTUM);
    }
}
END_TEST

START_TEST(vsock_core_fresh_bytes_go_before_bulk)
{
    uint32_t small;
    for (uint32_t i = 0; i < 50; i++)
        vsock_core_readable(core, connect_with_credit());
    count_bytes(2 * 50 * 4 + 2); /* all are bulk now, one amid its turn */
    small = connect_with_credit();
    for (unsigned i = 0; i < 20; i++) {
        host_has = SIZE_MAX;
        vsock_core_readable(core, small);
        ck_assert_uint_le(packets_until(small), 2);
        vsock_core_unreadable(core, small);
        ck_assert(vsock_core_status(core, small).is_read_wanted);
    }
}
END_TEST

START_TEST(vsock_core_control_goes_before_bytes)
{
    uint32_t id = connect_with_credit(), bulk = connect_with_credit();
    vsock_core_readable(core, bulk);
    count_bytes(10);
    vsock_core_forget(core, id);
    (void)open_one();
    feed_op(bulk, VSOCK_OP_CREDIT_REQUEST);
    expect_op(VSOCK_OP_RST);
    expect_op(VSOCK_OP_REQUEST);
    expect_op(VSOCK_OP_CREDIT_UPDATE);
    expect_op(VSOCK_OP_RW);
}
END_TEST

START_TEST(vsock_core_many_small_ones_do_not_stop_a_transfer)
{
    uint32_t bulk = connect_with_credit(), ids[20];
    vsock_core_readable(core, bulk);
    count_bytes(10);
    for (unsigned i = 0; i < 20; i++)
        ids[i] = connect_with_credit();
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 20; i++) {
            vsock_core_unreadable(core, ids[i]);
            vsock_core_readable(core, ids[i]);
        }
        unsigned until = packets_until(bulk);
        ck_assert(until > 0 && until <= VSOCK_FRESH_RUN + 1);
    }
}
END_TEST

START_TEST(vsock_core_one_alone_sends_large_packets)
{
    uint32_t id = connect_with_credit();
    vsock_core_readable(core, id);
    ck_assert(receive_in(sizeof(chain)));
    ck_assert_uint_eq(got.len, VSOCK_QUANTUM); /* fresh */
    ck_assert(receive_in(sizeof(chain)));
    ck_assert_uint_eq(got.len, VSOCK_PACKET_PAYLOAD_MAX);
    vsock_core_readable(core, connect_with_credit());
    ck_assert(receive_in(sizeof(chain)));
    ck_assert_uint_le(got.len, VSOCK_QUANTUM);
}
END_TEST

/* ---- no memory
 * ------------------------------------------------------------------------------------------------------
 */

START_TEST(vsock_core_without_memory_resets_that_connection)
{
    struct vsock_core *none;
    uint32_t id = connect_one(), other = connect_one();
    if (!FAILING_MALLOC) {
        suite_skip("vsock_core_without_memory_resets_that_connection", FAILING_MALLOC_NEEDS);
        return;
    }
    failing_malloc.countdown = 1;
    ck_assert_int_eq(vsock_core_new(GUEST_CID, 0, &none, NULL), ADIT_ERR_NO_MEMORY);
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = 100;
    feed(p);
    failing_malloc.countdown = 1;
    vsock_core_wrote(core, &payload, 99);
    failing_malloc.countdown = 0;
    expect_over(id, VSOCK_END_MEMORY);
    expect_op(VSOCK_OP_RST);
    feed_data(other, 100, 99);
    ck_assert_uint_eq(kept_len(other), 1);
}
END_TEST

START_TEST(vsock_core_allocates_only_to_keep_and_keeps_one_buffer)
{
    uint32_t id = connect_one(), other = connect_one();
    long before = failing_malloc.live;
    if (!FAILING_MALLOC) {
        suite_skip("vsock_core_allocates_only_to_keep_and_keeps_one_buffer", FAILING_MALLOC_NEEDS);
        return;
    }
    feed_data(id, 1000, 1000);
    vsock_core_readable(core, id);
    (void)receive();
    ck_assert_int_eq(failing_malloc.live, before);
    feed_data(id, 1000, 1);
    feed_data(other, 1000, 1);
    ck_assert_int_eq(failing_malloc.live, before + 2);
    vsock_core_drained(core, id, 999);
    vsock_core_drained(core, other, 999);
    ck_assert_int_eq(failing_malloc.live, before + 1);
    feed_data(id, 1000, 1);
    ck_assert_int_eq(failing_malloc.live, before + 1);
}
END_TEST

SUITE_MAIN_WITH(
    "vsock_core", .fixtures = {{setup, teardown}},
    TESTS(vsock_core_connects, vsock_core_reports_a_refusal,
          vsock_core_gives_up_a_request_without_answer, vsock_core_timeouts_are_late_at_once,
          vsock_core_request_that_was_never_sent_is_forgotten,
          vsock_core_holds_so_many_and_refuses_the_next,
          vsock_core_reuses_a_port_after_the_whole_space,
          vsock_core_takes_the_slot_that_was_free_longest, vsock_core_ports_depend_on_the_seed,
          vsock_core_hands_the_guests_bytes_to_the_host,
          vsock_core_updates_credit_when_half_was_used, vsock_core_any_packet_is_an_update,
          vsock_core_answers_a_question_for_credit_once,
          vsock_core_keeps_what_the_host_does_not_take,
          vsock_core_host_that_does_not_read_bounds_its_guest,
          vsock_core_sends_within_the_guests_credit, vsock_core_fills_scattered_buffers,
          vsock_core_without_output_leaves_the_buffer, vsock_core_early_bytes_wait_for_the_answer,
          vsock_core_host_end_leaves_the_other_direction,
          vsock_core_guest_end_reaches_the_host_after_its_bytes,
          vsock_core_guest_end_with_the_last_write_is_reported,
          vsock_core_guest_that_does_not_receive_stops_the_host,
          vsock_core_guest_that_closes_is_confirmed, vsock_core_guest_that_closes_loses_no_byte,
          vsock_core_guest_that_resets_loses_no_byte, vsock_core_flushing_ends_with_its_host,
          vsock_core_host_that_does_not_receive_is_said_to_the_guest,
          vsock_core_host_that_fails_during_a_write, vsock_core_host_that_closes_before_the_answer,
          vsock_core_guest_that_does_not_confirm_is_reset, vsock_core_both_sides_close_at_once,
          vsock_core_forgetting_resets, vsock_core_reset_ends_all_and_says_nothing,
          vsock_core_broken_packet_ends_the_device,
          vsock_core_receive_buffer_without_room_ends_the_device,
          vsock_core_ignores_foreign_addresses, vsock_core_resets_what_belongs_to_no_connection,
          vsock_core_guest_may_not_open, vsock_core_flood_of_strays_is_bounded,
          vsock_core_breach_resets_that_connection_alone,
          vsock_core_resets_in_every_state_free_the_slot,
          vsock_core_guest_that_never_reads_keeps_nothing_growing,
          vsock_core_bulk_connections_share_alike, vsock_core_fresh_bytes_go_before_bulk,
          vsock_core_control_goes_before_bytes, vsock_core_many_small_ones_do_not_stop_a_transfer,
          vsock_core_one_alone_sends_large_packets,
          vsock_core_without_memory_resets_that_connection,
          vsock_core_allocates_only_to_keep_and_keeps_one_buffer))
