/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device without its I/O: connections from the host to the guest, credit, shutdown,
 * resets, timers, and whose turn it is. It is given packets and told what sockets did; it says what
 * to do.
 *
 *     opening     vsock_core_open → an id (0 … VSOCK_CONNS_MAX - 1) under which the I/O side keeps
 * its socket; vsock_core_changed reports when it is VSOCK_OPEN or VSOCK_OVER guest→host  for each
 * chain of the transmit ring: vsock_core_feed; if it returned a payload, writev it to that socket
 * and say with vsock_core_wrote how much was taken. The rest is kept here; when the socket is
 * writable: vsock_core_kept, writev, vsock_core_drained host→guest  when a socket is readable:
 * vsock_core_readable, once, and no more interest in it. While vsock_core_has_output and the
 * receive ring has a chain: vsock_core_next; PACKET: push the chain. READ: readv into s->iov; > 0:
 * vsock_core_sent and push; EAGAIN: vsock_core_unreadable, use the chain again; 0:
 * vsock_core_host_shut(SEND) sockets     write failed (EPIPE): vsock_core_host_shut(RCV). Read
 * failed: BOTH after all   vsock_core_changed until VSOCK_NONE: act on vsock_core_status of each
 *     the clock   vsock_core_tick(now) in each turn of the loop, vsock_core_wait_ms for epoll
 *
 * Only host-initiated stream connections exist. Nothing is allocated but a keeping buffer for a
 * connection whose host socket is full; it is freed when empty.
 */
#ifndef ADIT_VSOCK_DEVICE_VSOCK_CORE_H
#define ADIT_VSOCK_DEVICE_VSOCK_CORE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "vsock-device/vsock_packet.h"

/* Connections at once. A power of two: a slot's number is part of its port. */
#define VSOCK_CONNS_MAX 1024u
#define VSOCK_NONE UINT32_MAX
/* Credit that a guest gets for a connection, and so the most that is kept for one. */
#define VSOCK_BUF_ALLOC (256u * 1024)
/* Connections for which something is kept: 64 MiB. With what the kernel holds for them
 * (HOST_SOCKET_WIDE_MAX) it is 109 of the 160 MiB that a machine may use beside its memory. */
#define VSOCK_KEPT_MAX 256u
/* What the guest has to answer a request in, and a shutdown of both directions. Longer than a
 * broker waits (dial-timeout, 2 s): it is to know a guest that stands still from one that refuses.
 */
#define VSOCK_ANSWER_TIMEOUT_MS 5000u
/* Bytes that a connection sends in its turn while others wait. */
#define VSOCK_QUANTUM (16u * 1024)
/* Packets of connections that have just become readable, before one of those that were before. */
#define VSOCK_FRESH_RUN 8u
/* Resets waiting for a receive buffer that answer packets of no connection; more are not sent. */
#define VSOCK_STRAY_MAX 128u
/* Host ports: this bit, 20 bits that count the uses of a slot, 10 bits of slot. A slot that was
 * freed last is used last, so a port comes again after 2^20 uses at the least, 2^30 on an idle
 * device. */
#define VSOCK_PORT_BASE 0x40000000u
/* Iovecs of one read: 64 KiB in pages, and the cuts at both ends. */
#define VSOCK_READ_IOV_MAX 18u

struct vsock_core;

/* What the I/O side has to know of a connection. */
enum vsock_phase {
    VSOCK_CONNECTING, /* the guest has not answered yet */
    VSOCK_OPEN,
    VSOCK_FLUSHING, /* the guest is gone; what is kept still goes to the host */
    VSOCK_OVER,     /* close the socket and vsock_core_forget */
};

enum vsock_end {
    VSOCK_END_NONE,
    VSOCK_END_REFUSED, /* the guest answered the request with a reset */
    VSOCK_END_TIMEOUT, /* or not at all */
    VSOCK_END_CLOSED,  /* both sides shut down, or the guest reset it */
    VSOCK_END_BREACH,  /* the guest broke the protocol */
    VSOCK_END_MEMORY,  /* no memory, or VSOCK_KEPT_MAX, to keep what the host did not take */
    VSOCK_END_RESET,   /* the guest's driver began anew (vsock_core_reset) */
};

/*
 * Derived from the state, so acting on it twice does no harm.
 * @is_read_wanted:  be told of bytes to read (vsock_core_readable); otherwise no interest in them
 * @is_write_wanted: something is kept: be told when the socket takes bytes
 * @is_read_shut:    the guest takes no more bytes: shutdown(SHUT_RD)
 * @is_write_shut:   the guest has sent its last byte and the host has it: shutdown(SHUT_WR)
 */
struct vsock_status {
    enum vsock_phase phase;
    enum vsock_end end;
    bool is_read_wanted, is_write_wanted;
    bool is_read_shut, is_write_shut;
};

/* Bytes of a packet that the host is to be given now; into guest memory. len 0: nothing to do. */
struct vsock_payload {
    uint32_t id;
    unsigned cnt;
    size_t len;
    struct iovec *iov; /* borrowed from the core, until its next call */
};

