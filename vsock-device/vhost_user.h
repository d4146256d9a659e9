/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM says to this device on its vhost-user socket: features, guest memory, the two
 * virtqueues, the log of dirty pages, the configuration. A state machine without I/O: bytes and
 * descriptors in, what to do and a reply out. Source: QEMU docs/interop/vhost-user.rst; virtio 1.2,
 * 5.10 (socket device). docs/wire/vsock.md says what is offered.
 */
#ifndef ADIT_VSOCK_DEVICE_VHOST_USER_H
#define ADIT_VSOCK_DEVICE_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vsock-device/vring.h"

/* The receive and the transmit queue; the VMM keeps the event queue for itself. */
#define VHOST_USER_RING_CNT 2
#define VHOST_USER_REGION_MAX GUESTMEM_REGIONS_MAX
/* What a file is mapped in. */
#define VHOST_USER_PAGE 4096u

#define VHOST_USER_HEADER_LEN 12
/* A memory table of eight regions; a configuration request is longer by what is not ours. */
#define VHOST_USER_PAYLOAD_MAX 272
#define VHOST_USER_MESSAGE_MAX (VHOST_USER_HEADER_LEN + VHOST_USER_PAYLOAD_MAX)

/* Offered features. */
#define VHOST_USER_F_LOG_ALL (1ull << 26)
#define VHOST_USER_F_PROTOCOL (1ull << 30)
#define VHOST_USER_FEATURES                                                                        \
    (VHOST_USER_F_LOG_ALL | VHOST_USER_F_PROTOCOL | VRING_F_INDIRECT_DESC | VRING_F_EVENT_IDX |    \
     VRING_F_VERSION_1)

#define VHOST_USER_PROTOCOL_LOG_SHMFD (1ull << 1)
#define VHOST_USER_PROTOCOL_REPLY_ACK (1ull << 3)
#define VHOST_USER_PROTOCOL_CONFIG (1ull << 9)
#define VHOST_USER_PROTOCOL_FEATURES                                                               \
    (VHOST_USER_PROTOCOL_LOG_SHMFD | VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_CONFIG)

/* By number; those that are missing here are refused. */
enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_REQUEST_CNT
};

/*
 * A part of guest memory. What can be mapped at all is checked here, the rest by guestmem_set().
 *
 * @user_addr: where the VMM has it; addresses of rings are told in these
 * @fd:        open until vhost_user_finish(), else -1
 */
struct vhost_user_region {
    uint64_t guest_addr, len, user_addr, map_offset;
    int fd;
};

/* @fd: of the last SET_LOG_BASE, open until vhost_user_finish(), else -1 */
struct vhost_user_log {
    uint64_t len, map_offset;
    int fd;
};

/*
 * @base:       the next entry of the available ring; the device writes it when it halts the ring
 * @kick_fd:    -1: not started. The guest's notifications
 * @call_fd:    -1: the guest wants none. Interrupts
 * @is_enabled: by SET_VRING_ENABLE
 * @is_running: RUN was told, HALT was not
 */
struct vhost_user_ring {
    uint32_t size;
    uint16_t base;
    uint64_t desc, avail, used; /* user addresses */
    bool has_addr, is_enabled, is_running;
    int kick_fd, call_fd;
};

/*
 * What the device does before vhost_user_finish():
 * MEMORY: the regions are new: map these, unmap the old ones
 * LOG:    log.fd >= 0: map that log; and log or not, as features has VHOST_USER_F_LOG_ALL
 * RUN:    enable rings[ring], from its base on
 * HALT:   disable it, put where it stands into its base
 * CALL:   rings[ring].call_fd is new: make it not block
 */
enum vhost_user_event {
    VHOST_USER_NOTHING,
    VHOST_USER_MEMORY,
    VHOST_USER_LOG,
    VHOST_USER_RUN,
    VHOST_USER_HALT,
    VHOST_USER_CALL,
};

/*
 * Owned by: device. All but what is marked is the device's to read.
 *
 * @event, @ring: of the message that is whole
 * @last_base:    where the rings stood when they were last halted
 */
struct vhost_user {
    uint64_t guest_cid;
    uint64_t features, protocol_features;
    struct vhost_user_region regions[VHOST_USER_REGION_MAX];
    size_t region_cnt;
    struct vhost_user_log log;
    struct vhost_user_ring rings[VHOST_USER_RING_CNT];
    uint16_t last_base[VHOST_USER_RING_CNT];
    enum vhost_user_event event;
    unsigned ring;

    /* private: the message in work, its descriptors, the reply */
    uint8_t in[VHOST_USER_MESSAGE_MAX];
    size_t in_len;
    int fds[VHOST_USER_REGION_MAX];
    size_t fd_cnt;
    uint8_t reply[VHOST_USER_PAYLOAD_MAX];
    size_t reply_len;
};

/* @guest_cid: what GET_CONFIG answers. */
void vhost_user_init(struct vhost_user *v, uint64_t guest_cid);
/* Close every descriptor it owns. */
void vhost_user_fini(struct vhost_user *v);

/* How many bytes the message in work still takes as far as known; never 0. No more may be read at
 * once, so that descriptors arrive with the message that they belong to. */
size_t vhost_user_wanted(const struct vhost_user *v);

/*
 * Take @len (<= vhost_user_wanted()) bytes and the descriptors @fds that came with them, which it
 * owns from then on, also on failure. *done: a message is whole; the caller does what @event says
 * and calls vhost_user_finish().
 * Errors: ADIT_ERR_PROTOCOL: the VMM broke the protocol, the device is of no use any more.
 */
ADIT_MUST_CHECK int vhost_user_feed(struct vhost_user *v, const void *bytes, size_t len,
                                    const int *fds, size_t fd_cnt, bool *done,
                                    struct adit_err *err);

/*
 * The message was dealt with. Return: the length of the reply in @out (VHOST_USER_MESSAGE_MAX), 0:
 * none is due.
 */
size_t vhost_user_finish(struct vhost_user *v, uint8_t *out);

/*
 * Whether the rings go on from where they were halted (a VM that was stopped and continued, the
 * connections of which live on) and not from the start of a new driver. Both rings have their base.
 */
bool vhost_user_is_resumed(const struct vhost_user *v);

#endif
