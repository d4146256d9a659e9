/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a vsock packet (virtio 1.2, 5.10.6): 44 bytes, little endian, then len bytes.
 */
#ifndef ADIT_VSOCK_DEVICE_VSOCK_PACKET_H
#define ADIT_VSOCK_DEVICE_VSOCK_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VSOCK_PACKET_HEADER_LEN 44u
/* Longest payload of a packet, either way; Linux sends no longer ones. */
#define VSOCK_PACKET_PAYLOAD_MAX 65536u

#define VSOCK_CID_HOST 2u
#define VSOCK_TYPE_STREAM 1u

enum vsock_op {
    VSOCK_OP_REQUEST = 1,
    VSOCK_OP_RESPONSE = 2,
    VSOCK_OP_RST = 3,
    VSOCK_OP_SHUTDOWN = 4,
    VSOCK_OP_RW = 5,
    VSOCK_OP_CREDIT_UPDATE = 6,
    VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of VSOCK_OP_SHUTDOWN: who sent it will not receive, will not send. */
#define VSOCK_SHUT_RCV 1u
#define VSOCK_SHUT_SEND 2u
#define VSOCK_SHUT_BOTH 3u

struct vsock_packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len;
    uint16_t type; /* VSOCK_TYPE_*, or anything else from a guest */
    uint16_t op;   /* enum vsock_op, or anything else from a guest */
    uint32_t flags;
    uint32_t buf_alloc, fwd_cnt;
};

void vsock_packet_parse(const uint8_t bytes[VSOCK_PACKET_HEADER_LEN], struct vsock_packet *p);
void vsock_packet_format(const struct vsock_packet *p, uint8_t bytes[VSOCK_PACKET_HEADER_LEN]);

/* The bytes [skip, skip + len) of @iov as iovecs in @out, which has room for @cap; fewer bytes when
 * either ends before. Return: how many iovecs; *out_len: how many bytes. */
unsigned vsock_iov_slice(const struct iovec *iov, unsigned cnt, size_t skip, size_t len,
                         struct iovec *out, unsigned cap, size_t *out_len);
/* Copy to or from the front of @iov, which holds @len at least. Each byte is read or written once.
 */
void vsock_iov_read(const struct iovec *iov, unsigned cnt, void *out, size_t len);
void vsock_iov_write(const struct iovec *iov, unsigned cnt, const void *bytes, size_t len);

#endif
