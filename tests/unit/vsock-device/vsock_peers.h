/* SPDX-License-Identifier: Apache-2.0 */
/* A guest and host sockets around the vsock core, played by a test. */
#ifndef ADIT_TESTS_UNIT_VSOCK_DEVICE_VSOCK_PEERS_H
#define ADIT_TESTS_UNIT_VSOCK_DEVICE_VSOCK_PEERS_H

#include "tests/unit/suite.h"

#include "vsock-device/vsock_core.h"

#define GUEST_CID 7u
#define PORT 49983u
#define CHAIN_LEN 4140u /* 44 bytes and a page, as Linux offers */

static struct vsock_core *core;
static uint64_t now_ms = 1000;

static inline void setup(void)
{
    ck_assert_int_eq(vsock_core_new(GUEST_CID, 5, &core, NULL), ADIT_OK);
    vsock_core_tick(core, now_ms);
}

static inline void teardown(void)
{
    vsock_core_free(core);
}

/* ---- the guest's side ---------------------------------------------------------------------- */

static uint8_t chain[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];
static struct vsock_packet got; /* the packet that the guest received last */
static uint8_t *const got_bytes = chain + VSOCK_PACKET_HEADER_LEN;

/* What the host socket has to read, for every connection alike; 0: its end. */
static size_t host_has = SIZE_MAX;

/* Offer a receive buffer of @len bytes. Return: whether a packet came. */
static inline bool receive_in(size_t len)
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

static inline bool receive(void)
{
    return receive_in(CHAIN_LEN);
}

static inline void expect_op(uint16_t op)
{
    ck_assert(receive());
    ck_assert_uint_eq(got.op, op);
}

static inline void expect_shutdown(uint32_t flags)
{
    expect_op(VSOCK_OP_SHUTDOWN);
    ck_assert_uint_eq(got.flags, flags);
}

static inline void expect_silence(void)
{
    ck_assert_msg(!receive(), "a packet of op %u", got.op);
}

static struct vsock_payload payload;
static struct adit_err err;

static inline int feed_packet(struct vsock_packet p)
{
    static uint8_t bytes[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];
    struct iovec iov[] = {{bytes, 20}, {bytes + 20, 24 + p.len}};
    vsock_packet_format(&p, bytes);
    memset(bytes + VSOCK_PACKET_HEADER_LEN, 'g', p.len);
    err = (struct adit_err)ADIT_ERR_INIT;
    return vsock_core_feed(core, iov, 2, &payload, &err);
}

/* A packet of the guest on connection @id. */
static inline struct vsock_packet packet(uint32_t id, uint16_t op)
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

static inline void feed(struct vsock_packet p)
{
    ck_assert_int_eq(feed_packet(p), ADIT_OK);
}

static inline void feed_op(uint32_t id, uint16_t op)
{
    feed(packet(id, op));
    ck_assert_uint_eq(payload.len, 0);
}

static inline void feed_shutdown(uint32_t id, uint32_t flags)
{
    struct vsock_packet p = packet(id, VSOCK_OP_SHUTDOWN);
    p.flags = flags;
    feed(p);
}

/* Data of the guest, of which the host takes @takes. */
static inline void feed_data(uint32_t id, uint32_t len, size_t takes)
{
    struct vsock_packet p = packet(id, VSOCK_OP_RW);
    p.len = len;
    feed(p);
    ck_assert_uint_eq(payload.len, len);
    vsock_core_wrote(core, &payload, takes);
}

/* ---- the host's side ----------------------------------------------------------------------- */

static inline uint32_t open_one(void)
{
    uint32_t id;
    ck_assert_int_eq(vsock_core_open(core, PORT, &id, NULL), ADIT_OK);
    return id;
}

static inline void expect_changed(uint32_t id, enum vsock_phase phase, enum vsock_end end)
{
    ck_assert_uint_eq(vsock_core_changed(core), id);
    ck_assert_int_eq(vsock_core_status(core, id).phase, phase);
    ck_assert_int_eq(vsock_core_status(core, id).end, end);
}

static inline void expect_over(uint32_t id, enum vsock_end end)
{
    expect_changed(id, VSOCK_OVER, end);
    vsock_core_forget(core, id);
    ck_assert_uint_eq(vsock_core_changed(core), VSOCK_NONE);
}

static inline uint32_t connect_one(void)
{
    uint32_t id = open_one();
    expect_op(VSOCK_OP_REQUEST);
    feed_op(id, VSOCK_OP_RESPONSE);
    expect_changed(id, VSOCK_OPEN, VSOCK_END_NONE);
    return id;
}

static inline size_t kept_len(uint32_t id)
{
    struct iovec iov[2];
    unsigned cnt = vsock_core_kept(core, id, iov);
    return cnt == 0 ? 0 : iov[0].iov_len + (cnt > 1 ? iov[1].iov_len : 0);
}

/* All slots are free: as many connections as there may be can be opened. */
static inline void expect_all_free(void)
{
    uint32_t id;
    for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
        if (vsock_core_open(core, PORT, &id, NULL) != ADIT_OK)
            ck_abort_msg("only %u connections are free", i);
}

#endif
