/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, device side.
 *
 * Theory of operation
 *
 * What:    walks the chains that the driver made available and hands them out as iovecs; gives them
 * back. Three areas lie in guest memory: the descriptor table, the available ring (the guest writes
 * it, with the index up to which it wants no interrupt behind it) and the used ring (the device
 * writes it, with the index up to which it wants no kick behind it).
 * States:  zeroed -vring_enable-> enabled -vring_disable-> zeroed. What the ring is made of is
 * copied when it is enabled, and its own two indices are never read back: nothing that the guest or
 * the front end changes later moves a bound. Limits:  VRING_SIZE_MAX. A walk takes at most one step
 * more than the ring has entries, whatever the descriptors say, so a loop ends as a chain that is
 * too long. Trust:   each index, descriptor and flag is the guest's. It is loaded once, and the
 * copy is judged and used. An address becomes a pointer in guestmem only. Failure: a breach is
 * ADIT_ERR_PROTOCOL with its reason and ends the device: a driver that breaks its ring cannot be
 * told, and one that does so is broken or hostile. Source:  virtio 1.2, 2.7.
 */
#include "vsock-device/vring.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

enum {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
    AVAIL_NO_INTERRUPT = 1,
    USED_NO_NOTIFY = 1,
    /* Both rings: flags, index, entries; behind them the other side's event index. */
    OFFSET_FLAGS = 0,
    OFFSET_IDX = 2,
    OFFSET_ENTRIES = 4,
};

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct used_entry {
    uint32_t id;
    uint32_t len;
};

/* Where a walk is: the ring's table or the one indirect table of the chain. */
struct table {
    const uint8_t *descs;
    uint32_t cnt;
    bool is_indirect;
};

static uint16_t load16(const uint8_t *at)
{
    const void *p = at;
    return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE));
}

static void store16(const struct vring *r, uint8_t *at, uint16_t value)
{
    void *p = at;
    __atomic_store_n((uint16_t *)p, htole16(value), __ATOMIC_RELEASE);
    guestmem_mark(r->mem, at, sizeof(value));
}

static bool has(const struct vring *r, uint64_t feature)
{
    return (r->setup.features & feature) != 0;
}

static uint32_t slot(const struct vring *r, uint16_t index)
{
    return index & (r->setup.size - 1);
}

static const uint8_t *avail_entry(const struct vring *r, uint32_t i)
{
    return r->avail + OFFSET_ENTRIES + i * sizeof(uint16_t);
}

static uint8_t *used_entry(const struct vring *r, uint32_t i)
{
    return r->used + OFFSET_ENTRIES + i * sizeof(struct used_entry);
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

static int map_part(const struct vring *r, const char *name, uint64_t addr, size_t len,
                    size_t align, uint8_t **out, struct adit_err *err)
{
    *out = guestmem_at_user(r->mem, addr, len);
    if (!*out)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the %s at 0x%llx is not within memory", name,
                            (unsigned long long)addr);
    if ((uintptr_t)*out % align != 0)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "the %s at 0x%llx is misaligned", name,
                            (unsigned long long)addr);
    return ADIT_OK;
}

static int map_parts(struct vring *r, struct adit_err *err)
{
    const struct vring_setup *s = &r->setup;
    uint8_t *descs;
    /* A ring ends with the event index, in use or not. */
    size_t event = sizeof(uint16_t);
    int rc =
        map_part(r, "descriptor table", s->desc, s->size * sizeof(struct desc), 16, &descs, err);
    if (rc == ADIT_OK)
        rc = map_part(r, "available ring", s->avail,
                      OFFSET_ENTRIES + s->size * sizeof(uint16_t) + event, 2, &r->avail, err);
    if (rc == ADIT_OK)
        rc = map_part(r, "used ring", s->used,
                      OFFSET_ENTRIES + s->size * sizeof(struct used_entry) + event, 4, &r->used,
                      err);
    if (rc == ADIT_OK)
        r->desc = descs;
    return rc;
}

int vring_enable(struct vring *r, struct guestmem *mem, const struct vring_setup *setup,
                 struct adit_err *err)
{
    uint32_t size = setup->size;
    if (vring_is_enabled(r))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a ring in use is set up again");
    if (size == 0 || size > VRING_SIZE_MAX || (size & (size - 1)) != 0)
        return adit_err_set(err, ADIT_ERR_PROTOCOL,
                            "a ring of %u entries is not a power of two up to %u", size,
                            VRING_SIZE_MAX);
    if (!(setup->features & VRING_F_VERSION_1))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "a ring without VIRTIO_F_VERSION_1");
    *r = (struct vring){.mem = mem, .setup = *setup, .next_avail = setup->base};
    if (vring_remap(r, err) != ADIT_OK)
        return ADIT_ERR_PROTOCOL;
    r->next_used = load16(r->used + OFFSET_IDX);
    vring_suppress_kicks(r);
    return ADIT_OK;
}

uint16_t vring_disable(struct vring *r)
{
    uint16_t base = r->next_avail;
    *r = (struct vring){0};
    return base;
}

int vring_remap(struct vring *r, struct adit_err *err)
{
    int rc = vring_is_enabled(r) ? map_parts(r, err) : ADIT_OK;
    if (rc != ADIT_OK)
        (void)vring_disable(r); /* the device ends, its base is of no use */
    return rc;
}

/* ---- taking ------------------------------------------------------------------------------------
 */

static int breach(const struct vring_chain *c, const char *what, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_PROTOCOL, "descriptor chain %u: %s", c->head, what);
}

/* The copy is what counts from here on. */
static struct desc load_desc(const struct table *t, uint32_t index)
{
    struct desc d;
    guestmem_copy_in(&d, t->descs + (size_t)index * sizeof(d), sizeof(d));
    return (struct desc){le64toh(d.addr), le32toh(d.len), le16toh(d.flags), le16toh(d.next)};
}

