/* SPDX-License-Identifier: Apache-2.0 */
/* The device's core: connections from their request to their end, and their bytes. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/vsock-device/vsock_peers.h"

/* ---- opening ------------------------------------------------------------------------------- */

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

/* ---- bytes --------------------------------------------------------------------------------- */

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

START_TEST(vsock_core_says_all_that_it_has_to_say)
{
    uint32_t id = connect_one(), other = connect_one();
    vsock_core_readable(core, id);
    for (unsigned i = 0; i < 64; i++)
        expect_op(VSOCK_OP_RW); /* all of the guest's credit */
    vsock_core_host_shut(core, id, VSOCK_SHUT_RCV);
    feed_op(other, VSOCK_OP_CREDIT_REQUEST);
    expect_op(VSOCK_OP_SHUTDOWN);
    expect_op(VSOCK_OP_CREDIT_UPDATE);
    expect_op(VSOCK_OP_CREDIT_REQUEST);
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

/* ---- ends ---------------------------------------------------------------------------------- */

START_TEST(vsock_core_host_end_leaves_the_other_direction)
{
    uint32_t id = connect_one();
    vsock_core_readable(core, id);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    vsock_core_host_shut(core, id, VSOCK_SHUT_SEND);
    expect_shutdown(VSOCK_SHUT_SEND);
    expect_silence();
    ck_assert(!vsock_core_status(core, id).is_read_wanted);
    feed_data(id, 1000, 1000);
    /* The guest ends the rest. */
    feed_shutdown(id, VSOCK_SHUT_SEND);
    expect_over(id, VSOCK_END_CLOSED);
    expect_shutdown(VSOCK_SHUT_BOTH);
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
    expect_shutdown(VSOCK_SHUT_BOTH);
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
    expect_shutdown(VSOCK_SHUT_BOTH);
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
    expect_shutdown(VSOCK_SHUT_RCV);
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
    expect_shutdown(VSOCK_SHUT_BOTH);
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
    expect_shutdown(VSOCK_SHUT_SEND);
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

/* ---- no memory ----------------------------------------------------------------------------- */

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

START_TEST(vsock_core_keeps_for_so_many_and_resets_the_next)
{
    uint32_t ids[VSOCK_KEPT_MAX], next = connect_one();
    for (unsigned i = 0; i < VSOCK_KEPT_MAX; i++) {
        ids[i] = connect_one();
        feed_data(ids[i], 10, 0);
        expect_changed(ids[i], VSOCK_OPEN, VSOCK_END_NONE);
    }
    feed_data(next, 10, 10);
    feed_data(next, 10, 9);
    expect_over(next, VSOCK_END_MEMORY);
    expect_op(VSOCK_OP_RST);
    vsock_core_drained(core, ids[7], 10);
    expect_changed(ids[7], VSOCK_OPEN, VSOCK_END_NONE);
    feed_data(ids[7], 10, 1);
    ck_assert_uint_eq(kept_len(ids[7]), 9);
    /* One that ends makes room too. */
    vsock_core_forget(core, ids[8]);
    expect_op(VSOCK_OP_RST);
    ck_assert_uint_eq(vsock_core_changed(core), ids[7]);
    next = connect_one();
    feed_data(next, 10, 0);
    ck_assert_uint_eq(kept_len(next), 10);
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
          vsock_core_answers_a_question_for_credit_once, vsock_core_says_all_that_it_has_to_say,
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
          vsock_core_without_memory_resets_that_connection,
          vsock_core_keeps_for_so_many_and_resets_the_next,
          vsock_core_allocates_only_to_keep_and_keeps_one_buffer))
