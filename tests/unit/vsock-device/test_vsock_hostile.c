/* SPDX-License-Identifier: Apache-2.0 */
/* The device's core and a guest that keeps no rule: what ends, what is ignored, what stays bounded.
 */
#include "tests/unit/vsock-device/vsock_peers.h"
#include "vsock-device/vring.h"

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
    struct iovec many[VRING_SIZE_MAX + 1];
    for (unsigned i = 0; i <= VRING_SIZE_MAX; i++)
        many[i] = (struct iovec){chain, 1};
    ck_assert_int_eq(vsock_core_feed(core, many, VRING_SIZE_MAX + 1, &payload, NULL),
                     ADIT_ERR_PROTOCOL);
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

SUITE_MAIN_WITH("vsock_hostile", .fixtures = {{setup, teardown}},
                TESTS(vsock_core_broken_packet_ends_the_device,
                      vsock_core_receive_buffer_without_room_ends_the_device,
                      vsock_core_ignores_foreign_addresses,
                      vsock_core_resets_what_belongs_to_no_connection,
                      vsock_core_guest_may_not_open, vsock_core_flood_of_strays_is_bounded,
                      vsock_core_breach_resets_that_connection_alone,
                      vsock_core_resets_in_every_state_free_the_slot,
                      vsock_core_guest_that_never_reads_keeps_nothing_growing))
