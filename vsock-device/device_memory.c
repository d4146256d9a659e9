/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM shares, in this process's address space.
 *
 * Theory of operation
 *
 * What:    maps the files that come with a memory table or a log, and nothing else of them. New
 * ones are mapped before the old ones go, so that a failure changes nothing.
 * Ownership: the mappings; the descriptors stay vhost_user's.
 * Trust:   a file is as long as it has to be when it is mapped. One that is cut short later ends
 * this process by SIGBUS, and with it its own VM.
 */
#include "vsock-device/device_memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void unmap(struct device_mapping *m)
{
    if (m->at)
        (void)munmap(m->at, m->len); /* as it was mapped */
    *m = (struct device_mapping){0};
}

static int map(int fd, uint64_t offset, uint64_t len, struct device_mapping *out,
               struct adit_err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return adit_err_sys(err, errno, "look at a file of memory");
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < offset ||
        (uint64_t)st.st_size - offset < len)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "vhost-user: a file is shorter than is said");
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (at == MAP_FAILED)
        return adit_err_sys(err, errno, "map memory of the guest");
    *out = (struct device_mapping){at, len};
    return 0;
}

static void unmap_all(struct device_mapping *maps, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++)
        unmap(&maps[i]);
}

static int map_all(const struct vhost_user *v, struct device_mapping *maps,
                   struct guestmem_region *regions, struct adit_err *err)
{
    for (size_t i = 0; i < v->region_cnt; i++) {
        const struct vhost_user_region *r = &v->regions[i];
        int rc = map(r->fd, r->map_offset, r->len, &maps[i], err);
        if (rc)
            return rc;
        regions[i] = (struct guestmem_region){r->guest_addr, r->user_addr, r->len, maps[i].at};
    }
    return 0;
}

static int remap_rings(struct vring *rings, struct adit_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < VHOST_USER_RING_CNT; i++)
        if (vring_is_enabled(&rings[i]))
            rc = vring_remap(&rings[i], err);
    return rc;
}

int device_memory_set(struct device_memory *m, const struct vhost_user *v, struct vring *rings,
                      struct adit_err *err)
{
    struct device_mapping maps[GUESTMEM_REGIONS_MAX] = {0};
    struct guestmem_region regions[GUESTMEM_REGIONS_MAX];
    int rc = map_all(v, maps, regions, err);
    if (rc == 0)
        rc = guestmem_set(&m->guest, regions, v->region_cnt, err);
    if (rc) {
        unmap_all(maps, v->region_cnt);
        return rc;
    }
    rc = remap_rings(rings, err);
    unmap_all(m->regions, m->region_cnt);
    m->region_cnt = v->region_cnt;
    for (size_t i = 0; i < m->region_cnt; i++)
        m->regions[i] = maps[i];
    return rc;
}

int device_memory_set_log(struct device_memory *m, const struct vhost_user *v, struct adit_err *err)
{
    struct device_mapping log = m->log;
    bool is_on = v->features & VHOST_USER_F_LOG_ALL;
    int rc = v->log.fd < 0 ? 0 : map(v->log.fd, v->log.map_offset, v->log.len, &log, err);
    if (rc)
        return rc;
    rc = guestmem_set_log(&m->guest, is_on ? log.at : NULL, log.len, err);
    if (log.at == m->log.at)
        return rc;
    if (rc) {
        unmap(&log);
        return rc;
    }
    unmap(&m->log);
    m->log = log;
    return 0;
}

void device_memory_fini(struct device_memory *m)
{
    unmap_all(m->regions, m->region_cnt);
    unmap(&m->log);
    *m = (struct device_memory){0};
}
