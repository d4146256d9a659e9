/* SPDX-License-Identifier: Apache-2.0 */
/* Packets as the kernel's queue gives them, whole, cut and wrong. */
#include "tests/unit/suite.h"

#include <string.h>

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include "envd/egress/egress_queue.h"

/* 10.0.2.15:50000 to 93.184.216.34:443, SYN. */
static const uint8_t syn4[] = {0x45, 0,  0,  40,  0,    0,    0x40, 0,    64, 6,   0, 0, 10, 0,
                               2,    15, 93, 184, 216,  34,   0xc3, 0x50, 1,  187, 1, 2, 3,  4,
                               0,    0,  0,  0,   0x50, 0x02, 0xff, 0xff, 0,  0,   0, 0};
/* fd00:ad17::15 port 50000 to 2606:2800::1 port 443, SYN. */
static const uint8_t syn6[] = {0x60, 0, 0, 0, 0, 20, 6, 64,   0xfd, 0,    0xad, 0x17, 0, 0,   0,
                               0,    0, 0, 0, 0, 0,  0, 0,    0x15, 0x26, 0x06, 0x28, 0, 0,   0,
                               0,    0, 0, 0, 0, 0,  0, 0,    0,    1,    0xc3, 0x50, 1, 187, 1,
                               2,    3, 4, 0, 0, 0,  0, 0x50, 0x02, 0xff, 0xff, 0,    0, 0,   0};

/* The kernel's message for a packet, id 7. */
static struct adit_view message(const void *packet, size_t len)
{
    static struct egress_netlink_request r;
    struct nfqnl_msg_packet_hdr head = {.packet_id = htonl(7)};
    char family[4] = {0};
    egress_netlink_init(&r);
    egress_netlink_begin(&r, 0x300, 0, family, sizeof family);
    egress_netlink_put(&r, NFQA_PACKET_HDR, &head, sizeof head);
    if (packet)
        egress_netlink_put(&r, NFQA_PAYLOAD, packet, len);
    return adit_view_mem(r.bytes + 16, r.len - 16);
}

static bool is_dial(const void *packet, size_t len)
{
    struct egress_packet p;
    ck_assert(egress_queue_parse(message(packet, len), &p));
    ck_assert_uint_eq(p.id, 7);
    return p.is_dial;
}

START_TEST(queue_reads_both_families)
{
    struct egress_packet p;
    struct egress_address to;
    ck_assert(egress_queue_parse(message(syn4, sizeof syn4), &p) && p.is_dial);
    egress_address_set(&to, "\x5d\xb8\xd8\x22", 4, 443);
    ck_assert(egress_address_eq(&p.to, &to));
    ck_assert_uint_eq(p.from.port, 50000);
    ck_assert(egress_queue_parse(message(syn6, sizeof syn6), &p) && p.is_dial);
    egress_address_set(&to, syn6 + 24, 16, 443);
    ck_assert(egress_address_eq(&p.to, &to));
    egress_address_set(&to, syn6 + 8, 16, 50000);
    ck_assert(egress_address_eq(&p.from, &to));
}
END_TEST

START_TEST(queue_takes_no_cut_packet_for_a_dial)
{
    for (size_t len = 0; len < sizeof syn4; len++)
        ck_assert(!is_dial(syn4, len));
    for (size_t len = 0; len < sizeof syn6; len++)
        ck_assert(!is_dial(syn6, len));
    ck_assert(!is_dial(NULL, 0));
}
END_TEST

START_TEST(queue_takes_only_first_packets_of_tcp)
{
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {
        {0, 0x55},  /* version */
        {0, 0x44},  /* header too short */
        {0, 0x4f},  /* header longer than the packet */
        {7, 1},     /* a later fragment */
        {9, 17},    /* UDP */
        {33, 0x12}, /* SYN and ACK */
        {33, 0x10}, /* ACK */
    };
    uint8_t packet[sizeof syn4];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(packet, syn4, sizeof packet);
        packet[rows[i].at] = rows[i].value;
        ck_assert_msg(!is_dial(packet, sizeof packet), "row %zu", i);
    }
    memcpy(packet, syn4, sizeof packet);
    packet[22] = packet[23] = 0; /* port 0 */
    ck_assert(!is_dial(packet, sizeof packet));
    uint8_t extended[sizeof syn6];
    memcpy(extended, syn6, sizeof extended);
    extended[6] = 0; /* hop-by-hop options first */
    ck_assert(!is_dial(extended, sizeof extended));
}
END_TEST

START_TEST(queue_skips_ip_options)
{
    uint8_t packet[sizeof syn4 + 8] = {0};
    struct egress_packet p;
    memcpy(packet, syn4, 20);
    packet[0] = 0x47;
    memcpy(packet + 28, syn4 + 20, 20);
    ck_assert(egress_queue_parse(message(packet, sizeof packet), &p) && p.is_dial);
    ck_assert_uint_eq(p.to.port, 443);
}
END_TEST

START_TEST(queue_needs_an_id)
{
    struct egress_packet p;
    struct adit_view whole = message(syn4, sizeof syn4);
    for (size_t len = 0; len < 4 + 4 + sizeof(struct nfqnl_msg_packet_hdr); len++)
        ck_assert(!egress_queue_parse(adit_view_mem(whole.ptr, len), &p));
}
END_TEST

SUITE_MAIN("egress_queue", queue_reads_both_families, queue_takes_no_cut_packet_for_a_dial,
           queue_takes_only_first_packets_of_tcp, queue_skips_ip_options, queue_needs_an_id)
