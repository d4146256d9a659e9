/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses and blocks of them. */
#include "net/ip_block.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

#define V4_BITS 96u /* of the prefix that makes an IPv4 address one of 16 bytes */

/* Blocks are written as their bytes; IPv4 ones are under V4_BITS. */
struct row {
    unsigned char bytes[16];
    unsigned bits;
};
#define V4(a, b, c, d, n)                                                                          \
    {                                                                                              \
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b), (c), (d)}, V4_BITS + (n)              \
    }

static const struct row special[] = {
    V4(0, 0, 0, 0, 8),       /* this network */
    V4(10, 0, 0, 0, 8),      /* private */
    V4(100, 64, 0, 0, 10),   /* shared */
    V4(127, 0, 0, 0, 8),     /* loopback */
    V4(169, 254, 0, 0, 16),  /* link-local; clouds' metadata */
    V4(172, 16, 0, 0, 12),   /* private */
    V4(192, 0, 0, 0, 24),    /* protocol assignments */
    V4(192, 0, 2, 0, 24),    /* documentation */
    V4(192, 88, 99, 0, 24),  /* 6to4 relays, gone */
    V4(192, 168, 0, 0, 16),  /* private */
    V4(198, 18, 0, 0, 15),   /* benchmarking */
    V4(198, 51, 100, 0, 24), /* documentation */
    V4(203, 0, 113, 0, 24),  /* documentation */
    V4(224, 0, 0, 0, 4),     /* multicast */
    V4(240, 0, 0, 0, 4),     /* reserved, broadcast */
};

/* All of IPv6 but 2000::/3 is special; of that, this. */
static const struct row special_v6[] = {
    {{0x20, 0x01}, 23},             /* protocol assignments, Teredo among them */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff}, 20},             /* documentation */
};

static const struct row global_v6 = {{0x20}, 3};
static const struct row nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
static const struct row six_to_four = {{0x20, 0x02}, 16};

static bool starts_with(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool is_in(const struct row *r, const struct ip_addr *a)
{
    return starts_with(a->bytes, r->bytes, r->bits);
}

static void from_v4(const unsigned char *four, struct ip_addr *out)
{
    memcpy(out->bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(out->bytes + sizeof mapped_prefix, four, 4);
}

bool ip_addr_from_bytes(struct adit_view v, struct ip_addr *out)
{
    if (v.len == 4)
        from_v4((const unsigned char *)v.ptr, out);
    else if (v.len == 16)
        memcpy(out->bytes, v.ptr, 16);
    return v.len == 4 || v.len == 16;
}

bool ip_addr_parse(struct adit_view v, struct ip_addr *out)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char four[4];
    if (v.len == 0 || v.len >= sizeof text || memchr(v.ptr, '\0', v.len))
        return false;
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    if (inet_pton(AF_INET, text, four) == 1)
        from_v4(four, out);
    else if (inet_pton(AF_INET6, text, out->bytes) != 1)
        return false;
    return true;
}

bool ip_addr_is_v4(const struct ip_addr *a)
{
    return memcmp(a->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

socklen_t ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (ip_addr_is_v4(a)) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, a->bytes + sizeof mapped_prefix, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, a->bytes, 16);
    return sizeof *in6;
}

bool ip_addr_from_sockaddr(const struct sockaddr *s, struct ip_addr *out)
{
    const void *p = s;
    if (s && s->sa_family == AF_INET) {
        const struct sockaddr_in *in = p;
        return ip_addr_from_bytes(adit_view_mem(&in->sin_addr, sizeof(in->sin_addr)), out);
    }
    if (s && s->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = p;
        return ip_addr_from_bytes(adit_view_mem(&in6->sin6_addr, sizeof(in6->sin6_addr)), out);
    }
    return false;
}

void ip_addr_format(const struct ip_addr *a, char out[IP_ADDR_TEXT_CAP])
{
    size_t skip = ip_addr_is_v4(a) ? sizeof(mapped_prefix) : 0;
    (void)inet_ntop(skip ? AF_INET : AF_INET6, a->bytes + skip, out, IP_ADDR_TEXT_CAP); /* fits */
}

static void cut_host_bits(struct ip_block *b)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = b->bits > 8 * i ? b->bits - 8 * i : 0;
        if (kept < 8)
            b->addr.bytes[i] &= (unsigned char)(0xff00u >> kept);
    }
}

bool ip_block_parse(struct adit_view v, struct ip_block *out)
{
    struct adit_view address, prefix;
    uint64_t bits;
    bool has_prefix = adit_view_split(v, '/', &address, &prefix);
    if (!ip_addr_parse(address, &out->addr))
        return false;
    /* The family is that of the spelling: ::ffff:1.2.3.4/120 counts from the first of 128 bits. */
    unsigned skipped = memchr(address.ptr, ':', address.len) ? 0 : V4_BITS;
    if (!has_prefix)
        bits = 128 - skipped;
    else if (adit_view_u64(prefix, 128 - skipped, &bits) != ADIT_OK)
        return false;
    out->bits = skipped + (unsigned)bits;
    cut_host_bits(out);
    return true;
}

bool ip_block_has(const struct ip_block *b, const struct ip_addr *a)
{
    return starts_with(a->bytes, b->addr.bytes, b->bits);
}

bool ip_addr_carried_v4(const struct ip_addr *a, struct ip_addr *out)
{
    if (is_in(&nat64, a))
        from_v4(a->bytes + 12, out);
    else if (is_in(&six_to_four, a))
        from_v4(a->bytes + 2, out);
    else
        return false;
    return true;
}

static bool is_in_any(const struct row *rows, size_t cnt, const struct ip_addr *a)
{
    for (size_t i = 0; i < cnt; i++)
        if (is_in(&rows[i], a))
            return true;
    return false;
}

bool ip_addr_is_special(const struct ip_addr *a)
{
    struct ip_addr inner;
    if (ip_addr_carried_v4(a, &inner))
        a = &inner;
    if (ip_addr_is_v4(a))
        return is_in_any(special, sizeof special / sizeof special[0], a);
    return !is_in(&global_v6, a) ||
           is_in_any(special_v6, sizeof special_v6 / sizeof special_v6[0], a);
}
