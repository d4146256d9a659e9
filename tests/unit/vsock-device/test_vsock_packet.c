/* SPDX-License-Identifier: Apache-2.0 */
/* The header's bytes, and pieces of scattered buffers. */
#include "vsock-device/vsock_packet.h"

#include "tests/unit/suite.h"

static const uint8_t bytes[VSOCK_PACKET_HEADER_LEN] = {
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
    0x18, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44, 0x51, 0x52,
    0x61, 0x62, 0x71, 0x72, 0x73, 0x74, 0x81, 0x82, 0x83, 0x84, 0x91, 0x92, 0x93, 0x94};

START_TEST(vsock_packet_is_little_endian_and_in_order)
{
    struct vsock_packet p;
    uint8_t again[VSOCK_PACKET_HEADER_LEN];
    vsock_packet_parse(bytes, &p);
    ck_assert_uint_eq(p.src_cid, 0x0807060504030201);
    ck_assert_uint_eq(p.dst_cid, 0x1817161514131211);
    ck_assert_uint_eq(p.src_port, 0x24232221);
    ck_assert_uint_eq(p.dst_port, 0x34333231);
    ck_assert_uint_eq(p.len, 0x44434241);
    ck_assert_uint_eq(p.type, 0x5251);
    ck_assert_uint_eq(p.op, 0x6261);
    ck_assert_uint_eq(p.flags, 0x74737271);
    ck_assert_uint_eq(p.buf_alloc, 0x84838281);
    ck_assert_uint_eq(p.fwd_cnt, 0x94939291);
    vsock_packet_format(&p, again);
    ck_assert_mem_eq(again, bytes, sizeof(bytes));
}
END_TEST

/* "abcdefghij" in four buffers, one of them empty. */
static char text[] = "abcdefghij";
static const struct iovec iov[] = {{text, 3}, {text + 3, 0}, {text + 3, 5}, {text + 8, 2}};

/* The slice, joined. Return: how many iovecs it took. */
static unsigned slice(size_t skip, size_t len, unsigned cap, char *joined)
{
    struct iovec out[4];
    size_t out_len, at = 0;
    unsigned cnt = vsock_iov_slice(iov, 4, skip, len, out, cap, &out_len);
    for (unsigned i = 0; i < cnt; i++) {
        memcpy(joined + at, out[i].iov_base, out[i].iov_len);
        at += out[i].iov_len;
    }
    joined[at] = '\0';
    ck_assert_uint_eq(at, out_len);
    return cnt;
}

START_TEST(vsock_iov_slice_is_the_same_as_of_one_buffer)
{
    char joined[sizeof(text)], want[sizeof(text)];
    for (size_t skip = 0; skip < sizeof(text) + 1; skip++)
        for (size_t len = 0; len < sizeof(text) + 1; len++) {
            size_t from = skip < 10 ? skip : 10, n = len < 10 - from ? len : 10 - from;
            memcpy(want, text + from, n);
            want[n] = '\0';
            (void)slice(skip, len, 4, joined);
            ck_assert_str_eq(joined, want);
        }
}
END_TEST

START_TEST(vsock_iov_slice_ends_where_there_is_no_room)
{
    char joined[sizeof(text)];
    ck_assert_uint_eq(slice(1, 9, 2, joined), 2);
    ck_assert_str_eq(joined, "bcdefgh");
    ck_assert_uint_eq(slice(1, 9, 0, joined), 0);
    ck_assert_uint_eq(slice(3, 5, 4, joined), 1);
}
END_TEST

START_TEST(vsock_iov_slice_may_replace_its_source)
{
    struct iovec own[4];
    size_t len;
    memcpy(own, iov, sizeof(own));
    ck_assert_uint_eq(vsock_iov_slice(own, 4, 4, 5, own, 4, &len), 2);
    ck_assert_uint_eq(len, 5);
    ck_assert_ptr_eq(own[0].iov_base, text + 4);
    ck_assert_uint_eq(own[1].iov_len, 1);
}
END_TEST

START_TEST(vsock_iov_is_read_and_written_across_buffers)
{
    char out[sizeof(text)] = "";
    vsock_iov_read(iov, 4, out, 9);
    ck_assert_mem_eq(out, "abcdefghi", 10);
    vsock_iov_read(iov, 4, out, 0);
    vsock_iov_write(iov, 4, "012345678", 9);
    ck_assert_str_eq(text, "012345678j");
    vsock_iov_write(iov, 4, "xx", 2);
    ck_assert_str_eq(text, "xx2345678j");
    /* As much as there is. */
    vsock_iov_write(iov, 4, "ABCDEFGHIJK", 11);
    vsock_iov_read(iov, 4, out, sizeof(out));
    ck_assert_mem_eq(out, "ABCDEFGHIJ", 10);
}
END_TEST

SUITE_MAIN("vsock_packet", vsock_packet_is_little_endian_and_in_order,
           vsock_iov_slice_is_the_same_as_of_one_buffer,
           vsock_iov_slice_ends_where_there_is_no_room, vsock_iov_slice_may_replace_its_source,
           vsock_iov_is_read_and_written_across_buffers)
