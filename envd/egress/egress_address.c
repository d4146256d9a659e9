/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of two families in one form.
 *
 * Theory of operation
 *
 * What: bytes behind @len are zero, so equal addresses are equal memory; an IPv4-mapped address is
 * not made an IPv4 one here: what a program asked for is passed on as it was, and the broker judges
 * it.
 */
#include "envd/egress/egress_address.h"

void egress_address_set(struct egress_address *a, const void *p, size_t len, uint16_t port)
{
    memset(a, 0, sizeof *a);
    memcpy(a->bytes, p, len);
    a->len = (uint8_t)len;
    a->port = port;
}

bool egress_address_eq(const struct egress_address *a, const struct egress_address *b)
{
    return a->port == b->port && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

bool egress_address_from_socket(struct egress_address *a, const struct sockaddr_storage *s)
{
    if (s->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)s;
        egress_address_set(a, &in->sin_addr, EGRESS_IPV4_LEN, ntohs(in->sin_port));
    } else if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)s;
        egress_address_set(a, &in6->sin6_addr, EGRESS_IPV6_LEN, ntohs(in6->sin6_port));
    }
    return s->ss_family == AF_INET || s->ss_family == AF_INET6;
}