/* Go on in the indirect table that @d names. */
static int enter_indirect(const struct vring *r, const struct vring_chain *c, const struct desc *d,
                          struct table *t, struct adit_err *err)
{
    if (!has(r, VRING_F_INDIRECT_DESC))
        return breach(c, "an indirect table that was not negotiated", err);
    if (t->is_indirect)
        return breach(c, "an indirect table within an indirect table", err);
    if (d->flags & DESC_NEXT)
        return breach(c, "an indirect table that is not the last descriptor", err);
    if (d->len % sizeof(struct desc) != 0)
        return breach(c, "an indirect table that ends within a descriptor", err);
    *t = (struct table){guestmem_at(r->mem, d->addr, d->len), d->len / (uint32_t)sizeof(*d), true};
    return t->descs ? ADIT_OK : breach(c, "an indirect table that is not within memory", err);
}

static int add_buffer(const struct vring *r, struct vring_chain *c, const struct desc *d,
                      struct adit_err *err)
{
    bool is_written = (d->flags & DESC_WRITE) != 0;
    if (c->cnt == r->setup.size)
        return breach(c, "longer than the ring, or a loop", err);
    if (is_written != (r->setup.direction == VRING_TO_GUEST))
        return breach(c, "a buffer of the wrong direction", err);
    void *at = guestmem_at(r->mem, d->addr, d->len);
    if (!at)
        return breach(c, "a buffer that is empty or not within memory", err);
    c->iov[c->cnt++] = (struct iovec){at, d->len};
    c->len += d->len;
    return c->len <= UINT32_MAX ? ADIT_OK : breach(c, "more than 4 GiB", err);
}

static int gather(const struct vring *r, struct vring_chain *c, struct adit_err *err)
{
    struct table t = {r->desc, r->setup.size, false};
    uint32_t index = c->head;
    for (;;) {
        if (index >= t.cnt)
            return breach(c, "a descriptor beyond its table", err);
        struct desc d = load_desc(&t, index);
        bool is_table = (d.flags & DESC_INDIRECT) != 0;
        int rc = is_table ? enter_indirect(r, c, &d, &t, err) : add_buffer(r, c, &d, err);
        if (rc != ADIT_OK)
            return rc;
        if (!is_table && !(d.flags & DESC_NEXT))
            return ADIT_OK;
        index = is_table ? 0 : d.next;
    }
}

int vring_pop(struct vring *r, struct vring_chain *c, struct adit_err *err)
{
    if (!vring_is_enabled(r))
        return 0;
    uint16_t waiting = (uint16_t)(load16(r->avail + OFFSET_IDX) - r->next_avail);
    if (waiting == 0)
        return 0;
    if (waiting > r->setup.size)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "%u chains available in a ring of %u", waiting,
                            r->setup.size);
    c->head = load16(avail_entry(r, slot(r, r->next_avail)));
    c->cnt = 0;
    c->len = 0;
    int rc = gather(r, c, err);
    if (rc != ADIT_OK)
        return rc;
    r->next_avail++;
    return 1;
}

void vring_unpop(struct vring *r)
{
    r->next_avail--;
}

/* ---- giving back --------------------------------------------------------------------------- */

static void mark_written(const struct vring *r, const struct vring_chain *c, size_t written)
{
    for (unsigned i = 0; i < c->cnt && written > 0; i++) {
        size_t part = c->iov[i].iov_len < written ? c->iov[i].iov_len : written;
        guestmem_mark(r->mem, c->iov[i].iov_base, part);
        written -= part;
    }
}

void vring_push(struct vring *r, const struct vring_chain *c, uint32_t written)
{
    assert(vring_is_enabled(r) && written <= c->len);
    struct used_entry e = {htole32(c->head), htole32(written)};
    uint8_t *at = used_entry(r, slot(r, r->next_used));
    memcpy(at, &e, sizeof(e));
    guestmem_mark(r->mem, at, sizeof(e));
    mark_written(r, c, written);
    /* Last: the guest may use the chain from here on. */
    store16(r, r->used + OFFSET_IDX, ++r->next_used);
}

/* ---- kicks and interrupts ------------------------------------------------------------------ */

bool vring_await(struct vring *r)
{
    if (!vring_is_enabled(r))
        return false;
    if (has(r, VRING_F_EVENT_IDX))
        store16(r, used_entry(r, r->setup.size), r->next_avail);
    else
        store16(r, r->used + OFFSET_FLAGS, 0);
    /* The guest writes its index and then reads this: one of us sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load16(r->avail + OFFSET_IDX) != r->next_avail;
}

void vring_suppress_kicks(struct vring *r)
{
    /* With event indices it is enough not to move ours. */
    if (vring_is_enabled(r) && !has(r, VRING_F_EVENT_IDX))
        store16(r, r->used + OFFSET_FLAGS, USED_NO_NOTIFY);
}

bool vring_should_notify(struct vring *r)
{
    uint16_t old = r->told_used;
    bool had_told = r->has_told;
    if (!vring_is_enabled(r) || (had_told && old == r->next_used))
        return false;
    r->told_used = r->next_used;
    r->has_told = true;
    /* The guest writes what it wants and then reads our index: one of us sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!has(r, VRING_F_EVENT_IDX))
        return !(load16(r->avail + OFFSET_FLAGS) & AVAIL_NO_INTERRUPT);
    /* Whether the index that the guest waits for lies in what was pushed, as 16 bits wrap. */
    uint16_t event = load16(avail_entry(r, r->setup.size));
    return !had_told || (uint16_t)(r->next_used - event - 1) < (uint16_t)(r->next_used - old);
}
