/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock core between a guest and host sockets that the input plays, two bytes and their
 * operands an act. A model of both sides, in 64 bits, goes along. Oracles: the host gets the
 * guest's bytes in order, each once; what is kept stays within the credit given; the guest is never
 * sent more than it has room for and never told of room that is not there; use of bytes that were
 * not sent ends the connection; when all is over and read, nothing is left: every slot is free, no
 * timer runs.
 */
#include "tests/fuzz/oracle.h"

#include <string.h>

#include "vsock-device/vsock_core.h"

#define GUEST_CID 3u
#define RECENT 8u     /* an act is for one of the connections opened last */
#define ACTS_MAX 300u /* how long an input plays */

enum act {
    ACT_OPEN,
    ACT_GUEST,  /* a packet for a connection */
    ACT_RAW,    /* any header */
    ACT_BUFFER, /* receive buffers */
    ACT_READABLE,
    ACT_DRAIN,
    ACT_SHUT,
    ACT_FORGET,
    ACT_TICK,
    ACT_CUT, /* a packet in pieces, maybe too short */
    ACT_RESET,
    ACT_CNT
};

/*
 * @is_used: the I/O side knows it
 * @is_told: the guest has its request
 */
struct side {
    bool is_used, is_told, is_deaf;
    uint32_t port, host_port;
    uint64_t from_guest, to_host;              /* bytes */
    uint64_t to_guest, guest_used, guest_room; /* room: its last buf_alloc */
};

static struct vsock_core *core;
static struct side sides[VSOCK_CONNS_MAX];
static uint32_t last_id;
static uint64_t now_ms;
static const uint8_t *in;
static size_t in_len;
static uint8_t chain[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];

static uint32_t take(unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v = v << 8 | (in_len ? *in : 0);
        in += in_len > 0;
        in_len -= in_len > 0;
    }
    return v;
}

/* The guest's bytes: byte i of a connection is (uint8_t)i. */
static const uint8_t *bytes_from(uint64_t i)
{
    static uint8_t bytes[256 + VSOCK_BUF_ALLOC];
    if (bytes[1] == 0)
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (uint8_t)k;
    return bytes + i % 256;
}

/* ---- the host ------------------------------------------------------------------------------ */

static void host_gets(struct side *s, const struct iovec *iov, unsigned cnt, size_t n)
{
    for (unsigned i = 0; i < cnt && n > 0; i++) {
        size_t part = iov[i].iov_len < n ? iov[i].iov_len : n;
        ORACLE(memcmp(iov[i].iov_base, bytes_from(s->to_host), part) == 0);
        s->to_host += part;
        n -= part;
    }
    ORACLE(n == 0 && s->to_host <= s->from_guest);
}

static size_t kept_len(uint32_t id)
{
    struct iovec iov[2];
    unsigned cnt = vsock_core_kept(core, id, iov);
    size_t len = cnt > 0 ? iov[0].iov_len + (cnt > 1 ? iov[1].iov_len : 0) : 0;
    ORACLE(len <= VSOCK_BUF_ALLOC);
    return len;
}

static void drain(uint32_t id, size_t n)
{
    struct iovec iov[2];
    size_t len = kept_len(id);
    unsigned cnt = vsock_core_kept(core, id, iov);
    n = n < len ? n : len;
    host_gets(&sides[id], iov, cnt, n);
    if (n > 0)
        vsock_core_drained(core, id, n);
}

static void act_on_changes(void)
{
    uint32_t id;
    while ((id = vsock_core_changed(core)) != VSOCK_NONE) {
        struct vsock_status st = vsock_core_status(core, id);
        ORACLE(sides[id].is_used);
        ORACLE(st.is_write_wanted == (kept_len(id) > 0));
        ORACLE((st.end == VSOCK_END_NONE) ==
               (st.phase == VSOCK_CONNECTING || st.phase == VSOCK_OPEN));
        if (st.phase != VSOCK_OVER)
            continue;
        sides[id].is_used = false;
        vsock_core_forget(core, id);
    }
}

static void open_one(uint32_t port)
{
    uint32_t id;
    if (vsock_core_open(core, port, &id, NULL) != ADIT_OK)
        return;
    ORACLE(id < VSOCK_CONNS_MAX && !sides[id].is_used);
    last_id = id;
    sides[id] =
        (struct side){.is_used = true, .port = port, .host_port = vsock_core_host_port(core, id)};
}

/* ---- the guest ----------------------------------------------------------------------------- */

