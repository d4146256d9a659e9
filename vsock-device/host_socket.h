/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the connections: a listening Unix socket on which a client sends "CONNECT
 * <port>\n", reads "OK <n>\n" and then has a byte stream to that port of the guest. docs/wire/
 * vsock.md.
 */
#ifndef ADIT_VSOCK_DEVICE_HOST_SOCKET_H
#define ADIT_VSOCK_DEVICE_HOST_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vsock-device/vsock_core.h"

/* Sockets that have not said their port yet, beside those of connections. One more is closed. */
#define HOST_SOCKET_WAITING_MAX 64
#define HOST_SOCKET_MAX (VSOCK_CONNS_MAX + HOST_SOCKET_WAITING_MAX)
/* What the kernel holds for a client that does not read is this machine's memory as well. So many
 * sockets have the system's usual room (232 KiB each, as measured), those that are opened while
 * there are as many the little one (37 KiB): 45 MiB in all, not 232. */
#define HOST_SOCKET_WIDE_MAX 32
#define HOST_SOCKET_NARROW_BYTES (16 * 1024)
/* For the line with the port. */
#define HOST_SOCKET_LINE_TIMEOUT_MS 2000u
/* Sockets that are accepted before others get their turn. */
#define HOST_SOCKET_ACCEPT_MAX 64
/* What epoll_event.data.u64 is of the listening socket, and below which none of ours is. */
#define HOST_SOCKET_LISTENER 0ull
#define HOST_SOCKET_FIRST 16ull

/*
 * A slot of the table. Free: fd is -1.
 *
 * @id:         of the connection; VSOCK_NONE: the line is still waited for
 * @use:        counts the sockets that the slot had, so that an event of an earlier one is known
 * @next, @prev: in the list of free slots, or of those that wait, oldest first
 * @since_ms:   when it was accepted
 * @was_hung_up: the client is gone for good; what it sent before still goes to the guest
 */
struct host_socket {
    int fd;
    uint32_t id, use;
    uint16_t next, prev;
    bool is_answered, is_read_shut, is_write_shut, is_write_watched, was_hung_up;
    uint64_t since_ms;
};

/* Owned by: device. */
struct host_socket_table {
    struct vsock_core *core; /* borrowed */
    int epoll_fd, listen_fd; /* borrowed */
    uint64_t now_ms;
    bool is_accept_due; /* clients may wait that no event tells of any more */
    uint16_t free, first_waiting, last_waiting, open_cnt;
    uint16_t slot_of[VSOCK_CONNS_MAX];
    struct host_socket slots[HOST_SOCKET_MAX];
};

/* Begin to listen to @listen_fd, a listening non-blocking Unix socket. Errors: of epoll_ctl. */
ADIT_MUST_CHECK int host_socket_init(struct host_socket_table *t, struct vsock_core *core,
                                     int epoll_fd, int listen_fd, struct adit_err *err);
/* Close every socket. */
void host_socket_fini(struct host_socket_table *t);

/* Time passes: close those that did not say their port in time. */
void host_socket_tick(struct host_socket_table *t, uint64_t now_ms);
/* Milliseconds until the next tick is needed; -1: none is. */
int host_socket_wait_ms(const struct host_socket_table *t);

/* epoll told @events of @data, which is the listener's or at least HOST_SOCKET_FIRST. */
void host_socket_on_event(struct host_socket_table *t, uint64_t data, uint32_t events);
/* Accept those that wait, when is_accept_due. */
void host_socket_accept(struct host_socket_table *t);
/* Do what the core says of connections that changed. */
void host_socket_step(struct host_socket_table *t);

/* Write the payload of a guest's packet to its socket and tell the core how much was taken. */
void host_socket_give(struct host_socket_table *t, const struct vsock_payload *payload);
/* Read into @s, of kind READ. Return: bytes read; 0: nothing now or ever, and the core knows. */
size_t host_socket_take(struct host_socket_table *t, const struct vsock_send *s);

#endif
