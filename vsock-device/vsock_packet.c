/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a vsock packet, and the scattered bytes that it comes in.
 *
 * Theory of operation
 *
 * What:    44 bytes to a struct and back; bytes from and to iovecs. A driver may cut a packet into
 * buffers as it likes (virtio 1.2, 2.7.4: no assumption about framing), the header included.
 * Trust:   every value parses; what it means, vsock_core decides. The iovecs are checked already
 * (vring), their contents may change meanwhile, so a byte is read once.
 */
#include "vsock-device/vsock_packet.h"

#include <endian.h>
#include <string.h>

#include "vsock-device/guestmem.h"

/* As it lies in memory, without gaps. */
struct wire {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len;
    uint16_t type, op;
    uint32_t flags;
    uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct wire) == VSOCK_PACKET_HEADER_LEN, "the header has no padding");

void vsock_packet_parse(const uint8_t bytes[VSOCK_PACKET_HEADER_LEN], struct vsock_packet *p)
{
    struct wire w;
    memcpy(&w, bytes, sizeof(w));
    *p = (struct vsock_packet){
        .src_cid = le64toh(w.src_cid),
        .dst_cid = le64toh(w.dst_cid),
        .src_port = le32toh(w.src_port),
        .dst_port = le32toh(w.dst_port),
        .len = le32toh(w.len),
        .type = le16toh(w.type),
        .op = le16toh(w.op),
        .flags = le32toh(w.flags),
        .buf_alloc = le32toh(w.buf_alloc),
        .fwd_cnt = le32toh(w.fwd_cnt),
    };
}

void vsock_packet_format(const struct vsock_packet *p, uint8_t bytes[VSOCK_PACKET_HEADER_LEN])
{
    struct wire w = {
        .src_cid = htole64(p->src_cid),
        .dst_cid = htole64(p->dst_cid),
        .src_port = htole32(p->src_port),
        .dst_port = htole32(p->dst_port),
        .len = htole32(p->len),
        .type = htole16(p->type),
        .op = htole16(p->op),
        .flags = htole32(p->flags),
        .buf_alloc = htole32(p->buf_alloc),
        .fwd_cnt = htole32(p->fwd_cnt),
    };
    memcpy(bytes, &w, sizeof(w));
}

unsigned vsock_iov_slice(const struct iovec *iov, unsigned cnt, size_t skip, size_t len,
                         struct iovec *out, unsigned cap, size_t *out_len)
{
    unsigned n = 0;
    *out_len = 0;
    for (unsigned i = 0; i < cnt && n < cap && *out_len < len; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - skip;
        if (part > len - *out_len)
            part = len - *out_len;
        out[n++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, part};
        *out_len += part;
        skip = 0;
    }
    return n;
}

void vsock_iov_read(const struct iovec *iov, unsigned cnt, void *out, size_t len)
{
    uint8_t *to = out;
    for (unsigned i = 0; i < cnt && len > 0; i++) {
        size_t part = iov[i].iov_len < len ? iov[i].iov_len : len;
        guestmem_copy_in(to, iov[i].iov_base, part);
        to += part;
        len -= part;
    }
}

void vsock_iov_write(const struct iovec *iov, unsigned cnt, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    for (unsigned i = 0; i < cnt && len > 0; i++) {
        size_t part = iov[i].iov_len < len ? iov[i].iov_len : len;
        memcpy(iov[i].iov_base, from, part);
        from += part;
        len -= part;
    }
}
