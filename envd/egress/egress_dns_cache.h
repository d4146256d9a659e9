/* SPDX-License-Identifier: Apache-2.0 */
/* What the host has said about names, for as long as it is true. No I/O; the clock is passed in. */
#ifndef ENVD_EGRESS_EGRESS_DNS_CACHE_H
#define ENVD_EGRESS_EGRESS_DNS_CACHE_H

#include "base/list.h"
#include "base/map.h"
#include "rpc/control.h"

#define EGRESS_DNS_CACHE_ENTRIES_MAX 512
/* Of all entries together. */
#define EGRESS_DNS_CACHE_BYTES_MAX (256u * 1024)
/* Longest life, however long its record's is; and of an answer that there is none. */
#define EGRESS_DNS_CACHE_S_MAX 3600
#define EGRESS_DNS_CACHE_NEGATIVE_S_MAX 60

/* @lru: what was not used for longest first. */
struct egress_dns_cache {
    struct adit_map entries;
    struct adit_list lru;
    size_t bytes;
};

void egress_dns_cache_init(struct egress_dns_cache *c);
/* Forget all; it can be used on. */
void egress_dns_cache_clear(struct egress_dns_cache *c);

/* @name: in lower case. Takes a copy, or does not: without memory, or when it is true for no time.
 */
void egress_dns_cache_put(struct egress_dns_cache *c, const char *name, uint16_t type,
                          const Control__LookupResult *result, uint64_t now_ms);
/*
 * Return: what is known, with its age; the caller frees it with
 * control__lookup_result__free_unpacked(). NULL: nothing.
 */
Control__LookupResult *egress_dns_cache_get(struct egress_dns_cache *c, const char *name,
                                            uint16_t type, uint64_t now_ms, uint32_t *age_s);

#endif
