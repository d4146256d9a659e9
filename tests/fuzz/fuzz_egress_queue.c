/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the kernel's packet queue, which repeat bytes of programs. Oracles: what is taken for
 * a dial lies in the input as such (families, ports, flags); bytes behind the packet's headers
 * change nothing.
 */
#include "oracle.h"

#include <string.h>

#include "envd/egress/egress_queue.h"

/* As a packet alone: its id is given. */
static bool parse_packet(const uint8_t *data, size_t size, struct egress_packet *out)
{
    static struct egress_netlink_request r;
    const uint8_t head[8] = {0, 0, 0, 1};
    egress_netlink_init(&r);
    egress_netlink_begin(&r, 0x300, 0, "\0\0\0", 4);
    egress_netlink_put(&r, 1, head, sizeof head);
    egress_netlink_put(&r, 10, data, size);
    ORACLE(!r.is_full && egress_queue_parse(adit_view_mem(r.bytes + 16, r.len - 16), out));
    return out->is_dial;
}

static void check_dial(const uint8_t *data, size_t size, const struct egress_packet *p)
{
    size_t len = p->to.len;
    ORACLE(len == (data[0] >> 4 == 4 ? 4u : 16u) && p->from.len == len);
    size_t at = len == 4 ? (size_t)(data[0] & 15) * 4 : 40;
    ORACLE(at + 20 <= size && p->to.port && (data[at + 13] & 0x12) == 2);
    ORACLE(p->to.port == (data[at + 2] << 8 | data[at + 3]));
    ORACLE(memcmp(p->to.bytes, data + (len == 4 ? 16 : 24), len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct egress_packet p, longer;
    uint8_t more[256] = {0};
    (void)egress_queue_parse(adit_view_mem(data, size), &p); /* as the whole message */
    if (size > EGRESS_QUEUE_COPY || !parse_packet(data, size, &p))
        return 0;
    check_dial(data, size, &p);
    memcpy(more, data, size);
    ORACLE(parse_packet(more, size + 64, &longer));
    ORACLE(egress_address_eq(&p.to, &longer.to) && egress_address_eq(&p.from, &longer.from));
    return 0;
}
