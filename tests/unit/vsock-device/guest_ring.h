/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of 64 KiB with one ring, as its driver sees it: for tests of the device, which sees the
 * same memory through guestmem and vring. A rule of the driver is kept only if a test asks for it.
 */
#ifndef ADIT_TESTS_UNIT_VSOCK_DEVICE_GUEST_RING_H
#define ADIT_TESTS_UNIT_VSOCK_DEVICE_GUEST_RING_H

#include <stdlib.h>
#include <string.h>

#include "vsock-device/vring.h"

#define GUEST_MEM (64u * 1024)
#define GUEST_ADDR 0x100000ull
#define GUEST_USER 0x7f0000000000ull
/* Where a ring's parts lie, in guest memory; the bytes from GUEST_FREE on are for buffers. */
#define GUEST_DESC 0x0u
#define GUEST_AVAIL 0x1000u
#define GUEST_USED 0x2000u
#define GUEST_INDIRECT 0x3000u
#define GUEST_FREE 0x4000u

enum { GUEST_NEXT = 1, GUEST_WRITE = 2, GUEST_TABLE = 4 };

struct guest_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct guest_ring {
    uint8_t *mem; /* GUEST_MEM bytes */
    struct guestmem table;
    struct vring ring;
    struct vring_setup setup;
    uint16_t avail_idx; /* what the driver made available */
    uint16_t seen_used; /* what it has taken back */
};

static inline void *guest_ptr(struct guest_ring *g, uint64_t offset)
{
    return g->mem + offset;
}

static inline struct guest_desc *guest_desc(struct guest_ring *g, unsigned i)
{
    return (struct guest_desc *)guest_ptr(g, GUEST_DESC + i * sizeof(struct guest_desc));
}

static inline uint16_t *guest_avail(struct guest_ring *g)
{
    return guest_ptr(g, GUEST_AVAIL);
}

static inline uint16_t *guest_used(struct guest_ring *g)
{
    return guest_ptr(g, GUEST_USED);
}

/* The guest's wish about interrupts: the index up to which it wants none. */
static inline uint16_t *guest_used_event(struct guest_ring *g)
{
    return &guest_avail(g)[2 + g->setup.size];
}

/* The device's about kicks. */
static inline uint16_t *guest_avail_event(struct guest_ring *g)
{
    return &guest_used(g)[2 + 4 * g->setup.size];
}

static inline void guest_init(struct guest_ring *g, uint32_t size, uint64_t features,
                              enum vring_direction direction)
{
    *g = (struct guest_ring){.setup = {
                                 .size = size,
                                 .desc = GUEST_USER + GUEST_DESC,
                                 .avail = GUEST_USER + GUEST_AVAIL,
                                 .used = GUEST_USER + GUEST_USED,
                                 .features = features | VRING_F_VERSION_1,
                                 .direction = direction,
                             }};
    g->mem = aligned_alloc(4096, GUEST_MEM);
    if (!g->mem)
        abort();
    memset(g->mem, 0, GUEST_MEM);
    struct guestmem_region region = {GUEST_ADDR, GUEST_USER, GUEST_MEM, g->mem};
    if (guestmem_set(&g->table, &region, 1, NULL) != ADIT_OK)
        abort();
}

static inline int guest_enable(struct guest_ring *g, struct adit_err *err)
{
    return vring_enable(&g->ring, &g->table, &g->setup, err);
}

static inline void guest_fini(struct guest_ring *g)
{
    (void)vring_disable(&g->ring);
    free(g->mem);
}

/* Fill descriptor @i with the buffer at @offset. */
static inline void guest_put(struct guest_ring *g, unsigned i, uint64_t offset, uint32_t len,
                             uint16_t flags, uint16_t next)
{
    *guest_desc(g, i) = (struct guest_desc){GUEST_ADDR + offset, len, flags, next};
}

/* Make the chain at @head available. */
static inline void guest_offer(struct guest_ring *g, uint16_t head)
{
    guest_avail(g)[2 + g->avail_idx % g->setup.size] = head;
    g->avail_idx++;
    __atomic_store_n(&guest_avail(g)[1], g->avail_idx, __ATOMIC_RELEASE);
}

/* Take a used chain back. Return: whether there was one. */
static inline bool guest_take(struct guest_ring *g, uint32_t *head, uint32_t *len)
{
    uint32_t entry[2];
    if (__atomic_load_n(&guest_used(g)[1], __ATOMIC_ACQUIRE) == g->seen_used)
        return false;
    memcpy(entry, g->mem + GUEST_USED + 4 + 8 * (g->seen_used++ % g->setup.size), sizeof(entry));
    *head = entry[0];
    *len = entry[1];
    return true;
}

#endif
