/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of guest memory regions and the dirty log.
 *
 * Theory of operation
 *
 * What:    regions as the front end named them; addresses of the guest and of the front end are
 * looked up in them, and nowhere else in the device is such an address turned into a pointer.
 * Limits:  GUESTMEM_REGIONS_MAX. A range must lie in one region: two that touch need not be mapped
 * next to each other.
 * Trust:   addresses and lengths are the guest's, the table is the front end's, one step from it.
 * The test is written so that no sum can wrap: len <= size && addr - base <= size - len.
 * Failure: a range that is not whole within a region is NULL; what that means the caller decides.
 */
#include "vsock-device/guestmem.h"

#include <string.h>

/* Whether [addr, addr + len) lies in [base, base + size). */
static bool contains(uint64_t base, uint64_t size, uint64_t addr, uint64_t len)
{
    return len > 0 && len <= size && addr >= base && addr - base <= size - len;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

static bool wraps(uint64_t base, uint64_t size)
{
    return base > UINT64_MAX - size;
}

static int check_region(const struct guestmem_region *regions, size_t i, struct adit_err *err)
{
    const struct guestmem_region *r = &regions[i];
    if (r->size == 0 || wraps(r->guest_addr, r->size) || wraps(r->user_addr, r->size))
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "memory region %zu is empty or wraps", i);
    for (size_t j = 0; j < i; j++)
        if (overlap(r->guest_addr, r->size, regions[j].guest_addr, regions[j].size) ||
            overlap(r->user_addr, r->size, regions[j].user_addr, regions[j].size))
            return adit_err_set(err, ADIT_ERR_PROTOCOL, "memory regions %zu and %zu overlap", j, i);
    return ADIT_OK;
}

int guestmem_set(struct guestmem *m, const struct guestmem_region *regions, size_t cnt,
                 struct adit_err *err)
{
    if (cnt > GUESTMEM_REGIONS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "%zu memory regions, at most %d", cnt,
                            GUESTMEM_REGIONS_MAX);
    if (cnt == 0)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "no memory region");
    for (size_t i = 0; i < cnt; i++) {
        int rc = check_region(regions, i, err);
        if (rc != ADIT_OK)
            return rc;
    }
    memcpy(m->regions, regions, cnt * sizeof(*regions));
    m->region_cnt = cnt;
    return ADIT_OK;
}

void *guestmem_at(const struct guestmem *m, uint64_t addr, uint64_t len)
{
    for (const struct guestmem_region *r = m->regions; r < m->regions + m->region_cnt; r++)
        if (contains(r->guest_addr, r->size, addr, len))
            return r->host + (addr - r->guest_addr);
    return NULL;
}

void *guestmem_at_user(const struct guestmem *m, uint64_t addr, uint64_t len)
{
    for (const struct guestmem_region *r = m->regions; r < m->regions + m->region_cnt; r++)
        if (contains(r->user_addr, r->size, addr, len))
            return r->host + (addr - r->user_addr);
    return NULL;
}

/* Bytes of a log in which @addr has its bit. */
static uint64_t log_reach(uint64_t addr)
{
    return addr / GUESTMEM_LOG_PAGE / 8 + 1;
}

int guestmem_set_log(struct guestmem *m, uint8_t *log, size_t len, struct adit_err *err)
{
    for (size_t i = 0; log && i < m->region_cnt; i++)
        if (len < log_reach(m->regions[i].guest_addr + m->regions[i].size - 1))
            return adit_err_set(err, ADIT_ERR_PROTOCOL,
                                "a dirty log of %zu bytes does not reach memory region %zu", len,
                                i);
    m->log = log;
    m->log_len = log ? len : 0;
    return ADIT_OK;
}

static void mark_pages(const struct guestmem *m, uint64_t addr, uint64_t len)
{
    uint64_t last = (addr + len - 1) / GUESTMEM_LOG_PAGE;
    for (uint64_t page = addr / GUESTMEM_LOG_PAGE; page <= last && page / 8 < m->log_len; page++)
        (void)__atomic_fetch_or(&m->log[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_SEQ_CST);
}

void guestmem_mark(const struct guestmem *m, const void *at, uint64_t len)
{
    if (!m->log)
        return;
    for (const struct guestmem_region *r = m->regions; r < m->regions + m->region_cnt; r++)
        if (contains((uintptr_t)r->host, r->size, (uintptr_t)at, len))
            mark_pages(m, r->guest_addr + ((uintptr_t)at - (uintptr_t)r->host), len);
}

void guestmem_copy_in(void *out, const void *at, size_t len)
{
    memcpy(out, at, len);
    __asm__ volatile("" ::: "memory");
}
