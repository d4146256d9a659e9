/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and guest memory made of the input. Oracles: what is handed out lies in guest memory, is
 * counted right and no longer than the ring; a refusal has a reason and repeats; each page that
 * changed is marked in the dirty log.
 */
#include "tests/fuzz/oracle.h"

#include <string.h>

#include "vsock-device/vring.h"

#define REGION_LEN (2u * GUESTMEM_LOG_PAGE)
#define LOW 0x0ull
#define HIGH 0x10000ull
#define LOG_LEN ((HIGH + REGION_LEN) / GUESTMEM_LOG_PAGE / 8 + 1)
/* Rings that overlap may have chains without end, one a push. */
#define POPS_MAX 600u

/* What the input begins with; the rest is guest memory from its beginning on. */
struct head {
    uint8_t size_log, flags; /* 1: to the guest, 2: event index, 4: indirect, 8: remap amid */
    uint16_t base;
    uint16_t desc, avail, used; /* offsets; odd ones too */
    uint8_t written, batch;
};

static uint8_t *low, *high, low_before[REGION_LEN], high_before[REGION_LEN];
static uint8_t log_bits[LOG_LEN];

static void make_memory(struct guestmem *m, const uint8_t *data, size_t size)
{
    const struct guestmem_region regions[] = {
        {LOW, LOW, REGION_LEN, low},
        {HIGH, HIGH, REGION_LEN, high},
    };
    memset(low, 0, REGION_LEN);
    memset(high, 0xa5, REGION_LEN);
    memcpy(low, data, size < REGION_LEN ? size : REGION_LEN);
    memset(log_bits, 0, sizeof(log_bits));
    *m = (struct guestmem){0};
    ORACLE(guestmem_set(m, regions, 2, NULL) == ADIT_OK);
    ORACLE(guestmem_set_log(m, log_bits, sizeof(log_bits), NULL) == ADIT_OK);
    memcpy(low_before, low, REGION_LEN);
    memcpy(high_before, high, REGION_LEN);
}

static void check_region_marked(uint64_t addr, const uint8_t *now, const uint8_t *before)
{
    for (uint64_t at = 0; at < REGION_LEN; at += GUESTMEM_LOG_PAGE) {
        uint64_t page = (addr + at) / GUESTMEM_LOG_PAGE;
        ORACLE(memcmp(now + at, before + at, GUESTMEM_LOG_PAGE) == 0 ||
               (log_bits[page / 8] & 1u << page % 8));
    }
}

static bool is_within(const uint8_t *at, size_t len)
{
    const uint8_t *base = at >= low && at < low + REGION_LEN ? low : high;
    return at >= base && at < base + REGION_LEN && len > 0 &&
           len <= (size_t)(base + REGION_LEN - at);
}

static void use_chain(const struct vring *r, const struct vring_chain *c)
{
    size_t len = 0;
    ORACLE(c->cnt > 0 && c->cnt <= r->setup.size);
    for (unsigned i = 0; i < c->cnt; i++) {
        ORACLE(is_within(c->iov[i].iov_base, c->iov[i].iov_len));
        len += c->iov[i].iov_len;
    }
    ORACLE(len == c->len);
}

/* Write as a device does, and only where it says that it did. */
static uint32_t fill(const struct vring *r, const struct vring_chain *c, uint8_t part)
{
    if (r->setup.direction == VRING_FROM_GUEST)
        return 0;
    size_t len = c->len * part / 255, left = len;
    for (unsigned i = 0; i < c->cnt && left > 0; i++) {
        size_t n = c->iov[i].iov_len < left ? c->iov[i].iov_len : left;
        memset(c->iov[i].iov_base, 0x5a, n);
        left -= n;
    }
    return (uint32_t)len;
}

static void run(struct vring *r, const struct head *h)
{
    static struct vring_chain c;
    struct adit_err err = ADIT_ERR_INIT;
    for (unsigned i = 0; i < POPS_MAX; i++) {
        int rc = vring_pop(r, &c, &err);
        if (rc < 0) {
            ORACLE(rc == ADIT_ERR_PROTOCOL && err.msg[0] != '\0');
            ORACLE(vring_pop(r, &c, NULL) == rc);
            return;
        }
        if (rc == 0) {
            (void)vring_await(r);
            return;
        }
        use_chain(r, &c);
        uint16_t head = c.head;
        vring_unpop(r);
        ORACLE(vring_pop(r, &c, NULL) == 1 && c.head == head);
        vring_push(r, &c, fill(r, &c, h->written));
        if (i % (h->batch + 1u) == 0)
            (void)vring_should_notify(r);
        if (h->flags & 8)
            ORACLE(vring_remap(r, NULL) == ADIT_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head h;
    struct guestmem mem;
    struct vring ring = {0};
    if (!low) {
        low = malloc(REGION_LEN);
        high = malloc(REGION_LEN);
        ORACLE(low && high);
    }
    if (size < sizeof(h))
        return 0;
    memcpy(&h, data, sizeof(h));
    make_memory(&mem, data + sizeof(h), size - sizeof(h));
    struct vring_setup setup = {
        .size = 1u << h.size_log % 12,
        .base = h.base,
        .desc = h.desc,
        .avail = h.avail,
        .used = h.used,
        .features = VRING_F_VERSION_1 | (h.flags & 2 ? VRING_F_EVENT_IDX : 0) |
                    (h.flags & 4 ? VRING_F_INDIRECT_DESC : 0),
        .direction = h.flags & 1 ? VRING_TO_GUEST : VRING_FROM_GUEST,
    };
    if (vring_enable(&ring, &mem, &setup, NULL) == ADIT_OK) {
        run(&ring, &h);
        (void)vring_disable(&ring);
    }
    check_region_marked(LOW, low, low_before);
    check_region_marked(HIGH, high, high_before);
    return 0;
}
