/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel handshake, as Firecracker, Cloud Hypervisor, our vsock-device and envd (in a
 * container) speak it on a Unix socket: the host sends "CONNECT <port>\n" and reads "OK <n>\n".
 * Then, on guest port CHANNEL_PORT_TUNNEL, one more line: "TCP <port>\n" answered "OK\n" or
 * "ERR <reason>\n"; on CHANNEL_PORT_ACCEPT "<id>\n" answered "OK\n". Line cores without I/O: bytes
 * in, verdict out. Source: Firecracker docs/vsock.md; docs/wire/channel.md, control.md.
 */
#ifndef ADIT_NET_CHANNEL_H
#define ADIT_NET_CHANNEL_H

#include "base/view.h"

#define CHANNEL_PORT_ENVD 49983
#define CHANNEL_PORT_KERNEL 49999
#define CHANNEL_PORT_TUNNEL 1024
#define CHANNEL_PORT_CONTROL 1025
#define CHANNEL_PORT_ACCEPT 1026

/* Longest handshake line with its newline; a longer one is a protocol error. */
#define CHANNEL_LINE_CAP 64

/* A line gathered byte by byte. */
struct channel_line {
    char bytes[CHANNEL_LINE_CAP];
    size_t len;
};

void channel_line_init(struct channel_line *l);
/*
 * Take bytes from the front of @in up to and including the first newline. *done: @l holds a line
 * (without newline). Errors: ADIT_ERR_PROTOCOL (too long; a byte outside printable ASCII).
 */
ADIT_MUST_CHECK int channel_line_feed(struct channel_line *l, struct adit_view *in, bool *done,
                                      struct adit_err *err);
static inline struct adit_view channel_line_view(const struct channel_line *l)
{
    return adit_view_mem(l->bytes, l->len);
}

/* Guest side. "CONNECT <port>", port canonical, 1..4294967294. */
ADIT_MUST_CHECK int channel_parse_connect(struct adit_view line, uint32_t *port,
                                          struct adit_err *err);
/* Host side. "OK <n>". */
ADIT_MUST_CHECK int channel_parse_ok(struct adit_view line, struct adit_err *err);
/* Guest side of the tunnel. "TCP <port>", port canonical, 1..65535. */
ADIT_MUST_CHECK int channel_parse_tcp(struct adit_view line, uint16_t *port, struct adit_err *err);
/* Host side of the tunnel: "OK" → 0; "ERR refused" → ADIT_ERR_UNAVAILABLE with the reason; other
 * "ERR …" → ADIT_ERR_IO; anything else → ADIT_ERR_PROTOCOL. */
ADIT_MUST_CHECK int channel_parse_tunnel_answer(struct adit_view line, struct adit_err *err);
/* Format; return the length. @out holds CHANNEL_LINE_CAP. */
size_t channel_format_connect(char *out, uint32_t port);
size_t channel_format_ok(char *out, uint32_t n);
size_t channel_format_tcp(char *out, uint16_t port);
size_t channel_format_accept(char *out, uint32_t id);

#endif
