/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is to send to the guest. */
#include "tests/unit/vsock-device/vsock_peers.h"

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

SUITE_MAIN_WITH("vsock_output", .fixtures = {{setup, teardown}},
                TESTS(vsock_core_bulk_connections_share_alike,
                      vsock_core_fresh_bytes_go_before_bulk, vsock_core_control_goes_before_bytes,
                      vsock_core_many_small_ones_do_not_stop_a_transfer,
                      vsock_core_one_alone_sends_large_packets))
