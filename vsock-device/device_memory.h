/* SPDX-License-Identifier: Apache-2.0 */
/* The files of guest memory and of the log of dirty pages, mapped. */
#ifndef ADIT_VSOCK_DEVICE_DEVICE_MEMORY_H
#define ADIT_VSOCK_DEVICE_DEVICE_MEMORY_H

#include "base/err.h"
#include "vsock-device/vhost_user.h"

struct device_mapping {
    void *at;
    size_t len;
};

/* Zeroed: nothing is mapped. Owned by: device. */
struct device_memory {
    struct guestmem guest;
    struct device_mapping regions[GUESTMEM_REGIONS_MAX];
    size_t region_cnt;
    struct device_mapping log;
};

/*
 * Map the regions of @v in place of those that were, and find the rings again. Errors: PROTOCOL
 * (a file that is shorter than its region, what guestmem_set() refuses), of mmap.
 */
ADIT_MUST_CHECK int device_memory_set(struct device_memory *m, const struct vhost_user *v,
                                      struct vring *rings, struct adit_err *err);
/* Map the log of @v if there is a new one; mark pages in it or not, as @v's features say. Errors as
 * above. */
ADIT_MUST_CHECK int device_memory_set_log(struct device_memory *m, const struct vhost_user *v,
                                          struct adit_err *err);
void device_memory_fini(struct device_memory *m);

#endif
