/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet costs in the vsock device without its system calls: rings and core in memory, with
 * a driver and sockets that are played here and copy the bytes, as the kernel would.
 *
 * Usage: bench_vsock [seconds a figure, default 1]
 */
#include "bench/figure.h"

#include <time.h>

#include "tests/unit/vsock-device/guest_ring.h"
#include "vsock-device/vsock_core.h"

#define GUEST_CID 3u
#define RING_SIZE 16u
#define CHAINS (RING_SIZE / 2) /* each a header and a buffer, as Linux has them */
#define SMALL 64u
#define LARGE 4096u
#define PACKETS_MIN 1e6 /* a second; the kernel's socket calls take longer than that */

static struct guest_ring transmit, receive;
static struct vsock_core *core;
static struct vring_chain chain;
static uint8_t host[LARGE];

static double now_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_vsock: %s\n", what);
    exit(EXIT_FAILURE);
}

static uint64_t header_at(unsigned i)
{
    return GUEST_INDIRECT + i * 64u;
}

static void start_ring(struct guest_ring *g, enum vring_direction direction, uint32_t len)
{
    uint16_t flags = direction == VRING_TO_GUEST ? GUEST_WRITE : 0;

    guest_init(g, RING_SIZE, VRING_F_EVENT_IDX | VRING_F_INDIRECT_DESC, direction);
    for (unsigned i = 0; i < CHAINS; i++) {
        guest_put(g, 2 * i, header_at(i), VSOCK_PACKET_HEADER_LEN, flags | GUEST_NEXT,
                  (uint16_t)(2 * i + 1));
        guest_put(g, 2 * i + 1, GUEST_FREE + i * LARGE, len, flags, 0);
    }
    must(guest_enable(g, NULL) == ADIT_OK, "a ring");
}

static void feed(const struct vsock_packet *p, struct vsock_payload *pay)
{
    uint8_t header[VSOCK_PACKET_HEADER_LEN];
    struct iovec iov[] = {{header, sizeof(header)}, {host, p->len}};

    vsock_packet_format(p, header);
    must(vsock_core_feed(core, iov, 2, pay, NULL) == ADIT_OK, "a packet");
}

static struct vsock_packet packet(uint32_t id, uint16_t op, uint32_t len)
{
    return (struct vsock_packet){
        .src_cid = GUEST_CID,
        .dst_cid = VSOCK_CID_HOST,
        .src_port = 1024,
        .dst_port = vsock_core_host_port(core, id),
        .type = VSOCK_TYPE_STREAM,
        .op = op,
        .len = len,
        .buf_alloc = UINT32_MAX,
    };
}

static uint32_t connect_one(void)
{
    struct vsock_payload pay;
    uint32_t id;

    must(vsock_core_open(core, 1024, &id, NULL) == ADIT_OK, "a connection");
    struct vsock_packet p = packet(id, VSOCK_OP_RESPONSE, 0);
    feed(&p, &pay);
    return id;
}

/* The driver sends what it has room for, the device takes it. Return: packets. */
static unsigned from_guest(void)
{
    struct vsock_payload pay;
    uint32_t head, len;
    unsigned n = 0;

    for (unsigned i = 0; i < CHAINS; i++)
        guest_offer(&transmit, (uint16_t)(2 * i));
    while (vring_pop(&transmit.ring, &chain, NULL) == 1) {
        must(vsock_core_feed(core, chain.iov, chain.cnt, &pay, NULL) == ADIT_OK, "a packet");
        vsock_iov_read(pay.iov, pay.cnt, host, pay.len);
        vsock_core_wrote(core, &pay, pay.len);
        vring_push(&transmit.ring, &chain, 0);
        n++;
    }
    (void)vring_await(&transmit.ring);
    (void)vring_should_notify(&transmit.ring);
    while (guest_take(&transmit, &head, &len))
        ;
    return n;
}

/* The driver offers buffers, the device fills them. Return: packets. */
static unsigned to_guest(void)
{
    struct vsock_send s;
    uint32_t head, len;
    unsigned n = 0;

    for (unsigned i = 0; i < CHAINS; i++)
        guest_offer(&receive, (uint16_t)(2 * i));
    while (vring_pop(&receive.ring, &chain, NULL) == 1) {
        uint32_t used = VSOCK_PACKET_HEADER_LEN;
        must(vsock_core_next(core, chain.iov, chain.cnt, &s, NULL) == ADIT_OK, "a buffer");
        if (s.kind == VSOCK_SEND_READ) {
            vsock_iov_write(s.iov, s.cnt, host, s.len);
            used = vsock_core_sent(core, &s, s.len);
        }
        vring_push(&receive.ring, &chain, used);
        n++;
    }
    (void)vring_await(&receive.ring);
    (void)vring_should_notify(&receive.ring);
    while (guest_take(&receive, &head, &len))
        ;
    return n;
}

/* The same, and the guest has used what it got. */
static unsigned to_guest_used(uint32_t *used)
{
    struct vsock_payload pay;
    unsigned n = to_guest();

    for (unsigned i = 0; i < CHAINS; i++) {
        struct vsock_packet got;
        vsock_packet_parse(guest_ptr(&receive, header_at(i)), &got);
        *used += got.len;
    }
    struct vsock_packet p = packet(0, VSOCK_OP_CREDIT_UPDATE, 0);
    p.fwd_cnt = *used;
    feed(&p, &pay);
    return n;
}

static void report(const char *what, uint64_t packets, uint32_t len, double seconds)
{
    double rate = (double)packets / seconds;

    figure_print(figure_is(rate >= PACKETS_MIN), what, ">= 1.0 M packets/s",
                 "%.1f M packets/s, %.0f MiB/s", rate / 1e6, rate * len / (1 << 20));
}

static void measure_from_guest(const char *what, uint32_t len, double seconds)
{
    uint64_t packets = 0;
    double start = now_s();

    start_ring(&transmit, VRING_FROM_GUEST, len);
    for (unsigned i = 0; i < CHAINS; i++) {
        struct vsock_packet p = packet(0, VSOCK_OP_RW, len);
        vsock_packet_format(&p, guest_ptr(&transmit, header_at(i)));
    }
    while (now_s() - start < seconds)
        for (unsigned i = 0; i < 1000; i++)
            packets += from_guest();
    report(what, packets, len, now_s() - start);
    guest_fini(&transmit);
}

static void measure_to_guest(const char *what, uint32_t len, double seconds)
{
    static uint32_t used;
    uint64_t packets = 0;
    double start = now_s();

    start_ring(&receive, VRING_TO_GUEST, len);
    vsock_core_readable(core, 0);
    while (now_s() - start < seconds)
        for (unsigned i = 0; i < 1000; i++)
            packets += to_guest_used(&used);
    report(what, packets, len, now_s() - start);
    guest_fini(&receive);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;

    must(vsock_core_new(GUEST_CID, 0, &core, NULL) == ADIT_OK, "the core");
    (void)connect_one();
    measure_from_guest("vsock core, guest to host, 64 bytes", SMALL, seconds);
    measure_from_guest("vsock core, guest to host, 4 KiB", LARGE, seconds);
    measure_to_guest("vsock core, host to guest, 64 bytes", SMALL, seconds);
    measure_to_guest("vsock core, host to guest, 4 KiB", LARGE, seconds);
    vsock_core_free(core);
    return 0;
}