/* What a packet of the connection says about credit. Return: it claims bytes that were not sent. */
static bool model_credit(struct side *s, const struct vsock_packet *p)
{
    int32_t advance = (int32_t)(p->fwd_cnt - (uint32_t)s->guest_used);
    if (advance >= 0 && (uint32_t)advance > s->to_guest - s->guest_used)
        return true;
    s->guest_used += advance > 0 ? (uint32_t)advance : 0;
    s->guest_room = p->buf_alloc;
    return false;
}

static void feed(struct vsock_packet p, size_t cut)
{
    uint32_t id = p.dst_port % VSOCK_CONNS_MAX;
    struct side *s = &sides[id];
    bool is_named = s->is_used && p.dst_port == s->host_port && p.src_port == s->port &&
                    p.src_cid == GUEST_CID && p.dst_cid == VSOCK_CID_HOST &&
                    p.type == VSOCK_TYPE_STREAM;
    enum vsock_phase before = vsock_core_status(core, id).phase;
    bool is_live = is_named && (before == VSOCK_CONNECTING || before == VSOCK_OPEN);
    size_t kept = is_named ? kept_len(id) : 0;
    static uint8_t bytes[VSOCK_PACKET_HEADER_LEN + VSOCK_PACKET_PAYLOAD_MAX];
    vsock_packet_format(&p, bytes);
    size_t len = p.len <= VSOCK_PACKET_PAYLOAD_MAX ? p.len : VSOCK_PACKET_PAYLOAD_MAX;
    memcpy(bytes + VSOCK_PACKET_HEADER_LEN, bytes_from(s->from_guest), len);
    len += VSOCK_PACKET_HEADER_LEN;
    cut = cut < len ? cut : len;
    struct iovec iov[] = {{bytes, cut}, {bytes + cut, len - cut}};
    struct vsock_payload pay;
    int rc = vsock_core_feed(core, iov, 2, &pay, NULL);
    ORACLE((rc == ADIT_OK) == (p.len <= VSOCK_PACKET_PAYLOAD_MAX));
    if (rc != ADIT_OK)
        return;
    ORACLE(pay.len == 0 || (is_live && pay.len == p.len && pay.id == id && kept == 0));
    bool is_breach = is_live && p.op != VSOCK_OP_RST && model_credit(s, &p);
    ORACLE(!is_breach || vsock_core_status(core, id).end == VSOCK_END_BREACH);
    if (pay.len > 0) {
        size_t n = take(1) * pay.len / 255;
        s->from_guest += pay.len;
        host_gets(s, pay.iov, pay.cnt, n);
        vsock_core_wrote(core, &pay, n);
        ORACLE(kept_len(id) == pay.len - n);
    } else if (is_named && kept_len(id) > kept) {
        ORACLE(kept_len(id) == kept + p.len);
        s->from_guest += p.len;
    }
}

static struct vsock_packet guest_packet(uint32_t id, uint8_t how)
{
    const struct side *s = &sides[id];
    struct vsock_packet p = {
        .src_cid = GUEST_CID,
        .dst_cid = VSOCK_CID_HOST,
        .src_port = s->port,
        .dst_port = s->host_port,
        .type = VSOCK_TYPE_STREAM,
        .op = how % 8,
        .buf_alloc = how & 8 ? take(4) : 1u << (how >> 4),
        .fwd_cnt = (uint32_t)(how & 16 ? s->to_guest : s->guest_used),
    };
    if (how & 32)
        p.fwd_cnt += take(4);
    if (p.op == VSOCK_OP_RW)
        p.len = (take(1) << take(1) % 10) + (how >> 7);
    if (p.op == VSOCK_OP_SHUTDOWN)
        p.flags = take(1);
    return p;
}

static struct vsock_packet raw_packet(void)
{
    uint8_t bytes[VSOCK_PACKET_HEADER_LEN] = {GUEST_CID};
    struct vsock_packet p;
    bytes[8] = VSOCK_CID_HOST;
    for (unsigned i = 0; i < sizeof(bytes) && in_len > 0; i++)
        bytes[i] ^= (uint8_t)take(1);
    vsock_packet_parse(bytes, &p);
    return p;
}

static void guest_gets(size_t n)
{
    struct vsock_packet p;
    vsock_packet_parse(chain, &p);
    struct side *s = &sides[p.src_port % VSOCK_CONNS_MAX];
    ORACLE(n == VSOCK_PACKET_HEADER_LEN + p.len);
    ORACLE(p.src_cid == VSOCK_CID_HOST && p.dst_cid == GUEST_CID);
    if (p.src_port != s->host_port || p.dst_port != s->port)
        return; /* the reset of a stray, or of a use of the slot that is over */
    s->is_told |= p.op == VSOCK_OP_REQUEST;
    if (p.op == VSOCK_OP_RST)
        return;
    ORACLE(p.type == VSOCK_TYPE_STREAM && p.buf_alloc == VSOCK_BUF_ALLOC);
    if (p.op == VSOCK_OP_RW) {
        s->to_guest += p.len;
        ORACLE(p.len > 0 && s->to_guest - s->guest_used <= s->guest_room);
    }
    if (!s->is_deaf) /* then what it does not read counts as read */
        ORACLE(p.fwd_cnt == (uint32_t)s->to_host);
}

