/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages as name servers write them: right ones, and whatever a test wants to be wrong. */
#ifndef ADIT_TESTS_DNS_MESSAGE_H
#define ADIT_TESTS_DNS_MESSAGE_H

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <check.h>
#include <string.h>

#include "base/view.h"

#define DNS_HEAD_LEN 12u
#define DNS_FLAGS_ANSWER 0x8180u /* QR, RD, RA */
#define DNS_FLAG_TC 0x0200u

/* As ck_assert(), which allocates memory even where all is well: not for tests without memory. */
#define DNS_NEEDS(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)

struct dns_message {
    size_t len;
    unsigned char bytes[32768];
};

static inline void dns_u16(struct dns_message *m, unsigned v)
{
    m->bytes[m->len++] = (unsigned char)(v >> 8);
    m->bytes[m->len++] = (unsigned char)v;
}

static inline void dns_u32(struct dns_message *m, uint32_t v)
{
    dns_u16(m, v >> 16);
    dns_u16(m, v & 0xffff);
}

static inline void dns_bytes(struct dns_message *m, const void *p, size_t len)
{
    memcpy(m->bytes + m->len, p, len);
    m->len += len;
}

/* Labels between dots, whatever is in them. */
static inline void dns_name(struct dns_message *m, const char *name)
{
    struct adit_view rest = adit_view_str(name), label;
    while (rest.len > 0) {
        (void)adit_view_split(rest, '.', &label, &rest);
        m->bytes[m->len++] = (unsigned char)label.len;
        dns_bytes(m, label.ptr, label.len);
    }
    m->bytes[m->len++] = 0;
}

static inline void dns_count(struct dns_message *m, unsigned section)
{
    unsigned char *at = m->bytes + 4 + 2 * section;
    unsigned cnt = ((unsigned)at[0] << 8 | at[1]) + 1;
    at[0] = (unsigned char)(cnt >> 8);
    at[1] = (unsigned char)cnt;
}

static inline void dns_begin(struct dns_message *m, unsigned flags, const char *name, unsigned type)
{
    m->len = 0;
    dns_u16(m, 0x1234);
    dns_u16(m, flags);
    for (int i = 0; i < 4; i++)
        dns_u16(m, 0);
    dns_count(m, ns_s_qd);
    dns_name(m, name);
    dns_u16(m, type);
    dns_u16(m, ns_c_in);
}

static inline void dns_record(struct dns_message *m, ns_sect section, const char *name,
                              unsigned type, uint32_t ttl, const void *data, size_t len)
{
    dns_count(m, section);
    dns_name(m, name);
    dns_u16(m, type);
    dns_u16(m, ns_c_in);
    dns_u32(m, ttl);
    dns_u16(m, (unsigned)len);
    dns_bytes(m, data, len);
}

/* @address: of either family. */
static inline void dns_address(struct dns_message *m, const char *name, uint32_t ttl,
                               const char *address)
{
    unsigned char data[16];
    bool is_v4 = inet_pton(AF_INET, address, data) == 1;
    DNS_NEEDS(is_v4 || inet_pton(AF_INET6, address, data) == 1);
    dns_record(m, ns_s_an, name, is_v4 ? ns_t_a : ns_t_aaaa, ttl, data, is_v4 ? 4 : 16);
}

static inline void dns_alias(struct dns_message *m, const char *name, uint32_t ttl,
                             const char *target)
{
    struct dns_message t = {.len = 0};
    dns_name(&t, target);
    dns_record(m, ns_s_an, name, ns_t_cname, ttl, t.bytes, t.len);
}

static inline void dns_soa(struct dns_message *m, const char *zone, uint32_t ttl, uint32_t minimum)
{
    struct dns_message t = {.len = 0};
    dns_name(&t, "ns.example");
    dns_name(&t, "root.example");
    for (uint32_t i = 1; i <= 4; i++)
        dns_u32(&t, i);
    dns_u32(&t, minimum);
    dns_record(m, ns_s_ns, zone, ns_t_soa, ttl, t.bytes, t.len);
}

static inline struct adit_view dns_view(const struct dns_message *m)
{
    return adit_view_mem(m->bytes, m->len);
}

#endif
