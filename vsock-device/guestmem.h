/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the one place where an address of the guest or of the front end becomes a pointer,
 * and where pages that the device wrote are marked for whoever saves the VM while it runs.
 *
 * Everything in guest memory may change at any moment: what is read there is copied once into
 * memory of the device, and the copy is judged (guestmem_copy_in).
 */
#ifndef ADIT_VSOCK_DEVICE_GUESTMEM_H
#define ADIT_VSOCK_DEVICE_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* QEMU sends two for a microvm, more with memory slots of its own. */
#define GUESTMEM_REGIONS_MAX 8
/* What one bit of the dirty log stands for (vhost: VHOST_LOG_PAGE). */
#define GUESTMEM_LOG_PAGE 4096u

/*
 * @guest_addr: where the guest sees it
 * @user_addr:  where the front end sees it: ring addresses are given in these
 * @size:       bytes
 * @host:       where it is mapped here; borrowed, the mapping outlives the table
 */
struct guestmem_region {
    uint64_t guest_addr;
    uint64_t user_addr;
    uint64_t size;
    uint8_t *host;
};

/* Zeroed: no memory, no log. Owned by the device; used by one thread. */
struct guestmem {
    struct guestmem_region regions[GUESTMEM_REGIONS_MAX];
    size_t region_cnt;
    uint8_t *log;   /* borrowed: a bit a page, shared with the front end; or NULL */
    size_t log_len; /* bytes */
};

/*
 * Replace the table; on failure the old one stays. Rings that are enabled hold pointers into the
 * old one: vring_remap() each. Errors: ADIT_ERR_LIMIT (too many), ADIT_ERR_PROTOCOL (none, empty,
 * wrapping at 2^64 in any of its addresses, two that overlap for the guest or for the front end).
 */
ADIT_MUST_CHECK int guestmem_set(struct guestmem *m, const struct guestmem_region *regions,
                                 size_t cnt, struct adit_err *err);

/* @len bytes at guest physical @addr, whole within one region. NULL: not there, or @len is 0. */
void *guestmem_at(const struct guestmem *m, uint64_t addr, uint64_t len);
/* The same at an address of the front end. */
void *guestmem_at_user(const struct guestmem *m, uint64_t addr, uint64_t len);

/*
 * Mark written pages in @log from now on (@len bytes, a bit a GUESTMEM_LOG_PAGE from guest address
 * 0, set atomically: the front end clears them meanwhile); NULL: no more. It must reach as far as
 * the table does, or ADIT_ERR_PROTOCOL, and nothing changed. Memory that a later table puts beyond
 * it goes unmarked.
 */
ADIT_MUST_CHECK int guestmem_set_log(struct guestmem *m, uint8_t *log, size_t len,
                                     struct adit_err *err);
/* @len bytes at @at, a pointer from above or into what it led to, were written. */
void guestmem_mark(const struct guestmem *m, const void *at, uint64_t len);

/* Read @len bytes of guest memory once: the compiler must not read them again after a check. */
void guestmem_copy_in(void *out, const void *at, size_t len);

#endif