enum vsock_send_kind {
    VSOCK_SEND_NOTHING, /* the chain was not used */
    VSOCK_SEND_PACKET,  /* it holds a packet: push it with VSOCK_PACKET_HEADER_LEN bytes */
    VSOCK_SEND_READ,    /* read the host's bytes of @id into @iov, then vsock_core_sent */
};

struct vsock_send {
    enum vsock_send_kind kind;
    uint32_t id;
    const struct iovec *chain; /* borrowed: the receive chain */
    unsigned chain_cnt;
    unsigned cnt;
    size_t len;
    struct iovec iov[VSOCK_READ_IOV_MAX];
};

/* Since the core was made; none is reset. */
struct vsock_counters {
    uint64_t packets_from_guest, packets_to_guest;
    uint64_t bytes_from_guest, bytes_to_guest;
    uint64_t opened, refused, connect_timeouts;
    uint64_t foreign;        /* packets with a CID that is not theirs to use; ignored */
    uint64_t strays;         /* packets of no connection; answered by a reset */
    uint64_t strays_dropped; /* of these, not answered: VSOCK_STRAY_MAX wait */
    uint64_t breaches;       /* connections reset for breaking the protocol */
};

/* @seed: anything; the uses of slots are counted from it, so that a new device process does not
 * meet connections that a guest still remembers. Errors: ADIT_ERR_NO_MEMORY. */
ADIT_MUST_CHECK int vsock_core_new(uint64_t guest_cid, uint32_t seed, struct vsock_core **out,
                                   struct adit_err *err);
void vsock_core_free(struct vsock_core *core); /* NULL is allowed */

/* Time passes: @now_ms, monotonic. Ends what waited too long. First call: before any other. */
void vsock_core_tick(struct vsock_core *core, uint64_t now_ms);
/* Milliseconds from the last tick until the next is needed; -1: none is. */
int vsock_core_wait_ms(const struct vsock_core *core);

/* Ask the guest for a connection to its @port. Errors: ADIT_ERR_LIMIT (VSOCK_CONNS_MAX). */
ADIT_MUST_CHECK int vsock_core_open(struct vsock_core *core, uint32_t port, uint32_t *id,
                                    struct adit_err *err);
/* The host's end of a connection, for "OK <port>". */
uint32_t vsock_core_host_port(const struct vsock_core *core, uint32_t id);
/* The I/O side knows @id no more. In any phase but VSOCK_OVER it resets the connection. */
void vsock_core_forget(struct vsock_core *core, uint32_t id);

/* Take one packet from the readable bytes of a transmit chain. Errors: ADIT_ERR_PROTOCOL: not a
 * whole packet, or longer than VSOCK_PACKET_PAYLOAD_MAX: the device ends. */
ADIT_MUST_CHECK int vsock_core_feed(struct vsock_core *core, const struct iovec *iov, unsigned cnt,
                                    struct vsock_payload *payload, struct adit_err *err);
/* The host took the first @n bytes of @payload (0 when it would block); the others are kept. To be
 * called before anything else is fed, unless the socket failed and vsock_core_host_shut was. */
void vsock_core_wrote(struct vsock_core *core, const struct vsock_payload *payload, size_t n);
/* What is kept for the host, oldest first. Return: how many iovecs, 0 when nothing is. */
unsigned vsock_core_kept(struct vsock_core *core, uint32_t id, struct iovec out[2]);
/* The host took @n of the kept bytes. */
void vsock_core_drained(struct vsock_core *core, uint32_t id, size_t n);

/* The host socket of @id has bytes, or its end, to read. */
void vsock_core_readable(struct vsock_core *core, uint32_t id);
/* It has none: is_read_wanted again. */
void vsock_core_unreadable(struct vsock_core *core, uint32_t id);
/* The host will not send (VSOCK_SHUT_SEND), will not receive (VSOCK_SHUT_RCV), or neither. */
void vsock_core_host_shut(struct vsock_core *core, uint32_t id, unsigned shut);

/* Whether a receive chain would be used. */
bool vsock_core_has_output(const struct vsock_core *core);
/* Use a receive chain of which @iov are the writable bytes: *s says how. Errors: ADIT_ERR_PROTOCOL
 * (no room for a header and a byte): the device ends. */
ADIT_MUST_CHECK int vsock_core_next(struct vsock_core *core, const struct iovec *iov, unsigned cnt,
                                    struct vsock_send *s, struct adit_err *err);
/* @n > 0 bytes were read into s->iov. Return: bytes of the chain to push. */
uint32_t vsock_core_sent(struct vsock_core *core, const struct vsock_send *s, size_t n);

/* A connection whose status changed since it was last returned here, or VSOCK_NONE. */
uint32_t vsock_core_changed(struct vsock_core *core);
struct vsock_status vsock_core_status(const struct vsock_core *core, uint32_t id);

/* The driver forgot everything: every connection is over, nothing is said to the guest. */
void vsock_core_reset(struct vsock_core *core);
const struct vsock_counters *vsock_core_counters(const struct vsock_core *core);

#endif