static bool offer(size_t len, uint8_t has)
{
    struct iovec iov = {chain, len};
    struct vsock_send s;
    size_t n = VSOCK_PACKET_HEADER_LEN;
    if (vsock_core_next(core, &iov, 1, &s, NULL) != ADIT_OK) {
        ORACLE(len <= VSOCK_PACKET_HEADER_LEN);
        return false;
    }
    ORACLE((s.kind != VSOCK_SEND_NOTHING) || !vsock_core_has_output(core));
    if (s.kind == VSOCK_SEND_READ) {
        ORACLE(sides[s.id].is_used && s.len > 0 && s.len <= len - VSOCK_PACKET_HEADER_LEN);
        size_t take_len = s.len * has / 255;
        if (take_len == 0) {
            vsock_core_unreadable(core, s.id);
            return true;
        }
        n = vsock_core_sent(core, &s, take_len);
    }
    if (s.kind != VSOCK_SEND_NOTHING)
        guest_gets(n);
    return s.kind != VSOCK_SEND_NOTHING;
}

/* ---- acts ---------------------------------------------------------------------------------- */

static void on_connection(enum act act, uint32_t id, uint8_t how)
{
    if (!sides[id].is_used)
        return;
    if (act == ACT_READABLE)
        vsock_core_readable(core, id);
    if (act == ACT_DRAIN)
        drain(id, how * 1024u);
    if (act == ACT_SHUT) {
        sides[id].is_deaf |= (how & VSOCK_SHUT_RCV) != 0;
        vsock_core_host_shut(core, id, how);
    }
    if (act == ACT_FORGET) {
        sides[id].is_used = false;
        vsock_core_forget(core, id);
    }
}

static void step(enum act act, uint8_t how)
{
    uint32_t recent = take(1) % RECENT, id = (last_id - recent) % VSOCK_CONNS_MAX;
    switch (act) {
    case ACT_OPEN:
        open_one(how);
        break;
    case ACT_GUEST:
        feed(guest_packet(id, how), SIZE_MAX);
        break;
    case ACT_CUT:
        feed(guest_packet(id, how), recent * 9);
        break;
    case ACT_RAW:
        feed(raw_packet(), SIZE_MAX);
        break;
    case ACT_BUFFER:
        for (unsigned i = 0; i <= recent && offer(how * 257u, 255); i++)
            ;
        break;
    case ACT_TICK:
        now_ms += how * 32u;
        vsock_core_tick(core, now_ms);
        break;
    case ACT_RESET:
        if (how == 0x5a) /* rarely: it ends all */
            vsock_core_reset(core);
        break;
    default:
        on_connection(act, id, how);
    }
    act_on_changes();
}

static void expect_nothing_left(void)
{
    uint32_t id;
    for (id = 0; id < VSOCK_CONNS_MAX; id++)
        if (sides[id].is_used) {
            sides[id].is_used = false;
            vsock_core_forget(core, id);
        }
    vsock_core_tick(core, now_ms + VSOCK_ANSWER_TIMEOUT_MS);
    for (unsigned i = 0; vsock_core_has_output(core); i++) {
        ORACLE(i < 3 * VSOCK_CONNS_MAX);
        (void)offer(sizeof(chain), 255);
    }
    ORACLE(vsock_core_wait_ms(core) == -1 && vsock_core_changed(core) == VSOCK_NONE);
    for (id = 0; id < VSOCK_CONNS_MAX; id++) /* a free slot has no end */
        ORACLE(!sides[id].host_port || vsock_core_status(core, id).end == VSOCK_END_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    in = data;
    in_len = size;
    now_ms = 1;
    last_id = 0;
    memset(sides, 0, sizeof(sides));
    ORACLE(vsock_core_new(GUEST_CID, 0, &core, NULL) == ADIT_OK);
    vsock_core_tick(core, now_ms);
    for (unsigned i = 0; in_len > 0 && i < ACTS_MAX; i++) {
        uint8_t act = (uint8_t)(take(1) % ACT_CNT);
        step(act, (uint8_t)take(1));
    }
    expect_nothing_left();
    vsock_core_free(core);
    return 0;
}
