/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue as the device sees it (virtio 1.2, 2.7): chains of buffers come from the
 * available ring, and go back through the used ring.
 *
 *     vring_pop → 1: use the chain's iovecs, then vring_push (or vring_unpop: as if never taken)
 *                 0: none. vring_await; when it says that some came meanwhile, go on
 *              < 0: the guest broke the ring; the device ends
 *     after a batch: if (vring_should_notify) write the call eventfd
 *
 * A virtio-vsock ring moves bytes in one direction only, so a ring is opened for one, and a buffer
 * of the other kind is a breach. Whatever is in guest memory is read once and judged as read.
 */
#ifndef ADIT_VSOCK_DEVICE_VRING_H
#define ADIT_VSOCK_DEVICE_VRING_H

#include <sys/uio.h>

#include "vsock-device/guestmem.h"

/* Entries of a ring, and so of a chain. Over virtio-mmio QEMU has 1,024 for every device. */
#define VRING_SIZE_MAX 1024u

/* Feature bits that a ring knows. VERSION_1 is required. */
#define VRING_F_INDIRECT_DESC (1ull << 28)
#define VRING_F_EVENT_IDX (1ull << 29)
#define VRING_F_VERSION_1 (1ull << 32)

enum vring_direction {
    VRING_FROM_GUEST, /* the device reads: transmit */
    VRING_TO_GUEST,   /* the device writes: receive */
};

/*
 * What a ring is made of; copied at vring_enable, whatever the front end says later.
 * @size:               entries, a power of two up to VRING_SIZE_MAX
 * @base:               index of the available ring at which to go on (SET_VRING_BASE)
 * @desc, avail, used:  addresses of the front end (SET_VRING_ADDR)
 * @features:           VRING_F_*; others are ignored
 */
struct vring_setup {
    uint32_t size;
    uint16_t base;
    uint64_t desc, avail, used;
    uint64_t features;
    enum vring_direction direction;
};

/* Zeroed: not enabled. Owned by the device; used by one thread. */
struct vring {
    struct guestmem *mem; /* borrowed; NULL: not enabled */
    struct vring_setup setup;
    const uint8_t *desc; /* into guest memory, as avail and used */
    uint8_t *avail;
    uint8_t *used;
    uint16_t next_avail; /* the entry that vring_pop reads next */
    uint16_t next_used;  /* the entry that vring_push writes next */
    uint16_t told_used;  /* next_used when the guest was last told */
    bool has_told;       /* told_used says something */
};

/* A chain: iov[0..cnt) with len bytes, into guest memory; valid until pushed or a new table. */
struct vring_chain {
    uint16_t head;
    unsigned cnt;
    size_t len; /* sum, at most UINT32_MAX */
    struct iovec iov[VRING_SIZE_MAX];
};

/*
 * Begin to use a ring of @mem (borrowed until vring_disable) as @setup says; kicks are suppressed
 * until vring_await. Errors: ADIT_ERR_PROTOCOL: enabled already; size; no VERSION_1; a part that is
 * not whole within guest memory or is misaligned.
 */
ADIT_MUST_CHECK int vring_enable(struct vring *r, struct guestmem *mem,
                                 const struct vring_setup *setup, struct adit_err *err);
/* Return: the base at which to go on (GET_VRING_BASE). Harmless on one that is not enabled. */
uint16_t vring_disable(struct vring *r);
static inline bool vring_is_enabled(const struct vring *r)
{
    return r->mem != NULL;
}
/* After guestmem_set: find the parts of an enabled ring again. Errors: as vring_enable; then the
 * ring is not enabled any more. */
ADIT_MUST_CHECK int vring_remap(struct vring *r, struct adit_err *err);

/*
 * Take the next chain. Return: 1; 0: there is none, or the ring is not enabled; ADIT_ERR_PROTOCOL,
 * with what was wrong: more available than entries, an index or indirect table out of range, a loop
 * or a chain longer than the ring, an indirect table within one, with a next, or not negotiated, a
 * buffer that is empty, outside memory or of the other direction, more than UINT32_MAX bytes.
 */
ADIT_MUST_CHECK int vring_pop(struct vring *r, struct vring_chain *c, struct adit_err *err);
/* Undo the last vring_pop, which must not have been pushed. */
void vring_unpop(struct vring *r);
/* Give a chain back, of which the first @written bytes were written (0 from the guest's). Marks
 * them and the ring in the dirty log. */
void vring_push(struct vring *r, const struct vring_chain *c, uint32_t written);

/* Ask for a kick at the next available entry. Return: whether one is there already: do not wait. */
bool vring_await(struct vring *r);
/* Kicks are of no interest until vring_await. */
void vring_suppress_kicks(struct vring *r);
/* Whether the guest wants an interrupt for what was pushed since the last time that this was asked.
 */
bool vring_should_notify(struct vring *r);

#endif
